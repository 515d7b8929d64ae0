//! The CXL hierarchy in the inputs: what `cxl list` printed, a listing of the CXL bus, that bus in a `/sys` tree, or a
//! machine description; and component registers of its ports.

use crate::cxl_list;
use crate::input::Named;
use anyhow::{Context, Result, bail};
use memtopo::bundle::cxl_sysfs::{CxlSysfs, LINK_FILES};
use memtopo::tables::hdm::ComponentRegisters;
use memtopo::topology::cxl::CxlTree;
use memtopo::topology::cxl_registers::PortRegisters;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that the inputs say about the hierarchy.
#[derive(Debug, Default)]
pub(crate) struct CxlInput {
    /// Of a file of its own, with the file's name; the first one counts.
    described: Option<(String, CxlTree)>,
    /// Of `/sys` trees.
    bus: CxlSysfs,
    /// Component registers: what they were called, and their decoders.
    registers: Vec<(String, Option<PortRegisters>)>,
}

impl CxlInput {
    /// Takes a file that describes the hierarchy, or a copy of component registers, which are those of the port that the
    /// file is named after; `false` for any other file.
    pub(crate) fn take(&mut self, file: &Named) -> Result<bool> {
        if ComponentRegisters::is_plausible(&file.bytes) {
            let stem = Path::new(&file.name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            self.registers(stem.unwrap_or_default(), file)?;
            return Ok(true);
        }
        let Some(tree) = describe(&file.bytes) else { return Ok(false) };
        self.describe(&file.name, tree);
        Ok(true)
    }

    /// Takes the hierarchy that an input describes.
    pub(crate) fn describe(&mut self, name: &str, tree: CxlTree) {
        match &self.described {
            Some((first, _)) => {
                eprintln!("memtopo: note: {name}: not used, {first} describes the CXL hierarchy");
            }
            None => self.described = Some((name.to_owned(), tree)),
        }
    }

    /// Takes the component registers of a port.
    pub(crate) fn registers(&mut self, port: String, file: &Named) -> Result<()> {
        let registers = PortRegisters::read(&file.bytes).with_context(|| file.name.clone())?;
        self.registers.push((port, registers));
        Ok(())
    }

    /// Adds an attribute of a copied bus. What cannot be read as text is no attribute that counts.
    pub(crate) fn attribute(&mut self, path: &Path) {
        if let Ok(text) = fs::read_to_string(path) {
            self.bus.attribute(&path.to_string_lossy(), &text);
        }
    }

    /// Adds the objects that a bus folder links to, as that of a running system does, and returns their CDATs.
    pub(crate) fn links(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut tables = Vec::new();
        for entry in entries(folder)? {
            // A copy may have kept the link and lost what it leads to.
            let Some(place) = fs::canonicalize(&entry).ok().filter(|_| entry.is_symlink()) else { continue };
            self.bus.link(&entry.to_string_lossy(), &place.to_string_lossy());
            let functions = place.ancestors().filter(|folder| folder.join("current_link_speed").is_file());
            for folder in functions {
                LINK_FILES.iter().for_each(|file| self.attribute(&folder.join(file)));
            }
            for file in entries(&place)? {
                if let Ok(target) = fs::read_link(&file) {
                    self.bus.link(&file.to_string_lossy(), &target.to_string_lossy());
                } else if file.ends_with("CDAT") {
                    tables.push(file);
                } else if file.is_file() {
                    self.attribute(&file);
                } else if ["ram", "pmem"].iter().any(|partition| file.ends_with(partition)) {
                    entries(&file)?.iter().for_each(|file| self.attribute(file));
                }
            }
        }
        Ok(tables)
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.described.is_none() && self.bus.objects.is_empty()
    }

    /// The hierarchy.
    pub(crate) fn tree(&self) -> Result<Option<CxlTree>> {
        let mut tree = match &self.described {
            Some((_, tree)) => Some(tree.clone()),
            None => (!self.bus.objects.is_empty()).then(|| CxlTree::from_sysfs(&self.bus)),
        };
        for (name, registers) in &self.registers {
            let Some(tree) = &mut tree else {
                bail!(
                    "{name}: component registers, and nothing that describes the CXL hierarchy they are from"
                );
            };
            let port = tree.port_called(name).map(|port| port.name.clone()).with_context(|| {
                let ports: Vec<&str> = tree.ports.iter().map(|port| port.name.as_str()).collect();
                format!(
                    "{name}: component registers of which port? name the file after it, or give --registers \
                     PORT=FILE; there are {}",
                    ports.join(", ")
                )
            })?;
            match registers {
                Some(registers) => drop(tree.registers.insert(port, registers.clone())),
                None => eprintln!("memtopo: note: {name}: component registers without HDM decoders"),
            }
        }
        Ok(tree)
    }
}

fn describe(bytes: &[u8]) -> Option<CxlTree> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.trim_start().starts_with(['[', '{']) {
        let value = serde_json::from_str(text).ok().filter(cxl_list::is_cxl_list)?;
        return Some(cxl_list::read(&value));
    }
    CxlSysfs::is_listing(text).then(|| CxlTree::from_sysfs(&CxlSysfs::read_listing(text)))
}

/// What is in a folder, in order of name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let place = || folder.display().to_string();
    let paths = fs::read_dir(folder).with_context(place)?.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<_>>>().with_context(place)?;
    paths.sort();
    Ok(paths)
}
