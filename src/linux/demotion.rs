//! Where pages go when the memory of a node is short (`mm/memory-tiers.c: establish_demotion_targets`).

use super::fallback::{Loads, Ranking};
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::quirks::{Quirk, Quirks};
use super::reason::{Fact, Notes, Reason, Section, Subject};
use super::rules;
use super::tiers::{TierId, Tiers};
use crate::topology::Source;
use crate::topology::distances::Distances;
use crate::units::{Distance, NodeId};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Where pages of a node go when its memory is short.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Demotion {
    /// The nodes that are tried first, one of them at random; empty for a node that demotes to nobody.
    pub preferred: NodeSet,
    /// The nodes of all slower tiers.
    pub fallback: NodeSet,
}

/// What an owner of the machine takes away from demotion; the kernel itself takes nothing away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Nodes whose pages stay.
    pub not_from: NodeSet,
    /// Nodes that nobody's pages go to.
    pub not_to: NodeSet,
    /// Nodes whose pages go to some nodes only.
    pub only: BTreeMap<NodeId, NodeSet>,
}

impl Limits {
    /// The nodes of `slower` that pages of a node may go to.
    fn allow(&self, node: NodeId, slower: &NodeSet) -> NodeSet {
        let allowed = if self.not_to.is_empty() { slower.clone() } else { slower.difference(&self.not_to) };
        match self.only.get(&node) {
            _ if self.not_from.contains(node) => NodeSet::new(),
            Some(only) => allowed.intersection(only),
            None => allowed,
        }
    }
}

/// What decides on the targets of one node.
struct Choice<'a> {
    ranking: Ranking<'a>,
    loads: &'a Loads,
    quirks: Quirks,
    nodes: &'a Nodes,
    slit: Option<&'a Distances<'a>>,
}

impl Tiers {
    /// Finds demotion targets anew. `slit` tells where distances stand; it is left out when they come from elsewhere.
    pub(crate) fn find_demotion(
        &mut self,
        nodes: &Nodes,
        loads: &Loads,
        slit: Option<&Distances<'_>>,
        notes: &mut Notes,
    ) {
        let ranking =
            Ranking { distances: &nodes.distances, has_memory: &nodes.has_memory, has_cpu: &nodes.has_cpu };
        let choice = Choice { ranking, loads, quirks: self.quirks, nodes, slit };
        self.demotion.clear();
        let tiers: Vec<(TierId, &NodeSet)> =
            self.tiers.iter().map(|(tier, members)| (*tier, members)).collect();
        let mut slower = nodes.has_memory.clone();
        let mut top = None;
        let mut rest = tiers.as_slice();
        while let [(tier, members), behind @ ..] = rest {
            rest = behind;
            slower = slower.difference(members);
            if members.iter().any(|node| nodes.has_cpu.contains(node)) {
                top = Some(*tier);
            }
            for node in members.iter() {
                let demotion = if behind.is_empty() {
                    notes.reason(Subject::Demotion(node), Reason::new(rules::DEMOTION_LAST));
                    Demotion::default()
                } else {
                    let allowed = self.limits.allow(node, &slower);
                    let (preferred, reason) = choice.targets(node, *tier, behind, &allowed);
                    notes.reason(Subject::Demotion(node), reason);
                    let fallback = if preferred.is_empty() { NodeSet::new() } else { allowed };
                    Demotion { preferred, fallback }
                };
                self.demotion.insert(node, demotion);
            }
        }
        if let Some(top) = top {
            self.top = (top.0 << 7) | 127;
        }
        // Between nodes of one tier distances do not count.
        if self.tiers.len() > 1 && notes.lacks(Section::Distances) {
            notes.missing(Section::Demotion, "node distances");
        }
    }
}

impl Choice<'_> {
    /// The preferred targets of a node among the tiers behind its own, and why.
    fn targets(
        &self,
        node: NodeId,
        tier: TierId,
        behind: &[(TierId, &NodeSet)],
        allowed: &NodeSet,
    ) -> (NodeSet, Reason) {
        let may = |other: &NodeId| allowed.contains(*other);
        let usable = |(_, members): &&(TierId, &NodeSet)| members.iter().any(|other| may(&other));
        let next = if self.quirks.has(Quirk::DemotionNextTier) {
            behind.iter().find(usable)
        } else {
            let nearest = |(_, members): &&(TierId, &NodeSet)| {
                members.iter().filter(may).map(|other| self.nodes.distances.get(node, other)).min()
            };
            // The first of several, which is the fastest.
            behind.iter().filter(usable).min_by_key(nearest)
        };
        let Some((next, members)) = next else {
            return (NodeSet::new(), Reason::new(rules::DEMOTION_FORBIDDEN));
        };
        let mut candidates: Vec<(u64, Distance, NodeId)> = members
            .iter()
            .filter(may)
            .map(|other| {
                let score = self.ranking.score(node, other, self.loads);
                let value = if self.quirks.has(Quirk::DemotionPenalties) {
                    score.value()
                } else {
                    u64::from(score.distance.0)
                };
                (value, score.distance, other)
            })
            .collect();
        // The kernel takes the best one again and again, until one has another distance than the first.
        let by_value = |(value, _, other): &(u64, Distance, NodeId)| (*value, *other);
        let Some(first) = candidates.iter().min_by_key(|candidate| by_value(candidate)).copied() else {
            return (NodeSet::new(), Reason::new(rules::DEMOTION_FORBIDDEN));
        };
        let stop =
            candidates.iter().filter(|(_, distance, _)| *distance != first.1).min_by_key(|c| by_value(c));
        let stop = stop.copied();
        candidates.retain(|candidate| stop.is_none_or(|stop| by_value(candidate) < by_value(&stop)));
        let preferred = candidates.iter().map(|(.., other)| *other).collect();
        let (_, distance, target) = first;
        let mut detail = format!("tier {} to tier {}, distance {distance}", tier.0, next.0);
        self.show(&mut detail, node, target, "first");
        if let Some((.., other)) = stop {
            self.show(&mut detail, node, other, "other distance, stop");
        }
        let fact = match self.source(node, target) {
            Some(source) => Fact::at(source, "distance", u64::from(distance.0)),
            None => Fact::known("distance", u64::from(distance.0)),
        };
        (preferred, Reason::new(rules::DEMOTION_NEXT).with([fact]).because(detail))
    }

    /// The calculation for one candidate.
    fn show(&self, text: &mut String, node: NodeId, other: NodeId, end: &str) {
        let score = self.ranking.score(node, other, self.loads);
        text.push_str(&if self.quirks.has(Quirk::DemotionPenalties) {
            format!("; node {other}: {score} {end}")
        } else {
            format!("; node {other}: {} {end}", score.distance)
        });
    }

    fn source(&self, from: NodeId, to: NodeId) -> Option<Source> {
        let place = |node| usize::try_from(self.nodes.domains.domain(node)?.0).ok();
        Some(self.slit?.source(place(from)?, place(to)?))
    }
}
