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
    /// cheap to measure first and then to write into exactly the room that is needed; a `Vec` that has none
    /// reserved grows by the matrix at once and not to twice its size, but has to move what it holds.
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
