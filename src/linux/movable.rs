//! Where the movable zone of each node begins at boot (`mm/mm_init.c: find_zone_movable_pfns_for_nodes`).

use super::command_line::CoreSize;
use super::kernel::Kernel;
use super::memory_map::{MemoryMap, PAGE};
use super::nodes::Nodes;
use super::placement;
use super::ranges::Piece;
use super::reason::{Notes, Section};
use super::zones::PageSpan;
use crate::range::AddressRange;
use crate::units::NodeId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Pages that zones are aligned to: the largest block of the page allocator, 4 MiB.
const ALIGNMENT: u64 = 1024;
/// First page that 32-bit devices cannot reach.
const FIRST_NORMAL: u64 = 1 << 20;
/// First page that ISA devices cannot reach.
const FIRST_DMA32: u64 = 4096;

/// Finds the first page of the movable zone for each node that has one, and the nodes that have memory outside it.
pub(crate) fn settle(nodes: &mut Nodes, map: &MemoryMap, kernel: &Kernel, notes: &mut Notes) {
    let line = &kernel.command_line;
    let mirror = mirrored(map, kernel);
    let mut starts = BTreeMap::new();
    if line.movable_node {
        starts = of_hot_pluggable(nodes, map, kernel);
    } else if mirror {
        for piece in not_mirrored(&nodes.pieces, &map.mirrored) {
            let first = piece.range.start.0 >> 12;
            if let Some(node) = piece.node.filter(|_| first >= FIRST_NORMAL) {
                let start = starts.entry(node).or_insert(first);
                *start = first.min(*start);
            }
        }
    } else if let Some(core) = kernel_pages(&nodes.pieces, line.kernelcore, line.movablecore) {
        starts = distribute(nodes, core, first_of_highest_zone(map));
    }
    round(&mut starts, &nodes.pieces);

    let in_kernel_zone = |piece: &Piece, start: u64| {
        let mirrored = || mirror && map.mirrored.iter().any(|range| range.overlaps(&piece.range));
        (piece.range.start.0 >> 12) < start || mirrored()
    };
    nodes.has_normal_memory = nodes
        .pieces
        .iter()
        .filter_map(|piece| Some((piece, piece.node?)))
        .filter(|(piece, node)| starts.get(node).is_none_or(|start| in_kernel_zone(piece, *start)))
        .map(|(_, node)| node)
        .collect();
    let loader_told = !kernel.platform.reserved.is_empty() || kernel.platform.initrd.is_some();
    if line.movable_node && !starts.is_empty() && !loader_told {
        let missing =
            "early reservations (initrd, kernel image, firmware tables), which cost a node its movable zone";
        notes.missing(Section::MovableZones, missing);
        if nodes.has_normal_memory != nodes.has_memory {
            notes.missing(Section::NormalMemory, missing);
        }
    }
    nodes.movable_start = starts;
}

/// Whether the kernel keeps to mirrored memory (`kernelcore=mirror`).
pub(crate) fn mirrored(map: &MemoryMap, kernel: &Kernel) -> bool {
    let line = &kernel.command_line;
    line.kernelcore_mirror && !line.movable_node && !map.mirrored.is_empty()
}

/// RAM of nodes, ascending, with whether it is for pages that can move only.
pub(crate) fn kinds(nodes: &Nodes, map: &MemoryMap, mirror: bool) -> Vec<(PageSpan, NodeId, bool)> {
    let mut kinds = Vec::new();
    let unmirrored = if mirror { not_mirrored(&nodes.pieces, &map.mirrored) } else { Vec::new() };
    for piece in &nodes.pieces {
        let (Some(node), pages) = (piece.node, PageSpan::of(&piece.range)) else { continue };
        let start = nodes.movable_start.get(&node).copied().unwrap_or(u64::MAX);
        let mut cuts = Vec::from([pages.start, pages.end, start]);
        for part in &unmirrored {
            let part = PageSpan::of(&part.range);
            cuts.extend([part.start, part.end]);
        }
        cuts.retain(|cut| pages.start <= *cut && *cut <= pages.end);
        cuts.sort_unstable();
        for (from, to) in cuts.iter().zip(cuts.iter().skip(1)).filter(|(from, to)| from < to) {
            let part = PageSpan::new(*from, *to);
            let may_move = |other: &Piece| PageSpan::of(&other.range).overlaps(&part);
            let moves = *from >= start && (!mirror || unmirrored.iter().any(may_move));
            kinds.push((part, node, moves));
        }
    }
    kinds
}

/// Up to a whole block, unless nothing is left behind it.
fn round(starts: &mut BTreeMap<NodeId, u64>, pieces: &[Piece]) {
    starts.retain(|node, start| {
        let own = pieces.iter().filter(|piece| piece.node == Some(*node));
        let end = own.map(|piece| piece.range.end.0 >> 12).max().unwrap_or_default();
        *start = start.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX);
        *start < end
    });
}

/// `movable_node`: everything from the first hot-pluggable page of a node on, unless something was reserved on
/// the node before it was known (`numa_clear_kernel_node_hotplug`).
fn of_hot_pluggable(nodes: &Nodes, map: &MemoryMap, kernel: &Kernel) -> BTreeMap<NodeId, u64> {
    let mut starts: BTreeMap<NodeId, u64> = BTreeMap::new();
    for piece in &nodes.pieces {
        let Some(node) = piece.node else { continue };
        let marked = nodes.hot_pluggable.iter().filter_map(|range| range.intersect(&piece.range));
        if let Some(first) = marked.map(|range| range.start.0 >> 12).min() {
            let start = starts.entry(node).or_insert(first);
            *start = first.min(*start);
        }
    }
    let kernel_nodes = placement::lost_nodes(nodes, map, kernel);
    starts.retain(|node, _| !kernel_nodes.contains(*node));
    starts
}

/// The RAM that is not mirrored.
fn not_mirrored(pieces: &[Piece], mirrored: &[AddressRange]) -> Vec<Piece> {
    let mut sorted = mirrored.to_vec();
    sorted.sort_unstable();
    let mut left = Vec::new();
    for piece in pieces {
        let mut at = piece.range.start;
        for range in sorted.iter().filter(|range| range.overlaps(&piece.range)) {
            if at < range.start {
                left.push(Piece { range: AddressRange::new(at, range.start), node: piece.node });
            }
            at = at.max(range.end);
        }
        if at < piece.range.end {
            left.push(Piece { range: AddressRange::new(at, piece.range.end), node: piece.node });
        }
    }
    left
}

/// How many pages the kernel keeps for itself by `kernelcore=` and `movablecore=`; `None` for all of them.
fn kernel_pages(pieces: &[Piece], kernelcore: CoreSize, movablecore: CoreSize) -> Option<u64> {
    let total = pieces.iter().map(Piece::pages).fold(0, u64::saturating_add);
    let pages = |size: CoreSize| match size.percent {
        0 => size.bytes.checked_div(PAGE).unwrap_or_default(),
        percent => total.saturating_mul(100).saturating_mul(percent).checked_div(10_000).unwrap_or_default(),
    };
    let mut core = pages(kernelcore);
    let movable = pages(movablecore);
    if movable > 0 {
        let movable = movable.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX).min(total);
        core = core.max(total.saturating_sub(movable));
    }
    (core > 0 && core < total).then_some(core)
}

/// The lowest page of the highest kernel zone that has any pages.
fn first_of_highest_zone(map: &MemoryMap) -> u64 {
    if map.max_pfn > FIRST_NORMAL {
        FIRST_NORMAL
    } else if map.max_pfn > FIRST_DMA32 {
        FIRST_DMA32
    } else {
        map.ram.first().map_or(0, |ram| ram.start.0 >> 12)
    }
}

/// Spreads the pages that the kernel keeps evenly over the nodes. Memory below the highest zone is always kept.
fn distribute(nodes: &Nodes, core: u64, highest_zone: u64) -> BTreeMap<NodeId, u64> {
    let mut by_node: BTreeMap<NodeId, Vec<(u64, u64)>> = BTreeMap::new();
    for piece in &nodes.pieces {
        if let Some(node) = piece.node {
            by_node.entry(node).or_default().push((piece.range.start.0 >> 12, piece.range.end.0 >> 12));
        }
    }
    let mut result: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut core = core;
    let mut usable = u64::try_from(by_node.len()).unwrap_or(u64::MAX);
    while let Some(share) = core.checked_div(usable) {
        let mut per_node = share;
        for (node, regions) in &by_node {
            if core < per_node {
                per_node = core.checked_div(usable).unwrap_or_default();
            }
            let mut remain = per_node;
            for (start, end) in regions {
                let at = result.entry(*node).or_default();
                let mut start = (*start).max(*at);
                if start >= *end {
                    continue;
                }
                if start < highest_zone {
                    let low = (*end).min(highest_zone).saturating_sub(start);
                    remain = remain.saturating_sub(low);
                    core = core.saturating_sub(low);
                    if *end <= highest_zone {
                        *at = *end;
                        continue;
                    }
                    start = highest_zone;
                }
                let taken = end.saturating_sub(start).min(remain);
                *at = start.saturating_add(taken);
                core = core.saturating_sub(taken);
                remain = remain.saturating_sub(taken);
                if remain == 0 {
                    break;
                }
            }
        }
        usable = usable.saturating_sub(1);
        if core <= usable {
            break;
        }
    }
    result.retain(|_, start| *start > 0);
    result
}
