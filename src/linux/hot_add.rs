//! What comes of memory before it is added: which bytes are lost to alignment, where it would go and what it would cost
//! (`drivers/dax/kmem.c: dax_kmem_range`, `mm/memory_hotplug.c: add_memory_resource`).

use super::added::NotAdded;
use super::block_map::BlockState;
use super::blocks::whole_blocks;
use super::events::Errno;
use super::memmap::{Adder, Architecture, Home, Memmap};
use super::online::Group;
use super::reason::{Reason, Rule};
use super::rules;
use super::soft_reserved::{DaxParent, EXTENT_ALIGNMENT};
use super::state::State;
use super::zones::Zone;
use crate::range::AddressRange;
use crate::units::{ByteCount, NodeId, PhysAddr};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Why addresses of a range cannot become memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTo {
    /// They lie before the first block border.
    Head,
    /// They lie behind the last block border.
    Tail,
    /// No whole block lies in the range.
    NoWholeBlock,
    /// A DAX device has to begin and end at 2 MiB, or there is none.
    NoDevice,
}

/// Addresses that cannot become memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The addresses.
    pub range: AddressRange,
    /// Why.
    pub to: LostTo,
}

/// Ranges cut to whole memory blocks, each by itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// What can become memory, in the order of the ranges.
    pub usable: Vec<AddressRange>,
    /// What cannot.
    pub lost: Vec<Lost>,
}

impl Trimmed {
    /// Cuts ranges to whole blocks (`dax_kmem_range`).
    #[must_use]
    pub fn new(ranges: &[AddressRange], block: ByteCount) -> Self {
        let mut trimmed = Self::default();
        for range in ranges {
            let unaligned = (range.start.0 | range.end.0).checked_rem(EXTENT_ALIGNMENT) != Some(0);
            match whole_blocks(range, block) {
                _ if unaligned => trimmed.lost.push(Lost { range: *range, to: LostTo::NoDevice }),
                None => trimmed.lost.push(Lost { range: *range, to: LostTo::NoWholeBlock }),
                Some(whole) => {
                    let head = AddressRange::new(range.start, whole.start);
                    let tail = AddressRange::new(whole.end, range.end);
                    for (range, to) in [(head, LostTo::Head), (tail, LostTo::Tail)] {
                        if !range.is_empty() {
                            trimmed.lost.push(Lost { range, to });
                        }
                    }
                    trimmed.usable.push(whole);
                }
            }
        }
        trimmed
    }

    /// Bytes that can become memory.
    #[must_use]
    pub fn usable_size(&self) -> ByteCount {
        total(self.usable.iter())
    }

    /// Bytes that cannot.
    #[must_use]
    pub fn lost_size(&self) -> ByteCount {
        total(self.lost.iter().map(|lost| &lost.range))
    }
}

/// Whole blocks that touching ranges hold together and none of them alone: they are lost, because each range is cut
/// by itself. Devices that were one would have them.
#[must_use]
pub fn split_blocks(ranges: &[AddressRange], block: ByteCount) -> Vec<AddressRange> {
    let mut sorted: Vec<AddressRange> = ranges.iter().copied().filter(|range| !range.is_empty()).collect();
    sorted.sort_unstable();
    let mut joined: Vec<AddressRange> = Vec::new();
    for range in &sorted {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(*range),
        }
    }
    let alone: Vec<AddressRange> = sorted.iter().filter_map(|range| whole_blocks(range, block)).collect();
    let mut split = Vec::new();
    for whole in joined.iter().filter_map(|range| whole_blocks(range, block)) {
        let mut at = whole.start;
        for own in alone.iter().filter(|own| whole.covers(own)) {
            if at < own.start {
                split.push(AddressRange::new(at, own.start));
            }
            at = at.max(own.end);
        }
        if at < whole.end {
            split.push(AddressRange::new(at, whole.end));
        }
    }
    split
}

fn total<'r>(ranges: impl Iterator<Item = &'r AddressRange>) -> ByteCount {
    ByteCount(ranges.map(|range| range.size().0).fold(0, u64::saturating_add))
}

/// Page tables that added memory needs, in pages of 4 KiB. They come from kernel memory of any node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PageTables {
    /// For the direct map, with entries of 1 GiB where alignment allows them.
    pub of_1_gib_entries: u64,
    /// For the direct map, with entries of 2 MiB.
    pub of_2_mib_entries: u64,
    /// For the page structures.
    pub of_page_structures: u64,
}

impl PageTables {
    /// Those for a range, beside what `mapped` has already.
    #[must_use]
    pub fn new(range: &AddressRange, mapped: &[AddressRange]) -> Self {
        const GIB: ByteCount = ByteCount(1 << 30);
        /// What one table of the third level maps: entries of 1 GiB.
        const UPPER: ByteCount = ByteCount(512 << 30);
        /// Memory whose page structures one table of the second level maps: 1 GiB of them.
        const STRUCTURES: ByteCount = ByteCount(64 << 30);
        let upper = fresh_granules(range, mapped, UPPER);
        let lower = fresh_granules(range, mapped, GIB);
        let inner = whole_blocks(range, GIB);
        let whole = inner.map_or(0, |inner| inner.size().0 >> 30);
        let uneven = lower.saturating_sub(whole);
        Self {
            of_1_gib_entries: upper.saturating_add(uneven),
            of_2_mib_entries: upper.saturating_add(lower),
            of_page_structures: fresh_granules(range, mapped, STRUCTURES),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            of_1_gib_entries: self.of_1_gib_entries.saturating_add(other.of_1_gib_entries),
            of_2_mib_entries: self.of_2_mib_entries.saturating_add(other.of_2_mib_entries),
            of_page_structures: self.of_page_structures.saturating_add(other.of_page_structures),
        }
    }
}

/// How many aligned pieces of this size a range meets that nothing else meets.
fn fresh_granules(range: &AddressRange, others: &[AddressRange], size: ByteCount) -> u64 {
    let outward = |range: &AddressRange| {
        let first = range.start.0.checked_div(size.0).unwrap_or_default();
        (first, range.end.0.div_ceil(size.0.max(1)))
    };
    let (first, end) = outward(range);
    let mut taken: Vec<(u64, u64)> = others.iter().filter(|other| !other.is_empty()).map(outward).collect();
    taken.sort_unstable();
    let (mut at, mut fresh) = (first, 0_u64);
    for (from, to) in taken {
        fresh = fresh.saturating_add(from.min(end).saturating_sub(at));
        at = at.max(to);
    }
    fresh.saturating_add(end.saturating_sub(at))
}

/// Whether the page structures fit where they would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The memory itself holds them.
    Itself,
    /// This node has room for them.
    On(NodeId),
    /// They are more than the nearest node has room for; others take the rest.
    Spills,
    /// All kernel memory together has no room for them: `ENOMEM`.
    Never,
    /// It depends on how much of the kernel memory of this node is free.
    FreeMemory(NodeId),
}

/// Memory that one caller adds at once: the ranges of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Its ranges.
    pub ranges: Vec<AddressRange>,
    /// Its node, where the device names one.
    pub node: Option<NodeId>,
    /// Who adds it.
    pub adder: Adder,
}

/// Why memory is not added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What.
    pub range: AddressRange,
    /// The errno of the kernel.
    pub errno: Errno,
    /// Why.
    pub reason: Reason,
}

/// Added memory that is alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its addresses.
    pub range: AddressRange,
    /// Its zone; `None` where it stays offline.
    pub zone: Option<Zone>,
}

/// What would come of an addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What of it is whole blocks.
    pub trimmed: Trimmed,
    /// Whole blocks that the ranges hold only together.
    pub split: Vec<AddressRange>,
    /// Ranges that the kernel refuses.
    pub refused: Vec<Refused>,
    /// Its node.
    pub node: Option<NodeId>,
    /// Ranges that are added, with their page structures.
    pub added: Vec<(AddressRange, Memmap)>,
    /// How many pieces they are added in: one for a range, or one for each block that holds its own page structures.
    pub pieces: u64,
    /// Where it would be.
    pub placed: Vec<Placed>,
    /// What the page allocator gets, online or not: all but page structures in the memory itself.
    pub managed: ByteCount,
    /// What page structures take of kernel memory that is there.
    pub kernel_cost: ByteCount,
    /// Page tables.
    pub page_tables: PageTables,
    /// Whether the page structures fit.
    pub fit: Option<Fit>,
}

impl NotAdded {
    /// The errno and the rule.
    #[must_use]
    pub const fn told(self) -> (Errno, Rule) {
        match self {
            Self::Unaligned => (Errno::Invalid, rules::ADD_UNALIGNED),
            Self::NoNode => (Errno::Invalid, rules::ADD_NO_NODE),
            Self::Occupied => (Errno::Exists, rules::ADD_OCCUPIED),
            Self::BeyondLimit => (Errno::TooBig, rules::ADD_BEYOND),
        }
    }
}

impl State<'_> {
    /// Foretells an addition; the state stays as it is. `free` is the free kernel memory of nodes, where it is known.
    #[must_use]
    pub fn forecast(&self, addition: &Addition, free: &BTreeMap<NodeId, ByteCount>) -> Forecast {
        self.foretell(addition, free).0
    }

    /// The same, and the state that the addition leads to, apart from the device that brings it.
    pub(crate) fn foretell(
        &self,
        addition: &Addition,
        free: &BTreeMap<NodeId, ByteCount>,
    ) -> (Forecast, Self) {
        let mut after = self.clone();
        after.changes.clear();
        let of_kmem = matches!(addition.adder, Adder::Kmem(..));
        let block = self.blocks.size;
        let trimmed = if of_kmem {
            Trimmed::new(&addition.ranges, block)
        } else {
            Trimmed { usable: addition.ranges.clone(), lost: Vec::new() }
        };
        let first = addition.ranges.first().map(|range| range.start).unwrap_or_default();
        let node = addition.node.or_else(|| self.node_for(first, addition.adder));
        let mut forecast = Forecast {
            split: if of_kmem { split_blocks(&addition.ranges, block) } else { Vec::new() },
            node,
            trimmed,
            refused: Vec::new(),
            added: Vec::new(),
            pieces: 0,
            placed: Vec::new(),
            managed: ByteCount(0),
            kernel_cost: ByteCount(0),
            page_tables: PageTables::default(),
            fit: None,
        };
        let group = after.new_group(Group::of(&forecast.trimmed.usable));
        let mut mapped: Vec<AddressRange> = self.memory_map.ram.clone();
        mapped.extend(self.added.iter().map(|added| added.range));
        if forecast.trimmed.usable.is_empty() {
            forecast.refused.extend(addition.ranges.first().map(|range| Refused {
                range: *range,
                errno: Errno::Invalid,
                reason: Reason::new(rules::ADD_TOO_SMALL),
            }));
        }
        for range in forecast.trimmed.usable.clone() {
            let occupied = self.memory_map.table.iter().any(|entry| entry.range.overlaps(&range));
            let result = match node {
                _ if of_kmem && !self.memory_map.can_be_claimed(&range, self.kernel) => {
                    Err((Errno::Busy, rules::ADD_BUSY))
                }
                _ if !of_kmem && occupied => Err(NotAdded::Occupied.told()),
                None => Err(NotAdded::NoNode.told()),
                Some(node) => after.add_to_group(range, node, addition.adder, group).map_err(NotAdded::told),
            };
            if let Err((errno, rule)) = result {
                forecast.refused.push(Refused { range, errno, reason: Reason::new(rule) });
                continue;
            }
            let Some(memmap) = after.added.last().map(|added| added.memmap) else { continue };
            let blocks = range.size().0.checked_div(block.0).unwrap_or_default();
            let pieces = if matches!(memmap.home, Home::Itself(_)) { blocks } else { 1 };
            forecast.pieces = forecast.pieces.saturating_add(pieces);
            let own = memmap.taken_from_itself(range.size(), block).0;
            let managed = range.size().0.saturating_sub(own);
            forecast.managed = ByteCount(forecast.managed.0.saturating_add(managed));
            let cost = memmap.taken_from_kernel().0;
            forecast.kernel_cost = ByteCount(forecast.kernel_cost.0.saturating_add(cost));
            forecast.page_tables = forecast.page_tables.plus(PageTables::new(&range, &mapped));
            mapped.push(range);
            forecast.added.push((range, memmap));
            for (at, run) in after.blocks.between(after.blocks.of(range.start), after.blocks.of(range.end)) {
                let zone = match run.state {
                    BlockState::Online(zone) => zone,
                    BlockState::Offline => None,
                };
                forecast.placed.push(Placed { range: after.blocks.range(at, run.end), zone });
            }
        }
        forecast.fit = forecast.added.first().map(|(_, memmap)| match memmap.home {
            Home::Itself(_) => Fit::Itself,
            Home::Kernel { node: None, .. } => Fit::Never,
            Home::Kernel { node: Some(near), .. } => self.fit(forecast.kernel_cost, near, free),
        });
        if forecast.fit == Some(Fit::Never) {
            let reason = Reason::new(rules::ADD_NO_MEMORY);
            let refuse = |(range, _)| Refused { range, errno: Errno::NoMemory, reason: reason.clone() };
            forecast.refused.extend(core::mem::take(&mut forecast.added).into_iter().map(refuse));
            forecast.placed.clear();
            (forecast.pieces, forecast.managed, forecast.page_tables) =
                (0, ByteCount(0), PageTables::default());
            after = self.clone();
        }
        (forecast, after)
    }

    /// The node of memory that a device does not name one for.
    fn node_for(&self, start: PhysAddr, adder: Adder) -> Option<NodeId> {
        let target = || self.nodes.target_node(start, self.kernel);
        match adder {
            Adder::Kmem(DaxParent::SoftReserved, _) => target(),
            Adder::Kmem(DaxParent::Region, _) => target().or_else(|| self.nodes.node_of_added(start)),
            Adder::AcpiDevice | Adder::VirtioMem => self.nodes.node_of_added(start),
        }
    }

    /// Whether kernel memory has room for so much, looked for on this node first.
    fn fit(&self, need: ByteCount, near: NodeId, free: &BTreeMap<NodeId, ByteCount>) -> Fit {
        let most = |node: NodeId| free.get(&node).copied().unwrap_or_else(|| self.kernel_memory(node));
        let all = self.nodes.has_memory.iter().map(|node| most(node).0).fold(0, u64::saturating_add);
        if need.0 > all {
            Fit::Never
        } else if need > most(near) {
            Fit::Spills
        } else if free.contains_key(&near) {
            Fit::On(near)
        } else {
            Fit::FreeMemory(near)
        }
    }

    /// The most that a node has for the kernel itself: its kernel zones without the page structures of them.
    #[must_use]
    pub fn kernel_memory(&self, node: NodeId) -> ByteCount {
        let machine = Architecture::X86_64;
        let pages = self.zones.present_in_kernel_zones(node);
        ByteCount(pages.saturating_mul(machine.page.0.saturating_sub(machine.page_structure.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: ByteCount = ByteCount(128 << 20);

    fn mib(start: u64, size: u64) -> AddressRange {
        AddressRange::new(PhysAddr(start << 20), PhysAddr((start + size) << 20))
    }

    /// Two neighbours of 100 MiB and 156 MiB hold an aligned block together, and a booted 7.2.12 takes neither.
    #[test]
    fn neighbours_lose_the_block_that_they_share() {
        let ranges = [mib(4096, 100), mib(4196, 156)];
        let trimmed = Trimmed::new(&ranges, BLOCK);
        assert_eq!((trimmed.usable.len(), trimmed.lost_size()), (1, ByteCount(128 << 20)));
        assert_eq!(split_blocks(&ranges, BLOCK), [mib(4096, 128)]);
        let ranges = [mib(4160, 100), mib(4260, 156)];
        let trimmed = Trimmed::new(&ranges, BLOCK);
        assert_eq!((trimmed.usable.len(), trimmed.lost_size()), (0, ByteCount(256 << 20)));
        assert_eq!(split_blocks(&ranges, BLOCK), [mib(4224, 128)]);
        assert_eq!(split_blocks(&[mib(4096, 100), mib(4200, 152)], BLOCK), []);
    }

    #[test]
    fn page_tables_are_shared_with_what_is_mapped() {
        let gib = |start: u64, end: u64| AddressRange::new(PhysAddr(start << 30), PhysAddr(end << 30));
        let new = PageTables::new(&gib(0, 64 << 10), &[]);
        assert_eq!((new.of_1_gib_entries, new.of_2_mib_entries), (128, 128 + 65536));
        assert_eq!(new.of_page_structures, 1024);
        let beside = PageTables::new(&gib(4, 8), &[gib(0, 3)]);
        assert_eq!((beside.of_1_gib_entries, beside.of_2_mib_entries, beside.of_page_structures), (0, 4, 0));
    }
}
