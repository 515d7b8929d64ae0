//! SRAT, the System Resource Affinity Table: which processors, memory ranges and devices belong to which
//! proximity domain (ACPI 6.6 §5.2.16).

use super::entries::{Entries, Narrow, RawEntry, typed};
use super::header::{Identity, SdtHeader, Table};
use super::layout::{Kind, Layout, Structure, code, flags, layout};
use super::output::{Output, Seal, TableWriter};
use super::schema::{Body, FramingKind, Structures, TableSchema};
use super::wire::{Length, Opaque, Reserved, Wire};
use crate::error::{TableError, WriteError};
use crate::units::{
    AcpiUid, ApicId, Ascii, ByteCount, ClockDomain, ItsId, PciSegment, PhysAddr, ProcessorUid,
    ProximityDomain, Signature,
};
use core::fmt;
use zerocopy::{FromZeros, IntoBytes};

layout! {
    /// What SRAT has between header and structures.
    SratPrologue("srat", "SRAT", 12) {
        /// Must be 1, for parsers of ACPI 1.0.
        table_revision: u32 = "Table Revision",
        /// Zero.
        reserved: Reserved<8> = "Reserved",
    }
}

flags! {
    /// Flags of processor structures (types 0, 2, 3, 7).
    ProcessorFlags(u32) {
        /// Clear: the structure is to be ignored.
        ENABLED = 0, "Enabled";
    }
}

flags! {
    /// Flags of a memory range: ACPI 6.6 §5.2.16.2.
    MemoryFlags(u32) {
        /// Clear: the structure is to be ignored.
        ENABLED = 0, "Enabled";
        /// Memory may be added to or removed from the range at run time.
        HOT_PLUGGABLE = 1, "Hot Pluggable";
        /// The range is non-volatile.
        NON_VOLATILE = 2, "NonVolatile";
        /// The range is meant for specific uses (ACPI 6.6). Linux 7.2 ignores it.
        SPECIFIC_PURPOSE = 3, "Specific Purpose";
    }
}

flags! {
    /// Flags of generic initiators and ports.
    GenericFlags(u32) {
        /// Clear: the structure is to be ignored.
        ENABLED = 0, "Enabled";
        /// The device can issue architectural transactions such as atomics (ACPI 6.4).
        ARCHITECTURAL_TRANSACTIONS = 1, "Architectural Transactions";
    }
}

code! {
    /// How the device of a generic initiator or port is named.
    HandleType(u8) {
        /// `_HID` and `_UID` of an ACPI device.
        ACPI = 0, "ACPI Device Handle";
        /// Segment and bus, device, function of a PCI device.
        PCI = 1, "PCI Device Handle";
    }
}

/// The bytes that name the device of a generic initiator or port; [`GenericAffinity::device`] reads them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceHandle(pub [u8; 16]);

impl Wire for DeviceHandle {
    type Raw = [u8; 16];
    const KIND: Kind = Kind::DeviceHandle;
    #[inline]
    fn load(raw: [u8; 16]) -> Self {
        Self(raw)
    }
    #[inline]
    fn store(self) -> [u8; 16] {
        self.0
    }
}

layout! {
    /// Processor Local APIC/SAPIC Affinity, type 0: ACPI 6.6 §5.2.16.1.
    LocalApicAffinity("local_apic_affinity", "Processor Local APIC/SAPIC Affinity", 16) {
        /// Structure type: 0.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 16.
        length: Length<u8> = "Length",
        /// Bits 7:0 of the proximity domain.
        domain_low: u8 = "Proximity Domain Low(8)",
        /// Local APIC id.
        apic_id: u8 = "Apic ID",
        /// Whether the structure counts.
        flags: ProcessorFlags = "Flags",
        /// Local SAPIC EID.
        local_sapic_eid: u8 = "Local Sapic EID",
        /// Bits 31:8 of the proximity domain, little-endian; part of it from SRAT revision 2 on.
        domain_high: Opaque<3> = "Proximity Domain High(24)",
        /// 0 for processors that run synchronously.
        clock_domain: ClockDomain = "Clock Domain",
    }
}

layout! {
    /// Memory Affinity, type 1: ACPI 6.6 §5.2.16.2.
    MemoryAffinity("memory_affinity", "Memory Affinity", 40) {
        /// Structure type: 1.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 40.
        length: Length<u8> = "Length",
        /// Domain of the memory; Linux uses the low eight bits only when the SRAT has revision 1.
        proximity_domain: ProximityDomain = "Proximity Domain",
        /// Zero.
        reserved1: Reserved<2> = "Reserved1",
        /// First byte of the range.
        base_address: PhysAddr = "Base Address",
        /// Bytes in the range.
        address_length: ByteCount = "Address Length",
        /// Zero.
        reserved2: Reserved<4> = "Reserved2",
        /// Whether the structure counts, and what the memory is.
        flags: MemoryFlags = "Flags",
        /// Zero.
        reserved3: Reserved<8> = "Reserved3",
    }
}

layout! {
    /// Processor Local x2APIC Affinity, type 2: ACPI 6.6 §5.2.16.3.
    X2ApicAffinity("x2apic_affinity", "Processor Local x2APIC Affinity", 24) {
        /// Structure type: 2.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 24.
        length: Length<u8> = "Length",
        /// Zero.
        reserved1: Reserved<2> = "Reserved1",
        /// Domain of the processor.
        proximity_domain: ProximityDomain = "Proximity Domain",
        /// Local x2APIC id.
        x2apic_id: ApicId = "Apic ID",
        /// Whether the structure counts.
        flags: ProcessorFlags = "Flags",
        /// 0 for processors that run synchronously.
        clock_domain: ClockDomain = "Clock Domain",
        /// Zero.
        reserved2: Reserved<4> = "Reserved2",
    }
}

layout! {
    /// GICC Affinity, type 3: ACPI 6.6 §5.2.16.4.
    GiccAffinity("gicc_affinity", "GICC Affinity", 18) {
        /// Structure type: 3.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 18.
        length: Length<u8> = "Length",
        /// Domain of the processor.
        proximity_domain: ProximityDomain = "Proximity Domain",
        /// Matches a GICC structure of the MADT.
        acpi_processor_uid: ProcessorUid = "Acpi Processor UID",
        /// Whether the structure counts.
        flags: ProcessorFlags = "Flags",
        /// 0 for processors that run synchronously.
        clock_domain: ClockDomain = "Clock Domain",
    }
}

layout! {
    /// GIC ITS Affinity, type 4: ACPI 6.6 §5.2.16.5. It has no flags: it always counts.
    ItsAffinity("its_affinity", "GIC ITS Affinity", 12) {
        /// Structure type: 4.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 12.
        length: Length<u8> = "Length",
        /// Domain of the interrupt translation service.
        proximity_domain: ProximityDomain = "Proximity Domain",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Matches a GIC ITS structure of the MADT.
        its_id: ItsId = "ITS ID",
    }
}

layout! {
    /// Generic Initiator Affinity, type 5 (ACPI 6.6 §5.2.16.6), and Generic Port Affinity, type 6 (§5.2.16.7):
    /// the same layout for a device that issues memory accesses and for a port, such as a CXL host bridge,
    /// behind which memory lies.
    GenericAffinity("generic_initiator_affinity", "Generic Initiator Affinity", 32) {
        /// Structure type: 5 or 6.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 32.
        length: Length<u8> = "Length",
        /// Zero.
        reserved1: Reserved<1> = "Reserved1",
        /// How `device_handle` is to be read.
        device_handle_type: HandleType = "Device Handle Type",
        /// Domain of the device.
        proximity_domain: ProximityDomain = "Proximity Domain",
        /// The device; see [`device`](Self::device).
        device_handle: DeviceHandle = "Device Handle",
        /// Whether the structure counts, and what the device can do.
        flags: GenericFlags = "Flags",
        /// Zero.
        reserved2: Reserved<4> = "Reserved2",
    }
}

layout! {
    /// RINTC Affinity, type 7: ACPI 6.6 §5.2.16.8.
    RintcAffinity("rintc_affinity", "RINTC Affinity", 20) {
        /// Structure type: 7.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 20.
        length: Length<u8> = "Length",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Domain of the processor.
        proximity_domain: ProximityDomain = "Proximity Domain",
        /// Matches a RINTC structure of the MADT.
        acpi_processor_uid: ProcessorUid = "Acpi Processor UID",
        /// Whether the structure counts.
        flags: ProcessorFlags = "Flags",
        /// 0 for processors that run synchronously.
        clock_domain: ClockDomain = "Clock Domain",
    }
}

/// The type-6 face of [`GenericAffinity`].
const GENERIC_PORT: Layout =
    Layout { id: "generic_port_affinity", name: "Generic Port Affinity", ..GenericAffinity::LAYOUT };

/// How to walk and print an SRAT.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::SRAT,
    name: "System Resource Affinity Table",
    prologue: Some(&SratPrologue::LAYOUT),
    body: Body::Structures(Structures {
        framing: FramingKind::Narrow,
        layouts: &[
            (0, LocalApicAffinity::LAYOUT),
            (1, MemoryAffinity::LAYOUT),
            (2, X2ApicAffinity::LAYOUT),
            (3, GiccAffinity::LAYOUT),
            (4, ItsAffinity::LAYOUT),
            (5, GenericAffinity::LAYOUT),
            (6, GENERIC_PORT),
            (7, RintcAffinity::LAYOUT),
        ],
        choose: None,
    }),
};

impl LocalApicAffinity {
    /// An enabled processor with a local APIC id up to 254.
    #[must_use]
    pub fn new(domain: ProximityDomain, apic_id: u8) -> Self {
        let [low, high @ ..] = domain.0.to_le_bytes();
        Self {
            length: Length(16).into(),
            domain_low: low.into(),
            apic_id: apic_id.into(),
            flags: ProcessorFlags::ENABLED.into(),
            domain_high: Opaque(high).into(),
            ..Self::new_zeroed()
        }
    }

    /// The proximity domain as a SRAT of `revision` means it: eight bits in revision 1, 32 from 2 on.
    #[must_use]
    pub fn proximity_domain(&self, revision: u8) -> ProximityDomain {
        let [a, b, c] = if revision >= 2 { self.domain_high.get().0 } else { [0; 3] };
        ProximityDomain(u32::from_le_bytes([self.domain_low.get(), a, b, c]))
    }
}

impl MemoryAffinity {
    /// A memory range with the given flags.
    #[must_use]
    pub fn new(domain: ProximityDomain, base: PhysAddr, size: ByteCount, flags: MemoryFlags) -> Self {
        Self {
            r#type: 1.into(),
            length: Length(40).into(),
            proximity_domain: domain.into(),
            base_address: base.into(),
            address_length: size.into(),
            flags: flags.into(),
            ..Self::new_zeroed()
        }
    }
}

impl X2ApicAffinity {
    /// An enabled processor.
    #[must_use]
    pub fn new(domain: ProximityDomain, x2apic_id: ApicId) -> Self {
        Self {
            r#type: 2.into(),
            length: Length(24).into(),
            proximity_domain: domain.into(),
            x2apic_id: x2apic_id.into(),
            flags: ProcessorFlags::ENABLED.into(),
            ..Self::new_zeroed()
        }
    }
}

impl GiccAffinity {
    /// An enabled processor.
    #[must_use]
    pub fn new(domain: ProximityDomain, uid: ProcessorUid) -> Self {
        Self {
            r#type: 3.into(),
            length: Length(18).into(),
            proximity_domain: domain.into(),
            acpi_processor_uid: uid.into(),
            flags: ProcessorFlags::ENABLED.into(),
            ..Self::new_zeroed()
        }
    }
}

impl ItsAffinity {
    /// An interrupt translation service.
    #[must_use]
    pub fn new(domain: ProximityDomain, its_id: ItsId) -> Self {
        Self {
            r#type: 4.into(),
            length: Length(12).into(),
            proximity_domain: domain.into(),
            its_id: its_id.into(),
            ..Self::new_zeroed()
        }
    }
}

impl RintcAffinity {
    /// An enabled processor.
    #[must_use]
    pub fn new(domain: ProximityDomain, uid: ProcessorUid) -> Self {
        Self {
            r#type: 7.into(),
            length: Length(20).into(),
            proximity_domain: domain.into(),
            acpi_processor_uid: uid.into(),
            flags: ProcessorFlags::ENABLED.into(),
            ..Self::new_zeroed()
        }
    }
}

/// The device of a generic initiator or port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// An ACPI device by `_HID` and `_UID`.
    Acpi {
        /// Eight ASCII bytes, such as `ACPI0016` for a CXL host bridge.
        hid: [u8; 8],
        /// The `_UID`; Linux matches generic ports by it alone.
        uid: AcpiUid,
    },
    /// A PCI device by address.
    Pci {
        /// Segment group.
        segment: PciSegment,
        /// Bus number: the first byte of the BDF field.
        bus: u8,
        /// Device (bits 7:3) and function (bits 2:0): the second byte.
        device_function: u8,
    },
    /// A handle type that the specification does not define.
    Unknown(HandleType, [u8; 16]),
}

impl GenericAffinity {
    /// An enabled generic initiator (type 5).
    #[must_use]
    pub fn initiator(domain: ProximityDomain, device: Device) -> Self {
        let (handle_type, handle) = match device {
            Device::Acpi { hid, uid } => {
                let [a, b, c, d, e, f, g, h] = hid;
                let [i, j, k, l] = uid.0.to_le_bytes();
                (HandleType::ACPI, [a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0])
            }
            Device::Pci { segment, bus, device_function } => {
                let [a, b] = segment.0.to_le_bytes();
                (HandleType::PCI, [a, b, bus, device_function, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            }
            Device::Unknown(handle_type, bytes) => (handle_type, bytes),
        };
        Self {
            r#type: 5.into(),
            length: Length(32).into(),
            device_handle_type: handle_type.into(),
            proximity_domain: domain.into(),
            device_handle: DeviceHandle(handle).into(),
            flags: GenericFlags::ENABLED.into(),
            ..Self::new_zeroed()
        }
    }

    /// An enabled generic port (type 6).
    #[must_use]
    pub fn port(domain: ProximityDomain, device: Device) -> Self {
        Self { r#type: 6.into(), ..Self::initiator(domain, device) }
    }

    /// The device that the handle names.
    #[must_use]
    pub fn device(&self) -> Device {
        Device::decode(self.device_handle_type.get(), self.device_handle.get())
    }
}

impl Device {
    /// Reads a handle of the given type.
    #[must_use]
    pub fn decode(handle_type: HandleType, handle: DeviceHandle) -> Self {
        let handle = handle.0;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = handle;
        match handle_type {
            HandleType::ACPI => {
                Self::Acpi { hid: [a, b, c, d, e, f, g, h], uid: AcpiUid(u32::from_le_bytes([i, j, k, l])) }
            }
            HandleType::PCI => {
                Self::Pci { segment: PciSegment(u16::from_le_bytes([a, b])), bus: c, device_function: d }
            }
            other => Self::Unknown(other, handle),
        }
    }
}

/// `ACPI0016 _UID 7`, or segment, bus, device and function as Linux prints them.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acpi { hid, uid } => write!(f, "{} _UID {uid}", Ascii(hid)),
            Self::Pci { segment, bus, device_function } => {
                write!(f, "{segment:04x}:{bus:02x}:{:02x}.{}", device_function >> 3, device_function & 7)
            }
            Self::Unknown(handle_type, _) => write!(f, "{handle_type:?}"),
        }
    }
}

/// One structure of an SRAT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// Type 0.
    LocalApic(&'a LocalApicAffinity),
    /// Type 1.
    Memory(&'a MemoryAffinity),
    /// Type 2.
    X2Apic(&'a X2ApicAffinity),
    /// Type 3.
    Gicc(&'a GiccAffinity),
    /// Type 4.
    Its(&'a ItsAffinity),
    /// Type 5.
    GenericInitiator(&'a GenericAffinity),
    /// Type 6.
    GenericPort(&'a GenericAffinity),
    /// Type 7.
    Rintc(&'a RintcAffinity),
    /// A type that ACPI 6.6 does not define.
    Unknown(RawEntry<'a>),
}

impl<'a> Entry<'a> {
    /// Gives a walked structure its type.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`](crate::error::Cause::StructureLengthShort).
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        const T: Signature = Signature::SRAT;
        Ok(match raw.kind {
            0 => Self::LocalApic(typed(T, raw)?.0),
            1 => Self::Memory(typed(T, raw)?.0),
            2 => Self::X2Apic(typed(T, raw)?.0),
            3 => Self::Gicc(typed(T, raw)?.0),
            4 => Self::Its(typed(T, raw)?.0),
            5 => Self::GenericInitiator(typed(T, raw)?.0),
            6 => Self::GenericPort(typed(T, raw)?.0),
            7 => Self::Rintc(typed(T, raw)?.0),
            _ => Self::Unknown(*raw),
        })
    }
}

/// An SRAT, read in place.
///
/// ```
/// use memtopo::tables::srat::{Entry, MemoryAffinity, MemoryFlags, Srat, SratWriter};
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::units::{ByteCount, PhysAddr, ProximityDomain};
///
/// let mut buffer = [0; 128];
/// let mut writer = SratWriter::new(SliceOutput::new(&mut buffer), Default::default());
/// writer.push(&MemoryAffinity::new(ProximityDomain(3), PhysAddr(0), ByteCount(1 << 30), MemoryFlags::ENABLED));
/// let length = writer.finish(Seal::Fill)?;
/// assert_eq!(length, 88);
///
/// let srat = Srat::parse(&buffer[..88])?;
/// for entry in srat.entries() {
///     if let Entry::Memory(memory) = entry? {
///         assert_eq!(memory.proximity_domain.get(), ProximityDomain(3));
///     }
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Srat<'a> {
    table: Table<'a>,
}

impl<'a> Srat<'a> {
    /// Bytes before the first structure.
    pub const FIXED: usize = 48;

    /// Takes the SRAT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 48, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        Ok(Self { table: Table::expect(input, Signature::SRAT, Self::FIXED)? })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// The structures as they lie in the table, whatever their type.
    #[must_use]
    pub fn raw_entries(&self) -> Entries<'a, Narrow> {
        Entries::new(Signature::SRAT, self.table.bytes(), Self::FIXED)
    }

    /// The structures in table order.
    ///
    /// A structure too short for its type is an error of that item; the walk goes on. A walk that cannot go on
    /// ends with an error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, TableError>> + use<'a> {
        self.raw_entries().map(|raw| Entry::decode(&raw?))
    }
}

/// Writes an SRAT of revision 3.
#[derive(Debug)]
pub struct SratWriter<O> {
    table: TableWriter<O>,
}

impl<O: Output> SratWriter<O> {
    /// Starts an SRAT at the end of `output`.
    pub fn new(output: O, identity: Identity) -> Self {
        let prologue = SratPrologue { table_revision: 1.into(), reserved: Reserved([0; 8]).into() };
        Self::with_header(output, &SdtHeader::new(Signature::SRAT, 3, identity), &prologue)
    }

    /// Starts an SRAT with every field of the fixed part as given.
    pub fn with_header(output: O, header: &SdtHeader, prologue: &SratPrologue) -> Self {
        let mut table = TableWriter::new(output, header);
        table.raw(prologue.as_bytes());
        Self { table }
    }

    /// Appends one structure as it is.
    #[inline]
    pub fn push<T: SratStructure>(&mut self, structure: &T) {
        self.table.raw(structure.as_bytes());
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

/// The structures that may stand in an SRAT.
pub trait SratStructure: Structure {}
impl SratStructure for LocalApicAffinity {}
impl SratStructure for MemoryAffinity {}
impl SratStructure for X2ApicAffinity {}
impl SratStructure for GiccAffinity {}
impl SratStructure for ItsAffinity {}
impl SratStructure for GenericAffinity {}
impl SratStructure for RintcAffinity {}
