//! The structures of an HMAT as they lie in the table.

use crate::tables::layout::{Field, Layout, Row, Structure, code, field, flags, layout};
use crate::tables::schema::{Body, FramingKind, Structures, TableSchema};
use crate::tables::wire::{Length, Reserved, Wire};
use crate::units::{
    ByteCount, EntryBaseUnit, MatrixCell, PhysAddr, ProximityDomain, Signature, SmbiosHandle,
};
use zerocopy::FromZeros;

layout! {
    /// What HMAT has between header and structures.
    HmatPrologue("hmat", "HMAT", 4) {
        /// Zero.
        reserved: Reserved<4> = "Reserved",
    }
}

flags! {
    /// Flags of [`MemoryProximityAttributes`].
    AttributeFlags(u16) {
        /// The field with the domain of the attached initiator counts.
        INITIATOR_VALID = 0, "Attached Initiator Proximity Domain Valid";
    }
}

flags! {
    /// Flags of [`MemorySubsystemAddressRange`].
    AddressRangeFlags(u16) {
        /// The field with the domain of the processor counts.
        PROCESSOR_VALID = 0, "Processor Proximity Domain Valid";
        /// The field with the domain of the memory counts; Linux ignores it otherwise.
        MEMORY_VALID = 1, "Memory Proximity Domain Valid";
        /// The range had better be reserved. Linux ignores it.
        RESERVATION_HINT = 2, "Reservation Hint";
    }
}

code! {
    /// What the numbers of a locality structure are about, from HMAT revision 2 on.
    MemoryHierarchy(u8) {
        /// The memory itself: the only one that Linux acts on.
        MEMORY = 0, "Memory";
        /// Its first-level memory-side cache.
        CACHE_1 = 1, "1st Level Memory Side Cache";
        /// Its second-level memory-side cache.
        CACHE_2 = 2, "2nd Level Memory Side Cache";
        /// Its third-level memory-side cache.
        CACHE_3 = 3, "3rd Level Memory Side Cache";
    }
}

code! {
    /// What the numbers of a locality structure are about, in HMAT revision 1: `ACPI_HMAT_*` of Linux's `actbl1.h`.
    MemoryHierarchyRevision1(u8) {
        /// The memory itself: the only one that Linux acts on.
        MEMORY = 0, "Memory";
        /// The last level of memory.
        LAST_LEVEL = 1, "Last Level Memory";
        /// Its first-level memory-side cache.
        CACHE_1 = 2, "1st Level Memory Side Cache";
        /// Its second-level memory-side cache.
        CACHE_2 = 3, "2nd Level Memory Side Cache";
        /// Its third-level memory-side cache.
        CACHE_3 = 4, "3rd Level Memory Side Cache";
    }
}

flags! {
    /// Flags of a locality structure, from HMAT revision 2 on; CDAT uses them too.
    LocalityFlags(u8) {
        /// The numbers hold for transfers of at least the minimum transfer size (ACPI 6.4).
        MINIMUM_TRANSFER_SIZE = 4, "Use Minimum Transfer Size";
        /// The numbers hold for transfers that are not sequential (ACPI 6.4).
        NON_SEQUENTIAL = 5, "Non-sequential Transfers";
    }
    groups {
        /// What the numbers are about.
        memory_hierarchy, with_memory_hierarchy: MemoryHierarchy = 0, 4, "Memory Hierarchy";
    }
}

flags! {
    /// Flags of a locality structure in HMAT revision 1: the same byte with a field of five bits.
    LocalityFlagsRevision1(u8) {}
    groups {
        /// What the numbers are about.
        memory_hierarchy, with_memory_hierarchy: MemoryHierarchyRevision1 = 0, 5, "Memory Hierarchy";
    }
}

code! {
    /// What kind of number the cells of a locality structure are. With a memory hierarchy of a cache they are
    /// hit latencies and bandwidths.
    DataType(u8) {
        /// Latency of reads and writes.
        ACCESS_LATENCY = 0, "Access Latency";
        /// Latency of reads.
        READ_LATENCY = 1, "Read Latency";
        /// Latency of writes.
        WRITE_LATENCY = 2, "Write Latency";
        /// Bandwidth of reads and writes.
        ACCESS_BANDWIDTH = 3, "Access Bandwidth";
        /// Bandwidth of reads.
        READ_BANDWIDTH = 4, "Read Bandwidth";
        /// Bandwidth of writes.
        WRITE_BANDWIDTH = 5, "Write Bandwidth";
    }
}

impl DataType {
    /// Whether it is one of the three latencies.
    #[must_use]
    pub const fn is_latency(self) -> bool {
        self.0 <= Self::WRITE_LATENCY.0
    }

    /// Whether it is one of the three bandwidths.
    #[must_use]
    pub const fn is_bandwidth(self) -> bool {
        Self::ACCESS_BANDWIDTH.0 <= self.0 && self.0 <= Self::WRITE_BANDWIDTH.0
    }
}

code! {
    /// Size of the transfers that the numbers of a locality structure hold for (ACPI 6.4; reserved before).
    MinTransferSize(u8) {
        /// Any size.
        BYTE_ALIGNED = 0, "Byte aligned";
        /// 64 bytes.
        SIZE_64 = 1, "64 B";
        /// 128 bytes.
        SIZE_128 = 2, "128 B";
        /// 256 bytes.
        SIZE_256 = 3, "256 B";
        /// 512 bytes.
        SIZE_512 = 4, "512 B";
        /// 1 KiB.
        SIZE_1K = 5, "1 KiB";
        /// 2 KiB.
        SIZE_2K = 6, "2 KiB";
        /// 4 KiB.
        SIZE_4K = 7, "4 KiB";
        /// 8 KiB.
        SIZE_8K = 8, "8 KiB";
        /// 16 KiB.
        SIZE_16K = 9, "16 KiB";
        /// 32 KiB.
        SIZE_32K = 10, "32 KiB";
        /// 64 KiB.
        SIZE_64K = 11, "64 KiB";
    }
}

code! {
    /// A level of memory-side cache, counted from the memory: 1 to 3, or a number of levels.
    CacheLevel(u32) {
        /// No cache.
        NONE = 0, "None";
    }
}

code! {
    /// How a memory-side cache places lines.
    CacheAssociativity(u32) {
        /// Not said, or no cache.
        NONE = 0, "None";
        /// Each line has one place.
        DIRECT_MAPPED = 1, "Direct Mapped";
        /// Anything more elaborate.
        COMPLEX = 2, "Complex Cache Indexing";
    }
}

code! {
    /// When a memory-side cache writes to the memory.
    CacheWritePolicy(u32) {
        /// Not said, or no cache.
        NONE = 0, "None";
        /// When a line is evicted.
        WRITE_BACK = 1, "Write Back";
        /// At once.
        WRITE_THROUGH = 2, "Write Through";
    }
}

code! {
    /// Size of a cache line in bytes.
    CacheLineSize(u32) {}
}

flags! {
    /// Cache Attributes of a memory-side cache; CDAT uses them too.
    CacheAttributes(u32) {}
    groups {
        /// How many levels of memory-side cache the memory has: 0 to 3.
        total_levels, with_total_levels: CacheLevel = 0, 4, "Total Cache Levels";
        /// Which level is described: 1 to 3, or 0 for none.
        level, with_level: CacheLevel = 4, 4, "Cache Level";
        /// How the cache places lines.
        associativity, with_associativity: CacheAssociativity = 8, 4, "Cache Associativity";
        /// When the cache writes to the memory.
        write_policy, with_write_policy: CacheWritePolicy = 12, 4, "Write Policy";
        /// Size of a cache line in bytes.
        line_size, with_line_size: CacheLineSize = 16, 16, "Cache Line Size";
    }
}

code! {
    /// How a memory-side cache shows in the address space (ACPI 6.6; reserved before).
    AddressMode(u16) {
        /// Not said; the cache is transparent.
        RESERVED = 0, "Transparent Or Unknown";
        /// The range of the memory includes the cache; the addresses beyond are its aliases.
        EXTENDED_LINEAR = 1, "Extended Linear";
    }
}

layout! {
    /// Memory Proximity Domain Attributes, type 0 from HMAT revision 2 on: ACPI 6.5 §5.2.28.3.
    MemoryProximityAttributes("memory_proximity_attributes", "Memory Proximity Domain Attributes", 40) {
        /// Structure type: 0.
        r#type: u16 = "Structure Type",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Length of the structure: 40.
        length: Length<u32> = "Length",
        /// Whether the initiator counts.
        flags: AttributeFlags = "Flags",
        /// Zero.
        reserved1: Reserved<2> = "Reserved1",
        /// Domain of the initiator that the memory is attached to.
        initiator_domain: ProximityDomain = "Attached Initiator Proximity Domain",
        /// Domain of the memory.
        memory_domain: ProximityDomain = "Memory Proximity Domain",
        /// Zero.
        reserved2: Reserved<4> = "Reserved2",
        /// Zero.
        reserved3: Reserved<8> = "Reserved3",
        /// Zero.
        reserved4: Reserved<8> = "Reserved4",
    }
}

layout! {
    /// Memory Subsystem Address Range, type 0 of HMAT revision 1: ACPI 6.2 §5.2.27.3.
    MemorySubsystemAddressRange("memory_subsystem_address_range", "Memory Subsystem Address Range", 40) {
        /// Structure type: 0.
        r#type: u16 = "Structure Type",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Length of the structure: 40.
        length: Length<u32> = "Length",
        /// Which of the domains count.
        flags: AddressRangeFlags = "Flags",
        /// Zero.
        reserved1: Reserved<2> = "Reserved1",
        /// Domain of the processor that the memory is attached to.
        processor_domain: ProximityDomain = "Processor Proximity Domain",
        /// Domain of the memory.
        memory_domain: ProximityDomain = "Memory Proximity Domain",
        /// Zero.
        reserved2: Reserved<4> = "Reserved2",
        /// First byte of the range; Linux ignores it.
        base_address: PhysAddr = "Physical Address Base",
        /// Bytes in the range; Linux ignores it.
        address_length: ByteCount = "Physical Address Length",
    }
}

layout! {
    /// The fixed part of System Locality Latency and Bandwidth Information, type 1: ACPI 6.5 §5.2.28.4. The view
    /// with the lists is [`Locality`](super::Locality).
    LocalityHeader("system_locality", "System Locality Latency and Bandwidth Information", 32) {
        /// Structure type: 1.
        r#type: u16 = "Structure Type",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Length of the structure with its lists: 32 + 4 s + 4 t + 2 s t.
        length: Length<u32> = "Length",
        /// What the numbers are about; [`LocalityFlagsRevision1`] in HMAT revision 1.
        flags: LocalityFlags = "Flags",
        /// What kind of number the cells are.
        data_type: DataType = "Data Type",
        /// Size of the transfers that the numbers hold for.
        min_transfer_size: MinTransferSize = "Minimum Transfer Size",
        /// Zero.
        reserved1: Reserved<1> = "Reserved1",
        /// Initiators: the rows of the matrix, s.
        initiator_count: u32 = "Initiator Proximity Domains #",
        /// Targets: the columns of the matrix, t.
        target_count: u32 = "Target Proximity Domains #",
        /// Zero.
        reserved2: Reserved<4> = "Reserved2",
        /// What one count of a cell is worth.
        entry_base_unit: EntryBaseUnit = "Entry Base Unit",
    }
    lists(|fixed, _| {
        let (s, t) = (u64::from(fixed.initiator_count.get()), u64::from(fixed.target_count.get()));
        [s, t, s.saturating_mul(t)]
    }) {
        "initiators", "Initiator Proximity Domain List": [ProximityDomain], Row::Plain;
        "targets", "Target Proximity Domain List": [ProximityDomain], Row::Plain;
        "entries", "Entry": [MatrixCell], Row::Matrix { rows: 0, columns: 1 };
    }
}

layout! {
    /// The fixed part of Memory Side Cache Information, type 2: ACPI 6.6 §5.2.28.5. The view with the handles is
    /// [`MemorySideCache`](super::MemorySideCache).
    MemorySideCacheHeader("memory_side_cache", "Memory Side Cache Information", 32) {
        /// Structure type: 2.
        r#type: u16 = "Structure Type",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Length of the structure with its handles: 32 + 2 n.
        length: Length<u32> = "Length",
        /// Domain of the memory behind the cache.
        memory_domain: ProximityDomain = "Memory Proximity Domain",
        /// Zero.
        reserved1: Reserved<4> = "Reserved1",
        /// Size of the cache in bytes.
        cache_size: ByteCount = "Memory Side Cache Size",
        /// Levels, placement, write policy and line size.
        cache_attributes: CacheAttributes = "Cache Attributes",
        /// How the cache shows in the address space.
        address_mode: AddressMode = "Address Mode",
        /// Handles behind the fixed part: n.
        smbios_handle_count: u16 = "SMBIOS Handle #",
    }
    lists(|fixed, _| [u64::from(fixed.smbios_handle_count.get()), 0, 0]) {
        "smbios_handles", "SMBIOS Handle": [SmbiosHandle], Row::Plain;
    }
}

/// The fields of [`LocalityHeader`] with the flags of HMAT revision 1.
const LOCALITY_REVISION_1_FIELDS: [Field; 11] = {
    let mut fields = match LocalityHeader::LAYOUT.fields.first_chunk() {
        Some(fields) => *fields,
        None => [field::<u8>("", "", 0); 11],
    };
    let [_, _, _, flags, ..] = &mut fields;
    flags.kind = LocalityFlagsRevision1::KIND;
    fields
};

/// [`LocalityHeader`] in HMAT revision 1.
const LOCALITY_REVISION_1: Layout = Layout {
    id: "system_locality_revision_1",
    fields: &LOCALITY_REVISION_1_FIELDS,
    ..LocalityHeader::LAYOUT
};

/// How to walk and print an HMAT.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::HMAT,
    name: "Heterogeneous Memory Attributes Table",
    prologue: Some(&HmatPrologue::LAYOUT),
    body: Body::Structures(Structures {
        framing: FramingKind::Wide,
        layouts: &[
            (0, MemoryProximityAttributes::LAYOUT),
            (0, MemorySubsystemAddressRange::LAYOUT),
            (1, LocalityHeader::LAYOUT),
            (1, LOCALITY_REVISION_1),
            (2, MemorySideCacheHeader::LAYOUT),
        ],
        choose: Some(|revision, kind, _| match (revision, kind) {
            (1, 0) => Some(MemorySubsystemAddressRange::LAYOUT.id),
            (1, 1) => Some(LOCALITY_REVISION_1.id),
            _ => None,
        }),
    }),
};

impl MemoryProximityAttributes {
    /// Memory, and the initiator that it is attached to when there is one.
    #[must_use]
    pub fn new(memory: ProximityDomain, initiator: Option<ProximityDomain>) -> Self {
        let flags = if initiator.is_some() { AttributeFlags::INITIATOR_VALID } else { AttributeFlags(0) };
        Self {
            length: Length(40).into(),
            flags: flags.into(),
            initiator_domain: initiator.unwrap_or_default().into(),
            memory_domain: memory.into(),
            ..Self::new_zeroed()
        }
    }
}

impl MemorySubsystemAddressRange {
    /// Memory at an address range, and the processor that it is attached to when there is one.
    #[must_use]
    pub fn new(
        memory: ProximityDomain,
        processor: Option<ProximityDomain>,
        base: PhysAddr,
        size: ByteCount,
    ) -> Self {
        let processor_flag =
            if processor.is_some() { AddressRangeFlags::PROCESSOR_VALID } else { AddressRangeFlags(0) };
        Self {
            length: Length(40).into(),
            flags: AddressRangeFlags::MEMORY_VALID.union(processor_flag).into(),
            processor_domain: processor.unwrap_or_default().into(),
            memory_domain: memory.into(),
            base_address: base.into(),
            address_length: size.into(),
            ..Self::new_zeroed()
        }
    }
}

impl LocalityHeader {
    /// Latencies or bandwidths of memory, in counts of `unit`.
    #[must_use]
    pub fn new(data_type: DataType, unit: EntryBaseUnit) -> Self {
        Self {
            r#type: 1.into(),
            data_type: data_type.into(),
            entry_base_unit: unit.into(),
            ..Self::new_zeroed()
        }
    }

    /// Bytes of a structure with this many initiators and targets; `None` beyond 64 bits.
    #[must_use]
    pub const fn length_with(initiators: u64, targets: u64) -> Option<u64> {
        let Some(cells) = initiators.checked_mul(targets) else { return None };
        let Some(domains) = initiators.checked_add(targets) else { return None };
        let (Some(cells), Some(domains)) = (cells.checked_mul(2), domains.checked_mul(4)) else {
            return None;
        };
        match cells.checked_add(domains) {
            Some(lists) => lists.checked_add(32),
            None => None,
        }
    }
}

impl MemorySideCacheHeader {
    /// A cache of `size` bytes before the memory of a domain.
    #[must_use]
    pub fn new(memory: ProximityDomain, size: ByteCount, attributes: CacheAttributes) -> Self {
        Self {
            r#type: 2.into(),
            memory_domain: memory.into(),
            cache_size: size.into(),
            cache_attributes: attributes.into(),
            ..Self::new_zeroed()
        }
    }
}
