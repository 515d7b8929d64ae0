//! The nodes of a booted kernel (x86: `arch/x86/mm/numa.c: x86_numa_init`): by the tables, or one made up.

use super::cpus::{self, Cpu, Placement};
use super::distances::DistanceTable;
use super::domains::DomainMap;
use super::emulation;
use super::kernel::Kernel;
use super::memory_map::{MemoryMap, PAGE};
use super::movable;
use super::node_set::NodeSet;
use super::ranges::{self, Limits, NodeRange, Piece};
use super::reason::{Fact, Notes, Reason, Section, Subject, Unit};
use super::rules;
use super::srat::{AcceptedMemory, Walks, Window, give_up};
use crate::range::AddressRange;
use crate::topology::chain::End;
use crate::topology::{Source, Topology};
use crate::units::{ApicId, NodeId, PhysAddr, ProximityDomain};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

/// What the kernel made of the description of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Description {
    /// It is used.
    Used,
    /// There is none that can be used; everything is on one made-up node.
    None,
    /// It is not looked at (`numa=off`); everything is on one made-up node.
    Off,
}

/// The nodes after boot, before any driver or event adds to them.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// What the kernel made of the description of nodes.
    pub description: Description,
    /// Whether the SRAT counts as bad, which keeps the HMAT from being read.
    pub srat_bad: bool,
    /// Domains and nodes.
    pub domains: DomainMap,
    /// Nodes that may ever exist.
    pub possible: NodeSet,
    /// Nodes that are there.
    pub online: NodeSet,
    /// Nodes with memory.
    pub has_memory: NodeSet,
    /// Nodes with memory that the kernel can use for itself.
    pub has_normal_memory: NodeSet,
    /// Nodes with a started processor.
    pub has_cpu: NodeSet,
    /// Nodes of generic initiators.
    pub has_generic_initiator: NodeSet,
    /// Processors, by logical number.
    pub cpus: Vec<Cpu>,
    /// Logical processors that a node lists, for nodes that have any.
    pub cpu_lists: BTreeMap<NodeId, Vec<u32>>,
    /// Node distances.
    pub distances: DistanceTable,
    /// Who owns which addresses, after clean-up.
    pub ranges: Vec<NodeRange>,
    /// Who will own addresses without RAM, once something is added there.
    pub reserved: Vec<NodeRange>,
    /// RAM of each node, ascending by address.
    pub pieces: Vec<Piece>,
    /// Memory entries that the kernel took in, as its log tells.
    pub accepted: Vec<AcceptedMemory>,
    /// Ranges that the SRAT marks as hot-pluggable.
    pub hot_pluggable: Vec<AddressRange>,
    /// CXL windows that were looked at.
    pub windows: Vec<Window>,
    /// The largest domain that a table names; larger ones were made up for CXL windows.
    pub last_real_domain: Option<ProximityDomain>,
    /// What CXL windows allow a memory block to be at most, in bytes.
    pub block_size_advice: Option<u64>,
    /// First page of the movable zone of nodes that have one.
    pub movable_start: BTreeMap<NodeId, u64>,
}

/// Why a boot does not get as far as nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The kernel dies. What it had taken in of the SRAT by then is in its log.
    Panic(Reason, Vec<AcceptedMemory>, Option<Description>),
    /// The inputs do not tell.
    Undetermined,
}

impl Nodes {
    /// Finds the nodes.
    pub(crate) fn boot(
        topology: &Topology<'_>,
        map: &MemoryMap,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<Self, Stop> {
        let mut walks = Walks::new(kernel);
        let line = &kernel.command_line;
        let void = if line.numa_off {
            Some((Description::Off, Reason::new(rules::NUMA_OFF)))
        } else if line.acpi_off {
            Some((Description::None, Reason::new(rules::ACPI_OFF)))
        } else {
            match walks.run(topology, kernel, notes) {
                Err(undetermined) => {
                    give_up(notes, undetermined);
                    return Err(Stop::Undetermined);
                }
                Ok(Err(reason)) => Some((Description::None, reason)),
                Ok(Ok(())) => None,
            }
        };
        let mut fake = line.numa_fake.as_deref();
        let attempt = match void {
            None => Attempt::register(&mut walks, map, kernel, &mut fake, notes),
            Some((_, reason)) => Err(Failure::Void(reason)),
        };
        let (attempt, description) = match attempt {
            Ok(attempt) => {
                notes.reason(Subject::Description, Reason::new(rules::DESCRIBED));
                (attempt, Description::Used)
            }
            Err(Failure::Panic(reason)) => return Err(Stop::Panic(reason, walks.accepted, None)),
            Err(Failure::Void(reason)) => {
                let description = if line.numa_off { Description::Off } else { Description::None };
                notes.reason(Subject::Description, reason);
                walks.restart();
                walks.parsed.insert(NodeId(0));
                let range = AddressRange::new(PhysAddr(0), PhysAddr(map.max_pfn.saturating_mul(PAGE)));
                walks.ranges.push(NodeRange { range, node: NodeId(0), source: None });
                fake = fake.filter(|_| description != Description::Off);
                match Attempt::register(&mut walks, map, kernel, &mut fake, notes) {
                    Ok(attempt) => (attempt, description),
                    Err(Failure::Void(reason) | Failure::Panic(reason)) => {
                        return Err(Stop::Panic(reason, walks.accepted, Some(description)));
                    }
                }
            }
        };
        Self::finish(walks, attempt, description, topology, map, kernel, notes)
    }

    /// Puts processors and initiators on the nodes.
    fn finish(
        walks: Walks,
        attempt: Attempt,
        description: Description,
        topology: &Topology<'_>,
        map: &MemoryMap,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<Self, Stop> {
        let Attempt { possible, pieces, emulated } = attempt;
        let with_ram: NodeSet = pieces.iter().filter_map(|piece| piece.node).collect();
        let order = cpus::possible(topology, kernel);
        let cpu_nodes = order.iter().filter_map(|id| walks.apic_nodes.get(&(*id)?).copied());
        let cpu_nodes: NodeSet = cpu_nodes.collect();
        let online = with_ram.union(&cpu_nodes).union(&walks.initiators);
        let lost = walks.initiators.difference(&possible);
        if let Some(node) = lost.first() {
            let fact = Fact::known("node", u64::from(node.0));
            let reason = Reason::new(rules::INITIATOR_CRASH).with([fact]);
            let faked = (description != Description::Used).then_some(description);
            return Err(Stop::Panic(reason, walks.accepted, faked));
        }

        let mut nodes = Self {
            description,
            srat_bad: walks.bad.is_some(),
            has_memory: with_ram.clone(),
            has_normal_memory: NodeSet::new(),
            has_cpu: NodeSet::new(),
            has_generic_initiator: walks.initiators,
            cpus: Vec::new(),
            cpu_lists: BTreeMap::new(),
            possible,
            online,
            domains: walks.domains,
            distances: walks.distances,
            ranges: walks.ranges,
            reserved: walks.reserved,
            pieces,
            accepted: walks.accepted,
            hot_pluggable: walks.hot_pluggable,
            windows: walks.windows,
            last_real_domain: walks.last_real_domain,
            block_size_advice: walks.block_size_advice,
            movable_start: BTreeMap::new(),
        };
        let without_madt = topology.processors.is_none() && !kernel.command_line.acpi_off;
        if without_madt && description == Description::Used {
            nodes.processors_by_srat(walks.apic_nodes.values().copied(), emulated.as_ref(), notes);
        } else {
            if let Some(End::Unknown(source)) = topology.processors.as_ref().map(|madt| madt.end) {
                notes.missing(Section::Cpus, format!("the bytes of the table from {source} on"));
            }
            nodes.cpus = cpus::place(&order, &walks.apic_nodes, &with_ram, &nodes.online, kernel);
            nodes.list_cpus(emulated.as_ref(), notes);
        }
        movable::settle(&mut nodes, map, kernel, notes);
        nodes.explain(&walks.apic_sources, notes);
        Ok(nodes)
    }

    /// Without a MADT the processors of the SRAT are taken as present.
    fn processors_by_srat(
        &mut self,
        described: impl Iterator<Item = NodeId>,
        emulated: Option<&emulation::Emulated>,
        notes: &mut Notes,
    ) {
        self.has_cpu = described.collect();
        let missing =
            "a MADT: which processors are there, and their numbers; those of the SRAT are taken as there";
        match (emulated, self.has_cpu.is_empty()) {
            (None, false) => {
                self.online = self.online.union(&self.has_cpu);
                notes.missing(Section::CpuNumbers, missing);
            }
            _ => notes.missing(Section::Cpus, "a MADT: which processors are there"),
        }
    }

    /// Enters the processors in the lists of the nodes.
    fn list_cpus(&mut self, emulated: Option<&emulation::Emulated>, notes: &mut Notes) {
        for (cpu, number) in self.cpus.iter().zip(0_u32..) {
            let Some(node) = cpu.node else {
                let id = cpu.apic_id.map_or(0, |id| id.0);
                let missing =
                    format!("the vendor of the processor with APIC id {id}, which has no entry in the SRAT");
                notes.missing(Section::Cpus, missing);
                continue;
            };
            if !cpu.started {
                continue;
            }
            self.has_cpu.insert(node);
            // Every made-up node on the same physical node lists the processor; the states know that of the
            // boot processor only.
            let siblings = emulated.map(|emulated| emulated.siblings(node));
            for sibling in siblings.unwrap_or_default().into_iter().filter(|other| *other != node) {
                if self.online.contains(sibling) {
                    if number == 0 {
                        self.has_cpu.insert(sibling);
                    }
                    self.cpu_lists.entry(sibling).or_default().push(number);
                }
            }
            self.cpu_lists.entry(node).or_default().push(number);
        }
    }

    fn explain(&self, sources: &BTreeMap<ApicId, Source>, notes: &mut Notes) {
        let named = |subject: &Subject| matches!(subject, Subject::Node(_)).then(|| subject.node()).flatten();
        let of_window: NodeSet = notes.reasons.iter().filter_map(|(subject, _)| named(subject)).collect();
        let mut ram: BTreeMap<NodeId, u64> = BTreeMap::new();
        for piece in &self.pieces {
            let bytes = piece.node.map(|node| ram.entry(node).or_default());
            if let Some(bytes) = bytes {
                *bytes = bytes.saturating_add(piece.pages().saturating_mul(PAGE));
            }
        }
        let mut cpus: BTreeMap<NodeId, Vec<&Cpu>> = BTreeMap::new();
        for cpu in &self.cpus {
            if let Some(node) = cpu.node {
                cpus.entry(node).or_default().push(cpu);
            }
        }
        for node in self.possible.iter() {
            let fact = self.domains.domain(node).map(|domain| match self.domains.first_use(node) {
                Some(source) => Fact::at(source, "proximity domain", u64::from(domain.0)),
                None => Fact::known("proximity domain", u64::from(domain.0)),
            });
            if !of_window.contains(node) {
                let rule = match self.description {
                    Description::Used => rules::NODE_FIRST_USE,
                    Description::None | Description::Off => rules::NODE_FAKED,
                };
                notes.reason(Subject::Node(node), Reason::new(rule).with(fact));
            }
            let rule = if self.has_memory.contains(node) {
                rules::ONLINE_MEMORY
            } else if self.has_generic_initiator.contains(node) {
                rules::ONLINE_INITIATOR
            } else if self.online.contains(node) {
                rules::ONLINE_CPU
            } else {
                rules::OFFLINE
            };
            let bytes = ram.get(&node).map(|bytes| Fact::known("RAM", *bytes).of(Unit::Bytes));
            notes.reason(Subject::Online(node), Reason::new(rule).with(bytes));
            let own = cpus.get(&node).map(Vec::as_slice).unwrap_or_default();
            let rule = match own.first().map(|cpu| cpu.placement) {
                Some(Placement::Srat) => rules::CPU_SRAT,
                Some(Placement::RoundRobin) => rules::CPU_ROUND_ROBIN,
                Some(Placement::Cache) => rules::CPU_CACHE,
                None => continue,
            };
            let described = own.iter().filter_map(|cpu| {
                let id = cpu.apic_id?;
                Some(Fact::at(*sources.get(&id)?, "APIC id", u64::from(id.0)))
            });
            notes.reason(Subject::Cpus(node), Reason::new(rule).with(described));
        }
        if !notes.reasons.iter().any(|(subject, _)| *subject == Subject::Distances) {
            notes.reason(Subject::Distances, Reason::new(rules::DISTANCE_DEFAULT));
        }
        for window in self.windows.iter().filter(|window| window.node.is_none()) {
            if let Some(node) = ranges::first_holder(&self.ranges, window.range.start)
                .or_else(|| ranges::first_holder(&self.reserved, window.range.start))
            {
                let fact = Fact::at(window.source, "window base", window.range.start.0).of(Unit::Address);
                notes.reason(Subject::Node(node), Reason::new(rules::WINDOW_FILLED).with([fact]));
            }
        }
    }

    /// Pages of RAM of a node.
    #[must_use]
    pub fn ram_pages(&self, node: NodeId) -> u64 {
        self.pieces.iter().filter(|piece| piece.node == Some(node)).map(Piece::pages).sum()
    }

    /// The node that memory at an address belongs to once it is added (`phys_to_target_node`).
    #[must_use]
    pub fn target_node(&self, address: PhysAddr, kernel: &Kernel) -> Option<NodeId> {
        let boot = ranges::first_holder(&self.ranges, address);
        let reserved = ranges::first_holder(&self.reserved, address);
        if kernel.switches.reserved_ranges_first { reserved.or(boot) } else { boot.or(reserved) }
    }

    /// The node that added memory goes to when nothing else names one (`memory_add_physaddr_to_nid`).
    #[must_use]
    pub fn node_of_added(&self, address: PhysAddr) -> Option<NodeId> {
        ranges::first_holder(&self.ranges, address).or_else(|| self.ranges.first().map(|entry| entry.node))
    }

    /// Whether a table names the domain of a node; nodes made for CXL windows have larger domains.
    #[must_use]
    pub fn backed_by_real_domain(&self, node: NodeId) -> bool {
        self.domains.domain(node) <= self.last_real_domain
    }
}

/// One try to set nodes up from a list of ranges (`numa_init`).
struct Attempt {
    possible: NodeSet,
    pieces: Vec<Piece>,
    emulated: Option<emulation::Emulated>,
}

enum Failure {
    /// The ranges cannot be used.
    Void(Reason),
    /// The kernel dies.
    Panic(Reason),
}

impl Attempt {
    fn register(
        walks: &mut Walks,
        map: &MemoryMap,
        kernel: &Kernel,
        fake: &mut Option<&str>,
        notes: &mut Notes,
    ) -> Result<Self, Failure> {
        let limits = limits(map, kernel);
        ranges::clean(&mut walks.ranges, &mut walks.reserved, map, limits).map_err(|conflict| {
            let detail = format!(
                "node {} {} and node {} {}",
                conflict.ranges[0].node,
                conflict.ranges[0].range,
                conflict.ranges[1].node,
                conflict.ranges[1].range
            );
            let facts = conflict
                .ranges
                .iter()
                .filter_map(|entry| Some(Fact::at(entry.source?, "range of node", u64::from(entry.node.0))));
            Failure::Void(Reason::new(rules::RANGES_CONFLICT).with(facts).because(detail))
        })?;
        let emulated = match fake {
            Some(text) if kernel.config.numa_emulation => {
                emulation::apply(text, walks, map, limits, kernel, notes).map_err(Failure::Panic)?
            }
            _ => None,
        };
        let owners: NodeSet = walks.ranges.iter().map(|entry| entry.node).collect();
        let possible = walks.parsed.union(&owners);
        if possible.is_empty() {
            return Err(Failure::Void(Reason::new(rules::NO_MEMORY_ENTRY)));
        }
        let pieces = ranges::stamp(&walks.ranges, map);
        let uncovered = pieces.iter().filter(|piece| piece.node.is_none()).map(Piece::pages).sum::<u64>();
        let bytes = uncovered.saturating_mul(PAGE);
        let at = pieces.iter().find(|piece| piece.node.is_none()).map_or(0, |piece| piece.range.start.0);
        let facts = [
            Fact::known("without a node", bytes).of(Unit::Bytes),
            Fact::known("first at", at).of(Unit::Address),
        ];
        const TOLERATED: u64 = 1 << 20;
        if bytes > TOLERATED || (bytes == TOLERATED && kernel.switches.one_mib_gap_refused) {
            return Err(Failure::Void(Reason::new(rules::NOT_COVERED).with(facts)));
        }
        if bytes > 0 {
            return Err(Failure::Panic(Reason::new(rules::GAP_CRASH).with(facts)));
        }
        Ok(Self { possible, pieces, emulated })
    }
}

/// What ranges of nodes are cut to: RAM, or everything below the last page.
fn limits(map: &MemoryMap, kernel: &Kernel) -> Limits {
    if kernel.switches.ranges_start_at_ram {
        let low = map.ram.first().map_or(0, |ram| ram.start.0);
        let high = map.ram.last().map_or(0, |ram| ram.end.0);
        Limits { low, high }
    } else {
        Limits { low: 0, high: map.max_pfn.saturating_mul(PAGE) }
    }
}
