//! The walks over SRAT and CEDT that make nodes (x86: `drivers/acpi/numa/srat.c`, `arch/x86/mm/srat.c`).

use super::cpus::{max_apic_id, x2apic_mode};
use super::distances::DistanceTable;
use super::domains::DomainMap;
use super::kernel::Kernel;
use super::node_set::NodeSet;
use super::quirks::Quirk;
use super::ranges::{NodeRange, fill};
use super::reason::{Fact, Notes, Reason, Rule, Section, Subject, Unit};
use super::rules;
use crate::range::AddressRange;
use crate::tables::entries::{Medium, Narrow};
use crate::tables::srat::{GenericFlags, MemoryFlags, ProcessorFlags};
use crate::topology::affinity::{Affinity, Content, Entry};
use crate::topology::chain::{End, Link};
use crate::topology::windows::Windows;
use crate::topology::{Source, Topology};
use crate::units::{ApicId, NodeId, PhysAddr, ProximityDomain};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of a local APIC structure up to its last field that counts.
const LOCAL_APIC_FIELDS: usize = 12;
/// The same for x2APIC, memory and generic initiator structures, and for windows.
const X2APIC_FIELDS: usize = 16;
const MEMORY_FIELDS: usize = 32;
const INITIATOR_FIELDS: usize = 28;
const WINDOW_FIELDS: usize = 24;

/// A memory entry that the kernel took in, as its log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedMemory {
    /// The node.
    pub node: NodeId,
    /// The domain, in the width that the SRAT's revision gives it.
    pub domain: ProximityDomain,
    /// First address.
    pub start: PhysAddr,
    /// Last address; one below the first for an empty entry.
    pub last: PhysAddr,
    /// Marked hot-pluggable.
    pub hot_pluggable: bool,
    /// Marked non-volatile.
    pub non_volatile: bool,
    /// Where the entry stands.
    pub source: Source,
}

/// A CXL window and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The addresses.
    pub range: AddressRange,
    /// The node made for it; `None` when it extends described memory.
    pub node: Option<NodeId>,
    /// Where the window stands.
    pub source: Source,
}

/// Why the inputs do not tell which nodes there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undetermined(pub(crate) String);

/// What the walks collect. Some of it outlives a description that is thrown away.
#[derive(Clone, Debug)]
pub(crate) struct Walks {
    pub(crate) domains: DomainMap,
    /// Nodes that anything enabled names.
    pub(crate) parsed: NodeSet,
    pub(crate) ranges: Vec<NodeRange>,
    pub(crate) reserved: Vec<NodeRange>,
    pub(crate) initiators: NodeSet,
    pub(crate) apic_nodes: BTreeMap<ApicId, NodeId>,
    /// Where the entry of each processor stands.
    pub(crate) apic_sources: BTreeMap<ApicId, Source>,
    pub(crate) accepted: Vec<AcceptedMemory>,
    pub(crate) hot_pluggable: Vec<AddressRange>,
    pub(crate) windows: Vec<Window>,
    pub(crate) block_size_advice: Option<u64>,
    pub(crate) distances: DistanceTable,
    /// Largest domain that a table names; windows have larger ones.
    pub(crate) last_real_domain: Option<ProximityDomain>,
    /// Why the SRAT as a whole is bad, if it is.
    pub(crate) bad: Option<Reason>,
    memory_entries: u32,
}

impl Walks {
    pub(crate) fn new(kernel: &Kernel) -> Self {
        let config = &kernel.config;
        let line = &kernel.command_line;
        Self {
            domains: DomainMap::new(config.max_domains(), config.max_nodes, line.numa_off),
            parsed: NodeSet::new(),
            ranges: Vec::new(),
            reserved: Vec::new(),
            initiators: NodeSet::new(),
            apic_nodes: BTreeMap::new(),
            apic_sources: BTreeMap::new(),
            accepted: Vec::new(),
            hot_pluggable: Vec::new(),
            windows: Vec::new(),
            block_size_advice: None,
            distances: DistanceTable::default(),
            last_real_domain: None,
            bad: line.numa_noacpi.then(|| Reason::new(rules::NOACPI)),
            memory_entries: 0,
        }
    }

    /// Forgets what every new attempt to find nodes forgets; domains, reserved ranges and initiators stay.
    pub(crate) fn restart(&mut self) {
        self.parsed = NodeSet::new();
        self.ranges.clear();
        self.apic_nodes.clear();
        self.hot_pluggable.clear();
        self.distances = DistanceTable::default();
    }

    /// Walks SRAT, SLIT and CEDT (`acpi_numa_init`). The inner error tells why the description is void.
    pub(crate) fn run(
        &mut self,
        topology: &Topology<'_>,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<Result<(), Reason>, Undetermined> {
        let mut walk_failed = None;
        let mapped = |length: usize| length <= kernel.config.early_table_bytes;
        if let Some(srat) = topology.affinity.as_ref().filter(|srat| mapped(srat.length)) {
            self.processors_and_initiators(srat, topology, kernel, notes)?;
            walk_failed = self.memory(srat, kernel)?;
        }
        if let Some(slit) = topology.distances.as_ref().filter(|slit| !mapped(slit.length())) {
            let length = Fact::known("table length", crate::units::widen(slit.length())).of(Unit::Bytes);
            notes.reason(Subject::Distances, Reason::new(rules::TABLE_TOO_LONG).with([length]));
        } else if let Some(slit) = &topology.distances {
            let highest = self.parsed.last().map_or(0, |node| u64::from(node.0).saturating_add(1));
            let size = usize::try_from(highest).unwrap_or_default();
            self.distances = DistanceTable::from_slit(slit, &self.domains, size, notes);
        }
        self.windows(topology, kernel, notes)?;

        if let Some(reason) = walk_failed {
            return Ok(Err(reason));
        }
        if self.memory_entries == 0 && self.bad.is_none() {
            let rule = match &topology.affinity {
                None => rules::NO_SRAT,
                Some(srat) if !mapped(srat.length) => rules::TABLE_TOO_LONG,
                Some(_) => rules::NO_MEMORY_ENTRY,
            };
            return Ok(Err(Reason::new(rule)));
        }
        Ok(self.bad.clone().map_or(Ok(()), Err))
    }

    fn mark_bad(&mut self, rule: Rule, fact: Fact) {
        self.bad.get_or_insert_with(|| Reason::new(rule).with([fact]));
    }

    /// The node of an enabled entry's domain; the SRAT becomes bad when there is none.
    fn map(&mut self, domain: ProximityDomain, link: &Link) -> Option<NodeId> {
        let node = self.domains.map(domain, link.source);
        if node.is_none() {
            let fact = Fact::at(link.source, "proximity domain", u64::from(domain.0));
            self.mark_bad(rules::SRAT_BAD_DOMAIN, fact);
        }
        node
    }

    /// The first walk: processors and generic initiators, in table order.
    fn processors_and_initiators(
        &mut self,
        srat: &Affinity,
        topology: &Topology<'_>,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<(), Undetermined> {
        let x2apic = x2apic_mode(topology, kernel);
        for entry in visited(srat) {
            let link = entry.link;
            match &entry.content {
                Content::LocalApic(_) | Content::X2Apic(_) if self.bad.is_some() => {}
                Content::LocalApic(_) if link.length != 16 => self.bad_length(&link),
                Content::LocalApic(partial) => {
                    let apic = partial.up_to(LOCAL_APIC_FIELDS).ok_or_else(|| behind(&link))?;
                    if apic.flags.get().contains(ProcessorFlags::ENABLED) {
                        let domain = apic.proximity_domain(srat.revision);
                        if let Some(node) = self.map(domain, &link) {
                            let id = ApicId(u32::from(apic.apic_id.get()));
                            self.processor(id, node, link.source, kernel);
                        }
                    }
                }
                Content::X2Apic(_) if link.length < 24 => self.bad_length(&link),
                Content::X2Apic(partial) => {
                    let apic = partial.up_to(X2APIC_FIELDS).ok_or_else(|| behind(&link))?;
                    let id = apic.x2apic_id.get();
                    if !apic.flags.get().contains(ProcessorFlags::ENABLED) {
                        continue;
                    }
                    if id.0 > max_apic_id(false) {
                        let missing = || {
                            format!(
                                "whether firmware hands over in x2APIC mode: {} names APIC id {id}",
                                link.source
                            )
                        };
                        match x2apic {
                            Some(true) => {}
                            Some(false) => continue,
                            None => return Err(Undetermined(missing())),
                        }
                    }
                    if let Some(node) = self.map(apic.proximity_domain.get(), &link) {
                        self.processor(id, node, link.source, kernel);
                    }
                }
                Content::GenericInitiator(partial) => {
                    let initiator = partial.up_to(INITIATOR_FIELDS).ok_or_else(|| behind(&link))?;
                    let domain = initiator.proximity_domain.get();
                    let fact = Fact::at(link.source, "proximity domain", u64::from(domain.0));
                    if !initiator.flags.get().contains(GenericFlags::ENABLED) {
                        if !kernel.switches.quirks.has(Quirk::InitiatorEndsWalk) {
                            continue;
                        }
                        notes.reason(
                            Subject::Domain(domain),
                            Reason::new(rules::INITIATOR_DISABLED).with([fact]),
                        );
                        return Ok(());
                    }
                    let Some(node) = self.domains.map(domain, link.source) else {
                        notes.reason(
                            Subject::Domain(domain),
                            Reason::new(rules::INITIATOR_NO_NODE).with([fact]),
                        );
                        return Ok(());
                    };
                    self.parsed.insert(node);
                    self.initiators.insert(node);
                }
                _ => {}
            }
        }
        unknown_end(srat.end)
    }

    fn bad_length(&mut self, link: &Link) {
        self.mark_bad(rules::SRAT_BAD_LENGTH, Fact::at(link.source, "length", u64::from(link.length)));
    }

    fn processor(&mut self, id: ApicId, node: NodeId, source: Source, kernel: &Kernel) {
        if id.0 < kernel.config.max_local_apic {
            self.apic_nodes.insert(id, node);
            self.apic_sources.insert(id, source);
            self.parsed.insert(node);
        }
    }

    /// The second walk: memory, in table order. Tells why the walk failed, where it did.
    fn memory(&mut self, srat: &Affinity, kernel: &Kernel) -> Result<Option<Reason>, Undetermined> {
        for entry in visited(srat) {
            let link = entry.link;
            let Content::Memory(partial) = &entry.content else { continue };
            if self.bad.is_some() {
                break;
            }
            if link.length < 40 {
                self.bad_length(&link);
                break;
            }
            let memory = partial.up_to(MEMORY_FIELDS).ok_or_else(|| behind(&link))?;
            let flags = memory.flags.get();
            if !flags.contains(MemoryFlags::ENABLED) {
                continue;
            }
            let start = memory.base_address.get();
            let end = PhysAddr(start.0.wrapping_add(memory.address_length.get().0));
            let mut domain = memory.proximity_domain.get();
            if srat.revision <= 1 {
                domain.0 &= 0xff;
            }
            let Some(node) = self.map(domain, &link) else { break };
            let range = AddressRange::new(start, end);
            if !self.add_range(NodeRange { range, node, source: Some(link.source) }, kernel) {
                let fact = Fact::known("ranges", u64::from(kernel.config.max_nodes).saturating_mul(2));
                self.mark_bad(rules::SRAT_TOO_MANY, fact);
                break;
            }
            self.parsed.insert(node);
            let hot_pluggable = flags.contains(MemoryFlags::HOT_PLUGGABLE);
            if hot_pluggable && !range.is_empty() {
                self.hot_pluggable.push(range);
            }
            self.accepted.push(AcceptedMemory {
                node,
                domain,
                start,
                last: PhysAddr(end.0.wrapping_sub(1)),
                hot_pluggable,
                non_volatile: flags.contains(MemoryFlags::NON_VOLATILE),
                source: link.source,
            });
            self.memory_entries = self.memory_entries.saturating_add(1);
        }
        unknown_end(srat.end)?;
        let zero = visited(srat).last().filter(|entry| entry.link.length == 0);
        Ok(zero.map(|entry| {
            Reason::new(rules::SRAT_ZERO_LENGTH).with([Fact::at(entry.link.source, "length", 0)])
        }))
    }

    /// Adds a range that is neither empty nor wrapped; `false` when the list is full.
    fn add_range(&mut self, range: NodeRange, kernel: &Kernel) -> bool {
        add(&mut self.ranges, range, kernel)
    }

    /// CXL windows (`acpi_parse_cfmws`).
    fn windows(
        &mut self,
        topology: &Topology<'_>,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<(), Undetermined> {
        self.last_real_domain = self.domains.largest();
        if !kernel.switches.quirks.has(Quirk::PortCollision) {
            let ports = topology.affinity.iter().flat_map(visited).filter_map(enabled_port);
            self.last_real_domain = self.last_real_domain.max(ports.max());
        }
        let mut next = self.last_real_domain.map_or(0, |domain| domain.0.saturating_add(1));
        let mapped = |cedt: &&Windows| cedt.length <= kernel.config.early_table_bytes;
        let cedt = topology.windows.as_ref().filter(|_| kernel.config.cxl_acpi);
        let Some(cedt) = cedt.filter(mapped) else { return Ok(()) };
        for entry in cedt.entries.iter().filter(|entry| entry.link.header_inside::<Medium>(cedt.length)) {
            let link = entry.link;
            let Some(partial) = &entry.window else { continue };
            let window = partial.up_to(WINDOW_FIELDS).ok_or_else(|| behind(&link))?;
            let start = window.base_hpa.get();
            let end = PhysAddr(start.0.wrapping_add(window.window_size.get().0));
            let range = AddressRange::new(start, end);
            self.advise_block_size(start.0 | end.0, kernel);
            let node = if fill(&mut self.ranges, &range) {
                None
            } else {
                let Some(node) = self.domains.map(ProximityDomain(next), link.source) else { break };
                let list =
                    if kernel.switches.windows_are_ranges { &mut self.ranges } else { &mut self.reserved };
                add(list, NodeRange { range, node, source: Some(link.source) }, kernel);
                self.parsed.insert(node);
                next = next.saturating_add(1);
                let fact = Fact::at(link.source, "window base", start.0).of(Unit::Address);
                notes.reason(Subject::Node(node), Reason::new(rules::NODE_WINDOW).with([fact]));
                Some(node)
            };
            self.windows.push(Window { range, node, source: link.source });
        }
        unknown_end(cedt.end)
    }

    /// The largest power of two that divides both ends of every window so far, where that is at least 256 MiB.
    fn advise_block_size(&mut self, ends: u64, kernel: &Kernel) {
        const LEAST: u64 = 256 << 20;
        let alignment = 1_u64.checked_shl(ends.trailing_zeros()).unwrap_or_default();
        if kernel.switches.windows_advise_block_size && alignment >= LEAST {
            self.block_size_advice =
                Some(self.block_size_advice.map_or(alignment, |least| least.min(alignment)));
        }
    }
}

fn add(list: &mut Vec<NodeRange>, range: NodeRange, kernel: &Kernel) -> bool {
    if range.range.is_empty() {
        return true;
    }
    let limit = usize::try_from(kernel.config.max_nodes).unwrap_or(usize::MAX).saturating_mul(2);
    let fits = list.len() < limit;
    if fits {
        list.push(range);
    }
    fits
}

/// The domain of an enabled generic port.
fn enabled_port(entry: &Entry) -> Option<ProximityDomain> {
    let Content::GenericPort(partial) = &entry.content else { return None };
    let port = partial.up_to(INITIATOR_FIELDS)?;
    port.flags.get().contains(GenericFlags::ENABLED).then(|| port.proximity_domain.get())
}

/// The structures that the kernel's walk visits: one whose header ends exactly at the end of the table is not.
fn visited(srat: &Affinity) -> impl Iterator<Item = &Entry> {
    srat.entries.iter().filter(|entry| entry.link.header_inside::<Narrow>(srat.length))
}

/// What depends on bytes that are not there.
fn behind(link: &Link) -> Undetermined {
    Undetermined(format!(
        "bytes behind the end of the table: the structure at {} reaches past it",
        link.source
    ))
}

fn unknown_end(end: End) -> Result<(), Undetermined> {
    match end {
        End::Unknown(source) => Err(Undetermined(format!("the bytes of the table from {source} on"))),
        End::Complete | End::ZeroLength => Ok(()),
    }
}

/// Leaves the whole description of nodes out of the plan.
pub(crate) fn give_up(notes: &mut Notes, undetermined: Undetermined) {
    notes.missing(Section::Nodes, undetermined.0);
}
