//! Memory tiers and demotion (`mm/memory-tiers.c`).

use super::access::{Access, Status};
use super::coordinates::{Class, Coordinates};
use super::demotion::{Demotion, Limits};
use super::kernel::Kernel;
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::quirks::{Quirk, Quirks};
use super::reason::{Fact, Notes, Reason, Subject, Unit};
use super::rules;
use crate::topology::performance::Performance;
use crate::units::NodeId;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How slow memory is, relative to DRAM with [`DRAM`](Self::DRAM); larger is slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbstractDistance(pub i32);

impl AbstractDistance {
    /// The distance of DRAM, in the middle of tier 4.
    pub const DRAM: Self = Self(4 * 128 + 64);
    /// What kmem gives memory of which nothing is known.
    pub const KMEM: Self = Self(Self::DRAM.0 * 5);

    /// The tier of memory at this distance.
    #[must_use]
    pub const fn tier(self) -> TierId {
        TierId(self.0 >> 7)
    }
}

/// The number of a tier: the abstract distance divided by 128. The kernel prints it without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TierId(pub i32);

impl TierId {
    /// The number as the kernel prints it, in `memory_tierN`.
    #[must_use]
    pub const fn printed(self) -> u32 {
        u32::from_ne_bytes(self.0.to_ne_bytes())
    }

    /// The abstract distance in the middle of the tier; that of tier 4 is DRAM's.
    #[must_use]
    pub const fn middle(self) -> AbstractDistance {
        AbstractDistance((self.0 << 7) | 64)
    }
}

/// What the kernel knows of abstract distances.
#[derive(Clone, Debug, Default)]
pub struct Tiers {
    /// The figures of the reference DRAM, and its node.
    pub reference: Option<(NodeId, Coordinates)>,
    /// Nodes with processors and memory differ too much: nothing gives distances any more.
    pub mismatch: bool,
    /// The HMAT gives distances.
    pub from_hmat: bool,
    /// The distance that a node was given; it stays even when the node loses its memory.
    pub distance: BTreeMap<NodeId, AbstractDistance>,
    /// Nodes of each tier, the fastest first.
    pub tiers: BTreeMap<TierId, NodeSet>,
    /// Demotion of each node with memory.
    pub demotion: BTreeMap<NodeId, Demotion>,
    /// Abstract distance up to which a tier counts as top tier.
    pub top: i32,
    /// What the owner of the machine forbids.
    pub limits: Limits,
    /// What the kernel does that hardly anybody wants.
    pub(crate) quirks: Quirks,
    /// Nodes with processors and memory when the reference was looked for.
    pub(crate) dram: NodeSet,
}

/// The abstract distance of memory with these figures (`mt_perf_to_adistance`), and the calculation. `None` when
/// a sum is 0.
#[must_use]
pub fn abstract_distance(
    memory: &Coordinates,
    reference: &Coordinates,
    quirks: Quirks,
) -> Option<(AbstractDistance, String)> {
    let sums = [memory.latency(), memory.bandwidth(), reference.latency(), reference.bandwidth()];
    let [latency, bandwidth, reference_latency, reference_bandwidth] = sums.map(i64::from);
    let relative_to = |value: i64, by: i64| value.checked_div(by);
    if !quirks.has(Quirk::TruncatedDistance) {
        return exact_distance(memory, reference);
    }
    let t1 = i64::from(AbstractDistance::DRAM.0).wrapping_mul(latency);
    let t2 = relative_to(t1, reference_latency).filter(|_| latency != 0)?;
    let t3 = t2.wrapping_mul(reference_bandwidth);
    let quotient = relative_to(t3, bandwidth).filter(|_| reference_bandwidth != 0)?;
    let [a, b, c, d, ..] = quotient.to_le_bytes();
    let distance = AbstractDistance(i32::from_le_bytes([a, b, c, d]));
    let [rl, wl] = [memory.read_latency, memory.write_latency];
    let text = format!(
        "576*({rl}+{wl})={t1}; /{reference_latency}={t2}; *{reference_bandwidth}={t3}; /{bandwidth}={quotient}; \
         {}>>7={}",
        distance.0,
        distance.tier().0
    );
    Some((distance, text))
}

/// The same with one division at the end; distances beyond 32 bits are cut to the largest.
fn exact_distance(memory: &Coordinates, reference: &Coordinates) -> Option<(AbstractDistance, String)> {
    let [latency, bandwidth] = [memory.latency(), memory.bandwidth()];
    let [reference_latency, reference_bandwidth] = [reference.latency(), reference.bandwidth()];
    let of_memory = i128::from(AbstractDistance::DRAM.0).checked_mul(i128::from(latency))?;
    let above = of_memory.checked_mul(i128::from(reference_bandwidth))?;
    let below = i128::from(reference_latency).checked_mul(i128::from(bandwidth))?;
    let quotient = above.checked_div(below).filter(|_| above != 0)?;
    let distance = AbstractDistance(i32::try_from(quotient).unwrap_or(i32::MAX));
    let [rl, wl] = [memory.read_latency, memory.write_latency];
    let text = format!(
        "576*({rl}+{wl})*{reference_bandwidth}/({reference_latency}*{bandwidth})={quotient}; {}>>7={}",
        distance.0,
        distance.tier().0
    );
    Some((distance, text))
}

impl Tiers {
    /// Takes the figures of the first node with processors and memory as reference, if the others are near
    /// enough (`hmat_set_default_dram_perf`).
    pub(crate) fn find_reference(
        &mut self,
        dram: &NodeSet,
        nodes: &Nodes,
        access: &Access,
        kernel: &Kernel,
        notes: &mut Notes,
    ) {
        if access.status != Status::Used || !kernel.switches.tiers_from_performance {
            return;
        }
        let quirks = self.quirks;
        self.dram = dram.clone();
        for node in dram.iter() {
            let Some(target) = nodes.domains.domain(node).and_then(|domain| access.target(domain)) else {
                continue;
            };
            let own = complete(target.coordinates.get(Class::Cpu), quirks);
            let mut facts = Vec::from([Fact::known("node", u64::from(node.0))]);
            facts.extend(sums(&own));
            if own.latency() == 0 || own.bandwidth() == 0 {
                if !quirks.has(Quirk::IncompleteDisables) {
                    continue;
                }
                notes.reason(Subject::Reference, Reason::new(rules::REFERENCE_ZERO).with(facts));
                return;
            }
            match &self.reference {
                None => {
                    let Coordinates { read_latency, write_latency, read_bandwidth, write_bandwidth } = own;
                    let detail = format!(
                        "{read_latency}+{write_latency}={} ns; {read_bandwidth}+{write_bandwidth}={} MB/s",
                        own.latency(),
                        own.bandwidth()
                    );
                    let reason = Reason::new(rules::REFERENCE).with(facts).because(detail);
                    notes.reason(Subject::Reference, reason);
                    self.reference = Some((node, own));
                }
                Some((_, reference)) if near(&own, reference) => {}
                Some(_) if !quirks.has(Quirk::MismatchDisables) => {}
                Some((first, reference)) => {
                    let detail =
                        format!("node {node} {} against node {first} {}", figures(&own), figures(reference));
                    let reason = Reason::new(rules::REFERENCE_MISMATCH).with(facts).because(detail);
                    notes.reason(Subject::Reference, reason);
                    self.mismatch = true;
                    return;
                }
            }
        }
        self.from_hmat = true;
    }

    /// Gives a node with memory its tier (`set_node_memory_tier`): by the distance that it was given before, or else by
    /// the one that was found.
    pub(crate) fn set(&mut self, node: NodeId, found: Option<AbstractDistance>, notes: &mut Notes) {
        let distance = match self.distance.get(&node) {
            Some(distance) => *distance,
            None => {
                if found.is_none() {
                    notes.reason(Subject::Tier(node), Reason::new(rules::TIER_DEFAULT));
                }
                found.unwrap_or(AbstractDistance::DRAM)
            }
        };
        self.distance.insert(node, distance);
        self.tiers.entry(distance.tier()).or_default().insert(node);
    }

    /// Whether figures of memory give it a distance: there is reference DRAM, and none differs too much from it.
    pub(crate) const fn gives_distances(&self) -> bool {
        self.reference.is_some() && !self.mismatch
    }

    /// Takes a node out of its tier, which vanishes with its last node; the tier that it was.
    pub(crate) fn leave(&mut self, node: NodeId) -> Option<TierId> {
        let tier = self.tier_of(node)?;
        if let Some(nodes) = self.tiers.get_mut(&tier) {
            nodes.remove(node);
            if nodes.is_empty() {
                self.tiers.remove(&tier);
            }
        }
        Some(tier)
    }

    /// The tier that a node is in.
    #[must_use]
    pub fn tier_of(&self, node: NodeId) -> Option<TierId> {
        self.tiers.iter().find(|(_, nodes)| nodes.contains(node)).map(|(tier, _)| *tier)
    }

    /// The distance that the HMAT gives a node (`hmat_calculate_adistance`).
    pub(crate) fn calculate(
        &self,
        node: NodeId,
        nodes: &Nodes,
        access: &mut Access,
        hmat: Option<&Performance<'_>>,
        notes: &mut Notes,
    ) -> Option<AbstractDistance> {
        let (_, reference) = self.reference.as_ref().filter(|_| self.from_hmat && !self.mismatch)?;
        let place = access.place(nodes.domains.domain(node)?)?;
        // A registered target has its figures already, but for generic ports, which get theirs here.
        if access.targets.get(place).is_some_and(|target| !target.registered || target.is_port()) {
            access.update(place, Class::Cpu, &nodes.domains, &nodes.has_cpu, hmat?);
        }
        let target = access.targets.get(place)?;
        let own = complete(target.coordinates.get(Class::Cpu), self.quirks);
        if !self.quirks.has(Quirk::DramSpread) && self.dram.contains(node) && near(&own, reference) {
            let reason = Reason::new(rules::QUIRK_OFF).because(Quirk::DramSpread.instead());
            notes.reason(Subject::Tier(node), reason);
            return Some(AbstractDistance::DRAM);
        }
        let (distance, text) = abstract_distance(&own, reference, self.quirks)?;
        let mut facts = Vec::from([Fact::at(target.source, "proximity domain", u64::from(target.domain.0))]);
        facts.extend(sums(&own));
        notes.reason(Subject::Tier(node), Reason::new(rules::TIER_DISTANCE).with(facts).because(text));
        Some(distance)
    }
}

/// Figures of which an unknown direction is taken for the known one, unless the kernel takes it for 0.
fn complete(own: &Coordinates, quirks: Quirks) -> Coordinates {
    let mut own = *own;
    if !quirks.has(Quirk::HalfKnown) {
        let Coordinates { read_latency, write_latency, read_bandwidth, write_bandwidth } = &mut own;
        match (read_latency.0, write_latency.0) {
            (0, known) => read_latency.0 = known,
            (known, 0) => write_latency.0 = known,
            _ => {}
        }
        match (read_bandwidth.0, write_bandwidth.0) {
            (0, known) => read_bandwidth.0 = known,
            (known, 0) => write_bandwidth.0 = known,
            _ => {}
        }
    }
    own
}

/// Whether every figure is within a tenth of the reference.
fn near(own: &Coordinates, reference: &Coordinates) -> bool {
    let pairs = [
        (own.read_latency.0, reference.read_latency.0),
        (own.write_latency.0, reference.write_latency.0),
        (own.read_bandwidth.0, reference.read_bandwidth.0),
        (own.write_bandwidth.0, reference.write_bandwidth.0),
    ];
    // The kernel subtracts and multiplies in 32 bits and compares without a sign.
    pairs.iter().all(|(own, reference)| {
        let difference = i32::from_ne_bytes(own.wrapping_sub(*reference).to_ne_bytes()).wrapping_abs();
        let tenfold = difference.wrapping_mul(10);
        u32::from_ne_bytes(tenfold.to_ne_bytes()) <= *reference
    })
}

/// The two sums that abstract distances are made from.
fn sums(own: &Coordinates) -> [Fact; 2] {
    [
        Fact::known("latency sum", u64::from(own.latency())).of(Unit::Nanoseconds),
        Fact::known("bandwidth sum", u64::from(own.bandwidth())).of(Unit::MegabytesPerSecond),
    ]
}

fn figures(coordinates: &Coordinates) -> String {
    format!(
        "{}/{} ns, {}/{} MB/s",
        coordinates.read_latency,
        coordinates.write_latency,
        coordinates.read_bandwidth,
        coordinates.write_bandwidth
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{MegabytesPerSecond, Nanoseconds};

    fn both(latency: u32, bandwidth: u32) -> Coordinates {
        Coordinates {
            read_latency: Nanoseconds(latency),
            write_latency: Nanoseconds(latency),
            read_bandwidth: MegabytesPerSecond(bandwidth),
            write_bandwidth: MegabytesPerSecond(bandwidth),
        }
    }

    /// Worked examples of the tiers sheet, all seen on a booted 7.2.12.
    #[test]
    fn distances_are_those_of_booted_kernels() {
        let dram = both(100, 10000);
        for (memory, reference, distance, tier) in [
            (both(10, 10), both(10, 10), 576, 4),
            (both(20, 5), both(10, 10), 2304, 18),
            (both(300, 5000), dram, 3456, 27),
            (both(250, 4000), dram, 3600, 28),
            (both(110, 9000), dram, 703, 5),
            (both(90, 40000), dram, 129, 1),
            (both(350, 2500), dram, 8064, 63),
            (both(65469, 1_048_576), both(100, 104_857_600), 37_710_100, 294_610),
        ] {
            let (got, _) = abstract_distance(&memory, &reference, Quirks::ALL).unwrap();
            assert_eq!((got.0, got.tier().0), (distance, tier));
        }
        let (_, text) = abstract_distance(&both(20, 5), &both(10, 10), Quirks::ALL).unwrap();
        assert_eq!(text, "576*(20+20)=23040; /20=1152; *20=23040; /10=2304; 2304>>7=18");
        assert!(abstract_distance(&both(0, 5), &dram, Quirks::ALL).is_none());
        assert_eq!(AbstractDistance(-838_967_296).tier().printed(), 4_288_412_864);
    }

    #[test]
    fn a_tenth_is_near_and_more_is_not() {
        let dram = both(100, 10000);
        assert!(near(&both(110, 9000), &dram) && near(&both(90, 11000), &dram));
        assert!(!near(&both(111, 10000), &dram) && !near(&both(100, 8999), &dram));
    }
}
