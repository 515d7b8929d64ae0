//! New memory: how much of it one gets, in which zone, where its page structures live, and whether it can go again.

use super::devices::{self, Device};
use super::goal::{DeviceKind, Goal, Owner, Wanted, WantedZone};
use super::{Answer, Risk, Unmet, places, steps, tell};
use crate::linux::added::OnlinePolicy;
use crate::linux::block_map::{BlockId, BlockState};
use crate::linux::blocks::whole_blocks;
use crate::linux::changes::Change;
use crate::linux::events::{Errno, Event};
use crate::linux::hot_add::{Addition, Fit, Forecast};
use crate::linux::memmap::{Adder, Home};
use crate::linux::online::OnlineKind;
use crate::linux::reason::Reason;
use crate::linux::rules;
use crate::linux::settings::{Setting, ZonePolicy};
use crate::linux::soft_reserved::DaxParent;
use crate::linux::state::State;
use crate::linux::zones::Zone;
use crate::range::AddressRange;
use crate::units::{BinarySize, ByteCount, NodeId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Blocks of added memory that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The first of them.
    pub first: BlockId,
    /// The first behind them.
    pub end: BlockId,
    /// Their zone; `None` for offline.
    pub zone: Option<Zone>,
    /// Why they are there; `None` for offline.
    pub reason: Option<Reason>,
}

/// What comes of memory that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The addresses of the device.
    pub range: AddressRange,
    /// The planner picked them.
    pub chosen: bool,
    /// What the model foretells.
    pub forecast: Forecast,
    /// Its blocks.
    pub placed: Vec<Placed>,
    /// Kernel memory of the node that holds its page structures; 0 where it holds them itself.
    pub kernel_memory: ByteCount,
    /// The device, once it is there.
    pub device: Option<Device>,
    /// Devices that are there then.
    pub devices: usize,
}

/// Answers a wish for more memory.
pub(super) fn answer<'a>(state: &State<'a>, wanted: &Wanted) -> (Answer, State<'a>) {
    let mut answer = Answer::new(Goal::Add(*wanted));
    let (node, range) = match places::wanted_node(state, wanted)
        .and_then(|node| Ok((node, places::place(state, wanted, node)?)))
    {
        Ok(found) => found,
        Err(unmet) => {
            answer.unmet = Some(*unmet);
            return (answer, state.clone());
        }
    };
    let before = prepared(state, wanted, &mut answer);
    let domain = match (wanted.on, node) {
        (Some(Owner::Domain(domain)), _) => Some(domain),
        (_, Some(node)) => state.nodes.domains.domain(node),
        _ => None,
    };
    let adder = match wanted.device {
        DeviceKind::Dimm => Adder::AcpiDevice,
        DeviceKind::Cxl => Adder::Kmem(DaxParent::Region, None),
        DeviceKind::SoftReserved => Adder::Kmem(DaxParent::SoftReserved, None),
    };
    // kmem goes by the address alone.
    let named = node.filter(|_| wanted.device == DeviceKind::Dimm);
    let addition = Addition { ranges: Vec::from([range]), node: named, adder };
    let (forecast, mut after) = before.attach(&addition, domain);
    answer.unmet = unmet(state, wanted, node, range, &forecast);
    answer.steps.extend(steps::drivers(state, wanted.device));
    answer.steps.push(steps::plug(state, wanted.device, &range, forecast.node, domain));
    let placed = placed(&before, &after, &forecast);
    manual(wanted, &placed, &mut after, &mut answer);
    let placed = if answer.steps.iter().any(|step| step.what.starts_with(MANUAL)) {
        self::placed(&before, &after, &forecast)
    } else {
        placed
    };
    if let (Some(first), Some(last)) = (placed.first(), placed.last()) {
        answer.steps.push(steps::check(first.first, last.end));
    }
    if before.settings.auto_online != state.settings.auto_online {
        let back = Setting::AutoOnlineBlocks(state.settings.auto_online);
        answer.steps.push(steps::set(back, "put the setting back, if nothing else is to come this way"));
        after.settings.set(back);
    }
    let home = forecast.added.first().map(|(_, memmap)| memmap.home);
    let kernel_memory = match home {
        Some(Home::Kernel { node: Some(node), .. }) => before.kernel_memory(node),
        _ => ByteCount(0),
    };
    let devices = devices::devices(&after);
    let device =
        devices.iter().rev().find(|device| device.ranges.first().is_some_and(|own| range.covers(own)));
    let added = Added {
        range,
        chosen: wanted.at.is_none(),
        placed,
        kernel_memory,
        device: device.filter(|_| !forecast.added.is_empty()).cloned(),
        devices: devices.len(),
        forecast,
    };
    risks(&before, &after, wanted, &added, &mut answer.risks);
    if answer.unmet.is_none() {
        answer.unmet = missed(wanted, &added);
    }
    if answer.unmet.is_some() {
        answer.steps.clear();
    }
    answer.added = Some(added);
    (answer, after)
}

/// What is written before the device comes, so that its memory goes to the wanted zone.
fn prepared<'a>(state: &State<'a>, wanted: &Wanted, answer: &mut Answer) -> State<'a> {
    let policy = match wanted.zone {
        WantedZone::Movable => OnlinePolicy::Movable,
        WantedZone::Kernel => OnlinePolicy::Kernel,
        WantedZone::Auto => return state.clone(),
    };
    if state.settings.auto_online == policy {
        return state.clone();
    }
    let step = steps::online_as(policy, "have added memory come online in the wanted zone");
    let next = step.event.as_ref().and_then(|event: &Event<'static>| Some(state.apply(event).ok()?.0));
    answer.steps.push(step);
    next.unwrap_or_else(|| state.clone())
}

/// How a step begins that brings blocks online by hand.
const MANUAL: &str = "bring";

/// Blocks that stay offline are brought online by hand, as the settings would.
fn manual(wanted: &Wanted, placed: &[Placed], after: &mut State<'_>, answer: &mut Answer) {
    if wanted.zone != WantedZone::Auto {
        return;
    }
    for run in placed.iter().filter(|run| run.zone.is_none()) {
        let kind = OnlineKind::Policy;
        after.bring_online(run.first, run.end, kind);
        let why = format!("{MANUAL} the blocks online, which stay offline by themselves here");
        answer.steps.push(steps::bring_online(run.first, run.end, kind.name(), why));
    }
}

fn placed(before: &State<'_>, after: &State<'_>, forecast: &Forecast) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    for (range, _) in &forecast.added {
        let (first, end) = (before.blocks.of(range.start), before.blocks.of(range.end));
        for (at, run) in after.blocks.between(first, end) {
            let zone = match run.state {
                BlockState::Online(zone) => zone,
                BlockState::Offline => None,
            };
            let online = after.changes.iter().find_map(|(change, reason)| match change {
                Change::BlocksOnline { first, end, .. } if *first <= at && at < *end => Some(reason.clone()),
                _ => None,
            });
            placed.push(Placed { first: at, end: run.end, zone, reason: online });
        }
    }
    placed
}

/// What the kernel refuses.
fn unmet(
    state: &State<'_>,
    wanted: &Wanted,
    node: Option<NodeId>,
    range: AddressRange,
    forecast: &Forecast,
) -> Option<Unmet> {
    let block = state.blocks.size;
    if let Some(refused) = forecast.refused.first() {
        let detail = format!("{}, in blocks of {}", refused.range, BinarySize(block));
        let whole = whole_blocks(&range, block);
        let nearest = match refused.errno {
            Errno::Invalid => {
                whole.map(|whole| format!("{} at {:#x}", BinarySize(whole.size()), whole.start))
            }
            _ => None,
        };
        return Some(Unmet {
            errno: Some(refused.errno),
            reason: refused.reason.clone().because(detail),
            nearest: nearest.or_else(|| elsewhere(state, wanted, node)),
        });
    }
    if wanted.device == DeviceKind::Cxl && state.memory_map.touches_ram(&range) {
        let nearest = elsewhere(state, wanted, node);
        return Some(Unmet { errno: None, reason: Reason::new(rules::DAX_OVER_RAM), nearest });
    }
    match (node, forecast.node) {
        (Some(wish), Some(gets)) if wish != gets => {
            let detail = format!("{:#x} is of node {gets}", range.start);
            let nearest = places::place(state, &Wanted { at: None, ..*wanted }, Some(wish)).ok();
            Some(Unmet {
                errno: None,
                reason: Reason::new(rules::TARGET_NODE).because(detail),
                nearest: nearest.map(|range| format!("the same at {:#x}", range.start)),
            })
        }
        _ => None,
    }
}

/// The first place that would do.
fn elsewhere(state: &State<'_>, wanted: &Wanted, node: Option<NodeId>) -> Option<String> {
    wanted.at?;
    let range = places::place(state, &Wanted { at: None, ..*wanted }, node).ok()?;
    Some(format!("the same at {:#x}", range.start))
}

/// What the kernel does, but not as wanted.
fn missed(wanted: &Wanted, added: &Added) -> Option<Unmet> {
    let in_zone = |zone: Option<Zone>| match wanted.zone {
        WantedZone::Auto => true,
        WantedZone::Movable => zone == Some(Zone::Movable),
        WantedZone::Kernel => zone.is_some_and(|zone| zone != Zone::Movable),
    };
    let wrong = added.placed.iter().find(|run| !in_zone(run.zone))?;
    let reason = wrong.reason.clone().unwrap_or(Reason::new(rules::MEMORY_ADDED));
    Some(Unmet { errno: None, reason, nearest: None })
}

/// What may go wrong with it.
fn risks(before: &State<'_>, after: &State<'_>, wanted: &Wanted, added: &Added, risks: &mut Vec<Risk>) {
    let forecast = &added.forecast;
    if !forecast.split.is_empty() {
        let size = forecast.split.iter().map(|range| range.size().0).fold(0, u64::saturating_add);
        let size = BinarySize(ByteCount(size));
        tell(risks, "split-blocks", format!("{size} lie in blocks that touching ranges hold only together"));
    }
    match forecast.fit {
        Some(Fit::Spills) => tell(
            risks,
            "memmap-spills",
            "the nearest node has no room for all page structures; other nodes take the rest",
        ),
        Some(Fit::FreeMemory(node)) => {
            let (cost, all) = (forecast.kernel_cost.0, before.kernel_memory(node).0);
            let tenths =
                u128::from(cost).saturating_mul(1000).checked_div(u128::from(all)).unwrap_or_default();
            tell(
                risks,
                "memmap-needs-room",
                format!(
                    "its page structures take {}.{} % of the kernel memory of node {node}; the add fails with ENOMEM \
                     where that is not free",
                    tenths / 10,
                    tenths % 10
                ),
            );
        }
        _ => {}
    }
    if wanted.device == DeviceKind::Cxl {
        if !before.nodes.windows.iter().any(|window| window.range.covers(&added.range)) {
            tell(
                risks,
                "no-window",
                "no CXL window of the CEDT holds these addresses: only firmware can make such a region",
            );
        }
        if before.kernel.platform.hypervisor {
            tell(
                risks,
                "hypervisor",
                "in a virtual machine the commit of a region fails with ENXIO (\"Failed to synchronize CPU cache \
                 state\")",
            );
        }
    }
    let Some(device) = &added.device else { return };
    keeps(after, device, risks);
    let auto = wanted.zone == WantedZone::Auto && before.settings.zone_policy == ZonePolicy::AutoMovable;
    if auto {
        tell(
            risks,
            "all-or-nothing",
            "the auto-movable policy decides for the whole device at its first block; smaller devices may fit one by \
             one",
        );
    }
}

/// What may keep a device from going.
pub(super) fn keeps(state: &State<'_>, device: &Device, risks: &mut Vec<Risk>) {
    if device.kernel.0 > 0 {
        let size = BinarySize(device.kernel);
        tell(
            risks,
            "kernel-pages",
            format!(
                "{size} of {} are in a kernel zone: one page that cannot move, and it cannot go (EBUSY)",
                device.name
            ),
        );
    }
    if device.movable.0 > 0 {
        tell(
            risks,
            "pinned-pages",
            "movable memory goes only while nobody pins its pages for long (RDMA, VFIO, io_uring) and other memory \
             has room for them",
        );
    }
    let rezoned = devices::rezoned(state, device);
    if let Some(first) = rezoned.first() {
        let to = first.to.map_or("offline", Zone::name);
        tell(
            risks,
            "failed-eject",
            format!(
                "a failed eject brings blocks that had gone offline back into {to}, not {}: after it the device may \
                 be there for good; take the blocks offline one by one first",
                first.from
            ),
        );
    }
    if device.kind != DeviceKind::Dimm {
        tell(
            risks,
            "early-unbind",
            "taking the device from kmem while a block is online reports success and strands the memory until the \
             next boot",
        );
    }
    if !device.after.is_empty() {
        tell(
            risks,
            "holds-memmap",
            format!(
                "{} may hold page structures of what was added later, which has to go first",
                device.name
            ),
        );
    }
}
