//! Speed of CXL memory at the command line: descriptions, `--platform` facts, CDATs by the names of their files.

mod common;

use common::{memtopo, scratch, shared};
use serde_json::{Value, json};

/// A device behind a switch; the device's link is slower than the switch's.
const MACHINE: &str = r#"
link = "32x16"
qtg = [0]

[[domain]]
cpus = "0-1"
memory = ["0-640K", "1M-2G"]

[[bridge]]
uid = 12
registers = "0xfe00_0000"
root_ports = [0]
domain = 9

[[window]]
range = "16G+4G"
targets = [12]

[performance]
latency_ns = [[100, 120]]
bandwidth_mb_s = [[40960, 30720]]

[[switch]]
name = "left"
below = "12/0"
ports = [0]

[[switch.path]]
from = "upstream"
to = 0
latency_ns = 150
bandwidth_mb_s = 16384

[[device]]
name = "mem"
below = "left/0"
serial = 1
link = "16x8"

[[device.memory]]
size = "512M"
read_latency_ns = 150
write_latency_ns = 250
bandwidth_mb_s = 16000
"#;

const DRIVERS: [&str; 2] = ["--drivers", "cxl_acpi,cxl_mem,cxl_pci"];

fn plan(toml: &str, more: &[&str]) -> Value {
    let args = [&["plan", "-", "--format", "json"], &DRIVERS[..], more].concat();
    let output = memtopo(&args, toml.as_bytes());
    assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn device(plan: &Value) -> Value {
    plan["cxl"]["performance"]["devices"][0].clone()
}

fn figures(latency: [u32; 2], bandwidth: u32) -> Value {
    let [read, write] = latency;
    json!({
        "read_latency": read, "write_latency": write, "read_bandwidth": bandwidth, "write_bandwidth": bandwidth
    })
}

/// 34000 for 16 GT/s and 17000 for 32 GT/s, 150 for the switch, 120 for the bridge, 150 and 250 for the device; eight
/// lanes of 16 GT/s carry 15753 MB/s.
#[test]
fn a_description_holds_all_that_counts() {
    let described = plan(MACHINE, &[]);
    assert_eq!(device(&described)["ram"]["access1"], figures([51420, 51520], 15753));
    assert_eq!(described["cxl"]["memdevs"][0]["ram_qos_class"], json!(0));
    assert_eq!(described["unknown"], json!([]));

    // The same links and groups as facts of the platform; what the description says of a link comes first.
    let bare = MACHINE.replace("link = \"32x16\"\nqtg = [0]\n", "");
    let facts = ["--platform", "cxl_link=32x16", "--platform", "cxl_qtg=1:0"];
    assert_eq!(device(&plan(&bare, &facts)), device(&described));
    let slower = [&facts[..], &["--platform", "cxl_link=0000:0c:00.0=16x16"]].concat();
    assert_eq!(device(&plan(&bare, &slower))["ram"]["access1"], figures([68420, 68520], 15753));

    let untold = plan(&bare, &["--platform", "cxl_link=32x16"]);
    assert_eq!(untold["unknown"][0]["keys"], json!("cxl.performance"));
    let refused = plan(&bare, &["--platform", "cxl_link=32x16", "--platform", "cxl_qtg=none"]);
    assert!(device(&refused)["none"].as_str().is_some_and(|text| text.contains("names no group")));
    assert_eq!(refused["unknown"], json!([]));
    assert_eq!(
        device(&plan(MACHINE, &["--platform", "cxl_qtg=1:1"]))["erased"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn wrong_facts_are_named() {
    for (fact, expected) in [
        ("cxl_link=32", "expected GT/s x LANES, as in 32x16 or 32x16:256, found \"32\""),
        ("cxl_link=32x16:64", "found \"32x16:64\""),
        ("cxl_qtg=0", "expected LARGEST:GROUP,GROUP... or none"),
        ("emulator=bochs", "expected qemu or none, found \"bochs\""),
    ] {
        let output = memtopo(&["plan", "-", "--platform", fact], MACHINE.as_bytes());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text.contains(expected)), (Some(2), true), "{fact}: {text}");
    }
    let output = memtopo(&["plan", "-"], MACHINE.replace("16x8", "16 lanes").as_bytes());
    assert!(String::from_utf8_lossy(&output.stderr).contains("write 32x16 for 16 lanes of 32 GT/s"));
}

/// A captured machine whose CDATs are told apart by the names of their files; without that they count for nobody.
#[test]
fn cdats_are_told_apart_by_their_files() {
    let Some(case) = shared("oracle/cases/cxl-gp-coordinates-x2") else { return };
    let folder = scratch("cdats");
    let text = |path: &std::path::Path| path.display().to_string();
    let (list, map) = (text(&case.join("cxl-list.json")), text(&case.join("dmesg.txt")));
    let of = |tables: &str| {
        let args =
            [&["plan", tables, &list, "--memory-map", &map, "--format", "json"], &DRIVERS[..]].concat();
        let output = memtopo(&args, b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (plan, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (plan, _) = of(&text(&case.join("tables")));
    // 17000 for the link, 180 and 220 for the bridges, 150 for the devices.
    for (number, latency) in [(0, 17330), (1, 17370)] {
        let device = &plan["cxl"]["performance"]["devices"][number];
        assert_eq!(device["ram"]["access1"]["read_latency"], json!(latency));
    }
    for entry in std::fs::read_dir(case.join("tables")).expect("a folder") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().replace("CDAT_serial_", "CDAT_");
        std::fs::copy(&path, folder.join(name)).expect("a copy");
    }
    let (plan, notes) = of(&text(&folder));
    assert_eq!(plan["cxl"]["performance"]["devices"][0]["unknown"], json!("the CDAT of the device serial 1"));
    assert!(notes.contains("its name does not tell which device has this CDAT"), "{notes}");
}
