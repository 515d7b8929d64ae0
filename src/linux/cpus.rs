//! Which processors there are, in which order they are numbered, and on which node each is (x86:
//! `arch/x86/kernel/cpu/topology.c`, `arch/x86/mm/numa.c`, `arch/x86/kernel/cpu/amd.c`).

use super::kernel::{CpuVendor, Kernel};
use super::node_set::NodeSet;
use crate::tables::madt::ApicFlags;
use crate::topology::Topology;
use crate::topology::processors::Processor;
use crate::units::{ApicId, NodeId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The largest APIC id that can be used without x2APIC mode.
const MAX_XAPIC_ID: u32 = 254;

/// One logical processor; its number is its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its APIC id; `None` for the only processor of a machine without a MADT.
    pub apic_id: Option<ApicId>,
    /// Whether the boot starts it.
    pub started: bool,
    /// Its node; `None` when the inputs do not tell.
    pub node: Option<NodeId>,
    /// How its node was found.
    pub placement: Placement,
    /// The node that it counts for before it is started: that of the SRAT, or one dealt out in turn.
    pub early_node: Option<NodeId>,
}

/// How the node of a processor was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// By the SRAT.
    Srat,
    /// Dealt out in turn, or the only node there is.
    RoundRobin,
    /// By its last-level cache or a neighbour.
    Cache,
}

/// Whether the machine runs in x2APIC mode: as told, or because the MADT has processors that need it. `None`
/// when neither says so.
#[must_use]
pub fn x2apic_mode(topology: &Topology<'_>, kernel: &Kernel) -> Option<bool> {
    let needs = |processor: &Processor| {
        processor.x2apic
            && processor.flags.contains(ApicFlags::ENABLED)
            && processor.apic_id.0 > MAX_XAPIC_ID
            && processor.apic_id.0 != u32::MAX
    };
    let needed = topology.processors.as_ref().is_some_and(|madt| madt.entries.iter().any(needs));
    kernel.platform.x2apic.or(needed.then_some(true))
}

/// The largest APIC id that the kernel's APIC driver takes.
#[must_use]
pub const fn max_apic_id(x2apic: bool) -> u32 {
    if x2apic { u32::MAX } else { MAX_XAPIC_ID }
}

/// The possible processors by APIC id, in the order of their logical numbers.
#[must_use]
pub fn possible(topology: &Topology<'_>, kernel: &Kernel) -> Vec<Option<ApicId>> {
    let madt = topology.processors.as_ref().filter(|_| !kernel.command_line.acpi_off);
    let Some(madt) = madt else {
        return Vec::from([kernel.platform.boot_apic_id]);
    };
    let max = max_apic_id(x2apic_mode(topology, kernel).unwrap_or(false));
    let usable = |processor: &&Processor| {
        let none = if processor.x2apic { u32::MAX } else { 0xff };
        processor.flags.contains(ApicFlags::ENABLED)
            && processor.apic_id.0 != none
            && processor.apic_id.0 <= max
    };
    let by_local_apic = madt.entries.iter().filter(usable).any(|processor| !processor.x2apic);
    let ids = madt.entries.iter().filter(usable).filter(|processor| {
        // Firmware may list small ids both ways; the kernel then takes the local APIC structures.
        !(processor.x2apic && by_local_apic && processor.apic_id.0 < 0xff)
    });
    let mut seen = BTreeSet::new();
    let mut order: Vec<ApicId> =
        ids.map(|processor| processor.apic_id).filter(|id| seen.insert(*id)).collect();
    if let Some(boot) = kernel.platform.boot_apic_id {
        order.retain(|id| *id != boot);
        order.insert(0, boot);
    }
    let limit = kernel.command_line.possible_cpus.unwrap_or(u32::MAX);
    order.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut order: Vec<Option<ApicId>> = order.into_iter().map(Some).collect();
    if order.is_empty() {
        order.push(kernel.platform.boot_apic_id);
    }
    order
}

/// Puts every processor on its node. `with_ram` are the nodes that own RAM, `online` those and the nodes of
/// processors and initiators.
#[must_use]
pub fn place(
    order: &[Option<ApicId>],
    by_srat: &BTreeMap<ApicId, NodeId>,
    with_ram: &NodeSet,
    online: &NodeSet,
    kernel: &Kernel,
) -> Vec<Cpu> {
    let in_turn: Vec<NodeId> = with_ram.iter().collect();
    let started = usize::try_from(kernel.command_line.started_cpus.unwrap_or(u32::MAX)).unwrap_or(usize::MAX);
    let only = online.first().filter(|_| online.len() == 1);
    let place_one = |(number, apic_id): (usize, &Option<ApicId>)| {
        let described = apic_id.and_then(|id| by_srat.get(&id).copied());
        let dealt = number.checked_rem(in_turn.len()).and_then(|turn| in_turn.get(turn).copied());
        let (node, placement) = match (described, only, kernel.platform.cpu_vendor) {
            (Some(node), _, _) => (Some(node), Placement::Srat),
            (None, Some(node), _) => (Some(node), Placement::RoundRobin),
            (None, None, Some(CpuVendor::Intel)) => (dealt, Placement::RoundRobin),
            (None, None, Some(CpuVendor::Amd)) => {
                (by_cache(*apic_id, by_srat, online, kernel), Placement::Cache)
            }
            (None, None, None) => (None, Placement::Cache),
        };
        let early_node = described.or(dealt);
        Cpu { apic_id: *apic_id, started: number < started, node, placement, early_node }
    };
    order.iter().enumerate().map(place_one).collect()
}

/// `arch/x86/kernel/cpu/amd.c: srat_detect_node`.
fn by_cache(
    apic_id: Option<ApicId>,
    by_srat: &BTreeMap<ApicId, NodeId>,
    online: &NodeSet,
    kernel: &Kernel,
) -> Option<NodeId> {
    let apic_id = apic_id?;
    let listed = kernel.platform.cache_ids.iter().find(|(id, _)| *id == apic_id);
    let cache = listed.map_or(0, |(_, cache)| *cache);
    if online.contains(NodeId(cache)) {
        return Some(NodeId(cache));
    }
    let is_online = |(_, node): &(&ApicId, &NodeId)| online.contains(**node);
    let below = by_srat.range(..apic_id).rev().find(is_online);
    let neighbour = below.or_else(|| by_srat.range(apic_id..).find(is_online));
    neighbour.map(|(_, node)| *node).or_else(|| online.first())
}
