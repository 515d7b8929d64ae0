//! Steps of a sequence of events, as members of a plan in JSON.

use super::json::JsonWriter;
use super::plan_json::{members, rule, targets};
use crate::linux::events::{Cause, Event, Given, Step, TableUpdate};
use core::fmt::{self, Write};

/// One step.
pub(super) fn one_step<W: Write>(json: &mut JsonWriter<W>, step: &Step<'_>) -> fmt::Result {
    json.begin_object()?;
    json.key("event")?;
    event(json, &step.event)?;
    if let Some(result) = step.result() {
        json.key("result")?;
        json.string(result)?;
    }
    if let Some(at) = &step.refused_at {
        json.key("refused_at")?;
        json.string(at)?;
    }
    if let Some(reason) = &step.reason {
        json.key("reason")?;
        json.string(reason)?;
    }
    if let Some(missing) = match &step.refused {
        Some(Cause::NotModelled) => Some("not modelled"),
        Some(Cause::Undetermined(missing)) => Some(missing.as_str()),
        Some(Cause::Errno(_)) | None => None,
    } {
        json.key("unknown")?;
        json.begin_array_inline()?;
        json.begin_object_inline()?;
        json.key("keys")?;
        json.string("result, after")?;
        json.key("missing")?;
        json.string(missing)?;
        json.end_object()?;
        json.end_array()?;
    }
    json.key("changes")?;
    json.begin_array()?;
    for (change, reason) in &step.changes {
        json.begin_object_inline()?;
        json.key("change")?;
        json.string(change)?;
        rule(json, reason)?;
        json.end_object()?;
    }
    json.end_array()?;
    for (name, plan) in [("after", &step.after), ("reevaluated", &step.reevaluated)] {
        if let Some(plan) = plan {
            json.key(name)?;
            json.begin_object()?;
            members(json, plan)?;
            json.key("demotion_targets_changed")?;
            targets(json, plan.announced.iter().filter(|_| plan.demotion_logged))?;
            json.end_object()?;
        }
    }
    json.end_object()
}

/// An event, as it is read.
pub(super) fn event<W: Write>(json: &mut JsonWriter<W>, event: &Event<'_>) -> fmt::Result {
    json.begin_object_inline()?;
    json.key("event")?;
    json.string(event.name())?;
    match event {
        Event::Load { driver } => text(json, "driver", driver)?,
        Event::Set { name, value } => {
            text(json, "name", name)?;
            text(json, "value", value)?;
        }
        Event::AddMemory(device) => {
            text(json, "start", format_args!("{:#x}", device.range.start))?;
            text(json, "size", format_args!("{:#x}", device.range.size()))?;
            if let Some(domain) = device.domain {
                number(json, "domain", domain)?;
            }
        }
        Event::RemoveMemory { range, outcome } => {
            text(json, "start", format_args!("{:#x}", range.start))?;
            text(json, "size", format_args!("{:#x}", range.size()))?;
            given(json, *outcome)?;
        }
        Event::Online { block, kind } => {
            number(json, "block", block)?;
            text(json, "type", kind.name())?;
        }
        Event::Offline { block, outcome } => {
            number(json, "block", block)?;
            given(json, *outcome)?;
        }
        Event::CreateRegion(wish) => {
            text(json, "root", &wish.root)?;
            text(json, "mode", &wish.mode)?;
            number(json, "granularity", wish.granularity)?;
            if let Some(ways) = wish.ways {
                number(json, "ways", ways)?;
            }
            text(json, "size", format_args!("{:#x}", wish.size))?;
            json.key("targets")?;
            json.begin_array_inline()?;
            for serial in &wish.targets {
                json.begin_object_inline()?;
                number(json, "serial", serial)?;
                json.end_object()?;
            }
            json.end_array()?;
            json.key("bind")?;
            json.bool(wish.bind)?;
        }
        Event::DeleteRegion { region } => text(json, "region", region)?,
        Event::BindDax { device, driver, memmap_on_memory } => {
            text(json, "device", device)?;
            text(json, "driver", driver)?;
            if let Some(yes) = memmap_on_memory {
                json.key("memmap_on_memory")?;
                json.bool(*yes)?;
            }
        }
        Event::UnbindDax { device } => text(json, "device", device)?,
        Event::UpdateTable(update) => {
            let table = match update {
                TableUpdate::Hmat(_) => "HMAT",
                TableUpdate::Cdat(_) => "CDAT",
            };
            text(json, "table", table)?;
        }
        Event::MoveNode { node, tier } => {
            number(json, "node", node)?;
            number(json, "tier", tier.printed())?;
        }
    }
    json.end_object()
}

fn text<W: Write>(json: &mut JsonWriter<W>, key: &str, value: impl fmt::Display) -> fmt::Result {
    json.key(key)?;
    json.string(value)
}

fn number<W: Write>(json: &mut JsonWriter<W>, key: &str, value: impl fmt::Display) -> fmt::Result {
    json.key(key)?;
    json.number(value)
}

fn given<W: Write>(json: &mut JsonWriter<W>, outcome: Option<Given>) -> fmt::Result {
    match outcome {
        Some(Given::Ok) => text(json, "result", "ok"),
        Some(Given::Busy) => text(json, "result", "EBUSY"),
        None => Ok(()),
    }
}
