//! The state of a booted machine, which events change step by step.

use super::access::{Access, Class};
use super::fallback::{Loads, Ranking};
use super::interleave::Weights;
use super::kernel::Kernel;
use super::memory_map::{MapFailure, MemoryMap};
use super::node_set::NodeSet;
use super::nodes::{Description, Nodes, Stop};
use super::reason::{Notes, Reason, Section, Subject};
use super::rules;
use super::srat::AcceptedMemory;
use super::tiers::Tiers;
use crate::bundle::memory_map::FirmwareMap;
use crate::topology::Topology;
use crate::units::NodeId;
use alloc::vec::Vec;

/// What decides how a machine boots.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What the tables say.
    pub topology: &'a Topology<'a>,
    /// The memory map that firmware hands over.
    pub memory_map: &'a FirmwareMap,
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
    pub fn boot(inputs: Inputs<'a>) -> Result<Self, Failure> {
        let Inputs { topology, memory_map: firmware, kernel } = inputs;
        let mut notes = Notes::default();
        let memory_map = match MemoryMap::new(firmware, kernel) {
            Ok(map) => map,
            Err(failure) => return Err(Failure::of_map(failure, notes)),
        };
        let nodes = match Nodes::boot(topology, &memory_map, kernel, &mut notes) {
            Ok(nodes) => nodes,
            Err(stop) => {
                let (panic, accepted, description) = match stop {
                    Stop::Panic(reason, accepted, description) => (Some(reason), accepted, description),
                    Stop::Undetermined => (None, Vec::new(), None),
                };
                return Err(Failure { panic, memory_map: Some(memory_map), accepted, description, notes });
            }
        };

        // Lists are built before any processor is entered in a node's mask, so none is avoided for its sake.
        let nobody = NodeSet::new();
        let ranking =
            Ranking { distances: &nodes.distances, has_memory: &nodes.has_memory, has_cpu: &nobody };
        let (fallback, loads) = ranking.build(&nodes.possible, kernel.config.max_nodes);

        let mut access = match Access::boot(topology, &nodes, kernel, &mut notes) {
            Ok(access) => access,
            Err(crash) => {
                let description = Some(nodes.description);
                return Err(Failure {
                    panic: Some(crash.0),
                    memory_map: Some(memory_map),
                    accepted: nodes.accepted,
                    description,
                    notes,
                });
            }
        };
        let mut weights = Weights::new(kernel.switches.interleave, &nodes.has_memory, &nodes.possible);
        let [_, of_processors] = &access.classes;
        let published = of_processors.iter().filter_map(|(node, class)| Some((*node, class.coordinates?)));
        let mut any = false;
        for (node, coordinates) in published {
            weights.publish(node, &coordinates);
            any = true;
        }
        if any {
            weights.reduce(&nodes.has_memory, &mut notes);
        }
        let hmat = topology.performance.as_ref();
        let mut tiers = Tiers::boot(&nodes, &mut access, hmat, kernel, &mut notes);
        tiers.find_demotion(&nodes, &loads, &mut notes);
        Ok(Self { topology, kernel, memory_map, nodes, access, fallback, loads, tiers, weights, notes })
    }

    /// The figures that a node shows for processors.
    #[must_use]
    pub fn class(&self, node: NodeId, class: Class) -> Option<&super::access::NodeAccess> {
        let [local, cpu] = &self.access.classes;
        let shown = if class == Class::Cpu { cpu } else { local };
        shown.get(&node)
    }
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
