//! Which memory blocks there are, whose they are, and whether they are online (`drivers/base/memory.c`).
//!
//! Blocks that are alike and follow each other are one [`Run`], so that a machine of 64 TiB takes no more room than its
//! ranges do.

use super::blocks;
use super::kernel::Kernel;
use super::memory_map::{MemoryMap, PAGE};
use super::nodes::Nodes;
use super::ranges::{self, Piece};
use super::zones::{PageSpan, Zone, Zones};
use crate::range::AddressRange;
use crate::units::{ByteCount, NodeId, PhysAddr};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// The number of a memory block: its address divided by the block size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlockId(pub u64);

impl BlockId {
    /// The block this many further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which memory was added together: a DIMM, or what kmem made of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// Whether a block is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// It is not.
    Offline,
    /// It is, in this zone; `None` for a block of several zones or nodes, which can never go offline.
    Online(Option<Zone>),
}

/// Blocks that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first block behind them.
    pub end: BlockId,
    /// Nodes that list them.
    pub nodes: Vec<NodeId>,
    /// Whether they are online.
    pub state: BlockState,
    /// With which memory they were added; `None` for memory of the boot.
    pub group: Option<GroupId>,
}

impl Run {
    /// The node that they count for.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.nodes.last().copied().unwrap_or_default()
    }

    /// Whether they are memory of the boot.
    #[must_use]
    pub const fn is_early(&self) -> bool {
        self.group.is_none()
    }
}

/// All memory blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMap {
    /// Bytes in a block.
    pub size: ByteCount,
    runs: BTreeMap<BlockId, Run>,
}

impl BlockMap {
    /// The blocks of the memory of the boot: one wherever there is RAM.
    pub(crate) fn boot(nodes: &Nodes, map: &MemoryMap, zones: &Zones, kernel: &Kernel) -> Self {
        let size = blocks::block_size(map, nodes.block_size_advice, kernel);
        let mut blocks = Self { size, runs: BTreeMap::new() };
        let pieces = ranges::regions(&nodes.ranges, map);
        let with_holes = if kernel.switches.holes_have_a_node {
            blocks.with_holes_of_first_node(&pieces, nodes)
        } else {
            Vec::new()
        };
        let regions: Vec<(BlockId, BlockId, NodeId)> = pieces
            .iter()
            .filter_map(|region| {
                let last = PhysAddr(region.range.end.0.checked_sub(1)?);
                Some((blocks.of(region.range.start), blocks.of(last).plus(1), region.node?))
            })
            .collect();
        // Between these, blocks are alike.
        let spans = zones.iter().map(|(_, _, state)| state.span.addresses());
        let ends =
            spans.map(|span| (blocks.of(span.start), blocks.of(PhysAddr(span.end.0.saturating_sub(1)))));
        let ends =
            ends.chain(regions.iter().map(|(first, end, _)| (*first, BlockId(end.0.saturating_sub(1)))));
        let ends = ends.chain(with_holes.iter().map(|block| (*block, *block)));
        let mut cuts: Vec<BlockId> =
            ends.flat_map(|(first, last)| [first, first.plus(1), last, last.plus(1)]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut runs: BTreeMap<BlockId, Run> = BTreeMap::new();
        for (first, end, node) in regions {
            let inside = cuts.partition_point(|cut| *cut <= first);
            let further = cuts.iter().skip(inside).copied().take_while(|cut| *cut < end);
            let mut at = first;
            for next in further.chain([end]) {
                let state = BlockState::Offline;
                let run = runs.entry(at).or_insert(Run { end: next, nodes: Vec::new(), state, group: None });
                if !run.nodes.contains(&node) {
                    run.nodes.push(node);
                }
                at = next;
            }
        }
        for block in with_holes {
            if let (Some(run), Some(node)) = (runs.get_mut(&block), nodes.online.first()) {
                if !run.nodes.contains(&node) {
                    run.nodes.push(node);
                }
            }
        }
        for (first, mut run) in runs {
            if kernel.switches.holes_have_a_node {
                // There the nodes are walked, not the RAM.
                run.nodes.sort_unstable();
            }
            let pages = PageSpan::of(&blocks.range(first, first.plus(1)));
            let mut zone = None;
            if let [node] = run.nodes.as_slice() {
                let populated = |zone: &Zone| {
                    let state = zones.get(*node, *zone);
                    state.present > 0 && state.span.overlaps(&pages)
                };
                let mut meeting = Zone::ALL.into_iter().filter(populated);
                zone = meeting.next().filter(|_| meeting.next().is_none());
            }
            run.state = BlockState::Online(zone);
            blocks.insert(first, run);
        }
        blocks
    }

    /// Blocks within the span of the lowest online node where a section with RAM has pages that are none: those count
    /// as pages of that node (`drivers/base/node.c: get_nid_for_pfn`, `mm/mm_init.c: early_pfn_to_nid`).
    fn with_holes_of_first_node(&self, pieces: &[Piece], nodes: &Nodes) -> Vec<BlockId> {
        let own = || nodes.pieces.iter().filter(|piece| piece.node == nodes.online.first());
        let start = own().map(|piece| piece.range.start).min().unwrap_or_default();
        let end = own().map(|piece| piece.range.end).max().unwrap_or_default();
        let span = AddressRange::new(start, end);
        // The section size is a power of two.
        let in_section = blocks::MIN_BLOCK.0.saturating_sub(1);
        let mut found = Vec::new();
        let mut note = |start: u64, end: u64| {
            let page = start.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
            let block = self.of(PhysAddr(page));
            if page < end && self.range(block, block.plus(1)).overlaps(&span) {
                found.push(block);
            }
        };
        let mut before = 0_u64;
        for piece in pieces {
            let (start, end) = (piece.range.start.0, piece.range.end.0);
            let behind = before.checked_next_multiple_of(blocks::MIN_BLOCK.0).unwrap_or(u64::MAX);
            note(before, behind.min(start));
            note((start & !in_section).max(before), start);
            before = end;
        }
        note(before, before.checked_next_multiple_of(blocks::MIN_BLOCK.0).unwrap_or(u64::MAX));
        found
    }

    /// The block that holds an address.
    #[must_use]
    pub fn of(&self, address: PhysAddr) -> BlockId {
        BlockId(address.0.checked_div(self.size.0).unwrap_or_default())
    }

    /// The addresses of the blocks from `first` up to, not including, `end`.
    #[must_use]
    pub fn range(&self, first: BlockId, end: BlockId) -> AddressRange {
        let address = |block: BlockId| PhysAddr(block.0.saturating_mul(self.size.0));
        AddressRange::new(address(first), address(end))
    }

    /// What is known of a block; `None` when there is no such block.
    #[must_use]
    pub fn get(&self, block: BlockId) -> Option<&Run> {
        let (_, run) = self.runs.range(..=block).next_back()?;
        (block < run.end).then_some(run)
    }

    /// All runs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (BlockId, &Run)> {
        self.runs.iter().map(|(first, run)| (*first, run))
    }

    /// The runs between two blocks, cut to them.
    #[must_use]
    pub fn between(&self, first: BlockId, end: BlockId) -> Vec<(BlockId, Run)> {
        let before = self.runs.range(..first).next_back();
        let all = before.into_iter().chain(self.runs.range(first..end));
        all.filter(|(start, run)| run.end > first && **start < end)
            .map(|(start, run)| ((*start).max(first), Run { end: run.end.min(end), ..run.clone() }))
            .collect()
    }

    /// Whether a node has any block, online or not.
    #[must_use]
    pub fn any_of(&self, node: NodeId) -> bool {
        self.runs.values().any(|run| run.node() == node)
    }

    /// How many blocks there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.iter().map(|(first, run)| run.end.0.saturating_sub(first.0)).fold(0, u64::saturating_add)
    }

    /// Enters blocks where none are.
    pub(crate) fn insert(&mut self, first: BlockId, mut run: Run) {
        let alike = |other: &Run, run: &Run| {
            (&other.nodes, other.state, other.group) == (&run.nodes, run.state, run.group)
        };
        if let Some(next) = self.runs.get(&run.end).filter(|next| alike(next, &run)).map(|next| next.end) {
            self.runs.remove(&run.end);
            run.end = next;
        }
        let before = self.runs.range_mut(..first).next_back().map(|(_, before)| before);
        if let Some(before) = before.filter(|before| before.end == first && alike(before, &run)) {
            before.end = run.end;
            return;
        }
        self.runs.insert(first, run);
    }

    /// Takes blocks out; what they were.
    pub(crate) fn remove(&mut self, first: BlockId, end: BlockId) -> Vec<(BlockId, Run)> {
        let inside = self.between(first, end);
        let mut rest = vec![];
        for (start, _) in &inside {
            let Some((start, run)) = self.runs.range(..=*start).next_back().map(|(a, b)| (*a, b.clone()))
            else {
                continue;
            };
            self.runs.remove(&start);
            if start < first {
                rest.push((start, Run { end: first, ..run.clone() }));
            }
            if run.end > end {
                rest.push((end, run));
            }
        }
        for (start, run) in rest {
            self.runs.insert(start, run);
        }
        inside
    }

    /// Gives blocks another state.
    pub(crate) fn set(&mut self, first: BlockId, end: BlockId, state: BlockState) {
        for (start, run) in self.remove(first, end) {
            self.insert(start, Run { state, ..run });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_alike_are_one_run() {
        let mut blocks = BlockMap { size: blocks::MIN_BLOCK, runs: BTreeMap::new() };
        let run = |end| Run {
            end: BlockId(end),
            nodes: vec![NodeId(2)],
            state: BlockState::Offline,
            group: Some(GroupId(0)),
        };
        blocks.insert(BlockId(0), run(1 << 18));
        blocks.insert(BlockId(1 << 18), run(1 << 19));
        assert_eq!((blocks.runs.len(), blocks.count()), (1, 524_288));
        blocks.set(BlockId(7), BlockId(9), BlockState::Online(Some(Zone::Movable)));
        assert_eq!(blocks.runs.len(), 3);
        assert_eq!(blocks.get(BlockId(8)).unwrap().state, BlockState::Online(Some(Zone::Movable)));
        assert_eq!(blocks.get(BlockId(9)).unwrap().state, BlockState::Offline);
        blocks.set(BlockId(7), BlockId(9), BlockState::Offline);
        assert_eq!(blocks.runs.len(), 1);
        blocks.remove(BlockId(3), BlockId(5));
        assert!(blocks.get(BlockId(4)).is_none());
        assert_eq!((blocks.runs.len(), blocks.count()), (2, 524_286));
    }
}
