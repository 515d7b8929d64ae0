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

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::tables::anatomy::Format;
    use crate::tables::anatomy::testing::{
        Walked, assert_covered, assert_length_lies, assert_truncations, assert_unknown_kept, hex, rest,
    };
    use crate::tables::hmat::{
        CacheAssociativity, CacheAttributes, CacheLevel, CacheLineSize, CacheWritePolicy, DataType,
        LocalityFlags,
    };
    use crate::tables::output::SliceOutput;
    use crate::units::{ByteCount, DeviceAddr, DsmasHandle, EntryBaseUnit, MatrixCell};
    use alloc::vec::Vec;

    /// One structure of each type.
    const EXAMPLE: &str = "
        94000000 01 17 000000000000 00000000
        00 00 1800 01 04 0000 0000000000000000 0000000004000000
        01 00 1800 01 00 00 00 e803000000000000 9600 0000 0000 0000
        02 00 1400 01 000000 0000004000000000 11114000
        03 00 0800 01 01 0000
        04 00 1800 01 01 0000 0000000000000000 0000000004000000
        05 00 2000 00 000000 6400000000000000 0001 0000 fa00 0000 0001 ffff 2c01 0000";

    fn walk(input: &[u8]) -> Walked {
        Ok(Cdat::parse(input)?.entries().map(|entry| entry.map(drop)).collect())
    }

    fn cache_attributes() -> CacheAttributes {
        CacheAttributes::default()
            .with_total_levels(CacheLevel(1))
            .with_level(CacheLevel(1))
            .with_associativity(CacheAssociativity::DIRECT_MAPPED)
            .with_write_policy(CacheWritePolicy::WRITE_BACK)
            .with_line_size(CacheLineSize(64))
    }

    #[test]
    fn the_example_reads_field_by_field() {
        let bytes = hex(EXAMPLE);
        let cdat = Cdat::parse(&bytes).unwrap();
        assert_eq!((cdat.header().revision.get(), cdat.header().sequence.get()), (1, 0));
        assert_eq!((cdat.faults().count(), cdat.trailing().len()), (0, 0));
        let entries: Vec<_> = cdat.entries().collect::<Result<_, _>>().unwrap();
        let [
            Entry::Dsmas(dsmas),
            Entry::Dslbis(dslbis),
            Entry::Dsmscis(dsmscis),
            Entry::Dsis(dsis),
            Entry::Dsemts(dsemts),
            Entry::Sslbis(sslbis),
        ] = entries[..]
        else {
            panic!("{entries:?}")
        };
        let one = DsmasHandle(1);

        assert_eq!((dsmas.r#type.get(), dsmas.length.get()), (0, Length(24)));
        assert_eq!((dsmas.handle.get(), dsmas.flags.get()), (one, DsmasFlags::NON_VOLATILE));
        assert_eq!((dsmas.dpa_base.get(), dsmas.dpa_length.get()), (DeviceAddr(0), ByteCount(16 << 30)));

        assert_eq!((dslbis.r#type.get(), dslbis.length.get()), (1, Length(24)));
        assert_eq!((dslbis.handle.get(), dslbis.flags.get()), (one, LocalityFlags(0)));
        assert_eq!(dslbis.data_type.get(), DataType::ACCESS_LATENCY);
        assert_eq!(dslbis.entry_base_unit.get(), EntryBaseUnit(1000));
        assert_eq!(dslbis.entry0.get(), MatrixCell(150));
        assert_eq!((dslbis.entry1.get(), dslbis.entry2.get()), (MatrixCell(0), MatrixCell(0)));

        assert_eq!((dsmscis.r#type.get(), dsmscis.length.get()), (2, Length(20)));
        assert_eq!((dsmscis.handle.get(), dsmscis.cache_size.get()), (one, ByteCount(1 << 30)));
        assert_eq!(dsmscis.cache_attributes.get(), cache_attributes());

        assert_eq!((dsis.r#type.get(), dsis.length.get()), (3, Length(8)));
        assert_eq!((dsis.flags.get(), dsis.handle.get()), (DsisFlags::MEMORY_ATTACHED, one));

        assert_eq!((dsemts.r#type.get(), dsemts.length.get()), (4, Length(24)));
        assert_eq!((dsemts.handle.get(), dsemts.memory_use.get()), (one, EfiMemoryUse::SPECIFIC_PURPOSE));
        assert_eq!((dsemts.dpa_offset.get(), dsemts.dpa_length.get()), (ByteCount(0), ByteCount(16 << 30)));

        let header = sslbis.header();
        assert_eq!((header.r#type.get(), header.length.get()), (5, Length(32)));
        assert_eq!(header.data_type.get(), DataType::ACCESS_LATENCY);
        assert_eq!(header.entry_base_unit.get(), EntryBaseUnit(100));
        let paths: Vec<_> =
            sslbis.entries().iter().map(|path| (path.port_x.get(), path.port_y.get())).collect();
        assert_eq!(paths, [(PortId::UPSTREAM, PortId(0)), (PortId::UPSTREAM, PortId::ANY)]);
        let values: Vec<_> = sslbis.entries().iter().map(|path| path.value.get().0).collect();
        assert_eq!((values, sslbis.rest().len()), ([250, 300].to_vec(), 0));
    }

    fn write_example<O: Output>(output: O) -> Result<u64, WriteError> {
        let (one, size) = (DsmasHandle(1), ByteCount(16 << 30));
        let latency = DataType::ACCESS_LATENCY;
        let mut writer = CdatWriter::new(output, &CdatHeader::new(1, 0));
        writer.push(&Dsmas::new(one, DeviceAddr(0), size, DsmasFlags::NON_VOLATILE));
        writer.push(&Dslbis::new(one, latency, EntryBaseUnit(1000), MatrixCell(150)));
        writer.push(&Dsmscis::new(one, ByteCount(1 << 30), cache_attributes()));
        writer.push(&Dsis::new(one, DsisFlags::MEMORY_ATTACHED));
        writer.push(&Dsemts::new(one, EfiMemoryUse::SPECIFIC_PURPOSE, ByteCount(0), size));
        let paths = [(PortId(0), 250), (PortId::ANY, 300)]
            .map(|(port, value)| SslbisEntry::new(PortId::UPSTREAM, port, MatrixCell(value)));
        writer.push_sslbis(&SslbisHeader::new(latency, EntryBaseUnit(100)), &paths)?;
        writer.finish(Seal::Fill)
    }

    #[test]
    fn the_writer_makes_the_example() {
        let mut written = Vec::new();
        assert_eq!(write_example(&mut written), Ok(148));
        assert_eq!(written, hex(EXAMPLE));
        let needed = write_example(SliceOutput::new(&mut [])).unwrap_err();
        assert_eq!(needed, WriteError::BufferTooSmall { needed: 148, available: 0 });
    }

    #[test]
    fn damage_is_told_and_covered() {
        let bytes = hex(EXAMPLE);
        assert_truncations(Format::Cdat, &bytes, Cdat::FIXED, walk);
        assert_length_lies(Format::Cdat, &bytes, walk);
        assert_unknown_kept(Format::Cdat, &bytes, walk);
        let groups = assert_covered(Format::Cdat, &bytes);
        assert_eq!(groups.len(), 7);
        assert!(groups.iter().all(|group| rest(group).is_empty() && group.faults == [None; 2]));
    }

    #[test]
    fn an_sslbis_has_as_many_entries_as_its_length_has_room_for() {
        for length in 16..=35_u8 {
            let mut bytes = hex("33000000 02 00 000000000000 00000000 05 00 0000 03 000000 0100000000000000");
            bytes[18] = length;
            bytes.resize(16 + usize::from(length), 0x5a);
            let cdat = Cdat::parse(&bytes).unwrap();
            let Some(Ok(Entry::Sslbis(sslbis))) = cdat.entries().next() else { panic!() };
            assert_eq!(sslbis.entries().len(), usize::from(length - 16) / 8);
            assert_eq!(sslbis.rest().len(), usize::from(length - 16) % 8);
            let groups = assert_covered(Format::Cdat, &bytes);
            assert_eq!((rest(&groups[1]), groups[1].faults), (sslbis.rest(), [None; 2]));
        }
    }

    #[test]
    fn what_a_length_field_cannot_say_is_refused_and_leaves_nothing() {
        let mut bytes = Vec::new();
        let mut writer = CdatWriter::new(&mut bytes, &CdatHeader::new(2, 7));
        let header = SslbisHeader::new(DataType::ACCESS_BANDWIDTH, EntryBaseUnit(1));
        let path = SslbisEntry::new(PortId::UPSTREAM, PortId::ANY, MatrixCell(1));
        let error = writer.push_sslbis(&header, &[path; 8190]);
        assert_eq!(error, Err(WriteError::TooLong { table: Signature::CDAT, length: 65536, limit: 65535 }));
        writer.push_sslbis(&header, &[path; 8189]).unwrap();
        assert_eq!(writer.finish(Seal::Fill), Ok(16 + 65528));
        let cdat = Cdat::parse(&bytes).unwrap();
        assert_eq!(
            (cdat.header().revision.get(), cdat.header().sequence.get(), cdat.faults().count()),
            (2, 7, 0)
        );
    }
}
