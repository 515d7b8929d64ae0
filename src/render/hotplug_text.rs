//! A hotplug plan for a person: the four questions of whoever adds memory, the steps as shell commands, the risks, and what
//! would do better; 80 columns wide, so that it can be pasted.

use super::placement::findings_text;
use super::style::{Colour, Style};
use crate::hotplug::devices::{Device, Layout, ZoneSize};
use crate::hotplug::{Added, Alternative, Answer, DeviceKind, HotplugPlan, Room, Step, Unmet};
use crate::linux::events::{self, Cause};
use crate::linux::hot_add::{Lost, LostTo, PageTables};
use crate::linux::memmap::Home;
use crate::linux::placement::findings::Finding;
use crate::linux::zones::Zone;
use crate::units::{BinarySize, ByteCount, NodeId};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

/// Columns of a line.
const WIDTH: usize = 80;

/// Prints the plan.
pub fn hotplug_text<W: Write>(out: &mut W, plan: &HotplugPlan<'_>, colour: Colour) -> fmt::Result {
    let settings = &plan.settings;
    writeln!(
        out,
        "Linux {}, memory blocks of {}, online_policy {},",
        plan.version.name(),
        BinarySize(plan.block_size),
        settings.zone_policy.name()
    )?;
    writeln!(
        out,
        "auto_online_blocks {}, memmap_on_memory {}",
        settings.auto_online.name(),
        settings.memmap_on_memory.name()
    )?;
    if !plan.given.is_empty() {
        writeln!(out, "\n{}", colour.paint(Style::Heading, "what happened before"))?;
        plan.given.iter().try_for_each(|step| given(out, step))?;
    }
    if let Some(boot) = &plan.boot {
        findings(out, &boot.findings)?;
    }
    for answer in &plan.answers {
        one_answer(out, answer, plan.block_size, colour)?;
    }
    let heading = if plan.answers.is_empty() { "layout" } else { "layout afterwards" };
    writeln!(out, "\n{}", colour.paint(Style::Heading, heading))?;
    layout(out, &plan.after, colour)
}

/// What lies in removable memory, in the width of the rest.
fn findings<W: Write>(out: &mut W, findings: &[Finding]) -> fmt::Result {
    let mut text = String::new();
    findings_text(&mut text, findings, Colour::Off)?;
    text.lines().try_for_each(|line| match line.strip_prefix("  ") {
        Some(line) => wrapped(out, "  ", line),
        None if line.is_empty() => out.write_char('\n'),
        None => wrapped(out, "", line),
    })
}

fn given<W: Write>(out: &mut W, step: &events::Step<'_>) -> fmt::Result {
    let result = match &step.refused {
        None => "ok".to_string(),
        Some(Cause::Errno(errno)) => errno.name().to_string(),
        Some(Cause::NotModelled) => "not modelled".to_string(),
        Some(Cause::Undetermined(missing)) => format!("unknown, needs {missing}"),
    };
    wrapped(out, "  ", &format!("{}: {result}", step.event))?;
    if let (Some(_), Some(reason)) = (&step.refused, &step.reason) {
        wrapped(out, "    ", reason.rule.sentence)?;
    }
    step.changes.iter().try_for_each(|(change, _)| wrapped(out, "    ", change))
}

fn one_answer<W: Write>(out: &mut W, answer: &Answer, block: ByteCount, colour: Colour) -> fmt::Result {
    writeln!(out, "\n{} {}", colour.paint(Style::Heading, "goal:"), answer.goal)?;
    if let Some(unmet) = &answer.unmet {
        refusal(out, unmet, colour)?;
    }
    if let Some(added) = &answer.added {
        match &added.device {
            Some(device) => four_questions(out, added, device, block, colour)?,
            None => how_much(out, added, block, colour)?,
        }
    }
    if let Some(known) = &answer.room {
        room(out, known, colour)?;
    }
    for device in &answer.devices {
        out.write_char('\n')?;
        one_device(out, device, colour)?;
    }
    steps(out, &answer.steps, colour)?;
    if !answer.risks.is_empty() {
        writeln!(out, "\n{}", colour.paint(Style::Title, "What may go wrong"))?;
        for risk in &answer.risks {
            wrapped(out, "  - ", &risk.what)?;
        }
    }
    better(out, &answer.better, colour)
}

fn refusal<W: Write>(out: &mut W, unmet: &Unmet, colour: Colour) -> fmt::Result {
    let word = match unmet.errno {
        Some(errno) => format!("cannot be met: {errno}"),
        None => "is not met".to_string(),
    };
    writeln!(out, "\n{}", colour.paint(Style::Fault, word))?;
    let reason = &unmet.reason;
    wrapped(out, "  ", &reason.rule.sentence)?;
    if let Some(detail) = &reason.detail {
        wrapped(out, "  ", detail)?;
    }
    writeln!(out, "  {}", colour.paint(Style::Dim, reason.rule.function))?;
    match &unmet.nearest {
        Some(nearest) => wrapped(out, "  nearest: ", nearest),
        None => Ok(()),
    }
}

fn four_questions<W: Write>(
    out: &mut W,
    added: &Added,
    device: &Device,
    block: ByteCount,
    colour: Colour,
) -> fmt::Result {
    how_much(out, added, block, colour)?;

    writeln!(out, "\n{}", colour.paint(Style::Title, "In which zone?"))?;
    let all = added.forecast.trimmed.usable_size();
    for run in &added.placed {
        let blocks = run.end.0.saturating_sub(run.first.0);
        let size = ByteCount(blocks.saturating_mul(block.0));
        let what = match run.zone {
            Some(zone) => format!("{zone} of node {}", device.node),
            None => format!("offline, on node {}", device.node),
        };
        let part = if size == all { "all of it".to_string() } else { format!("{}", Size(size)) };
        match &run.reason {
            Some(reason) => wrapped(out, "  ", &format!("{what}, {part}: {}", reason.rule.sentence))?,
            None => wrapped(out, "  ", &format!("{what}, {part}"))?,
        }
    }

    let question = "Where does its memmap live, and what does it cost the memory I have?";
    writeln!(out, "\n{}", colour.paint(Style::Title, question))?;
    memmap(out, added, device, block)?;

    writeln!(out, "\n{}", colour.paint(Style::Title, "Can I ever take it out again, and in which order?"))?;
    can_go(out, device, added.devices)
}

fn how_much<W: Write>(out: &mut W, added: &Added, block: ByteCount, colour: Colour) -> fmt::Result {
    let forecast = &added.forecast;
    writeln!(out, "\n{}", colour.paint(Style::Title, "How much of this memory do I get?"))?;
    let chosen = if added.chosen { "  (first place that is free)" } else { "" };
    writeln!(out, "  device  {}  {}{chosen}", added.range, Size(added.range.size()))?;
    for usable in &forecast.trimmed.usable {
        let blocks = usable.size().0.checked_div(block.0).unwrap_or_default();
        let first = usable.start.0.checked_div(block.0).unwrap_or_default();
        let last = first.saturating_add(blocks).saturating_sub(1);
        writeln!(out, "  blocks  {usable}  {}", Size(usable.size()))?;
        writeln!(out, "          {blocks} blocks of {}: memory{first} to memory{last}", BinarySize(block))?;
    }
    let lost = forecast.trimmed.lost_size();
    if lost.0 > 0 {
        let parts: Vec<String> = forecast.trimmed.lost.iter().map(lost_part).collect();
        wrapped(out, "  lost    ", &format!("{}: {}", Size(lost), parts.join(", ")))?;
    }
    if forecast.added.is_empty() {
        return Ok(());
    }
    writeln!(out, "  usable  {}", Size(forecast.managed))
}

fn lost_part(lost: &Lost) -> String {
    let why = match lost.to {
        LostTo::Head => "before the first block border",
        LostTo::Tail => "behind the last",
        LostTo::NoWholeBlock => "no whole block lies in it",
        LostTo::NoDevice => "a DAX device begins and ends at 2 MiB",
    };
    format!("{} {why}", Size(lost.range.size()))
}

fn memmap<W: Write>(out: &mut W, added: &Added, device: &Device, block: ByteCount) -> fmt::Result {
    let size = Size(device.memmap);
    match device.home {
        Home::Itself(hosted) => {
            let pages = ByteCount(hosted.pages.saturating_mul(4096));
            let text = format!(
                "{size}, on the memory itself: the first {} of each block of {}; nothing is taken from other memory",
                Size(pages),
                BinarySize(block)
            );
            wrapped(out, "  memmap  ", &text)?;
            if hosted.wasted_pages > 0 {
                let wasted = ByteCount(hosted.wasted_pages.saturating_mul(4096));
                wrapped(out, "          ", &format!("{} of that are wasted in each block", Size(wasted)))?;
            }
        }
        Home::Kernel { node, why } => {
            let place = match node {
                Some(node) => format!("kernel memory of node {node}"),
                None => "no node, since none has kernel memory".to_string(),
            };
            wrapped(out, "  memmap  ", &format!("{size}, in {place}: {why}"))?;
            if let (Some(node), true) = (node, added.kernel_memory.0 > 0) {
                let share = permille(device.memmap, added.kernel_memory);
                let text = format!(
                    "that is {} of the {} that node {node} has for the kernel",
                    share,
                    Size(ByteCount(added.kernel_memory.0 & !0xf_ffff))
                );
                wrapped(out, "          ", &text)?;
            }
        }
    }
    let PageTables { of_1_gib_entries, of_2_mib_entries, of_page_structures } = added.forecast.page_tables;
    let pages = |count: u64| Size(ByteCount(count.saturating_add(of_page_structures).saturating_mul(4096)));
    let text = format!(
        "{} with 1 GiB pages in the direct map, {} with 2 MiB pages; in kernel memory of any node",
        pages(of_1_gib_entries),
        pages(of_2_mib_entries)
    );
    wrapped(out, "  tables  ", &text)
}

/// A share in percent, to a tenth.
fn permille(part: ByteCount, all: ByteCount) -> String {
    let tenths = u128::from(part.0).saturating_mul(1000).checked_div(u128::from(all.0)).unwrap_or_default();
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn can_go<W: Write>(out: &mut W, device: &Device, devices: usize) -> fmt::Result {
    let kernel = device.kernel.0 > 0;
    let own = match device.home {
        Home::Itself(_) => "each block holds its own memmap",
        Home::Kernel { .. } => "its memmap goes with it",
    };
    let verdict = if kernel {
        format!(
            "not for sure: {} are in a kernel zone, and a page that cannot move keeps its block (EBUSY)",
            Size(device.kernel)
        )
    } else if device.offline.0 > 0 && device.movable.0 == 0 {
        "yes: it is offline".to_string()
    } else {
        format!("yes, at any time: all of it is movable, and {own}")
    };
    wrapped(out, "  ", &verdict)?;
    let order = match (device.hosted_by.as_slice(), device.after.as_slice()) {
        ([], []) if devices > 1 => {
            "order: any; no other added device holds its memmap, nor it theirs".to_string()
        }
        ([], []) => "order: any; it is the only device that was added".to_string(),
        (hosts, after) => {
            let mut text = String::from("order: ");
            if !hosts.is_empty() {
                let _ = write!(text, "before device {}, which may hold its memmap", Numbers(hosts));
            }
            if !hosts.is_empty() && !after.is_empty() {
                text.push_str("; ");
            }
            if !after.is_empty() {
                let _ = write!(text, "after device {}, whose memmap it may hold", Numbers(after));
            }
            text
        }
    };
    wrapped(out, "  ", &order)
}

fn room<W: Write>(out: &mut W, room: &Room, colour: Colour) -> fmt::Result {
    writeln!(out, "\n{}", colour.paint(Style::Title, "How much movable memory may there be?"))?;
    let now = room.now.map_or_else(|| "-".to_string(), |now| now.to_string());
    writeln!(out, "  wanted {} of kernel memory of the boot; now {now}", room.wanted)?;
    writeln!(out, "  {:8}{:>14}{:>14}{:>14}{:>16}", "", "kernel", "movable", "allowed", "may still come")?;
    for node in core::iter::once(&room.all).chain(&room.nodes) {
        let name = node.node.map_or_else(|| "all".to_string(), |node| format!("node {node}"));
        writeln!(
            out,
            "  {name:8}{:>14}{:>14}{:>14}{:>16}",
            Mib(node.kernel).to_string(),
            Mib(node.movable).to_string(),
            Mib(node.limit).to_string(),
            Size(node.left).to_string()
        )?;
    }
    Ok(())
}

fn steps<W: Write>(out: &mut W, steps: &[Step], colour: Colour) -> fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", colour.paint(Style::Title, "Steps"))?;
    for (step, number) in steps.iter().zip(1..) {
        wrapped(out, &format!("  {number}. "), &step.what)?;
        for command in &step.commands {
            writeln!(out, "       {}", colour.paint(Style::Value, command))?;
        }
    }
    Ok(())
}

fn better<W: Write>(out: &mut W, better: &[Alternative], colour: Colour) -> fmt::Result {
    if better.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", colour.paint(Style::Title, "What would do better"))?;
    writeln!(
        out,
        "  {:>13}  {:>9}  {:>11}  {:8}  {:9}  changed",
        "usable", "lost", "kernel cost", "zone", "removable"
    )?;
    for (place, Alternative { setting, place: changed, outcome }) in better.iter().enumerate() {
        let changed = if place == 0 && setting == "as planned" { "-" } else { changed.name() };
        let name = colour.paint(Style::Value, setting);
        writeln!(out, "  {name}")?;
        writeln!(
            out,
            "  {:>13}  {:>9}  {:>11}  {:8}  {:9}  {changed}",
            Size(outcome.managed).to_string(),
            Size(outcome.lost).to_string(),
            Size(outcome.kernel_cost).to_string(),
            outcome.zone.map_or("mixed", Zone::name),
            if outcome.removable { "yes" } else { "unsure" },
        )?;
    }
    Ok(())
}

fn layout<W: Write>(out: &mut W, layout: &Layout, colour: Colour) -> fmt::Result {
    let mut nodes: Vec<(NodeId, Vec<&ZoneSize>)> = Vec::new();
    for zone in &layout.zones {
        match nodes.last_mut() {
            Some((node, zones)) if *node == zone.node => zones.push(zone),
            _ => nodes.push((zone.node, Vec::from([zone]))),
        }
    }
    for (node, zones) in nodes {
        let zones: Vec<String> =
            zones.iter().map(|zone| format!("{} {}", zone.zone, Mib(zone.present))).collect();
        wrapped(out, &format!("  node {node}: "), &zones.join(", "))?;
    }
    layout.devices.iter().try_for_each(|device| one_device(out, device, colour))
}

fn one_device<W: Write>(out: &mut W, device: &Device, colour: Colour) -> fmt::Result {
    let kind = match device.kind {
        DeviceKind::Dimm => "ACPI memory device",
        DeviceKind::Cxl => "CXL region",
        DeviceKind::SoftReserved => "soft-reserved memory",
    };
    let title = format!("device {}", device.number);
    writeln!(
        out,
        "  {}: {}, {kind}, {} on node {}",
        colour.paint(Style::Title, title),
        device.name,
        Size(device.size()),
        device.node
    )?;
    let mut parts = Vec::new();
    for (size, what) in [(device.movable, "movable"), (device.kernel, "kernel"), (device.offline, "offline")]
    {
        if size.0 > 0 {
            parts.push(format!("{} {what}", Size(size)));
        }
    }
    match device.home {
        Home::Itself(_) => parts.push("memmap on itself".to_string()),
        Home::Kernel { node: Some(node), .. } => parts.push(format!("memmap on node {node}")),
        Home::Kernel { node: None, .. } => {}
    }
    if !device.after.is_empty() {
        parts.push(format!("goes after device {}", Numbers(&device.after)));
    }
    if !device.hosted_by.is_empty() {
        parts.push(format!("goes before device {}", Numbers(&device.hosted_by)));
    }
    let verdict = if device.is_removable() { "removable" } else { "not removable for sure" };
    parts.push(verdict.to_string());
    wrapped(out, "    ", &parts.join(", "))
}

/// Numbers with commas between them.
struct Numbers<'a>(&'a [u32]);

impl Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.0.iter().enumerate() {
            write!(f, "{}{number}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Words in lines of [`WIDTH`], the first behind `lead`, the others under the first word.
fn wrapped<W: Write>(out: &mut W, lead: &str, text: &(impl Display + ?Sized)) -> fmt::Result {
    out.write_str(lead)?;
    let text = text.to_string();
    let mut column = lead.len();
    for (place, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 {
            if column.saturating_add(length) < WIDTH {
                out.write_char(' ')?;
                column = column.saturating_add(1);
            } else {
                write!(out, "\n{:1$}", "", lead.len())?;
                column = lead.len();
            }
        }
        out.write_str(word)?;
        column = column.saturating_add(length);
    }
    out.write_char('\n')
}

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size, exact where that is short: `254 GiB`, `1.75 GiB`, `4064 MiB`; else cut to hundredths: `250.03 GiB`.
struct Size(ByteCount);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.0.0);
        let step = self.0.0.checked_ilog2().unwrap_or_default() / 10;
        let name = |step: u32| UNITS.get(usize::try_from(step).unwrap_or_default()).copied().unwrap_or("B");
        let unit = |step: u32| 1_u128.checked_shl(step.saturating_mul(10)).unwrap_or(1);
        let hundredths = |step: u32| bytes.saturating_mul(100).checked_div(unit(step)).unwrap_or_default();
        let (value, exact) =
            (hundredths(step), hundredths(step).saturating_mul(unit(step)) == bytes.saturating_mul(100));
        let lower = step.saturating_sub(1);
        let (whole, rest) = (bytes.checked_div(unit(lower)), bytes.checked_rem(unit(lower)));
        if let (false, Some(whole @ 0..=9999), Some(0)) = (exact, whole, rest) {
            return write!(f, "{whole} {}", name(lower));
        }
        let (whole, hundredth) = (value / 100, value % 100);
        match (hundredth, hundredth % 10) {
            (0, _) => write!(f, "{whole} {}", name(step)),
            (_, 0) => write!(f, "{whole}.{} {}", hundredth / 10, name(step)),
            _ => write!(f, "{whole}.{hundredth:02} {}", name(step)),
        }
    }
}

/// A size to the MiB, for memory that comes in odd pages.
struct Mib(ByteCount);

impl Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            0 => f.write_str("0"),
            small @ 1..=0xf_ffff => write!(f, "{} KiB", small >> 10),
            bytes => Size(ByteCount(bytes & !0xf_ffff)).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_where_that_is_short() {
        let show = |bytes| Size(ByteCount(bytes)).to_string();
        let gib = 1_u64 << 30;
        assert_eq!(show(254 * gib), "254 GiB");
        assert_eq!(show(gib + gib * 3 / 4), "1.75 GiB");
        assert_eq!(show(gib / 4), "256 MiB");
        assert_eq!(show(4064 << 20), "4064 MiB");
        assert_eq!(show(256_032 << 20), "250.03 GiB");
        assert_eq!(show(0), "0 B");
        assert_eq!(show(2500 << 30), "2500 GiB");
        assert_eq!(Mib(ByteCount((3 << 30) + 4096)).to_string(), "3 GiB");
    }

    #[test]
    fn lines_are_no_longer_than_a_terminal_is_wide() {
        let mut text = String::new();
        wrapped(&mut text, "  - ", &"word ".repeat(40).trim_end()).unwrap();
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("  ")));
        assert_eq!(text.lines().count(), 3);
    }
}
