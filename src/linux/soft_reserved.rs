//! Soft-reserved memory: DAX devices over it, and kmem that makes them System RAM (`drivers/dax/hmem`,
//! `drivers/dax/kmem.c`).

use super::access::Status;
use super::blocks;
use super::kernel::SoftReserved;
use super::memory_map::MemoryMap;
use super::reason::{Reason, Subject};
use super::rules;
use super::state::{State, hmat};
use super::tiers::AbstractDistance;
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::units::NodeId;
use alloc::vec::Vec;

/// Alignment of the extent of a DAX device in both ends.
const EXTENT_ALIGNMENT: u64 = 2 << 20;

/// A DAX device over soft-reserved memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaxDevice {
    /// Its addresses.
    pub range: AddressRange,
    /// The node that its memory would belong to.
    pub node: Option<NodeId>,
    /// What kmem did with it.
    pub kmem: Kmem,
}

/// What the kmem driver did with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kmem {
    /// It does not have it.
    Unbound,
    /// Its memory was added.
    Added,
    /// The device has no node (`EINVAL`).
    NoNode,
    /// No whole block lies in it (`EINVAL`).
    TooSmall,
    /// Something that does not contain all of it is at its addresses (`EBUSY`).
    Busy,
    /// The memory could not be added.
    Refused,
}

impl State<'_> {
    /// Ranges that become DAX devices if they meet soft-reserved memory: what the HMAT's domains own, and what is
    /// soft reserved beside that. A range that overlaps an earlier one is left out.
    fn candidates(&self) -> Vec<(AddressRange, Option<NodeId>)> {
        let mut taken: Vec<(AddressRange, Option<NodeId>)> = Vec::new();
        let mut take = |range: AddressRange, node: Option<NodeId>| {
            if !taken.iter().any(|(known, _)| known.overlaps(&range)) {
                taken.push((range, node));
            }
        };
        if self.access.status == Status::Used {
            for target in &self.access.targets {
                let node = self.nodes.domains.node(target.domain);
                for range in &target.ranges {
                    take(*range, node);
                }
            }
        }
        for range in self.memory_map.of_kind(E820Type::SOFT_RESERVED) {
            take(range, self.nodes.target_node(range.start, self.kernel));
        }
        taken.sort_unstable_by_key(|(range, _)| range.start);
        taken
    }

    /// Loads `dax_hmem`: devices appear.
    pub(crate) fn load_dax_hmem(&mut self) {
        let aligned =
            |range: &AddressRange| (range.start.0 | range.end.0).checked_rem(EXTENT_ALIGNMENT) == Some(0);
        for (range, node) in self.candidates() {
            let meets = match self.kernel.switches.soft_reserved {
                SoftReserved::AnyOverlap => meets_soft_reserved(&self.memory_map, &range),
                SoftReserved::NothingElse => {
                    meets_soft_reserved(&self.memory_map, &range) && !busy(&self.memory_map, &range)
                }
                SoftReserved::NoKmem => false,
            };
            if meets && aligned(&range) {
                self.dax.push(DaxDevice { range, node, kmem: Kmem::Unbound });
                self.bind_kmem();
            }
        }
    }

    /// Loads `kmem`: it takes the devices that are there.
    pub(crate) fn load_kmem(&mut self) {
        self.kmem = true;
        self.bind_kmem();
    }

    /// kmem takes every device that it has not tried yet (`dev_dax_kmem_probe`).
    fn bind_kmem(&mut self) {
        for place in 0..self.dax.len() {
            let Some(device) = self.dax.get(place).copied() else { continue };
            if self.kmem && device.kmem == Kmem::Unbound {
                let kmem = self.probe_kmem(&device);
                if let Some(device) = self.dax.get_mut(place) {
                    device.kmem = kmem;
                }
            }
        }
    }

    fn probe_kmem(&mut self, device: &DaxDevice) -> Kmem {
        let Some(node) = device.node else { return Kmem::NoNode };
        let hmat = hmat(self.topology, self.updated.as_ref());
        let known = self.tiers.distance.contains_key(&node);
        let found = if known {
            None
        } else {
            self.tiers.calculate(node, &self.nodes, &mut self.access, hmat, &mut self.notes)
        };
        let Some(range) = blocks::whole_blocks(&device.range, self.blocks.size) else {
            return Kmem::TooSmall;
        };
        if !known {
            if found.is_none() {
                self.notes.reason(Subject::Tier(node), Reason::new(rules::TIER_KMEM));
            }
            self.tiers.distance.insert(node, found.unwrap_or(AbstractDistance::KMEM));
        }
        let refused = if busy(&self.memory_map, &range) {
            Some(Kmem::Busy)
        } else {
            self.add_memory(range, node).is_err().then_some(Kmem::Refused)
        };
        if refused.is_some() && !known {
            self.tiers.distance.remove(&node);
            self.notes.reasons.retain(|(subject, _)| *subject != Subject::Tier(node));
        }
        refused.unwrap_or(Kmem::Added)
    }
}

fn meets_soft_reserved(map: &MemoryMap, range: &AddressRange) -> bool {
    map.of_kind(E820Type::SOFT_RESERVED).any(|soft| soft.overlaps(range))
}

/// Whether anything but soft-reserved memory at these addresses does not contain all of them.
fn busy(map: &MemoryMap, range: &AddressRange) -> bool {
    let other = map.table.iter().filter(|entry| entry.kind != E820Type::SOFT_RESERVED);
    other.map(|entry| entry.range).any(|entry| entry.overlaps(range) && !entry.covers(range))
}
