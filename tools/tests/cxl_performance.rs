//! How fast CXL memory is for Linux: every figure here was seen on a booted Linux 7.2.12, or is worked out by hand from
//! the rules.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::as_conversions,
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
use memtopo::linux::coordinates::Coordinates;
use memtopo::linux::cxl_performance::Lack;
use memtopo::linux::performance_plan::{PerformancePlan, RegionValues};
use memtopo::linux::qos::QtgReply;
use memtopo::linux::quirks::Quirk;
use memtopo::linux::{Inputs, Plan, plan};
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
const BASE: u64 = 0x1_1000_0000;
/// Memory of a device.
const DEVICE: u64 = 512 * MIB;

/// A device below a root port, or behind switches.
#[derive(Clone, Debug)]
enum Port {
    Device(Vec<u8>),
    Switch(Vec<u8>, Vec<Port>),
}

/// A host bridge: its `_UID`, what the HMAT says of its generic port in ns and MB/s, and its root ports.
#[derive(Clone, Debug)]
struct Bridge {
    uid: u32,
    port: Option<(u16, u16)>,
    root_ports: Vec<Port>,
}

/// The CDAT of a device: ranges by handle, base and size, and figures by handle, data type, unit and value.
fn device_table(ranges: &[(u8, u64, u64)], figures: &[(u8, DataType, u64, u16)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = CdatWriter::new(&mut bytes, &CdatHeader::new(2, 0));
    for (handle, base, size) in ranges {
        let (base, size) = (DeviceAddr(*base), ByteCount(*size));
        writer.push(&Dsmas::new(DsmasHandle(*handle), base, size, DsmasFlags(0)));
    }
    for (handle, kind, unit, value) in figures {
        writer.push(&Dslbis::new(DsmasHandle(*handle), *kind, EntryBaseUnit(*unit), MatrixCell(*value)));
    }
    writer.finish(Seal::Fill).unwrap();
    bytes
}

/// Figures of QEMU's devices: 150 and 250 ns, 16000 MB/s.
fn usual(handle: u8) -> [(u8, DataType, u64, u16); 4] {
    [
        (handle, DataType::READ_LATENCY, 10_000, 15),
        (handle, DataType::WRITE_LATENCY, 10_000, 25),
        (handle, DataType::READ_BANDWIDTH, 1000, 16),
        (handle, DataType::WRITE_BANDWIDTH, 1000, 16),
    ]
}

fn usual_device() -> Port {
    Port::Device(device_table(&[(0, 0, DEVICE)], &usual(0)))
}

/// The CDAT of a switch: paths by ends, for latency in ns and for bandwidth in MB/s.
fn switch_table(paths: &[(u16, u16, u16, u16)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = CdatWriter::new(&mut bytes, &CdatHeader::new(2, 0));
    for latency in [true, false] {
        let path = |(x, y, ns, mbs): &(u16, u16, u16, u16)| {
            SslbisEntry::new(PortId(*x), PortId(*y), MatrixCell(if latency { *ns } else { *mbs }))
        };
        let paths: Vec<_> = paths.iter().map(path).collect();
        let (kind, unit) =
            if latency { (DataType::ACCESS_LATENCY, 1000) } else { (DataType::ACCESS_BANDWIDTH, 1) };
        writer.push_sslbis(&SslbisHeader::new(kind, EntryBaseUnit(unit)), &paths).unwrap();
    }
    writer.finish(Seal::Fill).unwrap();
    bytes
}

/// What is behind QEMU's switches: 150 ns and 16384 MB/s to each of two ports.
fn usual_switch(ports: Vec<Port>) -> Port {
    Port::Switch(switch_table(&[(0x100, 0, 150, 16384), (0x100, 1, 150, 16384)]), ports)
}

/// A machine with DRAM of 100 ns and 40960 MB/s in node 0, and a region of all devices in its only window.
struct Cxl {
    machine: Machine,
    bridges: Vec<Bridge>,
    /// Serial numbers in the order of the region; all of them unless changed.
    targets: Vec<u64>,
    /// The window is described by the SRAT, as domain 1.
    covered: bool,
    /// QoS group of the window.
    qtg: u16,
    /// Bridges that the window targets; all of them unless changed.
    window: Vec<u32>,
}

/// The hierarchy as a listing, and the CDATs in it.
#[derive(Default)]
struct Listing {
    text: String,
    tables: Vec<(CdatOwner, Vec<u8>)>,
    devices: u64,
    switches: u64,
    /// Endpoint decoders by serial number.
    decoders: Vec<String>,
}

impl Listing {
    /// Writes what is below a port of the CXL bus at `place`, whose device is `device`.
    fn below(&mut self, place: &str, device: &str, ports: &[Port], numbers: &mut u64, size: u64) {
        for (number, port) in ports.iter().enumerate() {
            let bus = self.devices + self.switches * 16;
            let dport = format!("{device}/0000:{bus:02x}:{number:02x}.0");
            writeln!(self.text, "{place}/dport{number} -> {dport}").unwrap();
            *numbers += 1;
            match port {
                Port::Device(table) => {
                    self.devices += 1;
                    let serial = self.devices;
                    let name = format!("{place}/endpoint{numbers}");
                    let function = format!("{dport}/0000:e{serial:x}:00.0");
                    let memory = format!("{function}/mem{serial}");
                    let decoder = format!("decoder{numbers}.0");
                    write!(
                        self.text,
                        "{name}/parent_dport -> {dport}\n{name}/uport -> {memory}\n\
                         {name}/decoders_committed\t1\n\
                         {name}/{decoder}/start\t{BASE:#x}\n{name}/{decoder}/size\t{size:#x}\n\
                         {name}/{decoder}/dpa_resource\t0x0\n{name}/{decoder}/dpa_size\t{DEVICE:#x}\n\
                         {name}/{decoder}/mode\tram\n{name}/{decoder}/region\tregion0\n\
                         {memory}/serial\t{serial}\n{memory}/ram/size\t{DEVICE:#x}\n"
                    )
                    .unwrap();
                    self.decoders.push(decoder);
                    self.tables.push((CdatOwner::Serial(serial), table.clone()));
                }
                Port::Switch(table, ports) => {
                    self.switches += 1;
                    let (name, number) = (format!("{place}/port{numbers}"), *numbers);
                    let upstream = format!("{dport}/0000:d{}:00.0", self.switches);
                    write!(self.text, "{name}/parent_dport -> {dport}\n{name}/uport -> {upstream}\n")
                        .unwrap();
                    self.tables.push((CdatOwner::Port(format!("port{number}")), table.clone()));
                    self.below(&name, &upstream, ports, numbers, size);
                }
            }
        }
    }
}

impl Cxl {
    fn new(bridges: &[Bridge]) -> Self {
        let count = bridges.iter().map(|bridge| count(&bridge.root_ports)).sum::<u64>();
        let mut machine = Machine::new(&[(1, 1024)], 2);
        machine.kernel.drivers =
            ["cxl_acpi", "cxl_mem", "cxl_pci", "dax_cxl", "kmem"].map(str::to_owned).into();
        machine.kernel.platform.cxl.link = Some(link(32000, 16));
        machine.kernel.platform.cxl.qtg = Some(QtgReply::of_qemu());
        Self {
            machine,
            bridges: bridges.to_vec(),
            targets: (1..=count).collect(),
            covered: false,
            qtg: 0,
            window: bridges.iter().map(|bridge| bridge.uid).collect(),
        }
    }

    fn listing(&self) -> Listing {
        let root = "/sys/devices/platform/ACPI0017:00/root0";
        let size = DEVICE * u64::try_from(self.targets.len()).unwrap();
        let mut listing = Listing::default();
        let mut numbers = 0;
        for bridge in &self.bridges {
            numbers += 1;
            let (place, device) = (format!("{root}/port{numbers}"), format!("pci0000:{:02x}", bridge.uid));
            let uid = bridge.uid;
            writeln!(listing.text, "{root}/dport{uid} -> {device}\n{place}/parent_dport -> {device}")
                .unwrap();
            writeln!(listing.text, "{place}/uport -> {device}").unwrap();
            listing.below(&place, &device, &bridge.root_ports, &mut numbers, size);
        }
        let region = format!("{root}/decoder0.0/region0");
        let ways = self.targets.len();
        write!(
            listing.text,
            "{region}/resource\t{BASE:#x}\n{region}/size\t{size:#x}\n{region}/interleave_ways\t{ways}\n\
             {region}/interleave_granularity\t256\n{region}/mode\tram\n{region}/commit\t1\n\
             {region}/driver -> cxl_region\n"
        )
        .unwrap();
        for (place, serial) in self.targets.iter().enumerate() {
            let decoder = &listing.decoders[usize::try_from(*serial).unwrap() - 1];
            writeln!(listing.text, "{region}/target{place}\t{decoder}").unwrap();
        }
        listing
    }

    fn plan(mut self) -> Plan {
        let ports: Vec<_> =
            self.bridges.iter().zip(10..).filter_map(|(one, pxm)| Some((one, pxm, one.port?))).collect();
        let mut targets = vec![(0, (100, 40960))];
        targets.extend(ports.iter().map(|(_, pxm, figures)| (*pxm, *figures)));
        let domains: Vec<_> = targets.iter().map(|(domain, _)| ProximityDomain(*domain)).collect();
        let covered = self.covered;
        self.machine = self.machine.srat(|srat| {
            srat.push(&cpu(0, 0));
            srat.push(&memory(0, 0, 1024));
            if covered {
                srat.push(&memory(1, BASE / MIB, BASE / MIB + 8192));
            }
            for (bridge, domain, _) in &ports {
                let device = Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(bridge.uid) };
                srat.push(&GenericAffinity::port(ProximityDomain(*domain), device));
            }
        });
        self.machine = self.machine.hmat(|hmat| {
            for (kind, unit) in [(DataType::ACCESS_LATENCY, 1000), (DataType::ACCESS_BANDWIDTH, 1)] {
                let header = LocalityHeader::new(kind, EntryBaseUnit(unit));
                let cell = |_, column: usize| {
                    let (_, (latency, bandwidth)) = targets[column];
                    MatrixCell(if unit == 1 { bandwidth } else { latency })
                };
                hmat.push_locality(&header, &[ProximityDomain(0)], &domains, cell).unwrap();
            }
        });
        let mut cedt = Vec::new();
        let mut writer = CedtWriter::new(&mut cedt, Default::default());
        for (bridge, place) in self.bridges.iter().zip(0..) {
            let base = PhysAddr(0xf000_0000 + place * 0x1_0000);
            writer.push(&HostBridge::new(
                AcpiUid(bridge.uid),
                CxlVersion::CXL_2_0,
                base,
                ByteCount(0x1_0000),
            ));
        }
        let window = FixedMemoryWindowHeader::new(
            PhysAddr(BASE),
            ByteCount(8192 * MIB),
            InterleaveGranularity(0),
            WindowRestrictions(0xf),
        );
        let window = FixedMemoryWindowHeader { qtg_id: self.qtg.into(), ..window };
        let bridges: Vec<_> = self.window.iter().copied().map(AcpiUid).collect();
        writer.push_window(&window, &bridges).unwrap();
        writer.finish(Seal::Fill).unwrap();
        self.machine.tables.push(cedt);

        let listing = self.listing();
        let mut topology = self.machine.topology();
        topology.cxl = Some(CxlTree::from_sysfs(&CxlSysfs::read_listing(&listing.text)));
        let tables = listing.tables.iter().filter(|(_, bytes)| !bytes.is_empty());
        topology.device_tables =
            tables.map(|(owner, bytes)| DeviceTable::new(Some(owner.clone()), bytes)).collect();
        let Machine { map, kernel, .. } = &self.machine;
        plan(Inputs { topology: &topology, memory_map: map, memory_devices: &[], kernel })
    }
}

fn count(ports: &[Port]) -> u64 {
    let each = ports.iter().map(|port| match port {
        Port::Device(_) => 1,
        Port::Switch(_, ports) => count(ports),
    });
    each.sum()
}

const fn link(speed: u32, width: u32) -> PciLink {
    PciLink { speed: MegatransfersPerSecond(speed), width: LaneCount(width), flit: None }
}

fn bridge(uid: u32, latency: u16, bandwidth: u16, root_ports: Vec<Port>) -> Bridge {
    Bridge { uid, port: Some((latency, bandwidth)), root_ports }
}

fn figures(own: &Coordinates) -> [u32; 4] {
    [own.read_latency.0, own.write_latency.0, own.read_bandwidth.0, own.write_bandwidth.0]
}

fn performance(plan: &Plan) -> &PerformancePlan {
    &plan.cxl.as_ref().expect("CXL").performance
}

fn region(plan: &Plan) -> &RegionValues {
    performance(plan).regions[0].figures.as_ref().expect("figures of the region")
}

/// The tier of the node of the window, and its weight.
fn node(plan: &Plan) -> (u32, u8) {
    let node = performance(plan).regions[0].node.expect("a node");
    let tier =
        plan.nodes.iter().find(|known| known.node == node).and_then(|known| known.tier).expect("a tier");
    let weights = &plan.weights.as_ref().expect("weights").weights;
    (tier.printed(), weights.iter().find(|(known, _)| *known == node).expect("a weight").1)
}

/// Name, bridges, latencies and bandwidth of the region, abstract distance, tier.
type Booted = (&'static str, Vec<Bridge>, [u32; 3], i32, u32);

/// The table of the sheet on regions, all five rows: seen on booted kernels.
#[test]
fn regions_have_the_figures_and_tiers_of_booted_kernels() {
    let one = || vec![usual_device()];
    let two = || vec![usual_device(), usual_device()];
    let first = |ports| bridge(12, 120, 30720, ports);
    let (second, third) = (bridge(222, 130, 25600, one()), bridge(223, 140, 20480, one()));
    let rows: [Booted; 5] = [
        ("1HB1RP1Mem", vec![first(one())], [17270, 17370, 16000], 255_393, 1995),
        ("1HB2RP2Mem", vec![first(two())], [17270, 17370, 30720], 133_017, 1039),
        // 576*34660=19964160; /200=99820; *81920=8177254400; /64000=127769.
        ("2HB2RP2Mem", vec![first(one()), second.clone()], [17280, 17380, 32000], 127_769, 998),
        // 576*34680=19975680; /200=99878; *81920=8182005760; /96000=85229.
        ("3HB3RP3Mem", vec![first(one()), second, third], [17290, 17390, 48000], 85_229, 665),
        (
            "1HB2RP4Mem",
            vec![first(vec![usual_switch(two()), usual_switch(two())])],
            [34420, 34520, 30720],
            264_729,
            2068,
        ),
    ];
    for (name, bridges, [read, write, bandwidth], distance, tier) in rows {
        let plan = Cxl::new(&bridges).plan();
        let values = region(&plan);
        for class in &values.classes {
            assert_eq!(figures(class), [read, write, bandwidth, bandwidth], "{name}");
        }
        assert_eq!(values.distance.map(|distance| distance.0), Some(distance), "{name}");
        assert_eq!(node(&plan).0, tier, "{name}");
        assert_eq!(plan.unknown, [], "{name}");
        // A node that only the window describes has no access classes.
        assert!(
            plan.nodes.iter().all(|known| known.node == NodeId(0) || known.access == [None, None]),
            "{name}"
        );
        let classes = performance(&plan).devices.iter().map(|device| device.memory.as_ref().unwrap());
        assert!(
            classes.into_iter().all(|device| device.ram.as_ref().is_some_and(|ram| ram.class == 0)),
            "{name}"
        );
    }
}

/// Weights take the bandwidth of the region, although its node has no access classes (seen on 7.2.12: 23 and 8).
#[test]
fn interleave_weights_know_regions() {
    let plan = Cxl::new(&[bridge(12, 120, 30720, vec![usual_device()])]).plan();
    // 32*40960/56960=23 and 32*16000/56960=8.
    let weights: Vec<_> = plan.weights.as_ref().unwrap().weights.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [23, 8]);
}

/// Without the mix of units: 17000 ps are 17 ns, so 287 and 387 ns, tier 38.
#[test]
fn links_in_nanoseconds_give_another_tier() {
    let cxl = || Cxl::new(&[bridge(12, 120, 30720, vec![usual_device()])]);
    let plan = cxl().plan();
    let values = region(&plan);
    assert_eq!(figures(&values.physical[1]), [287, 387, 16000, 16000]);
    // 576*674=388224; /200=1941; *81920=159006720; /32000=4968; >>7=38.
    assert_eq!(values.physical_distance.map(|distance| (distance.0, distance.tier().0)), Some((4968, 38)));
    let mut without = cxl();
    let switches = &mut without.machine.kernel.switches;
    switches.quirks = switches.quirks.without(Quirk::LinkLatencyUnit);
    let plan = without.plan();
    assert_eq!(node(&plan).0, 38);
    assert_eq!(region(&plan).classes, region(&plan).physical);
}

/// 16 GT/s counts 34000 and 64 GT/s, in flits of 256 bytes, 32000. What a link carries counts with its encoding for a
/// device, and without it where a region is summed up.
#[test]
fn links_count_by_speed() {
    let with = |link| {
        let mut cxl = Cxl::new(&[bridge(12, 120, 60000, vec![Port::Device(fast())])]);
        cxl.machine.kernel.platform.cxl.link = Some(link);
        let plan = cxl.plan();
        let device = performance(&plan).devices[0].memory.as_ref().unwrap().ram.as_ref().unwrap();
        let (device, region) = (figures(&device.classes[1]), figures(&region(&plan).classes[1]));
        assert_eq!(device[..2], region[..2]);
        (region[0], device[2], region[2])
    };
    // The host bridge adds 120 ns, the device 150.
    assert_eq!(with(link(2500, 1)), (217_948 + 270, 250, 312));
    assert_eq!(with(link(5000, 4)), (108_800 + 270, 2000, 2500));
    assert_eq!(with(link(8000, 4)), (68_000 + 270, 3938, 4000));
    assert_eq!(with(link(16000, 8)), (34_000 + 270, 15753, 16000));
    assert_eq!(with(link(32000, 8)), (17_000 + 270, 31507, 32000));
    assert_eq!(with(link(64000, 2)), (32_000 + 270, 16000, 16000));
    assert_eq!(with(PciLink { flit: Some(true), ..link(32000, 8) }), (64_000 + 270, 31507, 32000));
}

/// 150 ns and 50000 MB/s.
fn fast() -> Vec<u8> {
    let figures = [(0, DataType::ACCESS_LATENCY, 1000, 150), (0, DataType::ACCESS_BANDWIDTH, 1, 50000)];
    device_table(&[(0, 0, DEVICE)], &figures)
}

/// A node that the SRAT describes has access classes, and a region overwrites them; its tier is that of the HMAT where
/// that is complete (110: 300 ns and 5000 MB/s), else that of the region (seen on 7.2.12, weights 18 and 13).
#[test]
fn a_region_overwrites_the_figures_of_its_node() {
    let two = || Cxl::new(&[bridge(12, 120, 30720, vec![usual_device(), usual_device()])]);
    let mut covered = two();
    covered.covered = true;
    let plan = covered.plan();
    assert_eq!(node(&plan), (1039, 13));
    let own = plan.nodes.iter().find(|known| known.node == NodeId(1)).unwrap();
    for class in &own.access {
        let shown = class.as_ref().and_then(|class| class.coordinates).unwrap();
        assert_eq!(figures(&shown), [17270, 17370, 30720, 30720]);
    }
    assert_eq!(node(&two().plan()), (1039, 13));
}

/// What is odd, the CDAT, and what the device has, or why it has nothing.
type Odd = (&'static str, Vec<u8>, Result<[u32; 4], &'static str>);

/// What devices with odd CDATs showed on 7.2.12: figures, or nothing for the whole device.
#[test]
fn cdats_count_as_they_did_on_a_booted_kernel() {
    use DataType as Kind;
    let ns = |handle: u8, value: u16| (handle, Kind::ACCESS_LATENCY, 1000, value);
    let mbs = |handle: u8, value: u16| (handle, Kind::ACCESS_BANDWIDTH, 1, value);
    let all = [(0, 0, DEVICE)];
    let table = |ranges: &[(u8, u64, u64)], figures: &[(u8, Kind, u64, u16)]| device_table(ranges, figures);
    let change = |mut bytes: Vec<u8>, at: usize, value: u8, seal: bool| {
        let sum = bytes[5].wrapping_add(bytes[at]).wrapping_sub(value);
        bytes[at] = value;
        if seal {
            bytes[5] = sum;
        }
        bytes
    };
    let usual_table = || device_table(&[(0, 0, DEVICE)], &usual(0));
    // Where the device is told, so are figures of a partition: read and write latency, bandwidths.
    let rows: Vec<Odd> = vec![
        (
            "of two ranges the one with the higher handle counts",
            table(&[(0, 0, DEVICE), (5, 0, DEVICE)], &[&usual(0)[..], &[ns(5, 300), mbs(5, 9999)]].concat()),
            Ok([17420, 17420, 9999, 9999]),
        ),
        ("no bandwidth", table(&all, &[ns(0, 200)]), Ok([17320, 17320, 0, 0])),
        (
            "two ranges with one handle",
            table(&[(0, 0, DEVICE), (0, 0, DEVICE)], &usual(0)),
            Err("the DSMAS at CDAT+0x28 has handle 0, as one before it"),
        ),
        (
            "picoseconds are rounded up, unknown types and handles passed over",
            table(&all, &[(0, Kind::ACCESS_LATENCY, 10, 15051), mbs(0, 12345), (0, Kind(6), 1, 3), ns(9, 1)]),
            Ok([17271, 17271, 12345, 12345]),
        ),
        ("a wrong sum", change(usual_table(), 5, 0, false), Err("bytes sum to")),
        ("a range larger than the memory", table(&[(0, 0, DEVICE * 2)], &usual(0)), Ok([0; 4])),
        (
            "a DSLBIS that is too long",
            change(usual_table(), 42, 48, true),
            Err("the structure at CDAT+0x28 has a length of 48 bytes"),
        ),
        (
            "a DSMAS that is too long",
            change(usual_table(), 18, 48, true),
            Err("the structure at CDAT+0x10 has a length of 48 bytes"),
        ),
        (
            "a structure of length 0",
            change(usual_table(), 42, 0, true),
            Err("the structure at CDAT+0x28 has length 0"),
        ),
        ("no DSMAS", table(&[], &usual(0)), Err("it has no DSMAS")),
        ("no DSLBIS", table(&all, &[]), Err("it has no DSLBIS")),
        // The sum is over what was received, the walk ends with what is declared.
        (
            "a length that ends in a structure",
            change(usual_table(), 0, 100, true),
            Err("the structure at CDAT+0x58 reaches behind the end"),
        ),
        (
            "later figures overwrite",
            table(&all, &[ns(0, 999), mbs(0, 9), ns(0, 150), mbs(0, 8)]),
            Ok([17270, 17270, 8, 8]),
        ),
        ("0 and 0xffff are unknown", table(&all, &[ns(0, 0xffff), mbs(0, 0)]), Ok([17120, 17120, 0, 0])),
        (
            "too large for 32 bits",
            table(&all, &[(0, Kind::ACCESS_LATENCY, 1 << 31, 2), mbs(0, 7)]),
            Ok([17120, 17120, 7, 7]),
        ),
    ];
    for (name, bytes, expected) in rows {
        let plan = Cxl::new(&[bridge(12, 120, 30720, vec![Port::Device(bytes)])]).plan();
        match (&performance(&plan).devices[0].memory, expected) {
            (Ok(device), Ok(wanted)) => {
                let found = device.ram.as_ref().map_or([0; 4], |ram| figures(&ram.classes[1]));
                assert_eq!(found, wanted, "{name}");
            }
            (Err(Lack::Kernel(reason)), Err(wanted)) => {
                let text = reason.to_string();
                assert!(text.contains(wanted), "{name}: {text}");
                let shown = plan.cxl.as_ref().unwrap().memdevs[0].ram_qos_class;
                assert_eq!(shown, None, "{name}");
            }
            (found, wanted) => panic!("{name}: found {found:?}, wanted {wanted:?}"),
        }
    }
}

/// A region over a device without bandwidth has none, whatever its link carries, so its memory has the distance that
/// kmem gives (seen on 7.2.12: tier 22, weight 1).
#[test]
fn without_bandwidth_there_is_no_distance() {
    let slow = device_table(&[(0, 0, DEVICE)], &[(0, DataType::ACCESS_LATENCY, 1000, 200)]);
    let plan = Cxl::new(&[bridge(12, 120, 30720, vec![Port::Device(slow)])]).plan();
    assert_eq!(figures(&region(&plan).classes[1]), [17320, 17320, 0, 0]);
    assert_eq!((region(&plan).distance, node(&plan)), (None, (22, 1)));
}

/// Everything that leaves the kernel without figures, each named.
#[test]
fn what_is_missing_is_named() {
    let usual = || Cxl::new(&[bridge(12, 120, 30720, vec![usual_device()])]);
    let refused = |cxl: Cxl, wanted: &str| {
        let plan = cxl.plan();
        let Err(Lack::Kernel(reason)) = &performance(&plan).regions[0].figures else {
            panic!("{wanted}: {:?}", performance(&plan).regions[0].figures)
        };
        assert!(reason.to_string().contains(wanted), "{wanted}: {reason}");
        assert_eq!(plan.cxl.as_ref().unwrap().memdevs[0].ram_qos_class, None, "{wanted}");
        assert_eq!((node(&plan).0, plan.unknown.len()), (22, 0), "{wanted}");
    };
    let mut cxl = usual();
    cxl.bridges[0].port = None;
    refused(cxl, "no generic port of the SRAT has the UID 12");

    let mut cxl = usual();
    cxl.machine = cxl.machine.line("numa=nohmat");
    refused(cxl, "there is no HMAT that the kernel looks at");

    let mut cxl = usual();
    cxl.bridges[0].port = Some((120, 0));
    refused(cxl, "does not give the generic port with UID 12 all four figures");

    let mut cxl = usual();
    cxl.machine.kernel.platform.cxl.qtg = Some(QtgReply::None);
    refused(cxl, "names no group");

    let mut cxl = usual();
    cxl.qtg = 3;
    refused(cxl, "no window has the QoS class 0");

    let mut cxl = usual();
    cxl.window = vec![77];
    refused(cxl, "host bridge 12 is a target of no window");

    // Memory is taken for the generic port with UID 0; without that quirk it has one.
    let zero = || Cxl::new(&[bridge(0, 120, 30720, vec![usual_device()])]);
    refused(zero(), "the UID 0 of the host bridge is taken for that of memory");
    let mut cxl = zero();
    cxl.machine.kernel.switches.quirks = cxl.machine.kernel.switches.quirks.without(Quirk::PortByUid);
    assert_eq!(node(&cxl.plan()).0, 1995);

    let half = device_table(&[(0, 0, DEVICE / 2), (1, DEVICE / 2, DEVICE / 2)], &usual_of_two());
    refused_share(Cxl::new(&[bridge(12, 120, 30720, vec![Port::Device(half)])]));
}

fn usual_of_two() -> Vec<(u8, DataType, u64, u16)> {
    [usual(0), usual(1)].concat()
}

/// A region needs more than the range that counts for the partition: it has no figures, though the device has.
fn refused_share(cxl: Cxl) {
    let plan = cxl.plan();
    let Err(Lack::Kernel(reason)) = &performance(&plan).regions[0].figures else { panic!("figures") };
    assert!(reason.to_string().contains("do not all lie in the DSMAS at CDAT+0x28"), "{reason}");
    assert_eq!(plan.cxl.as_ref().unwrap().memdevs[0].ram_qos_class, Some(0));
    assert_eq!(node(&plan).0, 22);
}

/// What the inputs do not tell is listed, and nothing is made up for it.
#[test]
fn what_is_not_told_is_listed() {
    let usual = || Cxl::new(&[bridge(12, 120, 30720, vec![usual_device()])]);
    let untold = |cxl: Cxl, wanted: &str| {
        let plan = cxl.plan();
        let found = &performance(&plan).regions[0].figures;
        assert!(
            matches!(found, Err(Lack::Untold(missing)) if missing.contains(wanted)),
            "{wanted}: {found:?}"
        );
        for section in ["cxl.performance", "memory_tiers", "demotion_targets", "weighted_interleave"] {
            let listed =
                plan.unknown.iter().any(|one| one.section.name() == section && one.missing.contains(wanted));
            assert!(listed, "{wanted}: {section}");
        }
        assert_eq!((plan.tiers, plan.demotion, plan.weights), (None, None, None), "{wanted}");
    };
    let mut cxl = usual();
    cxl.machine.kernel.platform.cxl.link = None;
    untold(cxl, "the speed and width of the PCIe link at 0000:");

    let mut cxl = usual();
    cxl.machine.kernel.platform.cxl.qtg = None;
    untold(cxl, "the answer of the QoS method");

    untold(
        Cxl::new(&[bridge(12, 120, 30720, vec![Port::Device(Vec::new())])]),
        "the CDAT of the device serial 1",
    );

    let switch = Port::Switch(Vec::new(), vec![usual_device()]);
    untold(Cxl::new(&[bridge(12, 120, 30720, vec![switch.clone()])]), "the CDAT of the switch 0000:d1:00.0");

    // Without a generic port there is nothing, whatever the links.
    let mut cxl = usual();
    cxl.machine.kernel.platform.cxl.link = None;
    cxl.bridges[0].port = None;
    assert_eq!(cxl.plan().unknown, []);

    // An emulator has what it has, and that is said.
    let mut cxl = Cxl::new(&[bridge(12, 120, 30720, vec![switch])]);
    cxl.machine.kernel.platform.cxl.link = None;
    cxl.machine.kernel.platform.cxl.qtg = None;
    cxl.machine.kernel.platform.cxl.emulated = Some(true);
    let plan = cxl.plan();
    assert_eq!(figures(&region(&plan).classes[1]), [34420, 34520, 16000, 16000]);
    assert_eq!(performance(&plan).assumed.len(), 3);
}

/// Which entry of an SSLBIS is about which downstream port, and what a broken one leaves.
#[test]
fn switch_paths_are_found_by_port() {
    let read = |paths: &[(u16, u16, u16, u16)]| {
        let switch = Port::Switch(switch_table(paths), vec![usual_device()]);
        let plan = Cxl::new(&[bridge(12, 120, 60000, vec![switch])]).plan();
        performance(&plan).regions[0].figures.as_ref().ok().map(|values| {
            let [read, _, bandwidth, _] = figures(&values.classes[1]);
            (read - 34270, bandwidth)
        })
    };
    // The device is below port 0. An upstream port leads to Y, any to Y too, a downstream port is itself.
    assert_eq!(read(&[(0x100, 0, 70, 9000)]), Some((70, 9000)));
    assert_eq!(read(&[(0x100, 1, 70, 9000)]), None);
    assert_eq!(read(&[(0x100, 0xffff, 70, 9000)]), Some((70, 9000)));
    assert_eq!(read(&[(0xffff, 0x100, 70, 9000)]), Some((70, 9000)));
    assert_eq!(read(&[(0xffff, 0xffff, 70, 9000)]), Some((70, 9000)));
    assert_eq!(read(&[(0xffff, 0, 70, 9000)]), Some((70, 9000)));
    assert_eq!(read(&[(0xffff, 1, 70, 9000)]), None);
    assert_eq!(read(&[(0, 0x100, 70, 9000)]), Some((70, 9000)));
    assert_eq!(read(&[(0, 1, 70, 9000)]), Some((70, 9000)));
    assert_eq!(read(&[(1, 0, 70, 9000)]), None);
    // The first that fits.
    assert_eq!(read(&[(0x100, 1, 10, 1), (0xffff, 0xffff, 70, 9000), (0x100, 0, 20, 2)]), Some((70, 9000)));

    let good = switch_table(&[(0x100, 0, 70, 9000)]);
    let with = |bytes: Vec<u8>| {
        let plan =
            Cxl::new(&[bridge(12, 120, 60000, vec![Port::Switch(bytes, vec![usual_device()])])]).plan();
        performance(&plan).regions[0].figures.as_ref().err().map(|lack| match lack {
            Lack::Kernel(reason) => reason.to_string(),
            Lack::Untold(missing) => missing.clone(),
        })
    };
    assert_eq!(with(good.clone()), None);
    let change = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[5] = bytes[5].wrapping_add(bytes[at]).wrapping_sub(value);
        bytes[at] = value;
        with(bytes)
    };
    // The second structure, with the bandwidth, begins at 40.
    for (at, value, wanted) in [
        (42, 16, "the structure at CDAT+0x28 has a length of 16 bytes"),
        (42, 20, "the structure at CDAT+0x28 has a length of 20 bytes"),
        (42, 32, "the structure at CDAT+0x28 reaches behind the end"),
        (42, 0, "the structure at CDAT+0x28 has a length of 0 bytes"),
        (40, 4, "no SSLBIS gives all four"),
        (44, 9, "no SSLBIS gives all four"),
    ] {
        let found = change(at, value);
        // A malformed structure ends the walk with what stood before it.
        assert!(found.as_ref().is_some_and(|text| text.contains(wanted)), "{wanted}: {found:?}");
    }
    assert!(with(switch_table(&[])).is_some());
}

/// Bandwidth where links are shared: by hand from the rule, level by level.
#[test]
fn shared_links_limit_the_bandwidth() {
    let fast = || Port::Device(fast());
    let wide = |ports: Vec<Port>| {
        let paths: Vec<_> =
            (0..u16::try_from(ports.len()).unwrap()).map(|port| (0x100, port, 10, 60000)).collect();
        Port::Switch(switch_table(&paths), ports)
    };
    let with = |bridges: &[Bridge]| {
        let mut cxl = Cxl::new(bridges);
        cxl.machine.kernel.platform.cxl.link = Some(link(32000, 8));
        let plan = cxl.plan();
        let values = region(&plan);
        (values.classes[1].read_bandwidth.0, values.reasons.last().unwrap().to_string())
    };
    let limited = |bridges: &[Bridge]| with(bridges).0;
    // Links of 32000. Two devices on root ports: 64000; the bridge allows 60000.
    assert_eq!(limited(&[bridge(12, 120, 60000, vec![fast(), fast()])]), 60000);
    // Behind one switch both share its upstream link.
    assert_eq!(limited(&[bridge(12, 120, 60000, vec![wide(vec![fast(), fast()])])]), 32000);
    // Two switches on one bridge: 64000, the bridge allows 50000; on two bridges nothing is lost.
    let switch = || wide(vec![fast(), fast()]);
    assert_eq!(limited(&[bridge(12, 120, 50000, vec![switch(), switch()])]), 50000);
    assert_eq!(
        limited(&[bridge(12, 120, 50000, vec![switch()]), bridge(13, 120, 50000, vec![switch()])]),
        64000
    );
    // A switch behind a switch; the way through the upper one counts too.
    let narrow = Port::Switch(switch_table(&[(0xffff, 0xffff, 10, 20000)]), vec![switch()]);
    let (bandwidth, text) = with(&[bridge(12, 120, 60000, vec![narrow])]);
    assert_eq!(bandwidth, 20000, "{text}");
    // Some behind a switch and some not: each adds what it has by itself.
    let (bandwidth, text) = with(&[bridge(12, 120, 30000, vec![wide(vec![fast()]), fast()])]);
    assert_eq!(bandwidth, 60000, "{text}");
    assert!(text.contains("some devices are behind switches and some are not"), "{text}");
    let deep = wide(vec![wide(vec![fast()])]);
    let (bandwidth, text) = with(&[bridge(12, 120, 30000, vec![wide(vec![fast()]), deep])]);
    assert_eq!(bandwidth, 60000, "{text}");
    assert!(text.contains("different numbers of switches"), "{text}");
}

/// The chain of the reason: where every term stands, and the sum with its numbers.
#[test]
fn the_reason_holds_the_arithmetic() {
    let plan = Cxl::new(&[bridge(12, 120, 30720, vec![usual_device()])]).plan();
    let text = region(&plan).reasons[0].to_string();
    for part in [
        "read 17000 (link at 0000:00:00.0, 32.0 GT/s, 68 B a flit, 17000 ps) + 120 (generic port of host bridge 12) + \
         150 (device, DSMAS 0) = 17270 ns",
        "30720 (generic port of host bridge 12), 63014 (PCIe links), 16000 (device, DSMAS 0) = 16000 MB/s",
        "read latency 150 ns (CDAT+0x28)",
        "write bandwidth 16000 MB/s (CDAT+0x70)",
        "(SRAT+0x",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let tier = plan.reasons.iter().filter(|(subject, _)| subject.to_string() == "node 1 tier");
    let tier = tier.map(|(_, reason)| reason.to_string()).next_back().unwrap();
    assert!(
        tier.contains("region0: 576*(17270+17370)=19952640; /200=99763; *81920=8172584960; /32000=255393;"),
        "{tier}"
    );
    assert!(tier.contains("with links in nanoseconds 576*(287+387)=388224"), "{tier}");
}
