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
