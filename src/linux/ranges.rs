//! Which node owns which addresses: the lists of ranges, their clean-up, and the RAM they cover
//! (`mm/numa_memblks.c`).

use super::memory_map::{MemoryMap, PAGE, pages};
use crate::range::AddressRange;
use crate::topology::Source;
use crate::units::{NodeId, PhysAddr};
use alloc::vec::Vec;

/// Addresses of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRange {
    /// The addresses.
    pub range: AddressRange,
    /// Their node.
    pub node: NodeId,
    /// Where they are described; `None` for the made-up node.
    pub source: Option<Source>,
}

/// Why ranges make the description of nodes void: two of different nodes overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The two.
    pub ranges: [NodeRange; 2],
}

/// What clean-up cuts ranges to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// First address that counts.
    pub low: u64,
    /// First address that does not count any more.
    pub high: u64,
}

/// Cuts ranges to RAM and joins those of one node (`numa_cleanup_meminfo`). What holds no RAM goes to
/// `reserved`.
///
/// # Errors
/// When ranges of different nodes overlap in RAM; `ranges` is then not to be used.
pub fn clean(
    ranges: &mut Vec<NodeRange>,
    reserved: &mut Vec<NodeRange>,
    map: &MemoryMap,
    limits: Limits,
) -> Result<(), Conflict> {
    let (low, high) = (PhysAddr(limits.low), PhysAddr(limits.high));
    ranges.retain_mut(|entry| {
        if !map.touches_ram(&entry.range) {
            reserved.push(*entry);
            return false;
        }
        entry.range.start = entry.range.start.max(low);
        if entry.range.end > high {
            reserved.push(NodeRange { range: AddressRange::new(high, entry.range.end), ..*entry });
            entry.range.end = high;
        }
        !entry.range.is_empty()
    });
    join(ranges)
}

/// Joins the ranges of one node between which no other node has any.
///
/// The kernel compares all pairs; in address order the same falls out of one pass, because joining never makes
/// a range meet another node's: ranges of one node that follow each other in address order become one, at the
/// list position of the first of them.
fn join(ranges: &mut Vec<NodeRange>) -> Result<(), Conflict> {
    let mut order: Vec<(usize, NodeRange)> = ranges.iter().copied().enumerate().collect();
    order.sort_by_key(|(position, entry)| (entry.range.start, *position));
    let mut runs: Vec<(usize, NodeRange)> = Vec::with_capacity(order.len());
    for (position, entry) in order {
        match runs.last_mut() {
            // Runs do not overlap, so the last one reaches farthest.
            Some((_, last)) if last.node != entry.node && last.range.overlaps(&entry.range) => {
                return Err(Conflict { ranges: [*last, entry] });
            }
            Some((first, last)) if last.node == entry.node => {
                *first = (*first).min(position);
                last.range = last.range.hull(&entry.range);
            }
            _ => runs.push((position, entry)),
        }
    }
    runs.sort_unstable_by_key(|(position, _)| *position);
    *ranges = runs.into_iter().map(|(_, entry)| entry).collect();
    Ok(())
}

/// RAM of one node, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whole pages.
    pub range: AddressRange,
    /// The node; `None` for RAM that no range covers.
    pub node: Option<NodeId>,
}

impl Piece {
    /// Pages in it.
    #[must_use]
    pub fn pages(&self) -> u64 {
        pages(&self.range)
    }
}

/// RAM by node, ascending, in whole pages. A page that a border cuts belongs to neither side.
#[must_use]
pub fn stamp(ranges: &[NodeRange], map: &MemoryMap) -> Vec<Piece> {
    let mut pieces = regions(ranges, map);
    for piece in &mut pieces {
        let start = piece.range.start.0.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        piece.range = AddressRange::new(PhysAddr(start), PhysAddr(piece.range.end.0 & !0xfff));
    }
    pieces.retain(|piece| !piece.range.is_empty());
    pieces
}

/// RAM by node, ascending, to the byte.
#[must_use]
pub fn regions(ranges: &[NodeRange], map: &MemoryMap) -> Vec<Piece> {
    let mut sorted: Vec<&NodeRange> = ranges.iter().collect();
    sorted.sort_by_key(|entry| entry.range.start);
    let mut pieces: Vec<Piece> = Vec::new();
    for ram in &map.ram {
        let mut at = ram.start;
        let mut put = |start: PhysAddr, end: PhysAddr, node: Option<NodeId>| match pieces.last_mut() {
            _ if start >= end => {}
            Some(last) if last.node == node && last.range.end == start => last.range.end = end,
            _ => pieces.push(Piece { range: AddressRange::new(start, end), node }),
        };
        let first = sorted.partition_point(|entry| entry.range.end <= ram.start);
        for entry in sorted.iter().skip(first).take_while(|entry| entry.range.start < ram.end) {
            let (start, end) = (entry.range.start.max(at), entry.range.end.min(ram.end));
            put(at, start, None);
            put(start, end, Some(entry.node));
            at = at.max(end);
        }
        put(at, ram.end, None);
    }
    pieces
}

/// The node of the first range that holds an address.
#[must_use]
pub fn first_holder(ranges: &[NodeRange], address: PhysAddr) -> Option<NodeId> {
    ranges.iter().find(|entry| entry.range.contains(address)).map(|entry| entry.node)
}

/// Extends the ranges that meet a window so that they cover it (`numa_fill_memblks`). `false` when none meets it.
pub fn fill(ranges: &mut [NodeRange], window: &AddressRange) -> bool {
    let mut meeting: Vec<&mut NodeRange> =
        ranges.iter_mut().filter(|entry| entry.range.overlaps(window)).collect();
    meeting.sort_by_key(|entry| entry.range.start);
    let Some(first) = meeting.first_mut() else { return false };
    first.range.start = first.range.start.min(window.start);
    if let Some(last) = meeting.last_mut() {
        last.range.end = last.range.end.max(window.end);
    }
    let mut reached: Option<PhysAddr> = None;
    for entry in meeting {
        match reached {
            Some(before) if before < entry.range.start => {
                entry.range.start = before;
                reached = Some(entry.range.end);
            }
            Some(before) => reached = Some(before.max(entry.range.end)),
            None => reached = Some(entry.range.end),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn range(start: u64, end: u64) -> AddressRange {
        AddressRange::new(PhysAddr(start << 20), PhysAddr(end << 20))
    }

    fn on(node: u32, start: u64, end: u64) -> NodeRange {
        NodeRange { range: range(start, end), node: NodeId(node), source: None }
    }

    fn ram(ranges: &[(u64, u64)]) -> MemoryMap {
        MemoryMap {
            ram: ranges.iter().map(|(start, end)| range(*start, *end)).collect(),
            ..Default::default()
        }
    }

    const WIDE: Limits = Limits { low: 1 << 20, high: 1024 << 20 };

    #[test]
    fn holes_of_one_node_close_unless_another_lies_between() {
        let map = ram(&[(1, 1024)]);
        let mut ranges =
            vec![on(0, 600, 700), on(1, 300, 400), on(0, 0, 100), on(0, 150, 300), on(2, 2000, 3000)];
        let mut reserved = vec![];
        clean(&mut ranges, &mut reserved, &map, WIDE).unwrap();
        assert_eq!(ranges, [on(0, 600, 700), on(1, 300, 400), on(0, 1, 300)]);
        assert_eq!(reserved, [on(2, 2000, 3000)]);
    }

    #[test]
    fn overlaps_of_different_nodes_are_refused_even_inside_a_larger_range() {
        let map = ram(&[(1, 1024)]);
        let mut ranges = vec![on(0, 0, 500), on(0, 100, 200), on(1, 400, 450)];
        assert!(clean(&mut ranges, &mut vec![], &map, WIDE).is_err());
        // Without RAM under it an overlap goes unnoticed.
        let mut ranges = vec![on(0, 0, 1024), on(1, 1024, 2048), on(0, 1500, 1600)];
        let mut reserved = vec![];
        clean(&mut ranges, &mut reserved, &map, WIDE).unwrap();
        assert_eq!((ranges.len(), reserved.len()), (1, 2));
    }

    #[test]
    fn what_reaches_past_ram_is_cut_and_kept_for_later() {
        let map = ram(&[(1, 1024)]);
        let mut ranges = vec![on(0, 0, 4096)];
        let mut reserved = vec![];
        clean(&mut ranges, &mut reserved, &map, WIDE).unwrap();
        assert_eq!((ranges, reserved), (vec![on(0, 1, 1024)], vec![on(0, 1024, 4096)]));
    }

    #[test]
    fn a_page_that_a_border_cuts_belongs_to_nobody() {
        let map = ram(&[(1, 3)]);
        let border = PhysAddr((2 << 20) + 0x800);
        let ranges = [
            NodeRange { range: AddressRange::new(PhysAddr(0), border), node: NodeId(0), source: None },
            NodeRange { range: AddressRange::new(border, PhysAddr(3 << 20)), node: NodeId(1), source: None },
        ];
        let pieces = stamp(&ranges, &map);
        assert_eq!(pieces.iter().map(Piece::pages).collect::<Vec<_>>(), [256, 255]);
        assert!(pieces.iter().all(|piece| piece.node.is_some()));
    }

    #[test]
    fn a_gap_in_a_window_goes_to_the_range_behind_it() {
        let mut ranges = vec![on(2, 100, 200), on(3, 300, 400), on(4, 900, 1000)];
        assert!(fill(&mut ranges, &range(50, 500)));
        assert_eq!(ranges, [on(2, 50, 200), on(3, 200, 500), on(4, 900, 1000)]);
        assert!(!fill(&mut ranges, &range(2000, 3000)));
    }
}
