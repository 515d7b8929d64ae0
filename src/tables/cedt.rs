//! CEDT, the CXL Early Discovery Table: CXL host bridges and the windows of physical addresses that are
//! interleaved over them (CXL 3.1 §9.18.1).

mod structures;

pub use self::structures::*;
use super::entries::{Entries, Lists, Medium, RawEntry, typed};
use super::header::{Identity, SdtHeader, Table};
use super::layout::Structure;
use super::output::{Output, Seal, TableWriter, fit};
use super::wire::{Le, Length};
use crate::error::{Cause, TableError, WriteError};
use crate::units::{AcpiUid, PciBdf, PciSegment, PhysAddr, Signature, XorMap, widen};
use zerocopy::IntoBytes;

/// A CFMWS with its targets, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedMemoryWindow<'a> {
    header: &'a FixedMemoryWindowHeader,
    targets: &'a [Le<AcpiUid>],
    rest: &'a [u8],
}

impl<'a> FixedMemoryWindow<'a> {
    /// Reads a walked structure of type 1.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`], or [`Cause::ListOverrun`] when the targets do not fit.
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        let (header, rest) = typed::<FixedMemoryWindowHeader>(Signature::CEDT, raw)?;
        let ways = u64::from(header.interleave_ways.get().ways().unwrap_or(0));
        let mut lists = Lists::new(Signature::CEDT, raw, rest, ways.saturating_mul(4).saturating_add(36))?;
        Ok(Self { header, targets: lists.take(ways)?, rest: lists.rest() })
    }

    /// The fixed part.
    #[must_use]
    pub const fn header(&self) -> &'a FixedMemoryWindowHeader {
        self.header
    }

    /// The target at each position, by `_UID`: a number that no CHBS has is a target that is not CXL. Empty when
    /// the code for the number of ways is reserved; the bytes are then [`rest`](Self::rest).
    #[must_use]
    pub const fn targets(&self) -> &'a [Le<AcpiUid>] {
        self.targets
    }

    /// Bytes of the structure behind its targets.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// A CXIMS with its maps, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XorInterleaveMath<'a> {
    header: &'a XorInterleaveMathHeader,
    xormaps: &'a [Le<XorMap>],
    rest: &'a [u8],
}

impl<'a> XorInterleaveMath<'a> {
    /// Reads a walked structure of type 2.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`], or [`Cause::ListOverrun`] when the maps do not fit.
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        let (header, rest) = typed::<XorInterleaveMathHeader>(Signature::CEDT, raw)?;
        let count = u64::from(header.map_count.get());
        let mut lists = Lists::new(Signature::CEDT, raw, rest, count.saturating_mul(8).saturating_add(8))?;
        Ok(Self { header, xormaps: lists.take(count)?, rest: lists.rest() })
    }

    /// The fixed part.
    #[must_use]
    pub const fn header(&self) -> &'a XorInterleaveMathHeader {
        self.header
    }

    /// The maps, to be applied in order.
    #[must_use]
    pub const fn xormaps(&self) -> &'a [Le<XorMap>] {
        self.xormaps
    }

    /// Bytes of the structure behind its maps.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// An RDPAS, whatever its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rdpas {
    /// The layout that the bytes were taken for.
    pub layout: RdpasLayout,
    /// PCI segment group of the RCEC.
    pub segment: PciSegment,
    /// Bus, device and function of the RCEC.
    pub bdf: PciBdf,
    /// Which registers `base_address` leads to.
    pub protocol_type: ProtocolType,
    /// Address of the registers.
    pub base_address: PhysAddr,
}

impl Rdpas {
    /// Reads a walked structure of type 3.
    ///
    /// A structure of 16 bytes is layout A without the highest byte of the base address, which is taken for 0:
    /// some writers say 16 and mean 17.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`] below 16 bytes.
    pub fn decode(raw: &RawEntry<'_>) -> Result<Self, TableError> {
        let layout = RdpasLayout::of(raw.bytes);
        match layout {
            RdpasLayout::C => typed::<RdpasC>(Signature::CEDT, raw).map(|(rdpas, _)| Self {
                layout,
                segment: rdpas.segment.get(),
                bdf: rdpas.bdf.get(),
                protocol_type: rdpas.protocol_type.get(),
                base_address: rdpas.base_address.get(),
            }),
            RdpasLayout::B => typed::<RdpasB>(Signature::CEDT, raw).map(|(rdpas, _)| Self {
                layout,
                segment: rdpas.segment.get(),
                bdf: rdpas.bdf.get(),
                protocol_type: rdpas.protocol_type.get(),
                base_address: rdpas.base_address.get(),
            }),
            RdpasLayout::A => {
                const LEAST: usize = 16;
                if raw.bytes.len() < LEAST {
                    return Err(TableError {
                        table: Signature::CEDT,
                        offset: widen(raw.offset),
                        cause: Cause::StructureLengthShort,
                        expected: widen(LEAST),
                        found: widen(raw.bytes.len()),
                    });
                }
                let mut bytes = [0; size_of::<RdpasA>()];
                bytes.iter_mut().zip(raw.bytes).for_each(|(to, from)| *to = *from);
                let rdpas: RdpasA = zerocopy::transmute!(bytes);
                Ok(Self {
                    layout,
                    segment: rdpas.segment.get(),
                    bdf: rdpas.bdf.get(),
                    protocol_type: rdpas.protocol_type.get(),
                    base_address: rdpas.base_address.get(),
                })
            }
        }
    }
}

/// One structure of a CEDT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// Type 0.
    HostBridge(&'a HostBridge),
    /// Type 1.
    FixedMemoryWindow(FixedMemoryWindow<'a>),
    /// Type 2.
    XorInterleaveMath(XorInterleaveMath<'a>),
    /// Type 3.
    Rdpas(Rdpas),
    /// Type 4.
    SystemDescription(&'a SystemDescription),
    /// A type that CXL 3.2 does not define.
    Unknown(RawEntry<'a>),
}

impl<'a> Entry<'a> {
    /// Gives a walked structure its type.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`] and [`Cause::ListOverrun`].
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        const T: Signature = Signature::CEDT;
        Ok(match raw.kind {
            0 => Self::HostBridge(typed(T, raw)?.0),
            1 => Self::FixedMemoryWindow(FixedMemoryWindow::decode(raw)?),
            2 => Self::XorInterleaveMath(XorInterleaveMath::decode(raw)?),
            3 => Self::Rdpas(Rdpas::decode(raw)?),
            4 => Self::SystemDescription(typed(T, raw)?.0),
            _ => Self::Unknown(*raw),
        })
    }
}

/// A CEDT, read in place.
///
/// ```
/// use memtopo::tables::cedt::{
///     Cedt, CedtWriter, Entry, FixedMemoryWindowHeader, InterleaveGranularity, WindowRestrictions,
/// };
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::units::{AcpiUid, ByteCount, PhysAddr};
///
/// let mut buffer = [0; 80];
/// let mut writer = CedtWriter::new(SliceOutput::new(&mut buffer), Default::default());
/// let window = FixedMemoryWindowHeader::new(
///     PhysAddr(1 << 36),
///     ByteCount(1 << 34),
///     InterleaveGranularity::BYTES_256,
///     WindowRestrictions::HOST_ONLY_COHERENT.union(WindowRestrictions::VOLATILE),
/// );
/// writer.push_window(&window, &[AcpiUid(7), AcpiUid(6)])?;
/// assert_eq!(writer.finish(Seal::Fill)?, 80);
///
/// let cedt = Cedt::parse(&buffer)?;
/// for entry in cedt.entries() {
///     if let Entry::FixedMemoryWindow(window) = entry? {
///         assert_eq!(window.header().interleave_ways.get().ways(), Some(2));
///         assert_eq!(window.targets()[0].get(), AcpiUid(7));
///     }
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cedt<'a> {
    table: Table<'a>,
}

impl<'a> Cedt<'a> {
    /// Bytes before the first structure.
    pub const FIXED: usize = SdtHeader::SIZE;

    /// Takes the CEDT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 36, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        Ok(Self { table: Table::expect(input, Signature::CEDT, Self::FIXED)? })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// The structures as they lie in the table, whatever their type.
    #[must_use]
    pub fn raw_entries(&self) -> Entries<'a, Medium> {
        Entries::new(Signature::CEDT, self.table.bytes(), Self::FIXED)
    }

    /// The structures in table order.
    ///
    /// A structure too short for its type or its lists is an error of that item; the walk goes on. A walk that
    /// cannot go on ends with an error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, TableError>> + use<'a> {
        self.raw_entries().map(|raw| Entry::decode(&raw?))
    }
}

/// Writes a CEDT of revision 2.
#[derive(Debug)]
pub struct CedtWriter<O> {
    table: TableWriter<O>,
}

impl<O: Output> CedtWriter<O> {
    /// Starts a CEDT at the end of `output`.
    pub fn new(output: O, identity: Identity) -> Self {
        Self::with_header(output, &SdtHeader::new(Signature::CEDT, 2, identity))
    }

    /// Starts a CEDT with every field of the header as given.
    pub fn with_header(output: O, header: &SdtHeader) -> Self {
        Self { table: TableWriter::new(output, header) }
    }

    /// Appends one structure as it is.
    #[inline]
    pub fn push<T: CedtStructure>(&mut self, structure: &T) {
        self.table.raw(structure.as_bytes());
    }

    /// Appends a CFMWS: `header` with the length and the code for the number of ways that `targets` give it, and
    /// the targets. The code stays as given when there is none for that many targets.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] for more than 16374 targets; nothing is appended then.
    pub fn push_window(
        &mut self,
        header: &FixedMemoryWindowHeader,
        targets: &[AcpiUid],
    ) -> Result<(), WriteError> {
        let length = widen(targets.len()).saturating_mul(4).saturating_add(36);
        let ways = InterleaveWays::from_ways(targets.len()).unwrap_or(header.interleave_ways.get());
        let header = FixedMemoryWindowHeader {
            length: Length(fit(Signature::CEDT, length, u64::from(u16::MAX))?).into(),
            interleave_ways: ways.into(),
            ..*header
        };
        self.table.raw(header.as_bytes());
        self.table.list(targets);
        Ok(())
    }

    /// Appends a CXIMS: `header` with the length and count that `xormaps` give it, and the maps.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] for more than 255 maps; nothing is appended then.
    pub fn push_xor_interleave_math(
        &mut self,
        header: &XorInterleaveMathHeader,
        xormaps: &[XorMap],
    ) -> Result<(), WriteError> {
        let count = widen(xormaps.len());
        let length = |count: u64| count.saturating_mul(8).saturating_add(8);
        let header = XorInterleaveMathHeader {
            length: Length(fit(Signature::CEDT, length(count), length(u64::from(u8::MAX)))?).into(),
            map_count: fit::<u8>(Signature::CEDT, count, u64::from(u8::MAX))?.into(),
            ..*header
        };
        self.table.raw(header.as_bytes());
        self.table.list(xormaps);
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

/// The structures of one size that may stand in a CEDT.
pub trait CedtStructure: Structure {}
impl CedtStructure for HostBridge {}
impl CedtStructure for RdpasA {}
impl CedtStructure for RdpasB {}
impl CedtStructure for RdpasC {}
impl CedtStructure for SystemDescription {}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::tables::anatomy::Format;
    use crate::tables::anatomy::testing::{
        IDENTITY, Walked, assert_covered, assert_length_lies, assert_truncations, assert_unknown_kept, hex,
        rest,
    };
    use crate::tables::output::SliceOutput;
    use crate::units::ByteCount;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Two host bridges and one structure of every other type.
    const EXAMPLE: &str = "
        43454454 bc000000 02 1e 4d544f504f20 4558414d504c4520 01000000 4d54504f 01000000
        00 00 2000 07000000 01000000 00000000 0000407003010000 0000010000000000
        00 00 2000 06000000 01000000 00000000 0000808003010000 0000010000000000
        01 00 2c00 00000000 0000000010000000 0000000004000000 01 01 0000 00000000 0600 0000
            07000000 06000000
        02 00 1000 0000 00 01 0041400000000000
        03 00 1400 0000 00fe 0000d1fe00000000 01 000000
        04 00 0800 0300 0000";

    fn walk(input: &[u8]) -> Walked {
        Ok(Cedt::parse(input)?.entries().map(|entry| entry.map(drop)).collect())
    }

    #[test]
    fn the_example_reads_field_by_field() {
        let bytes = hex(EXAMPLE);
        let cedt = Cedt::parse(&bytes).unwrap();
        assert_eq!((cedt.table().revision(), cedt.table().faults().count()), (2, 0));
        let entries: Vec<_> = cedt.entries().collect::<Result<_, _>>().unwrap();
        let [
            Entry::HostBridge(first),
            Entry::HostBridge(second),
            Entry::FixedMemoryWindow(window),
            Entry::XorInterleaveMath(math),
            Entry::Rdpas(rdpas),
            Entry::SystemDescription(system),
        ] = entries[..]
        else {
            panic!("{entries:?}")
        };

        for (bridge, uid, base) in [(first, 7, 0x103_7040_0000_u64), (second, 6, 0x103_8080_0000)] {
            assert_eq!((bridge.r#type.get(), bridge.length.get()), (0, Length(32)));
            assert_eq!((bridge.uid.get(), bridge.cxl_version.get()), (AcpiUid(uid), CxlVersion::CXL_2_0));
            assert_eq!((bridge.base.get(), bridge.register_length.get()), (PhysAddr(base), ByteCount(65536)));
        }

        let header = window.header();
        assert_eq!((header.r#type.get(), header.length.get()), (1, Length(44)));
        assert_eq!(header.base_hpa.get(), PhysAddr(64 << 30));
        assert_eq!(header.window_size.get(), ByteCount(16 << 30));
        assert_eq!(header.interleave_ways.get().ways(), Some(2));
        assert_eq!(header.interleave_arithmetic.get(), InterleaveArithmetic::MODULO_XOR);
        assert_eq!(header.granularity.get().bytes(), Some(ByteCount(256)));
        let restrictions = WindowRestrictions::HOST_ONLY_COHERENT.union(WindowRestrictions::VOLATILE);
        assert_eq!((header.restrictions.get(), header.qtg_id.get()), (restrictions, 0));
        let targets: Vec<_> = window.targets().iter().map(|target| target.get()).collect();
        assert_eq!((targets, window.rest().len()), (vec![AcpiUid(7), AcpiUid(6)], 0));

        let header = math.header();
        assert_eq!((header.r#type.get(), header.length.get()), (2, Length(16)));
        assert_eq!(header.granularity.get(), MapGranularity::BYTES_256);
        let maps: Vec<_> = math.xormaps().iter().map(|map| map.get()).collect();
        assert_eq!((maps, math.rest().len()), (vec![XorMap(1 << 8 | 1 << 14 | 1 << 22)], 0));

        assert_eq!(
            rdpas,
            Rdpas {
                layout: RdpasLayout::C,
                segment: PciSegment(0),
                bdf: PciBdf(0xfe00),
                protocol_type: ProtocolType::CXL_CACHE_MEM,
                base_address: PhysAddr(0xfed1_0000),
            }
        );

        assert_eq!((system.r#type.get(), system.length.get()), (4, Length(8)));
        let capabilities = SystemCapabilities::CMP_M.union(SystemCapabilities::NO_CLEAN_WRITEBACK);
        assert_eq!(system.capabilities.get(), capabilities);
    }

    fn write_example<O: Output>(output: O) -> Result<u64, WriteError> {
        let mut writer = CedtWriter::new(output, IDENTITY);
        for (uid, base) in [(7, 0x103_7040_0000), (6, 0x103_8080_0000)] {
            let registers = ByteCount(64 << 10);
            writer.push(&HostBridge::new(AcpiUid(uid), CxlVersion::CXL_2_0, PhysAddr(base), registers));
        }
        let window = FixedMemoryWindowHeader {
            interleave_arithmetic: InterleaveArithmetic::MODULO_XOR.into(),
            ..FixedMemoryWindowHeader::new(
                PhysAddr(64 << 30),
                ByteCount(16 << 30),
                InterleaveGranularity::BYTES_256,
                WindowRestrictions::HOST_ONLY_COHERENT.union(WindowRestrictions::VOLATILE),
            )
        };
        writer.push_window(&window, &[AcpiUid(7), AcpiUid(6)])?;
        let math = XorInterleaveMathHeader::new(MapGranularity::BYTES_256);
        writer.push_xor_interleave_math(&math, &[XorMap(0x40_4100)])?;
        let base = PhysAddr(0xfed1_0000);
        writer.push(&RdpasC::new(PciSegment(0), PciBdf(0xfe00), ProtocolType::CXL_CACHE_MEM, base));
        let capabilities = SystemCapabilities::CMP_M.union(SystemCapabilities::NO_CLEAN_WRITEBACK);
        writer.push(&SystemDescription::new(capabilities));
        writer.finish(Seal::Fill)
    }

    #[test]
    fn the_writer_makes_the_example() {
        let mut written = Vec::new();
        assert_eq!(write_example(&mut written), Ok(188));
        assert_eq!(written, hex(EXAMPLE));
        let needed = write_example(SliceOutput::new(&mut [])).unwrap_err();
        assert_eq!(needed, WriteError::BufferTooSmall { needed: 188, available: 0 });
    }

    #[test]
    fn damage_is_told_and_covered() {
        let bytes = hex(EXAMPLE);
        assert_truncations(Format::Sdt, &bytes, Cedt::FIXED, walk);
        assert_length_lies(Format::Sdt, &bytes, walk);
        assert_unknown_kept(Format::Sdt, &bytes, walk);
        let groups = assert_covered(Format::Sdt, &bytes);
        assert_eq!(groups.len(), 7);
        assert!(groups.iter().all(|group| rest(group).is_empty() && group.faults == [None; 2]));
    }

    /// A table with one structure.
    fn table_of(structure: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = CedtWriter::new(&mut bytes, IDENTITY);
        writer.push_raw(structure);
        writer.finish(Seal::Fill).unwrap();
        bytes
    }

    #[test]
    fn the_three_layouts_of_rdpas_are_told_apart() {
        // Segment 1, fe:00.0, registers at 0x00fed10000, protocol 1, in each layout and length.
        let cases = [
            (
                "03 00 1400 0100 00fe 0000d1fe00000000 01 000000",
                RdpasLayout::C,
                "rcec_downstream_port_association",
            ),
            (
                "03 00 1100 0100 00fe 01 0000d1fe00000000",
                RdpasLayout::A,
                "rcec_downstream_port_association_a",
            ),
            ("03 00 1000 0100 00fe 01 0000d1fe000000", RdpasLayout::A, "rcec_downstream_port_association_a"),
            (
                "03 00 1100 0100 00fe 0200d1fe00000000 01",
                RdpasLayout::B,
                "rcec_downstream_port_association_b",
            ),
        ];
        for (text, layout, id) in cases {
            let bytes = table_of(&hex(text));
            let Some(Ok(Entry::Rdpas(rdpas))) = Cedt::parse(&bytes).unwrap().entries().next() else {
                panic!()
            };
            let base_address = PhysAddr(if layout == RdpasLayout::B { 0xfed1_0002 } else { 0xfed1_0000 });
            let (segment, bdf) = (PciSegment(1), PciBdf(0xfe00));
            let protocol_type = ProtocolType::CXL_CACHE_MEM;
            assert_eq!(rdpas, Rdpas { layout, segment, bdf, protocol_type, base_address });
            let groups = assert_covered(Format::Sdt, &bytes);
            assert_eq!(groups[1].layout.unwrap().id, id);
            assert_eq!(groups[1].faults[0].is_some(), text.contains("1000"), "16 bytes are one too few");
        }
        // Both bytes out of range, both in range: A. Longer than C: C with a rest.
        let of = |text| RdpasLayout::of(&hex(text));
        assert_eq!(of("03 00 1100 0000 0000 02 00000000000000 02"), RdpasLayout::A);
        assert_eq!(of("03 00 1100 0000 0000 00 00000000000000 00"), RdpasLayout::A);
        assert_eq!(of("03 00 1300 0000 0000 ff 00000000000000 00 0000"), RdpasLayout::B);
        assert_eq!(of("03 00 1600 0000 0000 ff 00000000000000 00 0000000000"), RdpasLayout::C);
        // 15 bytes are too few for any.
        let bytes = table_of(&hex("03 00 0f00 0100 00fe 01 0000d1fe0000"));
        let error = walk(&bytes).unwrap()[0].unwrap_err();
        assert_eq!((error.cause, error.expected, error.found), (Cause::StructureLengthShort, 16, 15));
        // The structures of layouts A and B can be written too.
        let a: RdpasA = zerocopy::transmute!(*hex(cases[1].0).first_chunk::<17>().unwrap());
        let mut bytes = Vec::new();
        let mut writer = CedtWriter::new(&mut bytes, IDENTITY);
        writer.push(&a);
        writer.finish(Seal::Fill).unwrap();
        assert_eq!(bytes, table_of(&hex(cases[1].0)));
    }

    #[test]
    fn the_codes_of_ways_and_granularity() {
        let ways = |code| InterleaveWays(code).ways();
        let known = [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (8, 3), (9, 6), (10, 12)];
        for code in 0..=255 {
            let expected = known.iter().find(|(known, _)| *known == code).map(|(_, ways)| *ways);
            assert_eq!(ways(code), expected);
            if let Some(ways) = expected {
                assert_eq!(InterleaveWays::from_ways(usize::from(ways)), Some(InterleaveWays(code)));
            }
        }
        assert_eq!((0..=1000).filter_map(InterleaveWays::from_ways).count(), known.len());

        let bytes = |code| InterleaveGranularity(code).bytes().map(|bytes| bytes.0);
        let sizes: Vec<_> = (0..7).filter_map(bytes).collect();
        assert_eq!(sizes, [256, 512, 1024, 2048, 4096, 8192, 16384]);
        assert_eq!((bytes(7), bytes(0x1_0000), bytes(u32::MAX)), (None, None, None));
        assert_eq!(InterleaveGranularity::from(MapGranularity::KIB_4), InterleaveGranularity::KIB_4);
    }

    #[test]
    fn a_reserved_code_of_ways_has_no_targets_and_keeps_their_bytes() {
        let window = FixedMemoryWindowHeader {
            interleave_ways: InterleaveWays(5).into(),
            ..FixedMemoryWindowHeader::new(
                PhysAddr(0),
                ByteCount(0),
                InterleaveGranularity(99),
                WindowRestrictions(0xffff),
            )
        };
        let five = [1, 2, 3, 4, 5].map(AcpiUid);
        let mut bytes = Vec::new();
        let mut writer = CedtWriter::new(&mut bytes, IDENTITY);
        writer.push_window(&window, &five).unwrap();
        writer.push_window(&window, &five[..3]).unwrap();
        writer.finish(Seal::Fill).unwrap();
        let entries: Vec<_> = Cedt::parse(&bytes).unwrap().entries().collect::<Result<_, _>>().unwrap();
        let [Entry::FixedMemoryWindow(reserved), Entry::FixedMemoryWindow(three)] = entries[..] else {
            panic!()
        };
        assert_eq!(reserved.header().length.get(), Length(56));
        assert_eq!(reserved.header().interleave_ways.get(), InterleaveWays(5));
        assert_eq!((reserved.targets().len(), reserved.rest()), (0, &bytes[72..92]));
        assert_eq!(rest(&assert_covered(Format::Sdt, &bytes)[1]), &bytes[72..92]);
        assert_eq!(three.header().interleave_ways.get(), InterleaveWays::WAYS_3);
        assert_eq!((three.targets().len(), three.rest().len()), (3, 0));
    }

    #[test]
    fn lists_beyond_the_structure_are_an_error_of_that_structure_alone() {
        // ENIW at 0x7c (3: 8 ways), NIB at 0x97.
        for (place, code, structure, needed, found) in [(0x7c, 3, 2, 68, 44), (0x97, 255, 3, 2048, 16)] {
            let mut bytes = hex(EXAMPLE);
            bytes[place] = code;
            let walked = walk(&bytes).unwrap();
            assert_eq!(walked.iter().filter(|entry| entry.is_ok()).count(), 5);
            let error = walked[structure].unwrap_err();
            assert_eq!((error.cause, error.expected, error.found), (Cause::ListOverrun, needed, found));
            let fault = assert_covered(Format::Sdt, &bytes)[structure + 1].faults[0];
            assert_eq!(fault, Some(error), "the groups tell the same");
        }
    }

    #[test]
    fn what_a_length_field_cannot_say_is_refused_and_leaves_nothing() {
        let mut bytes = Vec::new();
        let mut writer = CedtWriter::new(&mut bytes, IDENTITY);
        let window = FixedMemoryWindowHeader::new(
            PhysAddr(0),
            ByteCount(0),
            InterleaveGranularity::BYTES_256,
            WindowRestrictions(0),
        );
        let too_long = |length, limit| Err(WriteError::TooLong { table: Signature::CEDT, length, limit });
        assert_eq!(writer.push_window(&window, &[AcpiUid(0); 16375]), too_long(65536, 65535));
        let math = XorInterleaveMathHeader::new(MapGranularity::BYTES_256);
        assert_eq!(writer.push_xor_interleave_math(&math, &[XorMap(0); 256]), too_long(2056, 2048));
        writer.push_window(&window, &[AcpiUid(0); 16374]).unwrap();
        writer.push_xor_interleave_math(&math, &[XorMap(0); 255]).unwrap();
        assert_eq!(writer.finish(Seal::Fill), Ok(36 + 65532 + 2048));
    }
}
