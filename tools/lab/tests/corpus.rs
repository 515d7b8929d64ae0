//! The captured boots of `corpus/boots`, replayed: the plan has to say what the kernel did.

use memtopo::bundle::memory_map::read_text;
use memtopo::linux::kernel::CpuVendor;
use memtopo::linux::{Inputs, Kernel, Version, plan};
use memtopo::range::AddressRange;
use memtopo::render::plan_json::plan_json;
use memtopo::tables::madt::Madt;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{ApicId, PhysAddr};
use memtopo_lab::case::Located;
use memtopo_lab::check;
use memtopo_lab::compare::{Answer, compare};
use memtopo_lab::log;
use memtopo_lab::workshop::Kernel as Booted;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The captured boots, by name.
fn boots() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/boots");
    let mut folders: Vec<_> = std::fs::read_dir(folder)
        .expect("the captured boots are part of the repository")
        .map(|item| item.expect("an entry").path())
        .collect();
    folders.sort();
    folders
}

/// What the library makes of a case's tables.
fn planned(folder: &Path, located: &Located, observed: &Value) -> Value {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("tables"))
        .expect("tables")
        .map(|item| std::fs::read(item.expect("an entry").path()).expect("a table"))
        .collect();
    files.sort();
    let topology = Topology::read(files.iter().map(|bytes| TableBytes::copy(bytes).expect("a table")));
    let text = std::fs::read_to_string(folder.join("dmesg.txt")).expect("a log");
    let reading = read_text(text.as_bytes());
    let memory_map = reading.firmware().expect("a memory map");
    let cmdline = observed["cmdline"].as_str().expect("a command line");
    let mut kernel = Kernel::new(Version::V7_2).with_command_line(cmdline);
    kernel.drivers = located.case.modules.clone();
    // The emulated processor: AMD's, of one socket with one last-level cache, under a hypervisor.
    let madt = files.iter().find(|bytes| bytes.starts_with(b"APIC")).expect("an APIC table");
    let processors = Madt::parse(madt).expect("an APIC table").entries().count();
    let platform = &mut kernel.platform;
    platform.hypervisor = true;
    platform.x2apic = Some(false);
    platform.boot_apic_id = Some(ApicId(0));
    platform.cpu_vendor = Some(CpuVendor::Amd);
    platform.cache_ids = (0..u32::try_from(processors).expect("few")).map(|id| (ApicId(id), 0)).collect();
    let (start, end) = log::initrd(&log::lines(&text)).expect("an initrd");
    platform.reserved.push(AddressRange::new(PhysAddr(start), PhysAddr(end)));
    let inputs = Inputs { topology: &topology, memory_map, memory_devices: &[], kernel: &kernel };
    let mut text = String::new();
    plan_json(&mut text, &plan(inputs)).expect("a string takes everything");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn plans_agree_with_captured_boots() {
    let boots = boots();
    assert!(boots.len() >= 12, "{} captured boots", boots.len());
    let mut failures = Vec::new();
    for folder in boots {
        let located = Located::read(&folder).expect("a case");
        let observed = check::observed(&folder, Booted::V7_2).expect("facts");
        let report = compare(&observed, &planned(&folder, &located, &observed), Answer::Plan);
        for (part, count) in &report.lacking {
            eprintln!("{}: the plan says nothing of {part}: {count} values NOT COMPARED", located.case.name);
        }
        assert!(report.total() > 20, "{}: only {} values were compared", located.case.name, report.total());
        assert_eq!(report.unknown, Vec::<String>::new(), "{}", located.case.name);
        failures.extend(
            report.differences.iter().map(|difference| format!("{}: {difference}", located.case.name)),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
