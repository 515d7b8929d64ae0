//! Compares what events do with what they did to booted kernels: the result of each, and the machine after it. And,
//! before any event, memory blocks and zones of every captured boot.
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

#[path = "../memtopo/src/cxl_list.rs"]
mod cxl_list;
#[path = "../memtopo/src/events.rs"]
mod events;
mod oracle;

use events::EventFile;
use memtopo::bundle::cxl_sysfs::CxlSysfs;
use memtopo::bundle::memory_map;
use memtopo::bundle::paths::cdat_owner;
use memtopo::linux::node_set::NodeSet;
use memtopo::linux::zones::Zone;
use memtopo::linux::{Inputs, State, Version};
use memtopo::render::plan_json::whole_json;
use memtopo::topology::Topology;
use memtopo::topology::cxl::CxlTree;
use memtopo::topology::device_tables::DeviceTable;
use oracle::{Case, Tally, cases};
use serde_json::{Value, json};
use std::fs;

/// Single sections that cannot be compared, by case (and step), with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// What describes the CXL hierarchy of a case, by form: as it was at the first capture or, where the drivers came
/// later, at the last one before a region was made.
fn hierarchies(case: &Case, text: &str) -> Vec<(&'static str, CxlTree)> {
    let is_region = |line: &&str| line.contains("_region\"");
    let before = text.lines().take_while(|line| !is_region(line)).count();
    let suffixes: Vec<String> =
        [String::new()].into_iter().chain((0..before).rev().map(|step| format!(".step{step}"))).collect();
    let first = |name: &str, ending: &str| {
        suffixes.iter().find_map(|suffix| fs::read(case.folder.join(format!("{name}{suffix}.{ending}"))).ok())
    };
    let mut found = Vec::new();
    if let Some(bytes) = first("cxl-list", "json") {
        let value = serde_json::from_slice(&bytes).unwrap();
        assert!(cxl_list::is_cxl_list(&value), "{}", case.name);
        found.push(("list", cxl_list::read(&value)));
    }
    if let Some(bytes) = first("cxl-sysfs", "tsv") {
        let listing = String::from_utf8(bytes).unwrap();
        found.push(("sysfs", CxlTree::from_sysfs(&CxlSysfs::read_listing(&listing))));
    }
    found
}

/// The machine of a case before and after its events, as JSON.
fn plan_of(case: &Case, version: Version, text: &str, cxl: Option<CxlTree>) -> Option<Value> {
    let cdats = case.device_tables();
    case.with_tables(|tables| {
        let mut topology = Topology::read(tables);
        topology.cxl = cxl;
        topology.device_tables =
            cdats.iter().map(|(name, bytes)| DeviceTable::new(cdat_owner(name), bytes)).collect();
        let maps = memory_map::read_text(case.log().as_bytes());
        let kernel = case.kernel(version);
        let memory_map = maps.firmware().expect("a memory map");
        let memory_devices = &case.memory_devices();
        let inputs = Inputs { topology: &topology, memory_map, memory_devices, kernel: &kernel };
        let file = EventFile::parse(text, |name| panic!("{}: names the file {name}", case.name)).unwrap();
        let events = file.events().unwrap();
        let state = State::boot(inputs).ok()?;
        let mut text = String::new();
        whole_json(&mut text, &state.plan(), Some(&state.steps(&events)), None).unwrap();
        let value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", case.name));
        Some(value)
    })
}

/// Compares one capture. `label` names the case, and the step where there is one.
fn capture(tally: &mut Tally, label: &str, prefix: &str, ours: &Value, theirs: &Value) {
    let unknown: Vec<&str> =
        ours["unknown"].as_array().unwrap().iter().map(|entry| entry["keys"].as_str().unwrap()).collect();
    let untold = |key: &str| unknown.iter().any(|keys| keys.split(", ").any(|known| known == key));
    let mut section = |key: &str, name: &str, ours: Option<&Value>, theirs: Option<&Value>| {
        let section = format!("{prefix}{key}");
        if untold(key) {
            tally.unknown.entry(section).or_default().push(label.to_owned());
        } else {
            tally.compare(label, &section, name, ours, theirs);
        }
    };
    if prefix != "boot " {
        for mask in
            ["possible", "online", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator"]
        {
            let key = format!("nodes.{mask}");
            section(&key, &key, ours["nodes"].get(mask), theirs["nodes"].get(mask));
        }
        for key in ["memory_tiers", "demotion_targets_changed", "weighted_interleave", "demotion_enabled"] {
            section(key, key, ours.get(key), theirs.get(key));
        }
    }
    let nodes = |value: &Value| value["node"].as_object().unwrap().clone();
    let (our_nodes, their_nodes) = (nodes(ours), nodes(theirs));
    let keys = |nodes: &serde_json::Map<String, Value>| json!(nodes.keys().collect::<Vec<_>>());
    section("node", "node", Some(&keys(&our_nodes)), Some(&keys(&their_nodes)));
    for (node, ours) in &our_nodes {
        let Some(theirs) = their_nodes.get(node) else { continue };
        let all = ["memory_blocks", "cpus", "distance", "access0", "access1", "memory_side_cache"];
        for key in all.into_iter().take(if prefix == "boot " { 1 } else { 6 }) {
            let label = format!("node.{node}.{key}");
            section(&format!("node.*.{key}"), &label, ours.get(key), theirs.get(key));
        }
    }
    let (ours_memory, theirs_memory) = (&ours["memory"], &theirs["memory"]);
    let mut settings = vec!["block_size_bytes", "block_count"];
    if prefix != "boot " {
        settings.push("auto_online_blocks");
        settings.push("memory_hotplug_params");
    }
    for key in settings {
        let name = format!("memory.{key}");
        section(&name, &name, ours_memory.get(key), theirs_memory.get(key));
    }
    for key in ["id", "nodes", "state", "valid_zones"] {
        let of = |memory: &Value| -> Value {
            memory["blocks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|block| json!([block["id"], block[key]]))
                .collect()
        };
        let name = format!("memory.blocks.{key}");
        section(&name, &name, Some(&of(ours_memory)), Some(&of(theirs_memory)));
    }
    if prefix != "boot " {
        for part in ["memdevs", "root_decoders", "switch_decoders", "endpoint_decoders", "regions"] {
            let name = format!("cxl.{part}");
            section(&name, &name, Some(&list_of(&ours["cxl"][part])), Some(&list_of(&theirs["cxl"][part])));
        }
        section("devices", "devices", Some(&list_of(&ours["devices"])), Some(&list_of(&theirs["devices"])));
    }
    for key in ["spanned", "present", "start_pfn"] {
        let of = |value: &Value| -> Value {
            let zones = value["zones"].as_array().into_iter().flatten();
            zones.map(|zone| json!([zone["node"], zone["zone"], zone[key]])).collect()
        };
        section("zones", &format!("zones.{key}"), Some(&of(ours)), Some(&of(theirs)));
    }
}

/// A list; an absent one is empty.
fn list_of(value: &Value) -> Value {
    Value::Array(value.as_array().cloned().unwrap_or_default())
}

/// What cannot be compared is told by name.
fn report(tally: &Tally) {
    for (section, count) in &tally.compared {
        println!("  {section}: {count} equal");
    }
    for (section, cases) in &tally.unknown {
        println!("  {section}: not told by the inputs in {}", cases.join(", "));
    }
    for (case, section, reason) in tally.exceptions {
        println!("  exception: {case} {section}: {reason}");
    }
    for difference in &tally.differences {
        println!("  DIFFERENT: {difference}");
    }
}

#[test]
fn events_do_what_they_did_to_booted_kernels() {
    let Some(cases) = cases() else { return };
    let only = std::env::var("ORACLE_CASE").ok();
    let mut tally = Tally { exceptions: EXCEPTIONS, ..Tally::default() };
    let (mut compared, mut steps, mut with_cxl) = (0, 0, 0);
    for case in &cases {
        let name = case.name.as_str();
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let Ok(text) = fs::read_to_string(case.folder.join("events.jsonl")) else { continue };
        let observed = case.observed("observed.json").unwrap();
        let forms = hierarchies(case, &text);
        with_cxl += usize::from(!forms.is_empty());
        let mut plans: Vec<(String, Option<CxlTree>)> =
            forms.into_iter().map(|(form, tree)| (format!(" {form}"), Some(tree))).collect();
        if plans.is_empty() {
            plans.push((String::new(), None));
        }
        compared += 1;
        for (form, tree) in plans {
            let ours = plan_of(case, Version::V7_2, &text, tree).expect("a running system");
            for (number, theirs) in observed["steps"].as_array().unwrap().iter().enumerate() {
                let ours = &ours["steps"][number];
                let label = format!("{name} step {number}{form}");
                steps += 1;
                for key in ["result", "refused_at"] {
                    tally.compare(&label, key, key, ours.get(key), theirs.get(key));
                }
                capture(&mut tally, &label, "", &ours["after"], &theirs["after"]);
            }
        }
    }
    println!(
        "{compared} cases of events, {with_cxl} of them with CXL from each of its descriptions, {steps} steps compared"
    );
    report(&tally);
    assert!(tally.differences.is_empty(), "events differ from booted kernels");
}

/// Whatever happens in whatever order: nothing panics, and the parts of the state agree with each other.
#[test]
fn random_events_keep_the_state_in_order() {
    let Some(cases) = cases() else { return };
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) % below
    };
    let (mut applied, mut refused) = (0, 0);
    for case in cases.iter().filter(|case| case.image().is_none()) {
        case.with_tables(|tables| {
            let topology = Topology::read(tables);
            let maps = memory_map::read_text(case.log().as_bytes());
            let kernel = case.kernel(Version::V7_2);
            let memory_map = maps.firmware().expect("a memory map");
            let inputs = Inputs { topology: &topology, memory_map, memory_devices: &[], kernel: &kernel };
            let Ok(mut state) = State::boot(inputs) else { return };
            let top = state.blocks.iter().last().map_or(1, |(_, run)| run.end.0) + 16;
            for _ in 0..40 {
                let block = random(top);
                let size = state.blocks.size.0;
                let result = ["ok", "EBUSY"][usize::try_from(random(2)).unwrap()];
                let kind = ["online", "online_kernel", "online_movable"][usize::try_from(random(3)).unwrap()];
                let device = |start: u64, blocks: u64| format!("\"start\":{},\"size\":{}", start * size, blocks * size);
                let line = match random(8) {
                    0 => format!("{{\"event\":\"add_memory\",{},\"domain\":{}}}", device(top + random(8), 1 + random(4)), random(5)),
                    1 => match state.devices.first() {
                        Some(first) => format!(
                            "{{\"event\":\"remove_memory\",\"start\":{},\"size\":{},\"result\":\"{result}\"}}",
                            first.range.start,
                            first.range.size()
                        ),
                        None => format!("{{\"event\":\"remove_memory\",{}}}", device(block, 1)),
                    },
                    2 | 3 => format!("{{\"event\":\"online\",\"block\":{block},\"type\":\"{kind}\"}}"),
                    4 | 5 => format!("{{\"event\":\"offline\",\"block\":{block},\"result\":\"{result}\"}}"),
                    6 => format!("{{\"event\":\"move_node\",\"node\":{},\"tier\":{}}}", random(4), random(40)),
                    _ => format!("{{\"event\":\"set\",\"name\":\"auto_online_blocks\",\"value\":\"{kind}\"}}"),
                };
                // A state may keep what an event brought, so events have to live as long.
                let file = EventFile::parse(&line, |name| Err(name.to_owned())).unwrap();
                let file: &'static EventFile = Box::leak(Box::new(file));
                state = match state.apply(&file.events().unwrap()[0]) {
                    Ok((next, _)) => {
                        applied += 1;
                        next
                    }
                    Err(refusal) => {
                        refused += 1;
                        refusal.left
                    }
                };
                in_order(&state, &case.name, &line);
            }
        });
    }
    println!("{applied} random events applied, {refused} refused");
}

fn in_order(state: &State<'_>, case: &str, line: &str) {
    let nodes = &state.nodes;
    for node in nodes.possible.iter() {
        let present = state.zones.present(node);
        assert_eq!(present > 0, nodes.has_memory.contains(node), "{case}: {line}: memory of node {node}");
        let normal = state.zones.present_in_kernel_zones(node) > 0;
        assert_eq!(normal, nodes.has_normal_memory.contains(node), "{case}: {line}: kernel memory of {node}");
        assert_eq!(present > 0, state.tiers.tier_of(node).is_some(), "{case}: {line}: tier of node {node}");
        for zone in Zone::ALL {
            let pages = state.zones.get(node, zone);
            assert!(pages.early <= pages.present && pages.present <= pages.span.count(), "{case}: {line}");
        }
    }
    let with_targets: NodeSet = state.tiers.demotion.keys().copied().collect();
    assert_eq!(with_targets, nodes.has_memory, "{case}: {line}: demotion targets");
}

#[test]
fn blocks_and_zones_equal_booted_kernels() {
    let Some(cases) = cases() else { return };
    let only = std::env::var("ORACLE_CASE").ok();
    let mut differences = 0;
    for (file, version) in [
        ("observed.json", Version::V7_2),
        ("observed-6.12.json", Version::V6_12),
        ("observed-6.1.json", Version::V6_1),
    ] {
        let mut tally = Tally::default();
        let mut compared = 0;
        for case in cases.iter().filter(|case| only.as_ref().is_none_or(|only| *only == case.name)) {
            let Some(observed) = case.observed(file) else { continue };
            if observed["outcome"] != "ok" {
                continue;
            }
            let Some(ours) = plan_of(case, version, "", None) else { continue };
            capture(&mut tally, &format!("{} {}", version.name(), case.name), "boot ", &ours, &observed);
            compared += 1;
        }
        println!("Linux {}: blocks and zones of {compared} boots compared", version.name());
        report(&tally);
        differences += tally.differences.len();
    }
    assert_eq!(differences, 0, "blocks and zones differ from booted kernels");
}
