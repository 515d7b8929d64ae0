//! How fast a CXL device is as its host sees it: host bridge, switches, links and the device itself
//! (`drivers/cxl/core/port.c: cxl_endpoint_get_perf_coordinates`, `core/cdat.c: cxl_endpoint_parse_cdat`).

use super::access::{Access, Status};
use super::cdat_performance::{CdatFault, DeviceRange, SwitchPath, device_ranges, switch_path};
use super::coordinates::Coordinates;
use super::cxl_platform::{CxlPlatform, switch_table_of_qemu, table_of};
use super::quirks::{Quirk, Quirks};
use super::reason::{Fact, Reason, Unit};
use super::rules;
use super::windows::RootDecoder;
use crate::tables::hmat::DataType;
use crate::topology::cxl::{CxlTree, DpaRange, Memdev, Mode, PciLink, Port, PortKind};
use crate::topology::device_tables::DeviceTable;
use crate::topology::{Source, Topology};
use crate::units::{
    AcpiUid, DsmasHandle, MegabytesPerSecond, MegatransfersPerSecond, Nanoseconds, Picoseconds,
};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Figures for both access classes: any initiator, and processors.
pub type Classes = [Coordinates; 2];

/// Why there are no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The kernel has none, and why.
    Kernel(Reason),
    /// The inputs do not tell; what is missing.
    Untold(String),
}

impl Lack {
    fn kernel<T>(detail: impl Into<String>) -> Result<T, Self> {
        Err(Self::Kernel(Reason::new(rules::CXL_NO_FIGURES).because(detail)))
    }
}

/// Of two lacks the one that decides: what the kernel refuses, it refuses whatever else is missing.
fn decisive(one: Lack, other: Lack) -> Lack {
    match (&one, &other) {
        (Lack::Untold(_), Lack::Kernel(_)) => other,
        _ => one,
    }
}

/// Both values, or the lack that decides.
fn both<A, B>(one: Result<A, Lack>, other: Result<B, Lack>) -> Result<(A, B), Lack> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(decisive(one, other)),
        (Err(lack), Ok(_)) | (Ok(_), Err(lack)) => Err(lack),
    }
}

/// Adds latencies and takes the smaller bandwidth (`cxl_coordinates_combine`); a bandwidth of which either is 0 stays
/// as it was in `out`.
pub(crate) fn combine(out: Coordinates, one: &Coordinates, other: &Coordinates) -> Coordinates {
    let slower = |kept: MegabytesPerSecond, one: MegabytesPerSecond, other: MegabytesPerSecond| {
        if one.0 == 0 || other.0 == 0 { kept } else { one.min(other) }
    };
    Coordinates {
        read_latency: Nanoseconds(one.read_latency.0.wrapping_add(other.read_latency.0)),
        write_latency: Nanoseconds(one.write_latency.0.wrapping_add(other.write_latency.0)),
        read_bandwidth: slower(out.read_bandwidth, one.read_bandwidth, other.read_bandwidth),
        write_bandwidth: slower(out.write_bandwidth, one.write_bandwidth, other.write_bandwidth),
    }
}

/// Whether all four figures are there, in both classes (`coordinates_valid`).
fn valid(classes: &Classes) -> bool {
    classes.iter().all(|one| {
        let bandwidths = [one.read_bandwidth.0, one.write_bandwidth.0];
        one.read_latency.0 != 0 && one.write_latency.0 != 0 && bandwidths.iter().all(|value| *value != 0)
    })
}

/// Both directions of both classes with one latency and one bandwidth.
const fn alike(latency: Nanoseconds, bandwidth: MegabytesPerSecond) -> Coordinates {
    Coordinates {
        read_latency: latency,
        write_latency: latency,
        read_bandwidth: bandwidth,
        write_bandwidth: bandwidth,
    }
}

/// What it takes a flit to pass a link (`cxl_pci_get_latency`). The width does not count.
#[must_use]
pub fn link_latency(link: &PciLink) -> Picoseconds {
    let flit: u32 = if moves_large_flits(link) { 256 } else { 68 };
    let bytes = link.speed.0.checked_div(8).unwrap_or_default();
    Picoseconds(flit.saturating_mul(1_000_000).checked_div(bytes).unwrap_or_default())
}

/// 64 GT/s has no other flits; below, 68 bytes are what links move unless something says otherwise.
fn moves_large_flits(link: &PciLink) -> bool {
    link.flit.unwrap_or(link.speed >= MegatransfersPerSecond(64000))
}

/// What a link carries without its encoding (`cxl_pci_get_bandwidth`).
#[must_use]
pub fn raw_bandwidth(link: &PciLink) -> MegabytesPerSecond {
    let lane = link.speed.0.checked_div(8).unwrap_or_default();
    MegabytesPerSecond(lane.saturating_mul(link.width.0))
}

/// What a link carries with its encoding, in Mb/s (`drivers/pci/pci.c: pcie_bandwidth_capable`, `PCIE_SPEED2MBS_ENC`).
fn encoded_megabits(link: &PciLink) -> u32 {
    let speed = link.speed.0;
    let lane = match speed {
        64000.. => Some(speed),
        8000.. => speed.saturating_mul(128).checked_div(130),
        _ => speed.saturating_mul(8).checked_div(10),
    };
    lane.unwrap_or_default().saturating_mul(link.width.0)
}

/// One term of a sum of latencies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// What it is.
    name: String,
    /// Class 1: read and write latency, read and write bandwidth; 0 for none.
    figures: Coordinates,
}

/// The way from a host to a device, without the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Latency and bandwidth of the way.
    pub classes: Classes,
    /// The `_UID` of the host bridge.
    pub bridge: AcpiUid,
    terms: Vec<Term>,
    facts: Vec<Fact>,
}

/// What a partition of a device is worth (`struct cxl_dpa_perf`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPerformance {
    /// QoS class.
    pub class: i64,
    /// The range of the CDAT that counts for the partition.
    pub range: DeviceRange,
    /// As the host sees it.
    pub classes: Classes,
    /// Why.
    pub reason: Reason,
}

/// What the kernel knows of the memory of a device.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DevicePerformance {
    /// Volatile memory.
    pub ram: Option<PartitionPerformance>,
    /// Persistent memory.
    pub pmem: Option<PartitionPerformance>,
    /// What was erased, and why.
    pub erased: Vec<Reason>,
}

impl DevicePerformance {
    /// What is known of memory of one kind.
    #[must_use]
    pub const fn partition(&self, mode: Mode) -> Option<&PartitionPerformance> {
        match mode {
            Mode::Ram => self.ram.as_ref(),
            Mode::Pmem => self.pmem.as_ref(),
        }
    }
}

/// Everything that figures of devices are made from.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'s, 'a> {
    /// The tables.
    pub topology: &'s Topology<'a>,
    /// The hierarchy.
    pub tree: &'s CxlTree,
    /// What no table tells.
    pub platform: &'s CxlPlatform,
    /// What the HMAT says of generic ports.
    pub access: &'s Access,
    /// It is known on which nodes processors are.
    pub cpus_told: bool,
    /// The windows.
    pub roots: &'s [RootDecoder],
    /// Host bridges without ports, of CXL 1.1.
    pub restricted: &'s [AcpiUid],
    /// What the kernel does that hardly anybody wants.
    pub quirks: Quirks,
}

impl<'s> Figures<'s, '_> {
    /// The same of a kernel without one of its quirks.
    #[must_use]
    pub fn without(mut self, quirk: Quirk) -> Self {
        self.quirks = self.quirks.without(quirk);
        self
    }

    /// The link at a PCI function.
    fn link(&self, function: Option<&str>) -> Result<PciLink, Lack> {
        let told = function.and_then(|function| self.platform.link(function, self.topology));
        told.map(|(link, _)| link).ok_or_else(|| {
            let function = function.unwrap_or("a port");
            Lack::Untold(format!("the speed and width of the PCIe link at {function}"))
        })
    }

    /// The link of the function of a device or switch.
    pub(crate) fn raw_link(&self, function: Option<&str>) -> Result<MegabytesPerSecond, Lack> {
        self.link(function).map(|link| raw_bandwidth(&link))
    }

    /// The way through a switch to one of its downstream ports.
    fn through(&self, switch: &Port, dport: u32) -> Result<SwitchPath, Lack> {
        if let Some(table) = table_of(self.topology, &switch.name) {
            return Ok(switch_path(table, dport));
        }
        let port = u16::try_from(dport).ok().filter(|_| self.platform.is_emulated(self.topology));
        let Some(port) = port else {
            let host = switch.host.as_deref().unwrap_or(&switch.name);
            return Err(Lack::Untold(format!("the CDAT of the switch {host}")));
        };
        Ok(switch_path(&DeviceTable::new(None, &switch_table_of_qemu(&[port])), dport))
    }

    /// The same as figures of both classes, all of which have to be there.
    pub(crate) fn switch(&self, switch: &Port, dport: u32) -> Result<Coordinates, Lack> {
        let path = self.through(switch, dport)?;
        if valid(&[path.coordinates; 2]) {
            return Ok(path.coordinates);
        }
        let host = switch.host.as_deref().unwrap_or(&switch.name);
        let why = path.fault.map_or("no SSLBIS gives all four".to_owned(), |fault| format!("{fault}"));
        Lack::kernel(format!("figures of downstream port {dport} of the switch {host} are missing: {why}"))
    }

    /// What the HMAT says of a host bridge.
    pub(crate) fn bridge(&self, uid: AcpiUid) -> Result<Classes, Lack> {
        match self.access.status {
            Status::Absent => return Lack::kernel("there is no HMAT that the kernel looks at"),
            Status::Dropped => return Lack::kernel("the HMAT is dropped as a whole"),
            Status::Undetermined => return Err(Lack::Untold("what becomes of the HMAT".to_owned())),
            Status::Used => {}
        }
        let Some(classes) = self.access.port_coordinates(uid) else {
            return Lack::kernel(format!("no generic port of the SRAT has the UID {uid} of the host bridge"));
        };
        if valid(&classes) {
            return Ok(classes);
        }
        if !self.cpus_told {
            return Err(Lack::Untold("on which nodes processors are".to_owned()));
        }
        let by_memory = self.access.port_target(uid).is_some_and(|target| !target.is_port());
        Lack::kernel(if by_memory {
            format!(
                "the UID {uid} of the host bridge is taken for that of memory, which has no figures of a port"
            )
        } else {
            format!("the HMAT does not give the generic port with UID {uid} all four figures in both classes")
        })
    }

    /// The way to an endpoint.
    ///
    /// # Errors
    /// Where the kernel has no figures, or the inputs do not tell them.
    pub fn path(&self, endpoint: &Port) -> Result<Path, Lack> {
        let mut total = [alike(Nanoseconds(0), MegabytesPerSecond(u32::MAX)); 2];
        let mut lack: Option<Lack> = None;
        let mut note = |found: Lack| {
            lack = Some(match lack.take() {
                Some(before) => decisive(before, found),
                None => found,
            });
        };
        let (mut terms, mut facts) = (Vec::new(), Vec::new());
        let mut functions = Vec::new();
        if let Some(memdev) = self.tree.memdev_of(endpoint) {
            functions.push(memdev.host.as_deref());
        }
        let broken = || Err(Lack::Untold(format!("the ports above {}", endpoint.name)));
        let mut below = endpoint;
        let bridge = loop {
            let Some((port, dport)) = self.above(below).filter(|_| functions.len() <= self.tree.ports.len())
            else {
                return broken();
            };
            if port.kind == PortKind::Root {
                break dport;
            }
            let top = self.above(port).is_some_and(|(above, _)| above.kind == PortKind::Root);
            if !top {
                match self.switch(port, dport) {
                    Ok(own) => {
                        total = total.map(|class| combine(class, &class, &own));
                        let name = format!("switch {}", port.host.as_deref().unwrap_or(&port.name));
                        terms.push(Term { name, figures: own });
                        facts.extend(self.switch_facts(port, dport));
                    }
                    Err(found) => note(found),
                }
            }
            let function = below.parent_dport.as_deref();
            functions.push(function);
            match self.link(function) {
                Ok(link) => {
                    let (figures, name) = self.link_term(&link, function.unwrap_or_default());
                    let zero = MegabytesPerSecond(0);
                    let own = alike(figures, zero);
                    total = total.map(|class| combine(class, &class, &own));
                    terms.push(Term { name, figures: own });
                }
                Err(found) => note(found),
            }
            if !top {
                functions.push(port.host.as_deref());
            }
            below = port;
        };
        let bridge = AcpiUid(bridge);
        if self.restricted.contains(&bridge) {
            return Err(Lack::Untold(format!("figures of devices below the CXL 1.1 host bridge {bridge}")));
        }
        match self.bridge(bridge) {
            Ok(classes) => {
                let [local, cpu] = classes;
                let [total_local, total_cpu] = total;
                total = [combine(total_local, &total_local, &local), combine(total_cpu, &total_cpu, &cpu)];
                terms.push(Term { name: format!("generic port of host bridge {bridge}"), figures: cpu });
                facts.extend(
                    self.access.port_target(bridge).map(|target| {
                        Fact::at(target.source, "proximity domain", u64::from(target.domain.0))
                    }),
                );
            }
            Err(found) => note(found),
        }
        match self.available(&functions) {
            Ok(MegabytesPerSecond(0)) => {
                note(Lack::Kernel(Reason::new(rules::CXL_NO_FIGURES).because("the PCIe links carry nothing")))
            }
            Ok(available) => {
                for class in &mut total {
                    class.read_bandwidth = class.read_bandwidth.min(available);
                    class.write_bandwidth = class.write_bandwidth.min(available);
                }
                terms.push(Term { name: "PCIe links".to_owned(), figures: alike(Nanoseconds(0), available) });
            }
            Err(found) => note(found),
        }
        match lack {
            Some(lack) => Err(lack),
            None => Ok(Path { classes: total, bridge, terms, facts }),
        }
    }

    /// The port above another, and the id of the downstream port that leads back.
    pub(crate) fn above(&self, port: &Port) -> Option<(&'s Port, u32)> {
        let above = self.tree.port(port.parent.as_deref()?)?;
        let dport = above.dports.iter().find(|dport| Some(&dport.device) == port.parent_dport.as_ref())?;
        Some((above, dport.id))
    }

    /// What a link adds to the latency: picoseconds taken for nanoseconds, or what they are.
    fn link_term(&self, link: &PciLink, function: &str) -> (Nanoseconds, String) {
        let latency = link_latency(link);
        let counted = if self.quirks.has(Quirk::LinkLatencyUnit) {
            latency.0
        } else {
            latency.0.checked_add(999).and_then(|sum| sum.checked_div(1000)).unwrap_or_default()
        };
        let flit = if moves_large_flits(link) { 256 } else { 68 };
        let (whole, tenth) = (link.speed.0 / 1000, link.speed.0 % 1000 / 100);
        let name = format!("link at {function}, {whole}.{tenth} GT/s, {flit} B a flit, {latency} ps");
        (Nanoseconds(counted), name)
    }

    /// What the slowest link on a way carries (`pcie_bandwidth_available`).
    fn available(&self, functions: &[Option<&str>]) -> Result<MegabytesPerSecond, Lack> {
        let mut slowest = u32::MAX;
        for function in functions {
            slowest = slowest.min(encoded_megabits(&self.link(*function)?));
        }
        Ok(MegabytesPerSecond(slowest.checked_div(8).unwrap_or_default()))
    }

    fn switch_facts(&self, switch: &Port, dport: u32) -> Vec<Fact> {
        let of_emulator = table_of(self.topology, &switch.name).is_none();
        let path = self.through(switch, dport).ok().filter(|_| !of_emulator);
        path.map(|path| of_table(&path.coordinates, &path.figures)).unwrap_or_default()
    }

    /// What the kernel knows of a device once it has its endpoint.
    ///
    /// # Errors
    /// Where the kernel has no figures, or the inputs do not tell them.
    pub fn device(&self, endpoint: &Port) -> Result<DevicePerformance, Lack> {
        let Some(memdev) = self.tree.memdev_of(endpoint) else {
            return Err(Lack::Untold(format!("the device of {}", endpoint.name)));
        };
        let ((ranges, path), class) =
            both(both(self.ranges(endpoint, memdev), self.path(endpoint)), self.class())?;
        let mut device = DevicePerformance::default();
        for (handle, range) in ranges {
            let classes =
                path.classes.map(|class| combine(Coordinates::default(), &range.coordinates, &class));
            let reason = explain(handle, &range, &path, &classes);
            let (ram, all) = (memdev.ram_size.0, memdev.ram_size.0.saturating_add(memdev.pmem_size.0));
            let inside = |start: u64, end: u64| {
                end.checked_sub(1).filter(|last| start <= *last).is_some_and(|last| range.inside(start, last))
            };
            let place = if inside(0, ram) {
                &mut device.ram
            } else if inside(ram, all) {
                &mut device.pmem
            } else {
                continue;
            };
            // Of several ranges in one partition the one with the highest handle counts.
            *place = Some(PartitionPerformance { class, range, classes, reason });
        }
        self.verify(&mut device, path.bridge);
        Ok(device)
    }

    fn ranges(&self, endpoint: &Port, memdev: &Memdev) -> Result<BTreeMap<DsmasHandle, DeviceRange>, Lack> {
        let Some(table) = table_of(self.topology, &endpoint.name) else {
            let name = memdev.serial.map_or(memdev.name.clone(), |serial| format!("serial {serial}"));
            return Err(Lack::Untold(format!("the CDAT of the device {name}")));
        };
        device_ranges(table).map_err(|fault: CdatFault| {
            let fact = fault.source().map(|source| Fact::at(source, "structure", source.offset));
            let detail = format!("nothing is taken from the CDAT: {fault}");
            Lack::Kernel(Reason::new(rules::CXL_NO_FIGURES).with(fact).because(detail))
        })
    }

    /// The class that the platform answers.
    fn class(&self) -> Result<i64, Lack> {
        match self.platform.qtg(self.topology) {
            None => Err(Lack::Untold("the answer of the QoS method (_DSM) of ACPI0017".to_owned())),
            Some((reply, _)) => match reply.class() {
                Some(class) => Ok(class),
                None => Lack::kernel("the QoS method (_DSM) of ACPI0017 names no group"),
            },
        }
    }

    /// Erases what matches no window (`cxl_qos_class_verify`).
    fn verify(&self, device: &mut DevicePerformance, bridge: AcpiUid) {
        let below_a_window = self.roots.iter().any(|root| root.targets.contains(&bridge));
        let known: Vec<i64> = self.roots.iter().map(|root| root.qtg).collect();
        for place in [&mut device.ram, &mut device.pmem] {
            let Some(partition) = place else { continue };
            let detail = if !below_a_window {
                format!("host bridge {bridge} is a target of no window")
            } else if !known.contains(&partition.class) {
                format!("no window has the QoS class {}", partition.class)
            } else {
                continue;
            };
            device.erased.push(Reason::new(rules::QOS_ERASED).because(detail));
            *place = None;
        }
    }

    /// What a range of device memory adds to a region: the figures of its partition, if they are about all of it.
    ///
    /// # Errors
    /// Where the inputs do not tell.
    pub fn share(
        &self,
        endpoint: &Port,
        mode: Mode,
        dpa: DpaRange,
    ) -> Result<Result<PartitionPerformance, Reason>, Lack> {
        let device = match self.device(endpoint) {
            Ok(device) => device,
            Err(Lack::Kernel(reason)) => return Ok(Err(reason)),
            Err(untold) => return Err(untold),
        };
        let last = dpa.start.0.saturating_add(dpa.size.0.saturating_sub(1));
        let Some(partition) = device.partition(mode) else {
            let none = || Reason::new(rules::CXL_NO_FIGURES).because("no DSMAS lies in the partition");
            return Ok(Err(device.erased.first().cloned().unwrap_or_else(none)));
        };
        if partition.range.holds(dpa.start.0, last) {
            return Ok(Ok(partition.clone()));
        }
        let detail = format!(
            "device addresses {:#x} to {last:#x} do not all lie in the DSMAS at {}",
            dpa.start.0, partition.range.source
        );
        Ok(Err(Reason::new(rules::CXL_NO_FIGURES).because(detail)))
    }
}

/// Figures and where they stand in a CDAT.
fn of_table(coordinates: &Coordinates, places: &BTreeMap<u8, Source>) -> Vec<Fact> {
    let fact = |(kind, source): (&u8, &Source)| {
        let kind = DataType(*kind);
        let (name, unit) = match kind {
            DataType::ACCESS_LATENCY => ("latency", Unit::Nanoseconds),
            DataType::READ_LATENCY => ("read latency", Unit::Nanoseconds),
            DataType::WRITE_LATENCY => ("write latency", Unit::Nanoseconds),
            DataType::ACCESS_BANDWIDTH => ("bandwidth", Unit::MegabytesPerSecond),
            DataType::READ_BANDWIDTH => ("read bandwidth", Unit::MegabytesPerSecond),
            _ => ("write bandwidth", Unit::MegabytesPerSecond),
        };
        Fact::at(*source, name, u64::from(coordinates.get(kind))).of(unit)
    };
    places.iter().map(fact).collect()
}

/// The sum with its numbers filled in, of the class of processors.
fn explain(handle: DsmasHandle, range: &DeviceRange, path: &Path, classes: &Classes) -> Reason {
    let [_, own] = classes;
    let device = Term { name: format!("device, DSMAS {handle}"), figures: range.coordinates };
    let terms = || path.terms.iter().chain(core::iter::once(&device));
    let sum = |of: fn(&Coordinates) -> u32| {
        let parts = terms().filter(|term| of(&term.figures) != 0);
        let parts: Vec<_> = parts.map(|term| format!("{} ({})", of(&term.figures), term.name)).collect();
        parts.join(" + ")
    };
    let least = |of: fn(&Coordinates) -> u32| {
        let parts = terms().filter(|term| of(&term.figures) != 0);
        let parts: Vec<_> = parts.map(|term| format!("{} ({})", of(&term.figures), term.name)).collect();
        parts.join(", ")
    };
    let detail = format!(
        "read {} = {} ns; write {} = {} ns; read bandwidth least of {} = {} MB/s; write bandwidth {} MB/s",
        sum(|of| of.read_latency.0),
        own.read_latency,
        sum(|of| of.write_latency.0),
        own.write_latency,
        least(|of| of.read_bandwidth.0),
        own.read_bandwidth,
        own.write_bandwidth
    );
    let mut facts = path.facts.clone();
    facts.push(Fact::at(range.source, "DSMAS handle", u64::from(handle.0)));
    facts.extend(of_table(&range.coordinates, &range.figures));
    Reason::new(rules::CXL_DEVICE_FIGURES).with(facts).because(detail)
}
