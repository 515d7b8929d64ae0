//! Facts that only the kernel log tells.

use serde_json::{Map, Value, json};

/// The lines of a log without their time stamps.
#[must_use]
pub fn lines(dmesg: &str) -> Vec<&str> {
    dmesg.lines().map(unstamped).collect()
}

fn unstamped(line: &str) -> &str {
    // The serial console prints a level in angle brackets on some lines, then the time in square ones.
    let line = line.trim_end_matches('\r');
    let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match stamp {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text.strip_prefix(' ').unwrap_or(text),
        _ => line,
    }
}

/// Words by which a line is kept in a case.
const KEPT: [&str; 28] = [
    "e820",
    "user: [",
    "modified: [",
    "SRAT",
    "SLIT",
    "HMAT",
    "hmat",
    "CEDT",
    "Table Upgrade",
    "ACPI OVERRIDE",
    "NUMA",
    "numa",
    "node",
    "Node",
    "NODE_DATA",
    "zone",
    "Zone",
    "  DMA",
    "  Normal",
    "  Movable",
    "emory",
    "Demotion",
    "dax",
    "kmem",
    "cxl",
    "CXL",
    "Linux version",
    "RAMDISK:",
];

/// The lines that have to do with memory.
#[must_use]
pub fn about_memory(lines: &[&str]) -> String {
    let kept = lines.iter().filter(|line| KEPT.iter().any(|word| line.contains(word)));
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// The facts of a boot's log, by the keys of a capture.
#[must_use]
pub fn facts(lines: &[&str]) -> Map<String, Value> {
    let mut facts = Map::new();
    let (targets, announcements) = demotion_targets(lines);
    facts.insert("demotion_targets".to_owned(), targets);
    facts.insert("demotion_lines_seen".to_owned(), json!(announcements));
    let mut list = |key: &str, one: fn(&str) -> Option<Value>| {
        let all: Vec<Value> = lines.iter().filter_map(|line| one(line)).collect();
        facts.insert(key.to_owned(), json!(all));
    };
    list("srat_memory_accepted", srat_memory);
    list("numa_merges", merge);
    list("early_node_ranges", early_range);
    list("initmem_node_spans", initmem_span);
    list("e820", e820);
    list("table_upgrades", table_upgrade);
    let said = |words: &str| lines.iter().any(|line| line.contains(words));
    facts.insert("numa_faked".to_owned(), json!(said("Faking a node at")));
    facts.insert("no_numa_config".to_owned(), json!(said("No NUMA configuration found")));
    facts
}

/// The last announcement for each node, and how many there were.
#[must_use]
pub fn demotion_targets(lines: &[&str]) -> (Value, usize) {
    let mut targets = Map::new();
    let mut count = 0;
    for line in lines {
        let Some((node, text)) =
            line.strip_prefix("Demotion targets for Node ").and_then(|rest| rest.split_once(": "))
        else {
            continue;
        };
        count += 1;
        let masks = text.strip_prefix("preferred: ").and_then(|rest| rest.split_once(", fallback: "));
        let value = match masks {
            Some((preferred, fallback)) => {
                json!({"preferred": numbers(preferred), "fallback": numbers(fallback)})
            }
            None => Value::Null,
        };
        targets.insert(node.to_owned(), value);
    }
    (Value::Object(targets), count)
}

/// Where the initrd lies, which the kernel keeps out of movable zones: first byte and the one behind the last.
#[must_use]
pub fn initrd(lines: &[&str]) -> Option<(u64, u64)> {
    let text = lines.iter().find_map(|line| line.strip_prefix("RAMDISK: "))?;
    let ([first, last], _) = range(text)?;
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    Some((number(first)?, number(last)?.checked_add(1)?))
}

/// The decisive lines of a kernel that died.
#[must_use]
pub fn last_words(lines: &[&str]) -> Vec<String> {
    const DECISIVE: [&str; 4] = ["BUG:", "Oops:", "RIP:", "Kernel panic"];
    let found = lines.iter().filter(|line| DECISIVE.iter().any(|word| line.contains(word)));
    found.map(|line| (*line).to_owned()).collect()
}

/// Numbers of a mask as the kernel prints it: `0,2-3`.
#[must_use]
pub fn numbers(list: &str) -> Vec<u64> {
    let parts = list.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u64>().ok()?..=last.trim().parse().ok()?)
    });
    parts.flatten().collect()
}

/// `[mem FIRST-LAST]` at the start, and what follows it.
fn range(text: &str) -> Option<([&str; 2], &str)> {
    let (range, rest) = text.strip_prefix("[mem ")?.split_once(']')?;
    let (first, last) = range.split_once('-')?;
    Some(([first, last], rest))
}

fn srat_memory(line: &str) -> Option<Value> {
    let rest = line.strip_prefix("ACPI: SRAT: Node ")?;
    let (node, rest) = rest.split_once(" PXM ")?;
    let (domain, rest) = rest.split_once(' ')?;
    let ([start, last], rest) = range(rest)?;
    Some(json!({
        "node": node.parse::<u64>().ok()?, "pxm": domain.parse::<i64>().ok()?, "start": start, "last": last,
        "hotplug": rest.contains("hotplug"), "non_volatile": rest.contains("non-volatile"),
    }))
}

fn merge(line: &str) -> Option<Value> {
    let rest = line.strip_prefix("NUMA: Node ")?;
    let (node, rest) = rest.split_once(' ')?;
    let (a, rest) = range(rest)?;
    let (b, rest) = range(rest.strip_prefix(" + ")?)?;
    let (result, _) = range(rest.strip_prefix(" -> ")?)?;
    Some(json!({"node": node.parse::<u64>().ok()?, "a": a, "b": b, "result": result}))
}

fn early_range(line: &str) -> Option<Value> {
    let (node, rest) = line.strip_prefix("  node ")?.split_once(": ")?;
    let ([start, last], _) = range(rest)?;
    Some(json!({"node": node.trim().parse::<i64>().ok()?, "start": start, "last": last}))
}

fn initmem_span(line: &str) -> Option<Value> {
    let (node, rest) = line.strip_prefix("Initmem setup node ")?.split_once(' ')?;
    let ([start, last], _) = range(rest)?;
    Some(json!({"node": node.parse::<u64>().ok()?, "start": start, "last": last}))
}

fn e820(line: &str) -> Option<Value> {
    let maps = [("BIOS-e820: ", "bios"), ("user: ", "user"), ("modified: ", "modified")];
    let (map, rest) = maps.into_iter().find_map(|(start, map)| Some((map, line.strip_prefix(start)?)))?;
    let ([first, last], kind) = range(rest)?;
    Some(json!([map, first, last, kind.trim()]))
}

fn table_upgrade(line: &str) -> Option<Value> {
    let wanted = line.contains("Table Upgrade") || line.contains("ACPI OVERRIDE");
    wanted.then(|| json!(line.strip_prefix("ACPI: ").unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_go_and_indents_stay() {
        assert_eq!(
            lines("[    0.007283]   node   0: [mem 0x1-0x2]\n[ACPI] x"),
            ["  node   0: [mem 0x1-0x2]", "[ACPI] x"]
        );
    }

    #[test]
    fn the_last_announcement_for_a_node_counts() {
        let log = [
            "Demotion targets for Node 0: preferred: 2, fallback: 2",
            "Demotion targets for Node 2: null",
            "Demotion targets for Node 0: preferred: 3, fallback: 0,2-3",
        ];
        let expected = json!({"0": {"preferred": [3], "fallback": [0, 2, 3]}, "2": null});
        assert_eq!(demotion_targets(&log), (expected, 3));
    }

    #[test]
    fn ranges_of_the_srat_keep_domain_node_and_flags() {
        let line = "ACPI: SRAT: Node 1 PXM 300 [mem 0x40000000-0x7fffffff] hotplug non-volatile";
        let expected = json!({"node": 1, "pxm": 300, "start": "0x40000000", "last": "0x7fffffff", "hotplug": true,
            "non_volatile": true});
        assert_eq!(srat_memory(line), Some(expected));
    }

    #[test]
    fn both_wordings_of_the_memory_map_are_read() {
        let new = "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff]  System RAM";
        let old = "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable";
        let first = "0x0000000000000000";
        assert_eq!(e820(new), Some(json!(["bios", first, "0x000000000009fbff", "System RAM"])));
        assert_eq!(e820(old), Some(json!(["bios", first, "0x000000000009fbff", "usable"])));
        assert_eq!(e820("BIOS-e820: [gap 0x00000000000a0000-0x00000000000effff]"), None);
    }

    #[test]
    fn the_initrd_ends_behind_its_last_byte() {
        let log = ["x", "RAMDISK: [mem 0x3fc1a000-0x3ffdffff]"];
        assert_eq!(initrd(&log), Some((0x3fc1_a000, 0x3ffe_0000)));
    }

    #[test]
    fn ram_outside_the_srat_belongs_to_node_minus_one() {
        let line = "  node  -1: [mem 0x0000000000001000-0x000000000009efff]";
        assert_eq!(early_range(line).map(|range| range["node"].clone()), Some(json!(-1)));
    }
}
