//! Compares what is read and planned of CXL with what booted kernels showed.
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
    unreachable_pub,
    reason = "a failing test is meant to stop, and to say why"
)]

#[path = "../memtopo/src/cxl_list.rs"]
mod cxl_list;

use memtopo::bundle::cxl_sysfs::CxlSysfs;
use memtopo::bundle::memory_map;
use memtopo::bundle::paths::cdat_owner;
use memtopo::linux::{Inputs, Kernel, Version, plan};
use memtopo::render::plan_json::plan_json;
use memtopo::topology::cxl::{CxlTree, PortKind};
use memtopo::topology::device_tables::DeviceTable;
use memtopo::topology::{TableBytes, Topology};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

/// What only one of the two descriptions of a bus tells.
const ONE_SIDED: &[(&str, &str)] = &[
    ("target_type", "`cxl list` does not print it"),
    ("type3", "`cxl list` does not print it"),
    ("numa_node", "`cxl list` leaves it out where there is none"),
    ("granularity", "`cxl list` leaves it out for decoders with one way"),
    ("host", "`cxl list` does not name the device of the root"),
];

fn cases() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/cases");
    if !folder.is_dir() {
        eprintln!("SKIPPED: the captures in {} are not there", folder.display());
        return None;
    }
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    Some(cases)
}

fn json(path: &Path) -> Option<Value> {
    Some(serde_json::from_slice(&fs::read(path).ok()?).unwrap())
}

fn list(path: &Path) -> Option<CxlTree> {
    let value = json(path)?;
    assert!(cxl_list::is_cxl_list(&value), "{}", path.display());
    Some(cxl_list::read(&value))
}

fn sysfs(path: &Path) -> Option<CxlTree> {
    let text = fs::read_to_string(path).ok()?;
    assert!(CxlSysfs::is_listing(&text), "{}", path.display());
    Some(CxlTree::from_sysfs(&CxlSysfs::read_listing(&text)))
}

/// Objects in which two descriptions differ, after the list was given what only the other tells.
fn differences(
    mut list: CxlTree,
    sysfs: &CxlTree,
    one_sided: &mut BTreeMap<&'static str, usize>,
) -> Vec<String> {
    fn fill<T: Clone>(
        ours: &mut Option<T>,
        theirs: &Option<T>,
        field: &'static str,
        one_sided: &mut BTreeMap<&'static str, usize>,
    ) {
        assert!(ONE_SIDED.iter().any(|(name, _)| *name == field));
        if ours.is_none() && theirs.is_some() {
            ours.clone_from(theirs);
            *one_sided.entry(field).or_default() += 1;
        }
    }
    for (ours, theirs) in list.decoders.iter_mut().zip(&sysfs.decoders) {
        fill(&mut ours.target_type, &theirs.target_type, "target_type", one_sided);
        if ours.ways == 1 {
            fill(&mut ours.granularity, &theirs.granularity, "granularity", one_sided);
        }
        if let (Some(ours), Some(theirs)) = (&mut ours.root, &theirs.root) {
            fill(&mut ours.type3, &theirs.type3, "type3", one_sided);
        }
    }
    for (ours, theirs) in list.memdevs.iter_mut().zip(&sysfs.memdevs) {
        fill(&mut ours.numa_node, &theirs.numa_node, "numa_node", one_sided);
    }
    for (ours, theirs) in list.ports.iter_mut().zip(&sysfs.ports) {
        if ours.kind == PortKind::Root {
            fill(&mut ours.host, &theirs.host, "host", one_sided);
        }
    }
    let mut found = Vec::new();
    compare(&list.ports, &sysfs.ports, &mut found);
    compare(&list.decoders, &sysfs.decoders, &mut found);
    compare(&list.memdevs, &sysfs.memdevs, &mut found);
    compare(&list.regions, &sysfs.regions, &mut found);
    found
}

fn compare<T: PartialEq + Debug>(list: &[T], sysfs: &[T], found: &mut Vec<String>) {
    for place in 0..list.len().max(sysfs.len()) {
        let (ours, theirs) = (list.get(place), sysfs.get(place));
        if ours != theirs {
            found.push(format!("\n  list:  {ours:?}\n  sysfs: {theirs:?}"));
        }
    }
}

#[test]
fn both_descriptions_of_a_bus_are_the_same() {
    let Some(cases) = cases() else { return };
    let (mut compared, mut only_list, mut different) = (0, Vec::new(), Vec::new());
    let mut one_sided = BTreeMap::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let mut suffixes = vec![String::new()];
        suffixes.extend((0..32).map(|step| format!(".step{step}")));
        for suffix in suffixes {
            let Some(list) = list(&case.join(format!("cxl-list{suffix}.json"))) else { continue };
            let Some(sysfs) = sysfs(&case.join(format!("cxl-sysfs{suffix}.tsv"))) else {
                only_list.push(format!("{name}{suffix}"));
                continue;
            };
            let found = differences(list, &sysfs, &mut one_sided);
            different.extend(found.into_iter().map(|difference| format!("{name}{suffix}: {difference}")));
            compared += 1;
        }
    }
    println!("CXL inputs: {compared} pairs of cxl list and sysfs compared");
    for capture in only_list {
        println!("  not compared: {capture}: a list without sysfs");
    }
    for (field, reason) in ONE_SIDED {
        println!("  exception: {field}: {reason}: {} times", one_sided.get(field).copied().unwrap_or(0));
    }
    for difference in &different {
        println!("  DIFFERENT: {difference}");
    }
    assert!(different.is_empty(), "{} differences", different.len());
}

/// Sections that are compared, and the member that names an element of each.
const SECTIONS: [(&str, &str); 5] = [
    ("memdevs", "serial"),
    ("root_decoders", "name"),
    ("switch_decoders", "name"),
    ("endpoint_decoders", "name"),
    ("regions", "name"),
];

/// Elements that cannot be compared, by case, section and element, with the reason.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    ("evc-delete-order step 3 list", "endpoint_decoders", "device 1/decoder.0", FORGOTTEN),
    ("evc-delete-order step 4 list", "endpoint_decoders", "device 1/decoder.0", FORGOTTEN),
    ("evc-delete-order step 5 list", "endpoint_decoders", "device 1/decoder.0", FORGOTTEN),
];

const FORGOTTEN: &str =
    "`cxl list` leaves the granularity of one way out, and no region tells what the decoder kept of it";

/// The plan of a case in which the machine has this CXL hierarchy.
fn planned(case: &Path, tree: Option<CxlTree>, later_drivers: &[String]) -> Value {
    planned_on(Version::V7_2, case, tree, later_drivers)
}

fn planned_on(version: Version, case: &Path, tree: Option<CxlTree>, later_drivers: &[String]) -> Value {
    let description = json(&case.join("case.json")).unwrap();
    let mut paths: Vec<_> =
        fs::read_dir(case.join("tables")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let is_cdat = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("CDAT");
    let (cdats, paths): (Vec<PathBuf>, Vec<PathBuf>) = paths.into_iter().partition(is_cdat);
    let files: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let cdats: Vec<(PathBuf, Vec<u8>)> =
        cdats.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let mut topology = Topology::read(files.iter().filter_map(|file| TableBytes::copy(file).ok()));
    topology.cxl = tree.map(without_classes);
    topology.device_tables = cdats
        .iter()
        .map(|(path, bytes)| DeviceTable::new(cdat_owner(&path.to_string_lossy()), bytes))
        .collect();
    let log = fs::read(case.join("dmesg.txt")).unwrap();
    let maps = memory_map::read_text(&log);
    let mut kernel =
        Kernel::new(version).with_command_line(description["cmdline"].as_str().unwrap_or_default());
    let modules = description["modules"].as_array().into_iter().flatten();
    kernel.drivers = modules.map(|module| module.as_str().unwrap().to_owned()).collect();
    kernel.drivers.extend_from_slice(later_drivers);
    let qemu = description["qemu"].as_array().unwrap();
    kernel.platform.hypervisor =
        !qemu.iter().any(|option| option.as_str().is_some_and(|option| option.contains("-hypervisor")));
    let memory_map = maps.firmware().expect("a memory map");
    let inputs = Inputs { topology: &topology, memory_map, memory_devices: &[], kernel: &kernel };
    let mut text = String::new();
    plan_json(&mut text, &plan(inputs)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The same without the QoS classes that the capture showed: the plan has to find them.
fn without_classes(mut tree: CxlTree) -> CxlTree {
    for memdev in &mut tree.memdevs {
        (memdev.ram_qos_class, memdev.pmem_qos_class) = (None, None);
    }
    tree
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
        _ => ours == theirs || (number(ours).is_some() && number(ours) == number(theirs)),
    }
}

/// Counts and differences, section by section.
#[derive(Default)]
struct Tally {
    equal: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
}

impl Tally {
    /// Compares lists element by element, in order.
    fn list(&mut self, case: &str, section: &'static str, name: &str, ours: &Value, theirs: &Value) {
        let elements = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let (ours, theirs) = (elements(ours), elements(theirs));
        for place in 0..ours.len().max(theirs.len()) {
            let (a, b) = (ours.get(place), theirs.get(place));
            let label = b.or(a).map(|element| element[name].to_string()).unwrap_or_default();
            if EXCEPTIONS.iter().any(|(c, s, n, _)| *c == case && *s == section && label.contains(n)) {
                continue;
            }
            match (a, b) {
                (Some(a), Some(b)) if same(a, b) => *self.equal.entry(section).or_default() += 1,
                _ => {
                    let show = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
                    self.differences.push(format!(
                        "{case} {section} {label}:\n    planned {}\n    booted  {}",
                        show(a),
                        show(b)
                    ));
                }
            }
        }
    }

    fn cxl(&mut self, case: &str, ours: &Value, theirs: &Value) {
        for (section, name) in SECTIONS {
            self.list(case, section, name, &ours["cxl"][section], &theirs["cxl"][section]);
        }
    }

    fn report(&self, title: &str) {
        println!("{title}");
        for (section, count) in &self.equal {
            println!("  {section}: {count} equal");
        }
        for (case, section, name, reason) in EXCEPTIONS {
            println!("  exception: {case} {section} {name}: {reason}");
        }
        for difference in &self.differences {
            println!("  DIFFERENT: {difference}");
        }
        assert!(self.differences.is_empty(), "{} differences", self.differences.len());
    }
}

/// Why a boot has nothing to compare here.
fn reason_left_out(observed: &Value) -> String {
    match observed["outcome"].as_str() {
        Some("ok") => "its tables lie in a memory image, which has tests of its own".to_owned(),
        outcome => {
            format!("a kernel that did not come up shows neither ({})", outcome.unwrap_or("no outcome"))
        }
    }
}

#[test]
fn boots_equal_the_first_capture() {
    let Some(cases) = cases() else { return };
    let mut tally = Tally::default();
    let (mut compared, mut with_cxl, mut left_out) = (0, 0, Vec::new());
    let (mut classes, mut untold) = (0, Vec::new());
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let Some(observed) = json(&case.join("observed.json")) else { continue };
        let by_loader = json(&case.join("case.json")).unwrap()["tables"]["via"] == "loader";
        if observed["outcome"] != "ok" || by_loader {
            left_out.push(format!("{name}: {}", reason_left_out(&observed)));
            continue;
        }
        let trees = [list(&case.join("cxl-list.json")), sysfs(&case.join("cxl-sysfs.tsv"))];
        let mut trees: Vec<_> = trees.into_iter().flatten().map(Some).collect();
        with_cxl += usize::from(!trees.is_empty());
        if trees.is_empty() {
            trees.push(None);
        }
        for tree in trees {
            let ours = planned(&case, tree, &[]);
            let memdevs = ours["cxl"]["memdevs"].as_array().into_iter().flatten();
            classes += memdevs.filter(|memdev| memdev["ram_qos_class"].is_number()).count();
            let unknown = ours["unknown"].as_array().into_iter().flatten();
            untold.extend(
                unknown.filter(|one| one["keys"] == "cxl.performance").map(|one| format!("{name}: {one}")),
            );
            tally.cxl(&name, &ours, &observed);
            tally.list(&name, "devices", "name", &ours["devices"], &observed["devices"]);
        }
        compared += 1;
    }
    println!("QoS classes found: {classes} of devices with one; figures not told: {}", untold.len());
    untold.iter().for_each(|one| println!("  {one}"));
    let title =
        format!("first captures: {compared} cases, {with_cxl} of them with CXL, {} left out", left_out.len());
    left_out.iter().for_each(|one| println!("  left out: {one}"));
    tally.report(&title);
}

#[test]
fn captured_regions_stand_as_they_were() {
    let Some(cases) = cases() else { return };
    let mut tally = Tally::default();
    let mut compared = 0;
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let Some(observed) = json(&case.join("observed.json")) else { continue };
        let mut drivers = Vec::new();
        for (step, seen) in observed["steps"].as_array().into_iter().flatten().enumerate() {
            if seen["event"]["event"] == "load" && seen["result"] == "ok" {
                drivers.push(seen["event"]["driver"].as_str().unwrap().to_owned());
            }
            let trees = [
                list(&case.join(format!("cxl-list.step{step}.json"))),
                sysfs(&case.join(format!("cxl-sysfs.step{step}.tsv"))),
            ];
            for (tree, form) in trees.into_iter().zip(["list", "sysfs"]) {
                let Some(tree) = tree else { continue };
                tally.cxl(
                    &format!("{name} step {step} {form}"),
                    &planned(&case, Some(tree), &drivers),
                    &seen["after"],
                );
                compared += 1;
            }
        }
    }
    tally.report(&format!("captures after steps: {compared} descriptions"));
}

/// The same hierarchy as firmware would leave it: programmed, and nothing known of regions.
fn as_firmware(mut tree: CxlTree) -> CxlTree {
    tree.regions.clear();
    for decoder in &mut tree.decoders {
        (decoder.region, decoder.dpa, decoder.mode) = (None, None, None);
    }
    tree
}

/// Whether all bridges and switches of a region have decoders with registers.
fn has_registers(tree: &CxlTree, region: &str) -> bool {
    let of_region = |decoder: &&memtopo::topology::cxl::Decoder| decoder.region.as_deref() == Some(region);
    tree.decoders.iter().filter(of_region).all(|decoder| tree.is_committed(decoder))
}

#[test]
fn programmed_regions_come_back() {
    let Some(cases) = cases() else { return };
    let (mut assembled, mut left_apart, mut different) = (0, Vec::new(), Vec::new());
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let Some(observed) = json(&case.join("observed.json")) else { continue };
        for (step, seen) in observed["steps"].as_array().into_iter().flatten().enumerate() {
            let Some(tree) = sysfs(&case.join(format!("cxl-sysfs.step{step}.tsv"))) else { continue };
            let drivers = ["cxl_acpi", "cxl_pci", "cxl_mem"].map(str::to_owned);
            let ours = planned(&case, Some(as_firmware(tree.clone())), &drivers);
            for theirs in seen["after"]["cxl"]["regions"].as_array().into_iter().flatten() {
                if theirs["commit"] != "1" {
                    continue;
                }
                let found = ours["cxl"]["regions"].as_array().into_iter().flatten();
                let mut found = found.filter(|region| same(&region["resource"], &theirs["resource"]));
                let (ours, mut theirs) = (found.next().cloned().unwrap_or_default(), theirs.clone());
                let registers = has_registers(&tree, theirs["name"].as_str().unwrap());
                // Numbers go by the order of discovery; the driver of a region that was made by hand may be unbound.
                theirs["name"] = ours["name"].clone();
                theirs["bound"] = ours["bound"].clone();
                if !registers {
                    // A bridge whose decoder has no registers: the kernel cannot know how it routes.
                    theirs["commit"] = Value::from(0);
                    theirs["targets"] = ours["targets"].clone();
                }
                if same(&ours, &theirs) {
                    if registers {
                        assembled += 1;
                    } else {
                        left_apart.push(format!("{name} step {step}: {}", theirs["resource"]));
                    }
                } else {
                    let text = format!("{name} step {step}:\n    planned {ours}\n    booted  {theirs}");
                    different.push(text);
                }
            }
        }
    }
    println!(
        "programmed regions: {assembled} put together, {} refused for a bridge without registers",
        left_apart.len()
    );
    left_apart.iter().for_each(|one| println!("  refused: {one}"));
    for difference in &different {
        println!("  DIFFERENT: {difference}");
    }
    assert!(different.is_empty(), "{} differences", different.len());
}

#[test]
fn dax_devices_equal_those_of_older_kernels() {
    let Some(cases) = cases() else { return };
    let mut tally = Tally::default();
    let (mut compared, mut untold, mut left_out) = (0, Vec::new(), Vec::new());
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let by_loader = json(&case.join("case.json")).unwrap()["tables"]["via"] == "loader";
        for (version, file) in [(Version::V6_12, "observed-6.12.json"), (Version::V6_1, "observed-6.1.json")]
        {
            let Some(observed) = json(&case.join(file)) else { continue };
            if observed["outcome"] != "ok" || by_loader {
                left_out.push(format!("{name} {file}: {}", reason_left_out(&observed)));
                continue;
            }
            let ours = planned_on(version, &case, None, &[]);
            if ours.get("devices").is_none() {
                let unknown =
                    ours["unknown"].as_array().unwrap().iter().find(|entry| entry["keys"] == "devices");
                assert!(unknown.is_some(), "{name}");
                untold.push(format!("{name} {file}"));
                continue;
            }
            tally.list(&format!("{name} {file}"), "devices", "name", &ours["devices"], &observed["devices"]);
            compared += 1;
        }
    }
    tally.report(&format!(
        "DAX of older kernels: {compared} captures, {} of Linux 6.1 not told by the model, {} left out",
        untold.len(),
        left_out.len()
    ));
    untold.iter().for_each(|one| println!("  not told: {one}: how Linux 6.1 registers soft-reserved memory"));
    left_out.iter().for_each(|one| println!("  left out: {one}"));
}
