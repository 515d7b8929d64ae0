//! Why a CXL region is as the plan says, and how an address finds its device: window, decoders, devices, DAX.

use super::plan_performance;
use super::plan_text::{self, Rounded};
use super::style::{Colour, Style};
use super::translate::{Identity, byte_text};
use crate::linux::cxl_plan::{DaxPlan, RegionPlan};
use crate::linux::plan::Plan;
use crate::linux::reason::{Reason, Subject};
use crate::linux::region_map::{MappedRegion, RegionDevice, RegionMap};
use crate::linux::rules;
use crate::region::Position;
use crate::units::{BinarySize, PhysAddr};
use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// What a region is, in one line.
pub(super) fn headline<W: Write>(
    out: &mut W,
    plan: &Plan,
    region: &MappedRegion,
    colour: Colour,
) -> fmt::Result {
    write!(out, "{}", colour.paint(Style::Heading, &region.name))?;
    match region.range {
        Some(range) => write!(out, ": {} at {range}", Rounded(range.size()))?,
        None => out.write_str(": no addresses")?,
    }
    let Some(shown) = shown(plan, region) else { return out.write_char('\n') };
    if let Some(mode) = shown.mode {
        write!(out, ", {}", mode.name())?;
    }
    write!(out, ", {} ways", shown.ways)?;
    if let Some(granularity) = shown.granularity {
        write!(out, " of {}", BinarySize(granularity))?;
    }
    if shown.cache_size.0 != 0 {
        write!(out, ", behind {} of DRAM", BinarySize(shown.cache_size))?;
    }
    out.write_str(match (shown.committed, shown.bound) {
        (true, true) => ", in use\n",
        (true, false) => ", committed, no driver\n",
        (false, _) => ", not committed\n",
    })
}

fn shown<'p>(plan: &'p Plan, region: &MappedRegion) -> Option<&'p RegionPlan> {
    plan.cxl.as_ref()?.regions.iter().find(|shown| shown.name == region.name)
}

/// The window and the devices of a region, and why it is there or does not work.
pub(super) fn parts<W: Write>(
    out: &mut W,
    plan: &Plan,
    region: &MappedRegion,
    colour: Colour,
) -> fmt::Result {
    window(out, region, colour)?;
    let about: Vec<&Reason> =
        plan.reasons_for(Subject::Cxl).filter(|reason| concerns(reason, region)).collect();
    for same in about.chunk_by(|one, other| one.rule == other.rule) {
        plan_text::explain(out, "region", same, colour)?;
    }
    match &region.map {
        Ok(map) => {
            for (device, position) in map.devices.iter().zip(0..) {
                device_line(out, map, device, Position(position), colour)?;
            }
            plan_text::explain(out, "addresses", &[&Reason::new(rules::REGION_DECODED)], colour)?;
            if let Some(why) = map.difference() {
                let reason = Reason::new(rules::REGION_REPORTED).because(why);
                plan_text::explain(out, "what Linux says of addresses", &[&reason], colour)?;
            }
        }
        Err(why) => {
            writeln!(out, "{}: none can be told: {why}", colour.paint(Style::Title, "addresses"))?;
        }
    }
    if let Some(cxl) = &plan.cxl {
        plan_performance::explain(out, &cxl.performance, &region.name, colour)?;
    }
    let number = region.name.trim_start_matches("region");
    let mut devices = plan.devices.iter().flatten();
    match devices.find(|device| device.parent.strip_prefix("dax_region") == Some(number)) {
        Some(device) => dax(out, device, colour),
        None => writeln!(out, "{}: none", colour.paint(Style::Title, "DAX device")),
    }
}

/// How one address of a region finds its device.
pub(super) fn address<W: Write>(
    out: &mut W,
    plan: &Plan,
    region: &MappedRegion,
    address: PhysAddr,
    colour: Colour,
) -> fmt::Result {
    headline(out, plan, region, colour)?;
    window(out, region, colour)?;
    match &region.map {
        Ok(map) => match map.at(address) {
            Ok(byte) => {
                if byte.decoded != byte.address {
                    let maps = map.translator.maps().maps().iter().map(|map| format!(" {:#x}", map.0));
                    let maps: alloc::string::String = maps.collect();
                    writeln!(out, "{}: XOR maps{maps}", colour.paint(Style::Title, "arithmetic"))?;
                }
                route(out, byte.device, colour)?;
                let share = byte.device.dpa;
                write!(out, "{}: ", colour.paint(Style::Title, "device"))?;
                byte_text(out, map, &byte, colour)?;
                let last = share.start.0.saturating_add(share.size.0).saturating_sub(1);
                writeln!(
                    out,
                    "{}: {} has DPA {:#x}-{last:#x} for the region",
                    colour.paint(Style::Title, "share"),
                    byte.device.decoder,
                    share.start.0,
                )?;
                plan_text::explain(out, "translation", &[&Reason::new(rules::REGION_DECODED)], colour)
            }
            Err(refusal) => writeln!(out, "{}: {refusal}", colour.paint(Style::Title, "device")),
        },
        Err(why) => writeln!(out, "{}: cannot be told: {why}", colour.paint(Style::Title, "device")),
    }
}

/// The DAX device over a region or over soft-reserved memory.
pub(super) fn dax<W: Write>(out: &mut W, device: &DaxPlan, colour: Colour) -> fmt::Result {
    write!(
        out,
        "{}: {} at {} on {}",
        colour.paint(Style::Title, "DAX device"),
        device.name,
        device.range,
        device.parent
    )?;
    match device.driver {
        Some(driver) => write!(out, ", driver {driver}")?,
        None => out.write_str(", no driver")?,
    }
    match device.target_node {
        Some(node) => writeln!(out, ", memory of node {node}"),
        None => out.write_str(", no node\n"),
    }
}

fn window<W: Write>(out: &mut W, region: &MappedRegion, colour: Colour) -> fmt::Result {
    let Some(root) = &region.root_decoder else { return Ok(()) };
    write!(out, "{}: {root}", colour.paint(Style::Title, "root decoder"))?;
    match region.window {
        Some(source) => writeln!(out, " ({source})"),
        None => out.write_char('\n'),
    }
}

/// Whether a reason about the hierarchy is about this region: it names it, or one of its decoders.
fn concerns(reason: &Reason, region: &MappedRegion) -> bool {
    let number = region.name.strip_prefix("region").and_then(|number| number.parse::<u64>().ok());
    let by_fact = || {
        let mut facts = reason.facts.iter().filter(|fact| fact.name == "region");
        facts.any(|fact| Some(fact.value) == number)
    };
    let names = |name: &str| {
        let mut words = reason.detail.iter().flat_map(|detail| detail.split([' ', ':', ',']));
        words.any(|word| word == name)
    };
    by_fact() || names(&region.name) || region.targets.iter().flatten().any(|name| names(name))
}

fn device_line<W: Write>(
    out: &mut W,
    map: &RegionMap,
    device: &RegionDevice,
    position: Position,
    colour: Colour,
) -> fmt::Result {
    write!(out, "{}", colour.paint(Style::Title, format_args!("position {position}")))?;
    let last = device.dpa.start.0.saturating_add(device.dpa.size.0).saturating_sub(1);
    write!(out, ": {}, DPA {:#x}-{last:#x}", Identity(device), device.dpa.start.0)?;
    // The first address that the device has.
    let place = crate::region::Place { position, address: device.dpa.start };
    if let Ok(byte) = map.of_device(place) {
        write!(out, ", from {:#x}", byte.address.0)?;
    }
    out.write_char('\n')?;
    route(out, device, colour)
}

/// The decoders on the way to a device.
fn route<W: Write>(out: &mut W, device: &RegionDevice, colour: Colour) -> fmt::Result {
    write!(out, "  {}", colour.paint(Style::Dim, "way:"))?;
    for hop in &device.path {
        write!(out, " {}", hop.decoder)?;
        if let Some(host) = &hop.host {
            write!(out, " of {host}")?;
        }
        write!(out, " ({}) target {}", hop.interleave, hop.index)?;
        match &hop.device {
            Some(device) => write!(out, " = {device},")?,
            None => write!(out, " = id {},", hop.dport)?,
        }
    }
    writeln!(out, " {}", device.decoder)
}
