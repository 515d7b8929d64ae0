//! What of the memory can go again, in which order, and what a failure leaves behind (`drivers/base/memory.c:
//! memory_block_offline`, `mm/memory_hotplug.c: offline_pages, try_remove_memory`, `drivers/acpi/scan.c:
//! acpi_scan_hot_remove`, `drivers/dax/kmem.c: dev_dax_kmem_remove`).

use super::added::AddedMemory;
use super::block_map::{BlockId, BlockState, GroupId, Run};
use super::events::{Errno, Event, Given};
use super::memmap::Home;
use super::node_set::NodeSet;
use super::reason::Rule;
use super::rules;
use super::state::State;
use super::zones::Zone;
use crate::range::AddressRange;
use crate::units::PhysAddr;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// What comes of taking a block offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is offline.
    Offline,
    /// All its pages can be moved elsewhere, as long as nobody pins one and there is room.
    Goes,
    /// It is kernel memory: it hangs on what the running kernel has put there.
    KernelPages,
    /// The kernel refuses it.
    Refused(Errno, Rule),
}

/// Blocks of one fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFate {
    /// The first of them.
    pub first: BlockId,
    /// The first behind them.
    pub end: BlockId,
    /// What they are.
    pub run: Run,
    /// What comes of it.
    pub fate: Fate,
}

/// What memory holds that belongs to other memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// Its page structures.
    PageStructures,
    /// Page tables that map it or its page structures: a few pages.
    PageTables,
}

/// Added memory in a kernel zone that may hold what belongs to memory that was added after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The memory that may hold it.
    pub group: GroupId,
    /// What.
    pub holds: Holds,
    /// There was no other kernel memory on that node, so it does unless the node was full.
    pub only: bool,
}

/// Two devices of which one has to be removed, not only taken offline, before the other can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The one that goes first.
    pub first: GroupId,
    /// Where something of it lives.
    pub then: Host,
}

impl Tie {
    /// Whether page structures are what ties them, not only a page table.
    #[must_use]
    pub fn holds_structures(&self) -> bool {
        self.then.holds == Holds::PageStructures
    }
}

/// An order in which devices can be removed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Order {
    /// The wanted devices: what was added last goes first.
    pub wanted: Vec<GroupId>,
    /// Devices that nobody wants to remove, but page structures of which may live in a wanted one.
    pub in_the_way: Vec<GroupId>,
    /// Why.
    pub ties: Vec<Tie>,
}

/// Blocks that change their zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rezoned {
    /// Their addresses.
    pub range: AddressRange,
    /// The zone that they are in.
    pub from: Zone,
    /// The zone that they will be in; `None` for offline.
    pub to: Option<Zone>,
}

impl State<'_> {
    /// What comes of taking a block offline.
    #[must_use]
    pub fn fate(&self, block: BlockId, run: &Run) -> Fate {
        let zone = match run.state {
            BlockState::Offline => return Fate::Offline,
            BlockState::Online(None) => return Fate::Refused(Errno::Invalid, rules::BLOCK_NO_ZONE),
            BlockState::Online(Some(zone)) => zone,
        };
        let range = self.blocks.range(block, block.plus(1));
        let pages = self.block_pages(block, block.plus(1)).count();
        if run.is_early() && self.memory_map.ram_pages(range) < pages {
            Fate::Refused(Errno::Invalid, rules::BLOCK_HOLE)
        } else if zone != Zone::Movable {
            Fate::KernelPages
        } else if run.is_early() && self.placement.holds(&range) {
            Fate::Refused(Errno::Busy, rules::BLOCK_MEMMAP)
        } else {
            Fate::Goes
        }
    }

    /// What comes of taking blocks offline, one by one, for all of them.
    #[must_use]
    pub fn fates(&self) -> Vec<BlockFate> {
        let borders = self.fate_borders();
        let mut fates: Vec<BlockFate> = Vec::new();
        for (first, run) in self.blocks.iter() {
            let behind = first.plus(1);
            let inside = borders.range(behind..run.end.max(behind)).copied();
            let mut at = first;
            for end in inside.chain([run.end]) {
                let fate = self.fate(at, run);
                match fates.last_mut() {
                    Some(last) if last.end == at && last.fate == fate && at != first => last.end = end,
                    _ => fates.push(BlockFate { first: at, end, run: run.clone(), fate }),
                }
                at = end;
            }
        }
        fates
    }

    /// Blocks at which the fate of alike blocks of the boot may change.
    fn fate_borders(&self) -> BTreeSet<BlockId> {
        let kept = self.placement.reservations.iter().flat_map(|kept| kept.ranges.iter().copied());
        let ranges = self.memory_map.ram.iter().copied().chain(kept);
        let mut borders = BTreeSet::new();
        for range in ranges {
            for edge in [range.start, PhysAddr(range.end.0.saturating_sub(1))] {
                let block = self.blocks.of(edge);
                borders.extend([block, block.plus(1)]);
            }
        }
        borders
    }

    /// Where things of memory may live that is now added to a node: in all added memory of kernel zones of the node
    /// that holds page structures, and page tables anywhere.
    pub(crate) fn hosts_of(&self, home: Home) -> Vec<Host> {
        let near = match home {
            Home::Kernel { node, .. } => node,
            Home::Itself(_) => None,
        };
        let mut hosts: Vec<Host> = Vec::new();
        for added in &self.added {
            let in_kernel_zones = |group| self.groups.get(&group).is_some_and(|all| all.in_kernel_zones > 0);
            let known = hosts.iter().any(|host| host.group == added.group);
            if known || !in_kernel_zones(added.group) {
                continue;
            }
            let here = near == Some(added.node);
            let own = self.groups.get(&added.group).map_or(0, |all| all.in_kernel_zones);
            let only = here && self.zones.present_in_kernel_zones(added.node) == own;
            let holds = if here { Holds::PageStructures } else { Holds::PageTables };
            hosts.push(Host { group: added.group, holds, only });
        }
        hosts
    }

    /// All memory of a group could be taken offline: it holds nothing of others.
    pub(crate) fn holds_nothing(&mut self, group: GroupId) {
        for added in &mut self.added {
            added.hosts.retain(|host| host.group != group);
        }
    }

    /// Ties among added memory.
    #[must_use]
    pub fn ties(&self) -> Vec<Tie> {
        let of = |added: &AddedMemory| {
            let first = added.group;
            added.hosts.iter().map(move |host| Tie { first, then: *host }).collect::<Vec<_>>()
        };
        let mut ties: Vec<Tie> = self.added.iter().flat_map(of).collect();
        ties.dedup();
        ties
    }

    /// The order in which these devices can go.
    #[must_use]
    pub fn removal_order(&self, wanted: &[GroupId]) -> Order {
        let mut goes: BTreeSet<GroupId> = wanted.iter().copied().collect();
        let mut in_the_way = BTreeSet::new();
        let ties = self.ties();
        // Page structures live in memory that was added before, so one pass upwards finds all.
        for tie in ties.iter().filter(|tie| tie.holds_structures()) {
            if goes.contains(&tie.then.group) && goes.insert(tie.first) {
                in_the_way.insert(tie.first);
            }
        }
        let between = |tie: &Tie| goes.contains(&tie.first) && goes.contains(&tie.then.group);
        Order {
            wanted: wanted.iter().copied().collect::<BTreeSet<_>>().into_iter().rev().collect(),
            in_the_way: in_the_way.into_iter().rev().collect(),
            ties: ties.iter().copied().filter(between).collect(),
        }
    }

    /// What a failed eject of a memory device leaves: blocks that had gone offline come back where the policy puts
    /// them then, which need not be where they were. Empty when no block of it can be busy.
    #[must_use]
    pub fn after_failed_eject(&self, range: &AddressRange) -> Vec<Rezoned> {
        let eject = Event::RemoveMemory { range: *range, outcome: Some(Given::Busy) };
        let Err(refusal) = self.apply(&eject) else { return Vec::new() };
        let (first, end) = (self.blocks.of(range.start), self.blocks.of(range.end));
        let mut rezoned = Vec::new();
        for (at, run) in self.blocks.between(first, end) {
            let BlockState::Online(Some(from)) = run.state else { continue };
            for (at, after) in refusal.left.blocks.between(at, run.end) {
                let to = match after.state {
                    BlockState::Online(zone) => zone,
                    BlockState::Offline => None,
                };
                if to != Some(from) {
                    rezoned.push(Rezoned { range: self.blocks.range(at, after.end), from, to });
                }
            }
        }
        rezoned
    }

    /// Memory that an unbind of its driver leaves stranded until the next boot: ranges of the group of which a block
    /// is online. kmem takes nothing offline, and reports success.
    #[must_use]
    pub fn stranded_by_unbind(&self, group: GroupId) -> Vec<AddressRange> {
        let own = self.added.iter().filter(|added| added.group == group);
        own.map(|added| added.range)
            .filter(|range| {
                let (first, end) = (self.blocks.of(range.start), self.blocks.of(range.end));
                let runs = self.blocks.between(first, end);
                runs.iter().any(|(_, run)| run.state != BlockState::Offline)
            })
            .collect()
    }

    /// Nodes that go offline once these devices are gone.
    #[must_use]
    pub fn nodes_that_go_with(&self, groups: &[GroupId]) -> NodeSet {
        let mut after = self.clone();
        for added in self.added.iter().filter(|added| groups.contains(&added.group)) {
            after.take_offline(after.blocks.of(added.range.start), after.blocks.of(added.range.end));
            after.remove_memory(added.clone());
        }
        self.nodes.online.difference(&after.nodes.online)
    }
}
