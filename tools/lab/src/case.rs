//! One boot as a folder: `case.json`, the tables that go in, and what came out.

use crate::firmware::Programmed;
use anyhow::{Context, Result, bail, ensure};
use memtopo::tables::srat::{Entry, MemoryFlags, Srat};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a boot is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Name of the folder.
    pub name: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What the case is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Emulator arguments that describe the machine.
    #[serde(default)]
    pub qemu: Vec<String>,
    /// Kernel parameters behind the base line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cmdline: String,
    /// Tables given to the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Delivery>,
    /// CXL decoders as a firmware leaves them, programmed before the drivers are loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<Programmed>,
    /// Drivers loaded before the first capture, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Seconds between the last driver and the first capture.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settle: u32,
    /// Events after the first capture, each followed by another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How tables reach the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The way.
    pub via: Via,
    /// Files, relative to the case.
    pub files: Vec<String>,
    /// Where a blob lies in guest memory, for [`Via::Loader`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
}

/// The ways for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// ACPI table upgrade: `kernel/firmware/acpi/NAME.aml` in front of the initramfs.
    Initrd,
    /// `-acpitable`.
    AcpiTable,
    /// One blob with RSDP, XSDT and all tables; the kernel is told by `acpi_rsdp=`.
    Loader,
}

/// A case and where its files are.
#[derive(Clone, Debug)]
pub struct Located {
    /// The case.
    pub case: Case,
    /// The folder that its file names are relative to.
    pub folder: PathBuf,
}

impl Located {
    /// Reads a case folder or its `case.json`; a folder of plain table binaries becomes a case of its own.
    ///
    /// # Errors
    /// Neither is there, or it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join("case.json") } else { path.to_owned() };
        if !file.exists() && path.is_dir() {
            return Self::of_tables(path);
        }
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let case: Case = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        for event in &case.events {
            ensure!(event["event"].is_string(), "{}: an event without a name: {event}", file.display());
        }
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self { case, folder })
    }

    /// A machine that fits the SRAT among the tables of a folder.
    fn of_tables(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut shape = Shape { memory: 1 << 30, processors: 2 };
        for item in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = item?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).with_context(|| name.clone())?;
            // The emulator brings its own description of the hardware.
            if matches!(bytes.get(..4), Some(b"SRAT" | b"SLIT" | b"HMAT" | b"CEDT" | b"MSCT")) {
                if bytes.starts_with(b"SRAT") {
                    shape = Shape::of(&bytes);
                }
                files.push(name);
            }
        }
        files.sort();
        if files.is_empty() {
            bail!("{}: neither case.json nor a SRAT, SLIT, HMAT or CEDT", folder.display());
        }
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("tables").to_owned();
        let case = Case {
            name,
            qemu: shape.qemu(),
            tables: Some(Delivery { via: Via::Initrd, files, addr: None }),
            ..Case::default()
        };
        Ok(Self { case, folder: folder.to_owned() })
    }

    /// The tables to deliver, with their file names.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn tables(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let files = self.case.tables.iter().flat_map(|tables| &tables.files);
        files
            .map(|name| {
                let path = self.folder.join(name);
                Ok((name.clone(), std::fs::read(&path).with_context(|| path.display().to_string())?))
            })
            .collect()
    }
}

/// Size of an emulated machine.
struct Shape {
    memory: u64,
    processors: u64,
}

impl Shape {
    fn of(srat: &[u8]) -> Self {
        let mut shape = Self { memory: 0, processors: 1 };
        let entries = Srat::parse(srat).map(|srat| srat.entries().collect::<Vec<_>>()).unwrap_or_default();
        for entry in entries.into_iter().flatten() {
            match entry {
                Entry::Memory(memory) => {
                    let flags = memory.flags.get();
                    if flags.contains(MemoryFlags::ENABLED) && !flags.contains(MemoryFlags::HOT_PLUGGABLE) {
                        shape.memory = shape.memory.saturating_add(memory.address_length.get().0);
                    }
                }
                Entry::LocalApic(cpu) => {
                    shape.processors = shape.processors.max(u64::from(cpu.apic_id.get()) + 1)
                }
                Entry::X2Apic(cpu) => {
                    shape.processors = shape.processors.max(u64::from(cpu.x2apic_id.get().0) + 1)
                }
                _ => {}
            }
        }
        // Enough to boot, and no more than an emulator on a small host bears.
        shape.memory = shape.memory.clamp(1 << 29, 8 << 30);
        shape.processors = shape.processors.clamp(1, 16);
        shape
    }

    fn qemu(&self) -> Vec<String> {
        machine(self.memory >> 20, self.processors)
    }
}

/// Emulator arguments of the plain machine that table cases use.
#[must_use]
pub fn machine(mebibytes: u64, processors: u64) -> Vec<String> {
    ["-machine", "q35", "-cpu", "qemu64,phys-bits=46", "-m"]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("{mebibytes}M"), "-smp".to_owned(), processors.to_string()])
        .collect()
}
