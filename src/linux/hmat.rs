//! What the kernel takes from SRAT and HMAT for access classes (`drivers/acpi/numa/hmat.c`): all of an HMAT or
//! nothing.

use super::access::{Access, Initiator, Locality, SideCache, Status, Target};
use super::coordinates::{ByClass, normalise};
use super::domains::DomainMap;
use super::kernel::Kernel;
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::quirks::Quirk;
use super::reason::{Fact, Notes, Reason, Rule, Section, Subject};
use super::rules;
use crate::range::AddressRange;
use crate::tables::entries::{Narrow, Wide};
use crate::tables::hmat::{
    AddressMode, AddressRangeFlags, CacheAssociativity, CacheAttributes, CacheWritePolicy, DataType,
};
use crate::tables::srat::{GenericFlags, HandleType, MemoryFlags};
use crate::topology::affinity::{self, Affinity};
use crate::topology::chain::End;
use crate::topology::performance::{Content, Entry, Matrix, Performance};
use crate::topology::{Source, Topology};
use crate::units::{ByteCount, EntryBaseUnit, ProximityDomain, widen};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The kernel dies while reading the HMAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash(pub Reason);

/// Why the HMAT is not used.
enum Refusal {
    Dropped(Reason),
    Crash(Reason),
    Undetermined(String),
}

impl Access {
    /// Reads SRAT and HMAT and registers the domains of online nodes.
    pub(crate) fn boot(
        topology: &Topology<'_>,
        nodes: &Nodes,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<Self, Crash> {
        let mut access = Self { quirks: kernel.switches.quirks, ..Self::default() };
        let line = &kernel.command_line;
        let (Some(srat), Some(hmat)) = (&topology.affinity, &topology.performance) else {
            let rule = if topology.performance.is_none() { rules::HMAT_ABSENT } else { rules::HMAT_OFF };
            notes.reason(Subject::Performance, Reason::new(rule));
            return Ok(access);
        };
        if nodes.srat_bad || line.numa_nohmat || line.acpi_off {
            notes.reason(Subject::Performance, Reason::new(rules::HMAT_OFF));
            return Ok(access);
        }
        match access.read(srat, hmat, nodes) {
            Ok(()) => access.status = Status::Used,
            Err(Refusal::Dropped(reason)) => {
                notes.reason(Subject::Performance, reason);
                return Ok(Self { status: Status::Dropped, ..Self::default() });
            }
            Err(Refusal::Crash(reason)) => return Err(Crash(reason)),
            Err(Refusal::Undetermined(missing)) => {
                use Section::{Access0, Access1, Caches, Demotion, Interleave, Tiers};
                for section in [Access0, Access1, Caches, Tiers, Demotion, Interleave] {
                    notes.missing(section, missing.clone());
                }
                return Ok(Self { status: Status::Undetermined, ..Self::default() });
            }
        }
        if notes.lacks(Section::Cpus) && access.any_locality {
            use Section::{Access1, Demotion, Interleave, Tiers};
            for section in [Access1, Tiers, Demotion, Interleave] {
                notes.missing(section, "on which nodes processors are");
            }
        }
        for place in 0..access.targets.len() {
            access.register(place, nodes, hmat, notes);
        }
        Ok(access)
    }

    fn read(&mut self, srat: &Affinity, hmat: &Performance<'_>, nodes: &Nodes) -> Result<(), Refusal> {
        self.read_targets(srat)?;
        self.revision = hmat.revision;
        if !matches!(hmat.revision, 1 | 2) {
            let fact = Fact::known("revision", u64::from(hmat.revision));
            return Err(Refusal::Dropped(Reason::new(rules::HMAT_REVISION).with([fact])));
        }
        // Three walks, one for each type, so the order between types does not count.
        for entry in visited(hmat) {
            if let Content::Proximity(partial) = &entry.content {
                check(entry, entry.link.length == 40)?;
                let proximity = partial.up_to(20).ok_or_else(|| behind(entry))?;
                let flags = proximity.flags.get();
                self.attach(
                    entry,
                    flags,
                    proximity.processor_domain.get(),
                    proximity.memory_domain.get(),
                    nodes,
                )?;
            }
        }
        end_of_walk(hmat)?;
        self.read_localities(hmat, nodes)?;
        for entry in visited(hmat) {
            if let Content::Cache(partial) = &entry.content {
                check(entry, entry.link.length >= 32)?;
                let cache = partial.up_to(32).ok_or_else(|| behind(entry))?;
                if let Some(target) = self.target_mut(cache.memory_domain.get()) {
                    let (size, mode) = (cache.cache_size.get(), cache.address_mode.get());
                    target.caches.push(side_cache(cache.cache_attributes.get(), size, mode));
                }
            }
        }
        Ok(())
    }

    /// Domains with memory, then generic ports.
    fn read_targets(&mut self, srat: &Affinity) -> Result<(), Refusal> {
        let visited = || srat.entries.iter().filter(|entry| entry.link.header_inside::<Narrow>(srat.length));
        for entry in visited() {
            let affinity::Content::Memory(partial) = &entry.content else { continue };
            let memory = partial.up_to(32).ok_or_else(|| overhang(entry.link.source))?;
            if memory.flags.get().contains(MemoryFlags::ENABLED) {
                let range =
                    AddressRange::from_base_size(memory.base_address.get(), memory.address_length.get());
                self.add_target(memory.proximity_domain.get(), entry.link.source);
                let Some(target) = self.target_mut(memory.proximity_domain.get()) else { continue };
                let free = |range: &AddressRange| !target.ranges.iter().any(|known| known.overlaps(range));
                if let Some(range) = range.filter(|range| !range.is_empty() && free(range)) {
                    target.ranges.push(range);
                }
            }
        }
        for entry in visited() {
            let affinity::Content::GenericPort(partial) = &entry.content else { continue };
            let port = partial.up_to(28).ok_or_else(|| overhang(entry.link.source))?;
            let acpi = port.device_handle_type.get() == HandleType::ACPI;
            if acpi && port.flags.get().contains(GenericFlags::ENABLED) {
                self.add_target(port.proximity_domain.get(), entry.link.source);
                if let Some(target) = self.target_mut(port.proximity_domain.get()) {
                    target.handle = port.device_handle.get().0;
                }
            }
        }
        match (srat.end, visited().next_back()) {
            (End::Unknown(source), _) => {
                Err(Refusal::Undetermined(format!("the bytes of the table from {source} on")))
            }
            (End::ZeroLength, Some(last)) if last.link.length == 0 => {
                let fact = Fact::at(last.link.source, "length", 0);
                Err(Refusal::Dropped(Reason::new(rules::HMAT_OFF).with([fact])))
            }
            _ => Ok(()),
        }
    }

    /// Makes a target for a domain that has none.
    fn add_target(&mut self, domain: ProximityDomain, source: Source) {
        let next = self.targets.len();
        if *self.by_domain.entry(domain).or_insert(next) == next {
            self.targets.push(Target {
                domain,
                attached: None,
                coordinates: ByClass::default(),
                handle: [0; 16],
                caches: Vec::new(),
                ranges: Vec::new(),
                registered: false,
                source,
                attached_at: None,
            });
        }
    }

    fn target_mut(&mut self, domain: ProximityDomain) -> Option<&mut Target> {
        let place = *self.by_domain.get(&domain)?;
        self.targets.get_mut(place)
    }

    /// Type 0 (`hmat_parse_proximity_domain`).
    fn attach(
        &mut self,
        entry: &Entry<'_>,
        flags: AddressRangeFlags,
        processor: ProximityDomain,
        memory: ProximityDomain,
        nodes: &Nodes,
    ) -> Result<(), Refusal> {
        let dropped = |rule: Rule, name: &'static str, domain: ProximityDomain| {
            Refusal::Dropped(Reason::new(rule).with([Fact::at(entry.link.source, name, u64::from(domain.0))]))
        };
        let honoured = self.revision >= 2 || flags.contains(AddressRangeFlags::MEMORY_VALID);
        if !honoured {
            return Ok(());
        }
        let tolerant = !self.quirks.has(Quirk::UnknownMemoryDropsHmat);
        let Some(target) = self.target_mut(memory) else {
            if tolerant {
                return Ok(());
            }
            return Err(dropped(rules::HMAT_DROPPED_MEMORY, "memory domain", memory));
        };
        if flags.contains(AddressRangeFlags::PROCESSOR_VALID) {
            if nodes.domains.node(processor).is_none() {
                if tolerant {
                    return Ok(());
                }
                return Err(dropped(rules::HMAT_DROPPED_INITIATOR, "initiator domain", processor));
            }
            target.attached = Some(processor);
            target.attached_at = Some(entry.link.source);
        }
        Ok(())
    }

    /// Type 1 (`hmat_parse_locality`).
    fn read_localities(&mut self, hmat: &Performance<'_>, nodes: &Nodes) -> Result<(), Refusal> {
        let mut initiators: BTreeMap<ProximityDomain, Initiator> = BTreeMap::new();
        let mut matrices = Vec::new();
        for (place, entry) in hmat.entries.iter().enumerate() {
            let Content::Locality(partial, matrix) = &entry.content else { continue };
            if !entry.link.header_inside::<Wide>(hmat.length) {
                continue;
            }
            check(entry, entry.link.length >= 32)?;
            let header = partial.whole().ok_or_else(|| behind(entry))?;
            let (rows, columns) = (header.initiator_count.get(), header.target_count.get());
            let lists = rows.wrapping_add(columns).wrapping_mul(4);
            let checked = rows.wrapping_mul(columns).wrapping_mul(2).wrapping_add(lists).wrapping_add(32);
            check(entry, entry.link.length >= checked)?;
            let (rows, columns) = (u64::from(rows), u64::from(columns));
            let cells = rows.saturating_mul(columns).saturating_mul(2);
            let needed =
                rows.saturating_add(columns).saturating_mul(4).saturating_add(cells).saturating_add(32);
            if u32::try_from(needed).is_err() {
                let facts = [
                    Fact::at(entry.link.source, "initiators", rows),
                    Fact::at(entry.link.source, "targets", columns),
                ];
                return Err(Refusal::Crash(Reason::new(rules::HMAT_CRASH).with(facts)));
            }
            if !matrix.complete {
                return Err(behind(entry));
            }
            for domain in matrix.initiators.iter().map(|domain| domain.get()) {
                if let Some(node) = nodes.domains.node(domain) {
                    let has_cpu = nodes.has_cpu.contains(node);
                    initiators.entry(domain).or_insert(Initiator { domain, node, has_cpu });
                }
            }
            if header.flags.get().memory_hierarchy().0 == 0 {
                self.any_locality = true;
                let (kind, base) = (header.data_type.get(), header.entry_base_unit.get());
                self.write_attached(matrix, kind, base, &nodes.domains, &nodes.has_cpu);
                matrices.push((place, kind, base, entry.link.source));
            }
        }
        self.initiators = initiators.into_values().collect();
        for (entry, kind, base, source) in matrices {
            let Some(slots) = slots_of(kind) else { continue };
            let Some(Content::Locality(_, matrix)) = hmat.entries.get(entry).map(|entry| &entry.content)
            else {
                continue;
            };
            for slot in slots {
                if let Some(slot) = self.slots.get_mut(*slot) {
                    *slot = Some(self.localities.len());
                }
            }
            let rows = places(matrix.initiators.iter().map(|domain| domain.get()));
            let columns = places(matrix.targets.iter().map(|domain| domain.get()));
            self.localities.push(Locality {
                entry,
                kind,
                base,
                cells: cells_of(source, matrix),
                width: matrix.targets.len(),
                rows: self.initiators.iter().map(|initiator| first_place(&rows, initiator.domain)).collect(),
                columns: self.targets.iter().map(|target| first_place(&columns, target.domain)).collect(),
            });
        }
        Ok(())
    }

    /// Gives attached memory the figures from its initiator (`hmat_update_target`). The kernel goes through all
    /// cells row by row; what remains in the end is the last row of the initiator and the last column.
    fn write_attached(
        &mut self,
        matrix: &Matrix<'_>,
        kind: DataType,
        base: EntryBaseUnit,
        domains: &DomainMap,
        has_cpu: &NodeSet,
    ) {
        let rows = places(matrix.initiators.iter().map(|domain| domain.get()));
        let revision = self.revision;
        for (column, domain) in matrix.targets.iter().enumerate() {
            let Some(target) = self.target_mut(domain.get()) else { continue };
            let Some(attached) = target.attached else { continue };
            let Some(row) = last_place(&rows, attached) else { continue };
            let Some(cell) = matrix.get(row, column) else { continue };
            let value = normalise(cell, base, kind, revision);
            target.coordinates.local.set(kind, value);
            if domains.node(attached).is_some_and(|node| has_cpu.contains(node)) {
                target.coordinates.cpu.set(kind, value);
            }
        }
    }
}

/// Where the first cell of a matrix stands: behind the fixed part and the two lists.
fn cells_of(structure: Source, matrix: &Matrix<'_>) -> Source {
    let domains = widen(matrix.initiators.len().saturating_add(matrix.targets.len()));
    Source {
        offset: structure.offset.saturating_add(32).saturating_add(domains.saturating_mul(4)),
        ..structure
    }
}

/// The slots that a data type takes, in the order of [`Access::slots`].
pub(super) const fn slots_of(kind: DataType) -> Option<&'static [usize]> {
    Some(match kind {
        DataType::ACCESS_LATENCY => &[0, 1],
        DataType::WRITE_LATENCY => &[0],
        DataType::READ_LATENCY => &[1],
        DataType::ACCESS_BANDWIDTH => &[2, 3],
        DataType::WRITE_BANDWIDTH => &[2],
        DataType::READ_BANDWIDTH => &[3],
        _ => return None,
    })
}

/// Domains with their places in a list, sorted by both.
fn places(domains: impl Iterator<Item = ProximityDomain>) -> Vec<(ProximityDomain, usize)> {
    let mut places: Vec<_> = domains.zip(0..).collect();
    places.sort_unstable();
    places
}

fn first_place(places: &[(ProximityDomain, usize)], domain: ProximityDomain) -> Option<usize> {
    let at = places.partition_point(|(known, _)| *known < domain);
    places.get(at).filter(|(known, _)| *known == domain).map(|(_, place)| *place)
}

fn last_place(places: &[(ProximityDomain, usize)], domain: ProximityDomain) -> Option<usize> {
    let at = places.partition_point(|(known, _)| *known <= domain).checked_sub(1)?;
    places.get(at).filter(|(known, _)| *known == domain).map(|(_, place)| *place)
}

/// `hmat_register_target_cache`.
fn side_cache(attributes: CacheAttributes, size: ByteCount, mode: AddressMode) -> SideCache {
    let direct = attributes.associativity() == CacheAssociativity::DIRECT_MAPPED;
    SideCache {
        level: attributes.level().0,
        size,
        line_size: attributes.line_size().0,
        indexing: match attributes.associativity() {
            CacheAssociativity::DIRECT_MAPPED => 0,
            CacheAssociativity::COMPLEX => 1,
            _ => 2,
        },
        write_policy: match attributes.write_policy() {
            CacheWritePolicy::WRITE_BACK => 0,
            CacheWritePolicy::WRITE_THROUGH => 1,
            _ => 2,
        },
        address_mode: if direct && mode == AddressMode::EXTENDED_LINEAR { 1 } else { 0 },
    }
}

fn visited<'t, 'a>(hmat: &'t Performance<'a>) -> impl Iterator<Item = &'t Entry<'a>> {
    hmat.entries.iter().filter(|entry| entry.link.header_inside::<Wide>(hmat.length))
}

/// The kernel drops the table when a structure does not have the length it should.
fn check(entry: &Entry<'_>, good: bool) -> Result<(), Refusal> {
    let fact = Fact::at(entry.link.source, "length", u64::from(entry.link.length));
    if good { Ok(()) } else { Err(Refusal::Dropped(Reason::new(rules::HMAT_DROPPED_LENGTH).with([fact]))) }
}

/// Every walk fails on a structure of length 0.
fn end_of_walk(hmat: &Performance<'_>) -> Result<(), Refusal> {
    match (hmat.end, visited(hmat).last()) {
        (End::Unknown(source), _) => {
            Err(Refusal::Undetermined(format!("the bytes of the table from {source} on")))
        }
        (End::ZeroLength, Some(last)) => check(last, last.link.length != 0),
        _ => Ok(()),
    }
}

fn behind(entry: &Entry<'_>) -> Refusal {
    overhang(entry.link.source)
}

fn overhang(source: Source) -> Refusal {
    Refusal::Undetermined(format!(
        "bytes behind the end of the table: the structure at {source} reaches past it"
    ))
}
