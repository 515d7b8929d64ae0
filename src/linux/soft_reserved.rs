//! Soft-reserved memory and CXL regions: DAX devices over them, and kmem that makes them System RAM (`drivers/dax/hmem`,
//! `drivers/dax/cxl.c`, `drivers/dax/kmem.c`).

use super::access::Status;
use super::blocks;
use super::changes::Change;
use super::cxl::Cxl;
use super::kernel::SoftReserved;
use super::memmap::Adder;
use super::memory_map::MemoryMap;
use super::reason::{Fact, Reason, Section, Subject, Unit};
use super::rules;
use super::state::State;
use super::tiers::AbstractDistance;
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::topology::cxl::{Mode, numbers};
use crate::units::NodeId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Alignment of the extent of a DAX device in both ends.
pub const EXTENT_ALIGNMENT: u64 = 2 << 20;

/// What a DAX device stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaxParent {
    /// Soft-reserved memory.
    SoftReserved,
    /// A CXL region.
    Region,
}

/// A DAX device over soft-reserved memory or a CXL region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaxDevice {
    /// Its number: it is called `dax`, this and `.0`.
    pub id: u32,
    /// What it stands on, which has the same number.
    pub parent: DaxParent,
    /// The node that the device was near to when it appeared; `None` for none. That is so over every CXL region: the
    /// device inherits it from the root (ACPI0017), to which firmware gives no proximity.
    pub near: Option<NodeId>,
    /// Its addresses.
    pub range: AddressRange,
    /// The node that its memory would belong to.
    pub node: Option<NodeId>,
    /// The driver that has it.
    pub driver: Option<DaxDriver>,
    /// Whether its memory is to hold its own page structures when kmem adds it.
    pub memmap_on_memory: bool,
    /// What kmem did with it.
    pub kmem: Kmem,
}

impl DaxDevice {
    /// One that no driver has tried yet. Memory of a region asks to hold its own page structures, soft-reserved memory
    /// does not.
    pub(crate) const fn new(
        id: u32,
        parent: DaxParent,
        near: Option<NodeId>,
        range: AddressRange,
        node: Option<NodeId>,
    ) -> Self {
        let memmap_on_memory = matches!(parent, DaxParent::Region);
        Self { id, parent, near, range, node, driver: None, memmap_on_memory, kmem: Kmem::Unbound }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("dax{}.0", self.id)
    }

    /// Whether memory that kmem made of it is there.
    #[must_use]
    pub const fn is_memory(&self) -> bool {
        matches!(self.kmem, Kmem::Added | Kmem::Left)
    }
}

/// A driver of DAX devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaxDriver {
    /// It makes memory of them.
    Kmem,
    /// It gives them to programs as a file.
    DeviceDax,
}

impl DaxDriver {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kmem => "kmem",
            Self::DeviceDax => "device_dax",
        }
    }
}

/// What the kmem driver did with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kmem {
    /// It does not have it.
    Unbound,
    /// Its memory was added.
    Added,
    /// Its memory was added and stayed when the device was taken from it.
    Left,
    /// The device has no node (`EINVAL`).
    NoNode,
    /// No whole block lies in it (`EINVAL`).
    TooSmall,
    /// RAM is at its addresses, or something that does not contain all of them (`EBUSY`).
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

    /// Loads `dax_hmem`: devices appear. What meets a CXL window comes last, and not at all where a committed region
    /// holds it.
    pub(crate) fn load_dax_hmem(&mut self) {
        let claimed: Vec<AddressRange> = self
            .cxl
            .iter()
            .flat_map(|cxl| &cxl.root.claimed)
            .filter_map(|(start, size)| AddressRange::from_base_size(*start, *size))
            .collect();
        let candidates = self.candidates();
        let in_window = |(range, _): &(AddressRange, _)| claimed.iter().any(|window| window.overlaps(range));
        let (deferred, direct): (Vec<_>, Vec<_>) = candidates.into_iter().partition(in_window);
        for (range, node) in direct {
            self.register_soft_reserved(range, node);
        }
        for (range, node) in deferred {
            let regions = self.cxl.iter().flat_map(Cxl::committed);
            let held = regions
                .filter_map(|region| AddressRange::from_base_size(region.start, region.size))
                .any(|region| region.covers(&range));
            if !held {
                self.register_soft_reserved(range, node);
            }
        }
    }

    /// Makes a device over a range that meets soft-reserved memory (`hmem_register_device`).
    fn register_soft_reserved(&mut self, range: AddressRange, node: Option<NodeId>) {
        let meets = match self.kernel.switches.soft_reserved {
            SoftReserved::AnyOverlap => meets_soft_reserved(&self.memory_map, &range),
            SoftReserved::NothingElse => {
                meets_soft_reserved(&self.memory_map, &range) && !meets_other(&self.memory_map, &range)
            }
            SoftReserved::NoKmem => {
                if meets_soft_reserved(&self.memory_map, &range) {
                    self.notes.missing(Section::Devices, "how this version registers soft-reserved memory");
                }
                false
            }
        };
        if !meets {
            return;
        }
        // The number is spent even where no device comes of it.
        let id = self.region_ids.allocate();
        if aligned(&range) {
            let near = node.and_then(|node| self.nearest_online(node));
            let parent = DaxParent::SoftReserved;
            self.dax.push(DaxDevice::new(id, parent, near, range, node));
            self.bind_kmem();
        }
    }

    /// Makes devices over committed CXL regions of volatile memory whose driver is bound, once `dax_cxl` is there.
    pub(crate) fn add_region_devices(&mut self) {
        if !self.loaded.iter().any(|driver| driver == "dax_cxl") {
            return;
        }
        let regions: Vec<(u32, AddressRange)> = self
            .cxl
            .iter()
            .flat_map(Cxl::committed)
            .filter(|region| region.mode == Some(Mode::Ram) && region.bound == Some(true))
            .filter_map(|region| {
                let range = AddressRange::from_base_size(region.start, region.size)?;
                Some((numbers(&region.name).0, range))
            })
            .collect();
        for (id, range) in regions {
            let there = self.dax.iter().any(|device| device.parent == DaxParent::Region && device.id == id);
            // A region over RAM of the boot is there for its errors only.
            if there || self.memory_map.touches_ram(&range) || !aligned(&range) {
                continue;
            }
            let node = self.nodes.target_node(range.start, self.kernel);
            let device = DaxDevice::new(id, DaxParent::Region, None, range, node);
            let fact = Fact::known("start", range.start.0).of(Unit::Address);
            self.changed(Change::DaxAdded(device.name()), Reason::new(rules::DAX_ADDED).with([fact]));
            self.dax.push(device);
            self.bind_kmem();
        }
    }

    /// The node itself when it is online, or the one of the least distance (`numa_map_to_online_node`).
    fn nearest_online(&self, node: NodeId) -> Option<NodeId> {
        if self.nodes.online.contains(node) {
            return Some(node);
        }
        self.nodes.online.iter().min_by_key(|other| self.nodes.distances.get(node, *other))
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
            if self.kmem && device.kmem == Kmem::Unbound && device.driver.is_none() {
                self.try_kmem(place);
            }
        }
    }

    /// kmem tries one device; what came of it.
    pub(crate) fn try_kmem(&mut self, place: usize) -> Kmem {
        let Some(device) = self.dax.get(place).copied() else { return Kmem::Unbound };
        let kmem = self.probe_kmem(&device);
        if let Some(device) = self.dax.get_mut(place) {
            // Memory that an earlier unbind left is still there.
            device.kmem = if device.kmem == Kmem::Left { Kmem::Left } else { kmem };
            if kmem == Kmem::Added {
                device.driver = Some(DaxDriver::Kmem);
            }
        }
        kmem
    }

    fn probe_kmem(&mut self, device: &DaxDevice) -> Kmem {
        let Some(node) = device.node else { return Kmem::NoNode };
        let known = self.tiers.distance.contains_key(&node);
        let found = if known { None } else { self.calculate_distance(node) };
        let Some(range) = blocks::whole_blocks(&device.range, self.blocks.size) else {
            return Kmem::TooSmall;
        };
        if !known {
            if found.is_none() {
                self.notes.reason(Subject::Tier(node), Reason::new(rules::TIER_KMEM));
            }
            self.tiers.distance.insert(node, found.unwrap_or(AbstractDistance::KMEM));
        }
        let occupied = || self.added.iter().any(|added| added.range.overlaps(&range));
        let refused = if !self.memory_map.can_be_claimed(&range, self.kernel) || occupied() {
            Some(Kmem::Busy)
        } else {
            let adder = Adder::Kmem(device.parent, Some(device.memmap_on_memory));
            self.add_memory(range, node, adder).is_err().then_some(Kmem::Refused)
        };
        if refused.is_some() && !known {
            self.tiers.distance.remove(&node);
            self.notes.reasons.retain(|(subject, _)| *subject != Subject::Tier(node));
        }
        refused.unwrap_or(Kmem::Added)
    }
}

fn aligned(range: &AddressRange) -> bool {
    (range.start.0 | range.end.0).checked_rem(EXTENT_ALIGNMENT) == Some(0)
}

fn meets_soft_reserved(map: &MemoryMap, range: &AddressRange) -> bool {
    map.of_kind(E820Type::SOFT_RESERVED).any(|soft| soft.overlaps(range))
}

/// Whether anything but soft-reserved memory is at these addresses.
fn meets_other(map: &MemoryMap, range: &AddressRange) -> bool {
    map.table.iter().any(|entry| entry.kind != E820Type::SOFT_RESERVED && entry.range.overlaps(range))
}
