//! Addresses of CXL regions: what booted kernels had as targets, and the worked addresses of the interleave rules.

mod common;

use common::{listing, memtopo, shared};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// The CXL drivers of a captured boot, in the order in which they were loaded.
const DRIVERS: &str = "libnvdimm,cxl_mem,cxl_pmem,cxl_acpi,cxl_pci";

fn run(command: &str, case: &Path, list: &Path, rest: &[&str]) -> Output {
    let plain = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let (tables, list, log) = (plain(&case.join("tables")), plain(list), plain(&case.join("dmesg.txt")));
    let mut args = vec![command, "--memory-map", &log, "--drivers", DRIVERS, &tables, &list];
    args.extend(rest);
    memtopo(&args, b"")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().expect("text");
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).expect("a number"),
        None => text.parse().expect("a number"),
    }
}

/// Every committed region of every captured step: chunk N of the first stripes is the booted kernel's target N, at the
/// DPA that the booted kernel gave it, and the way back leads to the address again.
#[test]
fn chunks_are_the_targets_of_the_booted_kernel() {
    let Some(cases) = shared("oracle/cases") else { return };
    let mut regions = 0;
    for case in listing(&cases) {
        let file = std::fs::read(case.join("observed.json")).expect("a capture");
        let observed: Value = serde_json::from_slice(&file).expect("JSON");
        let steps = observed["steps"].as_array().cloned().unwrap_or_default();
        for (step, state) in steps.iter().enumerate() {
            let list = case.join(format!("cxl-list.step{step}.json"));
            let cxl = &state["after"]["cxl"];
            for region in cxl["regions"].as_array().into_iter().flatten() {
                if region["commit"] != "1" || !list.exists() {
                    continue;
                }
                let name = region["name"].as_str().expect("a name");
                let (start, granularity) =
                    (number(&region["resource"]), number(&region["interleave_granularity"]));
                let targets = region["targets"].as_array().expect("targets");
                let endpoints = cxl["endpoint_decoders"].as_array().expect("decoders");
                let count = targets.len() as u64;
                // Three stripes from the start, a few bytes into each chunk.
                let asked: Vec<u64> = (0..3 * count).map(|chunk| start + chunk * granularity + 7).collect();
                let texts: Vec<String> = asked.iter().map(|address| format!("{address:#x}")).collect();
                let mut args = vec!["--format", "json", "--region", name, "--hpa"];
                args.extend(texts.iter().map(String::as_str));
                let found = json(&run("translate", &case, &list, &args));
                let mut places = Vec::new();
                for ((chunk, asked), result) in
                    (0..).zip(&asked).zip(found["results"].as_array().expect("results"))
                {
                    let target = &targets[usize::try_from(chunk % count).expect("small")];
                    assert_eq!(&result["decoder"], target, "{} {name} {asked:#x}", case.display());
                    assert_eq!(number(&result["hpa"]), *asked);
                    let decoder =
                        endpoints.iter().find(|decoder| decoder["name"] == *target).expect("a decoder");
                    let dpa = number(&decoder["dpa_resource"]) + chunk / count * granularity + 7;
                    assert_eq!(number(&result["dpa"]), dpa, "{} {name} {asked:#x}", case.display());
                    assert!(result.get("linux").is_none(), "{result}");
                    places.push(format!("{}:{dpa:#x}", result["serial"]));
                }
                let mut args = vec!["--format", "json", "--region", name, "--dpa"];
                args.extend(places.iter().map(String::as_str));
                let back = json(&run("translate", &case, &list, &args));
                let back: Vec<u64> = back["results"]
                    .as_array()
                    .expect("results")
                    .iter()
                    .map(|result| number(&result["hpa"]))
                    .collect();
                assert_eq!(back, asked, "{} {name}", case.display());
                regions += 1;
            }
        }
    }
    assert!(regions > 20, "only {regions} regions");
    println!("{regions} regions");
}

#[test]
fn what_cannot_be_translated_is_named() {
    let Some(cases) = shared("oracle/cases") else { return };
    let case = cases.join("cxl-x4-switches");
    let list = case.join("cxl-list.step0.json");
    let refused = |rest: &[&str]| {
        let output = run("translate", &case, &list, rest);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), error)
    };
    let (_, error) = refused(&["--region", "region7", "--hpa", "0"]);
    assert_eq!(error, "memtopo: no region \"region7\": the plan has region0");
    let (_, error) = refused(&["--region", "region0", "--hpa", "here"]);
    assert!(error.starts_with("memtopo: region0: --hpa: \"here\": "), "{error}");
    let (_, error) = refused(&["--region", "region0", "--dpa", "mem9:0"]);
    assert!(error.starts_with("memtopo: region0: no device \"mem9\": the region has mem"), "{error}");
    // What has an answer gets it.
    let (found, error) = refused(&["--region", "region0", "--hpa", "0x110000000", "0x150000000"]);
    assert!(
        found.starts_with("0x110000000  mem2 (serial 0x1, 0000:23:00.0) DPA 0x0, position 0\n"),
        "{found}"
    );
    let outside = "0x150000000 is outside the region 0x110000000-0x14fffffff";
    assert!(found.ends_with(&format!("0x150000000  {outside}\n")), "{found}");
    assert_eq!(error, format!("memtopo: region0: {outside}"));
    let (_, error) = refused(&["--region", "region0", "--dpa", "1:0x10000000"]);
    assert!(error.contains("device address 0x10000000 is outside the 0x10000000 bytes from 0x0"), "{error}");
}

#[test]
fn an_address_is_explained_down_to_its_device() {
    let Some(cases) = shared("oracle/cases") else { return };
    let case = cases.join("cxl-x4-switches");
    let list = case.join("cxl-list.step0.json");
    let text = |rest: &[&str]| {
        let output = run("explain", &case, &list, rest);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let address = text(&["0x110000305"]);
    for line in [
        "root decoder: decoder0.0 (CEDT+0x64)",
        "target 1 = pci0000:40, decoder1.0 of pci0000:40 (1 x 512) target 0 = 0000:40:00.0, decoder3.0",
        "device: 0x110000305  mem1 (serial 0x4, 0000:44:00.0) DPA 0x5, position 3",
    ] {
        assert!(address.contains(line), "{line}: {address}");
    }
    let region = text(&["region", "region0"]);
    assert_eq!(region, text(&["region", "0"]));
    assert!(
        region.starts_with("region0: 1 GiB at 0x110000000-0x14fffffff, ram, 4 ways of 256 B, committed"),
        "{region}"
    );
    assert!(
        region.contains("position 2: mem3 (serial 0x2, 0000:24:00.0), DPA 0x0-0xfffffff, from 0x110000200")
    );
}
