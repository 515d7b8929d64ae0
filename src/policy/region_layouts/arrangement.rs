//! In how many ways devices can be put into a region, counted and chosen level by level instead of order by order.
//!
//! A port of a region passes its share of the positions on to a power of two of its downstream ports in turn, and each of
//! those an equal part; which ports, and in which order, is free, and what one branch does does not bear on another. So
//! the number of orders is a product and a sum over the tree, and the best of them is the best of each branch.

use crate::linux::region_rules::{Capability, MOST_TARGETS};
use crate::region::{Granularity, Ways};
use crate::units::ByteCount;
use alloc::string::String;
use alloc::vec::Vec;

/// Ways that a port below the root can have.
const PORT_WAYS: [u8; 4] = [1, 2, 4, 8];

/// A port of the hierarchy with the devices that are asked about, or one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A device, by its place in the list.
    Device(usize),
    /// A bridge or switch.
    Port(Port),
}

/// A bridge or switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// Its name.
    pub(super) name: String,
    /// What its decoders are able to do.
    pub(super) capability: Capability,
    /// What is below it, by the id of the downstream port.
    pub(super) below: Vec<(u32, Node)>,
}

/// What makes one choice better than another.
#[derive(Clone, Copy)]
pub(super) struct Worth<'a> {
    /// Whether a device may be chosen.
    pub(super) allowed: &'a dyn Fn(usize) -> bool,
    /// What a device brings.
    pub(super) device: &'a dyn Fn(usize) -> u64,
    /// The most that comes up through a port.
    pub(super) limit: &'a dyn Fn(&str) -> u64,
}

/// Devices in the order of positions, and what they bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) worth: u64,
    pub(super) devices: Vec<usize>,
}

/// How the levels below a host bridge divide: the ways of each, the bridge first.
pub(super) type Shape = Vec<u8>;

/// The ways that a port can have for so many positions, each with what it leaves to the level below: positions and
/// granularity.
fn divisions(port: &Port, positions: u8, bytes: u64) -> impl Iterator<Item = (u8, u8, u64)> + '_ {
    PORT_WAYS.into_iter().filter_map(move |ways| {
        let rest = positions.checked_div(ways).filter(|_| positions.checked_rem(ways) == Some(0))?;
        let room = usize::from(ways) <= port.capability.targets.min(MOST_TARGETS);
        let granularity = Granularity::from_bytes(ByteCount(bytes))?;
        let able = port.capability.allows(Ways::from_count(u32::from(ways))?, granularity);
        (room && able).then(|| (ways, rest, bytes.saturating_mul(u64::from(ways))))
    })
}

impl Node {
    /// In how many orders devices below here can fill so many positions, where the level here has this granularity.
    pub(super) fn count(&self, positions: u8, bytes: u64, allowed: &dyn Fn(usize) -> bool) -> u128 {
        let port = match self {
            Self::Device(device) => return u128::from(positions == 1 && allowed(*device)),
            Self::Port(port) => port,
        };
        let mut total = 0_u128;
        for (ways, rest, below) in divisions(port, positions, bytes) {
            // How many choices of 0, 1, 2 ... ports there are: the elementary symmetric polynomials of their counts.
            let mut chosen = [0_u128; MOST_TARGETS + 1];
            if let Some(first) = chosen.first_mut() {
                *first = 1;
            }
            for (_, node) in &port.below {
                let own = node.count(rest, below, allowed);
                if own == 0 {
                    continue;
                }
                for size in (0..MOST_TARGETS).rev() {
                    let smaller = chosen.get(size).copied().unwrap_or_default();
                    if let Some(place) = chosen.get_mut(size.saturating_add(1)) {
                        *place = place.saturating_add(smaller.saturating_mul(own));
                    }
                }
            }
            let orders = (1..=u128::from(ways)).fold(1, u128::saturating_mul);
            let sets = chosen.get(usize::from(ways)).copied().unwrap_or_default();
            total = total.saturating_add(sets.saturating_mul(orders));
        }
        total
    }

    /// The choice that is worth most; of equal ones the one with the lowest ports, in their order.
    pub(super) fn best(&self, positions: u8, bytes: u64, worth: Worth<'_>) -> Option<Choice> {
        let port = match self {
            Self::Device(device) => {
                return (positions == 1 && (worth.allowed)(*device))
                    .then(|| Choice { worth: (worth.device)(*device), devices: Vec::from([*device]) });
            }
            Self::Port(port) => port,
        };
        let mut best: Option<Choice> = None;
        for (ways, rest, below) in divisions(port, positions, bytes) {
            let mut candidates: Vec<(usize, Choice)> = port
                .below
                .iter()
                .enumerate()
                .filter_map(|(place, (_, node))| Some((place, node.best(rest, below, worth)?)))
                .collect();
            if candidates.len() < usize::from(ways) {
                continue;
            }
            candidates.sort_by_key(|(place, choice)| (core::cmp::Reverse(choice.worth), *place));
            candidates.truncate(usize::from(ways));
            candidates.sort_by_key(|(place, _)| *place);
            let sum = candidates.iter().fold(0_u64, |sum, (_, choice)| sum.saturating_add(choice.worth));
            let own = sum.min((worth.limit)(&port.name));
            let lists: Vec<&[usize]> =
                candidates.iter().map(|(_, choice)| choice.devices.as_slice()).collect();
            // Wider levels come later and win only by being worth more.
            if best.as_ref().is_none_or(|known| known.worth < own) {
                best = Some(Choice { worth: own, devices: in_turn(&lists) });
            }
        }
        best
    }

    /// Every order, up to so many.
    pub(super) fn orders(&self, positions: u8, bytes: u64, limit: usize) -> Vec<Vec<usize>> {
        let port = match self {
            Self::Device(device) if positions == 1 => return Vec::from([Vec::from([*device])]),
            Self::Device(_) => return Vec::new(),
            Self::Port(port) => port,
        };
        let mut all = Vec::new();
        for (ways, rest, below) in divisions(port, positions, bytes) {
            let lists: Vec<Vec<Vec<usize>>> =
                port.below.iter().map(|(_, node)| node.orders(rest, below, limit)).collect();
            let mut picked = Vec::new();
            pick(&lists, usize::from(ways), &mut picked, &mut all, limit);
        }
        all
    }

    /// How the levels below can divide so many positions.
    pub(super) fn shapes(&self, positions: u8, bytes: u64) -> Vec<Shape> {
        let port = match self {
            Self::Device(_) if positions == 1 => return Vec::from([Shape::new()]),
            Self::Device(_) => return Vec::new(),
            Self::Port(port) => port,
        };
        let mut all: Vec<Shape> = Vec::new();
        for (ways, rest, below) in divisions(port, positions, bytes) {
            let shapes = port.below.iter().map(|(_, node)| node.shapes(rest, below));
            let able: Vec<Vec<Shape>> = shapes.filter(|shapes| !shapes.is_empty()).collect();
            if able.len() < usize::from(ways) {
                continue;
            }
            for inner in able.into_iter().flatten() {
                let shape: Shape = core::iter::once(ways).chain(inner).collect();
                if !all.contains(&shape) {
                    all.push(shape);
                }
            }
        }
        all
    }
}

/// Lists of equal length merged: the first of each, then the second of each, and so on.
pub(super) fn in_turn(lists: &[&[usize]]) -> Vec<usize> {
    let rounds = lists.first().map_or(0, |list| list.len());
    (0..rounds).flat_map(|round| lists.iter().filter_map(move |list| list.get(round).copied())).collect()
}

/// Every ordered choice of `ways` of the lists, with every order that each of those has.
pub(super) fn pick<'l>(
    lists: &'l [Vec<Vec<usize>>],
    ways: usize,
    picked: &mut Vec<(usize, &'l [usize])>,
    all: &mut Vec<Vec<usize>>,
    limit: usize,
) {
    if all.len() >= limit {
        return;
    }
    if picked.len() == ways {
        let lists: Vec<&[usize]> = picked.iter().map(|(_, list)| *list).collect();
        all.push(in_turn(&lists));
        return;
    }
    for (place, orders) in lists.iter().enumerate() {
        if picked.iter().any(|(taken, _)| *taken == place) {
            continue;
        }
        for order in orders {
            picked.push((place, order));
            pick(lists, ways, picked, all, limit);
            picked.pop();
        }
    }
}
