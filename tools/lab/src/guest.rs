//! One running guest: its image, its start, the orders it obeys, its end.

use crate::case::{Located, Via};
use crate::cpio::Archive;
use crate::tar;
use crate::workshop::{Kernel, Workshop};
use anyhow::{Context, Result, bail, ensure};
use memtopo::bundle::archive;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Kernel parameters of every boot.
///
/// Without the system's certificates a boot takes half the time, and modules load unverified.
pub const BASE_CMDLINE: &str = "console=ttyS0 loglevel=4 nokaslr panic=-1 rdinit=/init log_buf_len=1M mitigations=off \
     initcall_blacklist=load_system_certificate_list dyndbg=\"file drivers/acpi/numa/hmat.c +p\"";

/// Emulator arguments of every boot.
pub const BASE_QEMU: [&str; 9] = [
    "-accel",
    "tcg",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
    "-device",
    "isa-debug-exit,iobase=0x501,iosize=1",
];

/// Programs of the guest, all busybox.
pub const APPLETS: [&str; 20] = [
    "sh", "mount", "stty", "grep", "ls", "cat", "dmesg", "tar", "rm", "mkdir", "wc", "readlink", "insmod",
    "sleep", "dd", "echo", "sed", "find", "devmem", "poweroff",
];

/// The guest's script.
pub const INIT: &str = include_str!("init.sh");

/// How long a boot may take at most.
const BOOT_TIME: Duration = Duration::from_secs(60);
/// Processor seconds after which a boot that says nothing is given up, four times what one takes; it is repeated with
/// its log on the console. A host under load may need longer for them, so they are not counted by the clock.
const SILENT_BOOT_WORK: f64 = 24.0;
/// How long a single order may take.
const ORDER_TIME: Duration = Duration::from_secs(60);

/// The initial file system: tables for the kernel in front, then busybox, the script and the modules.
///
/// # Errors
/// A table is too long.
pub fn image(busybox: &[u8], tables: &[(String, Vec<u8>)], modules: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut image = Vec::new();
    if !tables.is_empty() {
        let named: Vec<_> =
            tables.iter().map(|(name, bytes)| (format!("{}.aml", stem(name)), bytes)).collect();
        image = archive::write(named.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))?;
        // The kernel looks for the next archive at any multiple of four; 512 is what archivers leave.
        image.resize(image.len().next_multiple_of(512), 0);
    }
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "modules"] {
        archive.folder(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.file("bin/busybox", busybox);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.file("init", INIT.as_bytes());
    for (name, bytes) in modules {
        archive.file(&format!("modules/{name}.ko"), bytes);
    }
    image.extend(archive.finish());
    Ok(image)
}

fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split('.').next().unwrap_or(file)
}

/// A guest that runs.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    scratch: PathBuf,
    serial: BufReader<UnixStream>,
    monitor: Option<Monitor>,
    deadline: Instant,
    /// Processor seconds after which it is given up.
    work_limit: Option<f64>,
    /// Drivers, each with what has to be loaded for it, itself last.
    chains: Vec<(String, Vec<String>)>,
}

/// A guest that did not get far enough to answer.
#[derive(Debug)]
pub struct Dead {
    /// `panic`, `reset`, `timeout`, `qemu-exit-N` or `no-data`.
    pub outcome: String,
    /// What it had written on its console.
    pub console: String,
}

/// What starting a guest led to.
#[derive(Debug)]
pub enum Start {
    /// It answers.
    Up(Box<Guest>),
    /// It does not.
    Dead(Dead),
}

impl Guest {
    /// Starts a guest and waits until it answers.
    ///
    /// `verbose` puts the whole kernel log on the console, for a boot whose memory of it would be lost.
    ///
    /// # Errors
    /// The emulator cannot be started.
    pub fn start(workshop: &Workshop, kernel: Kernel, located: &Located, verbose: bool) -> Result<Start> {
        let case = &located.case;
        let scratch = std::env::temp_dir().join(format!("memtopo-lab-{}", std::process::id()));
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch)?;
        }
        std::fs::create_dir_all(&scratch)?;
        let loaded = case.events.iter().filter(|event| event["event"] == "load");
        let drivers = loaded.filter_map(|event| event["driver"].as_str()).map(str::to_owned);
        let wanted: Vec<_> = case.modules.iter().cloned().chain(drivers).collect();
        let mut chains = Vec::new();
        let mut modules: Vec<(String, Vec<u8>)> = Vec::new();
        for driver in wanted {
            let chain = workshop.modules(kernel, std::slice::from_ref(&driver))?;
            chains.push((driver, chain.iter().map(|(name, _)| name.clone()).collect()));
            modules.extend(chain);
        }
        modules.sort();
        modules.dedup();
        let busybox = std::fs::read(workshop.busybox()).context("no busybox: run `lab fetch`")?;
        let tables = located.tables()?;
        let via = case.tables.as_ref().map(|tables| tables.via);
        let upgrades = if via == Some(Via::Initrd) { tables.as_slice() } else { &[] };
        std::fs::write(scratch.join("initrd"), image(&busybox, upgrades, &modules)?)?;
        let vmlinuz = workshop.kernel(kernel).join("vmlinuz");
        ensure!(vmlinuz.exists(), "no Linux {}: run `lab fetch`", kernel.number());

        let mut command = workshop.emulator()?;
        command.args(BASE_QEMU).args(&case.qemu);
        if let (Some(delivery), true) = (&case.tables, via != Some(Via::Initrd)) {
            for (name, _) in &tables {
                let file = located.folder.join(name).canonicalize()?.display().to_string();
                command.args(if delivery.via == Via::AcpiTable {
                    ["-acpitable".to_owned(), format!("file={file}")]
                } else {
                    let addr = delivery.addr.as_deref().context("tables by loader need an address")?;
                    ["-device".to_owned(), format!("loader,addr={addr},force-raw=on,file={file}")]
                });
            }
        }
        let monitored = case
            .events
            .iter()
            .any(|event| event["event"].as_str().is_some_and(|name| name.ends_with("_memory")))
            || case.qemu.iter().any(|argument| argument.contains("dimm"));
        let socket = |name: &str| scratch.join(name).display().to_string();
        command.arg("-serial").arg(format!("file:{}", scratch.join("console").display()));
        command.arg("-chardev").arg(format!("socket,id=lab,server=on,wait=off,path={}", socket("serial")));
        command.args(["-serial", "chardev:lab"]);
        if monitored {
            command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket("monitor")));
        }
        let loud = if verbose { " earlyprintk=serial,ttyS0,115200 ignore_loglevel" } else { "" };
        let cmdline = format!("{BASE_CMDLINE}{loud} {}", case.cmdline);
        command.arg("-kernel").arg(&vmlinuz).arg("-initrd").arg(scratch.join("initrd"));
        command.arg("-append").arg(cmdline.trim_end());
        let errors = std::fs::File::create(scratch.join("errors"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut child = command.spawn().context("the emulator does not start")?;

        let deadline = Instant::now() + BOOT_TIME;
        let Some(stream) = connect(&scratch.join("serial"), &mut child)? else {
            let errors = std::fs::read_to_string(scratch.join("errors")).unwrap_or_default();
            let status = child.wait()?;
            bail!("the emulator ended at once ({status}): {}", errors.trim());
        };
        let monitor = if monitored {
            Some(Monitor::open(connect(&scratch.join("monitor"), &mut child)?.context("no monitor")?)?)
        } else {
            None
        };
        let work_limit = (!verbose).then_some(SILENT_BOOT_WORK);
        let mut guest =
            Self { child, scratch, serial: BufReader::new(stream), monitor, deadline, work_limit, chains };
        match guest.answer()?.as_deref() {
            Some("ready") => {
                guest.work_limit = None;
                Ok(Start::Up(Box::new(guest)))
            }
            _ => Ok(Start::Dead(guest.post_mortem()?)),
        }
    }

    /// Gives an order; the rest of the line that answers it.
    ///
    /// # Errors
    /// The guest does not answer.
    pub fn order(&mut self, order: &str) -> Result<String> {
        self.deadline = Instant::now() + ORDER_TIME;
        self.serial.get_mut().write_all(format!("{order}\n").as_bytes())?;
        let answer = self.answer()?.with_context(|| format!("no answer to `{order}`"))?;
        let result = answer
            .strip_prefix("result ")
            .or(answer.strip_prefix("capture "))
            .or(answer.strip_prefix("result"));
        Ok(result.with_context(|| format!("odd answer to `{order}`: {answer}"))?.trim().to_owned())
    }

    /// Everything the guest can show of itself, as files.
    ///
    /// # Errors
    /// The guest does not answer, or not in full.
    pub fn capture(&mut self, which: &str) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(tar::files(&self.content(&format!("capture {which}"))?))
    }

    /// The content of a file.
    ///
    /// # Errors
    /// The guest does not answer, or not in full.
    pub fn file(&mut self, path: &str) -> Result<Vec<u8>> {
        self.content(&format!("file {path}"))
    }

    /// What an order answers behind the line with its size.
    fn content(&mut self, order: &str) -> Result<Vec<u8>> {
        let size: usize = self.order(order)?.parse().with_context(|| format!("size of `{order}`"))?;
        let mut content = vec![0; size];
        let mut filled = 0;
        while filled < size {
            match self.serial.read(&mut content[filled..]) {
                Ok(0) => bail!("the guest ended in the middle of `{order}`"),
                Ok(count) => filled += count,
                Err(error) if patient(&error) && Instant::now() < self.deadline => {}
                Err(error) => return Err(error).with_context(|| order.to_owned()),
            }
        }
        Ok(content)
    }

    /// The emulator's monitor.
    ///
    /// # Errors
    /// The case has no use for one, so there is none.
    pub fn monitor(&mut self) -> Result<&mut Monitor> {
        self.monitor.as_mut().context("the guest has no monitor")
    }

    /// What has to be loaded for a driver, itself last.
    pub(crate) fn drivers(&self, driver: &str) -> Vec<String> {
        let chain = self.chains.iter().find(|(name, _)| name == driver);
        chain.map(|(_, chain)| chain.clone()).unwrap_or_default()
    }

    /// Whether the guest was given a monitor.
    #[must_use]
    pub fn has_monitor(&self) -> bool {
        self.monitor.is_some()
    }

    /// Ends the guest.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn leave(mut self) -> Result<()> {
        self.serial.get_mut().write_all(b"leave\n").ok();
        let deadline = Instant::now() + Duration::from_secs(3);
        while self.child.try_wait()?.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// One line from the guest; `None` when it ended or the time is over.
    fn answer(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            match self.serial.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(None),
                Ok(_) if line.ends_with(b"\n") => {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    return Ok(Some(text));
                }
                Ok(_) => {}
                Err(error) if patient(&error) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error).context("second serial port"),
            }
            // A kernel that dies early does not always manage to reset the machine.
            let over =
                Instant::now() > self.deadline || self.work_limit.is_some_and(|limit| self.work() > limit);
            if over || self.console().contains("end Kernel panic") {
                return Ok(None);
            }
        }
    }

    /// Processor seconds that the emulator has used, in the units of Linux on x86: hundredths.
    fn work(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = status.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    fn console(&self) -> String {
        let console = std::fs::read(self.scratch.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&console).into_owned()
    }

    fn post_mortem(mut self) -> Result<Dead> {
        let over = Instant::now() > self.deadline;
        if !over {
            // The connection closes a moment before the process ends.
            std::thread::sleep(Duration::from_millis(300));
        }
        let status = self.child.try_wait()?;
        let console = self.console();
        let outcome = match status {
            _ if console.contains("Kernel panic") => "panic".to_owned(),
            None if over => "timeout".to_owned(),
            None => "no-data".to_owned(),
            Some(status) => match status.code() {
                Some(0) => "reset".to_owned(),
                Some(1) => "no-data".to_owned(),
                Some(code) => format!("qemu-exit-{code}"),
                None => "no-data".to_owned(),
            },
        };
        Ok(Dead { outcome, console })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Only ever our own child.
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.scratch).ok();
    }
}

fn patient(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The emulator makes its sockets a moment after it starts.
fn connect(path: &Path, child: &mut Child) -> Result<Option<UnixStream>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(stream) = UnixStream::connect(path) {
            stream.set_read_timeout(Some(Duration::from_millis(200)))?;
            return Ok(Some(stream));
        }
        if child.try_wait()?.is_some() || Instant::now() > deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The emulator's monitor (QMP: one JSON object a line).
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
    events: Vec<Value>,
}

impl Monitor {
    fn open(stream: UnixStream) -> Result<Self> {
        let mut monitor = Self { stream: BufReader::new(stream), events: Vec::new() };
        monitor.message(Instant::now() + Duration::from_secs(5))?.context("the monitor is silent")?;
        monitor.execute("qmp_capabilities", json!({}))?.map_err(anyhow::Error::msg)?;
        Ok(monitor)
    }

    fn message(&mut self, deadline: Instant) -> Result<Option<Value>> {
        let mut line = Vec::new();
        loop {
            match self.stream.read_until(b'\n', &mut line) {
                Ok(0) => bail!("the emulator ended"),
                Ok(_) if line.ends_with(b"\n") => return Ok(Some(serde_json::from_slice(&line)?)),
                Ok(_) => {}
                Err(error) if patient(&error) => {}
                Err(error) => return Err(error).context("monitor"),
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
        }
    }

    /// Runs a command: what it returns, or the emulator's words of refusal.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Result<Value, String>> {
        let line = json!({"execute": command, "arguments": arguments});
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let message = self.message(deadline)?.with_context(|| format!("no answer to {command}"))?;
            if let Some(value) = message.get("return") {
                return Ok(Ok(value.clone()));
            }
            if let Some(error) = message.get("error") {
                return Ok(Err(error["desc"].as_str().unwrap_or_default().to_owned()));
            }
            self.events.push(message);
        }
    }

    /// The next event for which `wanted` has an answer; `None` when the time is over.
    ///
    /// # Errors
    /// The emulator ended.
    pub fn wait<T>(&mut self, time: Duration, wanted: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(found) = self.events.drain(..).find_map(|event| wanted(&event)) {
                return Ok(Some(found));
            }
            match self.message(deadline)? {
                Some(event) => self.events.push(event),
                None => return Ok(None),
            }
        }
    }
}
