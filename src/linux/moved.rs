//! A node put into another tier by the owner of the machine. The kernel has no way to do that; what follows from it,
//! the demotion targets, is found as the kernel finds them.

use super::changes::Change;
use super::reason::{Reason, Subject};
use super::rules;
use super::state::State;
use super::tiers::{AbstractDistance, TierId};
use crate::units::NodeId;
use alloc::format;
use alloc::vec::Vec;

/// What it takes to undo a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The node.
    pub node: NodeId,
    /// The abstract distance that it had.
    pub from: AbstractDistance,
    /// The one that it has now.
    pub to: AbstractDistance,
    /// Why it had the first.
    reasons: Vec<Reason>,
}

/// Why a node cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveRefusal {
    /// It has no memory.
    NoMemory,
    /// Its tier is not known.
    NoTier,
}

impl State<'_> {
    /// Puts a node into a tier, at the middle of its abstract distances, and finds demotion targets anew. A node that
    /// is in the tier keeps its distance.
    ///
    /// # Errors
    /// When the node has no memory, or no tier to leave.
    pub fn move_node(&mut self, node: NodeId, tier: TierId) -> Result<Moved, MoveRefusal> {
        let from = *self.tiers.distance.get(&node).ok_or(MoveRefusal::NoTier)?;
        let to = if from.tier() == tier { from } else { tier.middle() };
        self.set_distance(node, to)
    }

    /// Gives a node an abstract distance, moves it to the tier of that distance, and finds demotion targets anew.
    ///
    /// # Errors
    /// When the node has no memory, or no tier to leave.
    pub fn set_distance(&mut self, node: NodeId, to: AbstractDistance) -> Result<Moved, MoveRefusal> {
        if !self.nodes.has_memory.contains(node) {
            return Err(MoveRefusal::NoMemory);
        }
        let from = *self.tiers.distance.get(&node).ok_or(MoveRefusal::NoTier)?;
        let reasons = self.replace_distance(node, to, Vec::from([moved_from(from)]));
        Ok(Moved { node, from, to, reasons })
    }

    /// Undoes a move: the node has its former distance and tier, and demotion targets are found anew.
    pub fn undo_move(&mut self, moved: Moved) {
        self.replace_distance(moved.node, moved.from, moved.reasons);
    }

    /// Gives several nodes distances, as [`set_distance`](Self::set_distance) does for one; nodes without memory or
    /// tier are passed over.
    pub fn set_distances(&mut self, wishes: impl IntoIterator<Item = (NodeId, AbstractDistance)>) {
        for (node, to) in wishes {
            let known = self.tiers.distance.get(&node).filter(|_| self.nodes.has_memory.contains(node));
            if let Some(from) = known.copied() {
                self.retype(node, to, Vec::from([moved_from(from)]));
            }
        }
        self.find_demotion();
    }

    /// The reasons that the distance had before are given back.
    pub(crate) fn replace_distance(
        &mut self,
        node: NodeId,
        to: AbstractDistance,
        reasons: Vec<Reason>,
    ) -> Vec<Reason> {
        let before = self.retype(node, to, reasons);
        self.find_demotion();
        before
    }

    /// The same, but demotion targets stay as they are.
    fn retype(&mut self, node: NodeId, to: AbstractDistance, reasons: Vec<Reason>) -> Vec<Reason> {
        let (from, tier) = (self.tiers.leave(node), to.tier());
        self.tiers.distance.insert(node, to);
        let nodes = self.tiers.tiers.entry(tier).or_default();
        nodes.insert(node);
        if from != Some(tier) {
            if nodes.len() == 1 {
                self.changed(Change::TierCreated(tier), Reason::new(rules::TIER_CREATED));
            }
            let reason = reasons.last().cloned().unwrap_or(Reason::new(rules::TIER_MOVED));
            self.changed(Change::NodeMoved { node, from, to: Some(tier) }, reason);
            if let Some(from) = from.filter(|from| !self.tiers.tiers.contains_key(from)) {
                self.changed(Change::TierRemoved(from), Reason::new(rules::TIER_EMPTY));
            }
        }
        let mut before = Vec::new();
        self.notes.reasons.retain(|(subject, reason)| {
            let about = *subject == Subject::Tier(node);
            if about {
                before.push(reason.clone());
            }
            !about
        });
        for reason in reasons {
            self.notes.reason(Subject::Tier(node), reason);
        }
        before
    }
}

fn moved_from(from: AbstractDistance) -> Reason {
    Reason::new(rules::TIER_MOVED).because(format!(
        "from abstract distance {}, tier {}",
        from.0,
        from.tier().0
    ))
}
