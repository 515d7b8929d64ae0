//! Every real and captured table: dumped in every form, and rebuilt from JSON byte for byte.

mod common;

use common::{all_binaries, memtopo};
use std::collections::BTreeMap;

#[test]
fn every_binary_dumps_and_comes_back_from_json() {
    let files = all_binaries();
    let mut identical = 0;
    let mut seen: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
    let mut failures = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).expect("a readable file");
        if seen.insert(bytes.clone(), ()).is_some() {
            identical += 1;
            continue;
        }
        let path = file.to_str().expect("a plain path");
        for format in ["text", "hex", "dsl"] {
            let output = memtopo(&["dump", "--format", format, path], b"");
            if !output.status.success() {
                failures.push(format!("{path}: {format}: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
        let json = memtopo(&["dump", "--format", "json", path], b"");
        let built = memtopo(&["build"], &json.stdout);
        if built.status.success() && built.stdout == bytes {
            identical += 1;
        } else {
            let why = [json.stderr, built.stderr].concat();
            failures.push(format!("{path}: not identical: {}", String::from_utf8_lossy(&why)));
        }
    }
    eprintln!("round trip: {identical} of {} binaries identical ({} distinct)", files.len(), seen.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
