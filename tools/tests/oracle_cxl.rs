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
use memtopo::topology::cxl::{CxlTree, PortKind};
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
    let (mut compared, mut only_list, mut different) = (0, 0, Vec::new());
    let mut one_sided = BTreeMap::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let mut suffixes = vec![String::new()];
        suffixes.extend((0..32).map(|step| format!(".step{step}")));
        for suffix in suffixes {
            let Some(list) = list(&case.join(format!("cxl-list{suffix}.json"))) else { continue };
            let Some(sysfs) = sysfs(&case.join(format!("cxl-sysfs{suffix}.tsv"))) else {
                only_list += 1;
                continue;
            };
            let found = differences(list, &sysfs, &mut one_sided);
            different.extend(found.into_iter().map(|difference| format!("{name}{suffix}: {difference}")));
            compared += 1;
        }
    }
    println!("CXL inputs: {compared} pairs of cxl list and sysfs compared, {only_list} lists without sysfs");
    for (field, reason) in ONE_SIDED {
        println!("  exception: {field}: {reason}: {} times", one_sided.get(field).copied().unwrap_or(0));
    }
    for difference in &different {
        println!("  DIFFERENT: {difference}");
    }
    assert!(different.is_empty(), "{} differences", different.len());
}
