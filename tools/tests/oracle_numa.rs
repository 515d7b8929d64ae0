//! Compares plans with what booted kernels showed: nodes, access classes, tiers, demotion, interleave weights.
//!
//! Every capture is read from `../shared/oracle/cases`; without that folder the test says so and passes.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a failing test is meant to stop, and to say why"
)]

use memtopo::bundle::memory_map;
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::kernel::CpuVendor;
use memtopo::linux::reason::Section;
use memtopo::linux::{Inputs, Kernel, State, Version, plan};
use memtopo::range::AddressRange;
use memtopo::render::plan_json::plan_json;
use memtopo::render::plan_text::{Reasons, plan_text};
use memtopo::render::style::Colour;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{ApicId, ByteCount, PhysAddr, ProximityDomain};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Families that this comparison does not cover, by tag, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[];

/// Single sections that cannot be compared, by case, with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

const KERNELS: [(&str, Version); 3] = [
    ("observed.json", Version::V7_2),
    ("observed-6.12.json", Version::V6_12),
    ("observed-6.1.json", Version::V6_1),
];

struct Case {
    name: String,
    folder: PathBuf,
    description: Value,
}

fn cases() -> Option<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/cases");
    if !folder.is_dir() {
        eprintln!("SKIPPED: the captures in {} are not there", folder.display());
        return None;
    }
    let mut cases: Vec<Case> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap().path();
            let description = serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
            Case { name: folder.file_name().unwrap().to_string_lossy().into_owned(), folder, description }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Some(cases)
}

impl Case {
    fn tags(&self) -> Vec<&str> {
        self.description["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect()
    }

    /// The tables that the guest saw; for a boot that died those that it was given.
    fn table_files(&self) -> Vec<Vec<u8>> {
        let mut folder = self.folder.join("tables");
        if !folder.is_dir() {
            folder = self.folder.join("input");
        }
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with("CDAT"));
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// The memory image of a case that has one, and its address.
    fn image(&self) -> Option<(Vec<u8>, u64)> {
        let tables = &self.description["tables"];
        if tables["via"] != "loader" {
            return None;
        }
        let base = number(&tables["addr"]).unwrap();
        Some((fs::read(self.folder.join("input/tree.bin")).unwrap(), base))
    }

    /// Options of the emulator behind `flag`.
    fn option(&self, flag: &str) -> Option<&str> {
        let options = self.description["qemu"].as_array()?;
        let at = options.iter().position(|option| option == flag)?;
        options.get(at + 1)?.as_str()
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("dmesg.txt")).unwrap();
        // A boot that died early left only the map after the kernel's own changes.
        if text.contains("BIOS-e820:") { text } else { text.replace("modified: [mem", "BIOS-e820: [mem") }
    }

    fn kernel(&self, version: Version) -> Kernel {
        let line = self.description["cmdline"].as_str().unwrap_or_default();
        let mut kernel = Kernel::new(version).with_command_line(line);
        let modules = self.description["modules"].as_array();
        kernel.drivers =
            modules.into_iter().flatten().map(|module| module.as_str().unwrap().to_owned()).collect();
        let platform = &mut kernel.platform;
        let model = self.option("-cpu").unwrap_or_default();
        platform.hypervisor = !model.contains("-hypervisor");
        // The emulator's default model calls itself AMD, with one last-level cache a socket.
        platform.cpu_vendor =
            Some(if model.starts_with("qemu64") { CpuVendor::Amd } else { CpuVendor::Intel });
        let (cpus, per_socket) = sockets(self.option("-smp").unwrap_or("1"));
        if per_socket < cpus {
            platform.cache_ids = (0..cpus).map(|cpu| (ApicId(cpu), cpu / per_socket)).collect();
        }
        for line in self.log().lines().filter(|line| line.contains("RAMDISK:") || line.contains("Reserving"))
        {
            if let Some((start, last)) = line.split("[mem ").nth(1).and_then(|text| text.split_once('-')) {
                let hex = |text: &str| {
                    u64::from_str_radix(text.trim_end_matches(']').trim_start_matches("0x"), 16).unwrap()
                };
                platform.reserved.push(AddressRange::new(PhysAddr(hex(start)), PhysAddr(hex(last) + 1)));
            }
        }
        kernel
    }

    /// DIMMs that were there at start; the capture tells them, because no table does.
    fn memory_devices(&self) -> Vec<MemoryDevice> {
        let observed: Value =
            serde_json::from_slice(&fs::read(self.folder.join("observed.json")).unwrap()).unwrap();
        let device = |device: &Value| MemoryDevice {
            range: AddressRange::from_base_size(
                PhysAddr(number(&device["start"]).unwrap()),
                ByteCount(number(&device["size"]).unwrap()),
            )
            .unwrap(),
            domain: number(&device["domain"]).map(|domain| ProximityDomain(domain as u32)),
        };
        observed["memory_devices"].as_array().into_iter().flatten().map(device).collect()
    }

    fn plan(&self, version: Version) -> Value {
        let image = self.image();
        let files = self.table_files();
        let tables: Vec<TableBytes<'_>> = match &image {
            Some((bytes, base)) => in_image(bytes, *base),
            None => files.iter().filter_map(|file| TableBytes::copy(file).ok()).collect(),
        };
        let topology = Topology::read(tables);
        let maps = memory_map::read_text(self.log().as_bytes());
        let kernel = self.kernel(version);
        let memory_map = maps.firmware().expect("a memory map");
        let memory_devices = &self.memory_devices();
        let inputs = Inputs { topology: &topology, memory_map, memory_devices, kernel: &kernel };
        let plan = plan(inputs);
        let mut text = String::new();
        plan_text(&mut text, &plan, Colour::Off, Reasons::Brief).unwrap();
        if std::env::var_os("ORACLE_CASE").is_some() {
            println!("{text}");
        }
        let mut text = String::new();
        plan_json(&mut text, &plan).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", self.name))
    }
}

impl Case {
    /// Where movable zones begin, in machines to which nothing was added.
    fn movable_zones(&self, version: Version, observed: &Value, tally: &mut Tally) {
        let Some(zones) = observed["zones"].as_array().filter(|_| self.image().is_none()) else { return };
        let files = self.table_files();
        let topology = Topology::read(files.iter().filter_map(|file| TableBytes::copy(file).ok()));
        let maps = memory_map::read_text(self.log().as_bytes());
        let memory_devices = &self.memory_devices();
        let kernel = self.kernel(version);
        let memory_map = maps.firmware().expect("a memory map");
        let inputs = Inputs { topology: &topology, memory_map, memory_devices, kernel: &kernel };
        let Ok(state) = State::boot(inputs) else { return };
        if !state.added.is_empty() || state.notes.lacks(Section::MovableZones) {
            return;
        }
        let booted: BTreeMap<u64, u64> = zones
            .iter()
            .filter(|zone| zone["zone"] == "Movable" && number(&zone["start_pfn"]).is_some())
            .map(|zone| (number(&zone["node"]).unwrap(), number(&zone["start_pfn"]).unwrap()))
            .collect();
        let planned =
            state.nodes.movable_start.iter().map(|(node, first)| (u64::from(node.0), *first)).collect();
        let show = |starts: &BTreeMap<u64, u64>| Value::String(format!("{starts:?}"));
        let section = if booted.is_empty() { "no movable zone" } else { "movable zones" };
        tally.compare(&self.name, section, section, Some(&show(&planned)), Some(&show(&booted)));
    }
}

/// Processors, and how many of them share a socket.
fn sockets(smp: &str) -> (u32, u32) {
    let mut parts: BTreeMap<&str, u32> = BTreeMap::new();
    for (place, part) in smp.split(',').enumerate() {
        match part.split_once('=') {
            Some((name, value)) => parts.insert(name, value.parse().unwrap()),
            None if place == 0 => parts.insert("cpus", part.parse().unwrap()),
            None => None,
        };
    }
    let cpus = parts.get("cpus").copied().unwrap_or(1);
    let sockets = parts.get("sockets").copied().unwrap_or(1).max(1);
    (cpus, (cpus / sockets).max(1))
}

/// The tables that the XSDT of a memory image lists.
fn in_image(bytes: &[u8], base: u64) -> Vec<TableBytes<'_>> {
    let at = |address: u64| usize::try_from(address - base).unwrap();
    let u64_at = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
    let xsdt = at(u64_at(24));
    let length = usize::try_from(u32::from_le_bytes(bytes[xsdt + 4..xsdt + 8].try_into().unwrap())).unwrap();
    (xsdt + 36..xsdt + length)
        .step_by(8)
        .map(u64_at)
        .filter(|address| (base..base + bytes.len() as u64).contains(address))
        .map(|address| TableBytes::in_memory(&bytes[at(address)..]).unwrap())
        .collect()
}

/// A number, as JSON number or as text in C notation.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        Value::Bool(value) => Some(u64::from(*value)),
        _ => None,
    }
}

/// Whether two values mean the same, however numbers and flags are written.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Bool(a), Value::String(b)) => *b == a.to_string(),
        _ => ours == theirs || (number(ours).is_some() && number(ours) == number(theirs)),
    }
}

/// Counts and differences, section by section.
#[derive(Default)]
struct Tally {
    compared: BTreeMap<String, usize>,
    unknown: BTreeMap<String, Vec<String>>,
    differences: Vec<String>,
}

impl Tally {
    fn compare(
        &mut self,
        case: &str,
        section: &str,
        label: &str,
        ours: Option<&Value>,
        theirs: Option<&Value>,
    ) {
        if EXCEPTIONS.iter().any(|(name, part, _)| *name == case && *part == section) {
            return;
        }
        match (ours, theirs) {
            (None, None) => {}
            (Some(a), Some(b)) if same(a, b) => *self.compared.entry(section.to_owned()).or_default() += 1,
            _ => {
                let show = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
                self.differences.push(format!(
                    "{case} {label}: planned {}, booted {}",
                    show(ours),
                    show(theirs)
                ));
            }
        }
    }

    fn case(&mut self, case: &str, ours: &Value, theirs: &Value) {
        let unknown: Vec<&str> =
            ours["unknown"].as_array().unwrap().iter().map(|entry| entry["keys"].as_str().unwrap()).collect();
        let untold = |key: &str| {
            unknown
                .iter()
                .any(|keys| keys.split(", ").any(|known| known == key || known == "nodes" || known == "plan"))
        };
        for key in [
            "outcome",
            "memory_tiers",
            "demotion_targets",
            "weighted_interleave",
            "numa_faked",
            "no_numa_config",
            "srat_memory_accepted",
        ] {
            if untold(key) {
                self.unknown.entry(key.to_owned()).or_default().push(case.to_owned());
            } else {
                self.compare(case, key, key, ours.get(key), theirs.get(key));
            }
        }
        for mask in
            ["possible", "online", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator"]
        {
            let key = format!("nodes.{mask}");
            if untold(&key) {
                self.unknown.entry(key).or_default().push(case.to_owned());
            } else {
                self.compare(case, &key, &key, ours["nodes"].get(mask), theirs["nodes"].get(mask));
            }
        }
        // The map that the kernel printed after the command line. Where tables came with the initrd, the map after
        // that holds their place, which depends on the size of kernel and initrd.
        let rows = |value: &Value, map: &str| -> Value {
            value["e820"].as_array().unwrap().iter().filter(|row| row[0] == map).cloned().collect()
        };
        if theirs["e820"].as_array().unwrap().iter().any(|row| row[0] == "user") {
            self.compare(
                case,
                "e820.user",
                "e820.user",
                Some(&rows(ours, "user")),
                Some(&rows(theirs, "user")),
            );
        }
        let empty = serde_json::Map::new();
        let nodes = |value: &Value| value["node"].as_object().unwrap_or(&empty).clone();
        let (ours, theirs) = (nodes(ours), nodes(theirs));
        for node in theirs.keys().filter(|node| !ours.contains_key(*node)) {
            if !untold("nodes") {
                self.differences.push(format!("{case} node.{node}: not planned"));
            }
        }
        for (node, ours) in ours {
            let theirs = theirs.get(&node).unwrap_or(&Value::Null);
            for key in ["cpus", "distance", "access0", "access1", "memory_side_cache"] {
                let section = format!("node.{key}");
                if untold(&format!("node.*.{key}")) {
                    self.unknown.entry(section).or_default().push(case.to_owned());
                } else {
                    let label = format!("node.{node}.{key}");
                    self.compare(case, &section, &label, ours.get(key), theirs.get(key));
                }
            }
        }
    }
}

/// Damaged tables give some plan, never a panic: bytes, lengths and ends changed at places that a fixed generator
/// picks.
#[test]
fn damaged_tables_give_a_plan() {
    let Some(cases) = cases() else { return };
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let mut plans = 0;
    for case in cases.iter().filter(|case| case.image().is_none()) {
        let maps = memory_map::read_text(case.log().as_bytes());
        let kernel = case.kernel(Version::V7_2);
        let original = case.table_files();
        for _ in 0..6 {
            let mut files = original.clone();
            for file in &mut files {
                for _ in 0..random(4) {
                    let at = random(file.len());
                    file[at] = [0, 1, 0x7f, 0xff, u8::try_from(random(256)).unwrap()][random(5)];
                }
                if random(3) == 0 {
                    file.truncate(36 + random(file.len() - 36));
                }
            }
            let in_memory = random(2) == 0;
            let read = if in_memory { TableBytes::in_memory } else { TableBytes::copy };
            let tables = files.iter().filter_map(|file| read(file).ok());
            let topology = Topology::read(tables);
            let memory_map = maps.firmware().expect("a memory map");
            let inputs = Inputs { topology: &topology, memory_map, memory_devices: &[], kernel: &kernel };
            let plan = plan(inputs);
            let (mut text, mut json) = (String::new(), String::new());
            plan_text(&mut text, &plan, Colour::On, Reasons::All).unwrap();
            plan_json(&mut json, &plan).unwrap();
            serde_json::from_str::<Value>(&json).unwrap();
            plans += 1;
        }
    }
    println!("{plans} plans of damaged tables");
}

#[test]
fn plans_equal_booted_kernels() {
    let Some(cases) = cases() else { return };
    let only = std::env::var("ORACLE_CASE").ok();
    let mut differences = 0;
    for (file, version) in KERNELS {
        let mut tally = Tally::default();
        let mut compared = 0;
        let mut left_out = Vec::new();
        for case in &cases {
            let name = case.name.as_str();
            if only.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            if let Some((_, reason)) = LEFT_OUT.iter().find(|(tag, _)| case.tags().contains(tag)) {
                left_out.push(format!("{name}: {reason}"));
                continue;
            }
            let Ok(bytes) = fs::read(case.folder.join(file)) else { continue };
            let observed: Value = serde_json::from_slice(&bytes).unwrap();
            let ours = case.plan(version);
            tally.case(name, &ours, &observed);
            case.movable_zones(version, &observed, &mut tally);
            compared += 1;
        }
        println!("Linux {}: {compared} cases compared, {} left out", version.name(), left_out.len());
        for (section, count) in &tally.compared {
            println!("  {section}: {count} equal");
        }
        for (section, cases) in &tally.unknown {
            println!("  {section}: not told by the inputs in {}", cases.join(", "));
        }
        if version == Version::V7_2 {
            for line in &left_out {
                println!("  left out: {line}");
            }
        }
        for (case, section, reason) in EXCEPTIONS {
            println!("  exception: {case} {section}: {reason}");
        }
        for difference in &tally.differences {
            println!("  DIFFERENT: {difference}");
        }
        differences += tally.differences.len();
    }
    assert_eq!(differences, 0, "plans differ from booted kernels");
}
