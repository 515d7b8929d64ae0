//! What a plan knows of one address: the memory map, the tables, the node.

use super::added::AddedMemory;
use super::cxl_plan::DaxPlan;
use super::memory_map::MapRange;
use super::plan::Plan;
use super::ranges::{NodeRange, Piece, first_holder};
use super::region_map::MappedRegion;
use super::srat::{AcceptedMemory, Window};
use super::state::State;
use crate::units::{NodeId, PhysAddr};
use alloc::vec::Vec;

/// Who owns which addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Addresses of nodes with RAM of the boot.
    pub ranges: Vec<NodeRange>,
    /// Addresses of which nodes own what is added there.
    pub reserved: Vec<NodeRange>,
    /// RAM of the boot by node, ascending.
    pub ram: Vec<Piece>,
    /// CXL windows.
    pub windows: Vec<Window>,
    /// Memory that was added.
    pub added: Vec<AddedMemory>,
    /// CXL regions, with what is behind their addresses.
    pub regions: Vec<MappedRegion>,
    /// Reserved ranges count before those of the boot.
    reserved_first: bool,
}

impl Places {
    /// The places of a state.
    #[must_use]
    pub(crate) fn of(state: &State<'_>) -> Self {
        let nodes = &state.nodes;
        Self {
            ranges: nodes.ranges.clone(),
            reserved: nodes.reserved.clone(),
            ram: nodes.pieces.clone(),
            windows: nodes.windows.clone(),
            added: state.added.clone(),
            regions: state.mapped_regions(),
            reserved_first: state.kernel.switches.reserved_ranges_first,
        }
    }
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The entry of the memory map, after the kernel's own changes.
    pub map: Option<&'a MapRange>,
    /// Memory entries of the SRAT that the kernel took in.
    pub entries: Vec<&'a AcceptedMemory>,
    /// CXL windows.
    pub windows: Vec<&'a Window>,
    /// RAM of the boot.
    pub ram: Option<&'a Piece>,
    /// Memory that was added.
    pub added: Option<&'a AddedMemory>,
    /// The CXL region.
    pub region: Option<&'a MappedRegion>,
    /// The DAX device.
    pub device: Option<&'a DaxPlan>,
    /// The node that memory goes to which is added here (`phys_to_target_node`).
    pub target: Option<NodeId>,
}

impl Location<'_> {
    /// The node that the address belongs to, or would if there were memory.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        let there = self.ram.and_then(|piece| piece.node).or(self.added.map(|added| added.node));
        there.or(self.target)
    }
}

impl Plan {
    /// What the plan knows of an address.
    #[must_use]
    pub fn locate(&self, address: PhysAddr) -> Location<'_> {
        let places = &self.places;
        let inside = |entry: &&AcceptedMemory| entry.start <= address && address <= entry.last;
        let boot = first_holder(&places.ranges, address);
        let reserved = first_holder(&places.reserved, address);
        Location {
            map: self.memory_map.iter().find(|entry| entry.range.contains(address)),
            entries: self.accepted.iter().filter(inside).collect(),
            windows: places.windows.iter().filter(|window| window.range.contains(address)).collect(),
            ram: places.ram.iter().find(|piece| piece.range.contains(address)),
            added: places.added.iter().find(|added| added.range.contains(address)),
            region: places
                .regions
                .iter()
                .find(|region| region.range.is_some_and(|range| range.contains(address))),
            device: self.devices.iter().flatten().find(|device| device.range.contains(address)),
            target: if places.reserved_first { reserved.or(boot) } else { boot.or(reserved) },
        }
    }
}
