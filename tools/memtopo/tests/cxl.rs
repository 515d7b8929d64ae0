//! CXL inputs as people have them: `cxl list`, a listing of the bus, a copied `/sys`. All lead to one plan.

mod common;

use common::{memtopo, scratch, shared};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What the plan says of CXL for this input.
fn planned(case: &Path, input: &Path) -> Value {
    let (tables, log) = (case.join("tables"), case.join("dmesg.txt"));
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let (tables, log, input) = (text(&tables), text(&log), text(input));
    let drivers = "libnvdimm,cxl_mem,cxl_pmem,cxl_acpi,cxl_pci";
    let args = ["plan", &tables, &input, "--memory-map", &log, "--drivers", drivers, "--format", "json"];
    let output = memtopo(&args, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["cxl"].clone()
}

/// Builds the folders, files and links that a listing of the bus describes.
fn sys_tree(listing: &str, name: &str) -> PathBuf {
    let folder = scratch(name);
    let inside = |path: &str| folder.join(path.trim_start_matches('/'));
    let parent = |path: &Path| fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    for line in listing.lines() {
        if let Some((path, target)) = line.split_once(" -> ") {
            parent(&inside(path));
            // In the bus folder the listing names places by their full path.
            let target = if target.starts_with('/') {
                fs::create_dir_all(inside(target)).expect("a folder");
                inside(target)
            } else {
                PathBuf::from(target)
            };
            symlink(target, inside(path)).expect("a link");
        } else if let Some((path, value)) = line.split_once('\t') {
            parent(&inside(path));
            fs::write(inside(path), format!("{value}\n")).expect("a file");
        }
    }
    folder
}

#[test]
fn every_form_of_the_hierarchy_gives_the_same_plan() {
    let Some(cases) = shared("oracle/cases") else { return };
    for (name, step) in [("cxl-x4-switches", 0), ("cxl-x4-bridges", 0), ("evc-two-windows", 3)] {
        let case = cases.join(name);
        let listing = case.join(format!("cxl-sysfs.step{step}.tsv"));
        let Ok(text) = fs::read_to_string(&listing) else {
            println!("{name}: no listing after step {step}");
            continue;
        };
        let by_list = planned(&case, &case.join(format!("cxl-list.step{step}.json")));
        assert!(
            by_list["root_decoders"][0]["name"] == "decoder0.0" && by_list["regions"].is_array(),
            "{by_list}"
        );
        assert_eq!(planned(&case, &listing), by_list, "{name}: listing");
        assert_eq!(planned(&case, &sys_tree(&text, name)), by_list, "{name}: tree");
    }
}

#[test]
fn without_a_hierarchy_the_windows_are_planned_when_their_driver_is_there() {
    let Some(cases) = shared("oracle/cases") else { return };
    let case = cases.join("cxl-x4-switches");
    let planned = planned(&case, &case.join("tables/CEDT.bin"));
    let root = &planned["root_decoders"][0];
    assert_eq!((&root["start"], &root["target_list"]), (&"0x110000000".into(), &"32,64".into()));
    assert!(planned.get("memdevs").is_none());
}
