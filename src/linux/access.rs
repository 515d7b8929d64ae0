//! Access classes: which initiators reach a node's memory best, and how fast (`drivers/acpi/numa/hmat.c`).

use super::coordinates::{ByClass, Class, Coordinates, normalise};
use super::domains::DomainMap;
use super::first_round::FirstRound;
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::quirks::{Quirk, Quirks};
use super::reason::{Fact, Notes, Reason, Subject};
use super::rules;
use crate::range::AddressRange;
use crate::tables::hmat::DataType;
use crate::topology::Source;
use crate::topology::performance::{Content, Performance};
use crate::units::{AcpiUid, ByteCount, EntryBaseUnit, NodeId, ProximityDomain};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

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
    pub(super) attached_at: Option<Source>,
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
pub(super) struct Locality {
    /// Its place among the structures of the HMAT.
    pub(super) entry: usize,
    pub(super) kind: DataType,
    pub(super) base: EntryBaseUnit,
    /// Where its first cell stands.
    pub(super) cells: Source,
    /// Cells in a row.
    pub(super) width: usize,
    /// The row of each initiator, in the order of [`Access::initiators`].
    pub(super) rows: Vec<Option<usize>>,
    /// The column of each target, in the order of [`Access::targets`].
    pub(super) columns: Vec<Option<usize>>,
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
    pub(super) quirks: Quirks,
    pub(super) revision: u8,
    /// Domains with memory, then generic ports, in SRAT order.
    pub targets: Vec<Target>,
    /// Initiators, by domain.
    pub initiators: Vec<Initiator>,
    /// Any structure is about the memory itself.
    pub(super) any_locality: bool,
    /// The matrices for write latency, read latency, write bandwidth, read bandwidth.
    pub(super) slots: [Option<usize>; 4],
    pub(super) localities: Vec<Locality>,
    /// The first round over the first matrix, once it was needed.
    pub(super) first_rounds: Option<[FirstRound; 2]>,
    /// Class 0 and 1 of nodes that show any.
    pub classes: [BTreeMap<NodeId, NodeAccess>; 2],
    /// Memory-side caches of nodes, by level.
    pub caches: BTreeMap<NodeId, BTreeMap<u32, SideCache>>,
    /// Places in [`targets`](Self::targets) by domain.
    pub(super) by_domain: BTreeMap<ProximityDomain, usize>,
}

impl Access {
    /// The target of a domain.
    #[must_use]
    pub fn target(&self, domain: ProximityDomain) -> Option<&Target> {
        self.targets.get(*self.by_domain.get(&domain)?)
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
        let mut slots: Vec<usize> = self.slots.iter().flatten().copied().collect();
        // Asking the same matrix twice in a row changes nothing.
        slots.dedup();
        let Some((locality, more)) =
            slots.split_first().and_then(|(first, more)| Some((self.localities.get(*first)?, more)))
        else {
            return self.initiators.iter().map(|initiator| initiator.domain).collect();
        };
        if self.first_rounds.is_none() {
            self.first_rounds = Some(self.first_rounds(locality, hmat));
        }
        let Some([all, with_cpu]) = &self.first_rounds else { return Vec::new() };
        let first = if class.needs_cpu() { with_cpu } else { all };
        let mut left = first.left.get(place).cloned().unwrap_or_default();
        let best = first.best.get(place).copied().unwrap_or_default();
        let Some(target) = self.targets.get_mut(place) else { return Vec::new() };
        if best != 0 {
            target.coordinates.get_mut(class).set(locality.kind, best);
        }
        for locality in more.iter().copied().filter_map(|slot| self.localities.get(slot)) {
            let Some(Content::Locality(_, matrix)) =
                hmat.entries.get(locality.entry).map(|entry| &entry.content)
            else {
                continue;
            };
            let column = locality.columns.get(place).copied().flatten();
            let mut best = 0;
            let mut kept = Vec::with_capacity(left.len());
            for number in left {
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

    /// A node that is not there any more shows nothing. Others still name it, and when it comes back it shows nothing
    /// either, as its domain stays registered (`drivers/base/node.c: unregister_node`).
    pub(crate) fn forget(&mut self, node: NodeId) {
        for class in &mut self.classes {
            class.remove(&node);
        }
        self.caches.remove(&node);
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
        let memory_too = !target.ranges.is_empty() && !self.quirks.has(Quirk::PortHidesMemory);
        if target.is_port() {
            for class in [Class::PortLocal, Class::PortCpu] {
                self.update(place, class, &nodes.domains, &nodes.has_cpu, hmat);
            }
        }
        let Some(target) = self.targets.get_mut(place) else { return false };
        if target.is_port() && !memory_too {
            target.registered = true;
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
            self.explain(place, class, node, &best, hmat, notes);
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

    /// The figures of a generic port by the `_UID` of its host bridge, for any initiator and for processors
    /// (`acpi_get_genport_coordinates`). Memory targets come first and have `_UID` 0.
    #[must_use]
    pub fn port_coordinates(&self, uid: AcpiUid) -> Option<[Coordinates; 2]> {
        let target = self.port_target(uid)?;
        Some([target.coordinates.port_local, target.coordinates.port_cpu])
    }

    /// The target that the kernel takes for the generic port of a host bridge.
    pub(crate) fn port_target(&self, uid: AcpiUid) -> Option<&Target> {
        let any = self.quirks.has(Quirk::PortByUid);
        self.targets.iter().find(|target| target.uid() == uid && (any || target.is_port()))
    }

    /// The place of a domain's target.
    #[must_use]
    pub(crate) fn place(&self, domain: ProximityDomain) -> Option<usize> {
        self.by_domain.get(&domain).copied()
    }
}
