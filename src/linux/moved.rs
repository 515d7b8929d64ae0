//! A node put into another tier by the owner of the machine. The kernel has no way to do that; what follows from it,
//! the demotion targets, is found as the kernel finds them.

use super::changes::Change;
use super::reason::{Reason, Rule, Subject};
use super::rules;
use super::state::State;
use super::tiers::{AbstractDistance, TierId};
use crate::units::NodeId;
use alloc::format;
use alloc::vec::Vec;

/// What a node had before its owner moved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The abstract distance.
    distance: AbstractDistance,
    /// Why it had that.
    reasons: Vec<Reason>,
}

/// Why a node cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveRefusal {
    /// It has no memory, so it is in no tier.
    NoMemory,
    /// No abstract distance leads to the tier.
    NoTier,
}

impl State<'_> {
    /// Puts a node into a tier, at the middle of its abstract distances, and finds demotion targets anew. Back in the
    /// tier that it came from, it has its own distance again.
    ///
    /// # Errors
    /// When the node has no memory, or there can be no such tier.
    pub fn move_node(&mut self, node: NodeId, tier: TierId) -> Result<(), MoveRefusal> {
        let from = self.tiers.tier_of(node).ok_or(MoveRefusal::NoMemory)?;
        if from == tier {
            return Ok(());
        }
        if self.moved.get(&node).is_some_and(|origin| origin.distance.tier() == tier) {
            self.undo_move(node);
            return Ok(());
        }
        let to = tier.middle();
        if to.tier() != tier {
            return Err(MoveRefusal::NoTier);
        }
        let distance = self.tiers.distance.get(&node).copied().unwrap_or(AbstractDistance::DRAM);
        let wish = wish(rules::MOVED, to);
        let reasons = self.retype(node, to, Vec::from([wish.clone()]), wish);
        self.moved.entry(node).or_insert(Origin { distance, reasons });
        self.find_demotion();
        Ok(())
    }

    /// Undoes the moves of a node: it has its former distance and tier, and demotion targets are found anew. Whether
    /// there was anything to undo.
    pub fn undo_move(&mut self, node: NodeId) -> bool {
        if self.tiers.tier_of(node).is_none() {
            return false;
        }
        let Some(Origin { distance, reasons }) = self.moved.remove(&node) else { return false };
        self.retype(node, distance, reasons, wish(rules::MOVED_BACK, distance));
        self.find_demotion();
        true
    }

    /// Gives nodes abstract distances, moves them to the tiers of those, and finds demotion targets anew; nodes
    /// without memory or tier are passed over.
    pub fn set_distances(&mut self, wishes: impl IntoIterator<Item = (NodeId, AbstractDistance)>) {
        for (node, to) in wishes {
            let known = self.tiers.distance.get(&node).filter(|_| self.nodes.has_memory.contains(node));
            if let Some(from) = known.copied() {
                let reason = moved_from(from);
                self.retype(node, to, Vec::from([reason.clone()]), reason);
            }
        }
        self.find_demotion();
    }

    /// Gives a node an abstract distance for these reasons, and moves it to the tier of that distance because of `why`;
    /// demotion targets stay as they are. The reasons that the distance had before are given back.
    fn retype(
        &mut self,
        node: NodeId,
        to: AbstractDistance,
        reasons: Vec<Reason>,
        why: Reason,
    ) -> Vec<Reason> {
        let (from, tier) = (self.tiers.leave(node), to.tier());
        self.tiers.distance.insert(node, to);
        let nodes = self.tiers.tiers.entry(tier).or_default();
        nodes.insert(node);
        if from != Some(tier) {
            if nodes.len() == 1 {
                self.changed(Change::TierCreated(tier), Reason::new(rules::TIER_CREATED));
            }
            self.changed(Change::NodeMoved { node, from, to: Some(tier) }, why);
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

fn wish(rule: Rule, distance: AbstractDistance) -> Reason {
    Reason::new(rule).because(format!("abstract distance {}", distance.0))
}

fn moved_from(from: AbstractDistance) -> Reason {
    Reason::new(rules::TIER_MOVED).because(format!(
        "from abstract distance {}, tier {}",
        from.0,
        from.tier().0
    ))
}
