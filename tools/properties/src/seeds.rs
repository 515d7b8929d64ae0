//! Inputs to start from, made by the writers of the library and by nothing else.

use crate::Seed;
use memtopo::range::AddressRange;
use memtopo::tables::header::Identity;
use memtopo::tables::output::Seal;
use memtopo::tables::wire::{Hex, Reserved};
use memtopo::tables::{cdat, cedt, e820, efi, hdm, hmat, madt, msct, root, slit, srat};
use memtopo::units::{
    AcpiUid, ApicId, ByteCount, DeviceAddr, Distance, DsmasHandle, EfiPageCount, EntryBaseUnit, ItsId,
    MatrixCell, PciBdf, PciSegment, PhysAddr, ProcessorUid, ProximityDomain, Signature, SmbiosHandle, XorMap,
};
use zerocopy::IntoBytes;

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
    domains(&mut gap, msct::MsctPrologue { proximity_offset: Hex(60).into(), ..prologue }, &[0; 4]);
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

/// RSDP, RSDT and XSDT.
pub fn root() -> Vec<Seed> {
    let (mut rsdt, mut xsdt) = (Vec::new(), Vec::new());
    let mut writer = root::RsdtWriter::new(&mut rsdt, Identity::default());
    [0x7ffe_1000, 0, 0x7ffe_2000].into_iter().for_each(|address| writer.push(Hex(address)));
    writer.finish(Seal::Fill).expect("small");
    let mut writer = root::XsdtWriter::new(&mut xsdt, Identity::default());
    [0x7ffe_1000, 0x1_7ffe_2000].into_iter().for_each(|address| writer.push(PhysAddr(address)));
    writer.push_raw(&[1, 2, 3]);
    writer.finish(Seal::Fill).expect("small");
    let first = root::RsdpV1::new(*b"MTOPO ", Hex(0x7ffe_0000)).as_bytes().to_vec();
    let second = root::rsdp_bytes(*b"MTOPO ", Hex(0x7ffe_0000), PhysAddr(0x1_7ffe_0000)).to_vec();
    vec![("rsdp-1", first), ("rsdp-2", second), ("rsdt", rsdt), ("xsdt", xsdt)]
}

/// EFI memory descriptors: with a stride of 48, and of 40 with a fragment behind them.
pub fn efi_map() -> Vec<Seed> {
    use efi::{EfiAttributes, EfiDescriptor, EfiMapWriter, EfiMemoryType};
    let map = |stride: usize, rest: &[u8]| {
        let mut bytes = Vec::new();
        let mut writer = EfiMapWriter::new(&mut bytes, stride).expect("40 and more are allowed");
        let kinds =
            [EfiMemoryType::CONVENTIONAL, EfiMemoryType::BOOT_SERVICES_DATA, EfiMemoryType::CONVENTIONAL];
        for (index, kind) in (0..).zip(kinds) {
            let purpose = if index == 2 { EfiAttributes::SP } else { EfiAttributes(0) };
            let (start, pages) = (PhysAddr(index * GIB), EfiPageCount(GIB >> 12));
            writer.push(&EfiDescriptor::new(kind, start, pages, EfiAttributes::WB.union(purpose)));
        }
        writer.push_raw(rest);
        writer.finish().expect("small");
        bytes
    };
    vec![("stride-48", map(48, &[])), ("stride-40", map(40, &[1, 2, 3]))]
}

/// E820 entries.
pub fn e820() -> Vec<Seed> {
    use e820::{E820Entry, E820MapWriter, E820Type};
    let mut bytes = Vec::new();
    let mut writer = E820MapWriter::new(&mut bytes);
    let kinds = [E820Type::RAM, E820Type::RESERVED, E820Type::SOFT_RESERVED];
    for (index, kind) in (0..).zip(kinds) {
        let range = AddressRange::new(PhysAddr(index * GIB), PhysAddr((index + 1) * GIB));
        writer.push(&E820Entry::new(range, kind));
    }
    writer.push_raw(&[1, 2, 3]);
    writer.finish().expect("small");
    vec![("three-and-a-fragment", bytes)]
}

/// The bytes of the first seed of another target.
fn first(seeds: fn() -> Vec<Seed>) -> Vec<u8> {
    seeds().swap_remove(0).1
}

/// Tables one after another, with padding and with something else between them.
pub fn concatenated() -> Vec<Seed> {
    let tables = [first(srat), first(slit), first(hmat)];
    vec![
        ("adjacent", tables.concat()),
        ("padded", tables.join(&[0; 16][..])),
        ("torn", tables.join(&b"\0\0xyz"[..])),
    ]
}

/// A CDAT alone, and with bytes behind it.
pub fn cdat_detection() -> Vec<Seed> {
    vec![("alone", first(cdat)), ("tail", [first(cdat), vec![0xff; 7]].concat())]
}

/// Memory at an address that only the pointers tell: RSDP, XSDT, tables.
pub fn memory_image() -> Vec<Seed> {
    const BASE: u64 = 0x7ffe_0000;
    let image = |rsdp: &dyn Fn(u64) -> Vec<u8>, root: &dyn Fn(&[u64]) -> Vec<u8>| {
        let tables = [first(srat), first(slit)];
        let mut bytes = rsdp(BASE + 0x40);
        bytes.resize(0x40, 0);
        let mut places = Vec::new();
        let mut at = 0x80;
        for table in &tables {
            places.push(BASE + at as u64);
            at = (at + table.len()).next_multiple_of(16);
        }
        bytes.extend(root(&places));
        for (table, place) in tables.iter().zip(places) {
            bytes.resize(usize::try_from(place - BASE).expect("small"), 0);
            bytes.extend(table);
        }
        bytes
    };
    let xsdt = image(&|root| root::rsdp_bytes(*b"MTOPO ", Hex(0), PhysAddr(root)).to_vec(), &|places| {
        let mut bytes = Vec::new();
        let mut writer = root::XsdtWriter::new(&mut bytes, Identity::default());
        places.iter().for_each(|place| writer.push(PhysAddr(*place)));
        writer.finish(Seal::Fill).expect("small");
        bytes
    });
    let low = |address: u64| Hex(u32::try_from(address).expect("below 4 GiB"));
    let rsdt = image(&|root| root::RsdpV1::new(*b"MTOPO ", low(root)).as_bytes().to_vec(), &|places| {
        let mut bytes = Vec::new();
        let mut writer = root::RsdtWriter::new(&mut bytes, Identity::default());
        places.iter().for_each(|place| writer.push(low(*place)));
        writer.finish(Seal::Fill).expect("small");
        bytes
    });
    vec![("xsdt", xsdt), ("rsdt", rsdt)]
}

/// The text of acpidump.
pub fn acpidump() -> Vec<Seed> {
    let mut text = String::new();
    for (signature, address, table) in [
        (Signature::SRAT, Some(PhysAddr(0x7ffe_1000)), first(srat)),
        (Signature::SLIT, None, seeds_named(slit, "four")),
    ] {
        memtopo::bundle::acpidump::write(&mut text, signature, address, &table).expect("a string grows");
    }
    vec![("two-tables", text.into_bytes())]
}

fn seeds_named(seeds: fn() -> Vec<Seed>, name: &str) -> Vec<u8> {
    let mut seeds = seeds().into_iter();
    seeds.find_map(|(found, bytes)| (found == name).then_some(bytes)).expect("a seed with this name")
}

/// An initrd with table upgrades.
pub fn archive() -> Vec<Seed> {
    let (srat, hmat) = (first(srat), first(hmat));
    let bytes =
        memtopo::bundle::archive::write([("SRAT.aml", &srat[..]), ("HMAT.aml", &hmat)]).expect("small");
    let twice = [&bytes[..], &[0; 512], &bytes].concat();
    vec![("upgrade", bytes), ("two-archives", twice)]
}

/// One of everything.
pub fn detection() -> Vec<Seed> {
    vec![
        ("table", first(msct)),
        ("tables", first(concatenated)),
        ("cdat", first(cdat)),
        ("image", first(memory_image)),
        ("text", first(acpidump)),
        ("archive", first(archive)),
    ]
}

/// Memory maps in every form.
pub fn memory_map() -> Vec<Seed> {
    let log = b"[    0.000000] BIOS-provided physical RAM map:\n\
        [    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
        [    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x00000000000fffff] reserved\n\
        [    0.000000] BIOS-e820: [mem 0x0000000100000000-0x00000001ffffffff] soft reserved\n\
        [    0.000000] something else\n";
    let efi = b"efi: mem00: [Conventional Memory|   |SP|  |  |  |  |  |  |   |WB|WT|WC|UC] \
        range=[0x0000000100000000-0x00000001ffffffff] (4096MB)\n\
        efi: mem01: type=4, attr=0xf, range=[0x0-0x1000) (0MB)\n";
    let iomem = b"00001000-0009fbff : System RAM\n100000000-1ffffffff : Soft Reserved\n  \
        100000000-1ffffffff : dax0.0\n";
    let shell = b"Type       Start            End              # Pages          Attributes\n\
        Available  0000000000000000-000000000009FFFF 00000000000000A0 000000000000000F\n";
    let sysfs =
        b"0/start=0x0\n0/end=0x9fbff\n0/type=System RAM\n1/start=0x9fc00\n1/end=0xfffff\n1/type=Reserved\n";
    vec![
        ("kernel-e820", log.to_vec()),
        ("kernel-efi", efi.to_vec()),
        ("iomem", iomem.to_vec()),
        ("shell", shell.to_vec()),
        ("sysfs", sysfs.to_vec()),
        ("efi-descriptors", first(efi_map)),
        ("e820-entries", first(e820)),
    ]
}

/// A table of each kind, to be printed.
pub fn dump() -> Vec<Seed> {
    vec![
        ("cdat", first(cdat)),
        ("cedt", first(cedt)),
        ("hmat", first(hmat)),
        ("madt", first(madt)),
        ("rsdp", seeds_named(root, "rsdp-2")),
        ("slit", seeds_named(slit, "four")),
        ("srat", first(srat)),
    ]
}

/// Machines: tables, and a log with a memory map and a command line behind them.
pub fn plan() -> Vec<Seed> {
    use srat::{Device, GenericAffinity, LocalApicAffinity, MemoryAffinity, MemoryFlags};
    let memory = |domain, start: u64, size: u64, flags| {
        MemoryAffinity::new(ProximityDomain(domain), PhysAddr(start), ByteCount(size), flags)
    };
    let processors = written!(|w: MadtWriter in madt| {
        (0..4).for_each(|id| w.push(&madt::LocalApic::new(id, id)));
    });
    let domains = written!(|w: SratWriter in srat| {
        for id in 0..4 {
            w.push(&LocalApicAffinity::new(ProximityDomain(u32::from(id) / 2), id));
        }
        w.push(&memory(0, 0, 4 * GIB, MemoryFlags::ENABLED));
        w.push(&memory(1, 4 * GIB, 4 * GIB, MemoryFlags::ENABLED));
        w.push(&memory(2, 8 * GIB, 8 * GIB, MemoryFlags::ENABLED.union(MemoryFlags::HOT_PLUGGABLE)));
        w.push(&memory(2, 64 * GIB, 128 * GIB, MemoryFlags::ENABLED.union(MemoryFlags::HOT_PLUGGABLE)));
        let bridge = Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(7) };
        w.push(&GenericAffinity::port(ProximityDomain(3), bridge));
    });
    let mut distances = Vec::new();
    let near = |from: usize, to: usize| {
        Distance([[10, 21, 31, 31], [21, 10, 31, 31], [31, 31, 10, 41], [31, 31, 41, 10]][from][to])
    };
    let writer = slit::SlitWriter::new(&mut distances, Identity::default(), 4, near);
    writer.finish(Seal::Fill).expect("small");
    let performance = written!(|w: HmatWriter in hmat| {
        let domains = [0, 1, 2].map(ProximityDomain);
        for (data_type, unit, far) in
            [(hmat::DataType::ACCESS_LATENCY, 1000, 250), (hmat::DataType::ACCESS_BANDWIDTH, 100, 30)]
        {
            let header = hmat::LocalityHeader::new(data_type, EntryBaseUnit(unit));
            let cell = |row: usize, column: usize| MatrixCell(if row == column { 100 } else { far });
            w.push_locality(&header, &domains[..2], &domains, cell).expect("small");
        }
        w.push(&hmat::MemoryProximityAttributes::new(domains[2], Some(domains[0])));
    });
    let log = |rest: &str| {
        let map = "\nBIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable\n\
            BIOS-e820: [mem 0x0000000000100000-0x00000000bfffffff] usable\n\
            BIOS-e820: [mem 0x0000000100000000-0x00000001ffffffff] usable\n\
            BIOS-e820: [mem 0x0000000200000000-0x00000003ffffffff] soft reserved\n";
        format!("{map}{rest}").into_bytes()
    };
    let tables = [&processors[..], &domains, &distances, &performance].concat();
    let windows = first(cedt);
    vec![
        ("nothing", Vec::new()),
        ("tables", tables.clone()),
        ("tables-and-log", [&tables[..], &log("Command line: quiet movable_node\n")].concat()),
        ("split-by-hand", log("Command line: numa=fake=4 mem=6G kernelcore=30%\n")),
        ("with-windows", [&tables[..], &windows, &log("")].concat()),
    ]
}

/// Registers of a bridge and two devices: as firmware leaves them for one region, and before.
pub fn registers() -> Vec<Seed> {
    use crate::cxl::WINDOW;
    use hdm::{ComponentRegistersWriter, HdmCapability, HdmControl, HdmDecoder, HdmGlobalControl};
    let decoder = |size: u64, ways: u8, control: HdmControl, targets: u64| HdmDecoder {
        base: PhysAddr(if size == 0 { 0 } else { WINDOW.0 }).into(),
        size: ByteCount(size).into(),
        control: control
            .with_interleave(cedt::InterleaveGranularity::KIB_1, cedt::InterleaveWays(ways))
            .into(),
        targets_or_skip: targets.into(),
        reserved: Reserved([0; 4]).into(),
    };
    let port = |first: HdmDecoder| {
        let mut bytes = Vec::new();
        let mut writer =
            ComponentRegistersWriter::new(&mut bytes, HdmCapability(0x1b82), HdmGlobalControl::ENABLED);
        writer.push(&first);
        (0..3).for_each(|_| writer.push(&decoder(0, 0, HdmControl(0), 0)));
        writer.finish().expect("small");
        bytes
    };
    let set = HdmControl::COMMIT.union(HdmControl::COMMITTED).union(HdmControl::HOST_ONLY);
    let device = || port(decoder(4 * GIB, 1, set, 0));
    let region = [port(decoder(4 * GIB, 1, set, 0x100)), device(), device()].concat();
    let unused = || port(decoder(0, 0, HdmControl(0), 0));
    vec![("region", region), ("unused", [unused(), unused(), unused()].concat())]
}

/// Decoders by their codes, XOR maps, a range, and addresses.
pub fn translate() -> Vec<Seed> {
    let numbers =
        |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    // Twelve ways of 256 bytes over three bridges with four devices each, as Linux sets them.
    let twelve = numbers(&[10, 8, 2, 0, 2, 0, 0, 0, 3 * GIB, 3 * GIB, 0, 0x100, 0xabc_def1]);
    // Four ways over two bridges, with a map.
    let maps = numbers(&[2, 1, 1 << 4 | 1, 0, 1, 0x202_0900, 0, 1, 16 * GIB, 4 * GIB, 0x900, 0x1234_5678]);
    vec![("twelve", twelve), ("maps", maps)]
}
