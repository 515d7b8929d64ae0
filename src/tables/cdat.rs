//! CDAT, the Coherent Device Attribute Table: what a CXL device or switch says about its memory and paths
//! (CDAT 1.03). Not an ACPI table: it has a header of its own and no signature.

mod structures;

pub use self::structures::*;
use super::entries::{Entries, Lists, Medium, RawEntry, typed};
use super::header::{Envelope, split_table};
use super::layout::Structure;
use super::output::{Output, Seal, TableWriter, fit};
use super::wire::Length;
use crate::error::{Cause, TableError, WriteError};
use crate::units::{Signature, widen};
use zerocopy::{FromBytes, IntoBytes};

/// An SSLBIS with its entries, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sslbis<'a> {
    header: &'a SslbisHeader,
    entries: &'a [SslbisEntry],
    rest: &'a [u8],
}

impl<'a> Sslbis<'a> {
    /// Reads a walked structure of type 5; it has as many entries as its length has room for.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`].
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        let (header, bytes) = typed::<SslbisHeader>(Signature::CDAT, raw)?;
        let count = bytes.len().checked_div(size_of::<SslbisEntry>()).unwrap_or(0);
        let mut lists = Lists::new(Signature::CDAT, raw, bytes, 0)?;
        Ok(Self { header, entries: lists.take(widen(count))?, rest: lists.rest() })
    }

    /// The fixed part.
    #[must_use]
    pub const fn header(&self) -> &'a SslbisHeader {
        self.header
    }

    /// The paths.
    #[must_use]
    pub const fn entries(&self) -> &'a [SslbisEntry] {
        self.entries
    }

    /// Bytes of the structure behind the last whole entry: fewer than 8.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// One structure of a CDAT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// Type 0.
    Dsmas(&'a Dsmas),
    /// Type 1.
    Dslbis(&'a Dslbis),
    /// Type 2.
    Dsmscis(&'a Dsmscis),
    /// Type 3.
    Dsis(&'a Dsis),
    /// Type 4.
    Dsemts(&'a Dsemts),
    /// Type 5.
    Sslbis(Sslbis<'a>),
    /// A type that CDAT 1.03 does not define.
    Unknown(RawEntry<'a>),
}

impl<'a> Entry<'a> {
    /// Gives a walked structure its type.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`].
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        const T: Signature = Signature::CDAT;
        Ok(match raw.kind {
            0 => Self::Dsmas(typed(T, raw)?.0),
            1 => Self::Dslbis(typed(T, raw)?.0),
            2 => Self::Dsmscis(typed(T, raw)?.0),
            3 => Self::Dsis(typed(T, raw)?.0),
            4 => Self::Dsemts(typed(T, raw)?.0),
            5 => Self::Sslbis(Sslbis::decode(raw)?),
            _ => Self::Unknown(*raw),
        })
    }
}

/// A CDAT, read in place.
///
/// ```
/// use memtopo::tables::cdat::{Cdat, CdatHeader, CdatWriter, Dslbis, Dsmas, DsmasFlags, Entry};
/// use memtopo::tables::hmat::DataType;
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::units::{ByteCount, DeviceAddr, DsmasHandle, EntryBaseUnit, MatrixCell};
///
/// let mut buffer = [0; 64];
/// let mut writer = CdatWriter::new(SliceOutput::new(&mut buffer), &CdatHeader::new(1, 0));
/// writer.push(&Dsmas::new(DsmasHandle(0), DeviceAddr(0), ByteCount(1 << 30), DsmasFlags::NON_VOLATILE));
/// // 150 times 1000 ps.
/// writer.push(&Dslbis::new(DsmasHandle(0), DataType::READ_LATENCY, EntryBaseUnit(1000), MatrixCell(150)));
/// assert_eq!(writer.finish(Seal::Fill)?, 64);
///
/// let cdat = Cdat::parse(&buffer)?;
/// assert_eq!(cdat.faults().count(), 0);
/// for entry in cdat.entries() {
///     if let Entry::Dslbis(dslbis) = entry? {
///         assert_eq!(dslbis.entry0.get(), MatrixCell(150));
///     }
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cdat<'a> {
    header: &'a CdatHeader,
    bytes: &'a [u8],
    trailing: &'a [u8],
}

impl<'a> Cdat<'a> {
    /// Bytes before the first structure.
    pub const FIXED: usize = 16;

    /// Takes the CDAT at the start of `input`.
    ///
    /// A Length field beyond the input gives the bytes that are there; one below 16 gives the bare header.
    ///
    /// # Errors
    /// [`Cause::Truncated`] when `input` has fewer than 16 bytes.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let short = TableError {
            table: Signature::CDAT,
            offset: 0,
            cause: Cause::Truncated,
            expected: widen(Self::FIXED),
            found: widen(input.len()),
        };
        let (header, _) = CdatHeader::ref_from_prefix(input).map_err(|_| short)?;
        let (bytes, trailing) = split_table(input, Self::FIXED, header.length.get().0).ok_or(short)?;
        Ok(Self { header, bytes, trailing })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &'a CdatHeader {
        self.header
    }

    /// The bytes of the table, header included: as many as Length claims, or as there are.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the input behind the table.
    #[must_use]
    pub const fn trailing(&self) -> &'a [u8] {
        self.trailing
    }

    /// What is wrong with Length and checksum, at most one of each.
    pub fn faults(&self) -> impl Iterator<Item = TableError> + use<> {
        Envelope::CDAT.faults(self.bytes, self.header.length.get().0)
    }

    /// The structures as they lie in the table, whatever their type.
    #[must_use]
    pub fn raw_entries(&self) -> Entries<'a, Medium> {
        Entries::new(Signature::CDAT, self.bytes, Self::FIXED)
    }

    /// The structures in table order.
    ///
    /// A structure too short for its type is an error of that item; the walk goes on. A walk that cannot go on
    /// ends with an error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, TableError>> + use<'a> {
        self.raw_entries().map(|raw| Entry::decode(&raw?))
    }
}

/// Writes a CDAT.
#[derive(Debug)]
pub struct CdatWriter<O> {
    table: TableWriter<O>,
}

impl<O: Output> CdatWriter<O> {
    /// Starts a CDAT with this header at the end of `output`.
    pub fn new(output: O, header: &CdatHeader) -> Self {
        Self { table: TableWriter::with_envelope(output, header.as_bytes(), Envelope::CDAT) }
    }

    /// Appends one structure as it is.
    #[inline]
    pub fn push<T: CdatStructure>(&mut self, structure: &T) {
        self.table.raw(structure.as_bytes());
    }

    /// Appends an SSLBIS: `header` with the length that `entries` give it, and the entries.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] for more than 8189 entries; nothing is appended then.
    pub fn push_sslbis(&mut self, header: &SslbisHeader, entries: &[SslbisEntry]) -> Result<(), WriteError> {
        let length = widen(entries.len()).saturating_mul(8).saturating_add(16);
        let field = fit(Signature::CDAT, length, u64::from(u16::MAX))?;
        self.table.raw(SslbisHeader { length: Length(field).into(), ..*header }.as_bytes());
        self.table.raw(entries.as_bytes());
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

/// The structures of one size that may stand in a CDAT.
pub trait CdatStructure: Structure {}
impl CdatStructure for Dsmas {}
impl CdatStructure for Dslbis {}
impl CdatStructure for Dsmscis {}
impl CdatStructure for Dsis {}
impl CdatStructure for Dsemts {}
