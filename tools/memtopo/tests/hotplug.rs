//! `memtopo hotplug plan`: the example of the README, exit codes, and what the options ask for.

mod common;

use common::{memtopo, scratch};
use serde_json::Value;
use std::path::Path;

const README: &str = include_str!("../../../README.md");

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// The machine of the README, and the screen that it shows.
fn example() -> (&'static str, &'static str) {
    let (_, section) = README.split_once("### Memory that comes and goes").expect("the section");
    let (_, toml) = section.split_once("```toml\n").expect("a machine");
    let (toml, rest) = toml.split_once("```").expect("its end");
    let (_, screen) = rest.split_once("```console\n").expect("a screen");
    (toml, screen.split("```").next().expect("its end"))
}

fn machine(name: &str) -> std::path::PathBuf {
    let folder = scratch(name);
    let output = memtopo(&["build", "-", "-o", path(&folder)], example().0.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

#[test]
fn the_readme_shows_what_is_printed() {
    let folder = machine("hotplug-readme");
    let goal = "add 256 GiB of CXL at 0x1490000000 as movable";
    let output = memtopo(&["hotplug", "plan", path(&folder), "--goal", goal], b"");
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).expect("text");
    let (commands, shown) = example().1.split_at(example().1.find("Linux").expect("the first line"));
    assert!(commands.contains(&format!("memtopo hotplug plan tables/ --goal \"{goal}\"")));
    assert_eq!(printed, shown);
    // The options ask for the same.
    let options = [
        "hotplug",
        "plan",
        path(&folder),
        "--add",
        "256GiB@0x1490000000",
        "--device",
        "cxl",
        "--zone",
        "movable",
    ];
    assert_eq!(String::from_utf8(memtopo(&options, b"").stdout).expect("text"), printed);
}

#[test]
fn a_goal_that_cannot_be_met_is_a_no() {
    let folder = machine("hotplug-unmet");
    let output = memtopo(&["hotplug", "plan", path(&folder), "--remove", "1", "--format", "json"], b"");
    assert_eq!(output.status.code(), Some(1));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["answers"][0]["unmet"]["errno"], "ENOENT");
    assert_eq!(plan["met"], false);
}

#[test]
fn what_is_not_understood_is_an_error_of_use() {
    for (arguments, message) in [
        (vec!["--goal", "add 3 bananas"], "found \"3\""),
        (vec!["--keep-ratio", "much"], "expected 3, 3:1 or 300%"),
        (vec!["--add", "many"], "expected a size"),
        (vec![], "no goal"),
    ] {
        let output = memtopo(&[&["hotplug", "plan"], arguments.as_slice()].concat(), b"");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn goals_follow_each_other_and_the_events() {
    let folder = machine("hotplug-sequence");
    let events = b"{\"event\":\"set\",\"name\":\"auto_online_blocks\",\"value\":\"online_movable\"}\n\
        {\"event\":\"add_memory\",\"start\":\"0x1500000000\",\"size\":\"0x80000000\",\"domain\":1}\n";
    let arguments = ["hotplug", "plan", path(&folder), "--events", "-", "--format", "json"];
    let output = memtopo(&arguments, events);
    assert_eq!(output.status.code(), Some(0));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["given"][1]["result"], "ok");
    assert_eq!(plan["after"]["devices"][0]["movable"], 2_u64 << 30);

    let more = [&arguments[..], &["--keep-ratio", "3", "--add", "2G@0x1580000000", "--remove", "1"]].concat();
    let output = memtopo(&more, events);
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let goals: Vec<&str> = plan["answers"]
        .as_array()
        .expect("answers")
        .iter()
        .map(|answer| answer["goal"].as_str().expect("a goal"))
        .collect();
    assert_eq!(
        goals,
        [
            "keep movable memory within 300 % of kernel memory",
            "add a DIMM of 2 GiB at 0x1580000000",
            "remove device 1"
        ]
    );
    assert_eq!(plan["after"]["devices"].as_array().map(Vec::len), Some(1));
}
