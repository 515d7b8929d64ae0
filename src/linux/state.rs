//! The state of a booted machine, which events change step by step.

use super::access::{Access, NodeAccess};
use super::added::{AddedMemory, MemoryDevice, NotAdded};
use super::block_map::{BlockId, BlockMap, GroupId};
use super::changes::Change;
use super::coordinates::Class;
use super::cxl::{self, Cxl};
use super::demotion::Demotion;
use super::fallback::{Loads, Ranking};
use super::hmat::Crash;
use super::interleave::Weights;
use super::kernel::{Kernel, Version};
use super::memory_map::{MapFailure, MemoryMap};
use super::movable;
use super::moved::Origin;
use super::node_set::NodeSet;
use super::nodes::{Description, Nodes, Stop};
use super::online::{Group, OnlineKind};
use super::placement::Placement;
use super::quirks::Quirk;
use super::reason::{Fact, Notes, Reason, Section, Subject, Unit};
use super::region_ids::RegionIds;
use super::rules;
use super::settings::Settings;
use super::soft_reserved::DaxDevice;
use super::srat::AcceptedMemory;
use super::tiers::Tiers;
use super::zones::Zones;
use crate::bundle::memory_map::FirmwareMap;
use crate::topology::Topology;
use crate::topology::performance::Performance;
use crate::units::NodeId;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What decides how a machine boots.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What the tables say.
    pub topology: &'a Topology<'a>,
    /// The memory map that firmware hands over.
    pub memory_map: &'a FirmwareMap,
    /// ACPI memory devices that are there at boot, in the order of the namespace.
    pub memory_devices: &'a [MemoryDevice],
    /// The kernel, its command line and what it learns from the processor.
    pub kernel: &'a Kernel,
}

/// A booted machine: the first state. Events make the next ones.
#[derive(Clone, Debug)]
pub struct State<'a> {
    /// What the tables say.
    pub topology: &'a Topology<'a>,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The memory map after the command line.
    pub memory_map: MemoryMap,
    /// Nodes and who owns what.
    pub nodes: Nodes,
    /// Access classes and caches.
    pub access: Access,
    /// In which order nodes stand in for each other, for each possible node.
    pub fallback: Vec<(NodeId, Vec<NodeId>)>,
    /// What is left over from building those orders.
    pub loads: Loads,
    /// Tiers and demotion.
    pub tiers: Tiers,
    /// Interleave weights.
    pub weights: Weights,
    /// Memory that was added after the nodes were set up.
    pub added: Vec<AddedMemory>,
    /// What is online of memory that was added together.
    pub groups: BTreeMap<GroupId, Group>,
    /// Blocks that were asked to come online while they were: what was asked stays until they come online again.
    pub(crate) asked_in_vain: BTreeMap<BlockId, OnlineKind>,
    /// The number of the next group.
    pub(crate) next_group: u32,
    /// ACPI memory devices that are plugged in, whether the kernel took their memory or not.
    pub devices: Vec<MemoryDevice>,
    /// The zones.
    pub zones: Zones,
    /// The memory blocks.
    pub blocks: BlockMap,
    /// What the boot put where for good.
    pub placement: Placement,
    /// What can be set at run time.
    pub settings: Settings,
    /// Drivers that are loaded, by module name.
    pub loaded: Vec<String>,
    /// An HMAT that replaced the one of the boot.
    pub(crate) updated: Option<Performance<'a>>,
    /// An HMAT that firmware would give now, if anybody asked.
    pub(crate) offered: Option<Performance<'a>>,
    /// What nodes had before their owner moved them.
    pub(crate) moved: BTreeMap<NodeId, Origin>,
    /// Demotion targets that the log told since the boot, each node's last.
    pub announced: BTreeMap<NodeId, Demotion>,
    /// What changed in the last step.
    pub(crate) changes: Vec<(Change, Reason)>,
    /// CXL, once its drivers are there.
    pub cxl: Option<Cxl>,
    pub(crate) cxl_loaded: cxl::Loaded,
    /// Numbers of regions and of devices over memory.
    pub region_ids: RegionIds,
    /// Devices over soft-reserved memory and CXL regions.
    pub dax: Vec<DaxDevice>,
    /// Nodes of which a CXL region was the first to hand over figures.
    pub(crate) regions_seen: NodeSet,
    /// The kmem driver is loaded.
    pub(crate) kmem: bool,
    /// Reasons, and what the inputs do not tell.
    pub notes: Notes,
}

/// A boot that does not reach a running system, or of which the inputs do not tell enough.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why the kernel dies; `None` when the inputs do not tell what happens.
    pub panic: Option<Reason>,
    /// The memory map, as far as it got.
    pub memory_map: Option<MemoryMap>,
    /// What the kernel had logged of the SRAT by then.
    pub accepted: Vec<AcceptedMemory>,
    /// What the kernel had made of the description of nodes by then.
    pub description: Option<Description>,
    /// Reasons, and what the inputs do not tell.
    pub notes: Notes,
}

impl<'a> State<'a> {
    /// Boots a kernel.
    ///
    /// # Errors
    /// When the kernel would not come up, or the inputs do not tell which nodes there are.
    pub fn boot(inputs: Inputs<'a>) -> Result<Self, Box<Failure>> {
        let Inputs { topology, memory_map: firmware, kernel, .. } = inputs;
        let mut notes = Notes::default();
        let memory_map = match MemoryMap::new(firmware, kernel) {
            Ok(map) => map,
            Err(failure) => return Err(Box::new(Failure::of_map(failure, notes))),
        };
        let nodes = match Nodes::boot(topology, &memory_map, kernel, &mut notes) {
            Ok(nodes) => nodes,
            Err(stop) => {
                let (panic, accepted, description) = match stop {
                    Stop::Panic(reason, accepted, description) => (Some(reason), accepted, description),
                    Stop::Undetermined => (None, Vec::new(), None),
                };
                let memory_map = Some(memory_map);
                return Err(Box::new(Failure { panic, memory_map, accepted, description, notes }));
            }
        };

        // Lists are built before any processor is entered in a node's mask, so none is avoided for its sake.
        let nobody = NodeSet::new();
        let ranking =
            Ranking { distances: &nodes.distances, has_memory: &nodes.has_memory, has_cpu: &nobody };
        let (fallback, loads) = ranking.build(&nodes.possible, kernel.config.max_nodes);

        let weights = Weights::new(kernel.switches.interleave, &nodes.has_memory, &nodes.possible);
        let zones = Zones::boot(&nodes, &memory_map, movable::mirrored(&memory_map, kernel));
        let blocks = BlockMap::boot(&nodes, &memory_map, &zones, kernel);
        let placement = Placement::new(&nodes, &memory_map, kernel);
        let mut state = Self {
            topology,
            kernel,
            memory_map,
            nodes,
            access: Access::default(),
            fallback,
            loads,
            tiers: Tiers { quirks: kernel.switches.quirks, ..Tiers::default() },
            weights,
            added: Vec::new(),
            groups: BTreeMap::new(),
            asked_in_vain: BTreeMap::new(),
            next_group: 0,
            devices: inputs.memory_devices.to_vec(),
            zones,
            blocks,
            placement,
            settings: Settings::new(kernel),
            loaded: Vec::new(),
            updated: None,
            offered: None,
            moved: BTreeMap::new(),
            announced: BTreeMap::new(),
            changes: Vec::new(),
            cxl: None,
            cxl_loaded: cxl::Loaded::default(),
            region_ids: RegionIds::default(),
            dax: Vec::new(),
            regions_seen: NodeSet::new(),
            kmem: false,
            notes,
        };
        if let Err(crash) = state.initcalls(inputs.memory_devices) {
            return Err(Box::new(state.crashed(crash)));
        }
        for driver in &kernel.drivers {
            state.load(driver);
        }
        // A captured hierarchy shows that its drivers were there.
        if kernel.drivers.is_empty() && topology.cxl.is_some() {
            for driver in ["cxl_mem", "cxl_acpi", "cxl_pci"] {
                state.load(driver);
            }
        }
        // What changed so far is the boot itself.
        state.changes.clear();
        state.announced.clear();
        Ok(state)
    }

    /// What subsystems do once processors are up, in their order.
    fn initcalls(&mut self, memory_devices: &[MemoryDevice]) -> Result<(), Crash> {
        let dram = Self::dram_nodes(&self.nodes);
        for device in memory_devices {
            let before = self.nodes.has_memory.clone();
            let limit = self.memory_map.hot_add_limit;
            let beyond = limit.is_some_and(|limit| device.range.end > limit);
            let added = if beyond { Err(NotAdded::BeyondLimit) } else { self.add_device(device) };
            if let Err(refusal) = added {
                let fact = Fact::known("start", device.range.start.0).of(Unit::Address);
                let detail = format!("{refusal:?}");
                let reason = Reason::new(rules::DEVICE_REFUSED).with([fact]).because(detail);
                self.notes.reason(Subject::MemoryMap, reason);
            }
            for node in self.nodes.has_memory.difference(&before).iter() {
                self.notes.reason(Subject::Tier(node), Reason::new(rules::TIER_EARLY));
            }
        }

        self.access = Access::boot(self.topology, &self.nodes, self.kernel, &mut self.notes)?;
        let [_, of_processors] = &self.access.classes;
        let published: Vec<NodeId> = of_processors
            .iter()
            .filter(|(_, class)| class.coordinates.is_some())
            .map(|(node, _)| *node)
            .collect();
        for node in &published {
            self.publish(*node);
        }
        if !published.is_empty() {
            self.weights.reduce(&self.nodes.has_memory, &mut self.notes);
        }
        self.tiers.find_reference(&dram, &self.nodes, &self.access, self.kernel, &mut self.notes);

        if !self.kernel.switches.quirks.has(Quirk::EarlyDevices) {
            self.forget_early();
        }
        let untyped = |node: &NodeId| !self.tiers.distance.contains_key(node);
        let late: Vec<NodeId> = self.nodes.has_memory.iter().filter(untyped).collect();
        for node in late {
            self.join_tier(node);
        }
        self.find_demotion();
        Ok(())
    }

    /// Lets go of the tiers of nodes that got theirs before the HMAT was read.
    fn forget_early(&mut self) {
        for node in core::mem::take(&mut self.tiers.distance).into_keys() {
            self.tiers.leave(node);
            self.notes.reasons.retain(|(subject, _)| *subject != Subject::Tier(node));
        }
    }

    /// Loads a driver, by module name, after those that it depends on; `false` when it is there already. Drivers that
    /// change nothing here are accepted.
    pub(crate) fn load(&mut self, driver: &str) -> bool {
        // `-` and `_` are the same in module names.
        let name = driver.replace('-', "_");
        if self.loaded.contains(&name) {
            return false;
        }
        // What the modules of Debian's kernels name as their needs.
        let latest = self.kernel.version == Version::V7_2;
        let needs: &[&str] = match name.as_str() {
            "cxl_acpi" if latest => &["cxl_core", "cxl_pmem"],
            "dax_cxl" if latest => &["cxl_core", "dax_hmem"],
            "cxl_acpi" | "cxl_port" | "dax_cxl" => &["cxl_core"],
            "cxl_mem" => &["cxl_core", "cxl_port"],
            // The memory devices that it finds are attached by the other (seen on 7.2.12).
            "cxl_pci" => &["cxl_mem"],
            "cxl_pmem" => &["cxl_core", "libnvdimm"],
            "nd_pmem" | "nfit" => &["libnvdimm"],
            _ => &[],
        };
        for needed in needs {
            self.load(needed);
        }
        self.loaded.push(name.clone());
        self.changed(Change::DriverLoaded(name.clone()), Reason::new(rules::DRIVER_LOADED));
        match name.as_str() {
            "dax_hmem" => self.load_dax_hmem(),
            "kmem" => self.load_kmem(),
            "dax_cxl" => self.add_region_devices(),
            other => self.load_cxl(other),
        }
        true
    }

    fn crashed(self, crash: Crash) -> Failure {
        Failure {
            panic: Some(crash.0),
            memory_map: Some(self.memory_map),
            accepted: self.nodes.accepted,
            description: Some(self.nodes.description),
            notes: self.notes,
        }
    }

    /// The figures that a node shows for processors.
    #[must_use]
    pub fn class(&self, node: NodeId, class: Class) -> Option<&NodeAccess> {
        let [local, cpu] = &self.access.classes;
        let shown = if class == Class::Cpu { cpu } else { local };
        shown.get(&node)
    }
}

/// The HMAT that counts: the one that replaced that of the boot, else that.
pub(crate) fn hmat<'s, 'a>(
    topology: &'s Topology<'a>,
    updated: Option<&'s Performance<'a>>,
) -> Option<&'s Performance<'a>> {
    updated.or(topology.performance.as_ref())
}

impl Failure {
    fn of_map(failure: MapFailure, mut notes: Notes) -> Self {
        let panic = match failure {
            MapFailure::InvalidUserMap => Some(Reason::new(rules::MAP_INVALID)),
            MapFailure::Unusable => {
                notes.reason(Subject::MemoryMap, Reason::new(rules::MAP_LOST));
                notes.missing(Section::Everything, "the boot loader's legacy memory sizes");
                None
            }
        };
        Self { panic, memory_map: None, accepted: Vec::new(), description: None, notes }
    }
}
