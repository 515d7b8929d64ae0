//! The order in which nodes stand in for each other (`mm/page_alloc.c: find_next_best_node`,
//! `__build_all_zonelists`).

use super::distances::DistanceTable;
use super::node_set::NodeSet;
use crate::units::{Distance, NodeId};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// How often each node stands in for others: breaks ties between nodes at the same distance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    loads: Vec<u32>,
    max_nodes: u64,
}

impl Loads {
    fn get(&self, node: NodeId) -> u64 {
        let at = usize::try_from(node.0).unwrap_or(usize::MAX);
        self.loads.get(at).copied().map_or(0, u64::from)
    }

    fn add(&mut self, node: NodeId) {
        if let Some(load) = usize::try_from(node.0).ok().and_then(|at| self.loads.get_mut(at)) {
            *load = load.saturating_add(1);
        }
    }
}

/// How near one node is to another as a place for its pages; less is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Their distance.
    pub distance: Distance,
    /// Penalties of 1: the other has a lower number, the other has processors.
    pub penalties: [bool; 2],
    /// How often the other stands in for nodes already.
    pub load: u64,
    max_nodes: u64,
}

impl Score {
    /// The number by which nodes are compared: the distance and the penalties weigh more than any load.
    #[must_use]
    pub fn value(&self) -> u64 {
        let penalties =
            self.penalties.map(u64::from).iter().fold(0, |sum: u64, one| sum.saturating_add(*one));
        u64::from(self.distance.0)
            .saturating_add(penalties)
            .saturating_mul(self.max_nodes)
            .saturating_add(self.load)
    }
}

/// Sums of a distance and penalties, and one for all larger ones.
const BUCKETS: usize = 259;

impl Score {
    /// Which of [`BUCKETS`] it is in: a smaller value is never in a later one.
    fn bucket(&self) -> usize {
        let penalties =
            self.penalties.map(usize::from).iter().fold(0, |sum: usize, one| sum.saturating_add(*one));
        let sum = usize::from(self.distance.0).saturating_add(penalties);
        if self.load < self.max_nodes {
            return sum;
        }
        let carried = self.load.checked_div(self.max_nodes).and_then(|load| usize::try_from(load).ok());
        sum.saturating_add(carried.unwrap_or(BUCKETS)).min(BUCKETS.saturating_sub(1))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lower, processors] = self.penalties.map(u8::from);
        let Self { distance, load, max_nodes, .. } = self;
        write!(f, "({distance}+{lower}+{processors})*{max_nodes}+{load}={}", self.value())
    }
}

/// What ranks nodes, besides their distance.
#[derive(Clone, Copy, Debug)]
pub struct Ranking<'a> {
    /// Node distances.
    pub distances: &'a DistanceTable,
    /// Nodes with memory.
    pub has_memory: &'a NodeSet,
    /// Nodes that are avoided a little, because their processors will want the memory themselves.
    pub has_cpu: &'a NodeSet,
}

impl Ranking<'_> {
    /// How near `other` is to `node`.
    #[must_use]
    pub fn score(&self, node: NodeId, other: NodeId, loads: &Loads) -> Score {
        Score {
            distance: self.distances.get(node, other),
            penalties: [other < node, self.has_cpu.contains(other)],
            load: loads.get(other),
            max_nodes: loads.max_nodes,
        }
    }

    /// Builds the lists of all possible nodes, each with its place in the log line `Fallback order for Node`,
    /// and the loads that are left over.
    #[must_use]
    pub fn build(&self, possible: &NodeSet, max_nodes: u32) -> (Vec<(NodeId, Vec<NodeId>)>, Loads) {
        let highest = possible.last().max(self.has_memory.last());
        let size = highest.map_or(0, |last| usize::try_from(last.0).unwrap_or_default().saturating_add(1));
        let mut loads = Loads { loads: vec![0; size], max_nodes: u64::from(max_nodes) };
        let memory: Vec<(NodeId, bool)> =
            self.has_memory.iter().map(|node| (node, self.has_cpu.contains(node))).collect();
        let mut lists = Vec::with_capacity(possible.len());
        // Of one list, by distance and penalties; what is behind the largest possible sum goes to the last.
        let mut buckets: Vec<Vec<u64>> = vec![Vec::new(); BUCKETS];
        for node in possible.iter() {
            let row = self.distances.row(node);
            // The kernel looks for the best node again and again. Loads do not change in between, so sorting once gives
            // the same order. Value and node in one number: at most 257 times 1024 plus a load, then the node.
            for (other, has_cpu) in memory.iter().filter(|(other, _)| *other != node) {
                let score = Score {
                    distance: row.get(*other),
                    penalties: [*other < node, *has_cpu],
                    load: loads.get(*other),
                    max_nodes: loads.max_nodes,
                };
                if let Some(bucket) = buckets.get_mut(score.bucket()) {
                    bucket.push((score.value() << 32) | u64::from(other.0));
                }
            }
            let mut order: Vec<NodeId> = Vec::with_capacity(memory.len());
            // The node itself comes first, wherever others are.
            order.extend(Some(node).filter(|node| self.has_memory.contains(*node)));
            for bucket in buckets.iter_mut().filter(|bucket| !bucket.is_empty()) {
                bucket.sort_unstable();
                let numbers =
                    bucket.drain(..).filter_map(|key| u32::try_from(key & u64::from(u32::MAX)).ok());
                order.extend(numbers.map(NodeId));
            }
            let mut before = row.get(node);
            for other in &order {
                let distance = row.get(*other);
                if distance != before {
                    loads.add(*other);
                }
                before = distance;
            }
            lists.push((node, order));
        }
        (lists, loads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(slit: &[&[u8]]) -> Vec<Vec<u32>> {
        let mut distances = DistanceTable::with_defaults(slit.len());
        for (row, from) in slit.iter().zip(0..) {
            for (cell, to) in row.iter().zip(0..) {
                distances.set(NodeId(from), NodeId(to), Distance(*cell));
            }
        }
        let all: NodeSet = (0..4).map(NodeId).collect();
        let ranking = Ranking { distances: &distances, has_memory: &all, has_cpu: &NodeSet::new() };
        let (lists, _) = ranking.build(&all, 1024);
        lists.into_iter().map(|(_, order)| order.into_iter().map(|node| node.0).collect()).collect()
    }

    #[test]
    fn orders_are_those_of_booted_kernels() {
        // Example C of the tiers sheet: log lines of a 7.2.12 boot.
        let c = lists(&[&[10, 20, 30, 40], &[20, 10, 40, 30], &[30, 40, 10, 50], &[40, 30, 50, 10]]);
        assert_eq!(c, [[0, 1, 2, 3], [1, 0, 3, 2], [2, 0, 1, 3], [3, 1, 0, 2]]);
    }

    #[test]
    fn loads_turn_ties() {
        // Example A: six nodes without a SLIT, memory on nodes 3 and 4.
        let memory: NodeSet = [NodeId(3), NodeId(4)].into_iter().collect();
        let possible: NodeSet = (0..6).map(NodeId).collect();
        let distances = DistanceTable::default();
        let ranking = Ranking { distances: &distances, has_memory: &memory, has_cpu: &NodeSet::new() };
        let (lists, _) = ranking.build(&possible, 1024);
        let orders: Vec<[u32; 2]> = lists.iter().map(|(_, order)| [order[0].0, order[1].0]).collect();
        assert_eq!(orders, [[3, 4], [4, 3], [3, 4], [3, 4], [4, 3], [4, 3]]);
    }
}
