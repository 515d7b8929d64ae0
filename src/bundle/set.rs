//! The tables of one machine, each with where it came from.

use super::{acpidump, archive, cdat, image, raw, text};
use crate::error::{Cause, TableError};
use crate::tables::anatomy::{Anatomy, Format, anatomy};
use crate::tables::efi::EfiDescriptor;
use crate::tables::header::SdtHeader;
use crate::tables::root::Rsdp;
use crate::units::{PhysAddr, Signature, widen};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// What kind of input a table came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// ACPI tables as bytes, one after another, perhaps with an RSDP among them.
    Tables,
    /// Memory that holds an RSDP and the tables it leads to.
    MemoryImage,
    /// The text that acpidump prints.
    Acpidump,
    /// An initrd: its tables replace those of the firmware, or are added to them.
    Initrd,
    /// One CDAT as bytes.
    Cdat,
    /// A memory map as bytes, which only a [`Hint`] can tell.
    Map,
}

/// What an input is, said by someone who knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// ACPI tables as bytes, whatever their signature.
    Tables,
    /// A CDAT.
    Cdat,
    /// Memory with an RSDP in it.
    MemoryImage,
    /// EFI memory descriptors.
    EfiMap {
        /// Bytes from one to the next, at least 40.
        stride: usize,
    },
    /// E820 entries of 20 bytes.
    E820,
}

/// What is known about an input before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// What the input is; without it, its contents tell.
    pub hint: Option<Hint>,
    /// Physical address of the first byte of a memory image; without it, the pointers in the image tell.
    pub image_base: Option<PhysAddr>,
}

/// Where a table came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of its input in [`TableSet::inputs`].
    pub input: usize,
    /// Its name in an archive.
    pub member: Option<String>,
    /// Byte offset in the input: of its first byte, or of the headline of an acpidump.
    pub offset: u64,
    /// Physical address of its first byte, where the container tells.
    pub address: Option<PhysAddr>,
}

/// One table of a set.
#[derive(Clone, Debug)]
pub struct BundledTable<'a> {
    /// Its signature; the made-up one of its format where it carries none.
    pub signature: Signature,
    /// How many tables of this signature are before it in the set.
    pub instance: usize,
    /// How its bytes are to be read.
    pub format: Format,
    /// Where it came from.
    pub origin: Origin,
    /// Its bytes: as many as its Length field claims and the input has, and for the only table of an input also what
    /// follows it there.
    pub bytes: Cow<'a, [u8]>,
    /// What follows the table in a memory image. Linux reads there when a Length field or a count claims too much.
    pub beyond: &'a [u8],
}

impl BundledTable<'_> {
    /// Takes the table apart.
    ///
    /// # Errors
    /// See [`anatomy`].
    pub fn anatomy(&self) -> Result<Anatomy<'_>, TableError> {
        anatomy(self.format, &self.bytes)
    }
}

/// Bytes of an input that belong to no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncovered<'a> {
    /// Offset of the first of them in the input.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// One input of a set.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Its name, as given.
    pub name: String,
    /// What it turned out to be.
    pub container: Container,
    /// Its size in bytes.
    pub size: u64,
    /// Physical address of the first byte of a memory image.
    pub image_base: Option<PhysAddr>,
    /// What lies between and behind its tables, for [`Container::Tables`] and [`Container::MemoryImage`]: together with
    /// the tables, all of the input.
    pub uncovered: Vec<Uncovered<'a>>,
    /// Lines, members and pointers that could not be used. Offsets are in the input.
    pub faults: Vec<TableError>,
}

/// The tables of one machine, in the order in which they were found.
///
/// ```
/// use memtopo::bundle::{ReadOptions, TableSet};
/// use memtopo::units::Signature;
///
/// let text = "SLIT @ 0x000000003ffe1000\n  0000: 53 4C 49 54 2D 00 00 00 01 00 4D 54 4F 50 4F 20  SLIT\n  \
///             0010: 4D 45 4D 54 4F 50 4F 20 01 00 00 00 4D 54 50 4F  MEMTOPO\n  \
///             0020: 01 00 00 00 01 00 00 00 00 00 00 00 0A\n";
/// let mut set = TableSet::default();
/// assert_eq!(set.read("acpidump.txt", text.as_bytes(), ReadOptions::default())?, 1);
/// assert_eq!(set.first(Signature::SLIT).unwrap().bytes.len(), 45);
/// # Ok::<(), memtopo::error::TableError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TableSet<'a> {
    tables: Vec<BundledTable<'a>>,
    inputs: Vec<Input<'a>>,
    /// How many tables there are of each signature.
    counts: BTreeMap<Signature, usize>,
}

/// A table in a container.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) signature: Signature,
    pub(super) format: Format,
    pub(super) member: Option<String>,
    pub(super) offset: u64,
    pub(super) address: Option<PhysAddr>,
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) beyond: &'a [u8],
}

impl<'a> Found<'a> {
    /// A table that lies as bytes at `offset` of its input.
    pub(super) fn borrowed(signature: Signature, format: Format, offset: usize, bytes: &'a [u8]) -> Self {
        Self {
            signature,
            format,
            member: None,
            offset: widen(offset),
            address: None,
            bytes: Cow::Borrowed(bytes),
            beyond: &[],
        }
    }
}

/// What a container holds.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) container: Container,
    pub(super) tables: Vec<Found<'a>>,
    pub(super) uncovered: Vec<Uncovered<'a>>,
    pub(super) faults: Vec<TableError>,
    pub(super) image_base: Option<PhysAddr>,
}

impl Contents<'_> {
    pub(super) const fn new(container: Container) -> Self {
        Self { container, tables: Vec::new(), uncovered: Vec::new(), faults: Vec::new(), image_base: None }
    }
}

impl<'a> TableSet<'a> {
    /// Adds everything found in one input, and tells how many tables that were.
    ///
    /// # Errors
    /// [`Cause::NothingDecoded`] when the input holds no table that can be recognised, [`Cause::Truncated`] when it ends
    /// inside the header of its only table, [`Cause::Stride`] for a hint with a stride below 40. The set is unchanged
    /// then.
    pub fn read(&mut self, name: &str, bytes: &'a [u8], options: ReadOptions) -> Result<usize, TableError> {
        let contents = contents(bytes, options)?;
        let input = self.inputs.len();
        let count = contents.tables.len();
        self.inputs.push(Input {
            name: String::from(name),
            container: contents.container,
            size: widen(bytes.len()),
            image_base: contents.image_base,
            uncovered: contents.uncovered,
            faults: contents.faults,
        });
        for found in contents.tables {
            let next = self.counts.entry(found.signature).or_default();
            let instance = *next;
            *next = next.saturating_add(1);
            self.tables.push(BundledTable {
                signature: found.signature,
                instance,
                format: found.format,
                origin: Origin { input, member: found.member, offset: found.offset, address: found.address },
                bytes: found.bytes,
                beyond: found.beyond,
            });
        }
        Ok(count)
    }

    /// All tables, in the order in which they were found.
    #[must_use]
    pub fn tables(&self) -> &[BundledTable<'a>] {
        &self.tables
    }

    /// All inputs, in the order in which they were read.
    #[must_use]
    pub fn inputs(&self) -> &[Input<'a>] {
        &self.inputs
    }

    /// The input that a table came from.
    #[must_use]
    pub fn input_of(&self, table: &BundledTable<'_>) -> Option<&Input<'a>> {
        self.inputs.get(table.origin.input)
    }

    /// The first table with this signature: the only one that Linux uses of SRAT, SLIT, HMAT and CEDT.
    #[must_use]
    pub fn first(&self, signature: Signature) -> Option<&BundledTable<'a>> {
        self.tables.iter().find(|table| table.signature == signature)
    }

    /// Every table with this signature.
    pub fn all(&self, signature: Signature) -> impl Iterator<Item = &BundledTable<'a>> {
        self.tables.iter().filter(move |table| table.signature == signature)
    }
}

/// What is in an input.
fn contents(bytes: &[u8], options: ReadOptions) -> Result<Contents<'_>, TableError> {
    let nothing = nothing_decoded(bytes);
    let hint = options.hint.or(options.image_base.map(|_| Hint::MemoryImage));
    if let Some(hint) = hint {
        return match hint {
            Hint::Tables => raw::read(bytes, true).ok_or(nothing),
            Hint::Cdat => cdat::read(bytes),
            Hint::MemoryImage => image::read(bytes, options.image_base).ok_or(nothing),
            Hint::EfiMap { stride } => map(Signature::EFI_MAP, Format::EfiMap { stride }, bytes),
            Hint::E820 => map(Signature::E820, Format::E820, bytes),
        };
    }
    if archive::is_archive(bytes) {
        return Some(archive::read(bytes)).filter(|found| !found.tables.is_empty()).ok_or(nothing);
    }
    let decoded = text::decode(bytes);
    if text::is_text(&decoded) {
        let found = acpidump::read(&decoded);
        if !found.tables.is_empty() {
            return Ok(found);
        }
        if text::is_text(bytes) {
            return Err(nothing);
        }
    }
    if bytes.starts_with(&Rsdp::MAGIC) {
        let image = image::read(bytes, None).filter(|found| found.tables.len() > 1);
        return image.or_else(|| raw::read(bytes, false)).ok_or(nothing);
    }
    if let Some(found) = raw::read(bytes, false) {
        return Ok(found);
    }
    if cdat::is_plausible(bytes) {
        return cdat::read(bytes);
    }
    image::read(bytes, None).ok_or(nothing)
}

/// The error for an input without a table: that its header is cut off, when it begins like a table.
fn nothing_decoded(bytes: &[u8]) -> TableError {
    let signature = bytes.first_chunk().map(|start| Signature(*start)).filter(|start| start.is_plausible());
    let table = signature.unwrap_or(Signature(*b"????"));
    let (cause, expected) = match signature {
        Some(_) if bytes.len() < SdtHeader::SIZE && !text::is_text(bytes) => {
            (Cause::Truncated, widen(SdtHeader::SIZE))
        }
        _ => (Cause::NothingDecoded, 1),
    };
    let found = if cause == Cause::Truncated { widen(bytes.len()) } else { 0 };
    TableError { table, offset: 0, cause, expected, found }
}

fn map(signature: Signature, format: Format, bytes: &[u8]) -> Result<Contents<'_>, TableError> {
    if bytes.is_empty() {
        return Err(TableError {
            table: signature,
            offset: 0,
            cause: Cause::NothingDecoded,
            expected: widen(EfiDescriptor::SIZE),
            found: 0,
        });
    }
    anatomy(format, bytes)?;
    let mut contents = Contents::new(Container::Map);
    contents.tables.push(Found::borrowed(signature, format, 0, bytes));
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::memory_map;
    use crate::testing::{self, sdt};

    extern crate std;
    use std::fs;

    fn read(bytes: &[u8]) -> Result<TableSet<'_>, TableError> {
        let mut set = TableSet::default();
        set.read("input", bytes, ReadOptions::default()).map(|_| set)
    }

    #[test]
    fn instances_count_across_inputs_and_bytes_are_borrowed() {
        let (srat, other) = (sdt(b"SRAT", &[0; 12]), sdt(b"SRAT", &[1; 12]));
        let both = [&srat[..], &sdt(b"HMAT", &[0; 4])].concat();
        let mut set = TableSet::default();
        assert_eq!(set.read("a", &both, ReadOptions::default()), Ok(2));
        assert_eq!(set.read("b", &other, ReadOptions::default()), Ok(1));
        let srats: Vec<_> =
            set.all(Signature::SRAT).map(|table| (table.instance, table.origin.input)).collect();
        assert_eq!(srats, [(0, 0), (1, 1)]);
        assert_eq!(*set.first(Signature::SRAT).unwrap().bytes, *srat);
        assert_eq!(set.first(Signature::HMAT).unwrap().origin.offset, 48);
        assert!(set.first(Signature::SLIT).is_none());
        assert!(set.tables().iter().all(|table| matches!(table.bytes, Cow::Borrowed(_))));
        assert_eq!(set.input_of(&set.tables()[2]).unwrap().name, "b");
        assert_eq!(set.tables()[0].anatomy().unwrap().table(), Signature::SRAT);
    }

    #[test]
    fn a_refused_input_leaves_the_set_alone() {
        let mut set = TableSet::default();
        for (bytes, cause, table) in [
            (&b""[..], Cause::NothingDecoded, "????"),
            (b"just some text\n", Cause::NothingDecoded, "just"),
            (b"SRAT\x30\0\0\0", Cause::Truncated, "SRAT"),
            (&[0; 100], Cause::NothingDecoded, "????"),
        ] {
            let fault = set.read("x", bytes, ReadOptions::default()).unwrap_err();
            assert_eq!((fault.cause, alloc::format!("{}", fault.table)), (cause, String::from(table)));
        }
        let options = ReadOptions { hint: Some(Hint::EfiMap { stride: 39 }), ..ReadOptions::default() };
        assert_eq!(set.read("x", &[0; 96], options).unwrap_err().cause, Cause::Stride);
        assert!(set.tables().is_empty() && set.inputs().is_empty());
    }

    #[test]
    fn hints_overrule_the_contents() {
        let srat = sdt(b"SRAT", &[0; 12]);
        let as_hinted = |hint| {
            let mut set = TableSet::default();
            set.read("x", &srat, ReadOptions { hint: Some(hint), image_base: None })
                .map(|_| set.tables[0].format)
        };
        assert_eq!(as_hinted(Hint::Cdat), Ok(Format::Cdat));
        assert_eq!(as_hinted(Hint::EfiMap { stride: 48 }), Ok(Format::EfiMap { stride: 48 }));
        assert_eq!(as_hinted(Hint::E820), Ok(Format::E820));
        assert_eq!(as_hinted(Hint::Tables), Ok(Format::Sdt));
        assert_eq!(as_hinted(Hint::MemoryImage).unwrap_err().cause, Cause::NothingDecoded);
    }

    #[test]
    fn the_example_of_two_encodings_is_one_table() {
        let srat = sdt(b"SRAT", &[0; 12]);
        let mut text = String::new();
        acpidump::write(&mut text, Signature::SRAT, None, &srat).unwrap();
        let wide: Vec<u8> =
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for bytes in [text.as_bytes(), &wide] {
            let set = read(bytes).unwrap();
            assert_eq!(set.inputs()[0].container, Container::Acpidump);
            assert_eq!(*set.tables()[0].bytes, *srat);
        }
    }

    #[test]
    fn every_real_table_is_recognised_by_its_contents() {
        let Some(folder) = testing::shared("corpus/REAL/tables") else { return };
        let mut count = 0;
        for path in
            testing::listing(&folder).iter().filter(|path| path.extension().is_some_and(|end| end == "bin"))
        {
            let bytes = fs::read(path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let set = read(&bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            let [table] = set.tables() else { panic!("{name}: {} tables", set.tables().len()) };
            let signature = alloc::format!("{}-", table.signature).to_ascii_lowercase();
            assert!(name.starts_with(&signature), "{name} is a {signature}");
            assert_eq!(*table.bytes, *bytes, "{name}");
            for end in 0..bytes.len().min(200) {
                let _ = read(&bytes[..end]);
            }
            count += 1;
        }
        assert!(count > 40, "{count}");
        testing::report(format_args!("real tables recognised: {count}"));
    }

    #[test]
    fn inputs_that_hold_no_table_are_refused() {
        for folder in ["corpus/REAL/dmesg", "corpus/REAL/iomem", "corpus/REAL/efi", "corpus/REAL/sysfs"] {
            let Some(folder) = testing::shared(folder) else { return };
            for path in testing::listing(&folder) {
                let bytes = fs::read(&path).unwrap();
                let fault = read(&bytes).map(|set| set.tables().len()).expect_err(path.to_str().unwrap());
                assert_eq!(fault.cause, Cause::NothingDecoded);
            }
        }
    }

    #[test]
    fn captured_inputs_give_the_tables_that_went_in() {
        let Some(cases) = testing::shared("oracle/cases") else { return };
        let (mut inputs, mut exposed) = (0, 0);
        for case in testing::listing(&cases) {
            for (folder, count) in [("input", &mut inputs), ("tables", &mut exposed)] {
                let folder = case.join(folder);
                let paths = if folder.is_dir() { testing::listing(&folder) } else { Vec::new() };
                for path in paths.iter().filter(|path| !path.ends_with("tree.bin")) {
                    let bytes = fs::read(path).unwrap();
                    let set = read(&bytes).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
                    assert_eq!(set.tables().len(), 1, "{}", path.display());
                    assert_eq!(*set.tables()[0].bytes, *bytes);
                    assert!(memory_map::read(&bytes).is_err(), "{}", path.display());
                    *count += 1;
                }
            }
        }
        testing::report(format_args!("captured tables: {inputs} inputs, {exposed} as the kernel shows them"));
    }
}
