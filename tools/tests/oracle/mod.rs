//! What the comparisons with booted kernels share: the captures, and values that mean the same.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use memtopo::bundle::memory_map;
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::kernel::CpuVendor;
use memtopo::linux::placement::loader::assume_initrd;
use memtopo::linux::{Kernel, Version};
use memtopo::range::AddressRange;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{ApicId, ByteCount, PhysAddr, ProximityDomain};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One captured boot.
pub struct Case {
    pub name: String,
    pub folder: PathBuf,
    pub description: Value,
}

/// All captures; `None`, said loudly, without the folder that holds them.
pub fn cases() -> Option<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/cases");
    if !folder.is_dir() {
        eprintln!("SKIPPED: the captures in {} are not there", folder.display());
        return None;
    }
    let mut cases: Vec<Case> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap().path();
            let description = serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
            Case { name: folder.file_name().unwrap().to_string_lossy().into_owned(), folder, description }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Some(cases)
}

impl Case {
    pub fn tags(&self) -> Vec<&str> {
        self.description["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect()
    }

    /// The tables that the guest saw; for a boot that died those that it was given.
    pub fn table_files(&self) -> Vec<Vec<u8>> {
        let mut folder = self.folder.join("tables");
        if !folder.is_dir() {
            folder = self.folder.join("input");
        }
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with("CDAT"));
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// The CDATs that the kernel read, with the names of their files.
    pub fn device_tables(&self) -> Vec<(String, Vec<u8>)> {
        let Ok(folder) = fs::read_dir(self.folder.join("tables")) else { return Vec::new() };
        let paths = folder.map(|entry| entry.unwrap().path());
        let named = paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
        let mut tables: Vec<_> = named.filter(|(name, _)| name.starts_with("CDAT")).collect();
        tables.sort();
        tables.into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
    }

    /// The memory image of a case that has one, and its address.
    pub fn image(&self) -> Option<(Vec<u8>, u64)> {
        let tables = &self.description["tables"];
        if tables["via"] != "loader" {
            return None;
        }
        let base = number(&tables["addr"]).unwrap();
        Some((fs::read(self.folder.join("input/tree.bin")).unwrap(), base))
    }

    /// Options of the emulator behind `flag`.
    pub fn option(&self, flag: &str) -> Option<&str> {
        let options = self.description["qemu"].as_array()?;
        let at = options.iter().position(|option| option == flag)?;
        options.get(at + 1)?.as_str()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("dmesg.txt")).unwrap()
    }

    pub fn kernel(&self, version: Version) -> Kernel {
        let line = self.description["cmdline"].as_str().unwrap_or_default();
        let mut kernel = Kernel::new(version).with_command_line(line);
        let modules = self.description["modules"].as_array();
        kernel.drivers =
            modules.into_iter().flatten().map(|module| module.as_str().unwrap().to_owned()).collect();
        let platform = &mut kernel.platform;
        let model = self.option("-cpu").unwrap_or_default();
        platform.hypervisor = !model.contains("-hypervisor");
        // The emulator's default model calls itself AMD, with one last-level cache a socket.
        platform.cpu_vendor =
            Some(if model.starts_with("qemu64") { CpuVendor::Amd } else { CpuVendor::Intel });
        let (cpus, per_socket) = sockets(self.option("-smp").unwrap_or("1"));
        if per_socket < cpus {
            platform.cache_ids = (0..cpus).map(|cpu| (ApicId(cpu), cpu / per_socket)).collect();
        }
        for line in self.log().lines() {
            if line.contains("RAMDISK:") {
                platform.initrd = logged_range(line);
            } else if line.contains("Reserving") {
                platform.tables.extend(logged_range(line));
            }
        }
        let maps = memory_map::read_text(self.log().as_bytes());
        if let Some(map) = maps.firmware() {
            self.with_tables(|tables| assume_initrd(&mut kernel, &Topology::read(tables), map));
        }
        kernel
    }

    /// DIMMs that were there at start; the capture tells them, because no table does.
    pub fn memory_devices(&self) -> Vec<MemoryDevice> {
        let observed: Value =
            serde_json::from_slice(&fs::read(self.folder.join("observed.json")).unwrap()).unwrap();
        let device = |device: &Value| MemoryDevice {
            range: AddressRange::from_base_size(
                PhysAddr(number(&device["start"]).unwrap()),
                ByteCount(number(&device["size"]).unwrap()),
            )
            .unwrap(),
            domain: number(&device["domain"]).map(|domain| ProximityDomain(domain as u32)),
        };
        observed["memory_devices"].as_array().into_iter().flatten().map(device).collect()
    }

    /// What a kernel made of it.
    pub fn observed(&self, file: &str) -> Option<Value> {
        Some(serde_json::from_slice(&fs::read(self.folder.join(file)).ok()?).unwrap())
    }

    /// Its tables as the kernel has them, with what lies behind them where that is known.
    pub fn with_tables<T>(&self, use_them: impl FnOnce(Vec<TableBytes<'_>>) -> T) -> T {
        let image = self.image();
        let files = self.table_files();
        use_them(match &image {
            Some((bytes, base)) => in_image(bytes, *base),
            None => files.iter().filter_map(|file| TableBytes::copy(file).ok()).collect(),
        })
    }
}

/// The addresses behind `[mem ` in a line of the log.
pub fn logged_range(line: &str) -> Option<AddressRange> {
    let (start, last) = line.split("[mem ").nth(1)?.split(']').next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    Some(AddressRange::new(PhysAddr(hex(start)), PhysAddr(hex(last) + 1)))
}

/// Processors, and how many of them share a socket.
fn sockets(smp: &str) -> (u32, u32) {
    let mut parts: BTreeMap<&str, u32> = BTreeMap::new();
    for (place, part) in smp.split(',').enumerate() {
        match part.split_once('=') {
            Some((name, value)) => parts.insert(name, value.parse().unwrap()),
            None if place == 0 => parts.insert("cpus", part.parse().unwrap()),
            None => None,
        };
    }
    let cpus = parts.get("cpus").copied().unwrap_or(1);
    let sockets = parts.get("sockets").copied().unwrap_or(1).max(1);
    (cpus, (cpus / sockets).max(1))
}

/// The tables that the XSDT of a memory image lists.
pub fn in_image(bytes: &[u8], base: u64) -> Vec<TableBytes<'_>> {
    let at = |address: u64| usize::try_from(address - base).unwrap();
    let u64_at = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
    let xsdt = at(u64_at(24));
    let length = usize::try_from(u32::from_le_bytes(bytes[xsdt + 4..xsdt + 8].try_into().unwrap())).unwrap();
    (xsdt + 36..xsdt + length)
        .step_by(8)
        .map(u64_at)
        .filter(|address| (base..base + bytes.len() as u64).contains(address))
        .map(|address| TableBytes::in_memory(&bytes[at(address)..]).unwrap())
        .collect()
}

/// A number, as JSON number or as text in C notation.
pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        Value::Bool(value) => Some(u64::from(*value)),
        _ => None,
    }
}

/// Whether two values mean the same, however numbers and flags are written.
pub fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Bool(a), Value::String(b)) => *b == a.to_string(),
        _ => ours == theirs || (number(ours).is_some() && number(ours) == number(theirs)),
    }
}

/// Counts and differences, section by section.
#[derive(Default)]
pub struct Tally {
    pub compared: BTreeMap<String, usize>,
    pub unknown: BTreeMap<String, Vec<String>>,
    pub differences: Vec<String>,
    /// Single sections that cannot be compared, by case, with the reason.
    pub exceptions: &'static [(&'static str, &'static str, &'static str)],
}

impl Tally {
    pub fn compare(
        &mut self,
        case: &str,
        section: &str,
        label: &str,
        ours: Option<&Value>,
        theirs: Option<&Value>,
    ) {
        if self.exceptions.iter().any(|(name, part, _)| *name == case && *part == section) {
            return;
        }
        match (ours, theirs) {
            (None, None) => {}
            (Some(a), Some(b)) if same(a, b) => *self.compared.entry(section.to_owned()).or_default() += 1,
            _ => {
                let show = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
                self.differences.push(format!(
                    "{case} {label}: planned {}, booted {}",
                    show(ours),
                    show(theirs)
                ));
            }
        }
    }
}
