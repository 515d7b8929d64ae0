//! A layout of tiers, demotion targets and weights, and how two of them differ.

use super::tier_rules::TierRules;
use crate::linux::demotion::Demotion;
use crate::linux::node_set::NodeSet;
use crate::linux::reason::Reason;
use crate::linux::state::State;
use crate::linux::tiers::TierId;
use crate::units::NodeId;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A tier with the name that people see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierLabel {
    /// Its number; smaller is faster.
    pub id: TierId,
    /// The name of its class, where it is one.
    pub class: Option<String>,
}

impl fmt::Display for TierLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.class {
            Some(name) => f.write_str(name),
            None => write!(f, "memory_tier{}", self.id.printed()),
        }
    }
}

/// Tiers, demotion targets and weights.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Layout {
    /// The tiers with their nodes, the fastest first.
    pub tiers: Vec<(TierLabel, NodeSet)>,
    /// Where each node demotes to.
    pub demotion: BTreeMap<NodeId, Demotion>,
    /// The interleave weights of nodes that show one.
    pub weights: BTreeMap<NodeId, u8>,
}

impl Layout {
    /// The layout of a state.
    pub(super) fn of(state: &State<'_>, rules: &TierRules) -> Self {
        let label = |id: &TierId| TierLabel { id: *id, class: rules.name(*id).map(ToOwned::to_owned) };
        Self {
            tiers: state.tiers.tiers.iter().map(|(id, nodes)| (label(id), nodes.clone())).collect(),
            demotion: state.tiers.demotion.clone(),
            weights: state.weights.iter().collect(),
        }
    }

    /// The tier of each node.
    fn by_node(&self) -> BTreeMap<NodeId, &TierLabel> {
        self.tiers.iter().flat_map(|(tier, nodes)| nodes.iter().map(move |node| (node, tier))).collect()
    }

    /// Everything in which `other` differs.
    pub(super) fn differences(&self, other: &Self) -> Vec<(NodeId, What)> {
        let (before, after) = (self.by_node(), other.by_node());
        let nodes: NodeSet = before
            .keys()
            .chain(after.keys())
            .chain(self.weights.keys())
            .chain(other.weights.keys())
            .copied()
            .collect();
        let mut found = Vec::new();
        for node in nodes.iter() {
            let tier = |all: &BTreeMap<NodeId, &TierLabel>| all.get(&node).map(|label| (*label).clone());
            let (from, to) = (tier(&before), tier(&after));
            if from != to {
                found.push((node, What::Tier { from, to }));
            }
            let demotion = |layout: &Self| layout.demotion.get(&node).cloned().unwrap_or_default();
            let (from, to) = (demotion(self), demotion(other));
            if from != to {
                found.push((node, What::Demotion { from, to }));
            }
            let weight = |layout: &Self| layout.weights.get(&node).copied();
            let (from, to) = (weight(self), weight(other));
            if from != to {
                found.push((node, What::Weight { from, to }));
            }
        }
        found
    }
}

/// What differs for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its tier.
    Tier {
        /// In the kernel's layout.
        from: Option<TierLabel>,
        /// In the owner's.
        to: Option<TierLabel>,
    },
    /// Where it demotes to.
    Demotion {
        /// In the kernel's layout.
        from: Demotion,
        /// In the owner's.
        to: Demotion,
    },
    /// Its interleave weight.
    Weight {
        /// In the kernel's layout.
        from: Option<u8>,
        /// In the owner's.
        to: Option<u8>,
    },
}

impl What {
    /// The name of what differs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tier { .. } => "tier",
            Self::Demotion { .. } => "demotion",
            Self::Weight { .. } => "weight",
        }
    }
}

/// One difference between the kernel's layout and the owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub node: NodeId,
    /// What differs.
    pub what: What,
    /// The rules that made it so, in the order in which they acted.
    pub because: Vec<Reason>,
}
