//! Movable memory in proportion to kernel memory: what the auto-movable policy allows, and how far a machine is from it.

use super::goal::{Goal, Percent};
use super::{Answer, Unmet, steps, tell};
use crate::linux::added::OnlinePolicy;
use crate::linux::events::Event;
use crate::linux::node_set::NodeSet;
use crate::linux::reason::Reason;
use crate::linux::rules;
use crate::linux::settings::{Setting, ZonePolicy};
use crate::linux::state::State;
use crate::units::{ByteCount, NodeId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What the policy allows on one node, or in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRoom {
    /// The node; `None` for all together.
    pub node: Option<NodeId>,
    /// Memory of the boot in kernel zones, by which the policy goes.
    pub kernel: ByteCount,
    /// Movable memory that there is.
    pub movable: ByteCount,
    /// The most that there may be.
    pub limit: ByteCount,
    /// Whole blocks that may still come.
    pub left: ByteCount,
}

/// How much movable memory there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The wanted ratio.
    pub wanted: Percent,
    /// The ratio that there is, in percent; `None` without kernel memory.
    pub now: Option<Percent>,
    /// In all.
    pub all: NodeRoom,
    /// By node.
    pub nodes: Vec<NodeRoom>,
}

/// Answers a wish for a ratio.
pub(super) fn answer<'a>(state: &State<'a>, percent: Percent) -> (Answer, State<'a>) {
    let mut answer = Answer::new(Goal::KeepRatio(percent));
    let mut next = state.clone();
    let settings = state.settings;
    let mut wanted = Vec::new();
    if settings.zone_policy != ZonePolicy::AutoMovable {
        let why = "let the kernel weigh movable against kernel memory";
        wanted.push((Setting::OnlinePolicy(ZonePolicy::AutoMovable), why));
    }
    if settings.movable_ratio != percent.0 {
        wanted.push((Setting::AutoMovableRatio(percent.0), "the ratio, in percent"));
    }
    if settings.auto_online != OnlinePolicy::Online {
        let why = "have added memory come online as the policy says";
        wanted.push((Setting::AutoOnlineBlocks(OnlinePolicy::Online), why));
    }
    for (setting, why) in wanted {
        let step = steps::set(setting, why);
        let event: Option<&Event<'static>> = step.event.as_ref();
        if let Some(Ok((after, _))) = event.map(|event| next.apply(event)) {
            next = after;
        }
        answer.steps.push(step);
    }
    let room = Room::of(&next, percent);
    let over = room.all.movable > room.all.limit;
    if over {
        let excess = ByteCount(room.all.movable.0.saturating_sub(room.all.limit.0));
        let blocks = excess.0.div_ceil(state.blocks.size.0.max(1));
        let now = room.now.map_or_else(|| String::from("unbounded"), |now| format!("{now}"));
        let pages = |size: ByteCount| size.0 >> 12;
        let detail = format!(
            "{} pages movable, {} allowed by {} of kernel memory of the boot",
            pages(room.all.movable),
            pages(room.all.limit),
            pages(room.all.kernel)
        );
        answer.unmet = Some(Unmet {
            errno: None,
            reason: Reason::new(rules::ZONE_RATIO_EXCEEDED).because(detail),
            nearest: Some(format!(
                "{now}, which is what there is; or {blocks} blocks of movable memory less (offline, or offline and \
                 back as online_kernel)"
            )),
        });
    }
    tell(
        &mut answer.risks,
        "only-new-memory",
        "the policy decides when blocks come online; what is online already stays where it is, and online_movable \
         goes past it",
    );
    tell(
        &mut answer.risks,
        "boot-memory-counts",
        "only kernel memory of the boot counts: added memory in a kernel zone does not raise the limit",
    );
    let without: Vec<NodeId> =
        room.nodes.iter().filter(|node| node.kernel.0 == 0).filter_map(|node| node.node).collect();
    if settings.numa_aware && !without.is_empty() {
        let nodes: NodeSet = without.into_iter().collect();
        tell(
            &mut answer.risks,
            "numa-aware",
            format!(
                "nodes {nodes} have no kernel memory of the boot, so nothing that is added there is movable; \
                 auto_movable_numa_aware=N counts all nodes together"
            ),
        );
    }
    tell(
        &mut answer.risks,
        "all-or-nothing",
        "a device goes to the movable zone as a whole or not at all; of several smaller ones some may fit",
    );
    answer.room = Some(room);
    (answer, next)
}

impl Room {
    fn of(state: &State<'_>, wanted: Percent) -> Self {
        let block = state.blocks.size.0;
        let room = |node: Option<NodeId>| {
            let room = state.movable_room(node);
            let bytes = |pages: u64| ByteCount(pages.saturating_mul(4096));
            let left = bytes(room.limit.saturating_sub(room.movable)).0;
            let whole = left.checked_div(block).unwrap_or_default().saturating_mul(block);
            NodeRoom {
                node,
                kernel: bytes(room.early),
                movable: bytes(room.movable),
                limit: bytes(room.limit),
                left: ByteCount(whole),
            }
        };
        let all = room(None);
        let percent = all.movable.0.saturating_mul(100).checked_div(all.kernel.0);
        Self {
            wanted,
            now: percent.map(|percent| Percent(u32::try_from(percent).unwrap_or(u32::MAX))),
            all,
            nodes: state.nodes.possible.iter().map(|node| room(Some(node))).collect(),
        }
    }
}
