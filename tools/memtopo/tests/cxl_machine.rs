//! CXL hierarchies from descriptions and from raw registers: they lead to what booted kernels showed, and what is wrong
//! with them is named.

mod common;

use common::{listing, memtopo, scratch, shared};
use memtopo::region::{Granularity, Ways};
use memtopo::tables::hdm::{
    ComponentRegistersWriter, HdmCapability, HdmControl, HdmDecoder, HdmGlobalControl,
};
use memtopo::tables::wire::Reserved;
use memtopo::units::{ByteCount, PhysAddr};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn json(args: &[&str]) -> Value {
    let output = memtopo(args, b"");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(value: &Value) -> u64 {
    let Some(text) = value.as_str() else { return value.as_u64().expect("a number") };
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).expect("a number"),
        None => text.parse().expect("a number"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A captured boot with a region that its kernel programmed into the decoders.
struct Booted {
    name: String,
    folder: PathBuf,
    qemu: Vec<String>,
    step: usize,
    cxl: Value,
}

/// Every captured step after which all decoders that are in use belong to one committed region at the first decoders:
/// the state that a firmware which had made the same region would leave.
fn booted() -> Option<Vec<Booted>> {
    let mut found = Vec::new();
    for folder in listing(&shared("oracle/cases")?) {
        let read = |file: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.join(file)).expect("a file")).expect("JSON")
        };
        let (case, observed) = (read("case.json"), read("observed.json"));
        let qemu =
            list(&case["qemu"]).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
        for (step, state) in list(&observed["steps"]).iter().enumerate() {
            let cxl = &state["after"]["cxl"];
            let [region] = list(&cxl["regions"]) else { continue };
            let used = |kind: &str| {
                list(&cxl[kind]).iter().all(|decoder| {
                    let first = decoder["name"].as_str().is_some_and(|name| name.ends_with("decoder.0"));
                    decoder["region"] == region["name"] && first
                })
            };
            if region["commit"] == "1" && used("switch_decoders") && used("endpoint_decoders") {
                let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
                found.push(Booted {
                    name,
                    folder: folder.clone(),
                    qemu: qemu.clone(),
                    step,
                    cxl: cxl.clone(),
                });
            }
        }
    }
    Some(found)
}

impl Booted {
    /// The options of the emulator behind `flag`, each as its words.
    fn options(&self, flag: &str) -> Vec<BTreeMap<&str, &str>> {
        let pairs = self.qemu.windows(2).filter(|pair| pair[0] == flag);
        pairs
            .map(|pair| pair[1].split(',').map(|word| word.split_once('=').unwrap_or(("", word))).collect())
            .collect()
    }

    /// The decoder of the capture with this name.
    fn decoder(&self, kind: &str, name: &str) -> Option<&Value> {
        list(&self.cxl[kind]).iter().find(|decoder| decoder["name"] == name)
    }

    /// The machine of the emulator's options as a description, with the decoders as the kernel had programmed them.
    fn description(&self) -> String {
        let devices = self.options("-device");
        let of_kind = |kind: &'static str| devices.iter().filter(move |device| device.get("") == Some(&kind));
        let number = |device: &BTreeMap<&str, &str>, key: &str| device[key].parse::<u32>().expect("a number");
        let mut places: BTreeMap<&str, String> = BTreeMap::new();
        let mut toml = "[[domain]]\ncpus = \"0\"\nmemory = [\"0-640K\", \"1M-1G\"]\n".to_owned();
        for bridge in of_kind("pxb-cxl") {
            let uid = number(bridge, "bus_nr");
            let ports: Vec<u32> = of_kind("cxl-rp")
                .filter(|port| port["bus"] == bridge["id"])
                .map(|port| {
                    let id = port.get("port").map_or(0, |port| port.parse().expect("a number"));
                    places.insert(port["id"], format!("{uid}/{id}"));
                    id
                })
                .collect();
            let registers = 0xf000_0000_u64 + u64::from(uid) * 0x1_0000;
            write!(toml, "[[bridge]]\nuid = {uid}\nregisters = {registers}\nroot_ports = {ports:?}\n")
                .expect("text");
            self.describe_decoder(
                &mut toml,
                "bridge",
                "switch_decoders",
                &format!("port pci0000:{uid:02x}/decoder.0"),
            );
        }
        for switch in of_kind("cxl-upstream") {
            let name = switch["id"];
            let mut ports = Vec::new();
            for port in of_kind("cxl-downstream").filter(|port| port["bus"] == name) {
                let id = number(port, "port");
                ports.push(id);
                places.insert(port["id"], format!("{name}/{id}"));
            }
            let below = &places[switch["bus"]];
            write!(toml, "[[switch]]\nname = {name:?}\nbelow = {below:?}\nports = {ports:?}\n")
                .expect("text");
            let function = self.switch_function(name);
            self.describe_decoder(
                &mut toml,
                "switch",
                "switch_decoders",
                &format!("port {function}/decoder.0"),
            );
        }
        let memories = self.options("-object");
        for device in of_kind("cxl-type3") {
            let serial = number(device, "sn");
            let memory =
                memories.iter().find(|memory| memory["id"] == device["volatile-memdev"]).expect("memory");
            let (name, below, size) = (device["id"], &places[device["bus"]], memory["size"]);
            write!(toml, "[[device]]\nname = {name:?}\nbelow = {below:?}\nserial = {serial}\n")
                .expect("text");
            writeln!(toml, "[[device.memory]]\nsize = {size:?}").expect("text");
            self.describe_decoder(
                &mut toml,
                "device",
                "endpoint_decoders",
                &format!("device {serial}/decoder.0"),
            );
        }
        toml
    }

    /// The PCI function of a switch: buses are numbered depth first, so the one below it is that of its first device
    /// less two.
    fn switch_function(&self, switch: &str) -> String {
        let devices = self.options("-device");
        let first = devices
            .iter()
            .find(|device| device.get("") == Some(&"cxl-downstream") && device["bus"] == switch);
        let port = first.expect("a port")["id"];
        let serial = devices.iter().find(|device| device.get("bus") == Some(&port)).expect("a device")["sn"];
        let memdev =
            list(&self.cxl["memdevs"]).iter().find(|memdev| memdev["serial"].as_u64() == serial.parse().ok());
        let function = memdev.expect("a device")["pci"].as_str().expect("a function");
        let bus = u8::from_str_radix(&function[5..7], 16).expect("a bus");
        format!("0000:{:02x}:00.0", bus - 2)
    }

    fn describe_decoder(&self, toml: &mut String, kind: &str, decoders: &str, name: &str) {
        let Some(decoder) = self.decoder(decoders, name) else { return };
        let (start, size) = (number(&decoder["start"]), number(&decoder["size"]));
        let (ways, granularity) =
            (number(&decoder["interleave_ways"]), number(&decoder["interleave_granularity"]));
        write!(
            toml,
            "[[{kind}.decoder]]\nrange = \"{start:#x}+{size:#x}\"\nways = {ways}\ngranularity = {granularity}\n"
        )
        .expect("text");
        if let Some(targets) = decoder["target_list"].as_str() {
            writeln!(toml, "targets = [{targets}]").expect("text");
        }
    }

    /// The plan of the decoders against what the kernel had: all that both say, names and order included.
    fn compare(&self, planned: &Value) {
        for key in ["memdevs", "switch_decoders", "endpoint_decoders", "regions"] {
            let (ours, theirs) = (list(&planned[key]), list(&self.cxl[key]));
            let place = format!("{} step {} {key}", self.name, self.step);
            assert_eq!(ours.len(), theirs.len(), "{place}: {ours:?}");
            for (ours, theirs) in ours.iter().zip(theirs) {
                for (name, value) in theirs.as_object().expect("an object") {
                    if NOT_OF_DECODERS.iter().any(|(key, _)| key == name) {
                        continue;
                    }
                    let found = &ours[name.as_str()];
                    let same = found == value
                        || (!value.is_array() && plain(found).is_some() && plain(found) == plain(value));
                    assert!(same, "{place} {name}: planned {found}, booted {value}");
                }
            }
        }
    }
}

/// A value that is a number, however it is written.
fn plain(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(flag) => Some(u64::from(*flag)),
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

/// What a capture says beside the decoders, and why it does not follow from them.
const NOT_OF_DECODERS: [(&str, &str); 3] = [
    (
        "bound",
        "a region that firmware made is bound to its driver, one of an event only where the event asks for it",
    ),
    ("ram_qos_class", "the class comes of the CDAT and of the answer of the platform"),
    ("pmem_qos_class", "the same"),
];

const DRIVERS: &str = "libnvdimm,cxl_mem,cxl_pmem,cxl_acpi,cxl_pci";

/// A firmware that had programmed what a booted kernel programmed leads to the region of that kernel: functions, names,
/// decoders, positions, from a description of the emulator's options.
#[test]
fn described_machines_have_the_regions_of_booted_kernels() {
    let Some(booted) = booted() else { return };
    let folder = scratch("described");
    let mut compared = 0;
    for case in &booted {
        let file = folder.join(format!("{}-{}.toml", case.name, case.step));
        // The windows are those of the boot.
        let cedt = case.folder.join("tables/CEDT.bin");
        std::fs::write(&file, with_windows(&case.description(), &cedt)).expect("a file");
        let path = file.to_str().expect("a plain path");
        let plan = json(&["plan", path, "--drivers", DRIVERS, "--format", "json"]);
        case.compare(&plan["cxl"]);
        compared += 1;
    }
    println!("{compared} states");
    assert!(compared >= 8, "only {compared} states");
}

/// A description with the windows of a CEDT.
fn with_windows(toml: &str, cedt: &Path) -> String {
    let dump = json(&["dump", "--format", "json", cedt.to_str().expect("a plain path")]);
    let mut text = toml.to_owned();
    for structure in list(&dump["tables"][0]["structures"]) {
        if structure["kind"] != "cxl_fixed_memory_window" {
            continue;
        }
        let targets: Vec<u64> = list(&structure["targets"]).iter().map(number).collect();
        write!(
            text,
            "[[window]]\nrange = \"{:#x}+{:#x}\"\ntargets = {targets:?}\ngranularity = {}\nrestrictions = [\"device\", \
             \"host-only\", \"volatile\", \"persistent\"]\n",
            number(&structure["base_hpa"]),
            number(&structure["window_size"]),
            256_u64 << number(&structure["granularity"]),
        )
        .expect("text");
    }
    text
}

/// The same from the hierarchy of the boot and raw registers: what `cxl list` showed before the region was made, and a
/// register dump for every port that the region uses.
#[test]
fn registers_have_the_regions_of_booted_kernels() {
    let Some(booted) = booted() else { return };
    let mut compared = 0;
    for case in &booted {
        let files = ["cxl-list.json", "cxl-sysfs.tsv"].map(|file| case.folder.join(file));
        let Some(list_file) = files.iter().find(|file| file.exists()) else {
            println!("{} step {}: nothing was captured of the hierarchy at boot", case.name, case.step);
            continue;
        };
        let folder = scratch(&format!("registers-{}-{}", case.name, case.step));
        let mut options = Vec::new();
        for decoder in list(&case.cxl["switch_decoders"]).iter().chain(list(&case.cxl["endpoint_decoders"])) {
            let name = decoder["name"].as_str().expect("a name");
            let device = name.split([' ', '/']).nth(1).expect("a device");
            let bytes = registers(decoder, name.starts_with("port"));
            // A whole block, then only the part that has the decoders.
            let block = if options.len() % 4 == 0 {
                let mut block = vec![0; 0x1_0000];
                block[0x1000..0x1000 + bytes.len()].copy_from_slice(&bytes);
                block
            } else {
                bytes
            };
            let file = folder.join(format!("{}.registers", options.len()));
            std::fs::write(&file, block).expect("a file");
            options.push("--registers".to_owned());
            options.push(format!("{device}={}", file.display()));
        }
        let plain = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let (tables, log) = (plain(&case.folder.join("tables")), plain(&case.folder.join("dmesg.txt")));
        let list_file = plain(list_file);
        let mut args = vec!["plan", &tables, &list_file, "--memory-map", &log, "--drivers", DRIVERS];
        args.extend(["--format", "json"]);
        args.extend(options.iter().map(String::as_str));
        case.compare(&json(&args)["cxl"]);
        compared += 1;
    }
    println!("{compared} states");
    assert!(compared >= 8, "only {compared} states");
}

/// Component registers of a port with one committed decoder, field by field from what the kernel showed of it.
fn registers(decoder: &Value, is_switch: bool) -> Vec<u8> {
    let ways = u32::try_from(number(&decoder["interleave_ways"])).expect("small");
    let granularity = Granularity::from_bytes(ByteCount(number(&decoder["interleave_granularity"])));
    let (ways, granularity) = (Ways::from_count(ways).expect("ways"), granularity.expect("a granularity"));
    let control = HdmControl::COMMIT.union(HdmControl::COMMITTED).union(HdmControl::HOST_ONLY);
    let mut targets = [0; 8];
    let ids =
        decoder["target_list"].as_str().filter(|_| is_switch).into_iter().flat_map(|ids| ids.split(','));
    ids.zip(&mut targets).for_each(|(id, place)| *place = id.parse().expect("a port"));
    let first = HdmDecoder {
        base: PhysAddr(number(&decoder["start"])).into(),
        size: ByteCount(number(&decoder["size"])).into(),
        control: control.with_interleave(granularity.code(), ways.code()).into(),
        targets_or_skip: u64::from_le_bytes(targets).into(),
        reserved: Reserved([0; 4]).into(),
    };
    let unused = HdmDecoder {
        base: PhysAddr(0).into(),
        size: ByteCount(0).into(),
        control: HdmControl(0).into(),
        targets_or_skip: 0.into(),
        ..first
    };
    // Four decoders; eight targets, or every number of ways.
    let capability = HdmCapability(if is_switch { 0x382 } else { 0x1b12 });
    let mut bytes = Vec::new();
    let mut writer = ComponentRegistersWriter::new(&mut bytes, capability, HdmGlobalControl::ENABLED);
    [first, unused, unused, unused].iter().for_each(|decoder| writer.push(decoder));
    writer.finish().expect("a vector grows");
    bytes
}

/// A region over `bridges` host bridges with `ports` devices each, as a firmware would have made it, in a window of its
/// own; the device at position N has the serial number N + 1.
struct Made<'a> {
    start: u64,
    size: u64,
    bridges: u64,
    ports: u64,
    granularity: u64,
    maps: &'a [u64],
    skip: u64,
}

impl Made<'_> {
    fn description(&self) -> String {
        let Self { start, size, bridges, ports, granularity, maps, skip } = *self;
        let mut toml = "[[domain]]\ncpus = \"0\"\nmemory = [\"0-640K\", \"1M-1G\"]\n".to_owned();
        let range = format!("{start:#x}+{size:#x}");
        let all: Vec<u64> = (0..bridges).map(|bridge| bridge + 0x20).collect();
        let in_bridge: Vec<u64> = (0..ports).collect();
        // What is left of a power of two selects above the bridge.
        let above = if bridges.is_power_of_two() { bridges } else { bridges / 3 };
        for uid in &all {
            write!(
                toml,
                "[[bridge]]\nuid = {uid}\nbus = {}\nregisters = {}\nroot_ports = {in_bridge:?}\n[[bridge.decoder]]\n\
                 range = \"{range}\"\nways = {ports}\ngranularity = {}\ntargets = {in_bridge:?}\n",
                (uid - 0x20) * 15 + 1,
                0xf000_0000 + uid * 0x1_0000,
                granularity * above,
            )
            .expect("text");
        }
        let maps: Vec<String> = maps.iter().map(|map| format!("\"{map:#x}\"")).collect();
        write!(
            toml,
            "[[window]]\nrange = \"{range}\"\ntargets = {all:?}\ngranularity = {granularity}\nxormaps = [{}]\n",
            maps.join(", ")
        )
        .expect("text");
        let ways = bridges * ports;
        for position in 0..ways {
            let (bridge, port) = (position % bridges + 0x20, position / bridges);
            write!(
                toml,
                "[[device]]\nname = \"d{position}\"\nbelow = \"{bridge}/{port}\"\nserial = {}\n[[device.memory]]\n\
                 size = {}\n[[device.decoder]]\nrange = \"{range}\"\nways = {ways}\ngranularity = {granularity}\n\
                 skip = {skip}\n",
                position + 1,
                size / ways + skip,
            )
            .expect("text");
        }
        toml
    }

    /// What is found at some addresses.
    fn translate(&self, name: &str, addresses: &[u64]) -> Vec<Value> {
        let file = scratch(name).join("machine.toml");
        std::fs::write(&file, self.description()).expect("a file");
        let path = file.to_str().expect("a plain path");
        let addresses: Vec<String> = addresses.iter().map(|address| format!("{address:#x}")).collect();
        let mut args = vec!["translate", path, "--format", "json", "--region", "region0", "--hpa"];
        args.extend(addresses.iter().map(String::as_str));
        let found = json(&args)["results"].as_array().expect("results").clone();
        // And back.
        let places: Vec<String> = found
            .iter()
            .map(|found| format!("{}:{}", found["serial"], found["dpa"].as_str().expect("text")))
            .collect();
        let mut args = vec!["translate", path, "--format", "json", "--region", "region0", "--dpa"];
        args.extend(places.iter().map(String::as_str));
        let back = json(&args);
        let back: Vec<u64> = list(&back["results"]).iter().map(|found| number(&found["hpa"])).collect();
        let asked: Vec<u64> = found.iter().map(|found| number(&found["hpa"])).collect();
        assert_eq!(back, asked, "{name}");
        found
    }
}

/// Addresses worked out by hand and by an independent program from the rules of the decoders: start, size, bridges, ports of
/// each, granularity, XOR maps, DPA skip, and for each address the position and DPA.
#[test]
fn worked_addresses() {
    const GIB: u64 = 1 << 30;
    type Row<'a> = (u64, u64, u64, u64, u64, &'a [u64], u64, &'a [(u64, u64, u64)]);
    let rows: &[Row<'_>] = &[
        (0x2_5000_0000, GIB, 1, 1, 256, &[], 0, &[(0x2_5123_4567, 0, 0x123_4567)]),
        (
            0x2_5000_0000,
            GIB,
            1,
            2,
            1024,
            &[],
            0,
            &[
                (0x2_5000_03ff, 0, 0x3ff),
                (0x2_5000_0400, 1, 0),
                (0x2_5000_1abc, 0, 0xebc),
                (0x2_8fff_ffff, 1, 0x1fff_ffff),
            ],
        ),
        (0x2_5000_0000, GIB, 2, 2, 256, &[], 0, &[(0x2_5000_02ff, 2, 0xff), (0x2_6234_5678, 2, 0x48d_1578)]),
        (
            0x4_0000_0000,
            4 * GIB,
            2,
            4,
            4096,
            &[],
            0x1000_0000,
            &[(0x4_0000_8123, 0, 0x1000_1123), (0x4_abcd_ef01, 6, 0x2579_bf01)],
        ),
        (
            0x2_4000_0000,
            3 << 28,
            3,
            1,
            256,
            &[],
            0,
            &[(0x2_4000_02ff, 2, 0xff), (0x2_5234_5678, 0, 0x611_7278)],
        ),
        (0x3_0000_0000, 3 * GIB, 6, 1, 512, &[], 0, &[(0x3_1234_5678, 3, 0x308_b878)]),
        (
            0x3_0000_0000,
            6 * GIB,
            12,
            1,
            256,
            &[],
            0,
            &[(0x3_1234_5678, 6, 0x184_5c78), (0x4_7fff_ffff, 11, 0x1fff_ffff)],
        ),
        (
            0x4_0000_0000,
            GIB,
            2,
            1,
            256,
            &[0x202_0900],
            0,
            &[(0x4_0000_0800, 1, 0x400), (0x4_0000_0900, 0, 0x400), (0x4_1234_5678, 1, 0x91a_2b78)],
        ),
        (
            0x4_0000_0000,
            GIB,
            4,
            1,
            256,
            &[0x202_0900, 0x404_1200],
            0,
            &[(0x4_0000_1200, 0, 0x400), (0x4_1234_5678, 3, 0x48d_1578)],
        ),
        (0x3_0000_0000, 3 * GIB, 6, 1, 256, &[0x202_0900], 0, &[(0x3_0000_0800, 3, 0x100)]),
        (0x4_0000_0000, GIB, 2, 2, 256, &[0x202_0900], 0, &[(0x4_0000_0900, 0, 0x200)]),
        (
            0x2_5000_0000,
            3 << 28,
            3,
            1,
            256,
            &[],
            0,
            &[(0x2_5000_0200, 0, 0), (0x2_5000_0000, 1, 0), (0x2_5003_6945, 1, 0x12345)],
        ),
    ];
    for (index, (start, size, bridges, ports, granularity, maps, skip, expected)) in rows.iter().enumerate() {
        let made = Made {
            start: *start,
            size: *size,
            bridges: *bridges,
            ports: *ports,
            granularity: *granularity,
            maps,
            skip: *skip,
        };
        let asked: Vec<u64> = expected.iter().map(|(address, ..)| *address).collect();
        let found = made.translate(&format!("worked-{index}"), &asked);
        for (found, (address, position, dpa)) in found.iter().zip(*expected) {
            let place = format!("row {index}, {address:#x}: {found}");
            assert_eq!((&found["position"], number(&found["dpa"])), (&(*position).into(), *dpa), "{place}");
            assert_eq!(found["serial"], *position + 1, "{place}");
            assert!(found.get("linux").is_none(), "{place}");
        }
    }
}

/// Roots of 3 and 6 ways with ports below: which device gets which chunk, worked out from the bits that each decoder looks
/// at, and that Linux takes the number of the chunk for the position.
#[test]
fn where_linux_names_another_device_both_are_told() {
    let orders: [(u64, u64, &[u64]); 3] = [
        (3, 2, &[0, 4, 2, 3, 1, 5]),
        (3, 4, &[0, 4, 8, 9, 1, 5, 6, 10, 2, 3, 7, 11]),
        (6, 2, &[0, 1, 8, 9, 4, 5, 6, 7, 2, 3, 10, 11]),
    ];
    for (bridges, ports, order) in orders {
        let start = 0x3_0000_0000;
        let size = (bridges * ports) << 28;
        let made = Made { start, size, bridges, ports, granularity: 256, maps: &[], skip: 0 };
        let asked: Vec<u64> = (0..bridges * ports).map(|chunk| start + chunk * 256).collect();
        let found = made.translate(&format!("order-{bridges}-{ports}"), &asked);
        for ((chunk, position), found) in (0_u64..).zip(order).zip(&found) {
            assert_eq!(
                (&found["position"], number(&found["dpa"])),
                (&(*position).into(), 0),
                "chunk {chunk}: {found}"
            );
            let told = &found["linux"]["place"];
            if *position == chunk {
                assert!(told.is_null(), "chunk {chunk}: {found}");
            } else {
                assert_eq!((&told["position"], &told["serial"]), (&chunk.into(), &(chunk + 1).into()));
            }
        }
    }
}

/// What cannot be is named, and what is sound goes on without it.
#[test]
fn impossible_states_are_named_and_the_rest_is_planned() {
    let example = String::from_utf8(memtopo(&["example", "cxl-switches"], b"").stdout).expect("text");
    let folder = scratch("impossible");
    let planned = |name: &str, toml: &str| {
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, toml).expect("a file");
        let path = file.to_str().expect("a plain path");
        json(&["plan", path, "--drivers", "cxl_acpi,cxl_pci,dax_hmem,dax_cxl,kmem", "--format", "json"])
    };
    let told = |plan: &Value, rule: &str, detail: &str| {
        let mut reasons = list(&plan["reasons"]).iter();
        assert!(
            reasons.any(|reason| reason["rule"] == rule
                && reason["detail"].as_str().is_some_and(|text| text.contains(detail))),
            "{rule}: {detail}: {}",
            plan["reasons"]
        );
        // The plan goes on.
        assert_eq!(plan["outcome"], "ok");
        assert_eq!(plan["cxl"]["root_decoders"][0]["name"], "decoder0.0");
    };
    let whole = planned("whole", &example);
    assert_eq!(whole["cxl"]["regions"][0]["commit"], 1);
    assert_eq!(whole["devices"][0]["name"], "dax0.0");

    let device = |change: &str, to: &str| {
        let at = example.find("serial = 4").expect("the last device");
        let (head, tail) = example.split_at(at);
        format!("{head}{}", tail.replacen(change, to, 1))
    };
    // One decoder that is wrong takes its whole endpoint with it, and the region waits for it.
    for (name, toml, detail) in [
        ("size", device("range = \"16G+4G\"", "range = \"16G+0\""), "decoder 0 is committed with size 0"),
        (
            "order",
            device(
                "range = \"16G+4G\"",
                "range = \"0+0\"\ncommitted = false\n[[device.decoder]]\nrange = \"16G+4G\"",
            ),
            "decoder 1 is committed, one before it is not",
        ),
        ("share", device("ways = 4", "ways = 3"), "which its 3 ways do not divide"),
        ("skip", device("ways = 4", "ways = 4\nskip = \"256M\""), "leads behind the memory of the device"),
        ("ones", device("range = \"16G+4G\"", "range = \"0xffffffffffffffff+4G\""), "read as all ones"),
    ] {
        let plan = planned(name, &toml);
        told(&plan, "decoders-refused", detail);
        told(&plan, "device-absent", "region0: 3 of 4 devices are there");
        assert_eq!(plan["cxl"]["regions"][0]["commit"], 0);
    }
    // A switch that does not come up hides what is below it.
    let switch = example.replacen(
        "targets = [0, 1]\n\n[[device]]",
        "targets = [0, 1]\n[[switch.decoder]]\nrange = \"64G+0\"\n\n[[device]]",
        1,
    );
    let plan = planned("switch", &switch);
    told(&plan, "decoders-refused", "decoder 1 is committed with size 0");
    told(&plan, "port-unreachable", "endpoint");
    // Four ways, whose last two targets are the first port again.
    let short = planned(
        "short",
        &example.replacen("ways = 2\ngranularity = \"256\"", "ways = 4\ngranularity = \"256\"", 1),
    );
    told(&short, "region-refused", "");
    // A device that is described and plugged in nowhere.
    let at = example.find("name = \"mem3\"").expect("the last device");
    let (head, tail) = example.split_at(at);
    let loose = planned("loose", &format!("{head}{}", tail.replacen("below = \"right/1\"\n", "", 1)));
    told(&loose, "device-unattached", "mem3");
    told(&loose, "device-absent", "region0: 3 of 4 devices are there");
    // A window over a bridge that is not there, and one that overlaps half of the first.
    let window =
        "[[window]]\nrange = \"64G+1G\"\ntargets = [13]\n[[window]]\nrange = \"24G+16G\"\ntargets = [12]\n";
    let windows = planned("windows", &format!("{example}{window}"));
    told(&windows, "window-target-absent", "decoder0.1: host bridge 13");
    told(&windows, "window-refused", "overlaps part of an earlier window");
    assert_eq!(windows["cxl"]["regions"][0]["commit"], 1);
    // A CXL 1.1 host is named, and nothing below it is in a region.
    let old = "[[bridge]]\nuid = 40\nregisters = \"0xfd00_0000\"\ncxl11 = true\nroot_ports = [0]\n\
        [[device]]\nname = \"old\"\nbelow = \"40/0\"\n[[device.memory]]\nsize = \"1G\"\n";
    let old = planned("old", &format!("{example}{old}"));
    told(&old, "host-restricted", "host bridge 40");
    told(&old, "device-unattached", "mem4");
    assert_eq!(old["cxl"]["regions"][0]["commit"], 1);
}

#[test]
fn descriptions_that_cannot_be_are_refused_by_name() {
    let folder = scratch("refused");
    let refused = |toml: &str| {
        let file = folder.join("machine.toml");
        std::fs::write(&file, format!("[[domain]]\ncpus = \"0\"\nmemory = [\"0-1G\"]\n{toml}"))
            .expect("a file");
        let output = memtopo(&["plan", file.to_str().expect("a plain path")], b"");
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        error.split("machine.toml: ").nth(1).unwrap_or(&error).to_owned()
    };
    let bridge = "[[bridge]]\nuid = 12\nregisters = 0\nroot_ports = [0]\n";
    assert_eq!(
        refused(&format!("{bridge}[[device]]\nname = \"a\"\nbelow = \"12/3\"\n")),
        "device a: below 12/3: the ports there are [0]"
    );
    assert_eq!(
        refused(&format!("{bridge}[[device]]\nname = \"a\"\nbelow = \"x/0\"\n")),
        "device a: below x/0: no bridge has the UID, and no switch the name, \"x\""
    );
    assert!(refused("[[device]]\nname = \"a\"\nbelow = \"here\"\n").contains("is no downstream port: write"));
    let ring =
        "[[switch]]\nname = \"s\"\nbelow = \"s/0\"\nports = [0]\n[[device]]\nname = \"a\"\nbelow = \"s/0\"\n";
    assert_eq!(refused(ring), "device a: below s/0: it is below itself");
    let decoder =
        "[[device]]\nname = \"a\"\nbelow = \"12/0\"\n[[device.decoder]]\nrange = \"4G+1G\"\nways = 5\n";
    assert_eq!(
        refused(&format!("{bridge}{decoder}")),
        "device a: decoder 0: 5 ways; a decoder has 1, 2, 3, 4, 6, 8, 12 or 16"
    );
    let registers = folder.join("nowhere.bin");
    std::fs::write(&registers, registers_of_nothing()).expect("a file");
    let cedt = shared("oracle/cases").map(|cases| cases.join("cxl-x2-bridges/cxl-list.json"));
    let Some(list) = cedt else { return };
    let output = memtopo(
        &["plan", list.to_str().expect("a plain path"), registers.to_str().expect("a plain path")],
        b"",
    );
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("nowhere: component registers of which port?") || error.contains("no ACPI table"),
        "{error}"
    );
}

/// Component registers with decoders that are off.
fn registers_of_nothing() -> Vec<u8> {
    let mut bytes = Vec::new();
    ComponentRegistersWriter::new(&mut bytes, HdmCapability(15), HdmGlobalControl(0))
        .finish()
        .expect("a vector grows");
    bytes
}
