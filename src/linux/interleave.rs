//! Weights of weighted interleave (`mm/mempolicy.c`).

use super::coordinates::Coordinates;
use super::kernel::Interleave;
use super::node_set::NodeSet;
use super::reason::{Fact, Notes, Reason, Subject, Unit};
use super::rules;
use crate::units::NodeId;
use alloc::collections::BTreeMap;
use alloc::format;

/// The weight of the widest share, before reduction (`weightiness`).
const WEIGHTINESS: u32 = 32;

/// The weights, and what they are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// The kernel computes them; `None` where it never does.
    pub auto: Option<bool>,
    /// The weight of every node that was ever given one other than 1.
    weights: BTreeMap<NodeId, u8>,
    /// The smaller of read and write bandwidth that was published for a node, in MB/s.
    bandwidth: BTreeMap<NodeId, u32>,
    /// Nodes with a file.
    pub shown: NodeSet,
}

impl Weights {
    /// Before any figures are published.
    pub(crate) fn new(model: Interleave, has_memory: &NodeSet, possible: &NodeSet) -> Self {
        let (auto, shown) = match model {
            Interleave::None => (None, NodeSet::new()),
            Interleave::ByHand => (None, possible.clone()),
            Interleave::FromBandwidth => (Some(true), has_memory.clone()),
        };
        Self { auto, shown, ..Self::default() }
    }

    /// The weight of a node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> u8 {
        self.weights.get(&node).copied().unwrap_or(1)
    }

    /// The weights of the nodes that show one.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, u8)> + '_ {
        self.shown.iter().map(|node| (node, self.get(node)))
    }

    /// A node that got memory shows its weight, unless all possible nodes do.
    pub(crate) fn show(&mut self, node: NodeId) {
        if self.auto.is_some() {
            self.shown.insert(node);
        }
    }

    /// A node that lost its memory shows no weight any more, unless all possible nodes do; it is kept all the same.
    pub(crate) fn hide(&mut self, node: NodeId) {
        if self.auto.is_some() {
            self.shown.remove(node);
        }
    }

    /// Forgets all figures.
    pub(crate) fn forget(&mut self) {
        self.bandwidth.clear();
        self.weights.clear();
    }

    /// Takes the figures that a node publishes for processors; the weights are to be found anew after that.
    pub(crate) fn publish(&mut self, node: NodeId, coordinates: &Coordinates) {
        let slower = coordinates.read_bandwidth.min(coordinates.write_bandwidth);
        self.bandwidth.insert(node, slower.0);
    }

    /// Whether the figures of any node were published.
    pub(crate) fn any_known(&self) -> bool {
        !self.bandwidth.is_empty()
    }

    /// Finds the weights anew, over the nodes that have memory now (`reduce_interleave_weights`).
    pub(crate) fn reduce(&mut self, has_memory: &NodeSet, notes: &mut Notes) {
        if self.auto != Some(true) {
            return;
        }
        let of = |node: NodeId| self.bandwidth.get(&node).copied().unwrap_or(0);
        let sum: u64 = has_memory.iter().map(|node| u64::from(of(node))).fold(0, u64::wrapping_add);
        let weight = |node: NodeId| {
            let share = WEIGHTINESS.wrapping_mul(of(node));
            let weight =
                u64::from(share).checked_div(sum).filter(|_| of(node) != 0 && sum < u64::from(share));
            weight.and_then(|weight| u8::try_from(weight).ok()).unwrap_or(1)
        };
        let raw: BTreeMap<NodeId, u8> = has_memory.iter().map(|node| (node, weight(node))).collect();
        let divisor = raw.values().copied().fold(0, greatest_common_divisor);
        notes.reasons.retain(|(subject, _)| !matches!(subject, Subject::Interleave | Subject::Weight(_)));
        let facts = [
            Fact::known("sum", sum).of(Unit::MegabytesPerSecond),
            Fact::known("common divisor", u64::from(divisor)),
        ];
        notes.reason(Subject::Interleave, Reason::new(rules::WEIGHTS_AUTO).with(facts));
        for (node, weight) in &raw {
            let share = WEIGHTINESS.wrapping_mul(of(*node));
            let reduced = weight.checked_div(divisor).unwrap_or(1);
            let detail = if of(*node) == 0 || sum >= u64::from(share) {
                format!("32*{}={share}, not above {sum}, so 1; /{divisor}={reduced}", of(*node))
            } else {
                format!("32*{}={share}; /{sum}={weight}; /{divisor}={reduced}", of(*node))
            };
            notes.reason(Subject::Weight(*node), Reason::new(rules::WEIGHTS_BANDWIDTH).because(detail));
        }
        self.weights =
            raw.into_iter().map(|(node, weight)| (node, weight.checked_div(divisor).unwrap_or(1))).collect();
    }
}

fn greatest_common_divisor(a: u8, b: u8) -> u8 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{MegabytesPerSecond, Nanoseconds};
    use alloc::vec::Vec;

    fn weights(bandwidths: &[u32]) -> Vec<u8> {
        let nodes: NodeSet = (0..).take(bandwidths.len()).map(NodeId).collect();
        let mut weights = Weights::new(Interleave::FromBandwidth, &nodes, &nodes);
        for (bandwidth, node) in bandwidths.iter().zip(0..) {
            let bandwidth = MegabytesPerSecond(*bandwidth);
            let coordinates = Coordinates {
                read_latency: Nanoseconds(1),
                write_latency: Nanoseconds(1),
                read_bandwidth: bandwidth,
                write_bandwidth: bandwidth,
            };
            weights.publish(NodeId(node), &coordinates);
        }
        weights.reduce(&nodes, &mut Notes::default());
        weights.iter().map(|(_, weight)| weight).collect()
    }

    /// Worked examples of the tiers sheet, all seen on a booted 7.2.12.
    #[test]
    fn weights_are_those_of_booted_kernels() {
        assert_eq!(weights(&[10, 5]), [21, 10]);
        assert_eq!(weights(&[10000, 10000, 5000, 4000]), [11, 11, 5, 4]);
        assert_eq!(weights(&[10000, 0, 5000, 5000]), [16, 1, 8, 8]);
        assert_eq!(weights(&[10000, 10000, 40000, 2500]), [5, 5, 20, 1]);
        assert_eq!(weights(&[104_857_600, 104_857_600, 52_428_800, 1_048_576]), [12, 12, 6, 1]);
        assert_eq!(weights(&[7, 0]), [32, 1]);
    }
}
