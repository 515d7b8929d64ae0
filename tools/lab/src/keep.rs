//! A captured boot in the form that the repository keeps: no more than a comparison needs.

use crate::case::Located;
use crate::workshop::Kernel;
use crate::{check, json, sysfs};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;

/// Tables that a kept case holds: those that decide, and the processors.
const KEPT: [&str; 5] = ["SRAT", "SLIT", "HMAT", "CEDT", "APIC"];

/// Copies what has to be kept of a booted case: input, facts, deciding tables, the firmware's memory map. The case
/// takes the name of the folder, and the description where one is given.
///
/// # Errors
/// The case is not complete, or the folder cannot be written.
pub fn keep(booted: &Path, folder: &Path, kernel: Kernel, description: Option<&str>) -> Result<()> {
    let mut located = Located::read(booted)?;
    let name = folder.file_name().and_then(|name| name.to_str()).context("a folder with a name")?;
    name.clone_into(&mut located.case.name);
    if let Some(description) = description {
        description.clone_into(&mut located.case.description);
    }
    let mut observed = check::observed(booted, kernel)?;
    observed["name"] = json!(name);
    ensure!(observed["outcome"] == "ok", "{}: the boot ended with {}", booted.display(), observed["outcome"]);
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(folder.join("tables"))?;
    for name in KEPT {
        let file = format!("tables/{name}.bin");
        if booted.join(&file).exists() {
            std::fs::copy(booted.join(&file), folder.join(&file))?;
        }
    }
    // The kernel shows its upgraded tables as they were given, so one copy is enough.
    for file in located.case.tables.iter_mut().flat_map(|tables| &mut tables.files) {
        let kept = file.replace("input/", "tables/");
        ensure!(
            std::fs::read(booted.join(&*file))? == std::fs::read(folder.join(&kept))?,
            "{}: the kernel shows another {kept}",
            booted.display()
        );
        *file = kept;
    }
    for key in ["firmware_memmap", "iomem_notable", "guest_tables", "early_node_ranges", "initmem_node_spans"]
    {
        if let Some(facts) = observed.as_object_mut() {
            facts.remove(key);
        }
    }
    let mut states = vec![&mut observed];
    while let Some(state) = states.pop() {
        slim(state);
        let steps = state.get_mut("steps").and_then(Value::as_array_mut);
        states.extend(steps.into_iter().flatten().filter_map(|step| step.get_mut("after")));
    }
    let dmesg = std::fs::read_to_string(booted.join("dmesg.txt"))?;
    let map: String = dmesg
        .lines()
        .filter(|line| line.starts_with("BIOS-e820: [mem") || line.starts_with("RAMDISK:"))
        .flat_map(|line| [line, "\n"])
        .collect();
    std::fs::write(folder.join("dmesg.txt"), map)?;
    std::fs::write(folder.join("case.json"), json::pretty(&serde_json::to_value(&located.case)?))?;
    std::fs::write(folder.join(kernel.observed_file()), json::pretty(&observed))?;
    // The files of a plan are those of the kernel under study.
    if kernel == Kernel::V7_2 {
        let sysfs = std::fs::read_to_string(booted.join("sysfs.txt"))?;
        let files: String =
            sysfs.lines().filter(|line| sysfs::is_topology(line)).flat_map(|line| [line, "\n"]).collect();
        std::fs::write(folder.join("sysfs.txt"), files)?;
    }
    if !located.case.events.is_empty() {
        std::fs::copy(booted.join("events.jsonl"), folder.join("events.jsonl"))?;
    }
    Ok(())
}

/// Takes out what is never compared and only grows the repository.
fn slim(state: &mut Value) {
    if let Some(facts) = state.as_object_mut() {
        facts.remove("iomem_notable");
    }
    let zones = state.get_mut("zones").and_then(Value::as_array_mut);
    for zone in zones.into_iter().flatten().filter_map(Value::as_object_mut) {
        zone.remove("managed");
        zone.remove("cma");
    }
}
