//! The rules of comparison: what of a capture a plan has to say as well, value by value.
//!
//! Both sides are flattened to paths with canonical values, section by section, and the paths are compared. What
//! is left out is left out by name, here and nowhere else:
//!
//! * `managed` and `cma` of zones, `mem_total_kb`: they depend on the size of the kernel and on early allocations;
//! * `removable`: Linux 7.2 says 1 for every block;
//! * `auto_online_blocks`, `memory_hotplug_params`, `demotion_enabled`, `kernel`, `cmdline`: settings, not results;
//! * ACPI NVS inside RAM: where the kernel keeps upgraded tables, a matter of early allocations;
//! * `cxl.performance`: what a plan says of devices and regions where a capture has only what came of it, in the tiers
//!   and in the figures of nodes;
//! * everything a capture has for people only (`iomem_notable`, log lines), unless two captures are compared.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is compared with a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A plan: what it lists as unknown may be absent.
    Plan,
    /// Another capture of the same boot: everything that repeats has to be there.
    Capture,
}

/// One path on which the two do not agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where, as in `node.1.access0.read_latency`.
    pub path: String,
    /// The kernel's value; `None` where it has none.
    pub kernel: Option<Value>,
    /// The other's value.
    pub answer: Option<Value>,
}

impl Difference {
    /// The section: the path up to the first dot, with `steps.N.after.` and numbers taken off.
    #[must_use]
    pub fn section(&self) -> &str {
        let path = self
            .path
            .strip_prefix("steps.")
            .and_then(|rest| rest.split_once('.'))
            .map_or(&*self.path, |p| p.1);
        let path = path.strip_prefix("after.").unwrap_or(path);
        path.split('.').next().unwrap_or(path)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        write!(f, "{}: kernel {}, plan {}", self.path, show(&self.kernel), show(&self.answer))
    }
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Values that agree, by section.
    pub agreed: BTreeMap<String, usize>,
    /// Values that do not.
    pub differences: Vec<Difference>,
    /// Paths that the plan says it cannot know.
    pub unknown: Vec<String>,
    /// Parts of a capture that the plan says nothing of, not even that it does not know.
    pub lacking: BTreeMap<String, usize>,
}

/// Parts that a plan may lack as a whole, as it may the steps: a report counts them apart from differences, and says so.
const LATER: [&str; 2] = ["devices", "cxl"];

impl Report {
    /// How many values agree.
    #[must_use]
    pub fn total(&self) -> usize {
        self.agreed.values().sum()
    }
}

type Facts = BTreeMap<String, Value>;

/// Compares an answer with what a kernel did.
#[must_use]
pub fn compare(observed: &Value, answer: &Value, kind: Answer) -> Report {
    let kernel = flatten(observed, kind);
    let mut other = flatten(answer, kind);
    let unknown = unknown_paths(answer);
    let maps: BTreeSet<String> = kernel
        .keys()
        .filter(|path| path.starts_with("e820."))
        .map(|path| path.split('.').take(2).collect::<Vec<_>>().join("."))
        .collect();
    let answered: BTreeSet<String> = other.keys().map(|path| part(path)).collect();
    let mut report = Report::default();
    for (path, value) in kernel {
        match other.remove(&path) {
            Some(found) if found == value => {
                let section = path.split('.').next().unwrap_or_default().to_owned();
                *report.agreed.entry(section).or_default() += 1;
            }
            None if kind == Answer::Plan && unknown.iter().any(|name| covers(name, &path)) => {
                report.unknown.push(path)
            }
            None if kind == Answer::Plan && answer["steps"].is_null() && path.starts_with("steps.") => {
                *report.lacking.entry("steps".to_owned()).or_default() += 1;
            }
            None if kind == Answer::Plan && may_lack(&part(&path)) && !answered.contains(&part(&path)) => {
                *report.lacking.entry(part(&path)).or_default() += 1;
            }
            found => report.differences.push(Difference { path, kernel: Some(value), answer: found }),
        }
    }
    // A map that the kernel had no reason to print.
    let printed = |path: &str| {
        let map = path.split('.').take(2).collect::<Vec<_>>().join(".");
        !path.starts_with("e820.") || maps.contains(&map)
    };
    other.retain(|path, _| printed(path));
    let extra = other.into_iter().map(|(path, value)| Difference { path, kernel: None, answer: Some(value) });
    report.differences.extend(extra);
    report
}

/// The part of a capture that a path belongs to.
fn part(path: &str) -> String {
    if let Some(inside) = after_event(path) {
        return format!("steps.*.after.{}", part(inside));
    }
    path.split('.').next().unwrap_or_default().to_owned()
}

/// The path within the state behind an event.
fn after_event(path: &str) -> Option<&str> {
    path.strip_prefix("steps.")?.split_once('.')?.1.strip_prefix("after.")
}

/// Whether a part may be lacking, at the boot or behind an event.
fn may_lack(part: &str) -> bool {
    LATER.contains(&part.strip_prefix("steps.*.after.").unwrap_or(part))
}

/// Whether an entry of `unknown` names this path: itself, or a part of the tree above it. `*` is any one part; the
/// number of an entry of a list may be left out.
fn covers(name: &str, path: &str) -> bool {
    // A plan that lacks everything says so by this name.
    if name == "plan" {
        return true;
    }
    let mut parts = path.split('.');
    name.split('.').all(|wanted| {
        let found = parts.next();
        let found = match found {
            Some(number) if number != wanted && wanted != "*" && number.parse::<u64>().is_ok() => {
                parts.next()
            }
            _ => found,
        };
        found.is_some_and(|part| wanted == "*" || wanted == part)
    })
}

/// What the plan cannot know: of the boot, which holds behind every event as well, and behind each event.
fn unknown_paths(answer: &Value) -> Vec<String> {
    let boot = names_of_unknown(&answer["unknown"]);
    let later = boot.iter().filter(|name| *name != "steps").map(|name| format!("steps.*.after.{name}"));
    let mut all: Vec<String> = later.collect();
    for (index, step) in list(&answer["steps"]).iter().enumerate() {
        let names = names_of_unknown(&step["after"]["unknown"]);
        all.extend(names.iter().map(|name| format!("steps.{index}.after.{name}")));
        if step["result"].is_null() {
            all.push(format!("steps.{index}.refused_at"));
        }
        all.extend(names_of_unknown(&step["unknown"]).iter().map(|name| format!("steps.{index}.{name}")));
    }
    all.extend(boot);
    all
}

fn names_of_unknown(unknown: &Value) -> Vec<String> {
    match unknown {
        Value::Array(items) => items.iter().flat_map(names_of_unknown).collect(),
        Value::Object(items) => match items.get("keys") {
            Some(names) => names_of_unknown(names),
            None => Vec::new(),
        },
        Value::String(names) => names.split(", ").map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn flatten(facts: &Value, kind: Answer) -> Facts {
    let mut flat = Facts::new();
    // How a dead kernel ended is a matter of the emulator.
    let outcome = match facts["outcome"].as_str() {
        Some("panic" | "reset" | "no-data") => Value::from("panic"),
        _ => facts["outcome"].clone(),
    };
    put(&mut flat, "outcome".to_owned(), &outcome);
    state(&mut flat, "", facts);
    for key in ["numa_faked", "no_numa_config"] {
        put(&mut flat, key.to_owned(), &facts[key]);
    }
    for (index, entry) in list(&facts["srat_memory_accepted"]).iter().enumerate() {
        for key in ["node", "pxm", "start", "last", "hotplug", "non_volatile"] {
            put(&mut flat, format!("srat_memory_accepted.{index}.{key}"), &entry[key]);
        }
    }
    memory_map(&mut flat, &facts["e820"]);
    for (index, step) in list(&facts["steps"]).iter().enumerate() {
        let start = format!("steps.{index}.");
        put(&mut flat, format!("{start}result"), &step["result"]);
        if let Some(file) = step["refused_at"].as_str() {
            let name = file.rsplit('/').next().unwrap_or(file);
            put(&mut flat, format!("{start}refused_at"), &Value::from(name));
        }
        state(&mut flat, &format!("{start}after."), &step["after"]);
    }
    if kind == Answer::Capture {
        for key in [
            "numa_merges",
            "early_node_ranges",
            "initmem_node_spans",
            "firmware_memmap",
            "guest_tables",
            "memory_devices",
            "table_upgrades",
            "demotion_lines_seen",
            "demotion_enabled",
            "kernel",
            "cmdline",
        ] {
            put(&mut flat, key.to_owned(), &facts[key]);
        }
    } else if outcome == "panic" {
        // A kernel that died says nothing more; whether it said how is not compared.
        flat.retain(|path, _| path == "outcome");
    }
    flat
}

/// What holds at any time.
fn state(flat: &mut Facts, start: &str, facts: &Value) {
    let mut each = |section: &str, value: &Value| members(flat, &format!("{start}{section}"), value);
    for section in ["nodes", "memory_tiers", "weighted_interleave"] {
        each(section, &facts[section]);
    }
    // Behind an event, what the log has announced since the boot.
    let key = if start.is_empty() { "demotion_targets" } else { "demotion_targets_changed" };
    for (node, targets) in entries(&facts[key]) {
        let path = format!("{start}{key}.{node}");
        if targets.is_null() {
            flat.insert(path, Value::Null);
        } else {
            members(flat, &path, targets);
        }
    }
    for (node, values) in entries(&facts["node"]) {
        let path = format!("{start}node.{node}");
        for key in ["cpus", "distance", "memory_blocks"] {
            put(flat, format!("{path}.{key}"), &values[key]);
        }
        for key in ["access0", "access1"] {
            members(flat, &format!("{path}.{key}"), &values[key]);
        }
        for (level, cache) in entries(&values["memory_side_cache"]) {
            members(flat, &format!("{path}.memory_side_cache.{level}"), cache);
        }
    }
    put(flat, format!("{start}memory.block_size_bytes"), &facts["memory"]["block_size_bytes"]);
    for block in list(&facts["memory"]["blocks"]) {
        for key in ["nodes", "state", "valid_zones"] {
            put(flat, format!("{start}memory.blocks.{}.{key}", canonical(&block["id"])), &block[key]);
        }
    }
    for zone in list(&facts["zones"]) {
        let name = zone["zone"].as_str().unwrap_or_default();
        for key in ["spanned", "present", "start_pfn"] {
            put(flat, format!("{start}zones.{}.{name}.{key}", canonical(&zone["node"])), &zone[key]);
        }
    }
    for (section, objects) in entries(&facts["cxl"]).filter(|(section, _)| *section != "performance") {
        deep(flat, &format!("{start}cxl.{section}"), objects);
    }
    for device in list(&facts["devices"]) {
        let name = device["name"].as_str().unwrap_or_default();
        // No driver is an answer.
        flat.insert(format!("{start}devices.{name}.driver"), canonical(&device["driver"]));
        for key in ["numa_node", "resource", "size", "target_node"] {
            let attributes = if device["attrs"].is_object() { &device["attrs"] } else { device };
            put(flat, format!("{start}devices.{name}.{key}"), &attributes[key]);
        }
    }
}

/// Each map after the firmware's, as borders at which the kind of memory changes. The firmware's is the input.
fn memory_map(flat: &mut Facts, entries: &Value) {
    for map in ["user", "modified"] {
        let mut merged: Vec<(u64, u64, &str)> = Vec::new();
        for entry in list(entries).iter().filter(|entry| entry[0] == map) {
            let (Some(first), Some(last)) = (canonical(&entry[1]).as_u64(), canonical(&entry[2]).as_u64())
            else {
                continue;
            };
            let kind = match entry[3].as_str().unwrap_or_default().to_lowercase().as_str() {
                "system ram" | "usable" | "acpi nvs" => "ram",
                "device reserved" | "reserved" => "reserved",
                "soft reserved" => "soft reserved",
                "acpi data" | "acpi tables" => "acpi data",
                _ => "other",
            };
            match merged.last_mut() {
                Some((_, end, previous)) if *previous == kind && end.checked_add(1) == Some(first) => {
                    *end = last
                }
                _ => merged.push((first, last, kind)),
            }
        }
        for (first, last, kind) in merged {
            flat.insert(format!("e820.{map}.{first:#x}"), Value::from(format!("to {last:#x} {kind}")));
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn members(flat: &mut Facts, path: &str, value: &Value) {
    for (key, value) in entries(value) {
        put(flat, format!("{path}.{key}"), value);
    }
}

/// Objects within objects and within lists, down to plain values and lists of them.
fn deep(flat: &mut Facts, path: &str, value: &Value) {
    match value {
        Value::Object(items) => {
            items.iter().for_each(|(key, item)| deep(flat, &format!("{path}.{key}"), item))
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(index, item)| deep(flat, &format!("{path}.{index}"), item));
        }
        _ => put(flat, path.to_owned(), value),
    }
}

fn put(flat: &mut Facts, path: String, value: &Value) {
    if !value.is_null() {
        flat.insert(path, canonical(value));
    }
}

/// One form for every way to write a value: numbers as numbers, flags as 0 and 1.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => Value::from(u8::from(*flag)),
        Value::String(text) => match (text.as_str(), text.strip_prefix("0x")) {
            ("Y" | "true", _) => Value::from(1),
            ("N" | "false", _) => Value::from(0),
            (_, Some(digits)) => u64::from_str_radix(digits, 16).map_or_else(|_| value.clone(), Value::from),
            _ => match (text.parse::<u64>(), text.parse::<i64>()) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(number)) => Value::from(number),
                _ => value.clone(),
            },
        },
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_compared_not_spellings() {
        let kernel = json!({"weighted_interleave": {"auto": "true", "node0": 1},
            "srat_memory_accepted": [{"node": 0, "pxm": 3, "start": "0x00000000", "last": "0x17ffffff",
                "hotplug": false}]});
        let plan = json!({"weighted_interleave": {"auto": true, "node0": "1"},
            "srat_memory_accepted": [{"node": 0, "pxm": 3, "start": 0, "last": 402_653_183, "hotplug": 0}]});
        let report = compare(&kernel, &plan, Answer::Plan);
        assert_eq!((report.total(), report.differences), (7, Vec::new()));
    }

    #[test]
    fn a_value_too_many_differs_as_one_too_few_does() {
        let kernel =
            json!({"node": {"0": {"access0": {"read_latency": 5}}}, "demotion_targets": {"0": null}});
        let plan = json!({"node": {"0": {"access0": {"read_bandwidth": 5}}}});
        let paths: Vec<_> =
            compare(&kernel, &plan, Answer::Plan).differences.into_iter().map(|d| d.path).collect();
        assert_eq!(
            paths,
            ["demotion_targets.0", "node.0.access0.read_latency", "node.0.access0.read_bandwidth"]
        );
    }

    #[test]
    fn what_a_plan_calls_unknown_is_no_difference() {
        let kernel = json!({"zones": [{"node": 1, "zone": "DMA", "spanned": 4095}]});
        let plan = json!({"unknown": [{"keys": "zones, node.*.cpus", "missing": "memory map"}]});
        let report = compare(&kernel, &plan, Answer::Plan);
        assert_eq!(
            (report.unknown, report.differences),
            (vec!["zones.1.DMA.spanned".to_owned()], Vec::new())
        );
        assert!(covers("zones.*.DMA", "zones.1.DMA.spanned"));
        assert!(!covers("zones.*.DMA32", "zones.1.DMA.spanned"));
        assert!(covers("memory.blocks.valid_zones", "memory.blocks.3.valid_zones"));
        assert!(!covers("memory.blocks.valid_zones", "memory.blocks.3.state"));
    }

    #[test]
    fn the_tables_that_the_kernel_copied_are_not_seen_in_the_memory_map() {
        let kernel = json!({"e820": [["bios", "0x0", "0x9", "System RAM"], ["modified", "0x0", "0x3", "System RAM"],
            ["modified", "0x4", "0x5", "ACPI NVS"], ["modified", "0x6", "0x9", "System RAM"]]});
        let plan = json!({"e820": [["modified", 0, 9, "usable"]]});
        assert_eq!(compare(&kernel, &plan, Answer::Plan).differences, []);
    }

    #[test]
    fn cxl_objects_are_compared_to_the_last_value() {
        let kernel = json!({"cxl": {"regions": [{"name": "region0", "targets": [1, 2], "size": "0x20"}]}});
        let plan = json!({"cxl": {"regions": [{"name": "region0", "targets": [2, 1], "size": 32}]}});
        let report = compare(&kernel, &plan, Answer::Plan);
        let paths: Vec<_> = report.differences.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!((report.total(), paths), (2, vec!["cxl.regions.0.targets"]));
        assert_eq!(
            compare(&kernel, &json!({}), Answer::Plan).lacking,
            BTreeMap::from([("cxl".to_owned(), 3)])
        );
    }

    #[test]
    fn the_section_of_a_step_is_the_one_behind_it() {
        let difference =
            Difference { path: "steps.3.after.zones.0.DMA".to_owned(), kernel: None, answer: None };
        assert_eq!(difference.section(), "zones");
    }
}
