//! Memory that joins a booted machine: a node comes online, gets its first memory, and with it a tier.

use super::blocks;
use super::coordinates::Class;
use super::fallback::Ranking;
use super::memory_map::PAGE;
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::reason::{Reason, Section, Subject};
use super::rules;
use super::state::State;
use crate::range::AddressRange;
use crate::units::{NodeId, PhysAddr, ProximityDomain};
use alloc::collections::BTreeSet;

/// An ACPI memory device that is there at boot. No table lists them, they live in AML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryDevice {
    /// Its addresses.
    pub range: AddressRange,
    /// What its `_PXM` says, if it has one.
    pub domain: Option<ProximityDomain>,
}

/// Memory that was added to a node after it was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedMemory {
    /// Its addresses.
    pub range: AddressRange,
    /// Its node.
    pub node: NodeId,
    /// Whether it is online.
    pub online: bool,
}

/// How added memory comes online by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnlinePolicy {
    /// It does not.
    Offline,
    /// In the zone that the kernel picks.
    #[default]
    Online,
    /// In a kernel zone.
    Kernel,
    /// In the movable zone.
    Movable,
}

impl OnlinePolicy {
    /// The policy with this name, as in `memhp_default_state=`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "offline" => Some(Self::Offline),
            "online" => Some(Self::Online),
            "online_kernel" => Some(Self::Kernel),
            "online_movable" => Some(Self::Movable),
            _ => None,
        }
    }
}

/// Why memory cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It begins or ends inside a block.
    Unaligned,
    /// Something is at its addresses already.
    Occupied,
    /// `mem=` forbids it.
    BeyondLimit,
    /// Its node may not exist.
    NoNode,
}

/// A zone, as far as filling one for the first time matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// Below 16 MiB.
    Dma,
    /// Below 4 GiB.
    Dma32,
    /// From 4 GiB on, and memory of nodes without other kernel memory.
    Normal,
    /// Only for pages that can move.
    Movable,
}

/// First addresses behind the DMA and the DMA32 zone.
const ZONE_ENDS: [(Zone, u64); 3] = [(Zone::Dma, 16 << 20), (Zone::Dma32, 4 << 30), (Zone::Normal, u64::MAX)];

/// The kernel zones that the memory of the boot fills.
#[must_use]
pub(crate) fn zones_of_boot(nodes: &Nodes) -> BTreeSet<(NodeId, Zone)> {
    let mut zones = BTreeSet::new();
    for piece in &nodes.pieces {
        let Some(node) = piece.node else { continue };
        let movable = nodes.movable_start.get(&node).map_or(u64::MAX, |first| first.saturating_mul(PAGE));
        let mut low = piece.range.start.0;
        for (zone, end) in ZONE_ENDS {
            if low < piece.range.end.0.min(end).min(movable) {
                zones.insert((node, zone));
                low = end;
            }
        }
        if piece.range.end.0 > movable {
            zones.insert((node, Zone::Movable));
        }
    }
    zones
}

impl State<'_> {
    /// Adds memory to a node, and brings it online if the policy says so.
    ///
    /// # Errors
    /// When the kernel refuses it; nothing has changed then.
    pub(crate) fn add_memory(&mut self, range: AddressRange, node: NodeId) -> Result<(), Refusal> {
        let block = blocks::block_size(&self.memory_map, self.nodes.block_size_advice, self.kernel);
        if !blocks::is_whole(&range, block) {
            return Err(Refusal::Unaligned);
        }
        if self.added.iter().any(|added| added.range.overlaps(&range)) {
            return Err(Refusal::Occupied);
        }
        if !self.nodes.possible.contains(node) {
            return Err(Refusal::NoNode);
        }
        if self.nodes.online.insert(node) {
            self.notes.reasons.retain(|(subject, _)| *subject != Subject::Online(node));
            self.notes.reason(Subject::Online(node), Reason::new(rules::ONLINE_ADDED));
        }
        let online = self.kernel.online_policy() != OnlinePolicy::Offline;
        self.added.push(AddedMemory { range, node, online });
        if online {
            self.memory_online(&range, node);
        }
        Ok(())
    }

    /// An ACPI memory device of the boot (`drivers/acpi/acpi_memhotplug.c`).
    pub(crate) fn add_device(&mut self, device: &MemoryDevice) -> Result<(), Refusal> {
        let occupied = |entry: &super::memory_map::MapRange| entry.range.overlaps(&device.range);
        if self.memory_map.hot_add_limit.is_some_and(|limit| device.range.end > limit) {
            return Err(Refusal::BeyondLimit);
        }
        if self.memory_map.table.iter().any(occupied) {
            return Err(Refusal::Occupied);
        }
        let by_domain = device.domain.and_then(|domain| self.nodes.domains.node(domain));
        let node =
            by_domain.or_else(|| self.nodes.node_of_added(device.range.start)).ok_or(Refusal::NoNode)?;
        self.add_memory(device.range, node)
    }

    /// The zone that memory comes online in, when nothing has moved blocks between zones.
    fn zone_for(&self, range: &AddressRange, node: NodeId) -> Zone {
        let kernel_zone = || {
            let mut low = 0;
            for (zone, end) in ZONE_ENDS {
                let limits = AddressRange::new(PhysAddr(low), PhysAddr(end));
                let own = self.nodes.pieces.iter().filter(|piece| piece.node == Some(node));
                let span = own
                    .filter_map(|piece| piece.range.intersect(&limits))
                    .reduce(|span, piece| span.hull(&piece));
                if span.is_some_and(|span| span.overlaps(range)) {
                    return zone;
                }
                low = end;
            }
            Zone::Normal
        };
        match self.kernel.online_policy() {
            OnlinePolicy::Movable => Zone::Movable,
            OnlinePolicy::Online if self.kernel.command_line.movable_node => Zone::Movable,
            _ => kernel_zone(),
        }
    }

    /// Memory of a node comes online: lists are built anew where a zone gets its first pages; a node that gets
    /// its first memory gets a tier, shows its figures and takes part in the weights.
    fn memory_online(&mut self, range: &AddressRange, node: NodeId) {
        let zone = self.zone_for(range, node);
        let by_ratio = self.kernel.command_line.value("memory-hotplug.online-policy") == Some("auto-movable");
        let first = self.nodes.has_memory.insert(node);
        if self.zones.insert((node, zone)) {
            self.build_lists();
        }
        if zone != Zone::Movable && !self.nodes.has_normal_memory.contains(node) {
            if by_ratio && self.kernel.online_policy() == OnlinePolicy::Online {
                self.notes.missing(Section::NormalMemory, "the zone that the auto-movable policy picks");
            }
            self.nodes.has_normal_memory.insert(node);
        }
        if first {
            self.first_memory(node);
        }
    }

    /// Builds the fallback lists of all possible nodes anew, now that processors are up.
    fn build_lists(&mut self) {
        let nodes = &self.nodes;
        let ranking =
            Ranking { distances: &nodes.distances, has_memory: &nodes.has_memory, has_cpu: &nodes.has_cpu };
        (self.fallback, self.loads) = ranking.build(&nodes.possible, self.kernel.config.max_nodes);
    }

    fn first_memory(&mut self, node: NodeId) {
        let hmat = self.topology.performance.as_ref();
        self.tiers.set(node, &self.nodes, &mut self.access, hmat, &mut self.notes);
        self.find_demotion();
        self.weights.show(node);
        let place = self.nodes.domains.domain(node).and_then(|domain| self.access.place(domain));
        if let Some((place, hmat)) = place.zip(hmat)
            && self.access.register(place, &self.nodes, hmat, &mut self.notes)
        {
            self.publish(node);
            self.weights.reduce(&self.nodes.has_memory, &mut self.notes);
        }
    }

    /// Hands the figures that a node shows for processors to the interleave weights.
    pub(crate) fn publish(&mut self, node: NodeId) {
        if let Some(coordinates) = self.class(node, Class::Cpu).and_then(|class| class.coordinates) {
            self.weights.publish(node, &coordinates);
        }
    }

    /// Finds demotion targets anew; reasons for the ones before do not count any more.
    pub(crate) fn find_demotion(&mut self) {
        self.notes.reasons.retain(|(subject, _)| !matches!(subject, Subject::Demotion(_)));
        self.tiers.find_demotion(&self.nodes, &self.loads, &mut self.notes);
    }

    /// Nodes that count as DRAM when the kernel looks for a reference: with processors and memory of the boot.
    pub(crate) fn dram_nodes(nodes: &Nodes) -> NodeSet {
        nodes.has_memory.intersection(&nodes.has_cpu)
    }
}
