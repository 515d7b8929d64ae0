//! A plan for a person: the nodes in a table, the tiers, what is unknown, and why.

use super::placement::{findings_text, placement_text};
use super::plan_cxl_text;
use super::style::{Colour, Style};
use crate::linux::node_set::NodeSet;
use crate::linux::nodes::Description;
use crate::linux::plan::{NodePlan, Outcome, Plan};
use crate::linux::reason::{Reason, Rule, Subject};
use crate::units::{ByteCount, NodeId};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

/// How many reasons are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reasons {
    /// None.
    None,
    /// Each rule once, with what it came to for each node.
    #[default]
    Brief,
    /// Every one, with the facts it used.
    All,
}

/// Prints the plan.
pub fn plan_text<W: Write>(out: &mut W, plan: &Plan, colour: Colour, reasons: Reasons) -> fmt::Result {
    headline(out, plan, colour)?;
    if plan.masks.is_some() {
        nodes(out, plan, colour)?;
        tiers(out, plan, colour)?;
        let devices = plan.devices.as_deref().unwrap_or_default();
        plan_cxl_text::cxl_text(out, plan.cxl.as_ref(), devices, colour)?;
    }
    if let Some(boot) = &plan.boot {
        findings_text(out, &boot.findings, colour)?;
        if reasons == Reasons::All {
            placement_text(out, boot, colour)?;
        }
    }
    for unknown in &plan.unknown {
        let label = colour.paint(Style::Warning, "unknown");
        writeln!(out, "{label} {}: needs {}", unknown.section.name(), unknown.missing)?;
    }
    match reasons {
        Reasons::None => Ok(()),
        Reasons::Brief => brief(out, plan, colour),
        Reasons::All => all(out, plan, colour),
    }
}

fn headline<W: Write>(out: &mut W, plan: &Plan, colour: Colour) -> fmt::Result {
    let Plan { version, .. } = plan;
    match (&plan.outcome, &plan.masks) {
        (Outcome::Panic(reason), _) => {
            let word = colour.paint(Style::Fault, "does not come up");
            writeln!(out, "Linux {} {word}: {reason}", version.name())
        }
        (Outcome::Ok, Some(masks)) => {
            let (online, possible) = (masks.online.len(), masks.possible.len());
            let made_up = match plan.description {
                Some(Description::None) => ", made up for want of a usable description",
                Some(Description::Off) => ", made up as the command line asks",
                _ => "",
            };
            let plural = if online == 1 { "node" } else { "nodes" };
            writeln!(
                out,
                "Linux {}: {online} {plural} online of {possible} possible{made_up}",
                version.name()
            )
        }
        _ => writeln!(out, "Linux {}: the inputs do not tell what happens", version.name()),
    }
}

/// One row of the table of nodes, as text.
struct RowText {
    node: NodeId,
    online: bool,
    cells: [String; 8],
}

const COLUMNS: [&str; 8] = ["pxm", "memory", "cpus", "tier", "demotes to", "latency", "bandwidth", "weight"];

fn nodes<W: Write>(out: &mut W, plan: &Plan, colour: Colour) -> fmt::Result {
    let possible: Vec<NodeId> = plan.masks.iter().flat_map(|masks| masks.possible.iter()).collect();
    let row = |node: NodeId| {
        // Online nodes stand in ascending order.
        match plan.nodes.binary_search_by_key(&node, |known| known.node) {
            Ok(at) => plan.nodes.get(at).map(|known| cells(plan, known)),
            Err(_) => None,
        }
        .map_or_else(
            || RowText { node, online: false, cells: Default::default() },
            |cells| RowText { node, online: true, cells },
        )
    };
    let rows: Vec<RowText> = possible.into_iter().map(row).collect();
    let mut widths = COLUMNS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = cell.len().max(*width);
        }
    }
    write!(out, "\n{}", colour.paint(Style::Heading, "node"))?;
    for (name, width) in COLUMNS.iter().zip(widths) {
        write!(out, "  {:width$}", colour.paint(Style::Heading, name))?;
    }
    out.write_char('\n')?;
    for row in &rows {
        write!(out, "{:>4}", colour.paint(Style::Title, row.node))?;
        if !row.online {
            writeln!(out, "  {}", colour.paint(Style::Dim, "possible, not online"))?;
            continue;
        }
        let mut line = String::new();
        for (cell, width) in row.cells.iter().zip(widths) {
            write!(line, "  {cell:width$}")?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn cells(plan: &Plan, node: &NodePlan) -> [String; 8] {
    let none = || String::from("-");
    let [local, processors] = &node.access;
    let figures = processors.as_ref().or(local.as_ref()).and_then(|class| class.coordinates);
    let pair = |read: u32, write: u32, unit: &str| match (read, write) {
        (0, 0) => none(),
        _ if read == write => format!("{read} {unit}"),
        _ => format!("{read}/{write} {unit}"),
    };
    let weights = plan.weights.iter().flat_map(|weights| &weights.weights);
    let weight =
        weights.filter(|(known, _)| *known == node.node).map(|(_, weight)| weight.to_string()).next();
    let no_memory = node.memory == ByteCount(0);
    let demotes = match &plan.demotion {
        _ if no_memory => none(),
        Some(all) => {
            let targets = all.get(&node.node).filter(|targets| !targets.preferred.is_empty());
            targets.map_or_else(none, |targets| targets.preferred.to_string())
        }
        None => String::from("?"),
    };
    [
        node.domain.map_or_else(none, |domain| domain.to_string()),
        if no_memory { none() } else { Rounded(node.memory).to_string() },
        match &node.cpus {
            Some(cpus) if cpus.is_empty() => none(),
            Some(cpus) => Ranges(cpus).to_string(),
            None => String::from("?"),
        },
        match node.tier {
            Some(tier) => tier.printed().to_string(),
            None if no_memory => none(),
            None => String::from("?"),
        },
        demotes,
        figures.map_or_else(none, |f| pair(f.read_latency.0, f.write_latency.0, "ns")),
        figures.map_or_else(none, |f| pair(f.read_bandwidth.0, f.write_bandwidth.0, "MB/s")),
        weight.unwrap_or_else(none),
    ]
}

/// The tiers under their sysfs names, and where each node demotes to.
fn tiers<W: Write>(out: &mut W, plan: &Plan, colour: Colour) -> fmt::Result {
    let Some(tiers) = &plan.tiers else { return Ok(()) };
    writeln!(out, "\nmemory tiers, fastest first")?;
    for (tier, nodes) in tiers {
        let name = format!("memory_tier{}", tier.printed());
        let noun = if nodes.len() == 1 { "node" } else { "nodes" };
        writeln!(out, "  {} = {noun} {nodes}", colour.paint(Style::Title, name))?;
    }
    let targets = plan.demotion.iter().flatten();
    for (node, demotion) in targets.filter(|(_, demotion)| !demotion.preferred.is_empty()) {
        writeln!(out, "  demotion {node} to {}", demotion.preferred)?;
    }
    Ok(())
}

/// Reasons about the same topic by the same rule.
struct Group<'a> {
    subject: &'a Subject,
    rule: Rule,
    members: Vec<(&'a Subject, &'a Reason)>,
}

/// Reasons by the same rule stand together: the rule once, then what it came to, node by node.
fn brief<W: Write>(out: &mut W, plan: &Plan, colour: Colour) -> fmt::Result {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (subject, reason) in &plan.reasons {
        let same =
            |group: &&mut Group<'_>| group.subject.topic() == subject.topic() && group.rule == reason.rule;
        match groups.iter_mut().find(same) {
            Some(group) => group.members.push((subject, reason)),
            None => {
                groups.push(Group { subject, rule: reason.rule, members: Vec::from([(subject, reason)]) });
            }
        }
    }
    writeln!(out, "\n{}", colour.paint(Style::Heading, "why"))?;
    for Group { subject, rule, members } in groups {
        let nodes: NodeSet = members.iter().filter_map(|(subject, _)| subject.node()).collect();
        let noun = if nodes.len() == 1 { "node" } else { "nodes" };
        match subject {
            _ if nodes.is_empty() => write!(out, "{}", colour.paint(Style::Title, subject))?,
            Subject::Node(_) => write!(out, "{} {nodes}", colour.paint(Style::Title, noun))?,
            _ => write!(out, "{} of {noun} {nodes}", colour.paint(Style::Title, subject.topic()))?,
        }
        writeln!(out, ": {}", rule.sentence)?;
        let mut details: Vec<(&str, NodeSet)> = Vec::new();
        for (subject, detail) in members.iter().filter_map(|(s, reason)| Some((s, reason.detail.as_deref()?)))
        {
            match details.last_mut() {
                Some((known, nodes)) if *known == detail => nodes.extend(subject.node()),
                _ => details.push((detail, subject.node().into_iter().collect())),
            }
        }
        for (detail, nodes) in details {
            let detail = colour.paint(Style::Value, detail);
            if nodes.is_empty() {
                writeln!(out, "  {detail}")?;
            } else {
                writeln!(out, "  {nodes}: {detail}")?;
            }
        }
    }
    Ok(())
}

fn all<W: Write>(out: &mut W, plan: &Plan, colour: Colour) -> fmt::Result {
    writeln!(out, "\n{}", colour.paint(Style::Heading, "why"))?;
    for (subject, reason) in &plan.reasons {
        explain(out, subject, &[reason], colour)?;
    }
    Ok(())
}

/// Reasons by one rule in full: what they are about, the rule, the facts of each and the calculation, where the kernel has
/// it.
pub fn explain<W: Write>(
    out: &mut W,
    subject: impl Display,
    reasons: &[&Reason],
    colour: Colour,
) -> fmt::Result {
    let Some(Reason { rule, .. }) = reasons.first() else { return Ok(()) };
    writeln!(out, "{}: {}", colour.paint(Style::Title, subject), rule.sentence)?;
    for reason in reasons {
        for fact in &reason.facts {
            writeln!(out, "  {fact}")?;
        }
        for step in reason.detail.iter().flat_map(|detail| detail.split("; ")) {
            writeln!(out, "  {}", colour.paint(Style::Value, step))?;
        }
    }
    writeln!(out, "  {}", colour.paint(Style::Dim, format_args!("{} {}", rule.id, rule.function)))
}

/// Numbers as lists of ranges: `0-3,8`.
struct Ranges<'a>(&'a [u32]);

impl Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.to_vec();
        sorted.sort_unstable();
        let set: NodeSet = sorted.into_iter().map(NodeId).collect();
        write!(f, "{set}")
    }
}

/// A size with at most one decimal: `511.6 MiB`.
pub(super) struct Rounded(pub(super) ByteCount);

impl Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let bytes = self.0.0;
        let step = bytes.checked_ilog2().unwrap_or_default() / 10;
        let unit = UNITS.get(usize::try_from(step).unwrap_or_default()).copied().unwrap_or("B");
        let scale = 1_u64.checked_shl(step.saturating_mul(10)).unwrap_or(1);
        let tenths = u128::from(bytes).saturating_mul(10).checked_div(u128::from(scale)).unwrap_or_default();
        match tenths % 10 {
            0 => write!(f, "{} {unit}", tenths / 10),
            tenth => write!(f, "{}.{tenth} {unit}", tenths / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_are_short() {
        let show = |bytes| Rounded(ByteCount(bytes)).to_string();
        assert_eq!(show(0), "0 B");
        assert_eq!(show(512 << 20), "512 MiB");
        assert_eq!(show((512 << 20) - (384 << 10)), "511.6 MiB");
        assert_eq!(show(u64::MAX), "15.9 EiB");
        assert_eq!(Ranges(&[0, 3, 2, 1, 8]).to_string(), "0-3,8");
    }
}
