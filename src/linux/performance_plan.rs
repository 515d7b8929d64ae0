//! Latency, bandwidth and QoS class of CXL devices and regions as a plan shows them.

use super::coordinates::Class;
use super::cxl_performance::{Classes, DevicePerformance, Lack, PartitionPerformance};
use super::cxl_platform::table_of;
use super::quirks::Quirk;
use super::reason::{Reason, Section, Subject};
use super::rules;
use super::state::State;
use super::tiers::AbstractDistance;
use crate::bundle::paths::is_function;
use crate::topology::cxl::{Memdev, Port, PortKind};
use crate::units::NodeId;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What the kernel knows of the speed of CXL memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerformancePlan {
    /// Devices that have an endpoint, in the order of the devices of the plan.
    pub devices: Vec<DeviceFigures>,
    /// Regions that have all their endpoints, by number.
    pub regions: Vec<RegionFiguresPlan>,
    /// What was taken for granted because the machine is QEMU's.
    pub assumed: Vec<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFigures {
    /// Its serial number.
    pub serial: Option<u64>,
    /// Its memory; or why there is nothing.
    pub memory: Result<DevicePerformance, Lack>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionFiguresPlan {
    /// Its name.
    pub name: String,
    /// The node that its memory belongs to.
    pub node: Option<NodeId>,
    /// Its figures; or why there are none.
    pub figures: Result<RegionValues, Lack>,
}

/// The figures of a region and what comes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionValues {
    /// For any initiator and for processors.
    pub classes: Classes,
    /// The same with the latency of links for what it is.
    pub physical: Classes,
    /// The abstract distance that the kernel gives memory like this; `None` where it gives none.
    pub distance: Option<AbstractDistance>,
    /// The distance that it would have with the latency of links for what it is.
    pub physical_distance: Option<AbstractDistance>,
    /// How the figures came to be.
    pub reasons: Vec<Reason>,
}

impl PerformancePlan {
    /// What the inputs do not tell.
    pub fn untold(&self) -> impl Iterator<Item = &str> {
        let devices = self.devices.iter().map(|device| device.memory.as_ref().err());
        let regions = self.regions.iter().map(|region| region.figures.as_ref().err());
        devices.chain(regions).flatten().filter_map(|lack| match lack {
            Lack::Untold(missing) => Some(missing.as_str()),
            Lack::Kernel(_) => None,
        })
    }
}

impl State<'_> {
    /// What is known of the speed of CXL memory; `None` before the drivers are there.
    pub(crate) fn performance_plan(&self) -> Option<PerformancePlan> {
        let (figures, cxl) = self.figures().zip(self.cxl.as_ref())?;
        let mut memdevs: Vec<&Memdev> = cxl.tree.memdevs.iter().collect();
        memdevs.sort_by_key(|memdev| memdev.serial);
        let mut devices = Vec::new();
        for memdev in memdevs {
            let of_device = |endpoint: &str| Some(endpoint) == Some(memdev.name.as_str());
            let endpoints = cxl.tree.ports.iter().filter(|port| port.kind == PortKind::Endpoint);
            let mut endpoints = endpoints.filter(|port| port.host.as_deref().is_some_and(of_device));
            if let Some(endpoint) = endpoints.next() {
                devices.push(DeviceFigures { serial: memdev.serial, memory: figures.device(endpoint) });
            }
        }
        let full = cxl
            .tree
            .regions
            .iter()
            .filter(|region| !region.targets.is_empty() && region.targets.iter().all(Option::is_some));
        let regions = full.map(|region| RegionFiguresPlan {
            name: region.name.clone(),
            node: self.nodes.target_node(region.start, self.kernel),
            figures: self.region_values(&region.name),
        });
        let mut plan = PerformancePlan { devices, regions: regions.collect(), assumed: Vec::new() };
        if plan.devices.iter().any(|device| device.memory.is_ok()) {
            plan.assumed = self.assumed();
        }
        Some(plan)
    }

    fn region_values(&self, region: &str) -> Result<RegionValues, Lack> {
        let figures = self.region_figures(region)?;
        let physical = self.region_figures_without(region, Quirk::LinkLatencyUnit)?;
        let distance = |classes: &Classes| self.distance_of(classes).map(|(distance, _)| distance);
        Ok(RegionValues {
            classes: figures.classes,
            physical: physical.classes,
            distance: distance(&figures.classes),
            physical_distance: distance(&physical.classes),
            reasons: figures.reasons,
        })
    }

    /// What the model takes for granted of QEMU's machines.
    fn assumed(&self) -> Vec<String> {
        let (platform, topology) = (&self.kernel.platform.cxl, self.topology);
        let Some(cxl) = &self.cxl else { return Vec::new() };
        let mut assumed = Vec::new();
        let functions = cxl.tree.memdevs.iter().filter_map(|memdev| memdev.host.as_deref());
        let links = functions.chain(cxl.tree.ports.iter().filter_map(|port| port.parent_dport.as_deref()));
        let by_default =
            |function: &str| platform.link(function, topology).is_some_and(|(_, assumed)| assumed);
        if links.filter(|function| is_function(function)).any(by_default) {
            assumed.push("CXL links of 32 GT/s and 16 lanes (cxl_link)".to_owned());
        }
        if platform.qtg(topology).is_some_and(|(_, assumed)| assumed) {
            assumed.push("QoS group 0 for all memory (cxl_qtg)".to_owned());
        }
        let switches =
            cxl.tree.ports.iter().filter(|port| {
                port.kind == PortKind::Switch && port.host.as_deref().is_some_and(is_function)
            });
        for switch in switches {
            if table_of(topology, &switch.name).is_none() && platform.is_emulated(topology) {
                let host = switch.host.as_deref().unwrap_or_default();
                assumed.push(format!("150 ns and 16384 MB/s through the switch {host} (its CDAT)"));
            }
        }
        assumed
    }

    /// The QoS classes of a device; `None` where the inputs do not tell.
    pub(crate) fn qos_classes(&self, memdev: &Memdev) -> Option<[Option<i64>; 2]> {
        let (figures, cxl) = self.figures().zip(self.cxl.as_ref())?;
        let endpoints = cxl.tree.ports.iter().filter(|port| port.kind == PortKind::Endpoint);
        let mut endpoints = endpoints.filter(|port| port.host.as_deref() == Some(memdev.name.as_str()));
        let Some(endpoint) = endpoints.next() else {
            // Before a device has its endpoint, nothing is known of it. One whose decoders are refused has none in the
            // end, and what was found before that stays: only a capture tells.
            let of_device = |port: &Port| port.host.as_deref() == Some(memdev.name.as_str());
            let comes = self.topology.cxl.as_ref().is_some_and(|tree| tree.ports.iter().any(of_device));
            return comes.then_some([None, None]);
        };
        let class = |partition: Option<&PartitionPerformance>| partition.map(|partition| partition.class);
        match figures.device(endpoint) {
            Ok(device) => Some([class(device.ram.as_ref()), class(device.pmem.as_ref())]),
            Err(Lack::Kernel(_)) => Some([None, None]),
            Err(Lack::Untold(_)) => None,
        }
    }

    /// A node got its first memory: the first region on it that ever was hands over its figures
    /// (`cxl_region_perf_attrs_callback`). Access classes that are there show them, and processors' bandwidth counts
    /// for interleave weights all the same. Whether weights have to be found anew.
    pub(crate) fn hand_over_region(&mut self, node: NodeId) -> bool {
        let Some(region) = self.regions_on(node).first().map(|region| region.name.clone()) else {
            return false;
        };
        if !self.regions_seen.insert(node) {
            return false;
        }
        self.take_figures(node, &region)
    }

    fn take_figures(&mut self, node: NodeId, region: &str) -> bool {
        let figures = match self.region_figures(region) {
            Ok(figures) => figures,
            Err(Lack::Kernel(_)) => return false,
            Err(Lack::Untold(missing)) => {
                for (class, section) in Class::SHOWN.into_iter().zip([Section::Access0, Section::Access1]) {
                    if self.class(node, class).is_some_and(|class| class.coordinates.is_some()) {
                        self.notes.missing(section, missing.clone());
                    }
                }
                self.notes.missing(Section::Interleave, missing);
                return false;
            }
        };
        let mut published = false;
        let [of_local, of_cpu] = figures.classes;
        for (class, own) in Class::SHOWN.into_iter().zip([of_local, of_cpu]) {
            if own.read_bandwidth.0 == 0 {
                continue;
            }
            let [local, cpu] = &mut self.access.classes;
            let shown = if class == Class::Cpu { cpu } else { local };
            if let Some(there) = shown.get_mut(&node).and_then(|access| access.coordinates.as_mut()) {
                *there = own;
                let reason = Reason::new(rules::ACCESS_REGION).because(region.to_owned());
                self.notes.reason(Subject::Access(node, class.number()), reason);
            }
            if class == Class::Cpu {
                self.weights.publish(node, &own);
                published = true;
            }
        }
        published
    }
}
