//! What the name of a file says about it: in a copy of `/sys`, and in a folder of dumped tables.
//!
//! Only trees are read by name; what a single file is, its contents tell.

use crate::units::Signature;
use alloc::borrow::ToOwned;
use alloc::string::String;

/// A file of `/sys` that says something about the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SysfsFile<'p> {
    /// `firmware/acpi/tables/SRAT`, `SSDT3`, `dynamic/SSDT9`: a raw table.
    AcpiTable {
        /// Its signature.
        signature: Signature,
        /// The number behind it; `None` where the kernel had only one.
        instance: Option<u32>,
    },
    /// `firmware/memmap/3/start`: for [`memory_map::read_sysfs`](super::memory_map::read_sysfs).
    Memmap {
        /// Number of the entry.
        entry: u64,
        /// `start`, `end` or `type`.
        field: &'p str,
    },
    /// `bus/cxl/devices/endpoint3/CDAT`: the CDAT of a port or endpoint, in the bus folder or at its real place in the
    /// device tree.
    Cdat {
        /// The port: `port2`, `endpoint3`.
        port: &'p str,
    },
    /// `bus/cxl/devices/decoder0.0/interleave_ways`: an attribute of an object on the CXL bus.
    CxlAttribute {
        /// The object.
        object: &'p str,
        /// The attribute, with its folder when it is in one.
        attribute: &'p str,
    },
}

/// What a file of `/sys` or of a copy is, by its path: absolute, or relative to any folder above the parts that matter.
///
/// ```
/// use memtopo::bundle::paths::{SysfsFile, sysfs_file};
///
/// let file = sysfs_file("copy/sys/firmware/memmap/3/start");
/// assert_eq!(file, Some(SysfsFile::Memmap { entry: 3, field: "start" }));
/// assert_eq!(sysfs_file("sys/kernel/mm/numa"), None);
/// ```
#[must_use]
pub fn sysfs_file(path: &str) -> Option<SysfsFile<'_>> {
    if let Some(name) = below(path, "firmware/acpi/tables/") {
        // `data/` has blobs that tables point to.
        let name = name.strip_prefix("dynamic/").unwrap_or(name);
        let (signature, instance) = table_name(name).filter(|_| !name.contains(['/', '.']))?;
        return Some(SysfsFile::AcpiTable { signature, instance });
    }
    if let Some(rest) = below(path, "firmware/memmap/") {
        let (entry, field) = rest.split_once('/')?;
        let known = matches!(field, "start" | "end" | "type");
        return entry.parse().ok().filter(|_| known).map(|entry| SysfsFile::Memmap { entry, field });
    }
    if let Some(port) = path.strip_suffix("/CDAT") {
        let port = port.rsplit_once('/').map_or(port, |(_, port)| port);
        let number = port.strip_prefix("endpoint").or_else(|| port.strip_prefix("port"))?;
        return is_number(number).then_some(SysfsFile::Cdat { port });
    }
    let (object, attribute) = below(path, "bus/cxl/devices/")?.split_once('/')?;
    Some(SysfsFile::CxlAttribute { object, attribute })
}

/// What stands behind `folder` in `path`, where `folder` is made of whole parts of the path.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let mut rest = path;
    loop {
        if let Some(found) = rest.strip_prefix(folder) {
            return Some(found);
        }
        rest = rest.split_once('/')?.1;
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Which device or switch a CDAT is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CdatOwner {
    /// The memory device with this serial number.
    Serial(u64),
    /// A port of the CXL bus: `endpoint3`, `port2`.
    Port(String),
    /// A memory device by its name on the CXL bus: `mem0`.
    Memdev(String),
    /// A PCI function: `0000:21:00.0`.
    Function(String),
}

/// Which device or switch a CDAT is of, by the name of its file or of the folder that it is in:
/// `CDAT_serial_0x1.bin`, `CDAT-port2.bin`, `endpoint3/CDAT`, `CDAT_0000:21:00.0`. `None` where the name does not say.
///
/// ```
/// use memtopo::bundle::paths::{CdatOwner, cdat_owner};
///
/// assert_eq!(cdat_owner("tables/CDAT_serial_0x1.bin"), Some(CdatOwner::Serial(1)));
/// assert_eq!(cdat_owner("port2/CDAT"), Some(CdatOwner::Port("port2".into())));
/// assert_eq!(cdat_owner("CDAT.bin"), None);
/// ```
#[must_use]
pub fn cdat_owner(path: &str) -> Option<CdatOwner> {
    // The name of the file says more than that of its folder.
    path.rsplit('/').take(2).find_map(|name| {
        let mut serial = false;
        for word in name.split(['_', '-', ' ']) {
            let bare = word.strip_suffix(".bin").or_else(|| word.strip_suffix(".dat")).unwrap_or(word);
            let number = match bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => bare.parse().ok().filter(|_| is_number(bare)),
            };
            if let Some(number) = number.filter(|_| serial) {
                return Some(CdatOwner::Serial(number));
            }
            serial = word.eq_ignore_ascii_case("serial");
            let is = |kind: &str| bare.strip_prefix(kind).is_some_and(is_number);
            if is("endpoint") || is("port") {
                return Some(CdatOwner::Port(bare.to_owned()));
            }
            if is("mem") {
                return Some(CdatOwner::Memdev(bare.to_owned()));
            }
            if is_function(bare) {
                return Some(CdatOwner::Function(bare.to_owned()));
            }
        }
        None
    })
}

/// Whether a name is that of a PCI function: `0000:21:00.0`.
#[must_use]
pub fn is_function(name: &str) -> bool {
    let hex =
        |text: &str, digits: usize| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some((domain, rest)) = name.split_once(':') else { return false };
    let Some((bus, rest)) = rest.split_once(':') else { return false };
    let Some((slot, function)) = rest.split_once('.') else { return false };
    domain.len() >= 4 && hex(domain, domain.len()) && hex(bus, 2) && hex(slot, 2) && hex(function, 1)
}

/// Signature and number of a table by the name of its file, as the kernel, acpidump and acpixtract give them: `SRAT`,
/// `SRAT1`, `srat.dat`, `srat2.dat`. `None` for any other name.
///
/// Tables of one signature come in the order of their numbers, and one without a number comes first. Where the numbers
/// start differs: the kernel and acpixtract number all from 1 when there is more than one, acpidump all but the first.
#[must_use]
pub fn table_name(path: &str) -> Option<(Signature, Option<u32>)> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let (signature, number) = stem.as_bytes().split_first_chunk::<4>()?;
    let number = core::str::from_utf8(number).ok()?;
    let number = match number {
        "" => None,
        digits => Some(digits.parse().ok().filter(|_| is_number(digits))?),
    };
    let signature = Signature(signature.map(|byte| byte.to_ascii_uppercase()));
    signature.is_plausible().then_some((signature, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_tree_that_matter_are_known() {
        let srat = |instance| Some(SysfsFile::AcpiTable { signature: Signature::SRAT, instance });
        assert_eq!(sysfs_file("/sys/firmware/acpi/tables/SRAT"), srat(None));
        assert_eq!(sysfs_file("firmware/acpi/tables/SRAT2"), srat(Some(2)));
        assert_eq!(sysfs_file("a/b/firmware/acpi/tables/dynamic/SRAT11"), srat(Some(11)));
        assert_eq!(sysfs_file("firmware/acpi/tables/data/BERT"), None);
        assert_eq!(sysfs_file("xfirmware/acpi/tables/SRAT"), None);
        assert_eq!(
            sysfs_file("firmware/memmap/12/type"),
            Some(SysfsFile::Memmap { entry: 12, field: "type" })
        );
        assert_eq!(sysfs_file("firmware/memmap/12/power"), None);
        assert_eq!(sysfs_file("firmware/memmap/x/type"), None);
        let cdat = |port| Some(SysfsFile::Cdat { port });
        assert_eq!(sysfs_file("bus/cxl/devices/endpoint3/CDAT"), cdat("endpoint3"));
        assert_eq!(sysfs_file("/sys/devices/platform/ACPI0017:00/root0/port1/CDAT"), cdat("port1"));
        assert_eq!(sysfs_file("devices/portal/CDAT"), None);
        assert_eq!(
            sysfs_file("bus/cxl/devices/mem0/ram/size"),
            Some(SysfsFile::CxlAttribute { object: "mem0", attribute: "ram/size" })
        );
        assert_eq!(sysfs_file("CDAT"), None);
        assert_eq!(sysfs_file(""), None);
    }

    #[test]
    fn a_cdat_is_named_after_its_device() {
        let port = |name: &str| Some(CdatOwner::Port(name.to_owned()));
        for (path, owner) in [
            ("CDAT_serial_0x1.bin", Some(CdatOwner::Serial(1))),
            ("a/CDAT_serial_10.bin", Some(CdatOwner::Serial(10))),
            ("cxl-boot/x/CDAT-endpoint3.bin", port("endpoint3")),
            ("CDAT-port2.bin", port("port2")),
            ("/sys/bus/cxl/devices/endpoint12/CDAT", port("endpoint12")),
            ("port1/CDAT_serial_7", Some(CdatOwner::Serial(7))),
            ("mem0/CDAT", Some(CdatOwner::Memdev("mem0".to_owned()))),
            ("CDAT_0000:21:00.0.bin", Some(CdatOwner::Function("0000:21:00.0".to_owned()))),
            ("CDAT_serial_.bin", None),
            ("CDAT_serial_x.bin", None),
            ("CDAT_1.bin", None),
            ("portal/CDAT", None),
            ("", None),
        ] {
            assert_eq!(cdat_owner(path), owner, "{path}");
        }
        assert!(!is_function("0000:21:00") && !is_function("0:21:00.0") && !is_function("0000:2x:00.0"));
    }

    #[test]
    fn dumped_tables_come_in_the_order_of_their_numbers() {
        assert_eq!(table_name("dump/srat.dat"), Some((Signature::SRAT, None)));
        assert_eq!(table_name("SRAT10"), Some((Signature::SRAT, Some(10))));
        assert_eq!(table_name("srat2.dat"), Some((Signature::SRAT, Some(2))));
        assert_eq!(table_name("S3PT.bin"), Some((Signature(*b"S3PT"), None)));
        for other in
            ["CDAT_serial_1.bin", "sra", "srat-1.dat", "srat+1", "srat99999999999", "sr\u{e9}t", ".dat"]
        {
            assert_eq!(table_name(other), None, "{other}");
        }
        let mut names = ["srat2.dat", "slit.dat", "SRAT.bin", "srat10.dat"];
        names.sort_by_key(|name| table_name(name));
        assert_eq!(names, ["slit.dat", "SRAT.bin", "srat2.dat", "srat10.dat"]);
    }
}
