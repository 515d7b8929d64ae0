//! The plan that a capture is compared with: `memtopo plan`, given what a person would give it.

use crate::case::Case;
use crate::guest::BASE_CMDLINE;
use crate::log;
use crate::workshop::Kernel;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that plans.
#[derive(Clone, Debug)]
pub struct Planner {
    program: PathBuf,
    /// It takes events; a plan without them lacks the steps, and the comparison says so.
    events: bool,
}

impl Planner {
    /// The given program; otherwise the `memtopo` that was built beside the laboratory.
    ///
    /// # Errors
    /// There is none.
    pub fn find(program: Option<PathBuf>) -> Result<Self> {
        let beside = || -> Result<PathBuf> { Ok(std::env::current_exe()?.with_file_name("memtopo")) };
        let program = program.map_or_else(beside, Ok)?;
        ensure!(program.is_file(), "no {}: build it with `cargo build`, or use --memtopo", program.display());
        let help = Command::new(&program).args(["plan", "--help"]).output()?;
        let events = String::from_utf8_lossy(&help.stdout).contains("--events");
        Ok(Self { program, events })
    }

    /// The plan for a captured case.
    ///
    /// # Errors
    /// The program fails, or prints something else than a plan.
    pub fn plan(&self, folder: &Path, case: &Case, observed: &Value, kernel: Kernel) -> Result<Value> {
        let text = self.text(folder, case, observed, kernel, "json")?;
        serde_json::from_slice(&text).context("memtopo plan does not print JSON")
    }

    /// The plan for a captured case in another format.
    ///
    /// # Errors
    /// The program fails.
    pub fn text(
        &self,
        folder: &Path,
        case: &Case,
        observed: &Value,
        kernel: Kernel,
        format: &str,
    ) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.program);
        command.arg("plan").arg(folder.join("tables")).arg("--memory-map").arg(folder.join("dmesg.txt"));
        // What firmware programmed is given as that: what the kernel makes of it is for the plan to say.
        let buses = ["cxl-programmed.tsv", "cxl-sysfs.tsv"].map(|name| folder.join(name));
        command.args(buses.iter().find(|bus| bus.exists()));
        command.args(["--format", format, "--kernel", kernel.number()]);
        let cmdline = observed["cmdline"].as_str().map(str::to_owned);
        command.arg("--cmdline").arg(cmdline.unwrap_or_else(|| format!("{BASE_CMDLINE} {}", case.cmdline)));
        if !case.modules.is_empty() {
            command.arg("--drivers").arg(case.modules.join(","));
        }
        for fact in platform(case) {
            command.arg("--platform").arg(fact);
        }
        let log = std::fs::read_to_string(folder.join("dmesg.txt"))?;
        if let Some((start, end)) = log::initrd(&log::lines(&log)) {
            command.arg("--platform").arg(format!("reserved={start:#x}-{end:#x}"));
        }
        for device in observed["memory_devices"].as_array().into_iter().flatten() {
            let text =
                |key: &str| device[key].as_str().map_or_else(|| device[key].to_string(), str::to_owned);
            let device = format!("start={},size={},domain={}", text("start"), text("size"), text("domain"));
            command.arg("--memory-device").arg(device);
        }
        if self.events && !case.events.is_empty() {
            command.arg("--events").arg(folder.join("events.jsonl"));
        }
        let output = command.output().with_context(|| self.program.display().to_string())?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "memtopo plan: {}: {}", output.status, words.trim());
        Ok(output.stdout)
    }
}

/// What no table of an emulated machine tells: the processor.
fn platform(case: &Case) -> Vec<String> {
    let model = case.qemu.iter().skip_while(|argument| *argument != "-cpu").nth(1);
    let hypervisor =
        !model.is_some_and(|model| model.contains("-hypervisor") || model.contains("hypervisor=off"));
    let hypervisor = if hypervisor { "yes" } else { "no" };
    // The emulated processor says that it is AMD's; the first one boots, in xAPIC mode.
    [
        format!("hypervisor={hypervisor}"),
        "cpu_vendor=amd".to_owned(),
        "boot_apic_id=0".to_owned(),
        "x2apic=no".to_owned(),
    ]
    .to_vec()
}
