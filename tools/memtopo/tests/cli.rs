//! The program as scripts see it: exit codes, streams, inputs in every form, the first real plan.

mod common;

use common::{memtopo, scratch, shared};
use memtopo::bundle::{acpidump, archive};
use memtopo::units::{PhysAddr, Signature};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The tables of a bundled machine in a folder of their own.
fn built(example: &str, folder: &str) -> PathBuf {
    let folder = scratch(folder);
    let toml = memtopo(&["example", example], b"").stdout;
    let output = memtopo(&["build", "-", "-o", path(&folder)], &toml);
    assert!(output.status.success(), "{}", stderr(&output));
    folder
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// Signature and size of each table in a dump.
fn tables(dump: &Value) -> Vec<(String, u64)> {
    let tables = dump["tables"].as_array().expect("a list of tables");
    let length = |table: &Value| table["header"]["length"].as_u64().expect("a length");
    tables
        .iter()
        .map(|table| (table["signature"].as_str().expect("text").to_owned(), length(table)))
        .collect()
}

#[test]
fn errors_are_one_line_and_exit_with_2() {
    for (args, input, expected) in [
        (&["dump", "no/such/file"][..], &b""[..], "memtopo: no/such/file: "),
        (&["dump", "-"], b"SRAT", "memtopo: standard input: "),
        (&["dump", "-"], b"what is this", "memtopo: standard input: "),
        (&["dump"], b"", "memtopo: no input"),
        (&["build", "-"], b"{\"schema\": 1}", "memtopo: standard input: schema: "),
        (
            &["build", "-"],
            b"[[domain]]\nmemoy = []\n",
            "memtopo: standard input: line 2: unknown field `memoy`",
        ),
        (&["plan", "--kernel", "5.0"], b"", "memtopo: --kernel: expected 7.2, 6.12 or 6.1"),
    ] {
        let output = memtopo(args, input);
        let message = stderr(&output);
        let last = message.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(last.starts_with(expected), "{args:?}: {message}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(memtopo(&["no-such-command"], b"").status.code(), Some(2));
}

#[test]
fn a_table_that_is_cut_off_is_still_dumped() {
    let folder = built("two-node", "cut");
    let srat = fs::read(folder.join("SRAT.bin")).expect("an SRAT");
    let output = memtopo(&["dump", "-"], &srat[..100]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success());
    assert!(text.contains("table length beyond the bytes available"), "{text}");
    assert!(text.contains("bytes that cannot be walked"), "{text}");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = built("two-socket-cxl", "pipe");
    let mut child = Command::new(env!("CARGO_BIN_EXE_memtopo"))
        .args(["dump", "--format", "hex", path(&folder), path(&folder), path(&folder)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let folder = built("two-node", "colour");
    let plain = memtopo(&["dump", path(&folder)], b"").stdout;
    assert!(!plain.contains(&0x1b));
    let coloured = memtopo(&["dump", "--color", "always", path(&folder)], b"").stdout;
    assert!(coloured.contains(&0x1b));
}

#[test]
fn the_same_tables_are_read_from_every_container() {
    let folder = built("two-node", "containers");
    let names = ["APIC", "HMAT", "SLIT", "SRAT"];
    let files: Vec<Vec<u8>> =
        names.iter().map(|name| fs::read(folder.join(format!("{name}.bin"))).expect("a table")).collect();
    let expected: Vec<_> = names
        .iter()
        .zip(&files)
        .map(|(name, bytes)| ((*name).to_owned(), u64::try_from(bytes.len()).unwrap()))
        .collect();
    let read = |input: &[u8]| tables(&json_of(&memtopo(&["dump", "--format", "json", "-"], input)));

    assert_eq!(
        tables(&json_of(&memtopo(&["dump", "--format", "json", path(&folder)], b""))),
        expected,
        "a folder"
    );
    assert_eq!(read(&files.concat()), expected, "one table after another");

    let mut text = String::new();
    for (name, bytes) in names.iter().zip(&files) {
        let signature = Signature(name.as_bytes().try_into().unwrap());
        acpidump::write(&mut text, signature, Some(PhysAddr(0x7ffe_0000)), bytes).unwrap();
    }
    assert_eq!(read(text.as_bytes()), expected, "acpidump text");

    let members: Vec<_> = names.iter().map(|name| format!("{name}.aml")).collect();
    let members = members.iter().map(String::as_str).zip(files.iter().map(Vec::as_slice));
    let mut initrd = archive::write(members).unwrap();
    initrd.extend([0x28, 0xb5, 0x2f, 0xfd]); // a compressed initramfs follows
    assert_eq!(read(&initrd), expected, "an initrd");

    let tree = scratch("sys");
    let acpi = tree.join("sys/firmware/acpi/tables");
    fs::create_dir_all(&acpi).unwrap();
    for (name, bytes) in names.iter().zip(&files) {
        fs::write(acpi.join(name), bytes).unwrap();
    }
    assert_eq!(
        tables(&json_of(&memtopo(&["dump", "--format", "json", path(&tree)], b""))),
        expected,
        "a /sys tree"
    );
}

#[test]
fn several_tables_in_one_file_come_back_as_that_file() {
    let folder = built("two-node", "several");
    let mut bytes = fs::read(folder.join("SLIT.bin")).unwrap();
    bytes.extend([0; 4]);
    bytes.extend(fs::read(folder.join("SRAT.bin")).unwrap());
    let json = memtopo(&["dump", "--format", "json", "-"], &bytes);
    assert_eq!(memtopo(&["build"], &json.stdout).stdout, bytes);
}

#[test]
fn without_an_input_a_bundled_machine_is_planned_and_that_is_said() {
    let output = memtopo(&["plan", "--format", "json"], b"");
    assert!(output.status.success());
    assert!(stderr(&output).contains("no input: planning the bundled machine"), "{}", stderr(&output));
    let plan = json_of(&output);
    assert_eq!(plan["schema"], "memtopo.plan/1");
    // By hand: 576*(250+250)=288000; /(100+100)=1440; *128000=184320000; /64000=2880; 2880>>7=22.
    assert_eq!(plan["memory_tiers"], json!({"memory_tier4": [0], "memory_tier22": [1]}));
    assert_eq!(plan["demotion_targets"]["0"]["preferred"], json!([1]));
    assert_eq!(plan["demotion_targets"]["1"], Value::Null);
    // 32*64000/96000=21, 32*32000/96000=10.
    assert_eq!(plan["weighted_interleave"]["node0"], 21);
    assert_eq!(plan["weighted_interleave"]["node1"], 10);
}

#[test]
fn the_two_node_machine_of_the_tiering_discussions() {
    let Some(case) = shared("oracle/cases/mission-2node") else { return };
    let (folder, log) = (case.join("tables"), case.join("dmesg.txt"));
    let plan =
        json_of(&memtopo(&["plan", "--format", "json", path(&folder), "--memory-map", path(&log)], b""));
    let observed: Value = serde_json::from_slice(&fs::read(case.join("observed.json")).unwrap()).unwrap();
    assert_eq!(plan["memory_tiers"], json!({"memory_tier4": [0], "memory_tier18": [1]}));
    for key in ["nodes", "memory_tiers", "demotion_targets"] {
        assert_eq!(plan[key], observed[key], "{key}");
    }
}

#[test]
fn a_boot_can_be_had_as_a_script() {
    let folder = built("two-node", "vm");
    let output = memtopo(&["vm", path(&folder), "--cmdline", "numa=nohmat"], b"");
    let script = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        script.starts_with("#!/bin/sh\n") && script.contains("SRAT") && script.contains("numa=nohmat"),
        "{script}"
    );
    let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).spawn().expect("a shell");
    std::io::Write::write_all(&mut shell.stdin.take().expect("a pipe"), script.as_bytes()).expect("a reader");
    assert!(shell.wait().expect("the shell ends").success(), "the shell can read it");
}
