//! MSCT, the Maximum System Characteristics Table: upper bounds on proximity domains, clock domains, addresses,
//! processors and memory (ACPI 6.6 §5.2.19). Linux 7.2 does not use it.

use super::entries::{Entries, Narrow, RawEntry, typed};
use super::header::{Identity, SdtHeader, Table};
use super::layout::{Row, Structure, layout};
use super::output::{Output, Seal, TableWriter};
use super::schema::{Body, FramingKind, Structures, TableSchema};
use super::wire::{Hex, Length};
use crate::error::{Cause, TableError, WriteError};
use crate::units::{ByteCount, PhysAddr, ProximityDomain, Signature, widen};
use zerocopy::IntoBytes;

layout! {
    /// What MSCT has between header and structures.
    MsctPrologue("msct", "MSCT", 20) {
        /// Offset in bytes from the start of the table to the first structure: 0x38.
        proximity_offset: Hex<u32> = "Proximity Offset",
        /// The most proximity domains that there can be, less one.
        max_proximity_domains: u32 = "Max Proximity Domains",
        /// The most clock domains that there can be, less one.
        max_clock_domains: u32 = "Max Clock Domains",
        /// The highest physical address that there can be.
        max_physical_address: PhysAddr = "Max Physical Address",
    }
    lists(|fixed, _| [u64::from(fixed.proximity_offset.get().0).saturating_sub(widen(Msct::FIXED)), 0, 0]) {
        "gap", "Bytes before the first structure": [u8], Row::Plain;
    }
}

layout! {
    /// Maximum Proximity Domain Information Structure: ACPI 6.6 §5.2.19.1. It has a revision where other tables have
    /// a type; this is revision 1.
    ProximityDomainInformation("maximum_proximity_domain_information", "Maximum Proximity Domain Information", 22) {
        /// Revision of the structure: 1.
        revision: u8 = "Revision",
        /// Length of the structure: 22.
        length: Length<u8> = "Length",
        /// First domain of the range that the structure is about.
        domain_range_low: ProximityDomain = "Domain Range Start",
        /// Last domain of the range.
        domain_range_high: ProximityDomain = "Domain Range End",
        /// The most processors that each of these domains can have; 0 for none.
        processor_capacity: u32 = "Processor Capacity",
        /// The most bytes of memory that each of these domains can have; 0 for none.
        memory_capacity: ByteCount = "Memory Capacity",
    }
}

/// How to walk and print an MSCT: the revision of a structure takes the place of a type.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::MSCT,
    name: "Maximum System Characteristics Table",
    prologue: Some(&MsctPrologue::LAYOUT),
    body: Body::Structures(Structures {
        framing: FramingKind::Narrow,
        layouts: &[(1, ProximityDomainInformation::LAYOUT)],
        choose: None,
    }),
};

impl MsctPrologue {
    /// The bounds on `proximity_domains` and `clock_domains`, both at least 1, and on addresses.
    #[must_use]
    pub fn new(proximity_domains: u32, clock_domains: u32, max_physical_address: PhysAddr) -> Self {
        Self {
            proximity_offset: Hex(56).into(),
            max_proximity_domains: proximity_domains.saturating_sub(1).into(),
            max_clock_domains: clock_domains.saturating_sub(1).into(),
            max_physical_address: max_physical_address.into(),
        }
    }
}

impl ProximityDomainInformation {
    /// What each domain from `low` to `high`, both included, can have at most.
    #[must_use]
    pub fn new(low: ProximityDomain, high: ProximityDomain, processors: u32, memory: ByteCount) -> Self {
        Self {
            revision: 1.into(),
            length: Length(22).into(),
            domain_range_low: low.into(),
            domain_range_high: high.into(),
            processor_capacity: processors.into(),
            memory_capacity: memory.into(),
        }
    }
}

/// One structure of an MSCT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// Revision 1.
    ProximityDomain(&'a ProximityDomainInformation),
    /// A revision that ACPI 6.6 does not define.
    Unknown(RawEntry<'a>),
}

impl<'a> Entry<'a> {
    /// Gives a walked structure its type.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`].
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        Ok(match raw.kind {
            1 => Self::ProximityDomain(typed(Signature::MSCT, raw)?.0),
            _ => Self::Unknown(*raw),
        })
    }
}

/// An MSCT, read in place.
///
/// ```
/// use memtopo::tables::msct::{Entry, Msct, MsctPrologue, MsctWriter, ProximityDomainInformation};
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::units::{ByteCount, PhysAddr, ProximityDomain};
///
/// let mut buffer = [0; 78];
/// let bounds = MsctPrologue::new(3, 1, PhysAddr(0x13_ffff_ffff));
/// let mut writer = MsctWriter::new(SliceOutput::new(&mut buffer), Default::default(), &bounds);
/// let (first, last) = (ProximityDomain(0), ProximityDomain(2));
/// writer.push(&ProximityDomainInformation::new(first, last, 8, ByteCount(16 << 30)));
/// assert_eq!(writer.finish(Seal::Fill)?, 78);
///
/// let msct = Msct::parse(&buffer)?;
/// assert_eq!(msct.proximity_domains(), 3);
/// for entry in msct.entries() {
///     if let Entry::ProximityDomain(domains) = entry? {
///         assert_eq!(domains.processor_capacity.get(), 8);
///     }
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Msct<'a> {
    table: Table<'a>,
    prologue: &'a MsctPrologue,
}

impl<'a> Msct<'a> {
    /// Bytes before the first structure, when the offset field has its usual value.
    pub const FIXED: usize = 56;

    /// Takes the MSCT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 56, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let table = Table::expect(input, Signature::MSCT, Self::FIXED)?;
        Ok(Self { table, prologue: table.prologue()? })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// The fixed fields behind the header.
    #[must_use]
    pub const fn prologue(&self) -> &'a MsctPrologue {
        self.prologue
    }

    /// The most proximity domains that there can be.
    #[must_use]
    pub fn proximity_domains(&self) -> u64 {
        u64::from(self.prologue.max_proximity_domains.get()).saturating_add(1)
    }

    /// The most clock domains that there can be.
    #[must_use]
    pub fn clock_domains(&self) -> u64 {
        u64::from(self.prologue.max_clock_domains.get()).saturating_add(1)
    }

    /// Where the structures begin: at the offset that the table gives, but not before byte 56.
    fn start(&self) -> usize {
        usize::try_from(self.prologue.proximity_offset.get().0).unwrap_or(usize::MAX).max(Self::FIXED)
    }

    /// The bytes between the fixed fields and the first structure: usually none.
    ///
    /// # Errors
    /// [`Cause::ListOverrun`] when the first structure would lie beyond the end of the table: expected and found are
    /// the bytes behind the header.
    pub fn gap(&self) -> Result<&'a [u8], TableError> {
        self.table.bytes().get(Self::FIXED..self.start()).ok_or_else(|| TableError {
            table: Signature::MSCT,
            offset: widen(SdtHeader::SIZE),
            cause: Cause::ListOverrun,
            expected: widen(self.start().saturating_sub(SdtHeader::SIZE)),
            found: widen(self.table.body().len()),
        })
    }

    /// The structures as they lie in the table, whatever their revision, which stands for a type; none when
    /// [`gap`](Self::gap) is an error.
    #[must_use]
    pub fn raw_entries(&self) -> Entries<'a, Narrow> {
        Entries::new(Signature::MSCT, self.table.bytes(), self.start())
    }

    /// The structures in table order.
    ///
    /// A structure too short for its revision is an error of that item; the walk goes on. A walk that cannot go
    /// on ends with an error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, TableError>> + use<'a> {
        self.raw_entries().map(|raw| Entry::decode(&raw?))
    }
}

/// Writes an MSCT of revision 1.
#[derive(Debug)]
pub struct MsctWriter<O> {
    table: TableWriter<O>,
}

impl<O: Output> MsctWriter<O> {
    /// Starts an MSCT at the end of `output`.
    pub fn new(output: O, identity: Identity, prologue: &MsctPrologue) -> Self {
        Self::with_header(output, &SdtHeader::new(Signature::MSCT, 1, identity), prologue)
    }

    /// Starts an MSCT with every field of the fixed part as given.
    pub fn with_header(output: O, header: &SdtHeader, prologue: &MsctPrologue) -> Self {
        let mut table = TableWriter::new(output, header);
        table.raw(prologue.as_bytes());
        Self { table }
    }

    /// Appends one structure as it is.
    #[inline]
    pub fn push(&mut self, structure: &ProximityDomainInformation) {
        self.table.raw(structure.as_bytes());
    }

    /// Appends bytes verbatim, such as a structure of an unknown revision.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.table.raw(bytes);
    }

    /// Ends the table and returns its length in bytes.
    ///
    /// # Errors
    /// See [`TableWriter::finish`].
    pub fn finish(self, seal: Seal) -> Result<u64, WriteError> {
        self.table.finish(seal)
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::tables::anatomy::Format;
    use crate::tables::anatomy::testing::{
        IDENTITY, Walked, assert_covered, assert_length_lies, assert_truncations, assert_unknown_kept, hex,
        rest,
    };
    use alloc::vec::Vec;

    /// Three domains alike.
    const EXAMPLE: &str = "
        4d534354 4e000000 01 ef 4d544f504f20 4558414d504c4520 01000000 4d54504f 01000000
        38000000 02000000 00000000 ffffffff13000000
        01 16 00000000 02000000 08000000 0000000004000000";

    fn walk(input: &[u8]) -> Walked {
        Ok(Msct::parse(input)?.entries().map(|entry| entry.map(drop)).collect())
    }

    #[test]
    fn the_example_reads_and_writes() {
        let bytes = hex(EXAMPLE);
        let msct = Msct::parse(&bytes).unwrap();
        assert_eq!((msct.table().revision(), msct.table().faults().count()), (1, 0));
        assert_eq!(msct.prologue().proximity_offset.get(), Hex(0x38));
        assert_eq!((msct.proximity_domains(), msct.clock_domains()), (3, 1));
        assert_eq!(msct.prologue().max_physical_address.get(), PhysAddr(0x13_ffff_ffff));
        assert_eq!(msct.gap(), Ok(&[][..]));
        let entries: Vec<_> = msct.entries().collect::<Result<_, _>>().unwrap();
        let [Entry::ProximityDomain(domains)] = entries[..] else { panic!("{entries:?}") };
        assert_eq!((domains.revision.get(), domains.length.get()), (1, Length(22)));
        assert_eq!(domains.domain_range_low.get(), ProximityDomain(0));
        assert_eq!(domains.domain_range_high.get(), ProximityDomain(2));
        assert_eq!(domains.processor_capacity.get(), 8);
        assert_eq!(domains.memory_capacity.get(), ByteCount(16 << 30));

        let mut written = Vec::new();
        let bounds = MsctPrologue::new(3, 1, PhysAddr(0x13_ffff_ffff));
        let mut writer = MsctWriter::new(&mut written, IDENTITY, &bounds);
        let (low, high) = (ProximityDomain(0), ProximityDomain(2));
        writer.push(&ProximityDomainInformation::new(low, high, 8, ByteCount(16 << 30)));
        assert_eq!(writer.finish(Seal::Fill), Ok(78));
        assert_eq!(written, bytes);
    }

    #[test]
    fn damage_is_told_and_covered() {
        let bytes = hex(EXAMPLE);
        assert_truncations(Format::Sdt, &bytes, Msct::FIXED, walk);
        assert_length_lies(Format::Sdt, &bytes, walk);
        assert_unknown_kept(Format::Sdt, &bytes, walk);
        let groups = assert_covered(Format::Sdt, &bytes);
        assert_eq!(groups.len(), 3);
        assert!(groups.iter().all(|group| rest(group).is_empty() && group.faults == [None; 2]));
    }

    #[test]
    fn the_structures_begin_where_the_offset_says() {
        let mut bytes = hex(EXAMPLE);
        bytes.splice(56..56, [0xaa; 6]);
        bytes[36] = 62;
        bytes[4] += 6;
        let msct = Msct::parse(&bytes).unwrap();
        assert_eq!(msct.gap(), Ok(&[0xaa; 6][..]));
        assert_eq!(msct.raw_entries().next().map(|raw| raw.unwrap().offset), Some(62));
        let groups = assert_covered(Format::Sdt, &bytes);
        assert_eq!((groups.len(), groups[1].lists()[0].bytes), (3, &[0xaa; 6][..]));
        assert_eq!((groups[2].offset, rest(&groups[2]).len()), (62, 0));

        // Inside the fixed fields: taken for the usual 56. Behind the table: no structures, and told.
        for offset in [0, 55_u32] {
            bytes[36..40].copy_from_slice(&offset.to_le_bytes());
            let msct = Msct::parse(&bytes).unwrap();
            assert_eq!(
                (msct.gap(), msct.raw_entries().next().map(|raw| raw.is_ok())),
                (Ok(&[][..]), Some(false))
            );
            assert_covered(Format::Sdt, &bytes);
        }
        for offset in [85, u32::MAX] {
            bytes[36..40].copy_from_slice(&offset.to_le_bytes());
            let msct = Msct::parse(&bytes).unwrap();
            assert!(msct.entries().next().is_none());
            let error = msct.gap().unwrap_err();
            assert_eq!((error.expected, error.found), (u64::from(offset) - 36, 48));
            let groups = assert_covered(Format::Sdt, &bytes);
            assert_eq!((groups.len(), groups[1].faults[0]), (2, Some(error)));
        }
    }
}
