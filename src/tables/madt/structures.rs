//! The structures of a MADT as they lie in the table.

use crate::tables::layout::{BitField, Kind, Name, Structure, flags, layout};
use crate::tables::schema::{Body, FramingKind, Structures, TableSchema};
use crate::tables::wire::{Hex, Length, Reserved, Wire};
use crate::units::{ApicId, ItsId, PhysAddr, ProcessorUid, Signature};
use zerocopy::FromZeros;

flags! {
    /// Flags of the whole table.
    MadtFlags(u32) {
        /// The machine also has a pair of 8259 interrupt controllers.
        PCAT_COMPAT = 0, "PC-AT Compatibility";
    }
}

layout! {
    /// What MADT has between header and structures.
    MadtPrologue("madt", "MADT", 8) {
        /// Physical address at which each processor sees its local APIC; 0xFEE00000 on most x86, 0 on Arm.
        local_interrupt_controller_address: Hex<u32> = "Local Apic Address",
        /// What else the machine has.
        flags: MadtFlags = "Flags",
    }
}

flags! {
    /// Flags of local APIC and x2APIC structures: ACPI 6.6 §5.2.12.2.
    ApicFlags(u32) {
        /// The processor can be used at boot.
        ENABLED = 0, "Processor Enabled";
        /// Not enabled, but the system can bring it in later (ACPI 6.3). Linux looks at it from MADT revision 5 on.
        ONLINE_CAPABLE = 1, "Runtime Online Capable";
    }
}

flags! {
    /// Flags of a GICC: ACPI 6.6 §5.2.12.14.
    GiccFlags(u32) {
        /// The processor can be used at boot.
        ENABLED = 0, "Processor Enabled";
        /// The performance interrupt is edge triggered.
        PERFORMANCE_INTERRUPT_EDGE = 1, "Performance Interrupt Trigger Mode";
        /// The virtual GIC maintenance interrupt is edge triggered.
        VGIC_INTERRUPT_EDGE = 2, "Virtual GIC Interrupt Trigger Mode";
        /// Not enabled, but the system can bring it in later (ACPI 6.5).
        ONLINE_CAPABLE = 3, "Runtime Online Capable";
    }
}

flags! {
    /// Flags of a RINTC.
    RintcFlags(u32) {
        /// The processor can be used at boot.
        ENABLED = 0, "Processor Enabled";
        /// Not enabled, but the system can bring it in later.
        ONLINE_CAPABLE = 1, "Runtime Online Capable";
    }
}

/// MPS INTI flags: polarity and trigger mode of an interrupt (ACPI 6.6 §5.2.12.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct IntiFlags(pub u16);

impl IntiFlags {
    const POLARITIES: &'static [Name] = &[
        Name { value: 0, name: "conforms to the bus" },
        Name { value: 1, name: "active high" },
        Name { value: 3, name: "active low" },
    ];
    const TRIGGERS: &'static [Name] = &[
        Name { value: 0, name: "conforms to the bus" },
        Name { value: 1, name: "edge" },
        Name { value: 3, name: "level" },
    ];
}

impl Wire for IntiFlags {
    type Raw = <u16 as Wire>::Raw;
    const KIND: Kind = Kind::Flags(&[
        BitField { shift: 0, width: 2, name: "Polarity", values: Self::POLARITIES },
        BitField { shift: 2, width: 2, name: "Trigger Mode", values: Self::TRIGGERS },
    ]);
    #[inline]
    fn load(raw: Self::Raw) -> Self {
        Self(u16::load(raw))
    }
    #[inline]
    fn store(self) -> Self::Raw {
        self.0.store()
    }
}

layout! {
    /// Processor Local APIC, type 0: ACPI 6.6 §5.2.12.2.
    LocalApic("local_apic", "Processor Local APIC", 8) {
        /// Structure type: 0.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 8.
        length: Length<u8> = "Length",
        /// Low byte of the ACPI Processor UID; see [`uid`](Self::uid).
        acpi_processor_uid: Hex<u8> = "Processor ID",
        /// Local APIC id; see [`id`](Self::id).
        apic_id: Hex<u8> = "Local Apic ID",
        /// Whether the processor can be used.
        flags: ApicFlags = "Flags",
    }
}

layout! {
    /// I/O APIC, type 1: ACPI 6.6 §5.2.12.3.
    IoApic("io_apic", "I/O APIC", 12) {
        /// Structure type: 1.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 12.
        length: Length<u8> = "Length",
        /// I/O APIC id.
        io_apic_id: Hex<u8> = "I/O Apic ID",
        /// Zero.
        reserved: Reserved<1> = "Reserved",
        /// Physical address of its registers.
        address: Hex<u32> = "Address",
        /// Number of its first interrupt in the global count.
        global_interrupt_base: Hex<u32> = "Interrupt",
    }
}

layout! {
    /// Interrupt Source Override, type 2: ACPI 6.6 §5.2.12.5.
    InterruptSourceOverride("interrupt_source_override", "Interrupt Source Override", 10) {
        /// Structure type: 2.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 10.
        length: Length<u8> = "Length",
        /// 0: ISA.
        bus: Hex<u8> = "Bus",
        /// Interrupt number on that bus.
        source: Hex<u8> = "Source",
        /// Where it arrives in the global count.
        global_interrupt: Hex<u32> = "Interrupt",
        /// Polarity and trigger mode.
        flags: IntiFlags = "Flags",
    }
}

layout! {
    /// Local APIC NMI, type 4: ACPI 6.6 §5.2.12.7.
    LocalApicNmi("local_apic_nmi", "Local APIC NMI", 6) {
        /// Structure type: 4.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 6.
        length: Length<u8> = "Length",
        /// Low byte of the ACPI Processor UID; 0xFF for all processors.
        acpi_processor_uid: Hex<u8> = "Processor ID",
        /// Polarity and trigger mode.
        flags: IntiFlags = "Flags",
        /// Which local interrupt input: 0 or 1.
        lint: u8 = "Interrupt Input LINT",
    }
}

layout! {
    /// Processor Local x2APIC, type 9: ACPI 6.6 §5.2.12.12.
    LocalX2Apic("local_x2apic", "Processor Local x2APIC", 16) {
        /// Structure type: 9.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 16.
        length: Length<u8> = "Length",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Local x2APIC id.
        x2apic_id: ApicId = "Processor x2Apic ID",
        /// Whether the processor can be used.
        flags: ApicFlags = "Flags",
        /// `_UID` of the processor in the namespace.
        acpi_processor_uid: ProcessorUid = "Processor UID",
    }
}

layout! {
    /// Local x2APIC NMI, type 10: ACPI 6.6 §5.2.12.13.
    LocalX2ApicNmi("local_x2apic_nmi", "Local x2APIC NMI", 12) {
        /// Structure type: 10.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 12.
        length: Length<u8> = "Length",
        /// Polarity and trigger mode.
        flags: IntiFlags = "Flags",
        /// `_UID` of the processor; 0xFFFFFFFF for all processors.
        acpi_processor_uid: ProcessorUid = "Processor UID",
        /// Which local interrupt input: 0 or 1.
        lint: u8 = "Interrupt Input LINT",
        /// Zero.
        reserved: Reserved<3> = "Reserved",
    }
}

layout! {
    /// GIC CPU Interface (GICC), type 11, as far as ACPI 5.1 defined it: ACPI 6.6 §5.2.12.14.
    ///
    /// Later versions append fields (80 bytes from ACPI 6.0, 82 from ACPI 6.5); those are bytes behind the
    /// structure, for which see [`extra`](Self::extra). Linux refuses a GICC below these 76 bytes.
    Gicc("gicc", "GIC CPU Interface", 76) {
        /// Structure type: 11.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 76, 80 or 82.
        length: Length<u8> = "Length",
        /// Zero.
        reserved: Reserved<2> = "Reserved",
        /// Number of the CPU interface of the GIC; any number from GICv3 on.
        cpu_interface_number: Hex<u32> = "CPU Interface Number",
        /// `_UID` of the processor in the namespace; SRAT names the processor by it.
        acpi_processor_uid: ProcessorUid = "Processor UID",
        /// Whether the processor can be used, and how its interrupts are triggered.
        flags: GiccFlags = "Flags",
        /// Version of the parking protocol; 0 when it is not used.
        parking_protocol_version: u32 = "Parking Protocol Version",
        /// Global number of the performance interrupt.
        performance_interrupt: Hex<u32> = "Performance Interrupt",
        /// Where the processor waits to be started, with the parking protocol.
        parked_address: PhysAddr = "Parked Address",
        /// Physical address of the CPU interface.
        base_address: PhysAddr = "Base Address",
        /// Physical address of the virtual CPU interface.
        gicv_address: PhysAddr = "Virtual GIC Base Address",
        /// Physical address of the virtual interface control block.
        gich_address: PhysAddr = "Hypervisor GIC Base Address",
        /// Global number of the virtual GIC maintenance interrupt.
        vgic_interrupt: Hex<u32> = "Virtual GIC Interrupt",
        /// Physical address of the redistributor, when no GICR structure covers it.
        gicr_address: PhysAddr = "Redistributor Base Address",
        /// The processor's affinity register `MPIDR_EL1`.
        mpidr: Hex<u64> = "ARM MPIDR",
    }
}

layout! {
    /// GIC Interrupt Translation Service, type 15: ACPI 6.6 §5.2.12.18.
    GicIts("gic_its", "GIC Interrupt Translation Service", 20) {
        /// Structure type: 15.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 20.
        length: Length<u8> = "Length",
        /// Zero.
        reserved1: Reserved<2> = "Reserved1",
        /// Unique number of the service; SRAT names it by this.
        its_id: ItsId = "Translation ID",
        /// Physical address of its registers.
        base_address: PhysAddr = "Base Address",
        /// Zero.
        reserved2: Reserved<4> = "Reserved2",
    }
}

layout! {
    /// RISC-V Interrupt Controller (RINTC), type 24: ACPI 6.6 §5.2.12.
    Rintc("rintc", "RISC-V Interrupt Controller", 36) {
        /// Structure type: 24.
        r#type: u8 = "Subtable Type",
        /// Length of the structure: 36.
        length: Length<u8> = "Length",
        /// Version of the structure: 1.
        version: u8 = "Version",
        /// Zero.
        reserved: Reserved<1> = "Reserved",
        /// Whether the processor can be used.
        flags: RintcFlags = "Flags",
        /// Hart id of the processor.
        hart_id: Hex<u64> = "Hart ID",
        /// `_UID` of the processor in the namespace; SRAT names the processor by it.
        acpi_processor_uid: ProcessorUid = "Processor UID",
        /// Which external interrupt controller context the hart has, for PLIC and APLIC.
        external_controller_id: Hex<u32> = "External INTC ID",
        /// Physical address of the hart's IMSIC; 0 when there is none.
        imsic_address: PhysAddr = "IMSIC Base Address",
        /// Bytes of that IMSIC.
        imsic_size: Hex<u32> = "IMSIC Size",
    }
}

/// How to walk and print a MADT.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::MADT,
    name: "Multiple APIC Description Table",
    prologue: Some(&MadtPrologue::LAYOUT),
    body: Body::Structures(Structures {
        framing: FramingKind::Narrow,
        layouts: &[
            (0, LocalApic::LAYOUT),
            (1, IoApic::LAYOUT),
            (2, InterruptSourceOverride::LAYOUT),
            (4, LocalApicNmi::LAYOUT),
            (9, LocalX2Apic::LAYOUT),
            (10, LocalX2ApicNmi::LAYOUT),
            (11, Gicc::LAYOUT),
            (15, GicIts::LAYOUT),
            (24, Rintc::LAYOUT),
        ],
        choose: None,
    }),
};

impl LocalApic {
    /// An enabled processor with a local APIC id up to 254.
    #[must_use]
    pub fn new(uid: u8, apic_id: u8) -> Self {
        Self {
            length: Length(8).into(),
            acpi_processor_uid: Hex(uid).into(),
            apic_id: Hex(apic_id).into(),
            flags: ApicFlags::ENABLED.into(),
            ..Self::new_zeroed()
        }
    }

    /// The ACPI Processor UID, of which this structure holds one byte.
    #[must_use]
    pub fn uid(&self) -> ProcessorUid {
        ProcessorUid(u32::from(self.acpi_processor_uid.get().0))
    }

    /// The local APIC id, in the width that x2APIC ids have.
    #[must_use]
    pub fn id(&self) -> ApicId {
        ApicId(u32::from(self.apic_id.get().0))
    }
}

impl LocalX2Apic {
    /// An enabled processor.
    #[must_use]
    pub fn new(uid: ProcessorUid, x2apic_id: ApicId) -> Self {
        Self {
            r#type: 9.into(),
            length: Length(16).into(),
            x2apic_id: x2apic_id.into(),
            flags: ApicFlags::ENABLED.into(),
            acpi_processor_uid: uid.into(),
            ..Self::new_zeroed()
        }
    }
}

impl Gicc {
    /// An enabled processor, in the 76 bytes of ACPI 5.1.
    #[must_use]
    pub fn new(uid: ProcessorUid, mpidr: u64) -> Self {
        Self {
            r#type: 11.into(),
            length: Length(76).into(),
            acpi_processor_uid: uid.into(),
            flags: GiccFlags::ENABLED.into(),
            mpidr: Hex(mpidr).into(),
            ..Self::new_zeroed()
        }
    }

    /// The fields that ACPI 6.0 and later append, from the bytes behind the structure that a walk gives.
    ///
    /// `None` for each that the bytes do not reach.
    #[must_use]
    pub fn extra(rest: &[u8]) -> GiccExtra {
        let word = |at: usize| rest.get(at..)?.first_chunk().copied().map(u16::from_le_bytes);
        GiccExtra { efficiency_class: rest.first().copied(), spe_interrupt: word(2), trbe_interrupt: word(4) }
    }
}

/// What versions after ACPI 5.1 append to a [`Gicc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GiccExtra {
    /// Relative energy efficiency of the processor: the lowest number is the most efficient (ACPI 6.0).
    pub efficiency_class: Option<u8>,
    /// Interrupt of the statistical profiling extension; 0 when it has none (ACPI 6.3).
    pub spe_interrupt: Option<u16>,
    /// Interrupt of the trace buffer extension; 0 when it has none (ACPI 6.5).
    pub trbe_interrupt: Option<u16>,
}

impl GicIts {
    /// An interrupt translation service.
    #[must_use]
    pub fn new(its_id: ItsId, base_address: PhysAddr) -> Self {
        Self {
            r#type: 15.into(),
            length: Length(20).into(),
            its_id: its_id.into(),
            base_address: base_address.into(),
            ..Self::new_zeroed()
        }
    }
}

impl Rintc {
    /// An enabled processor.
    #[must_use]
    pub fn new(uid: ProcessorUid, hart_id: u64) -> Self {
        Self {
            r#type: 24.into(),
            length: Length(36).into(),
            version: 1.into(),
            flags: RintcFlags::ENABLED.into(),
            hart_id: Hex(hart_id).into(),
            acpi_processor_uid: uid.into(),
            ..Self::new_zeroed()
        }
    }
}
