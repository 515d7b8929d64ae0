//! Access classes: which initiators reach a node's memory best, and how fast (`drivers/acpi/numa/hmat.c`).

use super::domains::DomainMap;
use super::kernel::Kernel;
use super::node_set::NodeSet;
use super::nodes::Nodes;
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
use crate::units::{
    AcpiUid, ByteCount, EntryBaseUnit, MatrixCell, MegabytesPerSecond, Nanoseconds, NodeId, ProximityDomain,
};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How fast memory is, as the kernel shows it; 0 where it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Coordinates {
    /// Latency of reads.
    pub read_latency: Nanoseconds,
    /// Latency of writes.
    pub write_latency: Nanoseconds,
    /// Bandwidth of reads.
    pub read_bandwidth: MegabytesPerSecond,
    /// Bandwidth of writes.
    pub write_bandwidth: MegabytesPerSecond,
}

impl Coordinates {
    /// Sets the members that a data type is about.
    fn set(&mut self, kind: DataType, value: u32) {
        let (latency, bandwidth) = (Nanoseconds(value), MegabytesPerSecond(value));
        match kind {
            DataType::ACCESS_LATENCY => (self.read_latency, self.write_latency) = (latency, latency),
            DataType::READ_LATENCY => self.read_latency = latency,
            DataType::WRITE_LATENCY => self.write_latency = latency,
            DataType::ACCESS_BANDWIDTH => {
                (self.read_bandwidth, self.write_bandwidth) = (bandwidth, bandwidth)
            }
            DataType::READ_BANDWIDTH => self.read_bandwidth = bandwidth,
            DataType::WRITE_BANDWIDTH => self.write_bandwidth = bandwidth,
            _ => {}
        }
    }

    /// Read and write latency together, wrapping as the kernel's sum does.
    #[must_use]
    pub const fn latency(&self) -> u32 {
        self.read_latency.0.wrapping_add(self.write_latency.0)
    }

    /// Read and write bandwidth together, wrapping as the kernel's sum does.
    #[must_use]
    pub const fn bandwidth(&self) -> u32 {
        self.read_bandwidth.0.wrapping_add(self.write_bandwidth.0)
    }
}

/// Whose view coordinates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The best initiators of any kind (`access0`).
    Local,
    /// The best initiators with processors (`access1`).
    Cpu,
    /// As `Local`, for a generic port.
    PortLocal,
    /// As `Cpu`, for a generic port.
    PortCpu,
}

impl Class {
    /// The classes that nodes show.
    pub const SHOWN: [Self; 2] = [Self::Local, Self::Cpu];

    const fn needs_cpu(self) -> bool {
        matches!(self, Self::Cpu | Self::PortCpu)
    }

    const fn of_port(self) -> bool {
        matches!(self, Self::PortLocal | Self::PortCpu)
    }

    /// The number in the name of the directory.
    #[must_use]
    pub const fn number(self) -> u8 {
        if self.needs_cpu() { 1 } else { 0 }
    }
}

/// Coordinates for each [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ByClass {
    local: Coordinates,
    cpu: Coordinates,
    port_local: Coordinates,
    port_cpu: Coordinates,
}

impl ByClass {
    /// Those of one class.
    #[must_use]
    pub const fn get(&self, class: Class) -> &Coordinates {
        match class {
            Class::Local => &self.local,
            Class::Cpu => &self.cpu,
            Class::PortLocal => &self.port_local,
            Class::PortCpu => &self.port_cpu,
        }
    }

    const fn get_mut(&mut self, class: Class) -> &mut Coordinates {
        match class {
            Class::Local => &mut self.local,
            Class::Cpu => &mut self.cpu,
            Class::PortLocal => &mut self.port_local,
            Class::PortCpu => &mut self.port_cpu,
        }
    }
}

/// A memory-side cache as sysfs shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideCache {
    /// Its level: the number in the name of its directory.
    pub level: u32,
    /// Bytes.
    pub size: ByteCount,
    /// Bytes in a line.
    pub line_size: u32,
    /// 0 direct-mapped, 1 complex, 2 anything else.
    pub indexing: u8,
    /// 0 write-back, 1 write-through, 2 anything else.
    pub write_policy: u8,
    /// 0 reserved, 1 extended linear.
    pub address_mode: u16,
}

/// A proximity domain with memory, or a generic port.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its domain.
    pub domain: ProximityDomain,
    /// The domain of the initiator that it is attached to.
    pub attached: Option<ProximityDomain>,
    /// How fast it is reached.
    pub coordinates: ByClass,
    /// The device handle of a generic port; zero for memory.
    pub handle: [u8; 16],
    /// Its memory-side caches, in table order.
    pub caches: Vec<SideCache>,
    /// Its addresses, in table order, without those that overlap earlier ones.
    pub ranges: Vec<AddressRange>,
    /// Whether it has been registered with its node.
    pub registered: bool,
    /// Where it is first described.
    pub source: Source,
    /// Where its attachment is described.
    attached_at: Option<Source>,
}

impl Target {
    /// Whether it is a generic port: its handle begins with text.
    #[must_use]
    pub fn is_port(&self) -> bool {
        let [a, b, ..] = self.handle;
        (a, b) != (0, 0)
    }

    /// The `_UID` in its handle, 0 for memory.
    #[must_use]
    pub fn uid(&self) -> AcpiUid {
        let [.., a, b, c, d, _, _, _, _] = self.handle;
        AcpiUid(u32::from_le_bytes([a, b, c, d]))
    }
}

/// An initiator that the HMAT names and that has a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Its domain.
    pub domain: ProximityDomain,
    /// Its node.
    pub node: NodeId,
    /// Whether the node has processors.
    pub has_cpu: bool,
}

/// One access class of one node, as sysfs shows it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NodeAccess {
    /// Nodes that reach this one best.
    pub initiators: NodeSet,
    /// Nodes that this one reaches best.
    pub targets: NodeSet,
    /// The figures; `None` for a node that is only an initiator.
    pub coordinates: Option<Coordinates>,
}

/// A matrix that counts, prepared for look-up.
#[derive(Clone, Debug)]
struct Locality {
    /// Its place among the structures of the HMAT.
    entry: usize,
    kind: DataType,
    base: EntryBaseUnit,
    source: Source,
    /// The row of each initiator, in the order of [`Access::initiators`].
    rows: Vec<Option<usize>>,
    /// The column of each target, in the order of [`Access::targets`].
    columns: Vec<Option<usize>>,
}

/// What became of the HMAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Status {
    /// There is none, or it is not looked at.
    #[default]
    Absent,
    /// It is used.
    Used,
    /// It is dropped as a whole.
    Dropped,
    /// The inputs do not tell.
    Undetermined,
}

/// Everything that the HMAT contributes.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What became of the table.
    pub status: Status,
    revision: u8,
    /// Domains with memory, then generic ports, in SRAT order.
    pub targets: Vec<Target>,
    /// Initiators, by domain.
    pub initiators: Vec<Initiator>,
    /// Any structure is about the memory itself.
    any_locality: bool,
    /// The matrices for write latency, read latency, write bandwidth, read bandwidth.
    slots: [Option<usize>; 4],
    localities: Vec<Locality>,
    /// Class 0 and 1 of nodes that show any.
    pub classes: [BTreeMap<NodeId, NodeAccess>; 2],
    /// Memory-side caches of nodes, by level.
    pub caches: BTreeMap<NodeId, BTreeMap<u32, SideCache>>,
    /// Places in [`targets`](Self::targets) by domain.
    by_domain: BTreeMap<ProximityDomain, usize>,
}

/// The kernel dies while reading the HMAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash(pub Reason);

/// Why the HMAT is not used.
enum Refusal {
    Dropped(Reason),
    Crash(Reason),
    Undetermined(String),
}

/// The value of a matrix cell in nanoseconds or MB/s (`hmat_normalize`); 0 for unknown.
#[must_use]
pub fn normalise(cell: MatrixCell, base: EntryBaseUnit, kind: DataType, revision: u8) -> u32 {
    let entry = u64::from(cell.0);
    if entry == 0 || entry == 0xffff {
        return 0;
    }
    let Some(value) = entry.checked_mul(base.0).and_then(|value| u32::try_from(value).ok()) else { return 0 };
    match revision {
        1 if value < 10 => 0,
        1 => value.wrapping_add(9) / 10,
        2 if kind.is_latency() => value.wrapping_add(999) / 1000,
        _ => value,
    }
}

impl Access {
    /// Reads SRAT and HMAT and registers the domains of online nodes.
    pub(crate) fn boot(
        topology: &Topology<'_>,
        nodes: &Nodes,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<Self, Crash> {
        let mut access = Self::default();
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

    /// The target of a domain.
    #[must_use]
    pub fn target(&self, domain: ProximityDomain) -> Option<&Target> {
        self.targets.get(*self.by_domain.get(&domain)?)
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
        let Some(target) = self.target_mut(memory) else {
            return Err(dropped(rules::HMAT_DROPPED_MEMORY, "memory domain", memory));
        };
        if flags.contains(AddressRangeFlags::PROCESSOR_VALID) {
            if nodes.domains.node(processor).is_none() {
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
                source,
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

    /// Finds the best initiators of a target and stores their figures (`hmat_update_target_attrs`). The domains,
    /// ascending.
    pub(crate) fn update(
        &mut self,
        place: usize,
        class: Class,
        domains: &DomainMap,
        has_cpu: &NodeSet,
        hmat: &Performance<'_>,
    ) -> Vec<ProximityDomain> {
        let Some(target) = self.targets.get_mut(place) else { return Vec::new() };
        if class.of_port() && !target.is_port() {
            return Vec::new();
        }
        if let Some(attached) = target.attached {
            let counts = domains.node(attached).is_some_and(|node| has_cpu.contains(node));
            if class == Class::Local || counts {
                return Vec::from([attached]);
            }
        }
        if !self.any_locality {
            return Vec::new();
        }
        let mut left: Vec<usize> = (0..self.initiators.len()).collect();
        for locality in self.slots.iter().flatten().filter_map(|slot| self.localities.get(*slot)) {
            let Some(Content::Locality(_, matrix)) =
                hmat.entries.get(locality.entry).map(|entry| &entry.content)
            else {
                continue;
            };
            let column = locality.columns.get(place).copied().flatten();
            let mut best = 0;
            let mut kept = Vec::with_capacity(left.len());
            for number in left {
                let Some(initiator) = self.initiators.get(number) else { continue };
                if class.needs_cpu() && !initiator.has_cpu {
                    continue;
                }
                let row = locality.rows.get(number).copied().flatten();
                let cell =
                    row.zip(column).and_then(|(row, column)| matrix.get(row, column)).unwrap_or_default();
                let value = normalise(cell, locality.base, locality.kind, self.revision);
                let better = if locality.kind.is_latency() { value < best } else { value > best };
                if value != 0 && (best == 0 || better) {
                    best = value;
                    kept.clear();
                }
                if value == best {
                    kept.push(number);
                }
            }
            if best != 0 {
                target.coordinates.get_mut(class).set(locality.kind, best);
            }
            left = kept;
        }
        left.iter()
            .filter_map(|number| self.initiators.get(*number))
            .map(|initiator| initiator.domain)
            .collect()
    }

    /// Shows a target's classes and caches on its node (`hmat_register_target`), unless that was done or the node
    /// is not online. Tells whether the figures of processors were published.
    pub(crate) fn register(
        &mut self,
        place: usize,
        nodes: &Nodes,
        hmat: &Performance<'_>,
        notes: &mut Notes,
    ) -> bool {
        let Some(target) = self.targets.get_mut(place) else { return false };
        let (domain, source) = (target.domain, target.source);
        if target.is_port() {
            target.registered = true;
            for class in [Class::PortLocal, Class::PortCpu] {
                self.update(place, class, &nodes.domains, &nodes.has_cpu, hmat);
            }
            let fact = Fact::at(source, "proximity domain", u64::from(domain.0));
            notes.reason(Subject::Domain(domain), Reason::new(rules::ACCESS_PORT).with([fact]));
            return false;
        }
        let node = nodes.domains.node(domain).filter(|node| nodes.online.contains(*node));
        let Some(node) = node.filter(|_| !target.registered) else { return false };
        target.registered = true;
        for class in Class::SHOWN {
            let best = self.update(place, class, &nodes.domains, &nodes.has_cpu, hmat);
            let initiators: Vec<NodeId> = best
                .iter()
                .filter_map(|domain| nodes.domains.node(*domain))
                .filter(|node| nodes.online.contains(*node))
                .collect();
            self.explain(place, class, node, &best, notes);
            let coordinates = self.targets.get(place).map(|target| *target.coordinates.get(class));
            let [local, cpu] = &mut self.classes;
            let shown = if class == Class::Cpu { cpu } else { local };
            for initiator in &initiators {
                shown.entry(*initiator).or_default().targets.insert(node);
            }
            let own = shown.entry(node).or_default();
            own.initiators = initiators.into_iter().collect();
            own.coordinates = coordinates;
        }
        for cache in self.targets.get(place).map(|target| target.caches.as_slice()).unwrap_or_default() {
            self.caches.entry(node).or_default().entry(cache.level).or_insert(*cache);
        }
        true
    }

    fn explain(&self, place: usize, class: Class, node: NodeId, best: &[ProximityDomain], notes: &mut Notes) {
        let Some(target) = self.targets.get(place) else { return };
        let attached = target.attached.filter(|domain| best == [*domain]);
        let mut facts = Vec::new();
        let rule = if let Some((domain, source)) = attached.zip(target.attached_at) {
            facts.push(Fact::at(source, "attached initiator domain", u64::from(domain.0)));
            rules::ACCESS_ATTACHED
        } else if best.is_empty() || !self.any_locality {
            rules::ACCESS_NONE
        } else {
            rules::ACCESS_BEST
        };
        // Of each slot, the cell between this memory and the first initiator that remains.
        let number =
            best.first().and_then(|domain| self.initiators.binary_search_by_key(domain, |i| i.domain).ok());
        for locality in self.slots.iter().flatten().filter_map(|slot| self.localities.get(*slot)) {
            let column = locality.columns.get(place).copied().flatten();
            let row = number.and_then(|number| locality.rows.get(number).copied().flatten());
            if row.zip(column).is_some() {
                let name = locality.kind.name().unwrap_or("data type");
                let value = figure(target.coordinates.get(class), locality.kind);
                let fact = Fact::at(locality.source, name, u64::from(value));
                if !facts.contains(&fact) {
                    facts.push(fact);
                }
            }
        }
        notes.reason(Subject::Access(node, class.number()), Reason::new(rule).with(facts));
    }

    /// The figures of a generic port by the `_UID` of its host bridge, for any initiator and for processors
    /// (`acpi_get_genport_coordinates`). Memory targets come first and have `_UID` 0.
    #[must_use]
    pub fn port_coordinates(&self, uid: AcpiUid) -> Option<[Coordinates; 2]> {
        let target = self.targets.iter().find(|target| target.uid() == uid)?;
        Some([target.coordinates.port_local, target.coordinates.port_cpu])
    }

    /// The place of a domain's target.
    #[must_use]
    pub(crate) fn place(&self, domain: ProximityDomain) -> Option<usize> {
        self.by_domain.get(&domain).copied()
    }
}

/// One member of coordinates, by data type.
fn figure(coordinates: &Coordinates, kind: DataType) -> u32 {
    match kind {
        DataType::READ_LATENCY => coordinates.read_latency.0,
        DataType::ACCESS_LATENCY | DataType::WRITE_LATENCY => coordinates.write_latency.0,
        DataType::READ_BANDWIDTH => coordinates.read_bandwidth.0,
        _ => coordinates.write_bandwidth.0,
    }
}

/// The slots that a data type takes, in the order of [`Access::slots`].
const fn slots_of(kind: DataType) -> Option<&'static [usize]> {
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
