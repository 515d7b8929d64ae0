//! Files, folders, standard input and the running machine, as tables and a memory map.

use crate::args::{Form, Inputs};
use crate::cxl_input::CxlInput;
use crate::spec::Machine;
use anyhow::{Context, Result, ensure};
use memtopo::bundle::memory_map::{self, FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::bundle::paths::{CdatOwner, SysfsFile, cdat_owner, sysfs_file, table_name};
use memtopo::bundle::{BundledTable, Container, Hint, ReadOptions, TableSet};
use memtopo::error::Cause;
use memtopo::linux::qos::QtgReply;
use memtopo::range::AddressRange;
use memtopo::tables::e820::E820Type;
use memtopo::topology::TableBytes;
use memtopo::units::{ByteCount, PhysAddr, Signature};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes and what to call them in messages.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// One input file and how it was found.
#[derive(Debug)]
struct File {
    named: Named,
    hint: Option<Hint>,
    /// A file of a folder may be something else; one that was named has to be an input.
    named_by_user: bool,
}

/// Everything that the inputs hold, as bytes; [`tables`](Self::tables) reads it.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    files: Vec<File>,
    /// Files of a `/sys/firmware/memmap` tree, by path.
    memmap: Vec<(String, String)>,
    /// The CXL hierarchy.
    pub(crate) cxl: CxlInput,
    /// The map of a machine description.
    described: Option<FirmwareMap>,
    /// CDATs of a machine description, by name.
    owners: BTreeMap<String, CdatOwner>,
    /// What a machine description says of the QoS method.
    pub(crate) qtg: Option<QtgReply>,
    options: ReadOptions,
}

impl Loaded {
    /// Reads all inputs of a command.
    pub(crate) fn read(args: &Inputs) -> Result<Self> {
        let hint = args.form.map(|form| match form {
            Form::Cdat => Hint::Cdat,
            Form::EfiMap => Hint::EfiMap { stride: args.stride },
            Form::E820 => Hint::E820,
        });
        let options = ReadOptions { hint: None, image_base: args.image_base.map(PhysAddr) };
        let mut loaded = Self { options, ..Self::default() };
        ensure!(
            !args.live || args.inputs.is_empty(),
            "--live reads the running machine: name no other input"
        );
        let live = [PathBuf::from("/sys")];
        for path in if args.live { &live } else { args.inputs.as_slice() } {
            if path.is_dir() {
                loaded.folder(path, hint)?;
            } else {
                loaded.file(read_file(path)?, hint, true)?;
            }
        }
        for text in &args.registers {
            let expected = || format!("--registers: expected PORT=FILE, found {text:?}");
            let (port, file) = text.split_once('=').with_context(expected)?;
            loaded.cxl.registers(port.to_owned(), &read_file(Path::new(file))?)?;
        }
        Ok(loaded)
    }

    /// A machine description in place of files.
    pub(crate) fn describe(name: &str, toml: &str) -> Result<Self> {
        let mut loaded = Self::default();
        loaded.machine(name, &Machine::parse(toml)?)?;
        Ok(loaded)
    }

    /// Adds what a folder holds: all of it, or the parts that matter when it is a `/sys` tree.
    fn folder(&mut self, folder: &Path, hint: Option<Hint>) -> Result<()> {
        const PARTS: [&str; 3] = ["firmware/acpi/tables", "firmware/memmap", "bus/cxl/devices"];
        let roots = [folder.to_path_buf(), folder.join("sys")];
        let parts = roots.iter().flat_map(|root| PARTS.map(|part| root.join(part)));
        let mut parts: Vec<_> = parts.filter(|path| path.is_dir()).collect();
        if parts.is_empty() {
            parts.push(folder.to_path_buf());
        }
        let before = self.files.len() + self.memmap.len();
        for part in parts {
            for path in walk(&part)? {
                self.member(&path, hint)?;
            }
            if part.ends_with("bus/cxl/devices") {
                for path in self.cxl.links(&part)? {
                    self.member(&path, hint)?;
                }
            }
        }
        ensure!(
            self.files.len() + self.memmap.len() > before || !self.cxl.is_empty(),
            "{}: no file in it can be read",
            folder.display()
        );
        Ok(())
    }

    /// Adds one file of a folder.
    fn member(&mut self, path: &Path, hint: Option<Hint>) -> Result<()> {
        let text = path.to_string_lossy();
        match sysfs_file(&text) {
            Some(SysfsFile::Memmap { .. }) => {
                let value = std::fs::read_to_string(path).with_context(|| text.clone().into_owned())?;
                self.memmap.push((text.into_owned(), value));
            }
            // An empty CDAT is one that the device did not give.
            Some(SysfsFile::Cdat { .. }) => {
                let named = read_file(path)?;
                if !named.bytes.is_empty() {
                    self.file(named, Some(Hint::Cdat), false)?;
                }
            }
            Some(SysfsFile::CxlAttribute { .. }) => self.cxl.attribute(path),
            Some(SysfsFile::AcpiTable { .. }) => self.file(read_file(path)?, hint, true)?,
            _ => self.file(read_file(path)?, hint, false)?,
        }
        Ok(())
    }

    fn file(&mut self, named: Named, hint: Option<Hint>, named_by_user: bool) -> Result<()> {
        // A machine description is the only input that a program of this kind reads as TOML.
        let text = std::str::from_utf8(&named.bytes).ok().filter(|text| text.contains("[[domain]]"));
        if let (None, Some(text)) = (hint, text) {
            let machine = Machine::parse(text).with_context(|| named.name.clone())?;
            return self.machine(&named.name, &machine).with_context(|| named.name.clone());
        }
        if hint.is_some() || !self.cxl.take(&named)? {
            self.files.push(File { named, hint, named_by_user });
        }
        Ok(())
    }

    fn machine(&mut self, name: &str, machine: &Machine) -> Result<()> {
        self.qtg = machine.qtg();
        if let Some(tree) = machine.tree()? {
            self.cxl.describe(name, tree);
        }
        for built in machine.build()? {
            let hint = Some(if built.name.starts_with("CDAT") { Hint::Cdat } else { Hint::Tables });
            let owner = machine.cdat_owner(&built.name);
            let named = Named { name: format!("{name}: {}", built.name), bytes: built.bytes };
            self.owners.extend(owner.map(|owner| (named.name.clone(), owner)));
            self.files.push(File { named, hint, named_by_user: true });
        }
        let entry = |(index, (range, special)): (usize, (_, bool))| MapEntry {
            range,
            kind: MapKind::E820(if special { E820Type::SOFT_RESERVED } else { E820Type::RAM }),
            place: u64::try_from(index).unwrap_or(u64::MAX),
        };
        let mut entries: Vec<_> = machine.memory().enumerate().map(entry).collect();
        entries.sort_by_key(|entry| entry.range);
        self.described = Some(FirmwareMap { form: MapForm::E820Entries, entries });
        Ok(())
    }

    /// Which device or switch the CDAT of this name is of.
    pub(crate) fn owner(&self, name: &str) -> Option<CdatOwner> {
        self.owners.get(name).cloned().or_else(|| cdat_owner(name))
    }

    /// The tables in all inputs.
    pub(crate) fn tables(&self) -> Result<TableSet<'_>> {
        let mut set = TableSet::default();
        for File { named, hint, named_by_user } in &self.files {
            let options = ReadOptions { hint: *hint, ..self.options };
            match set.read(&named.name, &named.bytes, options) {
                Err(error) if !named_by_user && error.cause == Cause::NothingDecoded => {}
                result => drop(result.with_context(|| named.name.clone())?),
            }
        }
        for input in set.inputs() {
            for fault in &input.faults {
                eprintln!("memtopo: note: {}: {fault}", input.name);
            }
        }
        Ok(set)
    }

    /// A table as the kernel meets it: in a memory image with what follows it there.
    pub(crate) fn bytes_of<'s>(
        &'s self,
        set: &'s TableSet<'_>,
        table: &'s BundledTable<'_>,
    ) -> Option<TableBytes<'s>> {
        let image = set.input_of(table).filter(|input| input.container == Container::MemoryImage);
        let Some(image) = image else { return TableBytes::copy(&table.bytes).ok() };
        let file = self.files.iter().find(|file| file.named.name == image.name)?;
        let offset = usize::try_from(table.origin.offset).ok()?;
        TableBytes::in_memory(file.named.bytes.get(offset..)?).ok()
    }

    /// The physical memory map: of the given file or folder, or else what the inputs themselves hold.
    pub(crate) fn memory_map(&self, path: Option<&Path>) -> Result<Option<FirmwareMap>> {
        let Some(path) = path else {
            let tree =
                memory_map::read_sysfs(self.memmap.iter().map(|(path, text)| (path.as_str(), text.as_str())));
            return Ok(tree.firmware().cloned().or_else(|| self.described.clone()));
        };
        let name = path.display();
        let reading = if path.is_dir() {
            let mut loaded = Self::default();
            loaded.folder(path, None)?;
            return loaded
                .memory_map(None)?
                .with_context(|| format!("{name}: expected a memmap tree, found none"))
                .map(Some);
        } else {
            memory_map::read(&read_file(path)?.bytes).with_context(|| name.to_string())?
        };
        for fault in &reading.faults {
            eprintln!("memtopo: note: {name}: {fault}");
        }
        let map = reading.firmware().with_context(|| format!("{name}: expected a memory map, found none"))?;
        Ok(Some(map.clone()))
    }
}

/// The address range of a described piece of memory.
pub(crate) fn address_range(start: u64, size: u64) -> Option<AddressRange> {
    AddressRange::from_base_size(PhysAddr(start), ByteCount(size))
}

/// Every file below a folder; tables of one signature in the order of their numbers.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry.with_context(|| folder.display().to_string())?;
            let kind = entry.file_type().with_context(|| entry.path().display().to_string())?;
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(entry.path()),
                (_, true) => files.push(entry.path()),
                // Links of a live /sys lead round in circles.
                _ => {}
            }
        }
    }
    let key = |path: &PathBuf| {
        let text = path.to_string_lossy().into_owned();
        let place: Option<(Signature, Option<u32>)> = table_name(&text);
        (path.parent().map(Path::to_path_buf), place, text)
    };
    files.sort_by_cached_key(key);
    Ok(files)
}

/// Reads one file, or standard input for `-`.
pub(crate) fn read_file(path: &Path) -> Result<Named> {
    let stdin = path == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if stdin {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    Ok(Named { bytes: bytes.with_context(|| name.clone())?, name })
}
