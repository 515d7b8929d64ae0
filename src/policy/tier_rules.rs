//! Other rules for tiers than the kernel's: another width, classes by figures, near-equal memory in one tier.

use super::reasons;
use crate::linux::coordinates::{Class, Coordinates};
use crate::linux::reason::Reason;
use crate::linux::state::State;
use crate::linux::tiers::{AbstractDistance, TierId};
use crate::units::{MegabytesPerSecond, Nanoseconds, NodeId};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU16;

/// A tier as an owner names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierName {
    /// By number.
    Id(TierId),
    /// By the name of a class.
    Class(String),
}

/// Memory that is at least so fast. A bound that is not given holds for all memory; one that is given does not hold
/// where the figure is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TierClass {
    /// The name of the tier.
    pub name: String,
    /// The slower of read and write latency is at most this.
    pub max_latency: Option<Nanoseconds>,
    /// The narrower of read and write bandwidth is at least this.
    pub min_bandwidth: Option<MegabytesPerSecond>,
}

/// How memory is sorted into tiers. The default is the kernel's way.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TierRules {
    /// Abstract distance in one tier; 128 unless given.
    pub chunk: Option<NonZeroU16>,
    /// Tiers by figures, the fastest first. Memory that is in none has tiers behind them, by abstract distance.
    pub classes: Vec<TierClass>,
    /// Memory is in the tier of faster memory from which every figure differs by at most so many percent.
    pub near_percent: Option<u8>,
}

/// Abstract distance in one tier of the kernel (`MEMTIER_CHUNK_SIZE`).
const CHUNK: u16 = 128;

/// Where each node with memory goes, and why.
pub(super) type Placement = BTreeMap<NodeId, (TierId, Reason)>;

impl TierClass {
    fn holds(&self, figures: Option<Coordinates>) -> bool {
        let Coordinates { read_latency, write_latency, read_bandwidth, write_bandwidth } =
            figures.unwrap_or_default();
        let latency = read_latency.max(write_latency);
        let latency_known = read_latency.0 != 0 && write_latency.0 != 0;
        let bandwidth = read_bandwidth.min(write_bandwidth);
        self.max_latency.is_none_or(|max| latency_known && latency <= max)
            && self.min_bandwidth.is_none_or(|min| bandwidth.0 != 0 && bandwidth >= min)
    }
}

/// Prints the bounds: `at most 100 ns, at least 20000 MB/s`.
impl fmt::Display for TierClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.max_latency, self.min_bandwidth) {
            (Some(latency), Some(bandwidth)) => write!(f, "at most {latency} ns, at least {bandwidth} MB/s"),
            (Some(latency), None) => write!(f, "at most {latency} ns"),
            (None, Some(bandwidth)) => write!(f, "at least {bandwidth} MB/s"),
            (None, None) => f.write_str("everything"),
        }
    }
}

/// The figures of a node as processors see them.
fn figures(state: &State<'_>, node: NodeId) -> Option<Coordinates> {
    let shown = state.class(node, Class::Cpu).and_then(|class| class.coordinates);
    let target = || state.access.target(state.nodes.domains.domain(node)?);
    shown.or_else(|| Some(*target()?.coordinates.get(Class::Cpu)))
}

impl TierRules {
    /// Whether nothing differs from the kernel's way of cutting abstract distances.
    pub(super) fn cuts_as_kernel(&self) -> bool {
        self.classes.is_empty() && self.chunk.is_none_or(|chunk| chunk.get() == CHUNK)
    }

    /// The tier of a class, by its name.
    pub(super) fn class(&self, name: &str) -> Option<TierId> {
        let place = self.classes.iter().position(|class| class.name == name)?;
        i32::try_from(place).ok().map(TierId)
    }

    /// The name of a tier, where a class gives it one.
    pub(super) fn name(&self, tier: TierId) -> Option<&str> {
        let place = usize::try_from(tier.0).ok()?;
        self.classes.get(place).map(|class| class.name.as_str())
    }

    /// The tier of an abstract distance, behind all classes.
    fn by_distance(&self, distance: AbstractDistance) -> TierId {
        let chunk = i32::from(self.chunk.map_or(CHUNK, NonZeroU16::get));
        let behind = i32::try_from(self.classes.len()).unwrap_or(i32::MAX);
        TierId(distance.0.checked_div_euclid(chunk).unwrap_or_default().saturating_add(behind))
    }

    /// The tier of each node by the rules, but for near-equal memory.
    pub(super) fn place(&self, state: &State<'_>, by_distance: impl Fn(NodeId) -> bool) -> Placement {
        let place_one = |node: NodeId| {
            let distance = *state.tiers.distance.get(&node)?;
            let figures = figures(state, node);
            let class = self.classes.iter().zip(0..).find(|(class, _)| class.holds(figures));
            let placed = match class.filter(|_| !by_distance(node)) {
                Some((class, place)) => {
                    let detail = format!("{}: {class}", class.name);
                    (TierId(place), Reason::new(reasons::CLASS).because(detail))
                }
                None => {
                    let chunk = self.chunk.map_or(CHUNK, NonZeroU16::get);
                    let detail = format!("abstract distance {}/{chunk}", distance.0);
                    let rule = if self.classes.is_empty() { reasons::CHUNK } else { reasons::NO_CLASS };
                    (self.by_distance(distance), Reason::new(rule).because(detail))
                }
            };
            Some((node, placed))
        };
        state.nodes.has_memory.iter().filter_map(place_one).collect()
    }

    /// Nodes that share the tier of a faster node which their figures are near to.
    pub(super) fn group(&self, state: &State<'_>, tier: impl Fn(NodeId) -> Option<TierId>) -> Placement {
        let Some(percent) = self.near_percent else { return Placement::new() };
        let member = |node: NodeId| {
            Some((tier(node)?, *state.tiers.distance.get(&node)?, node, figures(state, node)?))
        };
        let mut members: Vec<_> = state.nodes.has_memory.iter().filter_map(member).collect();
        members.sort_unstable_by_key(|(tier, distance, node, _)| (*tier, *distance, *node));
        let mut leaders: Vec<(TierId, NodeId, Coordinates)> = Vec::new();
        let mut placed = Placement::new();
        for (tier, _, node, own) in members {
            match leaders.iter().find(|(_, _, leader)| near(&own, leader, percent)) {
                Some((to, leader, _)) => {
                    let detail = format!("within {percent} % of node {leader}");
                    placed.insert(node, (*to, Reason::new(reasons::NEAR).because(detail)));
                }
                None => leaders.push((tier, node, own)),
            }
        }
        placed
    }
}

/// Whether every figure differs by at most so many percent of the leader's. Unknown figures are near nothing.
fn near(own: &Coordinates, leader: &Coordinates, percent: u8) -> bool {
    let pairs = [
        (own.read_latency.0, leader.read_latency.0),
        (own.write_latency.0, leader.write_latency.0),
        (own.read_bandwidth.0, leader.read_bandwidth.0),
        (own.write_bandwidth.0, leader.write_bandwidth.0),
    ];
    pairs.iter().all(|(own, leader)| {
        let difference = u64::from(own.abs_diff(*leader)).saturating_mul(100);
        *own != 0 && *leader != 0 && difference <= u64::from(*leader).saturating_mul(u64::from(percent))
    })
}
