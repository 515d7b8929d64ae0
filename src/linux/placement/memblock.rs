//! The boot allocator: memory that is there, memory that is taken, and where the next piece comes from
//! (`mm/memblock.c`).

use crate::linux::memory_map::PAGE;
use crate::range::AddressRange;
use crate::units::{ByteCount, NodeId, PhysAddr};
use alloc::vec::Vec;

/// Memory of one node and one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) range: AddressRange,
    pub(super) node: Option<NodeId>,
    pub(super) hot_pluggable: bool,
    pub(super) mirrored: bool,
}

/// What is asked of the allocator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) size: ByteCount,
    pub(super) align: ByteCount,
    /// The lowest address wanted; below it only when there is nothing above.
    pub(super) from: PhysAddr,
    /// The first address that will not do.
    pub(super) below: PhysAddr,
    pub(super) node: Option<NodeId>,
    /// No other node will do.
    pub(super) exact: bool,
}

impl Request {
    /// So many bytes, at such an alignment, anywhere.
    pub(super) const fn new(size: u64, align: u64) -> Self {
        Self {
            size: ByteCount(size),
            align: ByteCount(align),
            from: PhysAddr(PAGE),
            below: PhysAddr(u64::MAX),
            node: None,
            exact: false,
        }
    }

    /// The same, on this node if it has room.
    pub(super) const fn near(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }
}

/// The allocator.
#[derive(Clone, Debug, Default)]
pub(super) struct Memblock {
    /// All memory, ascending.
    pub(super) memory: Vec<Region>,
    /// What is taken, ascending, none touching the next.
    pub(super) taken: Vec<AddressRange>,
    /// Look from the lowest address upwards.
    pub(super) bottom_up: bool,
    /// Leave hot-pluggable memory alone (`movable_node`).
    pub(super) spare_hot_pluggable: bool,
    /// Take mirrored memory first (`kernelcore=mirror`).
    pub(super) mirrored_first: bool,
}

impl Memblock {
    /// Takes a range, whatever is there.
    pub(super) fn reserve(&mut self, range: AddressRange) {
        if range.is_empty() {
            return;
        }
        let from = self.taken.partition_point(|taken| taken.end < range.start);
        let to = self.taken.partition_point(|taken| taken.start <= range.end);
        let whole = self.taken.get(from..to).unwrap_or_default().iter().fold(range, |a, b| a.hull(b));
        self.taken.splice(from..to.max(from), [whole]);
    }

    /// Takes one piece.
    pub(super) fn allocate(&mut self, request: &Request) -> Option<AddressRange> {
        self.allocate_many(request, 1).first().copied()
    }

    /// Takes so many pieces, one after another; touching ones come back as one range. There may be fewer.
    ///
    /// As each piece makes room scarcer and never gives any back, the pieces of one way to look come before those of
    /// the next.
    pub(super) fn allocate_many(&mut self, request: &Request, count: u64) -> Vec<AddressRange> {
        let mut ranges = Vec::new();
        let mut left = count;
        let nodes: &[Option<NodeId>] = match (request.node, request.exact) {
            (Some(_), false) => &[request.node, None],
            _ => &[request.node],
        };
        for from in [request.from, PhysAddr(PAGE)] {
            for mirrored in [self.mirrored_first, false] {
                for node in nodes {
                    let request = Request { from, node: *node, ..*request };
                    left = self.take(&request, mirrored, left, &mut ranges);
                }
            }
        }
        ranges
    }

    /// Takes pieces in one way; how many are still wanted.
    fn take(
        &mut self,
        request: &Request,
        mirrored: bool,
        mut left: u64,
        ranges: &mut Vec<AddressRange>,
    ) -> u64 {
        let mut free = self.free(request, mirrored);
        if !self.bottom_up {
            free.reverse();
        }
        let stride = request.size.0.checked_next_multiple_of(request.align.0).unwrap_or(u64::MAX).max(1);
        for gap in free {
            if left == 0 {
                break;
            }
            let align = request.align.0.max(1);
            let found = if self.bottom_up {
                gap.start.0.checked_next_multiple_of(align).and_then(|start| {
                    let room = gap.end.0.checked_sub(start)?.checked_sub(request.size.0)?;
                    let more = room.checked_div(stride)?.saturating_add(1).min(left);
                    let size = stride.saturating_mul(more.saturating_sub(1)).saturating_add(request.size.0);
                    Some((start, start.saturating_add(size), more))
                })
            } else {
                gap.end.0.checked_sub(request.size.0).and_then(|top| {
                    let top = top.checked_sub(top.checked_rem(align)?)?;
                    let more = top.checked_sub(gap.start.0)?.checked_div(stride)?.saturating_add(1).min(left);
                    let start = top.checked_sub(stride.saturating_mul(more.saturating_sub(1)))?;
                    Some((start, top.saturating_add(request.size.0), more))
                })
            };
            if let Some((start, end, more)) = found {
                let range = AddressRange::new(PhysAddr(start), PhysAddr(end));
                self.reserve(range);
                ranges.push(range);
                left = left.saturating_sub(more);
            }
        }
        left
    }

    /// Memory that a request may take, ascending.
    fn free(&self, request: &Request, mirrored: bool) -> Vec<AddressRange> {
        let wanted = AddressRange::new(request.from.max(PhysAddr(PAGE)), request.below);
        let usable = |region: &&Region| {
            (request.node.is_none() || region.node == request.node)
                && !(self.spare_hot_pluggable && region.hot_pluggable)
                && (!mirrored || region.mirrored)
        };
        let mut free = Vec::new();
        for region in self.memory.iter().filter(usable) {
            let Some(range) = region.range.intersect(&wanted) else { continue };
            let mut at = range.start;
            let from = self.taken.partition_point(|taken| taken.end <= range.start);
            for taken in self.taken.iter().skip(from).take_while(|taken| taken.start < range.end) {
                if at < taken.start {
                    free.push(AddressRange::new(at, taken.start));
                }
                at = at.max(taken.end);
            }
            if at < range.end {
                free.push(AddressRange::new(at, range.end));
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mib(start: u64, end: u64) -> AddressRange {
        AddressRange::new(PhysAddr(start << 20), PhysAddr(end << 20))
    }

    fn two_nodes() -> Memblock {
        let region = |range, node, hot_pluggable| Region {
            range,
            node: Some(NodeId(node)),
            hot_pluggable,
            mirrored: false,
        };
        Memblock {
            memory: [region(mib(1, 64), 0, false), region(mib(64, 128), 1, true)].to_vec(),
            ..Memblock::default()
        }
    }

    #[test]
    fn from_the_top_on_the_node_and_then_anywhere() {
        let mut memblock = two_nodes();
        let request = Request::new(2 << 20, 2 << 20).near(NodeId(1));
        assert_eq!(memblock.allocate_many(&request, 3), [mib(122, 128)]);
        memblock.reserve(mib(66, 121));
        assert_eq!(memblock.allocate_many(&request, 3), [mib(64, 66), mib(60, 64)]);
        assert_eq!(memblock.allocate(&Request { exact: true, ..request }), None);
        // Below the lowest wanted address only when nothing is left above.
        let request = Request { from: PhysAddr(60 << 20), ..Request::new(1 << 20, 1 << 20) };
        assert_eq!(memblock.allocate_many(&request, 2), [mib(121, 122), mib(59, 60)]);
    }

    #[test]
    fn hot_pluggable_memory_is_spared_even_as_a_last_resort() {
        let mut memblock = two_nodes();
        memblock.spare_hot_pluggable = true;
        let request = Request::new(2 << 20, 2 << 20).near(NodeId(1));
        assert_eq!(memblock.allocate_many(&request, 2), [mib(60, 64)]);
        memblock.bottom_up = true;
        assert_eq!(memblock.allocate(&Request::new(4096, 4096)).unwrap().start, PhysAddr(1 << 20));
        memblock.reserve(mib(1, 64));
        assert_eq!(memblock.allocate(&request), None);
    }
}
