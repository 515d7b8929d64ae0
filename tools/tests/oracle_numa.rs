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

mod oracle;

use memtopo::bundle::memory_map;
use memtopo::linux::reason::Section;
use memtopo::linux::{Inputs, State, Version, plan};
use memtopo::render::plan_json::plan_json;
use memtopo::render::plan_text::{Reasons, plan_text};
use memtopo::render::style::Colour;
use memtopo::topology::{TableBytes, Topology};
use oracle::{Case, Tally, cases, number};
use serde_json::Value;
use std::collections::BTreeMap;

/// Families that this comparison does not cover, by tag, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[];

/// Single sections that cannot be compared, by case, with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

const KERNELS: [(&str, Version); 3] = [
    ("observed.json", Version::V7_2),
    ("observed-6.12.json", Version::V6_12),
    ("observed-6.1.json", Version::V6_1),
];
/// The plan of a case, as JSON.
fn plan_of(case: &Case, version: Version) -> Value {
    case.with_tables(|tables| {
        let topology = Topology::read(tables);
        let maps = memory_map::read_text(case.log().as_bytes());
        let kernel = case.kernel(version);
        let memory_map = maps.firmware().expect("a memory map");
        let memory_devices = &case.memory_devices();
        let inputs = Inputs { topology: &topology, memory_map, memory_devices, kernel: &kernel };
        let plan = plan(inputs);
        let mut text = String::new();
        plan_text(&mut text, &plan, Colour::Off, Reasons::Brief).unwrap();
        if std::env::var_os("ORACLE_CASE").is_some() {
            println!("{text}");
        }
        let mut text = String::new();
        plan_json(&mut text, &plan).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", case.name))
    })
}

/// Where movable zones begin, in machines to which nothing was added.
fn movable_zones(case: &Case, version: Version, observed: &Value, tally: &mut Tally) {
    let Some(zones) = observed["zones"].as_array().filter(|_| case.image().is_none()) else { return };
    let files = case.table_files();
    let topology = Topology::read(files.iter().filter_map(|file| TableBytes::copy(file).ok()));
    let maps = memory_map::read_text(case.log().as_bytes());
    let memory_devices = &case.memory_devices();
    let kernel = case.kernel(version);
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
    let planned = state.nodes.movable_start.iter().map(|(node, first)| (u64::from(node.0), *first)).collect();
    let show = |starts: &BTreeMap<u64, u64>| Value::String(format!("{starts:?}"));
    let section = if booted.is_empty() { "no movable zone" } else { "movable zones" };
    tally.compare(&case.name, section, section, Some(&show(&planned)), Some(&show(&booted)));
}

fn compare(tally: &mut Tally, case: &str, ours: &Value, theirs: &Value) {
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
            tally.unknown.entry(key.to_owned()).or_default().push(case.to_owned());
        } else {
            tally.compare(case, key, key, ours.get(key), theirs.get(key));
        }
    }
    for mask in ["possible", "online", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator"]
    {
        let key = format!("nodes.{mask}");
        if untold(&key) {
            tally.unknown.entry(key).or_default().push(case.to_owned());
        } else {
            tally.compare(case, &key, &key, ours["nodes"].get(mask), theirs["nodes"].get(mask));
        }
    }
    // The map that the kernel printed after the command line. Where tables came with the initrd, the map after
    // that holds their place, which depends on the size of kernel and initrd.
    let rows = |value: &Value, map: &str| -> Value {
        value["e820"].as_array().unwrap().iter().filter(|row| row[0] == map).cloned().collect()
    };
    if theirs["e820"].as_array().unwrap().iter().any(|row| row[0] == "user") {
        tally.compare(case, "e820.user", "e820.user", Some(&rows(ours, "user")), Some(&rows(theirs, "user")));
    }
    let empty = serde_json::Map::new();
    let nodes = |value: &Value| value["node"].as_object().unwrap_or(&empty).clone();
    let (ours, theirs) = (nodes(ours), nodes(theirs));
    for node in theirs.keys().filter(|node| !ours.contains_key(*node)) {
        if !untold("nodes") {
            tally.differences.push(format!("{case} node.{node}: not planned"));
        }
    }
    for (node, ours) in ours {
        let theirs = theirs.get(&node).unwrap_or(&Value::Null);
        for key in ["cpus", "distance", "access0", "access1", "memory_side_cache"] {
            let section = format!("node.{key}");
            if untold(&format!("node.*.{key}")) {
                tally.unknown.entry(section).or_default().push(case.to_owned());
            } else {
                let label = format!("node.{node}.{key}");
                tally.compare(case, &section, &label, ours.get(key), theirs.get(key));
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
        let mut tally = Tally { exceptions: EXCEPTIONS, ..Tally::default() };
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
            let Some(observed) = case.observed(file) else { continue };
            let ours = plan_of(case, version);
            compare(&mut tally, name, &ours, &observed);
            movable_zones(case, version, &observed, &mut tally);
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
