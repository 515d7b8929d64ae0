//! A hotplug plan as one JSON object; sizes in bytes, addresses as `0x` strings.

use super::json::JsonWriter;
use super::placement::placement_json;
use super::plan_json::rule;
use super::steps_json::{event, one_step};
use crate::hotplug::devices::{Device, Layout};
use crate::hotplug::{Added, Alternative, Answer, HotplugPlan, NodeRoom, Room, Step, Unmet};
use crate::linux::memmap::Home;
use crate::range::AddressRange;
use crate::units::ByteCount;
use core::fmt::{self, Display, Write};

/// The format's name and version.
pub const SCHEMA: &str = "memtopo.hotplug/1";

type Json<W> = JsonWriter<W>;

/// Writes the plan.
pub fn hotplug_json<W: Write>(out: W, plan: &HotplugPlan<'_>) -> fmt::Result {
    let mut json = JsonWriter::new(out);
    json.begin_object()?;
    text(&mut json, "schema", SCHEMA)?;
    text(&mut json, "kernel", plan.version.name())?;
    size(&mut json, "block_size_bytes", plan.block_size)?;
    text(&mut json, "auto_online_blocks", plan.settings.auto_online.name())?;
    text(&mut json, "online_policy", plan.settings.zone_policy.name())?;
    text(&mut json, "memmap_on_memory", plan.settings.memmap_on_memory.name())?;
    flag(&mut json, "met", plan.is_met())?;
    if let Some(boot) = &plan.boot {
        placement_json(&mut json, boot)?;
    }
    json.key("before")?;
    layout(&mut json, &plan.before)?;
    list(&mut json, "given", &plan.given, one_step)?;
    list(&mut json, "answers", &plan.answers, answer)?;
    json.key("after")?;
    layout(&mut json, &plan.after)?;
    json.end_object()?;
    json.into_inner().write_char('\n')
}

fn text<W: Write>(json: &mut Json<W>, key: &str, value: impl Display) -> fmt::Result {
    json.key(key)?;
    json.string(value)
}

fn number<W: Write>(json: &mut Json<W>, key: &str, value: impl Display) -> fmt::Result {
    json.key(key)?;
    json.number(value)
}

fn size<W: Write>(json: &mut Json<W>, key: &str, value: ByteCount) -> fmt::Result {
    number(json, key, value)
}

fn flag<W: Write>(json: &mut Json<W>, key: &str, value: bool) -> fmt::Result {
    json.key(key)?;
    json.bool(value)
}

fn list<W: Write, T>(
    json: &mut Json<W>,
    key: &str,
    items: &[T],
    write: impl Fn(&mut Json<W>, &T) -> fmt::Result,
) -> fmt::Result {
    json.key(key)?;
    json.begin_array()?;
    items.iter().try_for_each(|item| write(json, item))?;
    json.end_array()
}

fn numbers<W: Write>(json: &mut Json<W>, key: &str, values: &[u32]) -> fmt::Result {
    json.key(key)?;
    json.begin_array_inline()?;
    values.iter().try_for_each(|value| json.number(value))?;
    json.end_array()
}

fn addresses<W: Write>(json: &mut Json<W>, range: &AddressRange) -> fmt::Result {
    text(json, "start", format_args!("{:#x}", range.start))?;
    size(json, "size", range.size())
}

fn answer<W: Write>(json: &mut Json<W>, answer: &Answer) -> fmt::Result {
    json.begin_object()?;
    text(json, "goal", &answer.goal)?;
    flag(json, "met", answer.unmet.is_none())?;
    if let Some(refused) = &answer.unmet {
        json.key("unmet")?;
        unmet(json, refused)?;
    }
    if let Some(memory) = &answer.added {
        json.key("added")?;
        added(json, memory)?;
    }
    if let Some(known) = &answer.room {
        json.key("room")?;
        room(json, known)?;
    }
    list(json, "devices", &answer.devices, device)?;
    list(json, "steps", &answer.steps, step)?;
    list(json, "risks", &answer.risks, |json, risk| {
        json.begin_object_inline()?;
        text(json, "id", risk.id)?;
        text(json, "what", &risk.what)?;
        json.end_object()
    })?;
    list(json, "alternatives", &answer.better, alternative)?;
    json.end_object()
}

fn unmet<W: Write>(json: &mut Json<W>, unmet: &Unmet) -> fmt::Result {
    json.begin_object()?;
    if let Some(errno) = unmet.errno {
        text(json, "errno", errno)?;
    }
    rule(json, &unmet.reason)?;
    if let Some(nearest) = &unmet.nearest {
        text(json, "nearest", nearest)?;
    }
    json.end_object()
}

fn added<W: Write>(json: &mut Json<W>, added: &Added) -> fmt::Result {
    let forecast = &added.forecast;
    json.begin_object()?;
    addresses(json, &added.range)?;
    flag(json, "address_chosen", added.chosen)?;
    if let Some(node) = forecast.node {
        number(json, "node", node)?;
    }
    list(json, "usable_ranges", &forecast.trimmed.usable, |json, range| {
        json.begin_object_inline()?;
        addresses(json, range)?;
        json.end_object()
    })?;
    list(json, "lost_ranges", &forecast.trimmed.lost, |json, lost| {
        json.begin_object_inline()?;
        addresses(json, &lost.range)?;
        json.end_object()
    })?;
    size(json, "lost", forecast.trimmed.lost_size())?;
    size(json, "managed", forecast.managed)?;
    number(json, "pieces", forecast.pieces)?;
    size(json, "kernel_cost", forecast.kernel_cost)?;
    json.key("page_table_pages")?;
    json.begin_object_inline()?;
    number(json, "direct_map_with_1gib_pages", forecast.page_tables.of_1_gib_entries)?;
    number(json, "direct_map_with_2mib_pages", forecast.page_tables.of_2_mib_entries)?;
    number(json, "page_structures", forecast.page_tables.of_page_structures)?;
    json.end_object()?;
    list(json, "blocks", &added.placed, |json, run| {
        json.begin_object()?;
        number(json, "first", run.first)?;
        number(json, "last", run.end.0.saturating_sub(1))?;
        match run.zone {
            Some(zone) => text(json, "zone", zone)?,
            None => {
                json.key("zone")?;
                json.null()?;
            }
        }
        if let Some(reason) = &run.reason {
            rule(json, reason)?;
        }
        json.end_object()
    })?;
    if let Some(known) = &added.device {
        json.key("device")?;
        device(json, known)?;
    }
    json.end_object()
}

fn room<W: Write>(json: &mut Json<W>, room: &Room) -> fmt::Result {
    json.begin_object()?;
    number(json, "wanted_percent", room.wanted.0)?;
    if let Some(now) = room.now {
        number(json, "percent", now.0)?;
    }
    json.key("all")?;
    node_room(json, &room.all)?;
    list(json, "nodes", &room.nodes, node_room)?;
    json.end_object()
}

fn node_room<W: Write>(json: &mut Json<W>, room: &NodeRoom) -> fmt::Result {
    json.begin_object_inline()?;
    if let Some(node) = room.node {
        number(json, "node", node)?;
    }
    size(json, "kernel", room.kernel)?;
    size(json, "movable", room.movable)?;
    size(json, "limit", room.limit)?;
    size(json, "left", room.left)?;
    json.end_object()
}

fn device<W: Write>(json: &mut Json<W>, device: &Device) -> fmt::Result {
    json.begin_object()?;
    number(json, "number", device.number)?;
    text(json, "name", &device.name)?;
    text(json, "kind", device.kind.name())?;
    number(json, "node", device.node)?;
    list(json, "ranges", &device.ranges, |json, range| {
        json.begin_object_inline()?;
        addresses(json, range)?;
        json.end_object()
    })?;
    size(json, "movable", device.movable)?;
    size(json, "kernel", device.kernel)?;
    size(json, "offline", device.offline)?;
    size(json, "memmap", device.memmap)?;
    match device.home {
        Home::Itself(_) => text(json, "memmap_on", "itself")?,
        Home::Kernel { node: Some(node), .. } => number(json, "memmap_on_node", node)?,
        Home::Kernel { node: None, .. } => {}
    }
    numbers(json, "goes_after", &device.after)?;
    numbers(json, "goes_before", &device.hosted_by)?;
    flag(json, "removable", device.is_removable())?;
    json.end_object()
}

fn layout<W: Write>(json: &mut Json<W>, layout: &Layout) -> fmt::Result {
    json.begin_object()?;
    list(json, "zones", &layout.zones, |json, zone| {
        json.begin_object_inline()?;
        number(json, "node", zone.node)?;
        text(json, "zone", zone.zone)?;
        size(json, "present", zone.present)?;
        json.end_object()
    })?;
    list(json, "devices", &layout.devices, device)?;
    json.end_object()
}

fn step<W: Write>(json: &mut Json<W>, step: &Step) -> fmt::Result {
    json.begin_object()?;
    text(json, "what", &step.what)?;
    list(json, "commands", &step.commands, |json, command| json.string(command))?;
    if let Some(known) = &step.event {
        json.key("event")?;
        event(json, known)?;
    }
    json.end_object()
}

fn alternative<W: Write>(json: &mut Json<W>, alternative: &Alternative) -> fmt::Result {
    let outcome = &alternative.outcome;
    json.begin_object_inline()?;
    text(json, "setting", &alternative.setting)?;
    text(json, "place", alternative.place.name())?;
    size(json, "managed", outcome.managed)?;
    size(json, "lost", outcome.lost)?;
    size(json, "kernel_cost", outcome.kernel_cost)?;
    size(json, "block_size_bytes", outcome.block_size)?;
    if let Some(zone) = outcome.zone {
        text(json, "zone", zone)?;
    }
    flag(json, "removable", outcome.removable)?;
    json.end_object()
}
