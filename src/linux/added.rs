//! Memory that joins a booted machine or leaves it, and nodes that come and go with it.

use super::block_map::{BlockState, GroupId, Run};
use super::blocks;
use super::changes::Change;
use super::coordinates::Class;
use super::fallback::Ranking;
use super::hot_remove::Host;
use super::memmap::{Adder, Memmap};
use super::memory_map::MapRange;
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::online::Group;
use super::reason::{Reason, Subject};
use super::rules;
use super::state::State;
use crate::range::AddressRange;
use crate::units::{NodeId, ProximityDomain};
use alloc::vec::Vec;

/// An ACPI memory device that is there at boot. No table lists them, they live in AML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryDevice {
    /// Its addresses.
    pub range: AddressRange,
    /// What its `_PXM` says, if it has one.
    pub domain: Option<ProximityDomain>,
}

/// Memory that was added to a node after it was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedMemory {
    /// Its addresses.
    pub range: AddressRange,
    /// Its node.
    pub node: NodeId,
    /// Its blocks.
    pub group: GroupId,
    /// Its page structures.
    pub memmap: Memmap,
    /// Added memory that may hold what belongs to it.
    pub hosts: Vec<Host>,
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
        [Self::Offline, Self::Online, Self::Kernel, Self::Movable]
            .into_iter()
            .find(|policy| policy.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Kernel => "online_kernel",
            Self::Movable => "online_movable",
        }
    }
}

/// Why memory cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// It begins or ends inside a block.
    Unaligned,
    /// Something is at its addresses already.
    Occupied,
    /// It reaches past what the kernel can address, or past `mem=` while booting.
    BeyondLimit,
    /// Its node may not exist.
    NoNode,
}

impl State<'_> {
    /// Adds memory to a node, and brings it online if the settings say so (`add_memory_resource`). Whether it
    /// holds its own page structures hangs on who adds it.
    ///
    /// # Errors
    /// When the kernel refuses it; nothing has changed then.
    pub(crate) fn add_memory(
        &mut self,
        range: AddressRange,
        node: NodeId,
        adder: Adder,
    ) -> Result<(), NotAdded> {
        let group = self.new_group(Group::of(&[range]));
        let added = self.add_to_group(range, node, adder, group);
        if added.is_err() {
            self.groups.remove(&group);
            self.next_group = group.0;
        }
        added
    }

    /// Memory that is added together gets a number.
    pub(crate) fn new_group(&mut self, group: Group) -> GroupId {
        let id = GroupId(self.next_group);
        self.next_group = self.next_group.saturating_add(1);
        self.groups.insert(id, group);
        id
    }

    /// Adds one range of a group.
    pub(crate) fn add_to_group(
        &mut self,
        range: AddressRange,
        node: NodeId,
        adder: Adder,
        group: GroupId,
    ) -> Result<(), NotAdded> {
        let limit = 1_u64.checked_shl(self.kernel.config.physical_bits).unwrap_or(u64::MAX);
        if range.end.0 > limit {
            return Err(NotAdded::BeyondLimit);
        }
        let added = self.added.iter().any(|added| added.range.overlaps(&range));
        if added || !self.memory_map.can_be_claimed(&range, self.kernel) {
            return Err(NotAdded::Occupied);
        }
        if !blocks::is_whole(&range, self.blocks.size) {
            return Err(NotAdded::Unaligned);
        }
        if !self.nodes.possible.contains(node) {
            return Err(NotAdded::NoNode);
        }
        self.node_online(node);
        let memmap = self.memmap_of(&range, node, adder.asks(self.kernel));
        let hosts = self.hosts_of(memmap.home);
        self.added.push(AddedMemory { range, node, group, memmap, hosts });
        let (first, end) = (self.blocks.of(range.start), self.blocks.of(range.end));
        let (nodes, state) = (Vec::from([node]), BlockState::Offline);
        self.blocks.insert(first, Run { end, nodes, state, group: Some(group) });
        self.changed(Change::Added { range, node }, Reason::new(rules::MEMORY_ADDED));
        if let Some(kind) = self.automatic() {
            self.bring_online(first, end, kind);
        }
        Ok(())
    }

    /// An ACPI memory device (`drivers/acpi/acpi_memhotplug.c`).
    pub(crate) fn add_device(&mut self, device: &MemoryDevice) -> Result<(), NotAdded> {
        let occupied = |entry: &MapRange| entry.range.overlaps(&device.range);
        if self.memory_map.table.iter().any(occupied) {
            return Err(NotAdded::Occupied);
        }
        let by_domain = device.domain.and_then(|domain| self.nodes.domains.node(domain));
        let node =
            by_domain.or_else(|| self.nodes.node_of_added(device.range.start)).ok_or(NotAdded::NoNode)?;
        self.add_memory(device.range, node, Adder::AcpiDevice)
    }

    /// Takes added memory away, all of whose blocks are offline (`try_remove_memory`).
    pub(crate) fn remove_memory(&mut self, added: AddedMemory) {
        let AddedMemory { range, node, group, .. } = added;
        let (first, end) = (self.blocks.of(range.start), self.blocks.of(range.end));
        self.blocks.remove(first, end);
        self.asked_in_vain.retain(|block, _| *block < first || *block >= end);
        self.added.retain(|known| known.range != range);
        if !self.added.iter().any(|known| known.group == group) {
            self.groups.remove(&group);
            self.holds_nothing(group);
        }
        self.changed(Change::Removed { range, node }, Reason::new(rules::MEMORY_REMOVED));
        let in_use = !self.zones.spans_nothing(node)
            || self.blocks.any_of(node)
            || self.nodes.cpus.iter().any(|cpu| cpu.node == Some(node))
            || self.nodes.has_cpu.contains(node);
        if !in_use && self.nodes.online.remove(node) {
            self.access.forget(node);
            self.notes.replace(Subject::Online(node), Reason::new(rules::NODE_EMPTY));
            self.changed(Change::NodeOffline(node), Reason::new(rules::NODE_EMPTY));
        }
    }

    /// A node appears, before there is any memory in it (`__try_online_node`).
    fn node_online(&mut self, node: NodeId) {
        if !self.nodes.online.insert(node) {
            return;
        }
        // Only the list of this node is built, and nothing is left of what others left over.
        let only: NodeSet = [node].into_iter().collect();
        let (lists, loads) = self.ranking().build(&only, self.kernel.config.max_nodes);
        for (owner, order) in lists {
            self.fallback.retain(|(known, _)| *known != owner);
            self.fallback.push((owner, order));
        }
        self.fallback.sort_unstable();
        self.loads = loads;
        self.notes.replace(Subject::Online(node), Reason::new(rules::NODE_ADDED));
        self.changed(Change::NodeOnline(node), Reason::new(rules::NODE_ADDED));
    }

    /// Builds the fallback lists of all possible nodes anew, now that processors are up.
    pub(crate) fn build_lists(&mut self) {
        (self.fallback, self.loads) =
            self.ranking().build(&self.nodes.possible, self.kernel.config.max_nodes);
    }

    fn ranking(&self) -> Ranking<'_> {
        let nodes = &self.nodes;
        Ranking { distances: &nodes.distances, has_memory: &nodes.has_memory, has_cpu: &nodes.has_cpu }
    }

    /// Hands the figures that a node shows for processors to the interleave weights.
    pub(crate) fn publish(&mut self, node: NodeId) {
        if let Some(coordinates) = self.class(node, Class::Cpu).and_then(|class| class.coordinates) {
            self.weights.publish(node, &coordinates);
        }
    }

    /// Nodes that count as DRAM when the kernel looks for a reference: with processors and memory of the boot.
    pub(crate) fn dram_nodes(nodes: &Nodes) -> NodeSet {
        nodes.has_memory.intersection(&nodes.has_cpu)
    }
}
