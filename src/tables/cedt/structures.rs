//! The structures of a CEDT as they lie in the table.

use crate::tables::layout::{Row, Structure, code, flags, layout};
use crate::tables::schema::{Body, FramingKind, Structures, TableSchema};
use crate::tables::wire::{Length, Reserved};
use crate::units::{AcpiUid, ByteCount, PciBdf, PciSegment, PhysAddr, Signature, XorMap};
use zerocopy::FromZeros;

code! {
    /// Which kind of host bridge a CHBS describes.
    CxlVersion(u32) {
        /// CXL 1.1: the registers are an RCRB.
        CXL_1_1 = 0, "CXL 1.1 (RCH)";
        /// CXL 2.0 and later: the registers are component registers.
        CXL_2_0 = 1, "CXL 2.0 or later";
    }
}

code! {
    /// Encoded number of interleave ways (ENIW).
    InterleaveWays(u8) {
        /// 1 way: no interleave.
        WAYS_1 = 0, "1 way";
        /// 2 ways.
        WAYS_2 = 1, "2 ways";
        /// 4 ways.
        WAYS_4 = 2, "4 ways";
        /// 8 ways.
        WAYS_8 = 3, "8 ways";
        /// 16 ways.
        WAYS_16 = 4, "16 ways";
        /// 3 ways.
        WAYS_3 = 8, "3 ways";
        /// 6 ways.
        WAYS_6 = 9, "6 ways";
        /// 12 ways.
        WAYS_12 = 10, "12 ways";
    }
}

impl InterleaveWays {
    /// The number of ways, or `None` for a reserved code.
    #[inline]
    #[must_use]
    pub const fn ways(self) -> Option<u8> {
        Some(match self {
            Self::WAYS_1 => 1,
            Self::WAYS_2 => 2,
            Self::WAYS_3 => 3,
            Self::WAYS_4 => 4,
            Self::WAYS_6 => 6,
            Self::WAYS_8 => 8,
            Self::WAYS_12 => 12,
            Self::WAYS_16 => 16,
            _ => return None,
        })
    }

    /// The code of a number of ways, or `None` when there is none.
    #[must_use]
    pub const fn from_ways(ways: usize) -> Option<Self> {
        Some(match ways {
            1 => Self::WAYS_1,
            2 => Self::WAYS_2,
            3 => Self::WAYS_3,
            4 => Self::WAYS_4,
            6 => Self::WAYS_6,
            8 => Self::WAYS_8,
            12 => Self::WAYS_12,
            16 => Self::WAYS_16,
            _ => return None,
        })
    }
}

code! {
    /// How addresses of a window are spread over its targets.
    InterleaveArithmetic(u8) {
        /// Standard modulo arithmetic.
        MODULO = 0, "Standard Modulo";
        /// Modulo arithmetic combined with XOR, by the XORMAPs of the CXIMS of the same granularity.
        MODULO_XOR = 1, "Modulo combined with XOR";
    }
}

code! {
    /// Host Bridge Interleave Granularity (HBIG) of a window, as a code: 256 bytes doubled that many times.
    InterleaveGranularity(u32) {
        /// 256 bytes.
        BYTES_256 = 0, "256 B";
        /// 512 bytes.
        BYTES_512 = 1, "512 B";
        /// 1 KiB.
        KIB_1 = 2, "1 KiB";
        /// 2 KiB.
        KIB_2 = 3, "2 KiB";
        /// 4 KiB.
        KIB_4 = 4, "4 KiB";
        /// 8 KiB.
        KIB_8 = 5, "8 KiB";
        /// 16 KiB.
        KIB_16 = 6, "16 KiB";
    }
}

impl InterleaveGranularity {
    /// The granularity in bytes, or `None` for a reserved code.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> Option<ByteCount> {
        if self.0 <= Self::KIB_16.0 { Some(ByteCount(256 << self.0)) } else { None }
    }
}

code! {
    /// [`InterleaveGranularity`] in the one byte that a CXIMS has for it.
    MapGranularity(u8) {
        /// 256 bytes.
        BYTES_256 = 0, "256 B";
        /// 512 bytes.
        BYTES_512 = 1, "512 B";
        /// 1 KiB.
        KIB_1 = 2, "1 KiB";
        /// 2 KiB.
        KIB_2 = 3, "2 KiB";
        /// 4 KiB.
        KIB_4 = 4, "4 KiB";
        /// 8 KiB.
        KIB_8 = 5, "8 KiB";
        /// 16 KiB.
        KIB_16 = 6, "16 KiB";
    }
}

impl From<MapGranularity> for InterleaveGranularity {
    fn from(granularity: MapGranularity) -> Self {
        Self(u32::from(granularity.0))
    }
}

flags! {
    /// What a window may be used for (Window Restrictions).
    WindowRestrictions(u16) {
        /// Device-coherent memory: HDM-D and HDM-DB; once called CXL Type 2 memory.
        DEVICE_COHERENT = 0, "Device Coherent";
        /// Host-only coherent memory: HDM-H; once called CXL Type 3 memory.
        HOST_ONLY_COHERENT = 1, "Host-only Coherent";
        /// Volatile memory.
        VOLATILE = 2, "Volatile";
        /// Persistent memory.
        PERSISTENT = 3, "Persistent";
        /// The devices behind the window are not to be reconfigured.
        FIXED_CONFIGURATION = 4, "Fixed Device Configuration";
        /// Back-invalidate (CXL 3.0). Linux 7.2 ignores it.
        BACK_INVALIDATE = 5, "Back-Invalidate";
    }
}

code! {
    /// Which registers the base address of an RDPAS leads to.
    ProtocolType(u8) {
        /// CXL.io.
        CXL_IO = 0, "CXL.io";
        /// CXL.cache and CXL.mem.
        CXL_CACHE_MEM = 1, "CXL.cachemem";
    }
}

flags! {
    /// Capabilities of the system.
    SystemCapabilities(u16) {
        /// CMP-M.
        CMP_M = 0, "CMP-M";
        /// The host does not write clean lines back (CXL 3.1).
        NO_CLEAN_WRITEBACK = 1, "No Clean Writeback";
        /// Viral policy (CXL 3.2).
        VIRAL_POLICY = 2, "Viral Policy";
    }
}

layout! {
    /// CXL Host Bridge Structure (CHBS), type 0: CXL 3.1 §9.18.1.2.
    HostBridge("cxl_host_bridge", "CXL Host Bridge Structure", 32) {
        /// Structure type: 0.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 32.
        length: Length<u16> = "Length",
        /// `_UID` of the host bridge, an `ACPI0016` device.
        uid: AcpiUid = "Associated host bridge",
        /// Which registers `base` leads to.
        cxl_version: CxlVersion = "Specification version",
        /// Zero.
        reserved2: Reserved<4> = "Reserved",
        /// Address of the RCRB (CXL 1.1) or of the component registers.
        base: PhysAddr = "Register base",
        /// Bytes of registers: 8 KiB of RCRB or 64 KiB of component registers.
        register_length: ByteCount = "Register length",
    }
}

layout! {
    /// The fixed part of a CXL Fixed Memory Window Structure (CFMWS), type 1: CXL 3.1 §9.18.1.3. The view with the
    /// targets is [`FixedMemoryWindow`](super::FixedMemoryWindow).
    FixedMemoryWindowHeader("cxl_fixed_memory_window", "CXL Fixed Memory Window Structure", 36) {
        /// Structure type: 1.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure with its targets: 36 + 4 for each way.
        length: Length<u16> = "Length",
        /// Zero.
        reserved2: Reserved<4> = "Reserved",
        /// First address of the window; a multiple of 256 MiB.
        base_hpa: PhysAddr = "Window base address",
        /// Bytes in the window; a multiple of 256 MiB for each way.
        window_size: ByteCount = "Window size",
        /// How many ways the window is interleaved: the number of targets.
        interleave_ways: InterleaveWays = "Interleave Members",
        /// How addresses are spread over the targets.
        interleave_arithmetic: InterleaveArithmetic = "Interleave Arithmetic",
        /// Zero.
        reserved3: Reserved<2> = "Reserved",
        /// Bytes that go to one target before the next has its turn. Linux keeps only the low 16 bits.
        granularity: InterleaveGranularity = "Granularity",
        /// What the window may be used for.
        restrictions: WindowRestrictions = "Restrictions",
        /// Quality-of-service throttling group.
        qtg_id: u16 = "QtgId",
    }
    lists(|fixed, _| [u64::from(fixed.interleave_ways.get().ways().unwrap_or(0)), 0, 0]) {
        "targets", "Interleave Target": [AcpiUid], Row::Plain;
    }
}

layout! {
    /// The fixed part of a CXL XOR Interleave Math Structure (CXIMS), type 2: CXL 3.1 §9.18.1.4. The view with the
    /// maps is [`XorInterleaveMath`](super::XorInterleaveMath).
    XorInterleaveMathHeader("cxl_xor_interleave_math", "CXL XOR Interleave Math Structure", 8) {
        /// Structure type: 2.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure with its maps: 8 + 8 for each map.
        length: Length<u16> = "Length",
        /// Zero.
        reserved2: Reserved<2> = "Reserved",
        /// The windows that the maps are for: those of this granularity.
        granularity: MapGranularity = "Host Bridge Interleave Granularity",
        /// Maps behind the fixed part (NIB).
        map_count: u8 = "Number Of Bitmap Entries",
    }
    lists(|fixed, _| [u64::from(fixed.map_count.get()), 0, 0]) {
        "xormaps", "XORMAP": [XorMap], Row::Plain;
    }
}

layout! {
    /// RCEC Downstream Port Association Structure (RDPAS), type 3, in the form of CXL 4.0 that ACPICA has since
    /// 2026: layout C of three. The view that finds out which is [`Rdpas`](super::Rdpas).
    RdpasC("rcec_downstream_port_association", "RCEC Downstream Port Association Structure", 20) {
        /// Structure type: 3.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 20.
        length: Length<u16> = "Length",
        /// PCI segment group of the RCEC.
        segment: PciSegment = "RCEC Segment Number",
        /// Bus, device and function of the RCEC.
        bdf: PciBdf = "RCEC BDF",
        /// Address of the registers.
        base_address: PhysAddr = "Base Address",
        /// Which registers those are.
        protocol_type: ProtocolType = "Protocol Type",
        /// Zero.
        reserved2: Reserved<3> = "Reserved",
    }
}

layout! {
    /// RDPAS as Linux 7.2 (`actbl1.h`), FWTS and EDK2's `Acpi64.h` have it: layout A.
    RdpasA("rcec_downstream_port_association_a", "RCEC Downstream Port Association Structure (layout A)", 17) {
        /// Structure type: 3.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 17; some writers say 16.
        length: Length<u16> = "Length",
        /// PCI segment group of the RCEC.
        segment: PciSegment = "RCEC Segment Number",
        /// Bus, device and function of the RCEC.
        bdf: PciBdf = "RCEC BDF",
        /// Which registers `base_address` leads to.
        protocol_type: ProtocolType = "Protocol Type",
        /// Address of the registers.
        base_address: PhysAddr = "Base Address",
    }
}

layout! {
    /// RDPAS as EDK2's `Cxl30.h` has it: layout B.
    RdpasB("rcec_downstream_port_association_b", "RCEC Downstream Port Association Structure (layout B)", 17) {
        /// Structure type: 3.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 17.
        length: Length<u16> = "Length",
        /// PCI segment group of the RCEC.
        segment: PciSegment = "RCEC Segment Number",
        /// Bus, device and function of the RCEC.
        bdf: PciBdf = "RCEC BDF",
        /// Address of the registers.
        base_address: PhysAddr = "Base Address",
        /// Which registers those are.
        protocol_type: ProtocolType = "Protocol Type",
    }
}

layout! {
    /// CXL System Description Structure (CSDS), type 4: CXL 3.1 §9.18.1.6.
    SystemDescription("cxl_system_description", "CXL System Description Structure", 8) {
        /// Structure type: 4.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 8.
        length: Length<u16> = "Length",
        /// What the system can do.
        capabilities: SystemCapabilities = "System Capabilities",
        /// Zero.
        reserved2: Reserved<2> = "Reserved",
    }
}

/// The three layouts of an RDPAS that are in circulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdpasLayout {
    /// Protocol type before the base address: [`RdpasA`].
    A,
    /// Protocol type behind the base address: [`RdpasB`].
    B,
    /// As B, with three reserved bytes: [`RdpasC`].
    C,
}

impl RdpasLayout {
    /// The layout of the structure `bytes`.
    ///
    /// 20 bytes or more are C. Below, A and B cannot be told apart for certain: it is B when the byte that would be
    /// the protocol type is out of range for A and in range for B.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let protocol_in_range = |at| bytes.get(at).is_some_and(|byte| *byte <= ProtocolType::CXL_CACHE_MEM.0);
        if bytes.len() >= RdpasC::LAYOUT.size {
            Self::C
        } else if !protocol_in_range(8) && protocol_in_range(16) {
            Self::B
        } else {
            Self::A
        }
    }
}

/// How to walk and print a CEDT.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::CEDT,
    name: "CXL Early Discovery Table",
    prologue: None,
    body: Body::Structures(Structures {
        framing: FramingKind::Medium,
        layouts: &[
            (0, HostBridge::LAYOUT),
            (1, FixedMemoryWindowHeader::LAYOUT),
            (2, XorInterleaveMathHeader::LAYOUT),
            (3, RdpasC::LAYOUT),
            (3, RdpasA::LAYOUT),
            (3, RdpasB::LAYOUT),
            (4, SystemDescription::LAYOUT),
        ],
        choose: Some(|_, kind, bytes| match (kind, RdpasLayout::of(bytes)) {
            (3, RdpasLayout::A) => Some(RdpasA::LAYOUT.id),
            (3, RdpasLayout::B) => Some(RdpasB::LAYOUT.id),
            _ => None,
        }),
    }),
};

impl HostBridge {
    /// A host bridge with its registers.
    #[must_use]
    pub fn new(uid: AcpiUid, version: CxlVersion, base: PhysAddr, registers: ByteCount) -> Self {
        Self {
            length: Length(32).into(),
            uid: uid.into(),
            cxl_version: version.into(),
            base: base.into(),
            register_length: registers.into(),
            ..Self::new_zeroed()
        }
    }
}

impl FixedMemoryWindowHeader {
    /// A window with modulo arithmetic and QTG 0; its length and ways come from the targets.
    #[must_use]
    pub fn new(
        base: PhysAddr,
        size: ByteCount,
        granularity: InterleaveGranularity,
        restrictions: WindowRestrictions,
    ) -> Self {
        Self {
            r#type: 1.into(),
            base_hpa: base.into(),
            window_size: size.into(),
            granularity: granularity.into(),
            restrictions: restrictions.into(),
            ..Self::new_zeroed()
        }
    }
}

impl XorInterleaveMathHeader {
    /// Maps for the windows of a granularity; its length and count come from the maps.
    #[must_use]
    pub fn new(granularity: MapGranularity) -> Self {
        Self { r#type: 2.into(), granularity: granularity.into(), ..Self::new_zeroed() }
    }
}

impl RdpasC {
    /// The downstream ports of an RCEC.
    #[must_use]
    pub fn new(segment: PciSegment, bdf: PciBdf, protocol: ProtocolType, base: PhysAddr) -> Self {
        Self {
            r#type: 3.into(),
            length: Length(20).into(),
            segment: segment.into(),
            bdf: bdf.into(),
            base_address: base.into(),
            protocol_type: protocol.into(),
            ..Self::new_zeroed()
        }
    }
}

impl SystemDescription {
    /// What the system can do.
    #[must_use]
    pub fn new(capabilities: SystemCapabilities) -> Self {
        Self {
            r#type: 4.into(),
            length: Length(8).into(),
            capabilities: capabilities.into(),
            ..Self::new_zeroed()
        }
    }
}
