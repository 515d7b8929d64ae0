//! An owner's layout and how it differs from the kernel's, as text and as JSON.

use super::json::JsonWriter;
use super::plan_json::{rule, set, targets, targets_of_one};
use super::style::{Colour, Style};
use crate::linux::demotion::Demotion;
use crate::policy::{Change, Layout, PolicyPlan, TierLabel, What};
use alloc::format;
use core::fmt::{self, Display, Write};

/// Prints the layout and the comparison.
pub fn policy_text<W: Write>(out: &mut W, policy: &PolicyPlan, colour: Colour) -> fmt::Result {
    write!(out, "{}: tiers, fastest first:", colour.paint(Style::Heading, "policy"))?;
    let mut separator = " ";
    for (tier, nodes) in &policy.owner.tiers {
        let noun = if nodes.len() == 1 { "node" } else { "nodes" };
        write!(out, "{separator}{} ({noun} {nodes})", colour.paint(Style::Title, tier))?;
        separator = ", ";
    }
    out.write_char('\n')?;
    for quirk in &policy.quirks_off {
        writeln!(out, "without {}: {}", colour.paint(Style::Title, quirk), quirk.instead())?;
    }
    for wish in &policy.unmatched {
        let label = colour.paint(Style::Warning, "no node with memory is meant by");
        writeln!(out, "{label} {}", wish.who)?;
    }
    if policy.changes.is_empty() {
        return out.write_str("no difference from the kernel\n");
    }
    out.write_str("differences from the kernel:\n")?;
    for Change { node, what, because } in &policy.changes {
        let title = format!("node {node} {}", what.name());
        writeln!(out, "{}: {what}", colour.paint(Style::Title, title))?;
        for reason in because {
            write!(out, "  {}: {}", colour.paint(Style::Dim, reason.rule.id), reason.rule.sentence)?;
            match &reason.detail {
                Some(detail) => writeln!(out, ": {}", colour.paint(Style::Value, detail))?,
                None => out.write_char('\n')?,
            }
        }
    }
    Ok(())
}

/// Prints `from -> to`.
impl Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tier { from, to } => write!(f, "{} -> {}", OrNone(from.as_ref()), OrNone(to.as_ref())),
            Self::Demotion { from, to } => write!(f, "{} -> {}", Targets(from), Targets(to)),
            Self::Weight { from, to } => write!(f, "{} -> {}", OrNone(from.as_ref()), OrNone(to.as_ref())),
        }
    }
}

/// A value, or `none`.
struct OrNone<'a, T>(Option<&'a T>);

impl<T: Display> Display for OrNone<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Demotion targets: the preferred ones, then all others in brackets.
struct Targets<'a>(&'a Demotion);

impl Display for Targets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Demotion { preferred, fallback } = self.0;
        if preferred.is_empty() {
            return f.write_str("nobody");
        }
        write!(f, "{preferred} (of {fallback})")
    }
}

/// Writes the value of the key `policy`.
pub fn policy_json<W: Write>(json: &mut JsonWriter<W>, policy: &PolicyPlan) -> fmt::Result {
    json.begin_object()?;
    json.key("quirks_off")?;
    json.begin_array_inline()?;
    for quirk in &policy.quirks_off {
        json.string(quirk)?;
    }
    json.end_array()?;
    layout(json, &policy.owner)?;
    json.key("unmatched")?;
    json.begin_array_inline()?;
    for wish in &policy.unmatched {
        json.string(wish.who)?;
    }
    json.end_array()?;
    json.key("changes")?;
    json.begin_array()?;
    for change in &policy.changes {
        one_change(json, change)?;
    }
    json.end_array()?;
    json.end_object()
}

fn layout<W: Write>(json: &mut JsonWriter<W>, layout: &Layout) -> fmt::Result {
    json.key("memory_tiers")?;
    json.begin_object()?;
    for (tier, nodes) in &layout.tiers {
        json.key(format_args!("{tier}"))?;
        set(json, nodes)?;
    }
    json.end_object()?;
    json.key("demotion_targets")?;
    targets(json, layout.demotion.iter())?;
    json.key("weighted_interleave")?;
    json.begin_object_inline()?;
    for (node, weight) in &layout.weights {
        json.key(format_args!("node{node}"))?;
        json.number(weight)?;
    }
    json.end_object()
}

fn one_change<W: Write>(json: &mut JsonWriter<W>, change: &Change) -> fmt::Result {
    json.begin_object()?;
    json.key("node")?;
    json.number(change.node)?;
    json.key("what")?;
    json.string(change.what.name())?;
    let tier = |json: &mut JsonWriter<W>, tier: &Option<TierLabel>| match tier {
        Some(label) => json.string(label),
        None => json.null(),
    };
    let weight = |json: &mut JsonWriter<W>, weight: &Option<u8>| match weight {
        Some(weight) => json.number(weight),
        None => json.null(),
    };
    json.key("from")?;
    match &change.what {
        What::Tier { from, .. } => tier(json, from)?,
        What::Demotion { from, .. } => targets_of_one(json, from)?,
        What::Weight { from, .. } => weight(json, from)?,
    }
    json.key("to")?;
    match &change.what {
        What::Tier { to, .. } => tier(json, to)?,
        What::Demotion { to, .. } => targets_of_one(json, to)?,
        What::Weight { to, .. } => weight(json, to)?,
    }
    json.key("because")?;
    json.begin_array()?;
    for reason in &change.because {
        json.begin_object_inline()?;
        rule(json, reason)?;
        json.end_object()?;
    }
    json.end_array()?;
    json.end_object()
}
