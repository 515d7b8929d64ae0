//! HMAT, the Heterogeneous Memory Attribute Table: how fast which initiator reaches which memory, and what
//! memory-side caches lie before it (ACPI 6.5 §5.2.28).

mod structures;

pub use self::structures::*;
use super::entries::{Entries, Lists, RawEntry, Wide, typed};
use super::header::{Identity, SdtHeader, Table};
use super::layout::Structure;
use super::output::{Output, Seal, TableWriter, fit};
use super::wire::{Le, Length, Reserved};
use crate::error::{TableError, WriteError};
use crate::units::{MatrixCell, ProximityDomain, Signature, SmbiosHandle, widen};
use zerocopy::IntoBytes;

/// A locality structure with its lists: the matrix of latencies or bandwidths, read in place.
///
/// Making one checks that the lists fit in the structure; the accessors then cost no more than a slice access.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Locality<'a> {
    header: &'a LocalityHeader,
    initiators: &'a [Le<ProximityDomain>],
    targets: &'a [Le<ProximityDomain>],
    cells: &'a [Le<MatrixCell>],
    rest: &'a [u8],
}

impl<'a> Locality<'a> {
    /// Reads a walked structure of type 1.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`](crate::error::Cause::StructureLengthShort), or
    /// [`Cause::ListOverrun`](crate::error::Cause::ListOverrun) when the lists do not fit.
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        let (header, rest) = typed::<LocalityHeader>(Signature::HMAT, raw)?;
        let (s, t) = (u64::from(header.initiator_count.get()), u64::from(header.target_count.get()));
        let needed = LocalityHeader::length_with(s, t).unwrap_or(u64::MAX);
        let mut lists = Lists::new(Signature::HMAT, raw, rest, needed)?;
        Ok(Self {
            header,
            initiators: lists.take(s)?,
            targets: lists.take(t)?,
            cells: lists.take(s.saturating_mul(t))?,
            rest: lists.rest(),
        })
    }

    /// The fixed part.
    #[must_use]
    pub const fn header(&self) -> &'a LocalityHeader {
        self.header
    }

    /// Domains of the rows.
    #[must_use]
    pub const fn initiators(&self) -> &'a [Le<ProximityDomain>] {
        self.initiators
    }

    /// Domains of the columns.
    #[must_use]
    pub const fn targets(&self) -> &'a [Le<ProximityDomain>] {
        self.targets
    }

    /// All cells, row by row.
    #[must_use]
    pub const fn cells(&self) -> &'a [Le<MatrixCell>] {
        self.cells
    }

    /// The cells of the initiator at place `initiator` in its list.
    #[inline]
    #[must_use]
    pub fn row(&self, initiator: usize) -> Option<&'a [Le<MatrixCell>]> {
        let width = self.targets.len();
        if initiator >= self.initiators.len() {
            return None;
        }
        let start = initiator.checked_mul(width)?;
        self.cells.get(start..start.checked_add(width)?)
    }

    /// The cell of two places in the lists.
    #[inline]
    #[must_use]
    pub fn cell(&self, initiator: usize, target: usize) -> Option<MatrixCell> {
        self.row(initiator)?.get(target).map(|cell| cell.get())
    }

    /// Bytes of the structure behind its lists.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// A memory-side cache with its SMBIOS handles, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemorySideCache<'a> {
    header: &'a MemorySideCacheHeader,
    smbios_handles: &'a [Le<SmbiosHandle>],
    rest: &'a [u8],
}

impl<'a> MemorySideCache<'a> {
    /// Reads a walked structure of type 2.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`](crate::error::Cause::StructureLengthShort), or
    /// [`Cause::ListOverrun`](crate::error::Cause::ListOverrun) when the handles do not fit.
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        let (header, rest) = typed::<MemorySideCacheHeader>(Signature::HMAT, raw)?;
        let count = u64::from(header.smbios_handle_count.get());
        let mut lists = Lists::new(Signature::HMAT, raw, rest, count.saturating_mul(2).saturating_add(32))?;
        Ok(Self { header, smbios_handles: lists.take(count)?, rest: lists.rest() })
    }

    /// The fixed part.
    #[must_use]
    pub const fn header(&self) -> &'a MemorySideCacheHeader {
        self.header
    }

    /// Handles of the memory devices that make up the cache.
    #[must_use]
    pub const fn smbios_handles(&self) -> &'a [Le<SmbiosHandle>] {
        self.smbios_handles
    }

    /// Bytes of the structure behind its handles.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// One structure of an HMAT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// Type 0 from revision 2 on.
    MemoryAttributes(&'a MemoryProximityAttributes),
    /// Type 0 of revision 1.
    AddressRange(&'a MemorySubsystemAddressRange),
    /// Type 1.
    Locality(Locality<'a>),
    /// Type 2.
    MemorySideCache(MemorySideCache<'a>),
    /// A type that ACPI 6.6 does not define.
    Unknown(RawEntry<'a>),
}

impl<'a> Entry<'a> {
    /// Gives a walked structure of an HMAT of `revision` its type.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`](crate::error::Cause::StructureLengthShort) and
    /// [`Cause::ListOverrun`](crate::error::Cause::ListOverrun).
    #[inline]
    pub fn decode(raw: &RawEntry<'a>, revision: u8) -> Result<Self, TableError> {
        const T: Signature = Signature::HMAT;
        Ok(match (raw.kind, revision) {
            (0, 1) => Self::AddressRange(typed(T, raw)?.0),
            (0, _) => Self::MemoryAttributes(typed(T, raw)?.0),
            (1, _) => Self::Locality(Locality::decode(raw)?),
            (2, _) => Self::MemorySideCache(MemorySideCache::decode(raw)?),
            _ => Self::Unknown(*raw),
        })
    }
}

/// An HMAT, read in place.
///
/// ```
/// use memtopo::tables::hmat::{DataType, Entry, Hmat, HmatWriter, LocalityHeader};
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::units::{EntryBaseUnit, MatrixCell, ProximityDomain};
///
/// let mut buffer = [0; 88];
/// let mut writer = HmatWriter::new(SliceOutput::new(&mut buffer), Default::default());
/// let latency = LocalityHeader::new(DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
/// let (near, far) = (ProximityDomain(0), ProximityDomain(2));
/// writer.push_locality(&latency, &[near], &[near, far], |_, target| MatrixCell([80, 250][target]))?;
/// assert_eq!(writer.finish(Seal::Fill)?, 88);
///
/// let hmat = Hmat::parse(&buffer)?;
/// for entry in hmat.entries() {
///     if let Entry::Locality(locality) = entry? {
///         assert_eq!(locality.targets()[1].get(), far);
///         assert_eq!(locality.cell(0, 1), Some(MatrixCell(250)));
///     }
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hmat<'a> {
    table: Table<'a>,
}

impl<'a> Hmat<'a> {
    /// Bytes before the first structure.
    pub const FIXED: usize = 40;

    /// Takes the HMAT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 40, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        Ok(Self { table: Table::expect(input, Signature::HMAT, Self::FIXED)? })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// The structures as they lie in the table, whatever their type.
    #[must_use]
    pub fn raw_entries(&self) -> Entries<'a, Wide> {
        Entries::new(Signature::HMAT, self.table.bytes(), Self::FIXED)
    }

    /// The structures in table order.
    ///
    /// A structure too short for its type or its lists is an error of that item; the walk goes on. A walk that
    /// cannot go on ends with an error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, TableError>> + use<'a> {
        let revision = self.table.revision();
        self.raw_entries().map(move |raw| Entry::decode(&raw?, revision))
    }
}

/// Writes an HMAT of revision 2.
#[derive(Debug)]
pub struct HmatWriter<O> {
    table: TableWriter<O>,
}

impl<O: Output> HmatWriter<O> {
    /// Starts an HMAT at the end of `output`.
    pub fn new(output: O, identity: Identity) -> Self {
        let prologue = HmatPrologue { reserved: Reserved([0; 4]).into() };
        Self::with_header(output, &SdtHeader::new(Signature::HMAT, 2, identity), &prologue)
    }

    /// Starts an HMAT with every field of the fixed part as given.
    pub fn with_header(output: O, header: &SdtHeader, prologue: &HmatPrologue) -> Self {
        let mut table = TableWriter::new(output, header);
        table.raw(prologue.as_bytes());
        Self { table }
    }

    /// Appends one structure as it is.
    #[inline]
    pub fn push<T: HmatStructure>(&mut self, structure: &T) {
        self.table.raw(structure.as_bytes());
    }

    /// Appends a locality structure: `header` with the length and counts that the lists give it, the lists, and the
    /// matrix.
    ///
    /// `cell` is called once for each place in `initiators` and `targets`, row by row; so it may as well take the
    /// cells from an iterator. It is not called when the output has no room and only measures, which makes it
    /// cheap to measure first and then to write into exactly the room that is needed.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] when the structure would have 4 GiB or more; nothing is appended then.
    #[inline]
    pub fn push_locality(
        &mut self,
        header: &LocalityHeader,
        initiators: &[ProximityDomain],
        targets: &[ProximityDomain],
        cell: impl FnMut(usize, usize) -> MatrixCell,
    ) -> Result<(), WriteError> {
        let limit = u64::from(u32::MAX);
        let (rows, columns) = (initiators.len(), targets.len());
        let length = LocalityHeader::length_with(widen(rows), widen(columns)).unwrap_or(u64::MAX);
        let header = LocalityHeader {
            length: Length(fit(Signature::HMAT, length, limit)?).into(),
            initiator_count: fit::<u32>(Signature::HMAT, widen(rows), limit)?.into(),
            target_count: fit::<u32>(Signature::HMAT, widen(columns), limit)?.into(),
            ..*header
        };
        self.table.raw(header.as_bytes());
        self.table.list(initiators);
        self.table.list(targets);
        self.table.matrix(rows, columns, cell);
        Ok(())
    }

    /// Appends a memory-side cache: `header` with the length and count that `smbios_handles` give it, and the
    /// handles.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] for more than 65535 handles; nothing is appended then.
    pub fn push_memory_side_cache(
        &mut self,
        header: &MemorySideCacheHeader,
        smbios_handles: &[SmbiosHandle],
    ) -> Result<(), WriteError> {
        let count = widen(smbios_handles.len());
        let length = |count: u64| count.saturating_mul(2).saturating_add(32);
        let header = MemorySideCacheHeader {
            length: Length(fit(Signature::HMAT, length(count), length(u64::from(u16::MAX)))?).into(),
            smbios_handle_count: fit::<u16>(Signature::HMAT, count, u64::from(u16::MAX))?.into(),
            ..*header
        };
        self.table.raw(header.as_bytes());
        self.table.list(smbios_handles);
        Ok(())
    }

    /// Appends bytes verbatim, such as a structure of an unknown type.
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

/// The structures of one size that may stand in an HMAT.
pub trait HmatStructure: Structure {}
impl HmatStructure for MemoryProximityAttributes {}
impl HmatStructure for MemorySubsystemAddressRange {}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::error::Cause;
    use crate::tables::anatomy::testing::{
        IDENTITY, Walked, assert_covered, assert_length_lies, assert_truncations, assert_unknown_kept, hex,
        rest,
    };
    use crate::tables::anatomy::{Format, Role};
    use crate::tables::output::SliceOutput;
    use crate::units::{ByteCount, EntryBaseUnit, PhysAddr};
    use alloc::vec::Vec;
    use alloc::{format, vec};

    /// One structure of each type, two of type 1.
    const EXAMPLE: &str = "
        484d4154 d2000000 02 d5 4d544f504f20 4558414d504c4520 01000000 4d54504f 01000000 00000000
        0000 0000 28000000 0100 0000 00000000 02000000 00000000 0000000000000000 0000000000000000
        0100 0000 30000000 00 00 00 00 01000000 02000000 00000000 e803000000000000
            00000000 00000000 02000000 5000 fa00
        0100 0000 30000000 00 03 00 00 01000000 02000000 00000000 e803000000000000
            00000000 00000000 02000000 6400 2000
        0200 0000 22000000 02000000 00000000 0000000002000000 11114000 0100 0100 3412";

    fn walk(input: &[u8]) -> Walked {
        Ok(Hmat::parse(input)?.entries().map(|entry| entry.map(drop)).collect())
    }

    fn domains(list: &[Le<ProximityDomain>]) -> Vec<u32> {
        list.iter().map(|domain| domain.get().0).collect()
    }

    #[test]
    fn the_example_reads_field_by_field() {
        let bytes = hex(EXAMPLE);
        let hmat = Hmat::parse(&bytes).unwrap();
        assert_eq!((hmat.table().revision(), hmat.table().faults().count()), (2, 0));
        let entries: Vec<_> = hmat.entries().collect::<Result<_, _>>().unwrap();
        let [
            Entry::MemoryAttributes(memory),
            Entry::Locality(latency),
            Entry::Locality(bandwidth),
            Entry::MemorySideCache(cache),
        ] = entries[..]
        else {
            panic!("{entries:?}")
        };

        assert_eq!((memory.r#type.get(), memory.length.get()), (0, Length(40)));
        assert_eq!(memory.flags.get(), AttributeFlags::INITIATOR_VALID);
        assert_eq!(memory.initiator_domain.get(), ProximityDomain(0));
        assert_eq!(memory.memory_domain.get(), ProximityDomain(2));

        let header = latency.header();
        assert_eq!((header.r#type.get(), header.length.get()), (1, Length(48)));
        assert_eq!(header.flags.get().memory_hierarchy(), MemoryHierarchy::MEMORY);
        assert_eq!(header.data_type.get(), DataType::ACCESS_LATENCY);
        assert_eq!(header.min_transfer_size.get(), MinTransferSize::BYTE_ALIGNED);
        assert_eq!((header.initiator_count.get(), header.target_count.get()), (1, 2));
        assert_eq!(header.entry_base_unit.get(), EntryBaseUnit(1000));
        assert_eq!((domains(latency.initiators()), domains(latency.targets())), (vec![0], vec![0, 2]));
        assert_eq!(latency.cells().iter().map(|cell| cell.get().0).collect::<Vec<_>>(), [80, 250]);
        assert_eq!(latency.row(0).unwrap().len(), 2);
        assert_eq!((latency.cell(0, 1), latency.cell(0, 2)), (Some(MatrixCell(250)), None));
        assert_eq!((latency.row(1), latency.cell(1, 0)), (None, None));
        assert!(latency.rest().is_empty());

        assert_eq!(bandwidth.header().data_type.get(), DataType::ACCESS_BANDWIDTH);
        assert_eq!(
            (bandwidth.cell(0, 0), bandwidth.cell(0, 1)),
            (Some(MatrixCell(100)), Some(MatrixCell(32)))
        );

        let header = cache.header();
        assert_eq!((header.r#type.get(), header.length.get()), (2, Length(34)));
        assert_eq!(header.memory_domain.get(), ProximityDomain(2));
        assert_eq!(header.cache_size.get(), ByteCount(8 << 30));
        let attributes = header.cache_attributes.get();
        assert_eq!((attributes.total_levels(), attributes.level()), (CacheLevel(1), CacheLevel(1)));
        assert_eq!(attributes.associativity(), CacheAssociativity::DIRECT_MAPPED);
        assert_eq!(attributes.write_policy(), CacheWritePolicy::WRITE_BACK);
        assert_eq!(attributes.line_size(), CacheLineSize(64));
        assert_eq!(header.address_mode.get(), AddressMode::EXTENDED_LINEAR);
        assert_eq!(cache.smbios_handles()[0].get(), SmbiosHandle(0x1234));
        assert_eq!((cache.smbios_handles().len(), cache.rest().len()), (1, 0));
    }

    fn write_example<O: Output>(output: O) -> Result<u64, WriteError> {
        let [near, far] = [ProximityDomain(0), ProximityDomain(2)];
        let mut writer = HmatWriter::new(output, IDENTITY);
        writer.push(&MemoryProximityAttributes::new(far, Some(near)));
        let latency = LocalityHeader::new(DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
        writer.push_locality(&latency, &[near], &[near, far], |_, target| MatrixCell([80, 250][target]))?;
        let bandwidth = LocalityHeader::new(DataType::ACCESS_BANDWIDTH, EntryBaseUnit(1000));
        writer.push_locality(&bandwidth, &[near], &[near, far], |_, target| MatrixCell([100, 32][target]))?;
        let attributes = CacheAttributes::default()
            .with_total_levels(CacheLevel(1))
            .with_level(CacheLevel(1))
            .with_associativity(CacheAssociativity::DIRECT_MAPPED)
            .with_write_policy(CacheWritePolicy::WRITE_BACK)
            .with_line_size(CacheLineSize(64));
        let cache = MemorySideCacheHeader {
            address_mode: AddressMode::EXTENDED_LINEAR.into(),
            ..MemorySideCacheHeader::new(far, ByteCount(8 << 30), attributes)
        };
        writer.push_memory_side_cache(&cache, &[SmbiosHandle(0x1234)])?;
        writer.finish(Seal::Fill)
    }

    #[test]
    fn the_writer_makes_the_example() {
        let mut written = Vec::new();
        assert_eq!(write_example(&mut written), Ok(210));
        assert_eq!(written, hex(EXAMPLE));
        let mut buffer = [0; 209];
        let short = WriteError::BufferTooSmall { needed: 210, available: 209 };
        assert_eq!(write_example(SliceOutput::new(&mut buffer)).unwrap_err(), short);
    }

    #[test]
    fn damage_is_told_and_covered() {
        let bytes = hex(EXAMPLE);
        assert_truncations(Format::Sdt, &bytes, Hmat::FIXED, walk);
        assert_length_lies(Format::Sdt, &bytes, walk);
        assert_unknown_kept(Format::Sdt, &bytes, walk);
        let groups = assert_covered(Format::Sdt, &bytes);
        assert_eq!(groups.len(), 6);
        assert!(groups.iter().all(|group| rest(group).is_empty() && group.faults == [None; 2]));
    }

    #[test]
    fn revision_1_reads_type_0_as_an_address_range() {
        let range = MemorySubsystemAddressRange::new(
            ProximityDomain(2),
            Some(ProximityDomain(1)),
            PhysAddr(4 << 30),
            ByteCount(1 << 30),
        );
        let mut bytes = Vec::new();
        let header = SdtHeader::new(Signature::HMAT, 1, IDENTITY);
        let prologue = HmatPrologue { reserved: Reserved([0; 4]).into() };
        let mut writer = HmatWriter::with_header(&mut bytes, &header, &prologue);
        writer.push(&range);
        let latency = LocalityHeader::new(DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
        writer.push_locality(&latency, &[], &[], |_, _| MatrixCell(0)).unwrap();
        writer.finish(Seal::Fill).unwrap();
        assert_eq!(
            bytes[40..80],
            hex("0000 0000 28000000 0300 0000 01000000 02000000 00000000 0000000001000000 0000004000000000")
        );

        let ids = |bytes: &[u8]| -> Vec<_> {
            let groups = assert_covered(Format::Sdt, bytes).into_iter();
            let structures = groups.filter(|group| matches!(group.role, Role::Structure { .. }));
            structures.map(|group| group.layout.unwrap().id).collect()
        };
        let entries = |bytes: &[u8]| format!("{:?}", Hmat::parse(bytes).unwrap().entries().next());
        assert_eq!(ids(&bytes), ["memory_subsystem_address_range", "system_locality_revision_1"]);
        assert!(entries(&bytes).contains("AddressRange(MemorySubsystemAddressRange"));
        for revision in [0, 2, 3, 255] {
            bytes[8] = revision;
            assert_eq!(ids(&bytes), ["memory_proximity_attributes", "system_locality"]);
            assert!(entries(&bytes).contains("MemoryAttributes(MemoryProximityAttributes"));
        }
    }

    #[test]
    fn the_hierarchy_has_four_bits_and_in_revision_1_five() {
        let word = 0b0011_0011;
        let flags = LocalityFlags(word);
        assert_eq!(flags.memory_hierarchy(), MemoryHierarchy::CACHE_3);
        assert!(flags.contains(LocalityFlags::MINIMUM_TRANSFER_SIZE.union(LocalityFlags::NON_SEQUENTIAL)));
        assert_eq!(LocalityFlagsRevision1(word).memory_hierarchy(), MemoryHierarchyRevision1(0x13));
        assert_eq!(LocalityFlagsRevision1(3).memory_hierarchy(), MemoryHierarchyRevision1::CACHE_2);
        assert_eq!(flags.with_memory_hierarchy(MemoryHierarchy::CACHE_1), LocalityFlags(0b0011_0001));
        // 0x1f does not fit in four bits and must not reach its neighbours.
        assert_eq!(LocalityFlags(0).with_memory_hierarchy(MemoryHierarchy(0x1f)), LocalityFlags(0xf));
    }

    #[test]
    fn lists_beyond_the_structure_are_an_error_of_that_structure_alone() {
        // Counts of the first type-1 structure at 0x5c and 0x60; the structure begins at 0x50 and has 48 bytes.
        for (initiators, targets, needed) in [
            (1_u32, 3_u32, 32 + 4 + 12 + 6),
            (2, 2, 32 + 8 + 8 + 8),
            (5, 0, 32 + 20),
            (u32::MAX, 1, 32 + 4 * 0xffff_ffff + 4 + 2 * 0xffff_ffff),
            // 2 (2^32 - 1)^2 does not fit in 64 bits.
            (u32::MAX, u32::MAX, u64::MAX),
            (0x8000_0000, 0x8000_0000, 0x8000_0004_0000_0020),
        ] {
            let mut bytes = hex(EXAMPLE);
            bytes[0x5c..0x60].copy_from_slice(&initiators.to_le_bytes());
            bytes[0x60..0x64].copy_from_slice(&targets.to_le_bytes());
            let walked = walk(&bytes).unwrap();
            assert_eq!(walked.len(), 4);
            let error = walked[1].unwrap_err();
            assert_eq!((error.cause, error.offset), (Cause::ListOverrun, 0x50));
            assert_eq!((error.expected, error.found), (needed, 48));
            assert!(walked[2].is_ok() && walked[3].is_ok());
            assert_covered(Format::Sdt, &bytes);
        }
        // Fewer cells than there is room for: the rest is kept.
        let mut bytes = hex(EXAMPLE);
        bytes[0x60] = 1;
        let hmat = Hmat::parse(&bytes).unwrap();
        let Some(Ok(Entry::Locality(locality))) = hmat.entries().nth(1) else { panic!() };
        assert_eq!((domains(locality.targets()), locality.cells().len()), (vec![0], 1));
        assert_eq!(locality.rest(), hex("0000 5000 fa00"));
        assert_eq!(rest(&assert_covered(Format::Sdt, &bytes)[3]), hex("0000 5000 fa00"));
    }

    #[test]
    fn empty_lists_have_no_rows() {
        let mut bytes = Vec::new();
        let mut writer = HmatWriter::new(&mut bytes, IDENTITY);
        let header = LocalityHeader::new(DataType::READ_LATENCY, EntryBaseUnit(1));
        let three = [ProximityDomain(1), ProximityDomain(2), ProximityDomain(3)];
        writer.push_locality(&header, &three, &[], |_, _| panic!("no cell")).unwrap();
        writer.push_locality(&header, &[], &three, |_, _| panic!("no cell")).unwrap();
        writer.finish(Seal::Fill).unwrap();
        let hmat = Hmat::parse(&bytes).unwrap();
        let rows = hmat.entries().map(|entry| match entry {
            Ok(Entry::Locality(locality)) => {
                (locality.row(2).map(<[_]>::len), locality.row(3), locality.cell(0, 0))
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(rows.collect::<Vec<_>>(), [(Some(0), None, None), (None, None, None)]);
    }

    #[test]
    fn cells_are_asked_for_row_by_row_and_not_when_measuring() {
        let [a, b] = [ProximityDomain(1), ProximityDomain(2)];
        let header = LocalityHeader::new(DataType::READ_LATENCY, EntryBaseUnit(1));
        let mut places = Vec::new();
        let mut bytes = Vec::new();
        let mut writer = HmatWriter::new(&mut bytes, IDENTITY);
        let place = |row, column| {
            places.push((row, column));
            MatrixCell(7)
        };
        writer.push_locality(&header, &[a, b], &[b, a], place).unwrap();
        writer.finish(Seal::Fill).unwrap();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1)]);

        let mut writer = HmatWriter::new(SliceOutput::new(&mut []), IDENTITY);
        writer.push_locality(&header, &[a; 300], &[b; 500], |_, _| panic!("measuring")).unwrap();
        let needed = Hmat::FIXED as u64 + LocalityHeader::length_with(300, 500).unwrap();
        assert_eq!(needed, 40 + 32 + 4 * 800 + 2 * 150_000);
        let error = writer.finish(Seal::Fill).unwrap_err();
        assert_eq!(error, WriteError::BufferTooSmall { needed, available: 0 });
    }

    #[test]
    fn a_matrix_makes_a_vector_no_larger_than_it_has_to_be() {
        let list: Vec<_> = (0..1024).map(ProximityDomain).collect();
        let header = LocalityHeader::new(DataType::READ_LATENCY, EntryBaseUnit(1));
        let mut bytes = Vec::new();
        let mut writer = HmatWriter::new(&mut bytes, IDENTITY);
        writer.push(&MemoryProximityAttributes::new(list[0], None));
        writer.push_locality(&header, &list, &list, |row, column| MatrixCell((row ^ column) as u16)).unwrap();
        writer.push(&MemoryProximityAttributes::new(list[1], None));
        let length = writer.finish(Seal::Fill).unwrap();
        assert_eq!(length, 40 + 40 + 32 + 8 * 1024 + 2 * 1024 * 1024 + 40);
        assert!((bytes.capacity() as u64) < length + length / 20, "{} for {length}", bytes.capacity());
        let hmat = Hmat::parse(&bytes).unwrap();
        let Some(Ok(Entry::Locality(locality))) = hmat.entries().nth(1) else { panic!() };
        assert_eq!(locality.cell(1023, 1), Some(MatrixCell(1022)));
    }

    #[test]
    fn what_a_length_field_cannot_say_is_refused_and_leaves_nothing() {
        let mut bytes = Vec::new();
        let mut writer = HmatWriter::new(&mut bytes, IDENTITY);
        let many = vec![ProximityDomain(0); 46341];
        let header = LocalityHeader::new(DataType::READ_LATENCY, EntryBaseUnit(1));
        let error = writer.push_locality(&header, &many, &many, |_, _| panic!("refused")).unwrap_err();
        let length = 32 + 8 * 46341 + 2 * 46341 * 46341;
        let limit = u64::from(u32::MAX);
        assert_eq!(error, WriteError::TooLong { table: Signature::HMAT, length, limit });
        let cache = MemorySideCacheHeader::new(ProximityDomain(0), ByteCount(1), CacheAttributes(0));
        let error = writer.push_memory_side_cache(&cache, &[SmbiosHandle(0); 65536]).unwrap_err();
        assert_eq!(error, WriteError::TooLong { table: Signature::HMAT, length: 131_104, limit: 131_102 });
        assert_eq!(writer.finish(Seal::Fill), Ok(40));
    }
}
