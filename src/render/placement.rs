//! What lies in memory that is meant to be removable, for people and for programs.

use super::json::JsonWriter;
use super::plan_json::set;
use super::style::{Colour, Style};
use crate::linux::block_map::BlockId;
use crate::linux::placement::BootPlan;
use crate::linux::placement::findings::{Effect, Finding};
use crate::range::AddressRange;
use crate::units::BinarySize;
use core::fmt::{self, Write};

/// Prints each finding: who put what where, what that costs, and what would move it.
pub fn findings_text<W: Write>(out: &mut W, findings: &[Finding], colour: Colour) -> fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", colour.paint(Style::Heading, "in memory that is meant to be removable"))?;
    for finding in findings {
        let Finding { effect, node, owner, early, ranges, blocks, remedies } = finding;
        let lost = *effect == Effect::NodeLost;
        let style = if lost { Style::Fault } else { Style::Warning };
        write!(out, "{}: {owner}", colour.paint(style, format_args!("node {node}")))?;
        let mut separator = " at ";
        for range in ranges {
            write!(out, "{separator}{range}")?;
            separator = ", ";
        }
        if ranges.is_empty() {
            out.write_str(" somewhere in it")?;
        }
        writeln!(out, "{}", if *early { ", before it knew any node" } else { "" })?;
        if lost {
            write!(out, "  so the kernel takes the whole node for itself, none of it is movable: ")?;
        } else {
            write!(out, "  which cannot be moved, and cannot go offline: ")?;
        }
        if blocks.is_empty() {
            out.write_str("the blocks that it lies in")?;
        }
        let mut separator = "blocks ";
        for block in blocks {
            write!(out, "{separator}{}", Blocks(block))?;
            separator = ", ";
        }
        out.write_char('\n')?;
        for remedy in remedies {
            writeln!(out, "  would help: {remedy}")?;
        }
    }
    Ok(())
}

/// Prints where the boot put what, and what the inputs do not tell of it.
pub fn placement_text<W: Write>(out: &mut W, boot: &BootPlan, colour: Colour) -> fmt::Result {
    writeln!(out, "\n{}", colour.paint(Style::Heading, "taken by the boot, for good"))?;
    for kept in &boot.reservations {
        let (reservation, size) = (&kept.reservation, BinarySize(kept.reservation.size()));
        write!(out, "{} ({size}) on node {}", reservation.owner, kept.nodes)?;
        let mut separator = ": ";
        for range in reservation.ranges.iter().filter(|_| kept.told) {
            write!(out, "{separator}{range}")?;
            separator = ", ";
        }
        out.write_char('\n')?;
    }
    for unknown in &boot.unknown {
        writeln!(out, "{} {unknown}", colour.paint(Style::Warning, "unknown"))?;
    }
    Ok(())
}

/// Blocks by first and last number.
struct Blocks<'b>(&'b (BlockId, BlockId));

impl fmt::Display for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, end) = self.0;
        let last = end.0.saturating_sub(1);
        if last == first.0 { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

/// Writes the members `placement` and `findings` into an object that is open.
pub(super) fn placement_json<W: Write>(json: &mut JsonWriter<W>, boot: &BootPlan) -> fmt::Result {
    json.key("placement")?;
    json.begin_object()?;
    json.key("reservations")?;
    json.begin_array()?;
    for kept in &boot.reservations {
        let reservation = &kept.reservation;
        json.begin_object_inline()?;
        json.key("owner")?;
        json.string(reservation.owner.name())?;
        if let Some(node) = reservation.owner.node() {
            json.key("of_node")?;
            json.number(node)?;
        }
        json.key("nodes")?;
        set(json, &kept.nodes)?;
        json.key("early")?;
        json.bool(reservation.early)?;
        json.key("size")?;
        json.number(reservation.size())?;
        if kept.told {
            ranges(json, &reservation.ranges)?;
        }
        json.end_object()?;
    }
    json.end_array()?;
    json.key("unknown")?;
    json.begin_array()?;
    for unknown in &boot.unknown {
        json.string(unknown)?;
    }
    json.end_array()?;
    json.end_object()?;
    findings_json(json, &boot.findings)
}

fn findings_json<W: Write>(json: &mut JsonWriter<W>, findings: &[Finding]) -> fmt::Result {
    json.key("findings")?;
    json.begin_array()?;
    for finding in findings {
        json.begin_object()?;
        json.key("effect")?;
        json.string(finding.effect.name())?;
        json.key("node")?;
        json.number(finding.node)?;
        json.key("owner")?;
        json.string(finding.owner.name())?;
        if let Some(node) = finding.owner.node() {
            json.key("of_node")?;
            json.number(node)?;
        }
        json.key("early")?;
        json.bool(finding.early)?;
        if !finding.ranges.is_empty() {
            ranges(json, &finding.ranges)?;
        }
        if !finding.blocks.is_empty() {
            json.key("blocks")?;
            json.begin_array_inline()?;
            for block in &finding.blocks {
                json.string(Blocks(block))?;
            }
            json.end_array()?;
        }
        json.key("remedies")?;
        json.begin_array()?;
        for remedy in &finding.remedies {
            json.begin_object_inline()?;
            json.key("id")?;
            json.string(remedy.name())?;
            json.key("text")?;
            json.string(remedy)?;
            json.end_object()?;
        }
        json.end_array()?;
        json.end_object()?;
    }
    json.end_array()
}

/// First and last address of each, as elsewhere in the plan.
fn ranges<W: Write>(json: &mut JsonWriter<W>, ranges: &[AddressRange]) -> fmt::Result {
    json.key("ranges")?;
    json.begin_array_inline()?;
    for range in ranges {
        json.string(range)?;
    }
    json.end_array()
}
