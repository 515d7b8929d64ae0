//! A whole boot: start, drivers, capture, events, captures; and what of it becomes the files of a case.

use crate::case::{Case, Located, Via};
use crate::cxl_bus::{self, Bus};
use crate::events::{self, Before};
use crate::guest::{Dead, Guest, Start};
use crate::sysfs::{self, Tree};
use crate::workshop::{Kernel, Workshop};
use crate::{firmware, json, log};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What a boot led to.
#[derive(Debug)]
pub struct Boot {
    /// The parsed facts.
    pub observed: Value,
    /// Log lines about memory.
    pub dmesg: String,
    /// Tables as the kernel exposes them.
    pub tables: Vec<(String, Vec<u8>)>,
    /// `/proc/iomem`.
    pub iomem: String,
    /// Listings of the CXL bus, with the file names of a case.
    pub buses: Vec<(String, String)>,
    /// The files that the parsed facts come from, as `PATH:LINE`.
    pub sysfs: String,
    /// The console of a guest that did not finish.
    pub console: Option<String>,
}

/// The texts of one capture.
pub(crate) struct Texts {
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Texts {
    pub(crate) fn text(&self, name: &str) -> String {
        let file = self.files.iter().find(|(known, _)| known == name);
        file.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::new(&self.text("sys.txt"), &self.text("places.txt"))
    }

    /// The CXL bus as a listing, with the speed and width of PCIe links; empty without one.
    pub(crate) fn bus(&self) -> String {
        let bus = cxl_bus::listing(&self.text("cxl-links.txt"), &self.text("cxl.txt"));
        if bus.is_empty() { bus } else { bus + &self.text("pci-links.txt") }
    }

    /// The facts that a capture at any time has.
    pub(crate) fn state(&self) -> Map<String, Value> {
        let mut facts = self.tree().facts();
        if let Some(cxl) = Bus::read(&self.bus()).facts() {
            facts.insert("cxl".to_owned(), cxl);
        }
        facts.insert("zones".to_owned(), json!(sysfs::zones(&self.text("zoneinfo.txt"))));
        facts.insert("iomem_notable".to_owned(), json!(sysfs::iomem_notable(&self.text("iomem.txt"))));
        facts
    }
}

/// Boots a case.
///
/// # Errors
/// Something of the host is missing or fails; a guest that dies is a result.
pub fn run(workshop: &Workshop, kernel: Kernel, located: &Located) -> Result<Boot> {
    // On a busy host an emulated guest now and then falls silent for good; a second one does not.
    attempt(workshop, kernel, located).or_else(|_| attempt(workshop, kernel, located))
}

fn attempt(workshop: &Workshop, kernel: Kernel, located: &Located) -> Result<Boot> {
    let guest = match Guest::start(workshop, kernel, located, false)? {
        Start::Up(guest) => guest,
        // Once more, with the log on the console.
        Start::Dead(_) => match Guest::start(workshop, kernel, located, true)? {
            Start::Dead(dead) => {
                let mut boot = died(located, &dead);
                boot.borrow_hardware(workshop, kernel, located)?;
                return Ok(boot);
            }
            Start::Up(guest) => guest,
        },
    };
    finish(*guest, located)
}

fn died(located: &Located, dead: &Dead) -> Boot {
    let lines = log::lines(&dead.console);
    let mut observed = log::facts(&lines);
    observed.insert("name".to_owned(), json!(located.case.name));
    observed.insert("outcome".to_owned(), json!(dead.outcome));
    observed.insert("last_words".to_owned(), json!(log::last_words(&lines)));
    Boot {
        observed: Value::Object(observed),
        dmesg: log::about_memory(&lines),
        tables: Vec::new(),
        iomem: String::new(),
        buses: Vec::new(),
        sysfs: String::new(),
        console: Some(dead.console.clone()),
    }
}

fn finish(mut guest: Guest, located: &Located) -> Result<Boot> {
    let case = &located.case;
    let mut messages = Vec::new();
    let devices = if guest.has_monitor() { events::memory_devices(&mut guest)? } else { Vec::new() };
    firmware::program(&mut guest, &case.firmware)?;
    for driver in &case.modules {
        let answer = events::load(&mut guest, driver)?;
        if answer != "ok" {
            messages.push(format!("{driver}: {answer}"));
        }
    }
    if case.settle > 0 {
        guest.order(&format!("sleep {}", case.settle))?;
    }
    if case.modules.iter().any(|driver| driver.starts_with("cxl")) {
        // Devices are found side by side, and regions only once all of theirs are.
        guest.order("quiet")?;
    }
    let texts = Texts { files: guest.capture("first")? };
    let dmesg = texts.text("dmesg.txt");
    let lines = log::lines(&dmesg);
    let tree = texts.tree();
    let mut observed = texts.state();
    observed.extend(log::facts(&lines));
    let mut memory = observed["memory"].clone();
    let mut put = |key: &str, value: Value| observed.insert(key.to_owned(), value);
    put("name", json!(case.name));
    put("outcome", json!("ok"));
    put("kernel", json!(tree.value("/proc/sys/kernel/osrelease")));
    put("cmdline", json!(tree.value("/proc/cmdline")));
    put("firmware_memmap", tree.firmware_memmap());
    let tables = texts.text("tables.txt");
    let known =
        tables.lines().filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()));
    put("guest_tables", json!(known.collect::<Vec<_>>()));
    if !devices.is_empty() {
        put("memory_devices", json!(devices));
    }
    if !case.modules.is_empty() {
        put("insmod_messages", json!(messages));
    }
    let booted = lines.len();
    let (mut log_lines, mut bus) = (booted, texts.bus());
    let mut buses = vec![("cxl-sysfs.tsv".to_owned(), bus.clone())];
    if !case.firmware.is_empty() {
        buses.push(("cxl-programmed.tsv".to_owned(), cxl_bus::as_programmed(&bus)));
    }
    let mut steps = Vec::new();
    let mut all = lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    for (index, event) in case.events.iter().enumerate() {
        let before = Before { booted, log_lines, bus: &bus, memory: &memory };
        let step = events::run(&mut guest, event, index, &before)
            .with_context(|| format!("event {index}: {event}"))?;
        log_lines = step.log_lines;
        memory = step.value["after"]["memory"].clone();
        bus.clone_from(&step.bus);
        buses.push((format!("cxl-sysfs.step{index}.tsv"), step.bus));
        all.extend(step.log);
        steps.push(step.value);
    }
    if !steps.is_empty() {
        put("steps", Value::Array(steps));
    }
    guest.leave()?;
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let tables = texts
        .files
        .iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix("tables/")?.to_owned(), bytes.clone())));
    Ok(Boot {
        observed: Value::Object(observed),
        dmesg: log::about_memory(&all),
        tables: tables.collect(),
        iomem: texts.text("iomem.txt"),
        buses: buses.into_iter().filter(|(_, bus)| !bus.is_empty()).collect(),
        sysfs: texts.text("sys.txt"),
        console: None,
    })
}

impl Boot {
    /// A kernel that died showed neither its tables nor the firmware's memory map. The same machine without the
    /// case's tables has the same hardware, so it is booted for them.
    fn borrow_hardware(&mut self, workshop: &Workshop, kernel: Kernel, located: &Located) -> Result<()> {
        if located.case.tables.as_ref().is_none_or(|tables| tables.via != Via::Initrd) {
            return Ok(());
        }
        let case =
            Case { name: located.case.name.clone(), qemu: located.case.qemu.clone(), ..Case::default() };
        let bare = Located { case, folder: located.folder.clone() };
        let Start::Up(guest) = Guest::start(workshop, kernel, &bare, false)? else { return Ok(()) };
        let boot = finish(*guest, &bare)?;
        self.tables = boot.tables;
        for (name, bytes) in located.tables()? {
            let file = name.rsplit('/').next().unwrap_or(&name);
            let stem = file.split('.').next().unwrap_or(file).to_owned();
            self.tables.retain(|(known, _)| *known != stem);
            self.tables.push((stem, bytes));
        }
        let map: String = boot
            .dmesg
            .lines()
            .filter(|line| line.starts_with("BIOS-e820"))
            .flat_map(|line| [line, "\n"])
            .collect();
        self.dmesg.insert_str(0, &map);
        Ok(())
    }

    /// Writes a case folder: the input as it was given, and what came out.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, located: &Located, kernel: Kernel) -> Result<()> {
        let inputs = located.tables()?;
        std::fs::create_dir_all(folder.join("tables")).with_context(|| folder.display().to_string())?;
        let mut case = located.case.clone();
        if let Some(delivery) = &mut case.tables {
            delivery.files.clear();
            std::fs::create_dir_all(folder.join("input"))?;
            for (name, bytes) in &inputs {
                let name = format!("input/{}", name.rsplit('/').next().unwrap_or(name));
                std::fs::write(folder.join(&name), bytes)?;
                delivery.files.push(name);
            }
        }
        std::fs::write(folder.join("case.json"), json::pretty(&serde_json::to_value(&case)?))?;
        std::fs::write(folder.join(kernel.observed_file()), json::pretty(&self.observed))?;
        // Beside the facts of the kernel under study, those of another are one more file.
        if kernel != Kernel::V7_2 && folder.join(Kernel::V7_2.observed_file()).exists() {
            return Ok(());
        }
        std::fs::write(folder.join("dmesg.txt"), &self.dmesg)?;
        for (name, text) in [("iomem.txt", &self.iomem), ("sysfs.txt", &self.sysfs)] {
            if !text.is_empty() {
                std::fs::write(folder.join(name), text)?;
            }
        }
        for (name, bus) in &self.buses {
            std::fs::write(folder.join(name), bus)?;
        }
        for (name, bytes) in &self.tables {
            std::fs::write(folder.join("tables").join(format!("{name}.bin")), bytes)?;
        }
        if !case.events.is_empty() {
            let told = events::with_outcomes(&case.events, &self.observed);
            let lines: String = told.iter().map(|event| format!("{event}\n")).collect();
            std::fs::write(folder.join("events.jsonl"), lines)?;
        }
        if let Some(console) = &self.console {
            std::fs::write(folder.join("console.txt"), console)?;
        }
        Ok(())
    }
}
