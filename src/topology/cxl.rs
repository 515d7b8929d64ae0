//! The CXL hierarchy as a running system or a firmware writer describes it: ports, decoders, devices, regions.
//!
//! It is kept flat and by name, as the CXL bus of Linux has it: `root0` is the ACPI0017 device with its host bridges
//! as downstream ports, `portN` a host bridge or a switch, `endpointN` the port of a memory device `memN`,
//! `decoderP.I` number I of the decoders of port P. What a source does not tell is `None`.

use super::cxl_registers::PortRegisters;
use crate::range::AddressRange;
use crate::units::{ByteCount, DeviceAddr, LaneCount, MegatransfersPerSecond, PhysAddr};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Everything on a CXL bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CxlTree {
    /// Root, host bridges, switches and endpoints, by number.
    pub ports: Vec<Port>,
    /// Their decoders, by number of the port and index.
    pub decoders: Vec<Decoder>,
    /// Memory devices, by number.
    pub memdevs: Vec<Memdev>,
    /// Regions, by number.
    pub regions: Vec<Region>,
    /// Decoder registers, by port; what they say counts before what is under `decoders`.
    pub registers: BTreeMap<String, PortRegisters>,
    /// PCIe links by the function at either end (`0000:21:00.0`), as far as the source tells.
    pub links: BTreeMap<String, PciLink>,
}

/// A PCIe link as it was negotiated, seen from the function at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciLink {
    /// Speed of a lane.
    pub speed: MegatransfersPerSecond,
    /// Lanes.
    pub width: LaneCount,
    /// Whether it moves flits of 256 bytes; `None` where the source does not tell.
    pub flit: Option<bool>,
}

impl PciLink {
    /// A link in short: `32x16` for 16 lanes of 32 GT/s, `32x16:256` where flits have 256 bytes (or 68), `2.5x1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (link, flit) = text.split_once(':').map_or((text, None), |(link, flit)| (link, Some(flit)));
        let flit = match flit {
            None => None,
            Some("68") => Some(false),
            Some("256") => Some(true),
            Some(_) => return None,
        };
        let (speed, width) = link.split_once('x')?;
        let width: u32 = width.parse().ok().filter(|width| (1..=32).contains(width))?;
        Some(Self { speed: Self::parse_speed(speed)?, width: LaneCount(width), flit })
    }

    /// The speed that sysfs prints in `current_link_speed`: `32.0 GT/s PCIe`.
    #[must_use]
    pub fn parse_speed(text: &str) -> Option<MegatransfersPerSecond> {
        let number = text.trim().split(' ').next()?;
        let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
        let (whole, tenths): (u32, u32) =
            (whole.parse().ok()?, tenths.parse().ok().filter(|digit| *digit < 10)?);
        let speed = whole.checked_mul(1000)?.checked_add(tenths.checked_mul(100)?)?;
        (speed != 0).then_some(MegatransfersPerSecond(speed))
    }
}

/// What kind of port one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// The root above all host bridges.
    Root,
    /// A host bridge or a switch.
    Switch,
    /// A memory device.
    Endpoint,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name: `root0`, `port1`, `endpoint2`.
    pub name: String,
    /// What it is.
    pub kind: PortKind,
    /// The device that it stands for: a host bridge `pci0000:20`, the upstream port of a switch `0000:21:00.0`, a
    /// memory device `mem0`.
    pub host: Option<String>,
    /// The port above.
    pub parent: Option<String>,
    /// The device of the downstream port above: a host bridge, a root port, a downstream switch port.
    pub parent_dport: Option<String>,
    /// Downstream ports that something is behind, by id.
    pub dports: Vec<Dport>,
    /// How many of its decoders are committed. A decoder without registers never is.
    pub decoders_committed: Option<u32>,
}

/// A downstream port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dport {
    /// What target lists call it: the `_UID` of a host bridge, or the PCIe port number.
    pub id: u32,
    /// Its device.
    pub device: String,
}

/// What coherence a decoder gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetType {
    /// Device-coherent memory (HDM-D), once type 2.
    Accelerator,
    /// Host-only coherent memory (HDM-H), once type 3.
    Expander,
}

/// What kind of memory a partition, decoder or region has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Volatile.
    Ram,
    /// Persistent.
    Pmem,
}

impl Mode {
    /// The mode with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ram" => Some(Self::Ram),
            "pmem" => Some(Self::Pmem),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Pmem => "pmem",
        }
    }
}

/// What a root decoder may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RootCapabilities {
    /// Volatile memory.
    pub ram: Option<bool>,
    /// Persistent memory.
    pub pmem: Option<bool>,
    /// Device-coherent memory.
    pub type2: Option<bool>,
    /// Host-only coherent memory.
    pub type3: Option<bool>,
    /// QoS throttling group.
    pub qos_class: Option<i64>,
}

/// Addresses inside a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpaRange {
    /// The first.
    pub start: DeviceAddr,
    /// How many bytes.
    pub size: ByteCount,
}

/// A decoder as it is programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// Its name.
    pub name: String,
    /// The port that has it.
    pub port: String,
    /// Which of the port's decoders it is.
    pub index: u32,
    /// First address that it decodes; 0 for one that is not in use.
    pub start: PhysAddr,
    /// Bytes that it decodes; 0 for one that is not in use.
    pub size: ByteCount,
    /// Over how many targets it interleaves.
    pub ways: u32,
    /// In pieces of how many bytes.
    pub granularity: Option<ByteCount>,
    /// Ids of its targets by position, up to the first that is not there. Endpoints have none.
    pub targets: Vec<u32>,
    /// What coherence it gives.
    pub target_type: Option<TargetType>,
    /// Its registers cannot be changed.
    pub locked: Option<bool>,
    /// The region that it is part of.
    pub region: Option<String>,
    /// Endpoints: which memory of the device it leads to.
    pub dpa: Option<DpaRange>,
    /// Endpoints: of what kind that memory is.
    pub mode: Option<Mode>,
    /// Root decoders: what it may be used for.
    pub root: Option<RootCapabilities>,
}

impl Decoder {
    /// The addresses that it decodes; `None` when there are none, or they pass the end of the address space.
    #[must_use]
    pub fn range(&self) -> Option<AddressRange> {
        AddressRange::from_base_size(self.start, self.size).filter(|range| !range.is_empty())
    }
}

/// A memory device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memdev {
    /// Its name.
    pub name: String,
    /// Its serial number.
    pub serial: Option<u64>,
    /// The PCI function that has it.
    pub host: Option<String>,
    /// Bytes of volatile memory.
    pub ram_size: ByteCount,
    /// Bytes of persistent memory, which lies behind the volatile.
    pub pmem_size: ByteCount,
    /// The node that the kernel puts the device on; below 0 for none.
    pub numa_node: Option<i64>,
    /// QoS class of the volatile memory.
    pub ram_qos_class: Option<i64>,
    /// QoS class of the persistent memory.
    pub pmem_qos_class: Option<i64>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// The root decoder that it is part of.
    pub root_decoder: Option<String>,
    /// First address; 0 before it has addresses.
    pub start: PhysAddr,
    /// Bytes.
    pub size: ByteCount,
    /// Over how many endpoints it interleaves.
    pub ways: u32,
    /// In pieces of how many bytes.
    pub granularity: Option<ByteCount>,
    /// What kind of memory it has.
    pub mode: Option<Mode>,
    /// Its decoders are committed.
    pub committed: Option<bool>,
    /// A driver has it.
    pub bound: Option<bool>,
    /// Its endpoint decoders by position; `None` for a position that is free.
    pub targets: Vec<Option<String>>,
}

/// The numbers in the name of an object: `decoder3.1` has 3 and 1, `port2` has 2 and 0.
#[must_use]
pub fn numbers(name: &str) -> (u32, u32) {
    let digits = name.trim_start_matches(|character: char| !character.is_ascii_digit());
    let (first, second) = digits.split_once('.').unwrap_or((digits, "0"));
    (first.parse().unwrap_or(u32::MAX), second.parse().unwrap_or(u32::MAX))
}

impl CxlTree {
    /// Puts everything in the order of numbers.
    pub fn sort(&mut self) {
        self.ports.sort_by_key(|port| numbers(&port.name));
        for port in &mut self.ports {
            port.dports.sort();
        }
        self.decoders.sort_by_key(|decoder| numbers(&decoder.name));
        self.memdevs.sort_by_key(|memdev| numbers(&memdev.name));
        self.regions.sort_by_key(|region| numbers(&region.name));
    }

    /// The port with this name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == name)
    }

    /// The port that a name stands for: its own, that of its host bridge or switch function, or that of its memory device,
    /// the function of that, or its serial number.
    ///
    /// ```
    /// use memtopo::topology::cxl::CxlTree;
    ///
    /// assert!(CxlTree::default().port_called("0000:35:00.0").is_none());
    /// ```
    #[must_use]
    pub fn port_called(&self, name: &str) -> Option<&Port> {
        let serial = |memdev: &Memdev| {
            let digits = name.strip_prefix("serial").unwrap_or(name).trim_start_matches(['-', '_']);
            let value = match digits.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => digits.parse().ok(),
            };
            value.is_some() && memdev.serial == value
        };
        let by_device = || {
            self.ports.iter().find(|port| {
                let memdev = self.memdev_of(port);
                memdev.is_some_and(|memdev| memdev.host.as_deref() == Some(name) || serial(memdev))
            })
        };
        self.port(name)
            .or_else(|| self.ports.iter().find(|port| port.host.as_deref() == Some(name)))
            .or_else(by_device)
    }

    /// The port with this number; all kinds of ports share their numbers.
    #[must_use]
    pub fn port_by_number(&self, number: u32) -> Option<&Port> {
        self.ports.iter().find(|port| numbers(&port.name).0 == number)
    }

    /// The decoders of a port, by index.
    pub fn decoders_of(&self, port: &str) -> impl Iterator<Item = &Decoder> {
        self.decoders.iter().filter(move |decoder| decoder.port == port)
    }

    /// The memory device of an endpoint.
    #[must_use]
    pub fn memdev_of(&self, endpoint: &Port) -> Option<&Memdev> {
        let host = endpoint.host.as_deref()?;
        self.memdevs.iter().find(|memdev| memdev.name == host)
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Option<&Port> {
        self.ports.iter().find(|port| port.kind == PortKind::Root)
    }

    /// Whether a decoder is committed: decoders are, from index 0 on without gaps.
    #[must_use]
    pub fn is_committed(&self, decoder: &Decoder) -> bool {
        let count = self.port(&decoder.port).and_then(|port| port.decoders_committed);
        decoder.size.0 != 0 && count.is_some_and(|count| decoder.index < count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_read_as_sysfs_prints_them() {
        let speed = |text| PciLink::parse_speed(text).map(|speed| speed.0);
        assert_eq!(speed("32.0 GT/s PCIe"), Some(32000));
        assert_eq!(speed("2.5 GT/s PCIe\n"), Some(2500));
        assert_eq!(speed("64"), Some(64000));
        for other in ["Unknown", "", "0.0 GT/s PCIe", "2.55 GT/s", "-8.0 GT/s"] {
            assert_eq!(speed(other), None, "{other}");
        }
        let link = |text| PciLink::parse(text).map(|link| (link.speed.0, link.width.0, link.flit));
        assert_eq!(link("32x16"), Some((32000, 16, None)));
        assert_eq!(link("2.5x1:68"), Some((2500, 1, Some(false))));
        assert_eq!(link("64x8:256"), Some((64000, 8, Some(true))));
        for other in ["32", "x16", "32x", "32x0", "32x33", "32x16:", "32x16:64", "0x16", "32x-1"] {
            assert_eq!(link(other), None, "{other}");
        }
    }

    #[test]
    fn names_sort_by_number() {
        assert_eq!(numbers("decoder10.2"), (10, 2));
        assert_eq!(numbers("root0"), (0, 0));
        assert!(numbers("port9") < numbers("endpoint10"));
        assert_eq!(numbers("port"), (u32::MAX, 0));
    }
}
