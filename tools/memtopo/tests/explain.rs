//! Explanations and policies as scripts see them.

mod common;

use common::{memtopo, scratch};
use serde_json::{Value, json};
use std::process::Output;

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn last_error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn questions_stand_behind_the_inputs() {
    let folder = scratch("explain");
    let folder = folder.to_str().expect("a plain path");
    let toml = memtopo(&["example", "two-node"], b"").stdout;
    assert!(memtopo(&["build", "-", "-o", folder], &toml).status.success());
    let node = text(&memtopo(&["explain", folder, "node", "1"], b""));
    assert!(node.starts_with("node 1: proximity domain 1, "), "{node}");
    assert!(
        node.contains("  base unit ") && node.contains("mm/memory-tiers.c: mt_perf_to_adistance"),
        "{node}"
    );
    assert!(text(&memtopo(&["explain", "node", "0"], b"")).starts_with("node 0: "));
    assert!(text(&memtopo(&["explain", folder, "tier", "4"], b"")).starts_with("memory_tier4: "));
    assert!(text(&memtopo(&["explain", folder, "0x1000"], b"")).starts_with("address 0x00001000: "));

    for (args, expected) in [
        (&["explain", "node", "7"][..], "memtopo: no node 7: possible are 0-1"),
        (&["explain", "tier", "7"], "memtopo: no tier 7: the plan has "),
        (&["explain"], "memtopo: expected node N, tier N, region NAME or an address behind the inputs"),
        (
            &["explain", "here"],
            "memtopo: expected node N, tier N, region NAME or an address behind the inputs, found \"here\"",
        ),
    ] {
        let error = last_error(&memtopo(args, b""));
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_policy_is_printed_beside_the_plan() {
    let file = scratch("policy").join("policy.toml");
    let path = file.to_str().expect("a plain path");
    let plan = |policy: &str| {
        std::fs::write(&file, policy).expect("a file");
        memtopo(&["plan", "--policy", path, "--format", "json"], b"")
    };
    let read = |output: &Output| -> Value { serde_json::from_str(&text(output)).expect("JSON") };
    let moved = read(&plan("[[override]]\nnode = 1\ntier = 4\n"));
    assert_eq!(moved["policy"]["memory_tiers"], json!({"memory_tier4": [0, 1]}));
    assert_ne!(moved["memory_tiers"], moved["policy"]["memory_tiers"]);
    let last = moved["policy"]["changes"].as_array().and_then(|changes| changes.last()).expect("a change");
    assert_eq!(
        (&last["node"], &last["what"], &last["to"]),
        (&json!(1), &json!("tier"), &json!("memory_tier4"))
    );
    assert_eq!(last["because"][0]["rule"], "policy-tier");

    let quirks = memtopo(&["plan", "--quirks", "dram-spread,truncated-distance", "--format", "json"], b"");
    assert_eq!(read(&quirks)["policy"]["quirks_off"], json!(["dram-spread", "truncated-distance"]));
    let all = read(&memtopo(&["plan", "--quirks", "off", "--format", "json"], b""));
    assert_eq!(all["policy"]["quirks_off"].as_array().map(Vec::len), Some(15));

    for (policy, expected) in [
        ("[[override]]\nnode = 1\n", "override 1: expected tier, distance, "),
        ("[[override]]\nnode = 1\ndax = 0\ntier = 3\n", "override 1: expected one of node, domain, "),
        (
            "[[override]]\nmemory = \"ram\"\ntier = 3\n",
            "override 1: no memory type \"ram\"; there are: dram, ",
        ),
        ("[quirks]\noff = [\"all of them\"]\n", "quirks: no quirk \"all of them\"; there are: "),
        ("[[override]]\nnode = 1\ntier = \"far\"\n", "an override names the tier \"far\", which is no class"),
    ] {
        let error = last_error(&plan(policy));
        assert!(error.contains(expected), "{error}");
    }
}
