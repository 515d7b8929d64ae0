//! Blocks come online and go offline: the zone they are put in, and what that does to their node
//! (`mm/memory_hotplug.c: zone_for_pfn_range, online_pages, offline_pages`).

use super::added::OnlinePolicy;
use super::block_map::{BlockId, BlockState, GroupId, Run};
use super::changes::Change;
use super::memory_map::pages;
use super::quirks::Quirk;
use super::reason::{Reason, Subject};
use super::rules;
use super::settings::ZonePolicy;
use super::state::{State, hmat};
use super::zones::{PageSpan, Zone};
use crate::range::AddressRange;
use crate::units::NodeId;
use alloc::vec::Vec;

/// What is asked of a block that comes online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineKind {
    /// Nothing: the policy picks the zone (`online`).
    Policy,
    /// A kernel zone (`online_kernel`).
    Kernel,
    /// The movable zone (`online_movable`).
    Movable,
}

impl OnlineKind {
    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Policy, Self::Kernel, Self::Movable].into_iter().find(|kind| kind.name() == name)
    }

    /// Its name, as it is written to `state`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "online",
            Self::Kernel => "online_kernel",
            Self::Movable => "online_movable",
        }
    }
}

/// Memory that was added together, as far as it is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Group {
    /// Pages of all of it.
    pub pages: u64,
    /// Pages in kernel zones.
    pub in_kernel_zones: u64,
    /// Pages in movable zones.
    pub in_movable_zones: u64,
}

impl Group {
    /// Memory of these ranges, none of it online.
    pub(crate) fn of(ranges: &[AddressRange]) -> Self {
        Self { pages: ranges.iter().map(pages).fold(0, u64::saturating_add), ..Self::default() }
    }
}

/// What the auto-movable policy goes by, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovableRoom {
    /// Memory of the boot in kernel zones.
    pub early: u64,
    /// Memory in movable zones.
    pub movable: u64,
    /// The most that may be in movable zones.
    pub limit: u64,
}

impl State<'_> {
    /// The zone that a block would come online in, and the rule.
    pub(crate) fn zone_for(
        &self,
        kind: OnlineKind,
        node: NodeId,
        group: Option<GroupId>,
        pages: PageSpan,
    ) -> (Zone, Reason) {
        match kind {
            OnlineKind::Movable => (Zone::Movable, Reason::new(rules::ZONE_ASKED)),
            OnlineKind::Kernel => (self.zones.kernel_zone(node, &pages), Reason::new(rules::ZONE_ASKED)),
            OnlineKind::Policy if self.settings.zone_policy == ZonePolicy::AutoMovable => {
                self.auto_movable_zone(node, group, pages)
            }
            OnlineKind::Policy => {
                let kernel = self.zones.kernel_zone(node, &pages);
                let in_kernel = self.zones.get(node, kernel).span.overlaps(&pages);
                let in_movable = self.zones.get(node, Zone::Movable).span.overlaps(&pages);
                if in_kernel != in_movable {
                    let zone = if in_kernel { kernel } else { Zone::Movable };
                    (zone, Reason::new(rules::ZONE_INHERITED))
                } else if self.kernel.command_line.movable_node {
                    (Zone::Movable, Reason::new(rules::ZONE_MOVABLE_NODE))
                } else {
                    (kernel, Reason::new(rules::ZONE_DEFAULT))
                }
            }
        }
    }

    /// The auto-movable policy (`auto_movable_zone_for_pfn`).
    fn auto_movable_zone(&self, node: NodeId, group: Option<GroupId>, pages: PageSpan) -> (Zone, Reason) {
        let group = group.and_then(|group| self.groups.get(&group));
        let kernel = |pages: &PageSpan, rule| (self.zones.kernel_zone(node, pages), Reason::new(rule));
        if self.settings.movable_ratio == 0 {
            return kernel(&pages, rules::ZONE_RATIO_EXCEEDED);
        }
        let mut need = pages.count();
        if let Some(group) = group {
            if group.in_kernel_zones > 0 {
                return kernel(&pages, rules::ZONE_GROUP_KERNEL);
            }
            need = group.pages.saturating_sub(group.in_movable_zones);
        }
        let fits = self.movable_fits(None, need)
            && (!self.settings.numa_aware || self.movable_fits(Some(node), need));
        if fits {
            return (Zone::Movable, Reason::new(rules::ZONE_RATIO));
        }
        // The kernel goes on with the count that it looked for.
        kernel(&PageSpan::new(pages.start, pages.start.saturating_add(need)), rules::ZONE_RATIO_EXCEEDED)
    }

    /// Whether so many more movable pages stay within the ratio, on one node or on all
    /// (`auto_movable_can_online_movable`).
    fn movable_fits(&self, node: Option<NodeId>, need: u64) -> bool {
        let room = self.movable_room(node);
        room.early > 0 && room.movable.saturating_add(need) <= room.limit
    }

    /// What the auto-movable policy goes by, for one node or for all together.
    #[must_use]
    pub fn movable_room(&self, node: Option<NodeId>) -> MovableRoom {
        let (mut early, mut movable) = (0_u64, 0_u64);
        for (owner, zone, pages) in self.zones.iter() {
            if pages.present == 0 || node.is_some_and(|node| node != owner) {
                continue;
            }
            if zone == Zone::Movable {
                movable = movable.saturating_add(pages.present);
            } else {
                early = early.saturating_add(pages.early);
            }
        }
        let ratio = u64::from(self.settings.movable_ratio);
        let limit = early.saturating_mul(ratio).checked_div(100).unwrap_or_default();
        MovableRoom { early, movable, limit }
    }

    /// Brings the blocks from `first` up to, not including, `end` online, all of which are offline and of one kind.
    pub(crate) fn bring_online(&mut self, first: BlockId, end: BlockId, kind: OnlineKind) {
        let mut at = first;
        while at < end {
            let Some(run) = self.blocks.get(at).cloned() else { return };
            let (zone, reason) = self.zone_for(kind, run.node(), run.group, self.block_pages(at, at.plus(1)));
            // The first block may move the border of the zone; up to the next border all others go where the
            // second does.
            let mut next = at.plus(1);
            self.block_online(at, next, &run, zone, reason);
            if next < end {
                let pages = self.block_pages(next, next.plus(1));
                let (zone, reason) = self.zone_for(kind, run.node(), run.group, pages);
                let border = self.next_border(&run, next, end.min(run.end));
                if border > next.plus(1) {
                    self.block_online(next, border, &run, zone, reason);
                    next = border;
                }
            }
            at = next;
        }
    }

    /// The first block behind `first` that the policies may put elsewhere.
    pub(crate) fn next_border(&self, run: &Run, first: BlockId, end: BlockId) -> BlockId {
        let group = run.group.and_then(|group| self.groups.get(&group));
        let need = group.map_or(0, |group| group.pages.saturating_sub(group.in_movable_zones));
        let own = self.zones.iter().filter(|(node, _, _)| *node == run.node());
        let spans: Vec<PageSpan> = own.map(|(_, _, pages)| pages.span).collect();
        let per_block = self.block_pages(BlockId(0), BlockId(1)).count();
        let borders = spans.iter().flat_map(|span| [span.start, span.end]);
        let borders = borders.flat_map(|page| [page, page.saturating_sub(need)]);
        // A border inside a block sets that block apart.
        let block = |page: u64| page.checked_div(per_block).map(BlockId);
        let blocks = borders.flat_map(|page| {
            let up = page.checked_next_multiple_of(per_block).unwrap_or(u64::MAX);
            [block(page), block(up)]
        });
        blocks.flatten().filter(|border| *border > first && *border < end).min().unwrap_or(end)
    }

    /// The pages of blocks.
    pub(crate) fn block_pages(&self, first: BlockId, end: BlockId) -> PageSpan {
        PageSpan::of(&self.blocks.range(first, end))
    }

    /// Blocks come online in a zone: lists are built anew where the zone gets its first pages; a node that gets its
    /// first memory gets a tier, shows its figures and takes part in the weights.
    fn block_online(&mut self, first: BlockId, end: BlockId, run: &Run, zone: Zone, reason: Reason) {
        let (node, pages) = (run.node(), self.block_pages(first, end));
        self.blocks.set(first, end, BlockState::Online(Some(zone)));
        self.asked_in_vain.retain(|block, _| *block < first || *block >= end);
        let was_populated = self.zones.get(node, zone).present > 0;
        self.zones.grow(node, zone, pages, run.is_early());
        self.count(run.group, zone, |known| known.saturating_add(pages.count()));
        self.changed(Change::BlocksOnline { first, end, node, zone }, reason);
        let gains = self.nodes.has_memory.insert(node);
        if zone != Zone::Movable {
            self.nodes.has_normal_memory.insert(node);
        }
        if !was_populated {
            self.build_lists();
        }
        if gains {
            self.first_memory(node);
        }
    }

    fn count(&mut self, group: Option<GroupId>, zone: Zone, change: impl Fn(u64) -> u64) {
        if let Some(group) = group.and_then(|group| self.groups.get_mut(&group)) {
            let count =
                if zone == Zone::Movable { &mut group.in_movable_zones } else { &mut group.in_kernel_zones };
            *count = change(*count);
        }
    }

    /// Takes blocks offline that are online in a zone; whether that works is not asked here.
    pub(crate) fn take_offline(&mut self, first: BlockId, end: BlockId) {
        for (first, run) in self.blocks.between(first, end) {
            let BlockState::Online(Some(zone)) = run.state else { continue };
            let (node, pages) = (run.node(), self.block_pages(first, run.end));
            self.blocks.set(first, run.end, BlockState::Offline);
            self.zones.shrink(node, zone, pages, run.is_early());
            self.count(run.group, zone, |known| known.saturating_sub(pages.count()));
            let emptied =
                |group: &GroupId| self.groups.get(group).is_some_and(|all| all.in_kernel_zones == 0);
            if let Some(group) = run.group.filter(emptied).filter(|_| zone != Zone::Movable) {
                self.holds_nothing(group);
            }
            self.changed(
                Change::BlocksOffline { first, end: run.end, node, zone },
                Reason::new(rules::BLOCK_OFFLINE),
            );
            if self.zones.present_in_kernel_zones(node) == 0 {
                self.nodes.has_normal_memory.remove(node);
            }
            let loses = self.zones.present(node) == 0 && self.nodes.has_memory.remove(node);
            if self.zones.get(node, zone).present == 0 {
                self.build_lists();
            }
            if loses {
                self.last_memory(node);
            }
        }
    }

    /// The zones that a block can be in, as `valid_zones` lists them; empty for `none`.
    #[must_use]
    pub fn valid_zones(&self, block: BlockId, run: &Run) -> Vec<Zone> {
        match run.state {
            BlockState::Online(zone) => zone.into_iter().collect(),
            BlockState::Offline => {
                let pages = self.block_pages(block, block.plus(1));
                let (default, _) = self.zone_for(OnlineKind::Policy, run.node(), run.group, pages);
                let mut zones = Vec::from([default]);
                for zone in [self.zones.kernel_zone(run.node(), &pages), Zone::Movable] {
                    if !zones.contains(&zone) {
                        zones.push(zone);
                    }
                }
                zones
            }
        }
    }

    /// What comes online by itself does so in this way.
    pub(crate) fn automatic(&self) -> Option<OnlineKind> {
        match self.settings.auto_online {
            OnlinePolicy::Offline => None,
            OnlinePolicy::Online => Some(OnlineKind::Policy),
            OnlinePolicy::Kernel => Some(OnlineKind::Kernel),
            OnlinePolicy::Movable => Some(OnlineKind::Movable),
        }
    }

    /// A node gets its first memory.
    fn first_memory(&mut self, node: NodeId) {
        self.changed(Change::FirstMemory(node), Reason::new(rules::FIRST_MEMORY));
        self.join_tier(node);
        self.find_demotion();
        self.weights.show(node);
        let place = self.nodes.domains.domain(node).and_then(|domain| self.access.place(domain));
        let registered = match (place, hmat(self.topology, self.updated.as_ref())) {
            (Some(place), Some(hmat)) => self.access.register(place, &self.nodes, hmat, &mut self.notes),
            _ => false,
        };
        if registered {
            self.changed(Change::FiguresShown(node), Reason::new(rules::ACCESS_SHOWN));
        }
        let by_region = self.hand_over_region(node);
        let always = !self.kernel.switches.quirks.has(Quirk::StaleWeights) && self.weights.any_known();
        if registered || always {
            self.publish(node);
        }
        if registered || always || by_region {
            self.find_weights();
        }
    }

    /// A node loses its last memory.
    fn last_memory(&mut self, node: NodeId) {
        self.changed(Change::LastMemory(node), Reason::new(rules::LAST_MEMORY));
        self.leave_tier(node);
        self.find_demotion();
        self.weights.hide(node);
        self.notes.forget(Subject::Tier(node));
    }
}
