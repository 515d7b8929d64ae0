//! Why a planned fact is as it is: the rule, the facts it used, the arithmetic. Data, to be printed by others.

use crate::topology::Source;
use crate::units::{NodeId, ProximityDomain};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A rule of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable name.
    pub id: &'static str,
    /// What it says, in one sentence.
    pub sentence: &'static str,
    /// Where the kernel has it: file and function.
    pub function: &'static str,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unit {
    /// A plain number.
    #[default]
    None,
    /// An address.
    Address,
    /// Bytes.
    Bytes,
    /// Picoseconds.
    Picoseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// MB/s.
    MegabytesPerSecond,
}

/// A value that a rule used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What the value is.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// What it counts.
    pub unit: Unit,
    /// Where it stands; `None` for what no table holds.
    pub source: Option<Source>,
}

impl Fact {
    /// A value from a table.
    #[must_use]
    pub const fn at(source: Source, name: &'static str, value: u64) -> Self {
        Self { name, value, unit: Unit::None, source: Some(source) }
    }

    /// A value that is not from a table.
    #[must_use]
    pub const fn known(name: &'static str, value: u64) -> Self {
        Self { name, value, unit: Unit::None, source: None }
    }

    /// The same value as a count of something.
    #[must_use]
    pub const fn of(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        match self.unit {
            Unit::None => write!(f, "{}", self.value),
            Unit::Address => write!(f, "{:#010x}", self.value),
            Unit::Bytes => write!(f, "{} bytes", self.value),
            Unit::Picoseconds => write!(f, "{} ps", self.value),
            Unit::Nanoseconds => write!(f, "{} ns", self.value),
            Unit::MegabytesPerSecond => write!(f, "{} MB/s", self.value),
        }?;
        match self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

/// Why one planned fact is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The rule that decided.
    pub rule: Rule,
    /// The values it used.
    pub facts: Vec<Fact>,
    /// The calculation with the numbers filled in, where there is one.
    pub detail: Option<String>,
}

impl Reason {
    /// A rule without further facts.
    #[must_use]
    pub const fn new(rule: Rule) -> Self {
        Self { rule, facts: Vec::new(), detail: None }
    }

    /// With facts.
    #[must_use]
    pub fn with(mut self, facts: impl IntoIterator<Item = Fact>) -> Self {
        self.facts.extend(facts);
        self
    }

    /// With the calculation.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.sentence)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        let mut separator = " [";
        for fact in &self.facts {
            write!(f, "{separator}{fact}")?;
            separator = ", ";
        }
        if !self.facts.is_empty() {
            f.write_str("]")?;
        }
        Ok(())
    }
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// Whether the kernel comes up.
    Outcome,
    /// The memory map.
    MemoryMap,
    /// Whether the description of nodes is used at all.
    Description,
    /// That a node exists, and its number.
    Node(NodeId),
    /// That a node is online, or not.
    Online(NodeId),
    /// Which processors a node has.
    Cpus(NodeId),
    /// The distances as a whole.
    Distances,
    /// The HMAT as a whole.
    Performance,
    /// The initiators and figures of a node in access class 0 or 1.
    Access(NodeId, u8),
    /// The figures of a proximity domain that no node shows.
    Domain(ProximityDomain),
    /// The tier of a node.
    Tier(NodeId),
    /// The reference for abstract distances.
    Reference,
    /// Where pages of a node are demoted to.
    Demotion(NodeId),
    /// The interleave weights.
    Interleave,
    /// The interleave weight of a node.
    Weight(NodeId),
    /// The CXL hierarchy as a whole.
    Cxl,
    /// A root decoder, by its index.
    RootDecoder(u32),
}

impl Subject {
    /// What it is about, without the node.
    #[must_use]
    pub const fn topic(&self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::MemoryMap => "memory map",
            Self::Description => "node description",
            Self::Node(_) => "node",
            Self::Online(_) => "online",
            Self::Cpus(_) => "cpus",
            Self::Distances => "distances",
            Self::Performance => "HMAT",
            Self::Access(_, 0) => "access0",
            Self::Access(..) => "access1",
            Self::Domain(_) => "domain",
            Self::Tier(_) => "tier",
            Self::Reference => "reference DRAM",
            Self::Demotion(_) => "demotion",
            Self::Interleave => "interleave weights",
            Self::Weight(_) => "weight",
            Self::Cxl => "CXL",
            Self::RootDecoder(_) => "root decoder",
        }
    }

    /// The node that it is about, if it is about one.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node(node)
            | Self::Online(node)
            | Self::Cpus(node)
            | Self::Access(node, _)
            | Self::Tier(node)
            | Self::Weight(node)
            | Self::Demotion(node) => Some(*node),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.node()) {
            (Self::Node(node), _) => write!(f, "node {node}"),
            (Self::Domain(domain), _) => write!(f, "domain {domain}"),
            (Self::RootDecoder(index), _) => write!(f, "decoder0.{index}"),
            (_, Some(node)) => write!(f, "node {node} {}", self.topic()),
            (_, None) => f.write_str(self.topic()),
        }
    }
}

/// The part of a plan that cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Section {
    /// Everything.
    Everything,
    /// Which nodes there are, and with them everything but the memory map.
    Nodes,
    /// On which nodes processors are.
    Cpus,
    /// The logical numbers of processors; on which nodes they are is known.
    CpuNumbers,
    /// Which nodes have memory outside a movable zone.
    NormalMemory,
    /// Where movable zones begin.
    MovableZones,
    /// Node distances.
    Distances,
    /// Access class 0.
    Access0,
    /// Access class 1.
    Access1,
    /// Memory-side caches.
    Caches,
    /// Memory tiers.
    Tiers,
    /// Demotion targets.
    Demotion,
    /// Interleave weights.
    Interleave,
    /// What an event does.
    Events,
    /// CXL decoders and regions.
    Cxl,
    /// CXL devices and what is programmed in them.
    CxlDevices,
    /// Latency and bandwidth of CXL devices and regions.
    CxlPerformance,
    /// How CXL windows find their positions.
    CxlArithmetic,
    /// DAX devices.
    Devices,
}

impl Section {
    /// The keys of the plan that are missing with the section.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Everything => "plan",
            Self::Nodes => "nodes",
            Self::Cpus => "nodes.has_cpu, node.*.cpus",
            Self::CpuNumbers => "node.*.cpus",
            Self::NormalMemory => "nodes.has_normal_memory",
            Self::MovableZones => "zones, memory.blocks.valid_zones",
            Self::Distances => "node.*.distance",
            Self::Access0 => "node.*.access0",
            Self::Access1 => "node.*.access1",
            Self::Caches => "node.*.memory_side_cache",
            Self::Tiers => "memory_tiers",
            Self::Demotion => "demotion_targets",
            Self::Interleave => "weighted_interleave",
            Self::Events => "steps",
            Self::Cxl => "cxl",
            Self::CxlDevices => "cxl.memdevs, cxl.switch_decoders, cxl.endpoint_decoders, cxl.regions",
            Self::CxlPerformance => "cxl.performance",
            Self::CxlArithmetic => "cxl.root_decoders.arithmetic",
            Self::Devices => "devices",
        }
    }
}

/// Something that the inputs do not hold, and what cannot be told without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What is left out of the plan.
    pub section: Section,
    /// What is missing.
    pub missing: String,
}

/// What a step writes down beside its result.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Reasons in the order in which they came up.
    pub reasons: Vec<(Subject, Reason)>,
    /// What cannot be told.
    pub unknown: Vec<Unknown>,
}

impl Notes {
    /// Writes down a reason.
    pub fn reason(&mut self, subject: Subject, reason: Reason) {
        self.reasons.push((subject, reason));
    }

    /// Takes back the reasons of a fact.
    pub fn forget(&mut self, subject: Subject) {
        self.reasons.retain(|(known, _)| *known != subject);
    }

    /// Writes down the reason of a fact that had another.
    pub fn replace(&mut self, subject: Subject, reason: Reason) {
        self.forget(subject);
        self.reason(subject, reason);
    }

    /// Writes down what is missing.
    pub fn missing(&mut self, section: Section, missing: impl Into<String>) {
        let missing = missing.into();
        if !self.unknown.iter().any(|known| known.section == section && known.missing == missing) {
            self.unknown.push(Unknown { section, missing });
        }
    }

    /// Whether a section cannot be told.
    #[must_use]
    pub fn lacks(&self, section: Section) -> bool {
        lacks(&self.unknown, section)
    }
}

/// Whether a section cannot be told for what is unknown.
pub(crate) fn lacks(unknown: &[Unknown], section: Section) -> bool {
    unknown.iter().any(|unknown| {
        unknown.section == section || matches!(unknown.section, Section::Everything | Section::Nodes)
    })
}
