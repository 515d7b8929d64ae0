//! Three CXL machines from the bare bus to the tier and back: a region made, put together again from its decoders,
//! its DAX device, node and tier, and all of it taken apart. Every value was seen on a booted Linux 7.2.12.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a failing test is meant to stop, and to say why"
)]

mod machine;

use machine::{MIB, Machine, cpu, memory};
use memtopo::bundle::cxl_sysfs::CxlSysfs;
use memtopo::bundle::paths::CdatOwner;
use memtopo::linux::cxl_plan::{CxlPlan, DecoderPlan};
use memtopo::linux::events::{Event, RegionWish};
use memtopo::linux::qos::QtgReply;
use memtopo::linux::{Inputs, State};
use memtopo::tables::cdat::{
    CdatHeader, CdatWriter, Dslbis, Dsmas, DsmasFlags, PortId, SslbisEntry, SslbisHeader,
};
use memtopo::tables::cedt::{
    CedtWriter, CxlVersion, FixedMemoryWindowHeader, HostBridge, InterleaveGranularity, WindowRestrictions,
};
use memtopo::tables::hmat::{DataType, LocalityHeader};
use memtopo::tables::output::Seal;
use memtopo::tables::srat::{Device, GenericAffinity};
use memtopo::topology::cxl::{CxlTree, PciLink};
use memtopo::topology::device_tables::DeviceTable;
use memtopo::units::{
    AcpiUid, ByteCount, DeviceAddr, DsmasHandle, EntryBaseUnit, LaneCount, MatrixCell,
    MegatransfersPerSecond, NodeId, PhysAddr, ProximityDomain,
};
use std::fmt::Write;

/// Where the window begins.
const BASE: u64 = 0x2_d000_0000;
/// Memory of a device.
const DEVICE: u64 = 512 * MIB;

/// A host bridge with `root_ports` root ports, behind each a device or a switch with two. `registers`: the bridge has
/// HDM decoders.
struct Bus {
    root_ports: u32,
    switches: bool,
    registers: bool,
}

impl Bus {
    fn listing(&self) -> String {
        let root = "/sys/devices/platform/ACPI0017:00/root0";
        let bridge = "/sys/devices/pci0000:0c";
        let mut text = format!("{root}/dport12 -> {bridge}\n");
        let place = format!("{root}/port1");
        port(&mut text, &place, bridge, bridge, if self.registers { 4 } else { 1 });
        let (mut number, mut serial) = (1, 0);
        for root_port in 0..self.root_ports {
            let dport = format!("{bridge}/0000:0c:{root_port:02x}.0");
            writeln!(text, "{place}/dport{root_port} -> {dport}").unwrap();
            number += 1;
            if !self.switches {
                serial += 1;
                endpoint(&mut text, &place, &dport, number, serial);
                continue;
            }
            let (upstream, below) =
                (format!("{dport}/0000:d{root_port}:00.0"), format!("{place}/port{number}"));
            port(&mut text, &below, &upstream, &dport, 4);
            for downstream in 0..2 {
                let dport = format!("{upstream}/0000:d{root_port}:{downstream:02x}.1");
                writeln!(text, "{below}/dport{downstream} -> {dport}").unwrap();
                number += 1;
                serial += 1;
                endpoint(&mut text, &below, &dport, number, serial);
            }
        }
        text
    }
}

/// A bridge or switch. One without registers shows a granularity of 4096.
fn port(text: &mut String, place: &str, device: &str, above: &str, decoders: u32) {
    let number: u32 = place.rsplit("port").next().unwrap().parse().unwrap();
    write!(
        text,
        "{place}/uport -> {device}\n{place}/parent_dport -> {above}\n{place}/decoders_committed\t0\n"
    )
    .unwrap();
    let granularity = if decoders == 1 { 4096 } else { 256 };
    (0..decoders).for_each(|index| decoder(text, &format!("{place}/decoder{number}.{index}"), granularity));
}

fn endpoint(text: &mut String, above: &str, dport: &str, number: u32, serial: u64) {
    let place = format!("{above}/endpoint{number}");
    let memory = format!("{dport}/0000:e{serial}:00.0/mem{serial}");
    write!(
        text,
        "{place}/uport -> {memory}\n{place}/parent_dport -> {dport}\n{place}/decoders_committed\t0\n"
    )
    .unwrap();
    write!(text, "{memory}/serial\t{serial}\n{memory}/ram/size\t{DEVICE:#x}\n").unwrap();
    (0..4).for_each(|index| decoder(text, &format!("{place}/decoder{number}.{index}"), 256));
}

fn decoder(text: &mut String, place: &str, granularity: u32) {
    let common = "start\t0x0\nPLACE/size\t0x0\nPLACE/interleave_ways\t1\nPLACE/target_type\texpander\nPLACE/region\t\n";
    writeln!(text, "{place}/{}PLACE/interleave_granularity\t{granularity}", common).unwrap();
    *text = text.replace("PLACE", place);
}

/// CDATs of QEMU's devices and switches.
fn device_table() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = CdatWriter::new(&mut bytes, &CdatHeader::new(2, 0));
    writer.push(&Dsmas::new(DsmasHandle(0), DeviceAddr(0), ByteCount(DEVICE), DsmasFlags(0)));
    for (kind, unit, value) in [
        (DataType::READ_LATENCY, 10_000, 15),
        (DataType::WRITE_LATENCY, 10_000, 25),
        (DataType::READ_BANDWIDTH, 1000, 16),
        (DataType::WRITE_BANDWIDTH, 1000, 16),
    ] {
        writer.push(&Dslbis::new(DsmasHandle(0), kind, EntryBaseUnit(unit), MatrixCell(value)));
    }
    writer.finish(Seal::Fill).unwrap();
    bytes
}

fn switch_table() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = CdatWriter::new(&mut bytes, &CdatHeader::new(2, 0));
    for (kind, unit, value) in
        [(DataType::ACCESS_LATENCY, 10_000, 15), (DataType::ACCESS_BANDWIDTH, 1024, 16)]
    {
        let paths = [0, 1].map(|port| SslbisEntry::new(PortId(0x100), PortId(port), MatrixCell(value)));
        writer.push_sslbis(&SslbisHeader::new(kind, EntryBaseUnit(unit)), &paths).unwrap();
    }
    writer.finish(Seal::Fill).unwrap();
    bytes
}

/// A gigabyte of DRAM with 100 ns and 40960 MB/s, a generic port with 120 ns and 30720 MB/s, one window.
fn machine() -> Machine {
    let mut machine = Machine::new(&[(1, 1024)], 2).line("memhp_default_state=online_movable");
    machine.kernel.drivers = ["cxl_acpi", "cxl_mem", "cxl_pci", "dax_cxl", "kmem"].map(str::to_owned).into();
    machine.kernel.platform.hypervisor = false;
    machine.kernel.platform.cxl.qtg = Some(QtgReply::of_qemu());
    let (speed, width) = (MegatransfersPerSecond(32000), LaneCount(16));
    machine.kernel.platform.cxl.link = Some(PciLink { speed, width, flit: None });
    let bridge = AcpiUid(12);
    let mut machine = machine
        .srat(|srat| {
            srat.push(&cpu(0, 0));
            srat.push(&memory(0, 0, 1024));
            let device = Device::Acpi { hid: *b"ACPI0016", uid: bridge };
            srat.push(&GenericAffinity::port(ProximityDomain(10), device));
        })
        .hmat(|hmat| {
            let domains = [ProximityDomain(0), ProximityDomain(10)];
            for (kind, unit, cells) in [
                (DataType::ACCESS_LATENCY, 1000, [100, 120]),
                (DataType::ACCESS_BANDWIDTH, 1, [40960, 30720]),
            ] {
                let header = LocalityHeader::new(kind, EntryBaseUnit(unit));
                let cell = |_, column: usize| MatrixCell(cells[column]);
                hmat.push_locality(&header, &domains[..1], &domains, cell).unwrap();
            }
        });
    let mut cedt = Vec::new();
    let mut writer = CedtWriter::new(&mut cedt, Default::default());
    writer.push(&HostBridge::new(bridge, CxlVersion::CXL_2_0, PhysAddr(0xf000_0000), ByteCount(0x1_0000)));
    let (start, size) = (PhysAddr(BASE), ByteCount(4096 * MIB));
    let window = FixedMemoryWindowHeader::new(start, size, InterleaveGranularity(0), WindowRestrictions(0xf));
    writer.push_window(&window, &[bridge]).unwrap();
    writer.finish(Seal::Fill).unwrap();
    machine.tables.push(cedt);
    machine
}

/// Boots with a bus, and hands the state over.
fn with_state<T>(machine: &Machine, tree: CxlTree, use_it: impl FnOnce(State<'_>) -> T) -> T {
    let (of_device, of_switch) = (device_table(), switch_table());
    let mut topology = machine.topology();
    let devices = (1..=4).map(|serial| DeviceTable::new(Some(CdatOwner::Serial(serial)), &of_device));
    let switches = tree.ports.iter().filter(|port| port.name.starts_with("port") && port.name != "port1");
    let switches: Vec<String> = switches.map(|port| port.name.clone()).collect();
    let switches = switches.into_iter().map(|name| DeviceTable::new(Some(CdatOwner::Port(name)), &of_switch));
    topology.device_tables = devices.chain(switches).collect();
    topology.cxl = Some(tree);
    let Machine { map, kernel, .. } = machine;
    let inputs = Inputs { topology: &topology, memory_map: map, memory_devices: &[], kernel };
    use_it(State::boot(inputs).expect("a running system"))
}

fn shown(decoders: &[DecoderPlan]) -> Vec<String> {
    let one = |decoder: &DecoderPlan| {
        format!("{} {}x{} {:?}", decoder.name, decoder.ways, decoder.granularity.unwrap(), decoder.targets)
    };
    decoders.iter().map(one).collect()
}

/// DAX device, its driver and node, and the tier of that node.
fn memory_of(state: &State<'_>) -> (String, Option<&'static str>, NodeId, u32) {
    let plan = state.plan();
    let device = &plan.devices.as_ref().unwrap()[0];
    let node = device.target_node.unwrap();
    let tier = plan.nodes.iter().find(|known| known.node == node).unwrap().tier.unwrap();
    (device.name.clone(), device.driver, node, tier.printed())
}

/// The hierarchy as firmware would leave it: programmed, and nothing known of regions.
fn as_firmware(mut tree: CxlTree) -> CxlTree {
    tree.regions.clear();
    for decoder in &mut tree.decoders {
        (decoder.region, decoder.dpa, decoder.mode) = (None, None, None);
    }
    tree
}

/// Makes a region, puts it together again where the bridge has registers, and takes it apart.
fn run(bus: &Bus, targets: &[u64], granularity: u64, ports: &[&str], tier: u32) {
    let machine = machine();
    let tree = CxlTree::from_sysfs(&CxlSysfs::read_listing(&bus.listing()));
    let size = DEVICE * u64::try_from(targets.len()).unwrap();
    let wish = RegionWish {
        root: "decoder0.0".to_owned(),
        mode: "ram".to_owned(),
        granularity: ByteCount(granularity),
        ways: None,
        size: ByteCount(size),
        targets: targets.to_vec(),
        bind: true,
    };
    let expected: Vec<Option<String>> =
        targets.iter().map(|serial| Some(format!("device {serial}/decoder.0"))).collect();
    let memory = ("dax0.0".to_owned(), Some("kmem"), NodeId(1), tier);
    let check = |cxl: &CxlPlan| {
        let region = &cxl.regions[0];
        assert_eq!((region.name.as_str(), region.start.0, region.size.0), ("region0", BASE, size));
        assert_eq!((region.committed, region.bound), (true, true));
        assert_eq!(region.targets, expected);
        assert_eq!(shown(&cxl.switch_decoders), ports);
        assert_eq!(cxl.endpoint_decoders.len(), targets.len());
        assert!(cxl.endpoint_decoders.iter().all(|decoder| decoder.dpa.unwrap().size.0 == DEVICE));
    };
    let programmed = with_state(&machine, tree, |bare| {
        assert_eq!(bare.plan().devices, Some(Vec::new()));
        let (made, changes) = bare.apply(&Event::CreateRegion(wish)).expect("a region");
        assert!(changes.iter().all(|(_, reason)| !reason.rule.sentence.is_empty()));
        check(made.plan().cxl.as_ref().unwrap());
        assert_eq!(memory_of(&made), memory);

        // Online memory keeps it; offline it goes, and the node with it.
        let delete = Event::DeleteRegion { region: "region0".to_owned() };
        let refusal = made.apply(&delete).unwrap_err();
        let first = made.blocks.of(PhysAddr(BASE));
        assert_eq!(refusal.refused_at, Some(format!("memory{first}")));
        let blocks = (0..size / (128 * MIB)).map(|block| first.plus(block));
        let offline = blocks.fold(made.clone(), |state, block| {
            state.apply(&Event::Offline { block, outcome: None }).expect("a movable block").0
        });
        let (gone, _) = offline.apply(&delete).expect("a region without online memory");
        let plan = gone.plan();
        assert_eq!((plan.devices, gone.nodes.online.contains(NodeId(1))), (Some(Vec::new()), false));
        let cxl = plan.cxl.unwrap();
        assert!(cxl.regions.is_empty() && cxl.switch_decoders.is_empty() && cxl.endpoint_decoders.is_empty());
        made.cxl.as_ref().unwrap().tree.clone()
    });
    with_state(&machine, as_firmware(programmed), |again| {
        if bus.registers {
            check(again.plan().cxl.as_ref().unwrap());
            assert_eq!(memory_of(&again), memory);
        } else {
            // The kernel cannot know how a bridge without registers routes.
            let plan = again.plan();
            assert!(!plan.cxl.unwrap().regions[0].committed);
            assert_eq!(plan.devices, Some(Vec::new()));
        }
    });
}

#[test]
fn topology_1hb1rp1mem() {
    for registers in [false, true] {
        let bus = Bus { root_ports: 1, switches: false, registers };
        run(&bus, &[1], 256, &["port pci0000:0c/decoder.0 1x256 [0]"], 1995);
    }
}

#[test]
fn topology_1hb2rp2mem() {
    let bus = Bus { root_ports: 2, switches: false, registers: true };
    run(&bus, &[1, 2], 1024, &["port pci0000:0c/decoder.0 2x1024 [0, 1]"], 1039);
}

#[test]
fn topology_1hb2rp4mem_with_switches() {
    let bus = Bus { root_ports: 2, switches: true, registers: true };
    let ports = [
        "port 0000:d0:00.0/decoder.0 2x512 [0, 1]",
        "port 0000:d1:00.0/decoder.0 2x512 [0, 1]",
        "port pci0000:0c/decoder.0 2x256 [0, 1]",
    ];
    run(&bus, &[1, 3, 2, 4], 256, &ports, 2068);
}
