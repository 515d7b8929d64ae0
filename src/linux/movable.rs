//! Where the movable zone of each node begins at boot (`mm/mm_init.c: find_zone_movable_pfns_for_nodes`).

use super::kernel::Kernel;
use super::memory_map::MemoryMap;
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::reason::Notes;
use crate::units::NodeId;
use alloc::collections::BTreeMap;

pub(crate) fn starts(
    _nodes: &Nodes,
    _map: &MemoryMap,
    _kernel: &Kernel,
    _notes: &mut Notes,
) -> BTreeMap<NodeId, u64> {
    BTreeMap::new()
}

/// Nodes with RAM below their movable zone.
pub(crate) fn normal_memory(nodes: &Nodes) -> NodeSet {
    let below = |node: NodeId, first: u64| nodes.movable_start.get(&node).is_none_or(|start| first < *start);
    let pieces = nodes.pieces.iter();
    pieces.filter_map(|piece| Some((piece.node?, piece.range.start.0 >> 12))).filter(|(n, f)| below(*n, *f)).map(|(n, _)| n).collect()
}
