//! The regions that a machine can have: every order is legal by the rules and no other is, the best is the best, and
//! wishes go as they went on booted kernels.

mod common;

use common::{listing, memtopo, scratch, shared};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Two bridges, each with a switch of two devices behind its first root port and one device behind the second; the
/// devices are `mem0` to `mem5`, numbered bridge by bridge.
fn machine(window: &str, sizes: [&str; 6]) -> String {
    let mut toml =
        "distances = [[10]]\n[[domain]]\ncpus = \"0\"\nmemory = [\"0-640K\", \"1M-1G\"]\n[performance]\n\
        latency_ns = [[100, 120, 150]]\nbandwidth_mb_s = [[40960, 30000, 60000]]\n"
            .to_owned();
    for (bridge, uid) in [12, 13].into_iter().enumerate() {
        write!(
            toml,
            "[[bridge]]\nuid = {uid}\nbus = {}\nregisters = {}\nroot_ports = [0, 1]\ndomain = {}\n\
             [[switch]]\nname = \"s{uid}\"\nbelow = \"{uid}/0\"\nports = [0, 1]\nlink = \"32x16\"\n\
             [[switch.path]]\nfrom = \"upstream\"\nto = \"any\"\nlatency_ns = 30\nbandwidth_mb_s = 60000\n",
            0x20 + bridge * 0x20,
            0xfe00_0000_u64 + 0x1_0000 * bridge as u64,
            bridge + 1,
        )
        .expect("text");
        for (place, below) in
            [format!("s{uid}/0"), format!("s{uid}/1"), format!("{uid}/1")].iter().enumerate()
        {
            let index = bridge * 3 + place;
            write!(
                toml,
                "[[device]]\nname = \"d{index}\"\nbelow = \"{below}\"\nserial = {}\nlink = \"32x16\"\n\
                 [[device.memory]]\nsize = \"{}\"\nlatency_ns = {}\nbandwidth_mb_s = {}\n",
                index + 1,
                sizes[index],
                150 + 10 * index,
                16000,
            )
            .expect("text");
        }
    }
    toml + window
}

const ONE_WAY: &str =
    "[[window]]\nrange = \"64G+64G\"\ntargets = [12]\n[[window]]\nrange = \"256G+64G\"\ntargets = [13]\n";
const TWO_WAYS: &str = "[[window]]\nrange = \"64G+64G\"\ntargets = [12, 13]\ngranularity = \"1K\"\n";

struct Machine(String);

impl Machine {
    fn new(name: &str, toml: &str) -> Self {
        let file = scratch(&format!("cxl-plan-{name}")).join("machine.toml");
        std::fs::write(&file, toml).expect("a file");
        Self(file.to_str().expect("a plain path").to_owned())
    }

    /// The answer, and whether it is yes.
    fn ask(&self, rest: &[&str]) -> (Value, bool) {
        let mut args = vec!["cxl", "plan", &self.0, "--platform", "cxl_qtg=0:0", "--format", "json"];
        args.extend(rest);
        let output = memtopo(&args, b"");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{rest:?}: {}", String::from_utf8_lossy(&output.stderr));
        (serde_json::from_slice(&output.stdout).expect("JSON"), code == Some(0))
    }
}

fn names(value: &Value) -> Vec<String> {
    let names = value.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// Every choice of `count` of the names, in every order.
fn permutations(all: &[String], count: usize) -> Vec<Vec<String>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(all, count - 1);
    let longer = |list: &Vec<String>| {
        let free = all.iter().filter(|name| !list.contains(name)).cloned().collect::<Vec<_>>();
        free.into_iter().map(|name| [list.as_slice(), &[name]].concat()).collect::<Vec<_>>()
    };
    shorter.iter().flat_map(longer).collect()
}

/// RAM of the boot in a window takes room as a region does, and a region begins at a multiple of 256 MiB: of 64 GiB from
/// 64 GiB on, RAM in the first 128 MiB of the last 32 GiB leaves 32 GiB before it and 31.75 GiB behind.
#[test]
fn ram_in_a_window_takes_room() {
    let machine = Machine::new("ram", &machine(ONE_WAY, ["64G"; 6]));
    let map = scratch("cxl-plan-ram-map").join("map.txt");
    let lines = "BIOS-e820: [mem 0x0000000000100000-0x000000003fffffff]  System RAM\n\
        BIOS-e820: [mem 0x0000001800000000-0x0000001807ffffff]  System RAM\n";
    std::fs::write(&map, lines).expect("a file");
    let map = map.to_str().expect("a plain path");
    for (window, free) in
        [("decoder0.0", ", 32 GiB free in one piece"), ("decoder0.1", ", 64 GiB free in one piece")]
    {
        let output = memtopo(&["cxl", "plan", &machine.0, "--memory-map", map, "--window", window], b"");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(free), "{window}: {text}");
    }
}

/// The orders that are listed are exactly those that pass all rules when each is tried on its own, and as many as are
/// counted.
#[test]
fn every_legal_order_is_listed_and_no_other() {
    let five: Vec<String> = [0, 1, 2, 3, 5].iter().map(|index| format!("mem{index}")).collect();
    for (name, window, ways, granularity) in
        [("one", ONE_WAY, 2, "256"), ("two", TWO_WAYS, 2, "1024"), ("four", TWO_WAYS, 4, "1024")]
    {
        let machine = Machine::new(name, &machine(window, ["1G"; 6]));
        let devices = five.join(",");
        let (answer, _) = machine.ask(&["--devices", &devices, "--orders", "100000"]);
        let layouts = answer["layouts"].as_array().expect("layouts");
        let family = layouts.iter().find(|family| {
            family["ways"] == ways && family["granularity"].as_u64() == granularity.parse().ok()
        });
        let family = family.unwrap_or_else(|| panic!("{name}: {answer}"));
        let listed: BTreeSet<Vec<String>> =
            family["targets"].as_array().expect("targets").iter().map(names).collect();
        assert_eq!(family["orders"], listed.len(), "{name}");
        let mut legal = BTreeSet::new();
        for order in permutations(&five, ways) {
            let (_, yes) = machine.ask(&["--granularity", granularity, "--order", &order.join(",")]);
            if yes {
                legal.insert(order);
            }
        }
        assert_eq!(listed, legal, "{name}");
        println!("{name}: {} orders", legal.len());
    }
}

/// By hand: a device brings 16000 MB/s; in window 0 the bridge carries 30000, so two devices fill it. The nearest device
/// is the one that is behind no switch, although its own latency is higher: one link and the switch less.
#[test]
fn the_best_are_those_of_the_sheet_by_hand() {
    let machine =
        Machine::new("best", &machine(&format!("{ONE_WAY}{}", ""), ["1G", "2G", "1G", "1G", "1G", "1G"]));
    let (answer, _) = machine.ask(&[]);
    let bandwidth = &answer["best_bandwidth"];
    // Two behind the switch: links of 63014 MB/s, 32000 together, cut to 30000; 17000 ps for each link, taken for ns.
    assert_eq!((&bandwidth["ways"], &bandwidth["read_bandwidth"]), (&json!(2), &json!(30000)), "{bandwidth}");
    assert_eq!(bandwidth["read_latency"], 2 * 17000 + 30 + 120 + 160);
    assert_eq!(
        bandwidth["command"],
        "cxl create-region -m -d decoder0.0 -w 2 -g 256 -t ram -s 2147483648 mem0 mem1"
    );
    let latency = &answer["best_latency"];
    assert_eq!((&latency["ways"], names(&latency["targets"])), (&json!(1), vec!["mem2".to_owned()]));
    assert_eq!(
        (&latency["read_latency"], &latency["read_bandwidth"]),
        (&json!(17000 + 120 + 170), &json!(16000))
    );
    // Devices behind the other bridge are no candidates of this window.
    let excluded: Vec<&str> = answer["excluded"]
        .as_array()
        .expect("excluded")
        .iter()
        .filter_map(|device| device["memdev"].as_str())
        .collect();
    assert_eq!(excluded, ["mem3", "mem4", "mem5"]);
}

#[test]
fn an_illegal_wish_names_the_rule_and_what_is_nearest() {
    let machine = Machine::new("wish", &machine(TWO_WAYS, ["1G"; 6]));
    for (wish, rule, errno, nearest) in [
        // Position 1 is the other bridge's turn; the same two devices the other way round.
        (&["--order", "mem3,mem0"][..], "region-bridge-turn", "ENXIO", (2, 1024, vec!["mem0", "mem3"])),
        (
            &["--order", "mem0,mem3", "--granularity", "256"],
            "region-window-granularity",
            "EINVAL",
            (2, 1024, vec!["mem0", "mem3"]),
        ),
        (&["--ways", "3"], "region-window-ways", "EINVAL", (2, 1024, vec!["mem0", "mem3"])),
        (&["--ways", "5"], "region-ways-code", "EINVAL", (4, 1024, vec!["mem0", "mem3", "mem1", "mem4"])),
    ] {
        let (answer, yes) = machine.ask(wish);
        assert!(!yes && answer["legal"] == false, "{wish:?}: {answer}");
        assert_eq!((&answer["rule"], &answer["errno"]), (&json!(rule), &json!(errno)), "{wish:?}: {answer}");
        let found = &answer["nearest"];
        let (ways, granularity, targets) = nearest;
        assert_eq!(
            (&found["ways"], &found["granularity"]),
            (&json!(ways), &json!(granularity)),
            "{wish:?}: {answer}"
        );
        assert_eq!(names(&found["targets"]), targets, "{wish:?}");
        // What is nearest is legal.
        let order = targets.join(",");
        let (again, yes) = machine.ask(&["--granularity", &granularity.to_string(), "--order", &order]);
        assert!(yes, "{again}");
    }
    for (wish, rule, size) in
        [("700M", "region-size-unit", "0x20000000"), ("4G", "region-free-device-memory", "0x80000000")]
    {
        let (answer, _) = machine.ask(&["--order", "mem0,mem3", "--size", wish]);
        assert_eq!((&answer["rule"], &answer["nearest"]["size"]), (&json!(rule), &json!(size)), "{answer}");
    }
    for (rest, error) in [
        (&["--window", "decoder0.7"][..], "no window \"decoder0.7\": there are decoder0.0"),
        (&["--devices", "mem9"], "no device \"mem9\": there are mem0, mem1, mem2, mem3, mem4, mem5"),
        (&["--mode", "flash"], "--mode: expected ram or pmem, found \"flash\""),
        (&["--mode", "pmem"], "EINVAL"),
    ] {
        let mut args = vec!["cxl", "plan", &machine.0];
        args.extend(rest);
        let output = memtopo(&args, b"");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{rest:?}");
        assert!(
            text.contains(error) || (rest[1] == "pmem" && text.contains("is not for persistent memory")),
            "{text}"
        );
    }
}

/// The first wish of every captured boot, on the machine as it was captured before: legal here if and only if the kernel
/// made the region, and with the kernel's errno if not.
#[test]
fn wishes_go_as_on_booted_kernels() {
    let Some(cases) = shared("oracle/cases") else { return };
    let (mut made, mut refused) = (0, 0);
    for case in listing(&cases) {
        let file = std::fs::read(case.join("observed.json")).expect("a capture");
        let observed: Value = serde_json::from_slice(&file).expect("JSON");
        let Some(first) = observed["steps"].as_array().and_then(|steps| steps.first()) else { continue };
        let event = &first["event"];
        let hierarchy = ["cxl-list.json", "cxl-sysfs.tsv"].map(|file| case.join(file));
        let Some(hierarchy) = hierarchy.iter().find(|file| file.exists()) else { continue };
        if event["event"] != "create_region" {
            continue;
        }
        let plain = |path: &std::path::Path| path.to_str().expect("a plain path").to_owned();
        let (tables, hierarchy, log) =
            (plain(&case.join("tables")), plain(hierarchy), plain(&case.join("dmesg.txt")));
        let serials: Vec<String> = event["targets"]
            .as_array()
            .expect("targets")
            .iter()
            .map(|target| target["serial"].to_string())
            .collect();
        let (order, granularity) = (serials.join(","), event["granularity"].to_string());
        let (size, mode) = (event["size"].as_str().expect("a size"), event["mode"].as_str().expect("a mode"));
        let window = event["root"].as_str().expect("a window");
        let mut args = vec!["cxl", "plan", &tables, &hierarchy, "--memory-map", &log, "--window", window];
        args.extend(["--order", &order, "--granularity", &granularity, "--size", size, "--mode", mode]);
        let ways = event.get("ways").map(Value::to_string);
        if let Some(ways) = &ways {
            args.extend(["--ways", ways]);
        }
        args.extend(["--format", "json"]);
        let output = memtopo(&args, b"");
        let place = format!("{}: {event}", case.display());
        let result = first["result"].as_str().expect("a result");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(answer) if answer["legal"] == true => {
                // A guest of a hypervisor cannot commit whatever is legal.
                let flush = first["refused_at"] == "commit";
                assert!(
                    result == "ok" || flush,
                    "{place}: legal here, booted {result} at {}",
                    first["refused_at"]
                );
                made += 1;
            }
            Ok(answer) => {
                assert_eq!(answer["errno"], result, "{place}: {answer}");
                refused += 1;
            }
            // The window or a device is not there, or the window is for other memory.
            Err(_) => {
                assert!(result != "ok", "{place}: {error}");
                refused += 1;
            }
        }
    }
    println!("{made} made, {refused} refused");
    assert!(made > 5 && refused > 0, "{made} made, {refused} refused");
}
