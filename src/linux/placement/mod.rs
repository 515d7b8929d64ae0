//! Where a booting kernel puts what it never gives back, and what that costs memory that is meant to be removable
//! (x86: `arch/x86/kernel/setup.c: setup_arch`, `mm/numa_memblks.c`, `mm/sparse.c`, `mm/percpu.c`).
//!
//! Before the SRAT is read the kernel does not know which memory is hot-pluggable. What is taken by then is there for
//! good; with `movable_node` one such piece makes the kernel give up a whole node ([`findings`]).

mod before_nodes;
mod direct_map;
pub mod findings;
pub mod loader;
mod memblock;
pub mod sizes;

use self::memblock::{Memblock, Region, Request};
use super::kernel::Kernel;
use super::memory_map::{MemoryMap, PAGE};
use super::movable;
use super::node_set::NodeSet;
use super::nodes::Nodes;
use super::ranges::{self, Piece};
use crate::range::AddressRange;
use crate::units::{ByteCount, NodeId, PhysAddr, widen};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Bytes in a section, and of the page structures of one.
const SECTION: u64 = 128 << 20;
const OF_SECTION: u64 = 2 << 20;
/// First address that ISA devices cannot reach; page structures and per-processor memory keep above it.
const ABOVE_ISA: PhysAddr = PhysAddr(16 << 20);
/// First address that 32-bit devices cannot reach.
const FOUR_GIB: PhysAddr = PhysAddr(4 << 30);

/// Who put something into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Owner {
    /// The first megabyte, which the kernel never uses for anything else.
    FirstMegabyte,
    /// The boot loader, or the kernel's decompressor: the kernel image.
    KernelImage,
    /// The boot loader: the initrd.
    Initrd,
    /// Firmware: ACPI tables.
    Tables,
    /// Firmware or the command line: memory left to drivers.
    SoftReserved,
    /// Somebody: a reservation that was given without a name.
    Given,
    /// The kernel: page tables of the direct map.
    PageTables,
    /// The kernel: a larger log (`log_buf_len=`).
    Log,
    /// The kernel: the table of node distances.
    Distances,
    /// The kernel: the data of a node.
    NodeData(NodeId),
    /// The kernel: small things that are needed throughout, such as copies of the memory map.
    BootData,
    /// The kernel: page structures of a node's memory.
    PageStructures(NodeId),
    /// The kernel: per-processor memory of a node.
    PerCpu(NodeId),
    /// The kernel: bounce buffers for devices that cannot reach all memory.
    BounceBuffers,
}

impl Owner {
    /// Its name without a node, for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstMegabyte => "first_megabyte",
            Self::KernelImage => "kernel_image",
            Self::Initrd => "initrd",
            Self::Tables => "acpi_tables",
            Self::SoftReserved => "soft_reserved",
            Self::Given => "given",
            Self::PageTables => "page_tables",
            Self::Log => "log",
            Self::Distances => "distances",
            Self::NodeData(_) => "node_data",
            Self::BootData => "boot_data",
            Self::PageStructures(_) => "page_structures",
            Self::PerCpu(_) => "per_cpu",
            Self::BounceBuffers => "bounce_buffers",
        }
    }

    /// The node whose it is, which need not be the one where it lies.
    #[must_use]
    pub const fn node(self) -> Option<NodeId> {
        match self {
            Self::NodeData(node) | Self::PageStructures(node) | Self::PerCpu(node) => Some(node),
            _ => None,
        }
    }
}

/// Prints who put what.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstMegabyte => f.write_str("the kernel keeps the first megabyte"),
            Self::KernelImage => f.write_str("the boot loader put the kernel image"),
            Self::Initrd => f.write_str("the boot loader put the initrd"),
            Self::Tables => f.write_str("firmware put ACPI tables"),
            Self::SoftReserved => f.write_str("firmware or the command line keeps soft-reserved memory"),
            Self::Given => f.write_str("a reservation was given"),
            Self::PageTables => f.write_str("the kernel put page tables of the direct map"),
            Self::Log => f.write_str("the kernel put its log"),
            Self::Distances => f.write_str("the kernel put the table of node distances"),
            Self::NodeData(node) => write!(f, "the kernel put the data of node {node}"),
            Self::BootData => f.write_str("the kernel put boot data"),
            Self::PageStructures(node) => write!(f, "the kernel put page structures of node {node}"),
            Self::PerCpu(node) => write!(f, "the kernel put per-processor memory of node {node}"),
            Self::BounceBuffers => f.write_str("the kernel put bounce buffers"),
        }
    }
}

/// Something that is never given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Who put it there.
    pub owner: Owner,
    /// Where.
    pub ranges: Vec<AddressRange>,
    /// It was there before the kernel knew any node.
    pub early: bool,
}

impl Reservation {
    /// What it takes.
    #[must_use]
    pub fn size(&self) -> ByteCount {
        ByteCount(self.ranges.iter().map(|range| range.size().0).fold(0, u64::saturating_add))
    }

    /// The nodes whose RAM it lies in.
    #[must_use]
    pub fn nodes(&self, pieces: &[Piece]) -> NodeSet {
        let inside = |piece: &&Piece| self.ranges.iter().any(|range| range.overlaps(&piece.range));
        pieces.iter().filter(inside).filter_map(|piece| piece.node).collect()
    }
}

/// What a booting kernel put where.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Placement {
    /// In the order in which it did.
    pub reservations: Vec<Reservation>,
    /// What the inputs do not tell, and what hangs on it.
    pub unknown: Vec<String>,
}

/// A reservation as a plan shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is.
    pub reservation: Reservation,
    /// The nodes whose RAM it lies in.
    pub nodes: NodeSet,
    /// Whether the inputs tell its addresses.
    pub told: bool,
}

/// What a boot put where for good, as a plan shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPlan {
    /// All that is never given back, in the order in which it was taken.
    pub reservations: Vec<Kept>,
    /// What the inputs do not tell, and what hangs on it.
    pub unknown: Vec<String>,
    /// What lies in hot-pluggable memory.
    pub findings: Vec<findings::Finding>,
}

/// A kernel that does otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Trial {
    /// It was told `movable_node`.
    pub(crate) movable_node: bool,
    /// It reads the SRAT before it takes any memory itself.
    pub(crate) srat_first: bool,
}

/// Nodes that hold anything before they are known, and lose their movable zone by it.
pub(crate) fn lost_nodes(nodes: &Nodes, map: &MemoryMap, kernel: &Kernel) -> NodeSet {
    let mut boot = Boot::new(nodes, map, kernel, Trial::default());
    boot.before_nodes(map);
    boot.distances(nodes);
    findings::kernel_nodes(nodes, &boot.placement.reservations)
}

impl Placement {
    /// Lets the boot allocator run on a machine.
    #[must_use]
    pub fn new(nodes: &Nodes, map: &MemoryMap, kernel: &Kernel) -> Self {
        Self::with(nodes, map, kernel, Trial::default())
    }

    /// The same for a kernel that does otherwise.
    pub(crate) fn with(nodes: &Nodes, map: &MemoryMap, kernel: &Kernel, trial: Trial) -> Self {
        let mut boot = Boot::new(nodes, map, kernel, trial);
        boot.before_nodes(map);
        boot.distances(nodes);
        boot.learn_hot_pluggable(nodes);
        boot.node_data(nodes);
        boot.take(Owner::BootData, &Request::new(36 << 10, 64), false);
        boot.page_structures(nodes);
        boot.per_cpu(nodes);
        boot.bounce_buffers(nodes);
        boot.placement
    }

    /// What belongs to an owner.
    #[must_use]
    pub fn of(&self, owner: Owner) -> Option<&Reservation> {
        self.reservations.iter().find(|reservation| reservation.owner == owner)
    }

    /// Whether anything lies in a range.
    #[must_use]
    pub fn holds(&self, range: &AddressRange) -> bool {
        let mut ranges = self.reservations.iter().flat_map(|reservation| &reservation.ranges);
        ranges.any(|kept| kept.overlaps(range))
    }

    /// Whether the inputs tell where something lies: as given, or because nothing is missing that could be in its way.
    #[must_use]
    pub fn tells(&self, reservation: &Reservation) -> bool {
        let given = matches!(
            reservation.owner,
            Owner::FirstMegabyte
                | Owner::KernelImage
                | Owner::Initrd
                | Owner::Tables
                | Owner::SoftReserved
                | Owner::Given
        );
        given || self.unknown.is_empty()
    }

    /// The nodes on which something of this owner lies.
    #[must_use]
    pub fn nodes_of(&self, owner: Owner, pieces: &[Piece]) -> NodeSet {
        self.of(owner).map(|reservation| reservation.nodes(pieces)).unwrap_or_default()
    }
}

/// A boot in progress.
struct Boot<'k> {
    kernel: &'k Kernel,
    movable_node: bool,
    memblock: Memblock,
    placement: Placement,
}

impl<'k> Boot<'k> {
    fn new(nodes: &Nodes, map: &MemoryMap, kernel: &'k Kernel, trial: Trial) -> Self {
        let mirror = movable::mirrored(map, kernel);
        let mut memory = Vec::new();
        // Here a region may end inside a page.
        for piece in &ranges::regions(&nodes.ranges, map) {
            let mut cuts = Vec::from([piece.range.start, piece.range.end]);
            let mirrored: &[AddressRange] = if mirror { &map.mirrored } else { &[] };
            let inside = |at: &PhysAddr| piece.range.start < *at && *at < piece.range.end;
            let edges = nodes.hot_pluggable.iter().chain(mirrored).flat_map(|range| [range.start, range.end]);
            cuts.extend(edges.filter(inside));
            cuts.sort_unstable();
            cuts.dedup();
            for (start, end) in cuts.iter().zip(cuts.iter().skip(1)) {
                let range = AddressRange::new(*start, *end);
                let hot_pluggable = nodes.hot_pluggable.iter().any(|hot| hot.overlaps(&range));
                let mirrored = mirrored.iter().any(|mirrored| mirrored.overlaps(&range));
                memory.push(Region { range, node: piece.node, hot_pluggable, mirrored });
            }
        }
        let movable_node = kernel.command_line.movable_node || trial.movable_node;
        let memblock = Memblock {
            memory,
            bottom_up: movable_node && !trial.srat_first,
            // The marks come with the SRAT.
            spare_hot_pluggable: movable_node && trial.srat_first,
            mirrored_first: mirror,
            ..Memblock::default()
        };
        Self { kernel, movable_node, memblock, placement: Placement::default() }
    }

    /// Takes one piece; where it is.
    fn take(&mut self, owner: Owner, request: &Request, early: bool) -> Option<AddressRange> {
        let range = self.memblock.allocate(request)?;
        self.note(owner, [range], early);
        Some(range)
    }

    /// Notes what was taken.
    fn note(&mut self, owner: Owner, ranges: impl IntoIterator<Item = AddressRange>, early: bool) {
        let known = self.placement.reservations.iter_mut().find(|known| known.owner == owner);
        match known {
            Some(known) => known.ranges.extend(ranges),
            None => {
                let ranges = ranges.into_iter().collect();
                self.placement.reservations.push(Reservation { owner, ranges, early });
            }
        }
    }

    /// The table of node distances, between the SRAT's memory and the end of its evaluation.
    fn distances(&mut self, nodes: &Nodes) {
        let size = widen(nodes.distances.size());
        self.memblock.spare_hot_pluggable = self.movable_node;
        if size > 0 {
            self.take(Owner::Distances, &Request::new(size.saturating_mul(size), PAGE), true);
        }
    }

    /// The SRAT is read: with `movable_node`, hot-pluggable memory is spared from now on, but for nodes that hold
    /// anything already.
    fn learn_hot_pluggable(&mut self, nodes: &Nodes) {
        let lost = findings::kernel_nodes(nodes, &self.placement.reservations);
        for region in &mut self.memblock.memory {
            if region.node.is_some_and(|node| lost.contains(node)) {
                region.hot_pluggable = false;
            }
        }
        self.memblock.bottom_up = false;
    }

    /// The data of each node (`alloc_node_data`), and of nodes without memory wherever there is room.
    fn node_data(&mut self, nodes: &Nodes) {
        let size = sizes::BootSizes::of(self.kernel.version).node_data.0;
        for node in nodes.has_memory.iter() {
            self.take(Owner::NodeData(node), &Request::new(size, 64).near(node), false);
        }
        for node in nodes.possible.difference(&nodes.has_memory).iter() {
            self.take(Owner::NodeData(node), &Request::new(size, 64), false);
        }
    }

    /// Page structures, section by section, near the node of the first memory of each (`sparse_init_nid`).
    fn page_structures(&mut self, nodes: &Nodes) {
        for (node, sections) in sections(&nodes.pieces) {
            let request = Request { from: ABOVE_ISA, ..Request::new(OF_SECTION, OF_SECTION).near(node) };
            let mut ranges = Vec::new();
            if self.kernel.switches.memmap_buffer {
                let size = ByteCount(sections.saturating_mul(OF_SECTION));
                ranges.extend(self.memblock.allocate(&Request { size, exact: true, ..request }));
            }
            if ranges.is_empty() {
                ranges = self.memblock.allocate_many(&request, sections);
            }
            self.note(Owner::PageStructures(node), ranges, false);
        }
    }

    /// Per-processor memory, in pieces of 2 MiB for as many processors of a node as fit. What a processor does not
    /// need of its part is given back (`pcpu_embed_first_chunk`).
    fn per_cpu(&mut self, nodes: &Nodes) {
        let size = sizes::BootSizes::of(self.kernel.version).per_cpu.0.max(1);
        let fit = OF_SECTION.checked_div(size).unwrap_or_default();
        let per_piece = 1_u64.checked_shl(fit.checked_ilog2().unwrap_or_default()).unwrap_or(1);
        let part = OF_SECTION.checked_div(per_piece).unwrap_or(OF_SECTION);
        let mut cpus: BTreeMap<NodeId, u64> = BTreeMap::new();
        for node in nodes.cpus.iter().filter_map(|cpu| cpu.early_node) {
            let count = cpus.entry(node).or_default();
            *count = count.saturating_add(1);
        }
        for (node, mut count) in cpus {
            let request = Request { from: ABOVE_ISA, ..Request::new(OF_SECTION, OF_SECTION).near(node) };
            let mut kept = Vec::new();
            for piece in self.memblock.allocate_many(&request, count.div_ceil(per_piece)) {
                let mut at = piece.start;
                while at < piece.end && count > 0 {
                    kept.extend(AddressRange::from_base_size(at, ByteCount(size)));
                    at = PhysAddr(at.0.saturating_add(part));
                    count = count.saturating_sub(1);
                }
            }
            self.note(Owner::PerCpu(node), kept, false);
        }
    }

    /// 64 MiB below 4 GiB, where any memory may ever be above (`swiotlb_init`).
    fn bounce_buffers(&mut self, nodes: &Nodes) {
        let described = nodes.ranges.iter().chain(&nodes.reserved).map(|entry| entry.range.end);
        let end = described.chain(nodes.pieces.last().map(|piece| piece.range.end)).max();
        if end > Some(FOUR_GIB) {
            let request = Request { below: FOUR_GIB, ..Request::new(64 << 20, PAGE) };
            self.take(Owner::BounceBuffers, &request, false);
        }
    }

    fn missing(&mut self, what: &str, consequence: &str) {
        self.placement.unknown.push(format!("{what}: {consequence}"));
    }
}

/// Sections of memory by the node of the first memory in each, in the order of addresses.
fn sections(pieces: &[Piece]) -> Vec<(NodeId, u64)> {
    let mut counts: Vec<(NodeId, u64)> = Vec::new();
    let mut reached = 0_u64;
    for piece in pieces {
        let Some(node) = piece.node else { continue };
        let first = piece.range.start.0.checked_div(SECTION).unwrap_or_default().max(reached);
        let end = piece.range.end.0.div_ceil(SECTION);
        let count = end.saturating_sub(first);
        if count == 0 {
            continue;
        }
        reached = end;
        match counts.last_mut() {
            Some((last, known)) if *last == node => *known = known.saturating_add(count),
            _ => counts.push((node, count)),
        }
    }
    counts
}

/// Blocks of a size that ranges touch, as numbers.
fn touched(ranges: &[AddressRange], block: ByteCount) -> BTreeSet<(u64, u64)> {
    let number = |at: u64| at.checked_div(block.0).unwrap_or_default();
    let last = |range: &AddressRange| number(range.end.0.saturating_sub(1)).saturating_add(1);
    ranges.iter().map(|range| (number(range.start.0), last(range))).collect()
}
