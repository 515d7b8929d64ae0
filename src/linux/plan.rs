//! What a kernel makes of a machine, as a value for people and programs.

use super::access::{NodeAccess, SideCache};
use super::block_map::{BlockId, BlockState};
use super::coordinates::Coordinates;
use super::cxl_plan::{CxlPlan, DaxPlan};
use super::demotion::Demotion;
use super::kernel::{Interleave, Kernel, MapWords, Switches, Version};
use super::locate::Places;
use super::memory_map::{MapRange, MemoryMap, PAGE};
use super::node_set::NodeSet;
use super::nodes::Description;
use super::placement::BootPlan;
use super::reason::{Notes, Reason, Section, Subject, Unknown, lacks};
use super::settings::Settings;
use super::srat::AcceptedMemory;
use super::state::{Failure, Inputs, State};
use super::tiers::TierId;
use super::zones::{Zone, ZonePages};
use crate::units::{ByteCount, Distance, NodeId, ProximityDomain};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Whether the kernel comes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does.
    Ok,
    /// It dies.
    Panic(Reason),
    /// The inputs do not tell.
    Undetermined,
}

/// The node masks of `/sys/devices/system/node`; `None` for one that the inputs do not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    /// Nodes that may ever exist.
    pub possible: NodeSet,
    /// Nodes that are there.
    pub online: NodeSet,
    /// Nodes with a started processor.
    pub has_cpu: Option<NodeSet>,
    /// Nodes with memory.
    pub has_memory: NodeSet,
    /// Nodes with memory that the kernel can use for itself.
    pub has_normal_memory: Option<NodeSet>,
    /// Nodes of generic initiators.
    pub has_generic_initiator: NodeSet,
}

/// One online node; `None` for what the inputs do not tell, or the kernel does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Its number.
    pub node: NodeId,
    /// Its proximity domain.
    pub domain: Option<ProximityDomain>,
    /// Bytes of RAM.
    pub memory: ByteCount,
    /// Its processors.
    pub cpus: Option<Vec<u32>>,
    /// The distance to each online node.
    pub distance: Option<Vec<Distance>>,
    /// Access classes 0 and 1.
    pub access: [Option<NodeAccess>; 2],
    /// Memory-side caches.
    pub caches: Vec<SideCache>,
    /// Its tier.
    pub tier: Option<TierId>,
}

/// The interleave weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightPlan {
    /// The kernel computes them; `None` where the version has no such switch.
    pub auto: Option<bool>,
    /// The weight of each node that shows one.
    pub weights: Vec<(NodeId, u8)>,
}

/// Memory blocks that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPlan {
    /// The first of them.
    pub first: BlockId,
    /// The first behind them.
    pub end: BlockId,
    /// Nodes that list them, lowest first.
    pub nodes: NodeSet,
    /// Whether they are online.
    pub online: bool,
    /// The zones that they are or can be in, as `valid_zones` lists them; empty for `none`.
    pub valid_zones: Vec<Zone>,
}

/// The memory blocks, and what rules over those to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Bytes in a block.
    pub block_size: ByteCount,
    /// The blocks, ascending.
    pub blocks: Vec<BlockPlan>,
    /// What can be set at run time.
    pub settings: Settings,
}

/// A zone with a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonePlan {
    /// Its node.
    pub node: NodeId,
    /// Which zone.
    pub zone: Zone,
    /// Its pages.
    pub pages: ZonePages,
}

/// What a kernel makes of a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which kernel.
    pub version: Version,
    /// Whether it comes up. What follows is empty where it does not get that far.
    pub outcome: Outcome,
    /// The memory map after the command line, where an option touched it.
    pub user_map: Option<Vec<MapRange>>,
    /// The memory map after all changes.
    pub memory_map: Vec<MapRange>,
    /// How this kernel's log words the types of memory.
    pub words: MapWords,
    /// What became of the description of nodes.
    pub description: Option<Description>,
    /// Memory entries that the kernel took in, as its log tells.
    pub accepted: Vec<AcceptedMemory>,
    /// The node masks.
    pub masks: Option<Masks>,
    /// The online nodes, lowest first.
    pub nodes: Vec<NodePlan>,
    /// The tiers, the fastest first.
    pub tiers: Option<BTreeMap<TierId, NodeSet>>,
    /// Where each node with memory demotes to.
    pub demotion: Option<BTreeMap<NodeId, Demotion>>,
    /// Whether this kernel's log tells demotion targets.
    pub demotion_logged: bool,
    /// The interleave weights; `None` where the inputs do not tell. A version that has none shows none.
    pub weights: Option<WeightPlan>,
    /// The memory blocks.
    pub memory: Option<MemoryPlan>,
    /// The zones with a span; `None` where the inputs do not tell, and then blocks have no `valid_zones`.
    pub zones: Option<Vec<ZonePlan>>,
    /// CXL, once its drivers are there; `None` where the inputs do not tell, too.
    pub cxl: Option<CxlPlan>,
    /// DAX devices; `None` where the inputs do not tell.
    pub devices: Option<Vec<DaxPlan>>,
    /// Demotion targets that the log told since the boot, each node's last.
    pub announced: BTreeMap<NodeId, Demotion>,
    /// Whether memory-side caches show their address mode.
    pub cache_address_mode: bool,
    /// The reference DRAM and its figures, where abstract distances come from figures.
    pub reference: Option<(NodeId, Coordinates)>,
    /// Who owns which addresses.
    pub places: Places,
    /// What the boot put where for good, where the SRAT marks memory of the boot as hot-pluggable.
    pub boot: Option<BootPlan>,
    /// What the inputs do not tell.
    pub unknown: Vec<Unknown>,
    /// Why, fact by fact.
    pub reasons: Vec<(Subject, Reason)>,
}

/// Boots a kernel on a machine and tells what it makes of it.
///
/// ```
/// use memtopo::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
/// use memtopo::linux::{Inputs, Kernel, plan};
/// use memtopo::range::AddressRange;
/// use memtopo::tables::e820::E820Type;
/// use memtopo::tables::madt::{LocalApic, MadtWriter};
/// use memtopo::tables::output::Seal;
/// use memtopo::tables::srat::{LocalApicAffinity, MemoryAffinity, MemoryFlags, SratWriter};
/// use memtopo::topology::{TableBytes, Topology};
/// use memtopo::units::{ByteCount, PhysAddr, ProximityDomain};
///
/// // One processor in domain 0; a gigabyte of memory in domain 0 and one in domain 7.
/// let mut madt = Vec::new();
/// let mut writer = MadtWriter::new(&mut madt, Default::default());
/// writer.push(&LocalApic::new(0, 0));
/// writer.finish(Seal::Fill)?;
/// let mut srat = Vec::new();
/// let mut writer = SratWriter::new(&mut srat, Default::default());
/// writer.push(&LocalApicAffinity::new(ProximityDomain(0), 0));
/// for (domain, base) in [(0, 0), (7, 1 << 30)] {
///     let (domain, base) = (ProximityDomain(domain), PhysAddr(base));
///     writer.push(&MemoryAffinity::new(domain, base, ByteCount(1 << 30), MemoryFlags::ENABLED));
/// }
/// writer.finish(Seal::Fill)?;
///
/// let topology = Topology::read([TableBytes::copy(&madt)?, TableBytes::copy(&srat)?]);
/// let ram = AddressRange::new(PhysAddr(0), PhysAddr(2 << 30));
/// let entry = MapEntry { range: ram, kind: MapKind::E820(E820Type::RAM), place: 0 };
/// let memory_map = FirmwareMap { form: MapForm::E820Entries, entries: vec![entry] };
/// let plan = plan(Inputs { topology: &topology, memory_map: &memory_map, memory_devices: &[], kernel: &Kernel::default() });
///
/// let masks = plan.masks.unwrap();
/// assert_eq!(masks.has_memory.to_string(), "0-1");
/// assert_eq!(masks.has_cpu.unwrap().to_string(), "0");
/// assert_eq!(plan.nodes[1].domain, Some(ProximityDomain(7)));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[must_use]
pub fn plan(inputs: Inputs<'_>) -> Plan {
    let kernel = inputs.kernel;
    match State::boot(inputs) {
        Ok(state) => state.into_plan(),
        Err(failure) => Plan::of_failure(*failure, kernel),
    }
}

impl Plan {
    fn empty(kernel: &Kernel, map: Option<MemoryMap>, notes: Notes) -> Self {
        let map = map.unwrap_or_default();
        let Switches { memory_map_words, demotion_log, cache_address_mode, .. } = kernel.switches;
        Self {
            version: kernel.version,
            outcome: Outcome::Ok,
            user_map: map.user,
            memory_map: map.table,
            words: memory_map_words,
            description: None,
            accepted: Vec::new(),
            masks: None,
            nodes: Vec::new(),
            tiers: None,
            demotion: None,
            demotion_logged: demotion_log,
            weights: None,
            memory: None,
            zones: None,
            cxl: None,
            devices: None,
            announced: BTreeMap::new(),
            cache_address_mode,
            reference: None,
            places: Places::default(),
            boot: None,
            unknown: notes.unknown,
            reasons: notes.reasons,
        }
    }

    fn of_failure(failure: Failure, kernel: &Kernel) -> Self {
        let outcome = failure.panic.map_or(Outcome::Undetermined, Outcome::Panic);
        let mut plan = Self::empty(kernel, failure.memory_map, failure.notes);
        if let Outcome::Panic(reason) = &outcome {
            plan.reasons.push((Subject::Outcome, reason.clone()));
        }
        Self { outcome, accepted: failure.accepted, description: failure.description, ..plan }
    }

    /// Why a fact is as it is.
    pub fn reasons_for(&self, subject: Subject) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(move |(known, _)| *known == subject).map(|(_, reason)| reason)
    }
}

impl State<'_> {
    /// The state as a plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.with_notes(self.memory_map.clone(), self.notes.clone())
    }

    /// The state as a plan, where nothing else is wanted of it.
    #[must_use]
    pub fn into_plan(mut self) -> Plan {
        let (map, notes) = (core::mem::take(&mut self.memory_map), core::mem::take(&mut self.notes));
        self.with_notes(map, notes)
    }

    fn with_notes(&self, map: MemoryMap, notes: Notes) -> Plan {
        let nodes = &self.nodes;
        let mut notes = notes;
        let cxl = if notes.lacks(Section::Cxl) { None } else { self.cxl_plan() };
        for missing in cxl.iter().flat_map(|cxl| cxl.performance.untold()) {
            notes.missing(Section::CxlPerformance, missing);
        }
        let plan = Plan::empty(self.kernel, Some(map), notes);
        let told = |section| !lacks(&plan.unknown, section);
        let online: Vec<NodeId> = nodes.online.iter().collect();
        let node_plan = |node: NodeId| NodePlan {
            node,
            domain: nodes.domains.domain(node),
            memory: ByteCount(self.zones.present(node).saturating_mul(PAGE)),
            cpus: (told(Section::Cpus) && told(Section::CpuNumbers))
                .then(|| nodes.cpu_lists.get(&node).cloned().unwrap_or_default()),
            distance: told(Section::Distances)
                .then(|| nodes.distances.row(node))
                .map(|row| online.iter().map(|other| row.get(*other)).collect()),
            access: {
                let [local, cpu] = &self.access.classes;
                [
                    local.get(&node).filter(|_| told(Section::Access0)).cloned(),
                    cpu.get(&node).filter(|_| told(Section::Access1)).cloned(),
                ]
            },
            caches: self
                .access
                .caches
                .get(&node)
                .filter(|_| told(Section::Caches))
                .map(|caches| caches.values().copied().collect())
                .unwrap_or_default(),
            tier: self
                .tiers
                .distance
                .get(&node)
                .filter(|_| told(Section::Tiers) && nodes.has_memory.contains(node))
                .map(|distance| distance.tier()),
        };
        // By hand or not at all: nothing that is missing can change the weights.
        let computed = self.kernel.switches.interleave == Interleave::FromBandwidth;
        let weights = !computed || told(Section::Interleave);
        Plan {
            description: Some(nodes.description),
            accepted: nodes.accepted.clone(),
            masks: Some(Masks {
                possible: nodes.possible.clone(),
                online: nodes.online.clone(),
                has_cpu: told(Section::Cpus).then(|| nodes.has_cpu.clone()),
                has_memory: nodes.has_memory.clone(),
                has_normal_memory: told(Section::NormalMemory).then(|| nodes.has_normal_memory.clone()),
                has_generic_initiator: nodes.has_generic_initiator.clone(),
            }),
            nodes: online.iter().copied().map(node_plan).collect(),
            tiers: told(Section::Tiers).then(|| self.tiers.tiers.clone()),
            demotion: told(Section::Demotion).then(|| self.tiers.demotion.clone()),
            weights: weights
                .then(|| WeightPlan { auto: self.weights.auto, weights: self.weights.iter().collect() }),
            reference: self.tiers.reference,
            places: Places::of(self),
            boot: self.boot_plan(),
            memory: Some(MemoryPlan {
                block_size: self.blocks.size,
                blocks: self.block_plan(),
                settings: self.settings,
            }),
            zones: told(Section::MovableZones).then(|| {
                let zones = self.zones.iter();
                zones.map(|(node, zone, pages)| ZonePlan { node, zone, pages: *pages }).collect()
            }),
            cxl,
            devices: told(Section::Devices).then(|| self.dax_plan()),
            announced: self.announced.clone(),
            ..plan
        }
    }

    /// The blocks, cut where the zones that they can be in change.
    fn block_plan(&self) -> Vec<BlockPlan> {
        let mut plan: Vec<BlockPlan> = Vec::new();
        for (first, run) in self.blocks.iter() {
            let offline = run.state == BlockState::Offline;
            let mut at = first;
            while at < run.end {
                let end = if offline { self.next_border(run, at, run.end) } else { run.end };
                let (nodes, valid_zones) = (run.nodes.iter().copied().collect(), self.valid_zones(at, run));
                plan.push(BlockPlan { first: at, end, nodes, online: !offline, valid_zones });
                at = end;
            }
        }
        plan
    }
}
