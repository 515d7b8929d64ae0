//! Facts from the guest's sysfs and procfs.

use crate::log::numbers;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const NODES: &str = "/sys/devices/system/node/";
const BLOCKS: &str = "/sys/devices/system/memory/";
const HOTPLUG: &str = "/sys/module/memory_hotplug/parameters/";
const TIERS: &str = "/sys/devices/virtual/memory_tiering/";
const WEIGHTS: &str = "/sys/kernel/mm/mempolicy/weighted_interleave/";
const DAX: &str = "/sys/bus/dax/devices/";

/// Files with their first line, and the folders and links that were there.
#[derive(Debug, Default)]
pub struct Tree {
    values: BTreeMap<String, String>,
    places: Vec<String>,
}

impl Tree {
    /// From lines of `PATH:VALUE`, and lines of paths or `LINK -> TARGET`.
    #[must_use]
    pub fn new(values: &str, places: &str) -> Self {
        let mut tree = Self::default();
        for (path, value) in values.lines().filter_map(|line| line.split_once(':')) {
            tree.values.entry(path.to_owned()).or_insert_with(|| value.to_owned());
        }
        tree.places = places.lines().map(str::to_owned).collect();
        tree
    }

    /// The content of a file.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<&str> {
        self.values.get(path).map(|value| value.trim())
    }

    /// Files below a folder: their path from there, and their content.
    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.values.range(folder.to_owned()..);
        files.map_while(move |(path, value)| Some((path.strip_prefix(folder)?, value.trim())))
    }

    /// Numbers at the end of places that begin with `start`.
    fn ends(&self, start: &str) -> Vec<u64> {
        let mut found: Vec<u64> =
            self.places.iter().filter_map(|place| place.strip_prefix(start)?.parse().ok()).collect();
        found.sort_unstable();
        found
    }

    fn link(&self, path: &str) -> Option<&str> {
        self.places.iter().find_map(|place| place.strip_prefix(path)?.strip_prefix(" -> "))
    }

    /// What a capture says of nodes, tiers, weights, blocks and devices.
    #[must_use]
    pub fn facts(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        let mut put = |key: &str, value: Value| facts.insert(key.to_owned(), value);
        let masks =
            ["possible", "online", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator"];
        let masks = masks.into_iter().filter_map(|mask| {
            Some((mask.to_owned(), json!(numbers(self.value(&format!("{NODES}{mask}"))?))))
        });
        put("nodes", Value::Object(masks.collect()));
        let online = self.value(&format!("{NODES}online")).map(numbers).unwrap_or_default();
        put("node", Value::Object(online.iter().map(|node| (node.to_string(), self.node(*node))).collect()));
        let tiers = self.below(TIERS).filter_map(|(path, list)| {
            Some((path.strip_suffix("/nodelist")?.to_owned(), json!(numbers(list))))
        });
        put("memory_tiers", Value::Object(tiers.collect()));
        put(
            "weighted_interleave",
            Value::Object(self.below(WEIGHTS).map(|(path, v)| named(path, v)).collect()),
        );
        if let Some(enabled) = self.value("/sys/kernel/mm/numa/demotion_enabled") {
            put("demotion_enabled", json!(enabled));
        }
        put("memory", self.memory());
        if let Some(total) = self.values.get("/proc/meminfo").and_then(|line| kibibytes(line)) {
            put("mem_total_kb", total);
        }
        let devices = self.devices();
        if !devices.is_empty() {
            put("devices", json!(devices));
        }
        put("iomem_notable", Value::Array(Vec::new()));
        facts
    }

    fn node(&self, node: u64) -> Value {
        let folder = format!("{NODES}node{node}/");
        let mut found = Map::new();
        let mut put = |key: &str, value: Value| found.insert(key.to_owned(), value);
        if let Some(list) = self.value(&format!("{folder}cpulist")) {
            put("cpus", json!(numbers(list)));
        }
        if let Some(row) = self.value(&format!("{folder}distance")) {
            put(
                "distance",
                json!(row.split_whitespace().filter_map(|d| d.parse().ok()).collect::<Vec<u64>>()),
            );
        }
        if let Some(total) = self.values.get(&format!("{folder}meminfo")).and_then(|line| kibibytes(line)) {
            put("mem_total_kb", total);
        }
        put("memory_blocks", json!(self.ends(&format!("{folder}memory"))));
        for class in ["access0", "access1"] {
            let initiators = self.ends(&format!("{folder}{class}/initiators/node"));
            let targets = self.ends(&format!("{folder}{class}/targets/node"));
            let figures: Vec<_> = self
                .below(&folder)
                .filter_map(|(path, value)| {
                    Some(named(path.strip_prefix(class)?.strip_prefix("/initiators/")?, value))
                })
                .collect();
            if initiators.is_empty() && targets.is_empty() && figures.is_empty() {
                continue;
            }
            let mut access: Map<_, _> = figures.into_iter().collect();
            access.insert("initiators".to_owned(), json!(initiators));
            access.insert("targets".to_owned(), json!(targets));
            put(class, Value::Object(access));
        }
        let mut caches: Map<String, Value> = Map::new();
        for (path, value) in self.below(&folder) {
            let file = path.strip_prefix("memory_side_cache/index").and_then(|rest| rest.split_once('/'));
            let Some((level, name)) = file.filter(|(_, name)| *name != "uevent") else { continue };
            let cache = caches.entry(level).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(cache) = cache {
                let (name, value) = named(name, value);
                cache.insert(name, value);
            }
        }
        if !caches.is_empty() {
            put("memory_side_cache", Value::Object(caches));
        }
        Value::Object(found)
    }

    fn memory(&self) -> Value {
        let mut memory = Map::new();
        let mut put = |key: &str, value: Value| memory.insert(key.to_owned(), value);
        if let Some(size) = self.value(&format!("{BLOCKS}block_size_bytes")) {
            put("block_size_bytes", json!(u64::from_str_radix(size, 16).ok()));
        }
        if let Some(state) = self.value(&format!("{BLOCKS}auto_online_blocks")) {
            put("auto_online_blocks", json!(state));
        }
        let parameters = self.below(HOTPLUG).map(|(name, value)| (name.to_owned(), json!(value)));
        put("memory_hotplug_params", Value::Object(parameters.collect()));
        let ids = self.ends(&format!("{BLOCKS}memory"));
        put("block_count", json!(ids.len()));
        let blocks = ids.iter().map(|id| {
            let file = |name: &str| self.value(&format!("{BLOCKS}memory{id}/{name}"));
            json!({
                "id": id,
                "nodes": self.ends(&format!("{BLOCKS}memory{id}/node")),
                "state": file("state"),
                "removable": file("removable").and_then(|text| text.parse::<u64>().ok()),
                "valid_zones": file("valid_zones").map(|text| text.split_whitespace().collect::<Vec<_>>()),
            })
        });
        put("blocks", Value::Array(blocks.collect()));
        Value::Object(memory)
    }

    fn devices(&self) -> Vec<Value> {
        let links = self.places.iter().filter_map(|place| place.strip_prefix(DAX)?.split_once(" -> "));
        let devices = links.filter(|(name, _)| !name.contains('/')).map(|(name, place)| {
            let folder = format!("{DAX}{name}/");
            let attributes = self.below(&folder).map(|(path, value)| (path.to_owned(), json!(value)));
            let driver = self.link(&format!("{folder}driver")).and_then(|target| target.rsplit('/').next());
            json!({
                "bus": "dax", "name": name, "parent": place.rsplit('/').nth(1), "driver": driver,
                "attrs": attributes.collect::<Map<_, _>>(),
            })
        });
        devices.collect()
    }

    /// The firmware's memory map as the kernel keeps it for a later kexec.
    #[must_use]
    pub fn firmware_memmap(&self) -> Value {
        let folder = "/sys/firmware/memmap/";
        let ranges = (0..).map_while(|index: u32| {
            let file = |name: &str| self.value(&format!("{folder}{index}/{name}"));
            Some(json!([file("start")?, file("end")?, file("type")?]))
        });
        Value::Array(ranges.collect())
    }
}

/// Whether a line `PATH:VALUE` is of a file of nodes, tiers, blocks, weights or devices whose content follows from the
/// topology.
#[must_use]
pub fn is_topology(line: &str) -> bool {
    let path = line.split(':').next().unwrap_or_default();
    [NODES, BLOCKS, HOTPLUG, TIERS, WEIGHTS, DAX, "/sys/kernel/mm/numa/"]
        .iter()
        .any(|folder| path.starts_with(folder))
        && !path.ends_with("/meminfo")
        && !path.ends_with("/uevent")
}

/// A file's name and its content, as a number where it is one.
fn named(name: &str, value: &str) -> (String, Value) {
    (name.to_owned(), value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number)))
}

fn kibibytes(line: &str) -> Option<Value> {
    let words: Vec<_> = line.split_whitespace().rev().collect();
    words.get(1)?.parse::<u64>().ok().map(|number| json!(number))
}

/// Zones that span anything, from `/proc/zoneinfo`.
#[must_use]
pub fn zones(zoneinfo: &str) -> Vec<Value> {
    let mut zones: Vec<Map<String, Value>> = Vec::new();
    for line in zoneinfo.lines() {
        if let Some((node, zone)) = line.strip_prefix("Node ").and_then(|rest| rest.split_once(", zone ")) {
            let mut entry = Map::new();
            entry.insert("node".to_owned(), json!(node.trim().parse::<u64>().ok()));
            entry.insert("zone".to_owned(), json!(zone.trim()));
            zones.push(entry);
        } else if let Some(zone) = zones.last_mut() {
            let mut words = line.split_whitespace();
            let (Some(key), Some(Ok(number))) = (words.next(), words.next().map(str::parse::<u64>)) else {
                continue;
            };
            let key = key.trim_end_matches(':');
            if matches!(key, "spanned" | "present" | "managed" | "cma" | "start_pfn") {
                zone.entry(key).or_insert(json!(number));
            }
        }
    }
    zones.retain(|zone| zone.get("spanned").and_then(Value::as_u64).is_some_and(|pages| pages > 0));
    zones.into_iter().map(Value::Object).collect()
}

/// Lines of `/proc/iomem` about RAM, soft-reserved memory, DAX and CXL.
#[must_use]
pub fn iomem_notable(iomem: &str) -> Vec<&str> {
    const NOTABLE: [&str; 4] = ["System RAM", "Soft Reserved", ": dax", "CXL"];
    iomem.lines().filter(|line| NOTABLE.iter().any(|word| line.contains(word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "\
/sys/devices/system/node/online:0-1
/sys/devices/system/node/node0/cpulist:0-1
/sys/devices/system/node/node0/distance:10 20
/sys/devices/system/node/node0/access0/initiators/read_latency:121
/sys/devices/system/node/node0/meminfo:Node 0 MemTotal:         464468 kB
/sys/devices/system/node/node1/cpulist:
/sys/devices/system/node/node1/memory_side_cache/index1/size:4096
/sys/devices/system/memory/block_size_bytes:8000000
/sys/devices/system/memory/memory2/state:online
/sys/devices/system/memory/memory2/valid_zones:Normal Movable
/sys/devices/virtual/memory_tiering/memory_tier4/nodelist:0
";
    const PLACES: &str = "\
/sys/devices/system/node/node0/memory2
/sys/devices/system/node/node0/access0/initiators/node0
/sys/devices/system/memory/memory2
/sys/devices/system/memory/memory2/node0
";

    #[test]
    fn a_tree_becomes_nodes_tiers_and_blocks() {
        let facts = Tree::new(VALUES, PLACES).facts();
        assert_eq!(
            facts["node"]["0"],
            json!({"cpus": [0, 1], "distance": [10, 20], "mem_total_kb": 464_468, "memory_blocks": [2],
                "access0": {"initiators": [0], "targets": [], "read_latency": 121}})
        );
        assert_eq!(facts["node"]["1"]["memory_side_cache"], json!({"1": {"size": 4096}}));
        assert_eq!(facts["memory_tiers"], json!({"memory_tier4": [0]}));
        assert_eq!(facts["memory"]["block_size_bytes"], json!(134_217_728));
        assert_eq!(facts["memory"]["blocks"][0]["valid_zones"], json!(["Normal", "Movable"]));
    }

    #[test]
    fn zones_without_a_span_are_left_out() {
        let text = "Node 0, zone      DMA\n  pages free     3840\n        spanned  4095\n        present  3998\n  \
                    start_pfn:           1\nNode 0, zone   Normal\n        spanned  0\n";
        let expected = json!({"node": 0, "zone": "DMA", "spanned": 4095, "present": 3998, "start_pfn": 1});
        assert_eq!(zones(text), [expected]);
    }
}
