//! What single lines of text say about the memory map.
//!
//! Each reader gives `None` for a line that is something else, and `Some(None)` for one of its own that cannot be
//! read.

use super::words::{e820_type, efi_type, efi_type_and_attributes};
use crate::bundle::text::hex;
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::tables::efi::{EfiAttributes, EfiMemoryType};
use crate::units::{EfiPageCount, PhysAddr};

/// The range whose last address is `last`. The very last address of 64 bits cannot be in a range and is dropped.
fn inclusive(start: u64, last: u64) -> Option<AddressRange> {
    exclusive(start, last.saturating_add(1))
}

fn exclusive(start: u64, end: u64) -> Option<AddressRange> {
    (start <= end).then(|| AddressRange::new(PhysAddr(start), PhysAddr(end)))
}

/// `START-END`, both hexadecimal.
fn span(text: &str) -> Option<(u64, u64)> {
    let (start, end) = text.split_once('-')?;
    Some((hex(start.trim())?, hex(end.trim())?))
}

/// Whether the kernel starts to print its map of boot here.
pub(super) fn is_e820_headline(line: &str) -> bool {
    line.contains("BIOS-provided physical RAM map:")
}

/// A range of the map that the boot loader handed over, as x86 kernels print it:
///
/// - `BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable` from Linux 3.5 on, with the last address; two
///   spaces and other words in 7.2;
/// - `BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)` before, with the address behind the last.
///
/// `BIOS-e801` and `BIOS-88` are older BIOS calls. Lines of 7.2 about gaps are not ranges.
pub(super) fn e820_line(line: &str) -> Option<Option<(AddressRange, E820Type)>> {
    const CALLS: [&str; 3] = ["BIOS-e820:", "BIOS-e801:", "BIOS-88:"];
    e820_range(CALLS.iter().find_map(|call| line.split_once(call))?.1)
}

/// A range of the map after the kernel's own changes: `modified: [mem 0x...-0x...] System RAM`, from Linux 3.5 on.
pub(super) fn modified_line(line: &str) -> Option<Option<(AddressRange, E820Type)>> {
    let (_, rest) = line.split_once("modified: ")?;
    if rest.starts_with("[mem ") { e820_range(rest) } else { None }
}

/// What follows the label of a line about a range of an E820 map; `None` for a gap.
fn e820_range(rest: &str) -> Option<Option<(AddressRange, E820Type)>> {
    let rest = rest.trim();
    if rest.starts_with("[gap ") {
        return None;
    }
    Some(match rest.strip_prefix("[mem ") {
        Some(rest) => rest.split_once(']').and_then(|(addresses, words)| {
            let (start, last) = span(addresses)?;
            Some((inclusive(start, last)?, e820_type(words.trim())?))
        }),
        None => rest.split_once('(').and_then(|(addresses, words)| {
            let (start, end) = span(addresses)?;
            Some((exclusive(start, end)?, e820_type(words.strip_suffix(')')?)?))
        }),
    })
}

/// A descriptor of the EFI map as the kernel prints it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EfiLine {
    /// Its number in the map, on x86.
    pub(super) index: Option<u64>,
    pub(super) range: AddressRange,
    pub(super) memory_type: EfiMemoryType,
    pub(super) attributes: EfiAttributes,
}

/// Whether an Arm or RISC-V kernel starts to print its EFI map here.
pub(super) fn is_efi_headline(line: &str) -> bool {
    line.contains("Processing EFI memory map:")
}

/// A descriptor of the EFI map with `efi=debug`:
///
/// - x86: `efi: mem03: [Boot Data |...|WB|WT|WC|UC] range=[0x...-0x...] (0MB)`, before Linux 3.18
///   `EFI: mem03: type=4, attr=0xf, range=[0x...-0x...) (0MB)`, with `efi:` in the last of them;
/// - others: `efi:   0x000040000000-0x00004007ffff [Boot Data |...|UC]`, sometimes with `*` behind.
///
/// `)` closes a range whose end is behind it, as older x86 kernels print, `]` one whose end is inside. EFI ranges are
/// whole pages, so the low twelve bits of the end say the same; where the two disagree, the bits are right.
pub(super) fn efi_line(line: &str) -> Option<Option<EfiLine>> {
    let (_, rest) = line.split_once("efi: ").or_else(|| line.split_once("EFI: "))?;
    let rest = rest.trim();
    if let Some((index, body)) = rest.strip_prefix("mem").and_then(|rest| rest.split_once(':')) {
        if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        return Some(numbered_efi_line(index, body.trim()));
    }
    let (addresses, body) = rest.split_once('[').filter(|_| rest.starts_with("0x"))?;
    Some(span(addresses).and_then(|(start, last)| {
        let (memory_type, attributes) = efi_type_and_attributes(body.split_once(']')?.0)?;
        let range = whole_pages(start, last, true)?;
        Some(EfiLine { index: None, range, memory_type, attributes })
    }))
}

/// What follows `efi: memNN:`.
fn numbered_efi_line(index: &str, body: &str) -> Option<EfiLine> {
    let (what, addresses) = body.split_once("range=[")?;
    let close = addresses.find([']', ')'])?;
    let (start, end) = span(addresses.get(..close)?)?;
    let range = whole_pages(start, end, addresses.get(close..)?.starts_with(']'))?;
    let (memory_type, attributes) = match what.strip_prefix("type=") {
        Some(old) => {
            let (number, rest) = old.split_once(',')?;
            let attributes = rest.trim().strip_prefix("attr=")?.trim_end_matches([',', ' ']);
            (EfiMemoryType(number.trim().parse().ok()?), EfiAttributes(hex(attributes)?))
        }
        None => efi_type_and_attributes(what.trim().strip_prefix('[')?.strip_suffix(']')?)?,
    };
    Some(EfiLine { index: Some(index.parse().ok()?), range, memory_type, attributes })
}

/// The range of whole pages from `start` to `end`, which is inside or behind the range by its own low bits, and by
/// `closed` when they do not tell.
fn whole_pages(start: u64, end: u64, closed: bool) -> Option<AddressRange> {
    const PAGE: u64 = 0xfff;
    match end & PAGE {
        PAGE => inclusive(start, end),
        0 => exclusive(start, end),
        _ if closed => inclusive(start, end),
        _ => exclusive(start, end),
    }
}

/// A line of the UEFI shell's `memmap`: type, first and last address, pages, attributes, all numbers hexadecimal.
///
/// `BS_Data    0000000080D46000-0000000080D9EFFF 0000000000000059 000000000000000F`, or with `-sfo`
/// `MemoryMap,"BootServiceData","80D46000","80D9EFFF","59","F"`. OEM and OS types stand as eight digits.
pub(super) fn shell_line(line: &str) -> Option<Option<(AddressRange, EfiMemoryType, EfiAttributes)>> {
    let mut words = line.split([' ', '\t', ',', '"', '-']).filter(|word| !word.is_empty()).peekable();
    words.next_if_eq(&"MemoryMap");
    let name = words.next()?;
    let memory_type = efi_type(name).or_else(|| {
        let number = hex(name).filter(|_| name.len() == 8)?;
        u32::try_from(number).ok().map(EfiMemoryType)
    })?;
    let (start, last) = (hex(words.next()?)?, hex(words.next()?)?);
    let mut numbers = || hex(words.next()?);
    let (pages, attributes) = (numbers(), numbers());
    let end_of_line = words.next().is_none();
    Some(pages.zip(attributes).filter(|_| end_of_line).and_then(|(pages, attributes)| {
        let range = inclusive(start, last)?;
        // The listing prints the last address from the number of pages, so they agree, or the line is damaged.
        let agree = start.wrapping_add(EfiPageCount(pages).bytes().0).wrapping_sub(1) == last;
        agree.then_some((range, memory_type, EfiAttributes(attributes)))
    }))
}

/// A resource of `/proc/iomem`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct IomemLine<'a> {
    /// Spaces in front of it, two for each level.
    pub(super) indent: usize,
    pub(super) name: &'a str,
    start: u64,
    last: u64,
}

impl IomemLine<'_> {
    /// The memory that it is, `None` when it is something else, `Some(None)` when the addresses make no sense: a
    /// reader without privileges is shown zeros in their place.
    pub(super) fn memory(&self) -> Option<Option<(AddressRange, E820Type)>> {
        let found = e820_type(self.name)?;
        let hidden = self.start == 0 && self.last == 0;
        Some(inclusive(self.start, self.last).filter(|_| !hidden).map(|range| (range, found)))
    }
}

/// A line of `/proc/iomem`: `  00100000-2fffffff : System RAM`.
pub(super) fn iomem_line(line: &str) -> Option<IomemLine<'_>> {
    let rest = line.trim_start_matches(' ');
    let (addresses, name) = rest.split_once(" : ")?;
    let (start, last) = addresses.split_once('-')?;
    let number = |text: &str| if text.starts_with("0x") { None } else { hex(text) };
    Some(IomemLine {
        indent: line.len().saturating_sub(rest.len()),
        name: name.trim_end(),
        start: number(start)?,
        last: number(last)?,
    })
}

/// The files of one folder of `/sys/firmware/memmap`: `0x9fc00`, the last address `0x9ffff`, `Reserved`.
pub(super) fn sysfs_entry(start: &str, end: &str, words: &str) -> Option<(AddressRange, E820Type)> {
    Some((inclusive(hex(start)?, hex(end)?)?, e820_type(words)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> AddressRange {
        AddressRange::new(PhysAddr(start), PhysAddr(end))
    }

    #[test]
    fn e820_lines_of_every_age() {
        let good = [
            ("BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable", 0, 0x9fc00, E820Type::RAM),
            (" BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)", 0, 0x9fc00, E820Type::RAM),
            (
                " BIOS-e820: 00000000bf780000 - 00000000bf798000 (ACPI data)",
                0xbf78_0000,
                0xbf79_8000,
                E820Type::ACPI,
            ),
            (
                "[    0.000000] BIOS-e820: [mem 0x9fc00-0x9ffff] reserved",
                0x9fc00,
                0xa0000,
                E820Type::RESERVED,
            ),
            (
                "<6>[0.0] BIOS-e820: [mem 0xf0000-0xfffff]  device reserved",
                0xf0000,
                0x10_0000,
                E820Type::RESERVED,
            ),
            ("BIOS-e820: [mem 0x100000-0x1fffff]  System RAM", 0x10_0000, 0x20_0000, E820Type::RAM),
            ("BIOS-e820: [mem 0x1000-0x1fff] ACPI data", 0x1000, 0x2000, E820Type::ACPI),
            ("BIOS-e820: [mem 0x1000-0x1fff] ACPI NVS", 0x1000, 0x2000, E820Type::NVS),
            ("BIOS-e820: [mem 0x1000-0x1fff] unusable", 0x1000, 0x2000, E820Type::UNUSABLE),
            ("BIOS-e820: [mem 0x1000-0x1fff] persistent (type 7)", 0x1000, 0x2000, E820Type::PMEM),
            ("BIOS-e820: [mem 0x1000-0x1fff]  persistent RAM (type 12)", 0x1000, 0x2000, E820Type::PRAM),
            ("BIOS-e820: [mem 0x1000-0x1fff] soft reserved", 0x1000, 0x2000, E820Type::SOFT_RESERVED),
            ("BIOS-e820: [mem 0x1000-0x1fff] type 20", 0x1000, 0x2000, E820Type(20)),
            ("BIOS-e801: [mem 0x0-0x9ffff] usable", 0, 0xa0000, E820Type::RAM),
            (
                "Jan  1 00:00:00 host kernel: BIOS-e820: [mem 0x0-0xffffffffffffffff] reserved\u{20}",
                0,
                u64::MAX,
                E820Type::RESERVED,
            ),
        ];
        for (line, start, end, expected) in good {
            assert_eq!(e820_line(line), Some(Some((range(start, end), expected))), "{line}");
        }
        let others = [
            "BIOS-e820: [gap 0x00000000000a0000-0x00000000000effff]",
            "e820: update [mem 0x00000000-0x00000fff] usable ==> reserved",
            "modified: [mem 0x0000000000000000-0x0000000000000fff] reserved",
        ];
        for line in others {
            assert_eq!(e820_line(line), None, "{line}");
        }
        let damaged = [
            "BIOS-e820:",
            "BIOS-e820: [mem 0x1000-0x1fff]",
            "BIOS-e820: [mem 0x1000-0x1fff",
            "BIOS-e820: [mem 0x2000-0x0fff] usable",
            "BIOS-e820: [mem 0x1000] usable",
            "BIOS-e820: 0000 - 1000 usable",
            "BIOS-e820: [mem 0x1000-0x1fff] type -1",
        ];
        for line in damaged {
            assert_eq!(e820_line(line), Some(None), "{line}");
        }
    }

    #[test]
    fn efi_lines_of_every_age() {
        let caching = EfiAttributes(0xf);
        let runtime = EfiAttributes::RUNTIME.union(EfiAttributes::UC);
        let good = [
            (
                "EFI: mem00: type=7, attr=0xf, range=[0x0000000000000000-0x00000000000a0000) (0MB)",
                Some(0),
                0,
                0xa0000,
                EfiMemoryType::CONVENTIONAL,
                caching,
            ),
            (
                "efi: mem12: type=4, attr=0x800000000000000f, range=[0x0000000000100000-0x0000000000200000) (1MB)",
                Some(12),
                0x10_0000,
                0x20_0000,
                EfiMemoryType::BOOT_SERVICES_DATA,
                EfiAttributes(0x8000_0000_0000_000f),
            ),
            (
                "efi: mem00: [Conventional Memory|   |  |  |  |   |WB|WT|WC|UC] range=[0x0000000000000000-0x000000000009f000) (0MB)",
                Some(0),
                0,
                0x9f000,
                EfiMemoryType::CONVENTIONAL,
                caching,
            ),
            (
                "[    0.000000] efi: mem123: [MMIO        |RUN|  |  |  |  |  |  |  |  |   |  |  |  |UC] range=[0x00000000fee00000-0x00000000fee00fff] (0MB)",
                Some(123),
                0xfee0_0000,
                0xfee0_1000,
                EfiMemoryType::MAPPED_IO,
                runtime,
            ),
            (
                "efi: mem41: [Reserved           |attr=0x070000000000000f] range=[0x000000007a700000-0x000000007a7fffff] (1MB)",
                Some(41),
                0x7a70_0000,
                0x7a80_0000,
                EfiMemoryType::RESERVED,
                EfiAttributes(0x0700_0000_0000_000f),
            ),
            (
                "efi: mem01: [type=1879048192|   |  |  |UC] range=[0x1000-0x1fff] (0MB)",
                Some(1),
                0x1000,
                0x2000,
                EfiMemoryType(0x7000_0000),
                EfiAttributes::UC,
            ),
            // The bracket says inside, the bits say behind.
            (
                "efi: mem02: [Boot Code|UC] range=[0x1000-0x3000] (0MB)",
                Some(2),
                0x1000,
                0x3000,
                EfiMemoryType::BOOT_SERVICES_CODE,
                EfiAttributes::UC,
            ),
            (
                "efi:   0x000040000000-0x00004007ffff [Loader Data |   |  |  |  |  |  |  |  |  |   |WB|WT|WC|UC]*",
                None,
                0x4000_0000,
                0x4008_0000,
                EfiMemoryType::LOADER_DATA,
                caching,
            ),
        ];
        for (line, index, start, end, memory_type, attributes) in good {
            let expected = EfiLine { index, range: range(start, end), memory_type, attributes };
            assert_eq!(efi_line(line), Some(Some(expected)), "{line}");
        }
        let others = [
            "efi: Remove mem52: MMIO range=[0xe0000000-0xefffffff] (256MB) from e820 map",
            "efi: Not removing mem54: MMIO range=[0xfee00000-0xfee00fff] (4KB) from e820 map",
            "efi: EFI v2.70 by American Megatrends",
            "efi: memattr: Unexpected EFI Memory Attributes table version -1",
            "efi: memory map: nothing",
        ];
        for line in others {
            assert_eq!(efi_line(line), None, "{line}");
        }
        let damaged = [
            "efi: mem00: [Conventional|WB] range=[0x0-0x9ffff",
            "efi: mem00: [Conventional|XX] range=[0x0-0x9ffff] (0MB)",
            "efi: mem00: [Nothing|WB] range=[0x0-0x9ffff] (0MB)",
            "efi: mem00:",
        ];
        for line in damaged {
            assert_eq!(efi_line(line), Some(None), "{line}");
        }
    }

    #[test]
    fn shell_lines_short_full_and_numbered() {
        let good = [
            (
                "BS_Data    0000000080D46000-0000000080D9EFFF 0000000000000059 000000000000000F",
                EfiMemoryType(4),
                0xf,
            ),
            ("MemoryMap,\"BootServiceData\",\"80D46000\",\"80D9EFFF\",\"59\",\"F\"", EfiMemoryType(4), 0xf),
            ("MemoryMap,BootServiceData,80D46000,80D9EFFF,59,F", EfiMemoryType(4), 0xf),
            (
                "  70000001 0000000080D46000-0000000080D9EFFF 0000000000000059 8000000000000000",
                EfiMemoryType(0x7000_0001),
                1 << 63,
            ),
        ];
        for (line, memory_type, attributes) in good {
            let expected = (range(0x80d4_6000, 0x80d9_f000), memory_type, EfiAttributes(attributes));
            assert_eq!(shell_line(line), Some(Some(expected)), "{line}");
        }
        let others = [
            "Type       Start            End              # Pages          Attributes",
            "  Reserved  :        31,415 Pages (128,675,840 Bytes)",
            "Reserved",
            "MemoryMapSummary,\"1\",\"2\"",
            "80D46000-80D9EFFF : System RAM",
        ];
        for line in others {
            assert_eq!(shell_line(line), None, "{line}");
        }
        let damaged = [
            "BS_Data    0000000080D46000-0000000080D9EFFF 0000000000000058 000000000000000F",
            "BS_Data    0000000080D46000-0000000080D9EFFF 0000000000000059",
            "BS_Data    0000000080D46000-0000000080D9EFFF 0000000000000059 F F",
        ];
        for line in damaged {
            assert_eq!(shell_line(line), Some(None), "{line}");
        }
    }
}
