//! What a step changes, as data: the tiers, targets, weights and blocks that are other than before, each with its
//! reason.

use super::block_map::BlockId;
use super::demotion::Demotion;
use super::reason::{Reason, Subject};
use super::rules;
use super::settings::Setting;
use super::state::State;
use super::tiers::TierId;
use super::zones::Zone;
use crate::range::AddressRange;
use crate::units::NodeId;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A driver is loaded.
    DriverLoaded(String),
    /// A setting has another value.
    Set(Setting),
    /// A node is there.
    NodeOnline(NodeId),
    /// A node is not there any more.
    NodeOffline(NodeId),
    /// A node has memory for the first time, or again.
    FirstMemory(NodeId),
    /// A node has no memory any more.
    LastMemory(NodeId),
    /// Memory is added to a node.
    Added {
        /// Its addresses.
        range: AddressRange,
        /// The node.
        node: NodeId,
    },
    /// Memory is taken away from a node.
    Removed {
        /// Its addresses.
        range: AddressRange,
        /// The node.
        node: NodeId,
    },
    /// Blocks are online.
    BlocksOnline {
        /// The first of them.
        first: BlockId,
        /// The first behind them.
        end: BlockId,
        /// Their node.
        node: NodeId,
        /// The zone that they are in.
        zone: Zone,
    },
    /// Blocks are offline.
    BlocksOffline {
        /// The first of them.
        first: BlockId,
        /// The first behind them.
        end: BlockId,
        /// Their node.
        node: NodeId,
        /// The zone that they were in.
        zone: Zone,
    },
    /// A tier has its first node.
    TierCreated(TierId),
    /// A tier has lost its last node.
    TierRemoved(TierId),
    /// A node is in another tier than before; `None` for in none.
    NodeMoved {
        /// The node.
        node: NodeId,
        /// Where it was.
        from: Option<TierId>,
        /// Where it is.
        to: Option<TierId>,
    },
    /// A node shows access classes and caches.
    FiguresShown(NodeId),
    /// Demotion targets were found anew: all of them, as they are now.
    DemotionRebuilt(BTreeMap<NodeId, Demotion>),
    /// Interleave weights were found anew: all that are shown, as they are now.
    WeightsFound(Vec<(NodeId, u8)>),
    /// A table has other contents.
    TableUpdated(&'static str),
    /// A CXL region is there, with these addresses.
    RegionCreated {
        /// Its name.
        region: String,
        /// Its addresses.
        range: AddressRange,
    },
    /// The region driver has a region.
    RegionBound(String),
    /// The region driver has let a region go.
    RegionUnbound(String),
    /// The decoders of a region are off.
    RegionReset(String),
    /// An endpoint decoder has left its region.
    TargetDetached {
        /// The region.
        region: String,
        /// The decoder.
        decoder: String,
    },
    /// A region is gone.
    RegionDeleted(String),
    /// A DAX device is there.
    DaxAdded(String),
    /// A DAX device is gone.
    DaxRemoved(String),
    /// A driver has a DAX device.
    DaxBound {
        /// The device.
        device: String,
        /// The driver.
        driver: &'static str,
    },
    /// A driver has let a DAX device go.
    DaxUnbound {
        /// The device.
        device: String,
        /// The driver.
        driver: &'static str,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = |f: &mut fmt::Formatter<'_>, first: &BlockId, end: &BlockId| {
            let last = end.0.saturating_sub(1);
            if last == first.0 { write!(f, "block {first}") } else { write!(f, "blocks {first}-{last}") }
        };
        match self {
            Self::DriverLoaded(name) => write!(f, "driver {name} loaded"),
            Self::Set(setting) => write!(f, "{} set to {setting}", setting.name()),
            Self::NodeOnline(node) => write!(f, "node {node} online"),
            Self::NodeOffline(node) => write!(f, "node {node} offline"),
            Self::FirstMemory(node) => write!(f, "node {node} got its first memory"),
            Self::LastMemory(node) => write!(f, "node {node} lost its last memory"),
            Self::Added { range, node } => write!(f, "memory {range} added to node {node}"),
            Self::Removed { range, node } => write!(f, "memory {range} removed from node {node}"),
            Self::BlocksOnline { first, end, node, zone } => {
                blocks(f, first, end)?;
                write!(f, " online on node {node}, zone {zone}")
            }
            Self::BlocksOffline { first, end, node, zone } => {
                blocks(f, first, end)?;
                write!(f, " offline on node {node}, zone {zone}")
            }
            Self::TierCreated(tier) => write!(f, "tier {} created", tier.printed()),
            Self::TierRemoved(tier) => write!(f, "tier {} removed", tier.printed()),
            Self::NodeMoved { node, from, to } => match (from, to) {
                (Some(from), Some(to)) => {
                    write!(f, "node {node} moved from tier {} to tier {}", from.printed(), to.printed())
                }
                (None, Some(to)) => write!(f, "node {node} joined tier {}", to.printed()),
                (Some(from), None) => write!(f, "node {node} left tier {}", from.printed()),
                (None, None) => write!(f, "node {node} is in no tier"),
            },
            Self::FiguresShown(node) => write!(f, "node {node} shows access classes"),
            Self::DemotionRebuilt(targets) => {
                f.write_str("demotion targets rebuilt:")?;
                for (node, demotion) in targets {
                    if demotion.preferred.is_empty() {
                        write!(f, " {node}: none;")?;
                    } else {
                        write!(f, " {node}: {} (fallback {});", demotion.preferred, demotion.fallback)?;
                    }
                }
                Ok(())
            }
            Self::WeightsFound(weights) => {
                f.write_str("interleave weights found anew:")?;
                weights.iter().try_for_each(|(node, weight)| write!(f, " node {node} {weight};"))
            }
            Self::TableUpdated(name) => write!(f, "{name} has new contents"),
            Self::RegionCreated { region, range } => write!(f, "{region} created at {range}"),
            Self::RegionBound(region) => write!(f, "{region} bound to its driver"),
            Self::RegionUnbound(region) => write!(f, "{region} taken from its driver"),
            Self::RegionReset(region) => write!(f, "decoders of {region} off"),
            Self::TargetDetached { region, decoder } => write!(f, "{decoder} left {region}"),
            Self::RegionDeleted(region) => write!(f, "{region} deleted"),
            Self::DaxAdded(device) => write!(f, "{device} there"),
            Self::DaxRemoved(device) => write!(f, "{device} gone"),
            Self::DaxBound { device, driver } => write!(f, "{device} bound to {driver}"),
            Self::DaxUnbound { device, driver } => write!(f, "{device} taken from {driver}"),
        }
    }
}

impl State<'_> {
    /// Writes a change down.
    pub(crate) fn changed(&mut self, change: Change, reason: Reason) {
        self.changes.push((change, reason));
    }

    /// A node with memory joins its tier (`set_node_memory_tier`).
    pub(crate) fn join_tier(&mut self, node: NodeId) {
        let known = self.tiers.distance.contains_key(&node);
        let found = if known { None } else { self.calculate_distance(node) };
        self.tiers.set(node, found, &mut self.notes);
        let Some(tier) = self.tiers.distance.get(&node).map(|distance| distance.tier()) else { return };
        let alone = self.tiers.tiers.get(&tier).is_some_and(|nodes| nodes.len() == 1);
        let reason = self.reason_of(Subject::Tier(node)).unwrap_or(Reason::new(rules::TIER_KEPT));
        if alone {
            self.changed(Change::TierCreated(tier), Reason::new(rules::TIER_CREATED));
        }
        self.changed(Change::NodeMoved { node, from: None, to: Some(tier) }, reason);
    }

    /// A node leaves its tier; its distance stays known (`clear_node_memory_tier`).
    pub(crate) fn leave_tier(&mut self, node: NodeId) {
        let Some(tier) = self.tiers.leave(node) else { return };
        let moved = Change::NodeMoved { node, from: Some(tier), to: None };
        self.changed(moved, Reason::new(rules::TIER_LEFT));
        if !self.tiers.tiers.contains_key(&tier) {
            self.changed(Change::TierRemoved(tier), Reason::new(rules::TIER_EMPTY));
        }
    }

    /// Finds demotion targets anew; reasons for the ones before do not count any more.
    pub(crate) fn find_demotion(&mut self) {
        self.notes.reasons.retain(|(subject, _)| !matches!(subject, Subject::Demotion(_)));
        // With `numa=fake=` distances are no longer those of the table.
        let from_table = self.nodes.distances.size() > 0 && self.kernel.command_line.numa_fake.is_none();
        let slit = self.topology.distances.as_ref().filter(|_| from_table);
        self.tiers.find_demotion(&self.nodes, &self.loads, slit, &mut self.notes);
        let targets = self.tiers.demotion.clone();
        self.announced.extend(targets.iter().map(|(node, demotion)| (*node, demotion.clone())));
        self.changed(Change::DemotionRebuilt(targets), Reason::new(rules::DEMOTION_REBUILT));
    }

    /// Finds interleave weights anew.
    pub(crate) fn find_weights(&mut self) {
        self.notes.forget(Subject::Interleave);
        self.weights.reduce(&self.nodes.has_memory, &mut self.notes);
        if let Some(reason) = self.reason_of(Subject::Interleave) {
            let weights = self.weights.iter().collect();
            self.changed(Change::WeightsFound(weights), reason);
        }
    }

    /// The last reason of a fact.
    pub(crate) fn reason_of(&self, subject: Subject) -> Option<Reason> {
        let mut reasons = self.notes.reasons.iter().rev();
        reasons.find(|(known, _)| *known == subject).map(|(_, reason)| reason.clone())
    }
}
