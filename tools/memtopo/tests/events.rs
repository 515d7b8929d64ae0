//! `memtopo plan --events`: exit codes, the steps in JSON and as text, tables that an event names.

mod common;

use common::{memtopo, scratch, shared};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn a_captured_sequence_is_planned_and_strict_tells_refusals() {
    let Some(case) = shared("oracle/cases/evd-auto-movable-50") else { return };
    let (tables, log, events) = (case.join("tables"), case.join("dmesg.txt"), case.join("events.jsonl"));
    let line = "memory_hotplug.online_policy=auto-movable memory_hotplug.auto_movable_ratio=50";
    let mut args = vec!["plan", path(&tables), "--memory-map", path(&log), "--cmdline", line];
    args.extend(["--platform", "hypervisor=yes", "--events", path(&events), "--format", "json"]);
    let output = memtopo(&args, b"");
    assert_eq!(output.status.code(), Some(0));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let results: Vec<&str> = plan["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["result"].as_str().expect("a result"))
        .collect();
    assert_eq!(results, ["ok", "ok", "ok", "ok", "EBUSY", "EEXIST"]);
    assert_eq!(plan["steps"][5]["refused_at"], "emulator");
    args.push("--strict");
    assert_eq!(memtopo(&args, b"").status.code(), Some(1));

    let text = args.iter().map(|arg| if *arg == "json" { "text" } else { arg }).collect::<Vec<_>>();
    let output = memtopo(&text, b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("step 4: remove_memory 0x100000000-0x11fffffff: EBUSY at del\n"), "{text}");
}

#[test]
fn events_come_from_standard_input_and_name_tables_beside_them() {
    let folder = scratch("events-table");
    let toml = memtopo(&["example", "two-node"], b"").stdout;
    assert!(memtopo(&["build", "-", "-o", path(&folder)], &toml).status.success());
    let run = |events: &[u8], extra: &[&str]| {
        let mut args = vec!["plan", path(&folder), "--format", "json", "--events", "-"];
        args.extend(extra);
        memtopo(&args, events)
    };
    let bad = run(b"{\"event\":\"load\",\"driver\":\"kmem\"}\n{\"event\":\"explode\"}\n", &[]);
    let message = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert_eq!(bad.status.code(), Some(2), "{message}");
    assert!(message.contains("line 2: unknown event \"explode\""), "{message}");

    let hmat = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let hmat = hmat.into_iter().find(|file| file.to_string_lossy().to_lowercase().contains("hmat"));
    let hmat = hmat.expect("the example has an HMAT");
    let line = format!("{{\"event\":\"update_table\",\"file\":{:?}}}", path(&hmat));
    let output = run(line.as_bytes(), &["--strict"]);
    assert_eq!(output.status.code(), Some(0));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let step = &plan["steps"][0];
    assert_eq!(step["after"]["memory_tiers"], plan["memory_tiers"]);
    assert_eq!(step["reevaluated"]["memory_tiers"], plan["memory_tiers"]);
    assert!(step["reason"].as_str().expect("a reason").contains("_HMA"));
}
