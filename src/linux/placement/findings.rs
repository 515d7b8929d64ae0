//! Complaints: what lies in memory that is meant to be removable, who put it there, what that costs, and what would
//! move it. A remedy of the kernel's is only named when the model, run with it, no longer complains.

use super::{BootPlan, Kept, Owner, Placement, Reservation, Trial, touched};
use crate::linux::block_map::BlockId;
use crate::linux::node_set::NodeSet;
use crate::linux::nodes::Nodes;
use crate::linux::state::State;
use crate::range::AddressRange;
use crate::units::NodeId;
use alloc::vec::Vec;
use core::fmt;

/// What a reservation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The kernel takes the whole node for itself: no memory of it is in a movable zone, although `movable_node` asks
    /// for it (`numa_clear_kernel_node_hotplug`).
    NodeLost,
    /// The blocks that it lies in cannot go offline.
    BlocksHeld,
}

impl Effect {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeLost => "node-lost",
            Self::BlocksHeld => "blocks-held",
        }
    }
}

/// What would move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// `movable_node` on the command line.
    MovableNode,
    /// The boot loader, or firmware, puts it on a node that stays.
    OtherNode,
    /// A kernel that reads the SRAT before it allocates anything; Linux does not.
    ParseOrder,
    /// A kernel that keeps the page tables of a node on the node itself, where they go with it; Linux does not.
    LocalPageTables,
    /// `efi=nosoftreserve` makes ordinary RAM of it.
    NoSoftReserve,
    /// A node without any of it: its own domain, or none of the node's.
    OwnDomain,
    /// Without `log_buf_len=` the log stays in the kernel image.
    SmallerLog,
    /// Whatever makes the kernel give up the whole node has to go first.
    NodeFirst,
    /// An SRAT that does not call memory hot-pluggable that can never go.
    NotHotPluggable,
}

impl Remedy {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MovableNode => "movable-node",
            Self::OtherNode => "other-node",
            Self::ParseOrder => "parse-order",
            Self::LocalPageTables => "local-page-tables",
            Self::NoSoftReserve => "no-soft-reserve",
            Self::OwnDomain => "own-domain",
            Self::SmallerLog => "smaller-log",
            Self::NodeFirst => "node-first",
            Self::NotHotPluggable => "not-hot-pluggable",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MovableNode => {
                "movable_node on the command line: the kernel then spares hot-pluggable memory"
            }
            Self::OtherNode => "relocation to node 0, or any node that stays: by the boot loader or firmware",
            Self::ParseOrder => {
                "another parse order: a kernel that reads the SRAT before it allocates (Linux does not)"
            }
            Self::LocalPageTables => {
                "page tables local to the node that they map, which go with it (Linux has none)"
            }
            Self::NoSoftReserve => "efi=nosoftreserve, which makes ordinary memory of it",
            Self::OwnDomain => "a proximity domain of its own for the soft-reserved memory",
            Self::SmallerLog => "no log_buf_len=, so that the log stays in the kernel image",
            Self::NodeFirst => "first what makes the kernel give up the whole node",
            Self::NotHotPluggable => "a SRAT that does not call this memory hot-pluggable",
        })
    }
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it costs.
    pub effect: Effect,
    /// The node that it costs.
    pub node: NodeId,
    /// Who put something there.
    pub owner: Owner,
    /// It was there before the kernel knew any node.
    pub early: bool,
    /// Where; empty when the inputs do not tell the addresses.
    pub ranges: Vec<AddressRange>,
    /// The blocks that cannot go: those of the ranges, or for a lost node all of its hot-pluggable memory. First, and
    /// first behind them.
    pub blocks: Vec<(BlockId, BlockId)>,
    /// What would move it.
    pub remedies: Vec<Remedy>,
}

/// Nodes that hold anything that was taken before nodes were known. Ranges of nodes count, holes in them included.
pub(crate) fn kernel_nodes(nodes: &Nodes, reservations: &[Reservation]) -> NodeSet {
    let early = || reservations.iter().filter(|known| known.early).flat_map(|known| &known.ranges);
    let holds = |entry: &&super::super::ranges::NodeRange| early().any(|range| range.overlaps(&entry.range));
    nodes.ranges.iter().filter(holds).map(|entry| entry.node).collect()
}

impl State<'_> {
    /// What lies in hot-pluggable memory, and what would move it. In the order of nodes, the worst first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let movable_node = self.kernel.command_line.movable_node;
        let mut findings = Vec::new();
        for (node, hot) in self.hot_pluggable_memory() {
            for reservation in &self.placement.reservations {
                let (effect, ranges) = match complain(reservation, node, &hot, &self.nodes, movable_node) {
                    Some(complaint) => complaint,
                    None => continue,
                };
                let told = self.placement.tells(reservation);
                let held = if effect == Effect::NodeLost { &hot } else { &ranges };
                let blocks = if effect == Effect::NodeLost || told {
                    let blocks = touched(held, self.blocks.size);
                    blocks.into_iter().map(|(first, end)| (BlockId(first), BlockId(end))).collect()
                } else {
                    Vec::new()
                };
                let remedies = self.remedies(effect, node, &hot, reservation);
                findings.push(Finding {
                    effect,
                    node,
                    owner: reservation.owner,
                    early: reservation.early,
                    ranges: if told { ranges } else { Vec::new() },
                    blocks,
                    remedies,
                });
            }
        }
        findings.sort_by_key(|finding| (finding.node, finding.effect));
        findings
    }

    /// What the boot put where, and what is wrong with it; `None` where no memory of the boot is hot-pluggable.
    #[must_use]
    pub fn boot_plan(&self) -> Option<BootPlan> {
        if self.hot_pluggable_memory().is_empty() {
            return None;
        }
        let kept = |reservation: &Reservation| Kept {
            nodes: reservation.nodes(&self.nodes.pieces),
            told: self.placement.tells(reservation),
            reservation: reservation.clone(),
        };
        let reservations = self.placement.reservations.iter().map(kept).collect();
        Some(BootPlan { reservations, unknown: self.placement.unknown.clone(), findings: self.findings() })
    }

    /// RAM of the boot that the SRAT calls hot-pluggable, by node.
    fn hot_pluggable_memory(&self) -> Vec<(NodeId, Vec<AddressRange>)> {
        let of = |node: NodeId| {
            let own = self.nodes.pieces.iter().filter(move |piece| piece.node == Some(node));
            let marked = own.flat_map(|piece| {
                self.nodes.hot_pluggable.iter().filter_map(|hot| hot.intersect(&piece.range))
            });
            let mut marked: Vec<AddressRange> = marked.collect();
            marked.sort_unstable();
            (node, marked)
        };
        self.nodes.has_memory.iter().map(of).filter(|(_, marked)| !marked.is_empty()).collect()
    }

    fn remedies(
        &self,
        effect: Effect,
        node: NodeId,
        hot: &[AddressRange],
        reservation: &Reservation,
    ) -> Vec<Remedy> {
        let Reservation { owner, early, .. } = *reservation;
        let movable_node = self.kernel.command_line.movable_node;
        let mut remedies = Vec::new();
        match owner {
            Owner::FirstMegabyte => remedies.push(Remedy::NotHotPluggable),
            Owner::KernelImage | Owner::Initrd | Owner::Tables | Owner::Given => {
                remedies.push(Remedy::OtherNode);
            }
            Owner::SoftReserved => remedies.extend([Remedy::NoSoftReserve, Remedy::OwnDomain]),
            Owner::Log => remedies.push(Remedy::SmallerLog),
            Owner::PageTables => remedies.push(Remedy::LocalPageTables),
            _ => {}
        }
        let by_kernel = !early || matches!(owner, Owner::PageTables | Owner::Log | Owner::Distances);
        if !by_kernel {
            return remedies;
        }
        let helps = |trial: Trial| {
            let placement = Placement::with(&self.nodes, &self.memory_map, self.kernel, trial);
            let own = placement.reservations.iter().find(|known| known.owner == owner);
            own.is_none_or(|known| complain(known, node, hot, &self.nodes, true).is_none())
        };
        if !movable_node && helps(Trial { movable_node: true, ..Trial::default() }) {
            remedies.push(Remedy::MovableNode);
        } else if effect == Effect::BlocksHeld && !early {
            remedies.extend([Remedy::NodeFirst, Remedy::MovableNode].into_iter().take(if movable_node {
                1
            } else {
                2
            }));
        } else if early && helps(Trial { movable_node: true, srat_first: true }) {
            remedies.push(Remedy::ParseOrder);
        }
        remedies
    }
}

/// What a reservation costs a node with hot-pluggable memory, and which part of it.
fn complain(
    reservation: &Reservation,
    node: NodeId,
    hot: &[AddressRange],
    nodes: &Nodes,
    movable_node: bool,
) -> Option<(Effect, Vec<AddressRange>)> {
    if movable_node && reservation.early {
        let own = || nodes.ranges.iter().filter(|entry| entry.node == node);
        let inside = |range: &&AddressRange| own().any(|entry| entry.range.overlaps(range));
        let ranges: Vec<AddressRange> = reservation.ranges.iter().filter(inside).copied().collect();
        return (!ranges.is_empty()).then_some((Effect::NodeLost, ranges));
    }
    let cut = |range: &AddressRange| hot.iter().filter_map(|hot| hot.intersect(range)).collect::<Vec<_>>();
    let mut ranges: Vec<AddressRange> = reservation.ranges.iter().flat_map(cut).collect();
    ranges.sort_unstable();
    (!ranges.is_empty()).then_some((Effect::BlocksHeld, ranges))
}
