//! The structures of a CDAT as they lie in the table.

use crate::tables::hmat::{CacheAttributes, DataType, LocalityFlags};
use crate::tables::layout::{Element, Field, Row, Structure, code, flags, layout};
use crate::tables::schema::{Body, FramingKind, Structures, TableSchema};
use crate::tables::wire::{Checksum, Length, Reserved};
use crate::units::{ByteCount, DeviceAddr, DsmasHandle, EntryBaseUnit, MatrixCell, Signature, widen};
use zerocopy::FromZeros;

layout! {
    /// CDAT header, 16 bytes.
    CdatHeader("header", "CDAT Header", 16) {
        /// Length of the whole table in bytes, header included.
        length: Length<u32> = "CDAT Table Length",
        /// 1 for CDAT 1.00 to 1.02, 2 for 1.03.
        revision: u8 = "Revision",
        /// Makes all `length` bytes sum to 0 modulo 256.
        checksum: Checksum = "Checksum",
        /// Zero.
        reserved: Reserved<6> = "Reserved",
        /// Counts the changes of the contents at run time.
        sequence: u32 = "Sequence",
    }
}

flags! {
    /// Flags of a [`Dsmas`].
    DsmasFlags(u8) {
        /// The memory is non-volatile.
        NON_VOLATILE = 2, "Non Volatile";
        /// The memory may be shared by several hosts (CDAT 1.03).
        SHAREABLE = 3, "Shareable";
        /// The hardware keeps shared memory coherent (CDAT 1.03).
        HARDWARE_COHERENCY = 4, "Hardware Managed Coherency";
        /// The range is a dynamic capacity region (CDAT 1.03).
        DYNAMIC_CAPACITY = 5, "Dynamic Capacity";
        /// The memory can only be read.
        READ_ONLY = 6, "Read Only";
    }
}

flags! {
    /// Flags of a [`Dsis`].
    DsisFlags(u8) {
        /// The initiator has the memory of the DSMAS that the handle names; clear: the handle is a new one.
        MEMORY_ATTACHED = 0, "Memory Attached";
    }
}

code! {
    /// What the EFI memory map is to say about the memory of a [`Dsemts`].
    EfiMemoryUse(u8) {
        /// `EfiConventionalMemory`.
        CONVENTIONAL = 0, "EfiConventionalMemory";
        /// `EfiConventionalMemory` with `EFI_MEMORY_SP`.
        SPECIFIC_PURPOSE = 1, "EfiConventionalMemory with EFI_MEMORY_SP";
        /// `EfiReservedMemoryType`.
        RESERVED = 2, "EfiReservedMemoryType";
    }
}

code! {
    /// One end of a path through a switch: a downstream port number, or one of these.
    PortId(u16) {
        /// The upstream port.
        UPSTREAM = 0x100, "Upstream Port";
        /// Any port.
        ANY = 0xffff, "Any Port";
    }
}

layout! {
    /// Device Scoped Memory Affinity Structure (DSMAS), type 0: a range of device memory.
    Dsmas("dsmas", "Device Scoped Memory Affinity Structure", 24) {
        /// Structure type: 0.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 24.
        length: Length<u16> = "Length",
        /// By which other structures name this range; unique within the device.
        handle: DsmasHandle = "DSMAD Handle",
        /// What the memory is.
        flags: DsmasFlags = "Flags",
        /// Zero.
        reserved2: Reserved<2> = "Reserved",
        /// First device physical address of the range.
        dpa_base: DeviceAddr = "DPA Base Address",
        /// Bytes in the range.
        dpa_length: ByteCount = "DPA Length",
    }
}

layout! {
    /// Device Scoped Latency and Bandwidth Information Structure (DSLBIS), type 1.
    Dslbis("dslbis", "Device Scoped Latency and Bandwidth Information Structure", 24) {
        /// Structure type: 1.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 24.
        length: Length<u16> = "Length",
        /// Handle of a DSMAS, or of a DSIS.
        handle: DsmasHandle = "Handle",
        /// As in HMAT, when the handle is that of a DSMAS.
        flags: LocalityFlags = "Flags",
        /// What kind of number the entries are.
        data_type: DataType = "Data Type",
        /// Zero.
        reserved2: Reserved<1> = "Reserved",
        /// What one count of an entry is worth, in picoseconds or MB/s.
        entry_base_unit: EntryBaseUnit = "Entry Base Unit",
        /// The number itself: the only entry that Linux reads.
        entry0: MatrixCell = "Entry0",
        /// Second entry.
        entry1: MatrixCell = "Entry1",
        /// Third entry.
        entry2: MatrixCell = "Entry2",
        /// Zero.
        reserved3: Reserved<2> = "Reserved",
    }
}

layout! {
    /// Device Scoped Memory Side Cache Information Structure (DSMSCIS), type 2.
    Dsmscis("dsmscis", "Device Scoped Memory Side Cache Information Structure", 20) {
        /// Structure type: 2.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 20.
        length: Length<u16> = "Length",
        /// The DSMAS behind the cache.
        handle: DsmasHandle = "DSMAS Handle",
        /// Zero.
        reserved2: Reserved<3> = "Reserved",
        /// Size of the cache in bytes.
        cache_size: ByteCount = "Memory Side Cache Size",
        /// Levels, placement, write policy and line size, as in HMAT.
        cache_attributes: CacheAttributes = "Cache Attributes",
    }
}

layout! {
    /// Device Scoped Initiator Structure (DSIS), type 3.
    Dsis("dsis", "Device Scoped Initiator Structure", 8) {
        /// Structure type: 3.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 8.
        length: Length<u16> = "Length",
        /// What `handle` is.
        flags: DsisFlags = "Flags",
        /// Handle of a DSMAS, or a new one for an initiator without memory.
        handle: DsmasHandle = "Handle",
        /// Zero.
        reserved2: Reserved<2> = "Reserved",
    }
}

layout! {
    /// Device Scoped EFI Memory Type Structure (DSEMTS), type 4.
    Dsemts("dsemts", "Device Scoped EFI Memory Type Structure", 24) {
        /// Structure type: 4.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure: 24.
        length: Length<u16> = "Length",
        /// The DSMAS in which the memory lies.
        handle: DsmasHandle = "DSMAS Handle",
        /// What the EFI memory map is to say.
        memory_use: EfiMemoryUse = "EFI Memory Type and Attribute",
        /// Zero.
        reserved2: Reserved<2> = "Reserved",
        /// Bytes from the start of the DSMAS range to the memory.
        dpa_offset: ByteCount = "DPA Offset",
        /// Bytes of memory.
        dpa_length: ByteCount = "DPA Length",
    }
}

layout! {
    /// The fixed part of a Switch Scoped Latency and Bandwidth Information Structure (SSLBIS), type 5. The view with
    /// the entries is [`Sslbis`](super::Sslbis).
    SslbisHeader("sslbis", "Switch Scoped Latency and Bandwidth Information Structure", 16) {
        /// Structure type: 5.
        r#type: u8 = "Subtable Type",
        /// Zero.
        reserved1: Reserved<1> = "Reserved",
        /// Length of the structure with its entries: 16 + 8 for each.
        length: Length<u16> = "Length",
        /// What kind of number the entries hold.
        data_type: DataType = "Data Type",
        /// Zero.
        reserved2: Reserved<3> = "Reserved",
        /// What one count of an entry is worth, in picoseconds or MB/s.
        entry_base_unit: EntryBaseUnit = "Entry Base Unit",
    }
    lists(|fixed, length| {
        let room = length.saturating_sub(size_of_val(fixed));
        [widen(room.checked_div(size_of::<SslbisEntry>()).unwrap_or(0)), 0, 0]
    }) {
        "entries", "SSLBE": [SslbisEntry], Row::Plain;
    }
}

layout! {
    /// One path through a switch: an entry of an SSLBIS.
    SslbisEntry("sslbe", "Switch Scoped Latency and Bandwidth Entry", 8) {
        /// One end.
        port_x: PortId = "Port X ID",
        /// The other end.
        port_y: PortId = "Port Y ID",
        /// Latency or bandwidth between the two.
        value: MatrixCell = "Latency or Bandwidth",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
    }
}

impl Element for SslbisEntry {
    type Stored = Self;
    const FIELDS: &'static [Field] = Self::LAYOUT.fields;
}

/// How to walk and print a CDAT.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::CDAT,
    name: "Coherent Device Attribute Table",
    prologue: None,
    body: Body::Structures(Structures {
        framing: FramingKind::Medium,
        layouts: &[
            (0, Dsmas::LAYOUT),
            (1, Dslbis::LAYOUT),
            (2, Dsmscis::LAYOUT),
            (3, Dsis::LAYOUT),
            (4, Dsemts::LAYOUT),
            (5, SslbisHeader::LAYOUT),
        ],
        choose: None,
    }),
};

impl CdatHeader {
    /// A header for a new CDAT: length and checksum are filled in when the table is finished.
    #[must_use]
    pub fn new(revision: u8, sequence: u32) -> Self {
        Self { revision: revision.into(), sequence: sequence.into(), ..Self::new_zeroed() }
    }
}

impl Dsmas {
    /// A range of device memory.
    #[must_use]
    pub fn new(handle: DsmasHandle, base: DeviceAddr, size: ByteCount, flags: DsmasFlags) -> Self {
        Self {
            length: Length(24).into(),
            handle: handle.into(),
            flags: flags.into(),
            dpa_base: base.into(),
            dpa_length: size.into(),
            ..Self::new_zeroed()
        }
    }
}

impl Dslbis {
    /// A latency or bandwidth of the memory of a DSMAS: `value` times `unit`.
    #[must_use]
    pub fn new(handle: DsmasHandle, data_type: DataType, unit: EntryBaseUnit, value: MatrixCell) -> Self {
        Self {
            r#type: 1.into(),
            length: Length(24).into(),
            handle: handle.into(),
            data_type: data_type.into(),
            entry_base_unit: unit.into(),
            entry0: value.into(),
            ..Self::new_zeroed()
        }
    }
}

impl Dsmscis {
    /// A cache before the memory of a DSMAS.
    #[must_use]
    pub fn new(handle: DsmasHandle, size: ByteCount, attributes: CacheAttributes) -> Self {
        Self {
            r#type: 2.into(),
            length: Length(20).into(),
            handle: handle.into(),
            cache_size: size.into(),
            cache_attributes: attributes.into(),
            ..Self::new_zeroed()
        }
    }
}

impl Dsis {
    /// An initiator.
    #[must_use]
    pub fn new(handle: DsmasHandle, flags: DsisFlags) -> Self {
        Self {
            r#type: 3.into(),
            length: Length(8).into(),
            flags: flags.into(),
            handle: handle.into(),
            ..Self::new_zeroed()
        }
    }
}

impl Dsemts {
    /// What the EFI memory map is to say about `size` bytes, `offset` bytes into the range of a DSMAS.
    #[must_use]
    pub fn new(handle: DsmasHandle, memory_use: EfiMemoryUse, offset: ByteCount, size: ByteCount) -> Self {
        Self {
            r#type: 4.into(),
            length: Length(24).into(),
            handle: handle.into(),
            memory_use: memory_use.into(),
            dpa_offset: offset.into(),
            dpa_length: size.into(),
            ..Self::new_zeroed()
        }
    }
}

impl SslbisHeader {
    /// Latencies or bandwidths of the paths through a switch, in counts of `unit`.
    #[must_use]
    pub fn new(data_type: DataType, unit: EntryBaseUnit) -> Self {
        Self {
            r#type: 5.into(),
            data_type: data_type.into(),
            entry_base_unit: unit.into(),
            ..Self::new_zeroed()
        }
    }
}

impl SslbisEntry {
    /// A path between two ports.
    #[must_use]
    pub fn new(port_x: PortId, port_y: PortId, value: MatrixCell) -> Self {
        Self {
            port_x: port_x.into(),
            port_y: port_y.into(),
            value: value.into(),
            reserved: Reserved([0; 2]).into(),
        }
    }
}
