//! Inputs to start from, made by the writers of the library and by nothing else.

use crate::Seed;
use memtopo::tables::header::Identity;
use memtopo::tables::output::Seal;
use memtopo::tables::{cdat, cedt, hmat, madt, msct, slit, srat};
use memtopo::units::{
    AcpiUid, ApicId, ByteCount, DeviceAddr, Distance, DsmasHandle, EntryBaseUnit, ItsId, MatrixCell, PciBdf,
    PciSegment, PhysAddr, ProcessorUid, ProximityDomain, SmbiosHandle, XorMap,
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

/// MSCT.
pub fn msct() -> Vec<Seed> {
    let domains = |bytes: &mut Vec<u8>, prologue: msct::MsctPrologue, gap: &[u8]| {
        let mut writer = msct::MsctWriter::new(bytes, Identity::default(), &prologue);
        writer.push_raw(gap);
        let (first, last) = (ProximityDomain(0), ProximityDomain(2));
        writer.push(&msct::ProximityDomainInformation::new(first, last, 8, ByteCount(16 * GIB)));
        writer.push_raw(&[9, 3, 7]);
        writer.finish(Seal::Fill).expect("a seed fits its length field");
    };
    let prologue = msct::MsctPrologue::new(3, 1, PhysAddr(0xff_ffff_ffff));
    let (mut usual, mut gap) = (Vec::new(), Vec::new());
    domains(&mut usual, prologue, &[]);
    domains(
        &mut gap,
        msct::MsctPrologue { proximity_offset: memtopo::tables::wire::Hex(60).into(), ..prologue },
        &[0; 4],
    );
    vec![("usual", usual), ("gap", gap)]
}

/// SLIT.
pub fn slit() -> Vec<Seed> {
    let table = |localities, rest: &[u8]| {
        let mut bytes = Vec::new();
        let distance = |from: usize, to: usize| Distance(if from == to { 10 } else { 21 });
        let mut writer = slit::SlitWriter::new(&mut bytes, Identity::default(), localities, distance);
        writer.push_raw(rest);
        writer.finish(Seal::Fill).expect("a seed fits its length field");
        bytes
    };
    vec![("none", table(0, &[])), ("four", table(4, &[])), ("rest", table(2, &[1, 2, 3]))]
}

/// HMAT.
pub fn hmat() -> Vec<Seed> {
    use hmat::{DataType, LocalityHeader};
    let domains = [ProximityDomain(0), ProximityDomain(2), ProximityDomain(5)];
    let cell = |row: usize, column: usize| MatrixCell([0, 0xffff, 80, 250][(row * 3 + column) % 4]);
    let revision_2 = written!(|w: HmatWriter in hmat| {
        w.push(&hmat::MemoryProximityAttributes::new(domains[1], Some(domains[0])));
        w.push(&hmat::MemoryProximityAttributes::new(domains[2], None));
        for (data_type, unit) in [(DataType::ACCESS_LATENCY, 1000), (DataType::READ_BANDWIDTH, 1024)] {
            let header = LocalityHeader::new(data_type, EntryBaseUnit(unit));
            w.push_locality(&header, &domains[..2], &domains, cell).expect("small");
        }
        let header = hmat::MemorySideCacheHeader::new(domains[1], ByteCount(GIB), hmat::CacheAttributes(0x0040_1211));
        w.push_memory_side_cache(&header, &[SmbiosHandle(0x1100), SmbiosHandle(0x1101)]).expect("small");
        w.push_raw(&[9, 0, 0, 0, 10, 0, 0, 0, 1, 2]);
    });
    let mut revision_1 = Vec::new();
    let header =
        memtopo::tables::header::SdtHeader::new(memtopo::units::Signature::HMAT, 1, Identity::default());
    let prologue = hmat::HmatPrologue { reserved: memtopo::tables::wire::Reserved([0; 4]).into() };
    let mut writer = hmat::HmatWriter::with_header(&mut revision_1, &header, &prologue);
    let range =
        hmat::MemorySubsystemAddressRange::new(domains[1], Some(domains[0]), PhysAddr(GIB), ByteCount(GIB));
    writer.push(&range);
    let header = LocalityHeader::new(DataType::WRITE_LATENCY, EntryBaseUnit(10));
    writer.push_locality(&header, &domains[..1], &domains[..1], cell).expect("small");
    writer.finish(Seal::Fill).expect("small");
    vec![("revision-2", revision_2), ("revision-1", revision_1)]
}

/// CEDT.
pub fn cedt() -> Vec<Seed> {
    use cedt::{FixedMemoryWindowHeader, InterleaveGranularity, WindowRestrictions};
    let every_type = written!(|w: CedtWriter in cedt| {
        w.push(&cedt::HostBridge::new(AcpiUid(7), cedt::CxlVersion::CXL_2_0, PhysAddr(0xf000_0000), ByteCount(0x1_0000)));
        let restrictions = WindowRestrictions::VOLATILE.union(WindowRestrictions::PERSISTENT);
        let window = FixedMemoryWindowHeader::new(
            PhysAddr(0x10_0000_0000),
            ByteCount(12 * GIB),
            InterleaveGranularity::KIB_1,
            restrictions,
        );
        w.push_window(&window, &[AcpiUid(7), AcpiUid(8), AcpiUid(9)]).expect("small");
        w.push_window(&window, &[AcpiUid(7)]).expect("small");
        w.push_xor_interleave_math(
            &cedt::XorInterleaveMathHeader::new(cedt::MapGranularity(2)),
            &[XorMap(0x2020_4000), XorMap(0x4040_8000)],
        )
        .expect("small");
        let protocol = cedt::ProtocolType::CXL_CACHE_MEM;
        w.push(&cedt::RdpasC::new(PciSegment(0), PciBdf(0x3a00), protocol, PhysAddr(0xe000_0000)));
        w.push_raw(&[3, 0, 16, 0, 0, 0, 0, 0x3a, 1, 0, 0, 0, 0xe0, 0, 0, 0]);
        w.push(&cedt::SystemDescription::new(cedt::SystemCapabilities::CMP_M));
        w.push_raw(&[0x77, 0, 6, 0, 1, 2]);
    });
    vec![("every-type", every_type), ("empty", written!(|w: CedtWriter in cedt| { w.push_raw(&[]) }))]
}

/// CDAT.
pub fn cdat() -> Vec<Seed> {
    use hmat::DataType;
    let table = |fill: &dyn Fn(&mut cdat::CdatWriter<&mut Vec<u8>>)| {
        let mut bytes = Vec::new();
        let mut writer = cdat::CdatWriter::new(&mut bytes, &cdat::CdatHeader::new(1, 3));
        fill(&mut writer);
        writer.finish(Seal::Fill).expect("a seed fits its length field");
        bytes
    };
    let handle = DsmasHandle(1);
    let device = table(&|w| {
        w.push(&cdat::Dsmas::new(handle, DeviceAddr(0), ByteCount(GIB), cdat::DsmasFlags::NON_VOLATILE));
        w.push(&cdat::Dslbis::new(handle, DataType::READ_LATENCY, EntryBaseUnit(1000), MatrixCell(150)));
        w.push(&cdat::Dsmscis::new(handle, ByteCount(1 << 20), hmat::CacheAttributes(0x0040_1211)));
        w.push(&cdat::Dsis::new(handle, cdat::DsisFlags(1)));
        w.push(&cdat::Dsemts::new(
            handle,
            cdat::EfiMemoryUse::SPECIFIC_PURPOSE,
            ByteCount(0),
            ByteCount(GIB),
        ));
        w.push_raw(&[0x80, 0, 5, 0, 1]);
    });
    let switch = table(&|w| {
        let header = cdat::SslbisHeader::new(DataType::ACCESS_LATENCY, EntryBaseUnit(1));
        let entries = [
            cdat::SslbisEntry::new(cdat::PortId::UPSTREAM, cdat::PortId(1), MatrixCell(100)),
            cdat::SslbisEntry::new(cdat::PortId(1), cdat::PortId::ANY, MatrixCell(0)),
        ];
        w.push_sslbis(&header, &entries).expect("small");
    });
    vec![("device", device), ("switch", switch)]
}
