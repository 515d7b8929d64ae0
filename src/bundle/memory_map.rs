//! The physical memory map that firmware hands over, from any text or binary form.
//!
//! A kernel log may hold the map in two forms. On x86 the kernel works with the E820 map: the boot loader or the EFI
//! stub made it, from the EFI map where there is one, and lines `efi: memNN:` (printed with `efi=debug`) only show
//! what that map looked like. On Arm and RISC-V the EFI map is the only one. [`MapReading`] keeps every map it finds;
//! [`MapReading::firmware`] picks the one that the kernel works with.

mod lines;
mod words;

use super::text;
use crate::error::{Cause, TableError};
use crate::range::AddressRange;
use crate::tables::e820::{E820Entry, E820Map, E820Type};
use crate::tables::efi::{EfiAttributes, EfiDescriptor, EfiMap, EfiMemoryType};
use crate::units::{PhysAddr, Signature, widen};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What firmware says a range is, in the words of the form it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// An E820 type; 0 for one whose number the form does not tell (`Unknown E820 type` in `/proc/iomem`).
    E820(E820Type),
    /// An EFI memory type with its attributes.
    Efi(EfiMemoryType, EfiAttributes),
}

/// One range of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// The addresses.
    pub range: AddressRange,
    /// What they are.
    pub kind: MapKind,
    /// Where it stands in the input: a line number, counted from 1, for text; a byte offset for binary forms; the
    /// number of the folder for a `/sys/firmware/memmap` tree.
    pub place: u64,
}

/// The form in which a map came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapForm {
    /// `BIOS-e820:` lines of a kernel log.
    KernelE820,
    /// `modified:` lines of a kernel log: the map after the kernel's own changes. A log whose start is lost, or that of a
    /// kernel that died early, may hold nothing else.
    ModifiedE820,
    /// `efi: memNN:` lines of a kernel log.
    KernelEfi,
    /// A `/sys/firmware/memmap` tree.
    SysfsMemmap,
    /// A `memmap` listing of the UEFI shell.
    ShellMemmap,
    /// EFI descriptors as bytes.
    EfiDescriptors,
    /// E820 entries as bytes.
    E820Entries,
    /// `/proc/iomem`: the map after the kernel's own changes.
    Iomem,
}

/// A physical memory map in the order in which it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareMap {
    /// The form it came in.
    pub form: MapForm,
    /// The ranges, in input order.
    pub entries: Vec<MapEntry>,
}

/// What was found in one input.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MapReading {
    /// Every map, in input order. A log of several boots, or one in which the kernel printed its EFI map more than
    /// once (the second time without what it had freed), gives several of one form.
    pub maps: Vec<FirmwareMap>,
    /// Lines that belong to a map but cannot be read, and bytes at the end that are less than an entry. For lines,
    /// the offset is in the text as UTF-8.
    pub faults: Vec<TableError>,
}

impl MapReading {
    /// The first map of this form.
    #[must_use]
    pub fn of_form(&self, form: MapForm) -> Option<&FirmwareMap> {
        self.maps.iter().find(|map| map.form == form)
    }

    /// The map that the kernel works with: the first one of the form that is nearest to what it was handed.
    ///
    /// E820 forms come before EFI forms, because x86 kernels only use the former and others only print the latter;
    /// What the kernel has changed comes last.
    #[must_use]
    pub fn firmware(&self) -> Option<&FirmwareMap> {
        const ORDER: [MapForm; 8] = [
            MapForm::KernelE820,
            MapForm::SysfsMemmap,
            MapForm::E820Entries,
            MapForm::EfiDescriptors,
            MapForm::KernelEfi,
            MapForm::ShellMemmap,
            MapForm::ModifiedE820,
            MapForm::Iomem,
        ];
        ORDER.into_iter().find_map(|form| self.of_form(form))
    }
}

/// Reads a map of unknown form: any of the texts that [`read_text`] knows, EFI descriptors of any usual stride, or
/// E820 entries.
///
/// The binary forms have no mark of their own. They are recognised by every entry of them being plausible, so a
/// damaged one needs [`read_efi`] or [`read_e820`].
///
/// # Errors
/// [`Cause::NothingDecoded`] when nothing in the input looks like a memory map.
pub fn read(bytes: &[u8]) -> Result<MapReading, TableError> {
    let reading = if text::is_text(&text::decode(bytes)) {
        read_text(bytes)
    } else if let Some(stride) = plausible_stride(bytes) {
        read_efi(bytes, stride)?
    } else if is_plausible_e820(bytes) {
        read_e820(bytes)
    } else {
        // A log may hold bytes that no text should.
        read_text(bytes)
    };
    if reading == MapReading::default() {
        return Err(TableError {
            table: Signature::E820,
            offset: 0,
            cause: Cause::NothingDecoded,
            expected: 1,
            found: 0,
        });
    }
    Ok(reading)
}

/// Reads every map in a text: a whole kernel log, `/proc/iomem`, a listing of the UEFI shell. Lines that are
/// something else are passed over; time stamps, log levels and the prefixes of log daemons do no harm.
#[must_use]
pub fn read_text(bytes: &[u8]) -> MapReading {
    let decoded = text::decode(bytes);
    let mut reader = TextReader::default();
    for line in text::lines(&decoded) {
        reader.line(&line);
    }
    reader.reading
}

/// Reads EFI descriptors, `stride` bytes from one to the next.
///
/// # Errors
/// [`Cause::Stride`] when `stride` is below 40.
pub fn read_efi(bytes: &[u8], stride: usize) -> Result<MapReading, TableError> {
    let map = EfiMap::parse(bytes, stride)?;
    let entries = (0_u64..).zip(map.descriptors()).map(|(index, (descriptor, _))| MapEntry {
        range: descriptor.range(),
        kind: MapKind::Efi(descriptor.r#type.get(), descriptor.attribute.get()),
        place: index.saturating_mul(widen(stride)),
    });
    let entries = entries.collect();
    Ok(MapReading {
        maps: Vec::from([FirmwareMap { form: MapForm::EfiDescriptors, entries }]),
        faults: map.fault().into_iter().collect(),
    })
}

/// Reads E820 entries of 20 bytes each.
#[must_use]
pub fn read_e820(bytes: &[u8]) -> MapReading {
    let map = E820Map::parse(bytes);
    let entries = (0_u64..).zip(map.entries()).map(|(index, entry)| MapEntry {
        range: entry.range(),
        kind: MapKind::E820(entry.r#type.get()),
        place: index.saturating_mul(widen(E820Entry::SIZE)),
    });
    let entries = entries.collect();
    MapReading {
        maps: Vec::from([FirmwareMap { form: MapForm::E820Entries, entries }]),
        faults: map.fault().into_iter().collect(),
    }
}

/// Reads the files of a `/sys/firmware/memmap` tree, given as path and contents: `3/start`, `3/end` and `3/type`,
/// with anything in front of the number. Other files are passed over; the order of the files does not matter.
#[must_use]
pub fn read_sysfs<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> MapReading {
    let mut folders: BTreeMap<u64, [Option<&'a str>; 3]> = BTreeMap::new();
    for (path, contents) in files {
        let mut parts = path.rsplit('/');
        let field = match parts.next() {
            Some("start") => 0,
            Some("end") => 1,
            Some("type") => 2,
            _ => continue,
        };
        let Some(number) = parts.next().and_then(|number| number.parse().ok()) else { continue };
        if let Some(place) = folders.entry(number).or_default().get_mut(field) {
            *place = Some(contents.trim());
        }
    }
    let mut reader = TextReader::default();
    for (number, [start, end, words]) in folders {
        let found =
            start.zip(end).zip(words).and_then(|((start, end), words)| lines::sysfs_entry(start, end, words));
        let place = Place { number, offset: 0 };
        reader.entry(
            MapForm::SysfsMemmap,
            place,
            found.map(|(range, found)| (range, MapKind::E820(found))),
            false,
        );
    }
    reader.reading
}

/// Where a line is.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    offset: u64,
}

/// Collects what the lines of a text say.
#[derive(Debug, Default)]
struct TextReader {
    reading: MapReading,
    /// The map of each form to which entries are added.
    open: Vec<(MapForm, usize)>,
    /// The kernel announced another map of this form.
    announced: [bool; 2],
    /// Number of the last line `efi: memNN:`.
    last_efi: Option<u64>,
    /// Where the last range of a line `modified:` starts.
    last_modified: Option<PhysAddr>,
    /// Levels of `/proc/iomem` around the current line: their indent, and whether memory is around.
    around: Vec<(usize, bool)>,
}

impl TextReader {
    fn line(&mut self, line: &text::Line<'_>) {
        let place = Place { number: line.number, offset: line.offset };
        let words = &*line.text;
        if let Some(resource) = lines::iomem_line(words) {
            self.iomem(place, &resource);
            return;
        }
        self.around.clear();
        let [e820_announced, efi_announced] = &mut self.announced;
        if lines::is_e820_headline(words) {
            *e820_announced = true;
        } else if lines::is_efi_headline(words) {
            *efi_announced = true;
        } else if let Some(found) = lines::e820_line(words) {
            let anew = core::mem::take(e820_announced);
            let found = found.map(|(range, found)| (range, MapKind::E820(found)));
            self.entry(MapForm::KernelE820, place, found, anew);
        } else if let Some(found) = lines::modified_line(words) {
            let start = found.map(|(range, _)| range.start);
            let anew = start.is_some_and(|start| self.last_modified.is_some_and(|last| start <= last));
            self.last_modified = start.or(self.last_modified);
            let found = found.map(|(range, found)| (range, MapKind::E820(found)));
            self.entry(MapForm::ModifiedE820, place, found, anew);
        } else if let Some(found) = lines::efi_line(words) {
            let index = found.and_then(|found| found.index);
            let again = index.is_some_and(|index| self.last_efi.is_some_and(|last| index <= last));
            let anew = core::mem::take(efi_announced) || again;
            self.last_efi = index.or(self.last_efi);
            let found = found.map(|found| (found.range, MapKind::Efi(found.memory_type, found.attributes)));
            self.entry(MapForm::KernelEfi, place, found, anew);
        } else if let Some(found) = lines::shell_line(words) {
            let found = found.map(|(range, found, attributes)| (range, MapKind::Efi(found, attributes)));
            self.entry(MapForm::ShellMemmap, place, found, false);
        }
    }

    /// Takes memory from `/proc/iomem`, but not what lies inside other memory: the kernel's own image, a driver's
    /// view of a range, hotplugged memory inside a range of firmware.
    fn iomem(&mut self, place: Place, resource: &lines::IomemLine<'_>) {
        while self.around.last().is_some_and(|(indent, _)| *indent >= resource.indent) {
            self.around.pop();
        }
        let covered = self.around.last().is_some_and(|(_, memory)| *memory);
        let memory = resource.memory();
        self.around.push((resource.indent, covered || memory.is_some()));
        if let Some(found) = memory.filter(|_| !covered) {
            let found = found.map(|(range, found)| (range, MapKind::E820(found)));
            self.entry(MapForm::Iomem, place, found, false);
        }
    }

    /// Adds an entry to the map of its form, or to a new one, or a fault.
    fn entry(&mut self, form: MapForm, place: Place, found: Option<(AddressRange, MapKind)>, anew: bool) {
        let Some((range, kind)) = found else {
            let efi = matches!(form, MapForm::KernelEfi | MapForm::ShellMemmap);
            self.reading.faults.push(TableError {
                table: if efi { Signature::EFI_MAP } else { Signature::E820 },
                offset: place.offset,
                cause: Cause::MalformedText,
                expected: 0,
                found: place.number,
            });
            return;
        };
        if anew {
            self.open.retain(|(open, _)| *open != form);
        }
        let maps = &mut self.reading.maps;
        let index = match self.open.iter().find(|(open, _)| *open == form) {
            Some((_, index)) => *index,
            None => {
                self.open.push((form, maps.len()));
                maps.push(FirmwareMap { form, entries: Vec::new() });
                maps.len().saturating_sub(1)
            }
        };
        if let Some(map) = maps.get_mut(index) {
            map.entries.push(MapEntry { range, kind, place: place.number });
        }
    }
}

/// The stride at which every descriptor is plausible, or `None`: known or OEM types, whole pages, no unknown
/// attribute.
fn plausible_stride(bytes: &[u8]) -> Option<usize> {
    const STRIDES: [usize; 8] = [40, 48, 56, 64, 72, 80, 88, 96];
    const PAGE: u64 = 0xfff;
    const KNOWN: u64 = 0xcfff_f000_001f_f01f;
    let plausible = |descriptor: &EfiDescriptor| {
        let (start, pages) = (descriptor.physical_start.get().0, descriptor.number_of_pages.get());
        let memory_type = descriptor.r#type.get();
        (memory_type.name().is_some() || memory_type.0 >= 0x7000_0000)
            && (start | descriptor.virtual_start.get().0) & PAGE == 0
            && pages.0 != 0
            && start.checked_add(pages.bytes().0.saturating_sub(1)).is_some()
            && descriptor.attribute.get().0 & !KNOWN == 0
    };
    STRIDES.into_iter().find(|stride| {
        let Ok(map) = EfiMap::parse(bytes, *stride) else { return false };
        !bytes.is_empty()
            && map.fault().is_none()
            && map.descriptors().all(|(descriptor, _)| plausible(descriptor))
    })
}

/// Whether every E820 entry has a type that is in use and a size.
fn is_plausible_e820(bytes: &[u8]) -> bool {
    let map = E820Map::parse(bytes);
    let plausible = |entry: &E820Entry| {
        let (start, size) = (entry.address.get().0, entry.size.get().0);
        let known = entry.r#type.get().name().is_some() || (1..=20).contains(&entry.r#type.get().0);
        known && size != 0 && start.checked_add(size.saturating_sub(1)).is_some()
    };
    !map.entries().is_empty() && map.fault().is_none() && map.entries().iter().all(plausible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use crate::units::EfiPageCount;
    use alloc::string::String;

    extern crate std;
    use std::format;
    use std::fs;

    fn count(reading: &MapReading, form: MapForm) -> usize {
        reading.maps.iter().filter(|map| map.form == form).map(|map| map.entries.len()).sum()
    }

    fn range(start: u64, end: u64) -> AddressRange {
        AddressRange::new(PhysAddr(start), PhysAddr(end))
    }

    #[test]
    fn a_log_with_both_forms_keeps_both_and_prefers_e820() {
        let log = b"<6>[    0.000000] BIOS-provided physical RAM map:\r\n\
            [    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\r\n\
            kernel: BIOS-e820: [mem 0x9fc00-0x9ffff] of unknown use\r\n\
            [    0.000000] efi: mem00: [Boot Data   |   |WB|UC] range=[0x0000000000000000-0x0000000000000fff] (0MB)\r\n\
            [    0.000000] efi: mem01: [Conventional|SP |WB|UC] range=[0x0000000000001000-0x000000000009efff] (0MB)\r\n\
            [    0.100000] efi: mem00: [Boot Data   |RUN|WB|UC] range=[0x0000000000000000-0x0000000000000fff] (0MB)\r\n";
        let reading = read(log).unwrap();
        let forms: Vec<_> = reading.maps.iter().map(|map| (map.form, map.entries.len())).collect();
        assert_eq!(forms, [(MapForm::KernelE820, 1), (MapForm::KernelEfi, 2), (MapForm::KernelEfi, 1)]);
        let entry = MapEntry { range: range(0, 0x9fc00), kind: MapKind::E820(E820Type::RAM), place: 2 };
        assert_eq!(reading.firmware().unwrap().entries, [entry]);
        let special = EfiAttributes::SP.union(EfiAttributes::WB).union(EfiAttributes::UC);
        assert_eq!(
            reading.of_form(MapForm::KernelEfi).unwrap().entries[1].kind,
            MapKind::Efi(EfiMemoryType::CONVENTIONAL, special)
        );
        let [fault] = reading.faults[..] else { panic!("{:?}", reading.faults) };
        assert_eq!((fault.table, fault.cause, fault.found), (Signature::E820, Cause::MalformedText, 3));
        assert_eq!(log[usize::try_from(fault.offset).unwrap()..][..6], *b"kernel");
    }

    #[test]
    fn a_log_without_its_start_gives_the_map_after_the_kernels_changes() {
        let log = b"[    0.000000] modified: [mem 0x0000000000000000-0x0000000000000fff]  device reserved\n\
            [    0.000000] modified: [gap 0x0000000000001000-0x00000000000fffff]\n\
            [    0.000000] modified: [mem 0x0000000000100000-0x000000003f8b8fff]  System RAM\n\
            [    0.010000] modified: [mem 0x0000000000000000-0x0000000000000fff]  device reserved\n";
        let reading = read(log).unwrap();
        let forms: Vec<_> = reading.maps.iter().map(|map| (map.form, map.entries.len())).collect();
        assert_eq!(forms, [(MapForm::ModifiedE820, 2), (MapForm::ModifiedE820, 1)]);
        let entries = &reading.firmware().unwrap().entries;
        assert_eq!(
            entries[1],
            MapEntry { range: range(0x10_0000, 0x3f8b_9000), kind: MapKind::E820(E820Type::RAM), place: 3 }
        );
    }

    #[test]
    fn two_boots_in_one_log_are_two_maps() {
        let boot = "BIOS-provided physical RAM map:\nBIOS-e820: [mem 0x0-0xfff] usable\n";
        let reading = read_text(format!("{boot}{boot}").as_bytes());
        assert_eq!(reading.maps.len(), 2);
        assert_eq!(count(&reading, MapForm::KernelE820), 2);
    }

    #[test]
    fn iomem_gives_firmware_memory_once() {
        let text = b"00000000-00000fff : Reserved\n\
            00001000-0009fbff : System RAM\n\
              00001000-00001fff : Reserved\n\
            000a0000-000bffff : PCI Bus 0000:00\n\
            b0000000-bfffffff : PCI ECAM 0000 [bus 00-ff]\n\
            \x20 b0000000-bfffffff : Reserved\n\
            \x20   b0000000-bfffffff : PNP0C01:00\n\
            100000000-1ffffffff : Soft Reserved\n\
            \x20 100000000-1ffffffff : dax0.0\n\
            \x20   100000000-1ffffffff : System RAM\n\
            200000000-2ffffffff : System RAM (kmem)\n";
        let map = read_text(text).maps.remove(0);
        let found: Vec<_> = map.entries.iter().map(|entry| (entry.place, entry.range.start.0)).collect();
        assert_eq!(found, [(1, 0), (2, 0x1000), (3, 0x1000), (6, 0xb000_0000), (8, 0x1_0000_0000)]);

        let hidden = read_text(b"00000000-00000000 : System RAM\n");
        assert!(hidden.maps.is_empty());
        assert_eq!(hidden.faults.len(), 1);
    }

    #[test]
    fn binary_maps_are_recognised_by_their_entries() {
        let mut bytes = [0; 96];
        bytes[0] = 7;
        bytes[25] = 1; // 256 pages
        bytes[32] = 0xf;
        bytes[48] = 11;
        bytes[59] = 0xf0; // 0xf0000000
        bytes[72] = 1;
        bytes[87] = 0x80;
        let reading = read(&bytes).unwrap();
        let entries = &reading.of_form(MapForm::EfiDescriptors).unwrap().entries;
        let mmio = MapKind::Efi(EfiMemoryType::MAPPED_IO, EfiAttributes::RUNTIME);
        assert_eq!(entries[1], MapEntry { range: range(0xf000_0000, 0xf000_1000), kind: mmio, place: 48 });
        assert_eq!(entries[0].range.size(), EfiPageCount(256).bytes());

        let mut e820 = [0; 40];
        e820[9] = 0xfc;
        e820[10] = 0x09;
        e820[16] = 1;
        e820[21] = 0xfc;
        e820[22] = 0x09;
        e820[29] = 0x04;
        e820[36] = 2;
        let reading = read(&e820).unwrap();
        let entries = &reading.of_form(MapForm::E820Entries).unwrap().entries;
        assert_eq!(entries[0].range, range(0, 0x9fc00));
        let reserved = MapKind::E820(E820Type::RESERVED);
        assert_eq!(entries[1], MapEntry { range: range(0x9fc00, 0xa0000), kind: reserved, place: 20 });

        assert_eq!(read(&bytes[..95]).unwrap_err().cause, Cause::NothingDecoded);
        assert_eq!(read(b"no map here").unwrap_err().cause, Cause::NothingDecoded);
        assert_eq!(read(b"").unwrap_err().cause, Cause::NothingDecoded);
        assert_eq!(read_efi(&bytes[..95], 48).unwrap().faults[0].cause, Cause::PartialEntry);
    }

    #[test]
    fn sysfs_folders_are_put_in_order() {
        let files = [
            ("firmware/memmap/10/start", "0x100000000\n"),
            ("firmware/memmap/10/end", "0x17fffffff\n"),
            ("firmware/memmap/10/type", "Persistent Memory (legacy)\n"),
            ("2/type", "Reserved\n"),
            ("2/start", "0x9fc00\n"),
            ("2/end", "0x9ffff\n"),
            ("3/start", "0x1000"),
            ("power/wakeup", ""),
        ];
        let reading = read_sysfs(files);
        let expected = [
            MapEntry { range: range(0x9fc00, 0xa0000), kind: MapKind::E820(E820Type::RESERVED), place: 2 },
            MapEntry { range: range(1 << 32, 6 << 30), kind: MapKind::E820(E820Type::PRAM), place: 10 },
        ];
        assert_eq!(reading.of_form(MapForm::SysfsMemmap).unwrap().entries, expected);
        let [fault] = reading.faults[..] else { panic!("{:?}", reading.faults) };
        assert_eq!((fault.cause, fault.found), (Cause::MalformedText, 3));
    }

    #[test]
    fn logs_of_real_machines_lose_no_line() {
        // Typed into a mail by hand: the range 0x5d0000000-0x64ffffff ends before it starts.
        const DAMAGED: (&str, usize) = ("srat-patch-v5-3-7-cxl-acpi-add-background-worker-to-coo.txt", 1);
        let Some(folder) = testing::shared("corpus/REAL/dmesg") else { return };
        let (mut files, mut e820, mut efi) = (0, 0, 0);
        for path in testing::listing(&folder) {
            let bytes = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
            let damaged = if path.ends_with(DAMAGED.0) { DAMAGED.1 } else { 0 };
            let expected = (lines("BIOS-e820: [") - damaged, lines("efi: mem"));
            let reading = read_text(&bytes);
            assert_eq!(reading.faults.len(), damaged, "{}: {:?}", path.display(), reading.faults);
            let found = (count(&reading, MapForm::KernelE820), count(&reading, MapForm::KernelEfi));
            assert_eq!(found, expected, "{}", path.display());
            files += usize::from(expected != (0, 0));
            e820 += expected.0;
            efi += expected.1;
            for cut in (0..bytes.len()).step_by(257) {
                let cut = read_text(&bytes[..cut]);
                assert!(count(&cut, MapForm::KernelE820) <= expected.0);
            }
        }
        assert!(files >= 41, "{files}");
        testing::report(format_args!("real logs: {files} files, {e820} E820 and {efi} EFI lines"));
    }

    #[test]
    fn an_efi_log_agrees_with_its_own_sizes() {
        let Some(folder) = testing::shared("corpus/REAL/dmesg") else { return };
        let mut checked = 0;
        for path in testing::listing(&folder) {
            let bytes = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let text: Vec<_> = text.lines().collect();
            for map in read_text(&bytes).maps.iter().filter(|map| map.form == MapForm::KernelEfi) {
                for entry in &map.entries {
                    let line = text[usize::try_from(entry.place).unwrap() - 1];
                    let megabytes =
                        line.rsplit_once('(').unwrap().1.trim_end_matches(|c: char| !c.is_ascii_digit());
                    assert_eq!(format!("{}", entry.range.size().0 >> 20), megabytes, "{line}");
                    checked += 1;
                }
            }
        }
        testing::report(format_args!("EFI lines whose size agrees: {checked}"));
    }

    /// The entries of a list `key` in a capture: one array of strings on each line.
    fn captured(json: &str, key: &str) -> Vec<Vec<String>> {
        let list = json.split_once(&format!("\"{key}\": [")).map_or("", |(_, rest)| rest);
        let rows = list.lines().skip(1).take_while(|line| line.trim_start().starts_with('['));
        rows.map(|row| row.split('"').skip(1).step_by(2).map(String::from).collect()).collect()
    }

    fn as_captured(first: &str, last: &str, words: &str) -> (AddressRange, MapKind) {
        let found = match words {
            "System RAM" | "usable" => E820Type::RAM,
            "device reserved" | "reserved" | "Reserved" => E820Type::RESERVED,
            other => panic!("{other}"),
        };
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        (range(number(first), number(last) + 1), MapKind::E820(found))
    }

    #[test]
    fn guest_logs_agree_with_the_captures() {
        let Some(cases) = testing::shared("oracle/cases") else { return };
        let (mut maps, mut entries, mut folders) = (0, 0, 0);
        for case in testing::listing(&cases) {
            let log = fs::read(case.join("dmesg.txt")).unwrap();
            let json = fs::read_to_string(case.join("observed.json")).unwrap();
            let reading = read_text(&log);
            assert_eq!(reading.faults, [], "{}", case.display());
            let expected: Vec<_> = captured(&json, "e820")
                .iter()
                .filter(|row| row[0] == "bios")
                .map(|row| as_captured(&row[1], &row[2], &row[3]))
                .collect();
            let found = reading.of_form(MapForm::KernelE820).map_or(&[][..], |map| &map.entries);
            let found: Vec<_> = found.iter().map(|entry| (entry.range, entry.kind)).collect();
            assert_eq!(found, expected, "{}", case.display());
            maps += usize::from(!expected.is_empty());
            entries += expected.len();

            let folder = captured(&json, "firmware_memmap");
            let files: Vec<_> = (0..)
                .zip(&folder)
                .flat_map(|(number, row)| {
                    let file =
                        |name: &str, text: &String| (format!("memmap/{number}/{name}"), format!("{text}\n"));
                    [file("type", &row[2]), file("end", &row[1]), file("start", &row[0])]
                })
                .collect();
            let reading = read_sysfs(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
            let found = reading.of_form(MapForm::SysfsMemmap).map_or(&[][..], |map| &map.entries);
            let found: Vec<_> = found.iter().map(|entry| (entry.range, entry.kind)).collect();
            let expected: Vec<_> = folder.iter().map(|row| as_captured(&row[0], &row[1], &row[2])).collect();
            assert_eq!(found, expected, "{}", case.display());
            folders += usize::from(!folder.is_empty());
        }
        // srat-hole-low died before its log was kept.
        assert_eq!(maps, 199);
        testing::report(format_args!(
            "captures: {maps} E820 maps with {entries} entries, {folders} firmware memmap trees"
        ));
    }

    #[test]
    fn guest_resources_are_inside_the_captured_map() {
        let Some(cases) = testing::shared("oracle/cases") else { return };
        let mut checked = 0;
        for case in testing::listing(&cases) {
            let Ok(bytes) = fs::read(case.join("iomem.txt")) else { continue };
            let reading = read(&bytes).unwrap();
            assert_eq!(reading.faults, [], "{}", case.display());
            let entries = &reading.of_form(MapForm::Iomem).unwrap().entries;
            assert!(
                entries.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start),
                "{}",
                case.display()
            );
            checked += entries.len();
        }
        testing::report(format_args!("iomem entries in order and apart: {checked}"));
    }

    #[test]
    fn shell_listings_equal_their_binary_twins() {
        let Some(folder) = testing::shared("corpus/REAL/efi") else { return };
        let (mut listings, mut descriptors) = (0, 0);
        for path in
            testing::listing(&folder).iter().filter(|path| path.extension().is_some_and(|end| end == "txt"))
        {
            let text = fs::read(path).unwrap();
            let twin = fs::read(path.with_extension("efimap48.bin")).unwrap();
            let reading = read(&text).unwrap();
            assert_eq!(reading.faults, [], "{}", path.display());
            let bare = |map: &FirmwareMap| map.entries.iter().map(|e| (e.range, e.kind)).collect::<Vec<_>>();
            let expected = read(&twin).unwrap();
            let expected = bare(expected.of_form(MapForm::EfiDescriptors).unwrap());
            assert_eq!(expected.len() * 48, twin.len());
            assert_eq!(bare(reading.of_form(MapForm::ShellMemmap).unwrap()), expected, "{}", path.display());
            // As the shell writes it to a file.
            let wide: Vec<u8> = [0xfeff]
                .into_iter()
                .chain(text.iter().map(|byte| u16::from(*byte)))
                .flat_map(u16::to_le_bytes)
                .collect();
            assert_eq!(read(&wide).unwrap(), reading);
            listings += 1;
            descriptors += expected.len();
        }
        assert_eq!(listings, 9);
        testing::report(format_args!("shell listings: {listings} with {descriptors} descriptors"));
    }
}
