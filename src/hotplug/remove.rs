//! Memory that goes: what has to go first, the steps, and how a device stays removable.

use super::add::keeps;
use super::devices::{self, Device};
use super::goal::{DeviceKind, Goal, Target};
use super::{Answer, Unmet, steps, tell};
use crate::linux::added::OnlinePolicy;
use crate::linux::block_map::{BlockId, BlockState};
use crate::linux::events::Errno;
use crate::linux::hot_remove::Fate;
use crate::linux::online::OnlineKind;
use crate::linux::reason::Reason;
use crate::linux::rules;
use crate::linux::state::State;
use crate::linux::zones::Zone;
use crate::range::AddressRange;
use crate::units::{BinarySize, ByteCount};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Answers a wish to remove devices.
pub(super) fn answer<'a>(state: &State<'a>, target: &Target) -> (Answer, State<'a>) {
    let mut answer = Answer::new(Goal::Remove(target.clone()));
    let all = devices::devices(state);
    let wanted = devices::named(&all, target);
    answer.devices.clone_from(&wanted);
    if wanted.is_empty() {
        answer.unmet = Some(nothing(state, &all, target));
        return (answer, state.clone());
    }
    let groups: Vec<_> = wanted.iter().map(|device| device.group).collect();
    let order = state.removal_order(&groups);
    let mut risks = Vec::new();
    if !order.in_the_way.is_empty() {
        let names: Vec<&str> = all
            .iter()
            .filter(|device| order.in_the_way.contains(&device.group))
            .map(|device| device.name.as_str())
            .collect();
        tell(
            &mut risks,
            "others-go-first",
            format!(
                "{} may have page structures in it, and has to be removed too, before it",
                names.join(", ")
            ),
        );
    }
    let mut next = state.clone();
    let mut goes = order.in_the_way.clone();
    goes.extend(&order.wanted);
    // What was added last goes first.
    goes.sort_unstable();
    goes.reverse();
    let mut plan = Vec::new();
    for group in goes {
        let Some(device) = all.iter().find(|device| device.group == group) else { continue };
        keeps(&next, device, &mut risks);
        remove_one(&next, device, &mut plan);
        next = next.detach(group);
    }
    let nodes = state.nodes.online.difference(&next.nodes.online);
    if !nodes.is_empty() {
        tell(
            &mut risks,
            "nodes-vanish",
            format!("with it node {nodes} goes offline, and its directory in sysfs with it"),
        );
    }
    answer.steps = plan;
    answer.risks = risks;
    (answer, next)
}

fn remove_one(state: &State<'_>, device: &Device, plan: &mut Vec<steps::Step>) {
    let runs = devices::runs(state, device);
    let mut joined: Vec<(BlockId, BlockId)> = Vec::new();
    for (first, end, at) in &runs {
        if *at == BlockState::Offline {
            continue;
        }
        match joined.last_mut() {
            Some((_, last)) if last == first => *last = *end,
            _ => joined.push((*first, *end)),
        }
    }
    for (first, end) in joined {
        let why = format!("take all of {} offline; stop if one block refuses", device.name);
        plan.push(steps::take_offline(first, end, why));
    }
    match device.kind {
        DeviceKind::Dimm => {
            for (range, (first, ..)) in device.ranges.iter().zip(&runs) {
                plan.push(steps::eject(*first, range));
            }
        }
        DeviceKind::SoftReserved => plan.push(steps::unbind(&device.name)),
        DeviceKind::Cxl => {
            plan.push(steps::unbind(&device.name));
            let region = state.cxl.iter().flat_map(|cxl| &cxl.tree.regions).find(|region| {
                let all = AddressRange::from_base_size(region.start, region.size);
                all.is_some_and(|all| device.ranges.iter().all(|own| all.covers(own)))
            });
            // A region and its DAX device have one number.
            let by_number = device.name.trim_start_matches("dax").trim_end_matches(".0");
            let name = region.map_or_else(|| format!("region{by_number}"), |region| region.name.clone());
            plan.push(steps::destroy(&name));
        }
    }
}

/// Nothing that was added is meant.
fn nothing(state: &State<'_>, all: &[Device], target: &Target) -> Unmet {
    let known: Vec<String> = all.iter().map(|device| format!("{}: {}", device.number, device.name)).collect();
    let nearest = (!known.is_empty()).then(|| format!("one of {}", known.join(", ")));
    if let Target::Range(range) = target {
        let (first, end) = (state.blocks.of(range.start), state.blocks.of(range.end));
        if !state.blocks.between(first, end).is_empty() {
            let fates = state.fates();
            let meets = |first: &BlockId, last: &BlockId| state.blocks.range(*first, *last).overlaps(range);
            let goes: u64 = fates
                .iter()
                .filter(|fate| fate.fate == Fate::Goes && meets(&fate.first, &fate.end))
                .filter_map(|fate| state.blocks.range(fate.first, fate.end).intersect(range))
                .map(|part| part.size().0)
                .fold(0, u64::saturating_add);
            let offline = (goes > 0).then(|| {
                let size = BinarySize(ByteCount(goes));
                format!("{size} of it can be taken offline, but stay where they are")
            });
            return Unmet {
                errno: Some(Errno::NoEntry),
                reason: Reason::new(rules::BOOT_MEMORY_STAYS),
                nearest: offline.or(nearest),
            };
        }
    }
    Unmet { errno: Some(Errno::NoEntry), reason: Reason::new(rules::NO_DEVICE), nearest }
}

/// Answers a wish to be able to remove devices later.
pub(super) fn stay_removable<'a>(state: &State<'a>, target: &Target) -> (Answer, State<'a>) {
    let mut answer = Answer::new(Goal::StayRemovable(target.clone()));
    let all = devices::devices(state);
    let wanted = devices::named(&all, target);
    answer.devices.clone_from(&wanted);
    if wanted.is_empty() {
        answer.unmet = Some(nothing(state, &all, target));
        return (answer, state.clone());
    }
    let mut next = state.clone();
    let mut risks = Vec::new();
    let mut plan = Vec::new();
    for device in &wanted {
        for number in &device.after {
            let Some(other) = all.iter().find(|other| other.number == *number) else { continue };
            tell(
                &mut risks,
                "memmap-inside",
                format!(
                    "{} may hold page structures of {}: as long as that is there, it cannot go; remove and add that \
                     again once all of {0} is movable",
                    device.name, other.name
                ),
            );
        }
        for (first, end, at) in devices::runs(state, device) {
            let BlockState::Online(Some(zone)) = at else { continue };
            if zone == Zone::Movable {
                continue;
            }
            let size = BinarySize(state.blocks.range(first, end).size());
            let why = format!(
                "free {size} of {} from zone {zone}; a block that refuses (EBUSY) holds kernel pages",
                device.name
            );
            plan.push(steps::take_offline(first, end, why));
            let why = "bring them back as movable memory";
            plan.push(steps::bring_online(first, end, OnlineKind::Movable.name(), why));
            next.take_offline(first, end);
            next.bring_online(first, end, OnlineKind::Movable);
        }
        if device.kernel.0 > 0 {
            tell(
                &mut risks,
                "kernel-pages",
                format!(
                    "{} of {} have been in a kernel zone; where a block refuses to go offline, only a boot with \
                     memhp_default_state=online_movable frees it",
                    BinarySize(device.kernel),
                    device.name
                ),
            );
        }
    }
    let still = devices::devices(&next);
    for device in still.iter().filter(|device| wanted.iter().any(|known| known.group == device.group)) {
        keeps(&next, device, &mut risks);
    }
    // What comes later must not land in it, nor need it.
    if state.settings.auto_online != OnlinePolicy::Movable {
        plan.push(steps::online_as(
            OnlinePolicy::Movable,
            "have memory that is added later come online as movable, so that it holds nothing of others",
        ));
        next.settings.auto_online = OnlinePolicy::Movable;
    }
    answer.steps = plan;
    answer.risks = risks;
    (answer, next)
}
