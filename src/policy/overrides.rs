//! What an owner says about single nodes: by number, by device, by kind of memory.

use super::tier_rules::TierName;
use crate::linux::node_set::NodeSet;
use crate::linux::state::State;
use crate::linux::tiers::AbstractDistance;
use crate::units::{AcpiUid, NodeId, ProximityDomain};
use core::fmt;

/// A kind of memory, by how the kernel came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryType {
    /// On nodes with processors.
    Dram,
    /// There at boot, on nodes without processors.
    CpuLess,
    /// Added as ACPI memory device.
    Device,
    /// Added by kmem, from a DAX device.
    Kmem,
    /// In a CXL window that has a node of its own.
    Cxl,
}

impl MemoryType {
    /// Every kind, with its name.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::Dram, "dram"),
        (Self::CpuLess, "cpu-less"),
        (Self::Device, "device"),
        (Self::Kmem, "kmem"),
        (Self::Cxl, "cxl"),
    ];

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// Which nodes an override is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// One node.
    Node(NodeId),
    /// The node of a proximity domain.
    Domain(ProximityDomain),
    /// The memory that a generic initiator, by its domain, reaches best.
    Initiator(ProximityDomain),
    /// The CXL windows behind a host bridge, by `_UID`, whose generic port the SRAT may describe.
    Port(AcpiUid),
    /// The node of a DAX device, by its number in the order in which the devices appear.
    Dax(usize),
    /// All nodes with a kind of memory.
    Memory(MemoryType),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Domain(domain) => write!(f, "proximity domain {domain}"),
            Self::Initiator(domain) => write!(f, "memory of initiator domain {domain}"),
            Self::Port(uid) => write!(f, "memory behind port {uid}"),
            Self::Dax(number) => write!(f, "dax{number}"),
            Self::Memory(kind) => write!(f, "memory of type {}", kind.name()),
        }
    }
}

/// What an owner wants for nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// They are in this tier.
    Tier(TierName),
    /// They have this abstract distance.
    Distance(AbstractDistance),
    /// Their pages are not demoted.
    NotFrom,
    /// Nobody's pages are demoted to them.
    NotTo,
    /// Their pages are demoted to these nodes only.
    Targets(NodeSet),
}

/// One wish; of several that contradict each other the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Which nodes.
    pub who: Selector,
    /// What they get.
    pub what: Wish,
}

impl Selector {
    /// The nodes with memory that it is about.
    #[must_use]
    pub fn nodes(&self, state: &State<'_>) -> NodeSet {
        let nodes = &state.nodes;
        let named = match self {
            Self::Node(node) => [*node].into_iter().collect(),
            Self::Domain(domain) => nodes.domains.node(*domain).into_iter().collect(),
            Self::Initiator(domain) => {
                let [local, _] = &state.access.classes;
                let class = nodes.domains.node(*domain).and_then(|node| local.get(&node));
                class.map(|class| class.targets.clone()).unwrap_or_default()
            }
            Self::Port(uid) => {
                let windows = state.topology.windows.iter().flat_map(|windows| &windows.entries);
                let behind = windows.filter(|entry| entry.targets.iter().any(|target| target == uid));
                let sources: alloc::vec::Vec<_> = behind.map(|entry| entry.link.source).collect();
                let known = nodes.windows.iter().filter(|window| sources.contains(&window.source));
                known
                    .filter_map(|window| {
                        window.node.or_else(|| nodes.target_node(window.range.start, state.kernel))
                    })
                    .collect()
            }
            Self::Dax(number) => state.dax.get(*number).and_then(|device| device.node).into_iter().collect(),
            Self::Memory(kind) => of_type(*kind, state),
        };
        named.intersection(&nodes.has_memory)
    }
}

fn of_type(kind: MemoryType, state: &State<'_>) -> NodeSet {
    let nodes = &state.nodes;
    let kmem = || state.dax.iter().filter(|device| device.is_memory());
    match kind {
        MemoryType::Dram => nodes.has_cpu.clone(),
        MemoryType::CpuLess => {
            let at_boot: NodeSet = nodes.pieces.iter().filter_map(|piece| piece.node).collect();
            at_boot.difference(&nodes.has_cpu)
        }
        MemoryType::Device => {
            let by_device = |added: &&crate::linux::added::AddedMemory| {
                !kmem().any(|device| device.range.overlaps(&added.range))
            };
            state.added.iter().filter(by_device).map(|added| added.node).collect()
        }
        MemoryType::Kmem => kmem().filter_map(|device| device.node).collect(),
        MemoryType::Cxl => nodes.windows.iter().filter_map(|window| window.node).collect(),
    }
}
