//! Zones of nodes: what each spans, how many pages are in it, and which pages those are
//! (`mm/mm_init.c: free_area_init`, `mm/memory_hotplug.c: move_pfn_range_to_zone, shrink_zone_span`).
//!
//! All of it is kept by range, so that its size follows the number of ranges and not that of pages or blocks.

use super::memory_map::{MemoryMap, PAGE};
use super::movable;
use super::nodes::Nodes;
use crate::range::AddressRange;
use crate::units::{NodeId, PhysAddr};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// Pages in a section, the unit in which page structures exist: 128 MiB.
const SECTION: u64 = 32768;
/// Steps in which the kernel looks for the new end of a zone: a sub-section, 2 MiB.
const STEP: u64 = 512;
/// First page that ISA devices cannot reach.
const FIRST_DMA32: u64 = 4096;
/// First page that 32-bit devices cannot reach.
const FIRST_NORMAL: u64 = 1 << 20;

/// A zone of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// Below 16 MiB.
    Dma,
    /// Below 4 GiB.
    Dma32,
    /// From 4 GiB on, and memory that was added to a node without other kernel memory there.
    Normal,
    /// Only for pages that can move.
    Movable,
    /// For page structures of memory that a driver keeps for itself; no page of it is ever online.
    Device,
}

impl Zone {
    /// Those for memory that can be online, in the kernel's order.
    pub const ALL: [Self; 4] = [Self::Dma, Self::Dma32, Self::Normal, Self::Movable];

    /// Its name, as `/proc/zoneinfo` and `valid_zones` have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Dma32 => "DMA32",
            Self::Normal => "Normal",
            Self::Movable => "Movable",
            Self::Device => "Device",
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Pages by number: `start <= n < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PageSpan {
    /// The first.
    pub start: u64,
    /// The first behind it.
    pub end: u64,
}

impl PageSpan {
    /// The pages from `start` up to, not including, `end`.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// The whole pages in a range of addresses.
    #[must_use]
    pub const fn of(range: &AddressRange) -> Self {
        Self { start: range.start.0.div_ceil(PAGE), end: range.end.0 >> 12 }
    }

    /// The addresses.
    #[must_use]
    pub const fn addresses(&self) -> AddressRange {
        AddressRange::new(PhysAddr(self.start.saturating_mul(PAGE)), PhysAddr(self.end.saturating_mul(PAGE)))
    }

    /// How many pages.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether the two share a page.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    fn intersect(&self, other: &Self) -> Option<Self> {
        let both = Self { start: self.start.max(other.start), end: self.end.min(other.end) };
        (!both.is_empty()).then_some(both)
    }

    fn hull(&self, other: &Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => *other,
            (_, true) => *self,
            _ => Self { start: self.start.min(other.start), end: self.end.max(other.end) },
        }
    }
}

/// What is known of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ZonePages {
    /// From its first to its last page, holes and pages of others included; empty for a zone that does not exist.
    pub span: PageSpan,
    /// Pages in it.
    pub present: u64,
    /// Those of `present` that are memory of the boot.
    pub early: u64,
}

/// Whose pages these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    end: u64,
    node: NodeId,
    zone: Zone,
}

/// The zones of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones {
    zones: BTreeMap<(NodeId, Zone), ZonePages>,
    /// What the page structures of online memory say, by first page.
    owners: BTreeMap<u64, Owner>,
}

impl Zones {
    /// The zones of the memory of the boot.
    pub(crate) fn boot(nodes: &Nodes, map: &MemoryMap, mirror: bool) -> Self {
        let mut hulls: BTreeMap<NodeId, PageSpan> = BTreeMap::new();
        for piece in &nodes.pieces {
            if let Some(node) = piece.node {
                let hull = hulls.entry(node).or_default();
                *hull = hull.hull(&PageSpan::of(&piece.range));
            }
        }
        let lowest = hulls.values().map(|hull| hull.start).min().unwrap_or_default();
        let limits = [
            (Zone::Dma, PageSpan::new(lowest, FIRST_DMA32)),
            (Zone::Dma32, PageSpan::new(FIRST_DMA32, FIRST_NORMAL.min(map.max_pfn))),
            (Zone::Normal, PageSpan::new(FIRST_NORMAL, map.max_pfn)),
        ];
        let mut zones = Self::default();
        for (node, hull) in &hulls {
            let movable = nodes.movable_start.get(node).copied();
            for (zone, limit) in limits {
                let Some(mut span) = hull.intersect(&limit) else { continue };
                match movable {
                    Some(start) if start <= span.start => continue,
                    // With mirrored memory, what is mirrored stays in the kernel zone behind that page.
                    Some(start) if start < span.end && !mirror => span.end = start,
                    _ => {}
                }
                zones.zones.insert((*node, zone), ZonePages { span, ..ZonePages::default() });
            }
            if let Some(span) = movable.and_then(|start| hull.intersect(&PageSpan::new(start, u64::MAX))) {
                zones.zones.insert((*node, Zone::Movable), ZonePages { span, ..ZonePages::default() });
            }
        }
        let parts = zones.parts(nodes, map, mirror);
        for (pages, node, zone) in &parts {
            if let Some(state) = zones.zones.get_mut(&(*node, *zone)) {
                state.present = state.present.saturating_add(pages.count());
                state.early = state.present;
            }
        }
        zones.own(&parts);
        zones
    }

    /// RAM cut at the borders of zones, ascending.
    fn parts(&self, nodes: &Nodes, map: &MemoryMap, mirror: bool) -> Vec<(PageSpan, NodeId, Zone)> {
        let mut parts = Vec::new();
        for (pages, node, may_move) in movable::kinds(nodes, map, mirror) {
            for zone in Zone::ALL.into_iter().filter(|zone| (*zone == Zone::Movable) == may_move) {
                let state = self.zones.get(&(node, zone));
                if let Some(part) = state.and_then(|state| state.span.intersect(&pages)) {
                    parts.push((part, node, zone));
                }
            }
        }
        parts
    }

    /// Enters RAM and the holes in its sections: a hole belongs to the RAM behind it, the one at the end to the
    /// highest zone of the last node (`mm/mm_init.c: memmap_init`).
    fn own(&mut self, parts: &[(PageSpan, NodeId, Zone)]) {
        let down = |page: u64| page & !(SECTION.saturating_sub(1));
        let up = |page: u64| page.checked_next_multiple_of(SECTION).unwrap_or(u64::MAX);
        let mut reached = 0;
        for (pages, node, zone) in parts {
            let low = PageSpan::new(reached, up(reached).min(pages.start));
            let high = PageSpan::new(reached.max(down(pages.start)), pages.start);
            for hole in [low, high] {
                self.enter(hole, *node, *zone);
            }
            self.enter(*pages, *node, *zone);
            reached = pages.end;
        }
        if let Some((_, node, _)) = parts.last() {
            let highest = Zone::ALL.into_iter().rfind(|zone| self.get(*node, *zone).present > 0);
            if let Some(zone) = highest {
                self.enter(PageSpan::new(reached, up(reached)), *node, zone);
            }
        }
    }

    fn enter(&mut self, pages: PageSpan, node: NodeId, zone: Zone) {
        if pages.is_empty() {
            return;
        }
        let mut owner = Owner { end: pages.end, node, zone };
        let same = |other: &Owner| other.node == node && other.zone == zone;
        if let Some(next) = self.owners.get(&pages.end).copied().filter(same) {
            self.owners.remove(&pages.end);
            owner.end = next.end;
        }
        let before = self.owners.range_mut(..pages.start).next_back().map(|(_, before)| before);
        if let Some(before) = before.filter(|before| before.end == pages.start && same(before)) {
            before.end = owner.end;
            return;
        }
        self.owners.insert(pages.start, owner);
    }

    /// Takes pages out of the lists of owners, whoever has them.
    fn disown(&mut self, pages: PageSpan) {
        let before = self.owners.range(..pages.start).next_back().map(|(start, _)| *start);
        let inside = self.owners.range(pages.start..pages.end).map(|(start, _)| *start);
        let touched: Vec<u64> = before.into_iter().chain(inside).collect();
        for start in touched {
            let Some(owner) = self.owners.get(&start).copied().filter(|owner| owner.end > pages.start) else {
                continue;
            };
            self.owners.remove(&start);
            if start < pages.start {
                self.owners.insert(start, Owner { end: pages.start, ..owner });
            }
            if owner.end > pages.end {
                self.owners.insert(pages.end, owner);
            }
        }
    }

    /// A zone of a node; empty when it does not exist.
    #[must_use]
    pub fn get(&self, node: NodeId, zone: Zone) -> ZonePages {
        self.zones.get(&(node, zone)).copied().unwrap_or_default()
    }

    /// The zones that span anything, by node.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Zone, &ZonePages)> {
        self.zones
            .iter()
            .filter(|(_, state)| !state.span.is_empty())
            .map(|((node, zone), state)| (*node, *zone, state))
    }

    /// Pages of a node in all its zones.
    #[must_use]
    pub fn present(&self, node: NodeId) -> u64 {
        Zone::ALL.into_iter().map(|zone| self.get(node, zone).present).fold(0, u64::saturating_add)
    }

    /// Pages of a node outside its movable zone.
    #[must_use]
    pub fn present_in_kernel_zones(&self, node: NodeId) -> u64 {
        self.present(node).saturating_sub(self.get(node, Zone::Movable).present)
    }

    /// Whether the node spans no page at all.
    #[must_use]
    pub fn spans_nothing(&self, node: NodeId) -> bool {
        Zone::ALL.into_iter().chain([Zone::Device]).all(|zone| self.get(node, zone).span.is_empty())
    }

    /// The zone of these pages when the kernel is to use them for itself (`default_kernel_zone_for_pfn`).
    #[must_use]
    pub fn kernel_zone(&self, node: NodeId, pages: &PageSpan) -> Zone {
        let low = [Zone::Dma, Zone::Dma32];
        low.into_iter().find(|zone| self.get(node, *zone).span.overlaps(pages)).unwrap_or(Zone::Normal)
    }

    /// Pages come online in a zone; `early` for memory of the boot.
    pub(crate) fn grow(&mut self, node: NodeId, zone: Zone, pages: PageSpan, early: bool) {
        let state = self.zones.entry((node, zone)).or_default();
        state.span = state.span.hull(&pages);
        state.present = state.present.saturating_add(pages.count());
        if early {
            state.early = state.early.saturating_add(pages.count());
        }
        self.disown(pages);
        self.enter(pages, node, zone);
    }

    /// A driver has page structures made for pages that it keeps (`memremap_pages`). They stay part of the span for
    /// good: the kernel does not shrink this zone.
    pub(crate) fn keep(&mut self, node: NodeId, pages: PageSpan) {
        let state = self.zones.entry((node, Zone::Device)).or_default();
        state.span = state.span.hull(&pages);
    }

    /// Pages of a zone go offline.
    pub(crate) fn shrink(&mut self, node: NodeId, zone: Zone, pages: PageSpan, early: bool) {
        self.disown(pages);
        let Some(mut state) = self.zones.get(&(node, zone)).copied() else { return };
        state.present = state.present.saturating_sub(pages.count());
        if early {
            state.early = state.early.saturating_sub(pages.count());
        }
        if state.span.start == pages.start {
            let start = self.first_from(node, zone, pages.end, state.span.end);
            state.span = start.map_or(PageSpan::default(), |start| PageSpan::new(start, state.span.end));
        } else if state.span.end == pages.end {
            let last = self.last_before(node, zone, pages.start, state.span.start);
            let end = |last: u64| PageSpan::new(state.span.start, last.saturating_add(1));
            state.span = last.map_or(PageSpan::default(), end);
        }
        self.zones.insert((node, zone), state);
    }

    /// The first of `from`, `from + 512`, ... below `end` that is in the zone (`find_smallest_section_pfn`).
    fn first_from(&self, node: NodeId, zone: Zone, from: u64, end: u64) -> Option<u64> {
        let own = self.owners.iter().filter(|(_, owner)| owner.node == node && owner.zone == zone);
        own.filter(|(_, owner)| owner.end > from).find_map(|(start, owner)| {
            let steps = start.saturating_sub(from).div_ceil(STEP);
            let page = from.saturating_add(steps.saturating_mul(STEP));
            (page < owner.end && page < end).then_some(page)
        })
    }

    /// The first of `before - 1`, `before - 513`, ... down to `start` that is in the zone
    /// (`find_biggest_section_pfn`).
    fn last_before(&self, node: NodeId, zone: Zone, before: u64, start: u64) -> Option<u64> {
        let top = before.checked_sub(1)?;
        let own =
            self.owners.range(..before).rev().filter(|(_, owner)| owner.node == node && owner.zone == zone);
        own.into_iter().find_map(|(first, owner)| {
            let steps = top.saturating_sub(owner.end.saturating_sub(1)).div_ceil(STEP);
            let page = top.checked_sub(steps.saturating_mul(STEP))?;
            (page >= *first && page >= start).then_some(page)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn movable(zones: &Zones) -> (u64, u64, u64) {
        let state = zones.get(NODE, Zone::Movable);
        (state.span.start, state.span.end, state.present)
    }

    #[test]
    fn a_block_in_the_middle_leaves_the_span_until_the_gap_comes_to_an_end() {
        let block = |n: u64| PageSpan::new(n * SECTION, (n + 1) * SECTION);
        let mut zones = Zones::default();
        for n in 32..36 {
            zones.grow(NODE, Zone::Movable, block(n), false);
        }
        zones.shrink(NODE, Zone::Movable, block(33), false);
        assert_eq!(movable(&zones), (32 * SECTION, 36 * SECTION, 3 * SECTION));
        zones.shrink(NODE, Zone::Movable, block(32), false);
        assert_eq!(movable(&zones), (34 * SECTION, 36 * SECTION, 2 * SECTION));
        zones.shrink(NODE, Zone::Movable, block(35), false);
        assert_eq!(movable(&zones), (34 * SECTION, 35 * SECTION, SECTION));
        zones.shrink(NODE, Zone::Movable, block(34), false);
        assert_eq!(movable(&zones), (0, 0, 0));
        assert_eq!(zones.owners.len(), 0);
    }

    /// Seen on a booted 7.2.12: a DIMM block above boot memory of the movable zone, onlined into that zone and taken
    /// offline again, left a span of 71680 pages with 71939 present, as the end of the boot memory is off the steps
    /// of 512 pages in which the kernel looks for it.
    #[test]
    fn spans_come_back_in_steps() {
        let mut zones = Zones::default();
        zones.grow(NODE, Zone::Movable, PageSpan::new(0x2_0000, 0x2_0000 + 71939), true);
        let block = PageSpan::new(0x10_0000, 0x10_8000);
        zones.grow(NODE, Zone::Movable, block, false);
        zones.shrink(NODE, Zone::Movable, block, false);
        assert_eq!(movable(&zones), (0x2_0000, 0x2_0000 + 71680, 71939));
    }
}
