//! The CXL bus in a copy of `/sys`: which objects there are, their attributes and their links.
//!
//! A copy comes file by file, or as a listing with one line for each object, link and attribute:
//!
//! ```text
//! /sys/bus/cxl/devices/NAME -> REALPATH
//! REALPATH/LINK -> TARGET
//! REALPATH/ATTRIBUTE<TAB>VALUE
//! ```

use super::paths::is_function;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;

/// What the names of objects on the CXL bus begin with; one or two numbers follow.
const KINDS: [&str; 9] =
    ["root", "port", "endpoint", "decoder", "mem", "region", "dax_region", "pmem_region", "nvdimm-bridge"];

/// One object on the bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CxlObject {
    /// Its place in the device tree, as far as a path showed it.
    pub path: Option<String>,
    /// Contents of its files by name, with the folder where they are in one (`ram/size`), without the last line break.
    pub attributes: BTreeMap<String, String>,
    /// Texts of its links by name.
    pub links: BTreeMap<String, String>,
}

impl CxlObject {
    /// The part of its path that is `above` levels over it: 0 is its own name.
    #[must_use]
    pub fn ancestor(&self, above: usize) -> Option<&str> {
        self.path.as_deref()?.rsplit('/').nth(above).filter(|part| !part.is_empty())
    }

    /// What a link leads to, without the way there.
    #[must_use]
    pub fn linked(&self, link: &str) -> Option<&str> {
        self.links.get(link).map(|target| last_part(target))
    }
}

/// Every object on the bus, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CxlSysfs {
    /// The objects.
    pub objects: BTreeMap<String, CxlObject>,
    /// Contents of [`LINK_FILES`] of PCI functions, by function and file.
    pub functions: BTreeMap<String, BTreeMap<String, String>>,
}

/// Files of a PCI function that tell the state of its link.
pub const LINK_FILES: [&str; 2] = ["current_link_speed", "current_link_width"];

impl CxlSysfs {
    /// Whether text is a listing of the CXL bus: its first line with anything on it is one.
    #[must_use]
    pub fn is_listing(text: &str) -> bool {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let path = line.split_once(" -> ").or_else(|| line.split_once('\t')).map_or("", |(path, _)| path);
        path.starts_with('/') && place(path).is_some()
    }

    /// Reads a listing. Lines of another form are passed over.
    ///
    /// ```
    /// use memtopo::bundle::cxl_sysfs::CxlSysfs;
    ///
    /// let bus = CxlSysfs::read_listing("/sys/devices/platform/ACPI0017:00/root0/decoder0.0/size\t0x40000000\n");
    /// assert_eq!(bus.objects["decoder0.0"].attributes["size"], "0x40000000");
    /// assert_eq!(bus.objects["decoder0.0"].ancestor(1), Some("root0"));
    /// ```
    #[must_use]
    pub fn read_listing(text: &str) -> Self {
        let mut bus = Self::default();
        for line in text.lines() {
            if let Some((path, target)) = line.split_once(" -> ") {
                bus.link(path, target);
            } else if let Some((path, value)) = line.split_once('\t') {
                bus.attribute(path, value);
            }
        }
        bus
    }

    /// Adds a file, by its path in the bus folder or at its place in the device tree. Tells whether it belongs to an
    /// object of the bus.
    pub fn attribute(&mut self, path: &str, value: &str) -> bool {
        let mut parts = path.rsplit('/');
        if let (Some(file), Some(function)) = (parts.next(), parts.next()) {
            if LINK_FILES.contains(&file) && is_function(function) {
                let files = self.functions.entry(function.to_owned()).or_default();
                files.insert(file.to_owned(), value.trim().to_owned());
                return true;
            }
        }
        let Some((object, name)) = self.at(path) else { return false };
        if name.is_empty() {
            return false;
        }
        object.attributes.insert(name.to_owned(), value.trim_end_matches(['\n', '\r']).to_owned());
        true
    }

    /// Adds a link: of an object, or that of the bus folder to an object. Tells whether it is one.
    pub fn link(&mut self, path: &str, target: &str) -> bool {
        let Some((object, name)) = self.at(path) else { return false };
        if name.is_empty() {
            object.path = Some(target.to_owned());
        } else {
            object.links.insert(name.to_owned(), target.to_owned());
        }
        true
    }

    /// The object that a path belongs to, and the rest of the path.
    fn at<'p>(&mut self, path: &'p str) -> Option<(&mut CxlObject, &'p str)> {
        let (folder, name, rest) = place(path)?;
        let object = self.objects.entry(name.to_owned()).or_default();
        // In the bus folder all objects lie side by side.
        if object.path.is_none() && last_part(folder) != "devices" {
            object.path = Some(path.strip_suffix(rest).unwrap_or(path).trim_end_matches('/').to_owned());
        }
        Some((object, rest))
    }
}

/// Splits a path at the last part that names an object: what is before it, its name, what is below it.
fn place(path: &str) -> Option<(&str, &str, &str)> {
    let mut rest_length = 0_usize;
    let mut remaining = path;
    loop {
        let (folder, name) = remaining.rsplit_once('/').unwrap_or(("", remaining));
        if is_object(name) {
            let rest = path.get(path.len().checked_sub(rest_length)?..)?;
            return Some((folder, name, rest.trim_start_matches('/')));
        }
        if folder.is_empty() {
            return None;
        }
        rest_length = path.len().checked_sub(folder.len())?;
        remaining = folder;
    }
}

/// Whether a name is that of an object: a kind and its number, two of them for a decoder.
fn is_object(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    KINDS.iter().any(|kind| match (name.strip_prefix(kind), *kind) {
        (Some(number), "decoder") => {
            number.split_once('.').is_some_and(|(port, index)| digits(port) && digits(index))
        }
        (Some(number), _) => digits(number),
        (None, _) => false,
    })
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_find_their_object() {
        let text = "\
/sys/bus/cxl/devices/mem2 -> /sys/devices/pci0000:20/0000:21:00.0/mem2
/sys/devices/pci0000:20/0000:21:00.0/mem2/ram/size\t0x10000000
/sys/devices/platform/ACPI0017:00/root0/dport32 -> ../../../pci0000:20
/sys/devices/platform/ACPI0017:00/root0/decoder0.0/region0/target0\tdecoder8.0
/sys/devices/platform/ACPI0017:00/root0/decoder0.0/region0/uuid\t
/sys/devices/pci0000:20/0000:20:00.0/0000:21:00.0/current_link_speed\t32.0 GT/s PCIe
/sys/devices/pci0000:20/0000:20:00.0/0000:21:00.0/current_link_width\t16
/sys/devices/pci0000:20/0000:20:00.0/0000:21:00.0/vendor\t0x8086
something else
";
        assert!(CxlSysfs::is_listing(text));
        assert!(!CxlSysfs::is_listing("[    0.000000] BIOS-e820: [mem 0x0-0x1] usable"));
        let bus = CxlSysfs::read_listing(text);
        let names: alloc::vec::Vec<_> = bus.objects.keys().map(String::as_str).collect();
        assert_eq!(names, ["mem2", "region0", "root0"]);
        assert_eq!(bus.functions["0000:21:00.0"]["current_link_speed"], "32.0 GT/s PCIe");
        assert_eq!(bus.functions["0000:21:00.0"].len(), 2);
        let memory = &bus.objects["mem2"];
        assert_eq!(memory.ancestor(1), Some("0000:21:00.0"));
        assert_eq!(memory.attributes["ram/size"], "0x10000000");
        assert_eq!(bus.objects["root0"].linked("dport32"), Some("pci0000:20"));
        let region = &bus.objects["region0"];
        assert_eq!(region.ancestor(1), Some("decoder0.0"));
        assert_eq!(region.attributes["uuid"], "");
    }

    #[test]
    fn files_of_the_bus_folder_have_no_place_in_the_tree() {
        let mut bus = CxlSysfs::default();
        assert!(bus.attribute("copy/sys/bus/cxl/devices/decoder0.0/size", "0x1000\n"));
        assert!(!bus.attribute("copy/sys/kernel/mm/numa/demotion_enabled", "true"));
        assert_eq!(bus.objects["decoder0.0"].path, None);
        assert_eq!(bus.objects["decoder0.0"].attributes["size"], "0x1000");
    }
}
