//! What iasl makes of our source: the same bytes, but for what the source itself names as lost.
//!
//! Needs an iasl of 2025 or later; `MEMTOPO_IASL` names it, otherwise the one on the path is tried. Debian's
//! 20200925 compiles every CEDT to a bare header and does not know CDAT.

mod common;

use common::{all_binaries, memtopo, scratch};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The oldest iasl whose labels are those we write.
const OLDEST: u32 = 20_250_404;

fn iasl() -> Option<String> {
    let program = std::env::var("MEMTOPO_IASL").unwrap_or_else(|_| "iasl".to_owned());
    let Ok(output) = Command::new(&program).arg("-v").output() else {
        eprintln!("SKIPPED: no {program}; set MEMTOPO_IASL to an iasl of {OLDEST} or later");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version =
        text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()).find(|n| *n > 20_000_000);
    if version.is_some_and(|version| version >= OLDEST) {
        eprintln!("iasl {}", version.unwrap_or_default());
        return Some(program);
    }
    eprintln!("SKIPPED: {program} is {version:?}, older than {OLDEST}; set MEMTOPO_IASL to a newer one");
    None
}

/// Compiles `source`; `None` when iasl makes no table of it or does not end in 20 seconds.
fn compile(iasl: &str, folder: &Path, source: &[u8]) -> Option<(Vec<u8>, String)> {
    let (dsl, aml) = (folder.join("table.dsl"), folder.join("table.aml"));
    let _ = std::fs::remove_file(&aml);
    std::fs::write(&dsl, source).expect("a scratch file");
    let log = std::fs::File::create(folder.join("log")).expect("a scratch file");
    let errors = log.try_clone().expect("a second handle");
    let mut child = Command::new(iasl)
        .arg(&dsl)
        .stdout(log)
        .stderr(errors)
        .stdin(Stdio::null())
        .spawn()
        .expect("iasl starts");
    let start = Instant::now();
    loop {
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        if start.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    Some((std::fs::read(aml).ok()?, log))
}

/// The table without what iasl always writes itself: checksum, creator id, creator revision.
fn comparable(signature: &str, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if signature != "CDAT" {
        for place in [9..10, 28..36] {
            if let Some(field) = bytes.get_mut(place) {
                field.fill(0);
            }
        }
    }
    bytes
}

#[test]
fn iasl_compiles_our_source_to_the_same_bytes() {
    let Some(iasl) = iasl() else { return };
    let folder = scratch("iasl");
    let mut seen = BTreeSet::new();
    let mut counts: BTreeMap<(String, &str), u32> = BTreeMap::new();
    let mut failures = Vec::new();
    for file in all_binaries() {
        let bytes = std::fs::read(&file).expect("a readable file");
        let name = file.file_name().expect("a name").to_string_lossy().to_uppercase();
        let signature =
            if name.contains("CDAT") { "CDAT".into() } else { String::from_utf8_lossy(&bytes[..4]) };
        let known = ["SRAT", "SLIT", "HMAT", "CEDT", "CDAT", "APIC", "MSCT"].contains(&&*signature);
        if !known || !seen.insert(bytes.clone()) {
            continue;
        }
        let output = memtopo(&["dump", "--format", "dsl", file.to_str().expect("a plain path")], b"");
        let lost = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = file.display();
        // What the source names as lost is iasl's shortcoming; here it is only listed.
        if !lost.is_empty() {
            eprintln!("  {place}: {}", lost.lines().next().unwrap_or_default());
            *counts.entry((signature.into_owned(), "named as beyond iasl")).or_default() += 1;
            continue;
        }
        let verdict = match compile(&iasl, &folder, &output.stdout) {
            None => "refused",
            Some((table, log)) if comparable(&signature, &table) == comparable(&signature, &bytes) => {
                if log.contains(" 0 Warnings") || !log.contains("arning") { "identical" } else { "warned" }
            }
            Some(_) => "different",
        };
        if verdict != "identical" {
            failures.push(format!("{place}: {verdict}"));
        }
        *counts.entry((signature.into_owned(), verdict)).or_default() += 1;
    }
    for ((signature, verdict), count) in counts {
        eprintln!("iasl: {signature}: {count} {verdict}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn iasl_reads_what_our_writers_make_without_a_warning() {
    let Some(iasl) = iasl() else { return };
    let folder = scratch("iasl-disassemble");
    let mut count = 0;
    for example in ["two-node", "two-socket-cxl", "accelerator"] {
        let toml = memtopo(&["example", example], b"").stdout;
        let tables = folder.join(example);
        let output = memtopo(&["build", "-", "-o", tables.to_str().expect("a plain path")], &toml);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for table in common::listing(&tables) {
            let is_cdat = table.file_name().expect("a name").to_string_lossy().starts_with("CDAT");
            let mut command = Command::new(&iasl);
            command.args(if is_cdat { &["-ds", "CDAT"][..] } else { &[] }).arg("-d").arg(&table);
            let output = command.output().expect("iasl starts");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let text = std::fs::read_to_string(table.with_extension("dsl")).expect("a disassembly");
            let place = table.display();
            assert!(!said.contains("arning") && !said.contains("rror"), "{place}: {said}");
            assert!(!text.contains("****") && !text.contains("Incorrect checksum"), "{place}: {text}");
            count += 1;
        }
    }
    eprintln!("iasl: {count} tables of our writers disassembled without a warning");
}
