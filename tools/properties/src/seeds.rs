//! Inputs to start from, made by the writers of the library and by nothing else.

use crate::Seed;
use memtopo::tables::header::Identity;
use memtopo::tables::output::Seal;
use memtopo::tables::{madt, srat};
use memtopo::units::{
    AcpiUid, ApicId, ByteCount, ItsId, PciSegment, PhysAddr, ProcessorUid, ProximityDomain,
};

/// The bytes that a writer makes.
macro_rules! written {
    (|$writer:ident: $type:ident in $room:ident| $body:block) => {{
        let mut bytes = Vec::new();
        let mut $writer = $room::$type::new(&mut bytes, Identity::default());
        $body
        $writer.finish(Seal::Fill).expect("a seed fits its length field");
        bytes
    }};
}

const GIB: u64 = 1 << 30;

/// SRAT.
pub fn srat() -> Vec<Seed> {
    use srat::{Device, GenericAffinity, HandleType, MemoryAffinity, MemoryFlags};
    let every_type = written!(|w: SratWriter in srat| {
        let domain = ProximityDomain(0x102);
        w.push(&srat::LocalApicAffinity::new(domain, 4));
        w.push(&MemoryAffinity::new(domain, PhysAddr(0), ByteCount(2 * GIB), MemoryFlags::ENABLED));
        w.push(&srat::X2ApicAffinity::new(domain, ApicId(0x1_0000)));
        w.push(&srat::GiccAffinity::new(domain, ProcessorUid(7)));
        w.push(&srat::ItsAffinity::new(domain, ItsId(1)));
        let device = Device::Pci { segment: PciSegment(1), bus: 0x3a, device_function: 0x08 };
        w.push(&GenericAffinity::initiator(ProximityDomain(2), device));
        w.push(&GenericAffinity::port(ProximityDomain(3), Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(4) }));
        w.push(&GenericAffinity::port(ProximityDomain(3), Device::Unknown(HandleType(9), [0x5a; 16])));
        w.push(&srat::RintcAffinity::new(domain, ProcessorUid(9)));
        w.push_raw(&[0x80, 6, 1, 2, 3, 4]);
    });
    let memory = written!(|w: SratWriter in srat| {
        for n in 0..4 {
            let flags = MemoryFlags::ENABLED.union(if n == 3 { MemoryFlags::HOT_PLUGGABLE } else { MemoryFlags(0) });
            w.push(&MemoryAffinity::new(
                ProximityDomain(u32::try_from(n).expect("small")),
                PhysAddr(n * 4 * GIB),
                ByteCount(4 * GIB),
                flags,
            ));
        }
    });
    let empty = written!(|w: SratWriter in srat| { w.push_raw(&[]) });
    vec![("every-type", every_type), ("memory", memory), ("empty", empty)]
}

/// MADT.
pub fn madt() -> Vec<Seed> {
    let x86 = written!(|w: MadtWriter in madt| {
        w.push(&madt::LocalApic::new(0, 0));
        w.push(&madt::LocalApic::new(1, 2));
        w.push(&madt::LocalX2Apic::new(ProcessorUid(2), ApicId(0x100)));
        w.push_raw(&[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        w.push_raw(&[2, 10, 0, 9, 9, 0, 0, 0, 13, 0]);
        w.push_raw(&[4, 6, 0xff, 0, 0, 1]);
        w.push_raw(&[10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    });
    let others = written!(|w: MadtWriter in madt| {
        w.push(&madt::Gicc::new(ProcessorUid(3), 0x8000_0001));
        w.push(&madt::GicIts::new(ItsId(1), PhysAddr(0x0808_0000)));
        w.push(&madt::Rintc::new(ProcessorUid(5), 17));
    });
    vec![("x86", x86), ("arm-and-riscv", others)]
}
