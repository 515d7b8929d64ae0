//! Memory that holds an RSDP and the tables it leads to.

use super::raw::has_text_ids;
use super::set::{Container, Contents, Found, Uncovered};
use crate::error::{Cause, TableError};
use crate::tables::anatomy::Format;
use crate::tables::header::{SdtHeader, Table};
use crate::tables::root::{RootPointer, Rsdp, Rsdt, Xsdt};
use crate::units::{ByteCount, PhysAddr, Signature, widen};
use alloc::vec::Vec;
use zerocopy::FromBytes;

/// An RSDP lies at a multiple of this many bytes (ACPI 6.6 §5.2.5.1).
const RSDP_STEP: usize = 16;

/// How many RSDPs, and how many tables that may be a root, are tried at most. Memory has a few copies; a larger number
/// is an input made to keep the search busy.
const TRIES: usize = 16;

/// Memory at a place.
#[derive(Clone, Copy, Debug)]
struct Image<'a> {
    bytes: &'a [u8],
    base: PhysAddr,
}

impl<'a> Image<'a> {
    /// Offset of an address, when it is inside.
    fn offset(&self, address: PhysAddr) -> Option<usize> {
        let offset = usize::try_from(address.0.checked_sub(self.base.0)?).ok()?;
        (offset < self.bytes.len()).then_some(offset)
    }

    /// The memory from an address on.
    fn from(&self, address: PhysAddr) -> Option<&'a [u8]> {
        self.bytes.get(self.offset(address)?..)
    }

    /// The root table at an address, as its addresses, NULL ones included.
    fn root(&self, pointer: RootPointer) -> Option<Root<'a>> {
        Some(match pointer {
            RootPointer::Xsdt(address) => {
                let xsdt = Xsdt::parse(self.from(address)?).ok()?;
                let entries = xsdt.entries().iter().map(|entry| entry.get()).collect();
                Root { address, table: *xsdt.table(), entries, width: 8 }
            }
            RootPointer::Rsdt(address) => {
                let rsdt = Rsdt::parse(self.from(address)?).ok()?;
                let entries = rsdt.entries().iter().map(|entry| PhysAddr(u64::from(entry.get().0))).collect();
                Root { address, table: *rsdt.table(), entries, width: 4 }
            }
        })
    }

    /// Whether a table may lie at an address: its signature and length can be what they are.
    fn has_table(&self, address: PhysAddr) -> bool {
        let header = self.from(address).and_then(|memory| SdtHeader::ref_from_prefix(memory).ok());
        header.is_some_and(|(header, rest)| {
            let length = usize::try_from(header.length.get().0).unwrap_or(usize::MAX);
            header.signature.get().is_plausible() && length <= rest.len().saturating_add(SdtHeader::SIZE)
        })
    }
}

/// A root table.
#[derive(Debug)]
struct Root<'a> {
    address: PhysAddr,
    table: Table<'a>,
    entries: Vec<PhysAddr>,
    /// Bytes of an entry.
    width: u64,
}

/// The pointers of an RSDP, in the order of preference.
fn pointers(rsdp: &Rsdp<'_>) -> impl Iterator<Item = RootPointer> + use<> {
    let rsdt = PhysAddr(u64::from(rsdp.first().rsdt_address.get().0));
    let second = Some(RootPointer::Rsdt(rsdt)).filter(|_| rsdt != PhysAddr(0));
    let first = rsdp.root();
    first.into_iter().chain(second.filter(|second| first != Some(*second)))
}

/// Where tables lie that have this signature and look like a root table.
fn occurrences(bytes: &[u8], needle: Signature) -> Vec<usize> {
    let shaped = |offset: &usize| {
        let rest = bytes.get(*offset..).and_then(|rest| SdtHeader::ref_from_prefix(rest).ok());
        rest.is_some_and(|(header, body)| {
            let declared = usize::try_from(header.length.get().0).unwrap_or(usize::MAX);
            let least = declared.checked_sub(SdtHeader::SIZE);
            least.is_some_and(|length| length <= body.len()) && has_text_ids(header)
        })
    };
    let windows = bytes.windows(needle.0.len()).enumerate();
    let places = windows.filter(|(_, window)| **window == needle.0).map(|(offset, _)| offset);
    places.filter(shaped).take(TRIES).collect()
}

/// The base address at which a pointer leads to a root table, and that to tables: 0, or as far in front of the pointer as
/// a root table lies behind the start of the image. Of several, the one with the most tables.
fn derive_base(bytes: &[u8], pointer: RootPointer, places: &[usize]) -> Option<PhysAddr> {
    let (RootPointer::Xsdt(address) | RootPointer::Rsdt(address)) = pointer;
    let derived = places.iter().filter_map(|place| address.0.checked_sub(widen(*place)).map(PhysAddr));
    let mut best = None;
    for base in core::iter::once(PhysAddr(0)).chain(derived) {
        let image = Image { bytes, base };
        let Some(root) = image.root(pointer) else { continue };
        let tables = root.entries.iter().filter(|entry| image.has_table(**entry)).count();
        let empty = root.entries.iter().all(|entry| *entry == PhysAddr(0));
        if (tables > 0 || empty) && best.is_none_or(|(most, _)| tables > most) {
            best = Some((tables, base));
        }
    }
    best.map(|(_, base)| base)
}

/// Reads memory from its first RSDP on. `base` is the address of its first byte; without it, the base is what makes the
/// pointers meet tables. An RSDP with a wrong checksum is only used when there is no other, and one that leads nowhere is
/// taken alone.
///
/// `None` when there is no RSDP.
pub(super) fn read(bytes: &[u8], base: Option<PhysAddr>) -> Option<Contents<'_>> {
    let rsdps = || {
        let places = (0..bytes.len()).step_by(RSDP_STEP);
        places.filter_map(|at| Some((at, Rsdp::parse(bytes.get(at..)?).ok()?)))
    };
    let sound: Vec<_> = rsdps().filter(|(_, rsdp)| rsdp.is_sound()).take(TRIES).collect();
    let candidates = if sound.is_empty() { rsdps().take(1).collect() } else { sound };
    let first = candidates.first().copied()?;
    let xsdts = occurrences(bytes, Signature::XSDT);
    let rsdts = occurrences(bytes, Signature::RSDT);
    let complete = candidates.into_iter().find_map(|(at, rsdp)| {
        pointers(&rsdp).find_map(|pointer| {
            let places = if matches!(pointer, RootPointer::Xsdt(_)) { &xsdts } else { &rsdts };
            let base = base.or_else(|| derive_base(bytes, pointer, places))?;
            let image = Image { bytes, base };
            Some((at, rsdp, image, image.root(pointer)?))
        })
    });
    Some(match complete {
        Some((at, rsdp, image, root)) => follow(image, at, &rsdp, &root),
        None => alone(bytes, base, first),
    })
}

/// The contents of memory whose RSDP leads to `root`.
fn follow<'a>(image: Image<'a>, at: usize, rsdp: &Rsdp<'a>, root: &Root<'a>) -> Contents<'a> {
    let mut contents = Contents { image_base: Some(image.base), ..Contents::new(Container::MemoryImage) };
    let mut add = |signature, format, offset: usize, table: &'a [u8]| {
        let end = offset.saturating_add(table.len());
        contents.tables.push(Found {
            address: image.base.checked_add(ByteCount(widen(offset))),
            beyond: image.bytes.get(end..).unwrap_or_default(),
            ..Found::borrowed(signature, format, offset, table)
        });
    };
    add(Signature::RSDP, Format::Rsdp, at, rsdp.bytes());
    let root_offset = image.offset(root.address).unwrap_or_default();
    add(root.table.signature(), Format::Sdt, root_offset, root.table.bytes());
    let mut faults = Vec::new();
    for (index, entry) in (0_u64..).zip(&root.entries) {
        if *entry == PhysAddr(0) {
            continue;
        }
        let place = image.offset(*entry);
        let table = place.and_then(|offset| Some((offset, Table::parse(image.bytes.get(offset..)?).ok()?)));
        match table {
            Some((offset, table)) => add(table.signature(), Format::Sdt, offset, table.bytes()),
            None => faults.push(TableError {
                table: root.table.signature(),
                offset: widen(root_offset)
                    .saturating_add(widen(SdtHeader::SIZE))
                    .saturating_add(index.saturating_mul(root.width)),
                cause: Cause::MalformedContainer,
                expected: image.base.0.saturating_add(widen(image.bytes.len())),
                found: entry.0,
            }),
        }
    }
    contents.faults = faults;
    contents.uncovered = uncovered(image.bytes, &contents.tables);
    contents
}

/// The contents of memory whose RSDP leads nowhere.
fn alone<'a>(bytes: &'a [u8], base: Option<PhysAddr>, (at, rsdp): (usize, Rsdp<'a>)) -> Contents<'a> {
    let mut contents = Contents { image_base: base, ..Contents::new(Container::MemoryImage) };
    let end = at.saturating_add(rsdp.bytes().len());
    contents.tables.push(Found {
        address: base.and_then(|base| base.checked_add(ByteCount(widen(at)))),
        beyond: bytes.get(end..).unwrap_or_default(),
        ..Found::borrowed(Signature::RSDP, Format::Rsdp, at, rsdp.bytes())
    });
    contents.faults = pointers(&rsdp)
        .map(|(RootPointer::Xsdt(address) | RootPointer::Rsdt(address))| TableError {
            table: Signature::RSDP,
            offset: widen(at),
            cause: Cause::MalformedContainer,
            expected: widen(bytes.len()),
            found: address.0,
        })
        .collect();
    contents.uncovered = uncovered(bytes, &contents.tables);
    contents
}

/// The bytes that no table covers. Tables may overlap.
fn uncovered<'a>(bytes: &'a [u8], tables: &[Found<'a>]) -> Vec<Uncovered<'a>> {
    let whole = core::iter::once((bytes.len(), bytes.len()));
    let mut covered: Vec<(usize, usize)> = tables
        .iter()
        .filter_map(|table| {
            let offset = usize::try_from(table.offset).ok()?;
            Some((offset, offset.saturating_add(table.bytes.len())))
        })
        .chain(whole)
        .collect();
    covered.sort_unstable();
    let mut done = 0;
    let mut gaps = Vec::new();
    for (start, end) in covered {
        if let Some(gap) = bytes.get(done..start).filter(|gap| !gap.is_empty()) {
            gaps.push(Uncovered { offset: widen(done), bytes: gap });
        }
        done = done.max(end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::header::Identity;
    use crate::tables::output::Seal;
    use crate::tables::root::{RsdpV1, RsdtWriter, XsdtWriter, rsdp_bytes};
    use crate::tables::wire::Hex;
    use crate::testing::{self, sdt};
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use zerocopy::IntoBytes;

    extern crate std;
    use std::fs;

    /// Puts the tables of some contents and what they leave back together.
    fn rebuilt(contents: &Contents<'_>, size: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; size];
        let mut put = |offset: u64, part: &[u8]| {
            let offset = usize::try_from(offset).unwrap();
            bytes[offset..offset + part.len()].copy_from_slice(part);
        };
        contents.tables.iter().for_each(|table| put(table.offset, &table.bytes));
        contents.uncovered.iter().for_each(|gap| put(gap.offset, gap.bytes));
        bytes
    }

    /// An image at `base`: RSDP at 0x20, XSDT at 0x80 with a NULL entry and one to nowhere, SRAT at 0x101, SLIT at the
    /// end.
    fn image(base: u64) -> Vec<u8> {
        let mut bytes = alloc::vec![0x5a; 0x200];
        let (srat, slit) = (sdt(b"SRAT", &[0; 12]), sdt(b"SLIT", &[0; 8]));
        let mut xsdt = Vec::new();
        let mut writer = XsdtWriter::new(&mut xsdt, Identity::default());
        for entry in [base + 0x101, 0, base + 0x200 - 44, base + 0x1000] {
            writer.push(PhysAddr(entry));
        }
        writer.finish(Seal::Fill).unwrap();
        let rsdp = rsdp_bytes(*b"MTOPO ", Hex(0), PhysAddr(base + 0x80));
        for (at, part) in [(0x20, &rsdp[..]), (0x80, &xsdt), (0x101, &srat), (0x200 - 44, &slit)] {
            bytes[at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn tables_are_followed_from_a_given_and_from_a_derived_base() {
        for base in [0, 0x10, 0x3000_0000, 0x1_2345_6000] {
            let bytes = image(base);
            for given in [None, Some(PhysAddr(base))] {
                let contents = read(&bytes, given).unwrap();
                assert_eq!(contents.image_base, Some(PhysAddr(base)));
                let found: Vec<_> =
                    contents.tables.iter().map(|t| (t.signature, t.offset, t.beyond.len())).collect();
                assert_eq!(
                    found,
                    [
                        (Signature::RSDP, 0x20, 0x200 - 0x44),
                        (Signature::XSDT, 0x80, 0x200 - 0x80 - 68),
                        (Signature::SRAT, 0x101, 0x200 - 0x101 - 48),
                        (Signature::SLIT, 0x200 - 44, 0),
                    ]
                );
                assert_eq!(contents.tables[2].address, Some(PhysAddr(base + 0x101)));
                let [fault] = contents.faults[..] else { panic!("{:?}", contents.faults) };
                assert_eq!((fault.offset, fault.found), (0x80 + 36 + 24, base + 0x1000));
                assert_eq!(rebuilt(&contents, bytes.len()), bytes);
            }
        }
    }

    #[test]
    fn a_wrong_base_leaves_the_pointer_alone() {
        let bytes = image(0x3000_0000);
        let contents = read(&bytes, Some(PhysAddr(0))).unwrap();
        assert_eq!(contents.tables.len(), 1);
        assert_eq!(contents.faults[0].found, 0x3000_0080);
        assert_eq!(rebuilt(&contents, bytes.len()), bytes);
        assert!(read(&[0; 64], None).is_none());
    }

    #[test]
    fn the_old_root_serves_when_it_is_the_only_one() {
        let mut bytes = alloc::vec![0; 0x100];
        let mut rsdt = Vec::new();
        let mut writer = RsdtWriter::new(&mut rsdt, Identity::default());
        writer.push(Hex(0x80));
        writer.finish(Seal::Fill).unwrap();
        let table = sdt(b"SLIT", &[0; 8]);
        let old = RsdpV1::new(*b"MTOPO ", Hex(0x40));
        for (at, part) in [(0, old.as_bytes()), (0x40, &rsdt), (0x80, &table)] {
            bytes[at..at + part.len()].copy_from_slice(part);
        }
        let found = |bytes: &[u8]| {
            read(bytes, None).unwrap().tables.iter().map(|table| table.signature).collect::<Vec<_>>()
        };
        assert_eq!(found(&bytes), [Signature::RSDP, Signature::RSDT, Signature::SLIT]);
        // A newer pointer whose XSDT is not there.
        let new = rsdp_bytes(*b"MTOPO ", Hex(0x40), PhysAddr(0xf0));
        bytes[..36].copy_from_slice(&new);
        assert_eq!(found(&bytes), [Signature::RSDP, Signature::RSDT, Signature::SLIT]);
    }

    #[test]
    fn no_truncation_panics() {
        let bytes = image(0x3000_0000);
        for end in 0..bytes.len() {
            for base in [None, Some(PhysAddr(0x3000_0000)), Some(PhysAddr(u64::MAX))] {
                if let Some(contents) = read(&bytes[..end], base) {
                    assert_eq!(rebuilt(&contents, end), bytes[..end]);
                }
            }
        }
    }

    #[test]
    fn trees_of_the_emulator_give_the_tables_the_kernel_saw() {
        let Some(cases) = testing::shared("oracle/cases") else { return };
        let (mut trees, mut compared) = (0, 0);
        for case in testing::listing(&cases) {
            let Ok(bytes) = fs::read(case.join("input/tree.bin")) else { continue };
            let contents = read(&bytes, None).unwrap();
            assert_eq!(contents.image_base, Some(PhysAddr(0x3000_0000)), "{}", case.display());
            assert_eq!(contents.faults, [], "{}", case.display());
            assert_eq!(rebuilt(&contents, bytes.len()), bytes);
            // The kernel numbers the tables of a signature from 1 when there are several.
            let mut by_name: BTreeMap<String, &[u8]> = BTreeMap::new();
            for table in &contents.tables {
                let name = alloc::format!("{}", table.signature);
                let same = contents.tables.iter().filter(|other| other.signature == table.signature);
                let before = same.clone().take_while(|other| other.offset != table.offset).count();
                let name = if same.count() > 1 { alloc::format!("{name}{}", before + 1) } else { name };
                by_name.insert(name, &table.bytes);
            }
            for path in testing::listing(&case.join("tables")) {
                let name = path.file_stem().unwrap().to_str().unwrap();
                assert_eq!(by_name[name], fs::read(&path).unwrap(), "{}", path.display());
                compared += 1;
            }
            trees += 1;
        }
        assert_eq!(trees, 4);
        testing::report(format_args!(
            "memory images: {trees} trees, {compared} tables as the kernel saw them"
        ));
    }
}
