//! Why one node, tier, region or address is as the plan says: table, offset, value, rule, kernel function and arithmetic, in
//! the order in which one follows from the other, so that all of it can be done again by hand.

use super::explain_region;
use super::plan_text::{self, Rounded};
use super::style::{Colour, Style};
use crate::linux::memory_map::type_name;
use crate::linux::plan::{NodePlan, Outcome, Plan};
use crate::linux::reason::{Reason, Subject};
use crate::linux::rules;
use crate::linux::srat::AcceptedMemory;
use crate::linux::tiers::TierId;
use crate::units::{NodeId, PhysAddr};
use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A node.
    Node(NodeId),
    /// A tier.
    Tier(TierId),
    /// An address.
    Address(PhysAddr),
    /// A CXL region, by its number.
    Region(u32),
}

/// Prints the chain of reasons.
pub fn explain<W: Write>(out: &mut W, plan: &Plan, question: Question, colour: Colour) -> fmt::Result {
    match &plan.outcome {
        Outcome::Ok => {}
        Outcome::Panic(reason) => return plan_text::explain(out, "does not come up", &[reason], colour),
        Outcome::Undetermined => return unknown(out, plan, colour),
    }
    let screen = Screen { plan, colour };
    match question {
        Question::Node(node) => screen.node(out, node)?,
        Question::Tier(tier) => screen.tier(out, tier)?,
        Question::Address(address) => screen.address(out, address)?,
        Question::Region(number) => screen.region(out, number)?,
    }
    unknown(out, plan, colour)
}

fn unknown<W: Write>(out: &mut W, plan: &Plan, colour: Colour) -> fmt::Result {
    for unknown in &plan.unknown {
        let label = colour.paint(Style::Warning, "unknown");
        writeln!(out, "{label} {}: needs {}", unknown.section.name(), unknown.missing)?;
    }
    Ok(())
}

/// The plan and how it is painted.
#[derive(Clone, Copy)]
struct Screen<'a> {
    plan: &'a Plan,
    colour: Colour,
}

impl Screen<'_> {
    fn node<W: Write>(self, out: &mut W, node: NodeId) -> fmt::Result {
        let plan = self.plan;
        let own = plan.nodes.iter().find(|known| known.node == node);
        write!(out, "{}", self.colour.paint(Style::Heading, format_args!("node {node}")))?;
        match own {
            Some(own) => self.headline(out, own)?,
            None => out.write_str(": not online")?,
        }
        out.write_str("\n\n")?;
        self.about(out, Subject::Description)?;
        self.about(out, Subject::Node(node))?;
        for entry in plan.accepted.iter().filter(|entry| entry.node == node) {
            self.entry(out, entry)?;
        }
        for window in plan.places.windows.iter().filter(|window| window.node == Some(node)) {
            writeln!(out, "{}: {} ({})", self.title("CXL window"), window.range, window.source)?;
        }
        self.about(out, Subject::Online(node))?;
        self.about(out, Subject::Cpus(node))?;
        self.about(out, Subject::Distances)?;
        if let Some(row) = own.and_then(|own| own.distance.as_ref()) {
            write!(out, "{}:", self.title("distances to online nodes"))?;
            for distance in row {
                write!(out, " {distance}")?;
            }
            out.write_char('\n')?;
        }
        self.about(out, Subject::Performance)?;
        self.figures(out, node)?;
        self.reference(out, node)?;
        self.about(out, Subject::Tier(node))?;
        self.about(out, Subject::Demotion(node))?;
        let weights = plan.reasons_for(Subject::Interleave).chain(plan.reasons_for(Subject::Weight(node)));
        self.reasons(out, "interleave weight", &weights.collect::<Vec<_>>())
    }

    fn headline<W: Write>(self, out: &mut W, own: &NodePlan) -> fmt::Result {
        if let Some(domain) = own.domain {
            write!(out, ": proximity domain {domain}")?;
        }
        write!(out, ", {} of RAM", Rounded(own.memory))?;
        let Some(tier) = own.tier else { return Ok(()) };
        write!(out, ", memory_tier{}", tier.printed())?;
        let demotion = self.plan.demotion.as_ref().and_then(|all| all.get(&own.node));
        match demotion.map(|demotion| &demotion.preferred) {
            Some(nodes) if nodes.is_empty() => out.write_str(", demotes to nobody"),
            Some(nodes) => write!(out, ", demotes to {nodes}"),
            None => Ok(()),
        }
    }

    fn tier<W: Write>(self, out: &mut W, tier: TierId) -> fmt::Result {
        let members = self.plan.tiers.as_ref().and_then(|tiers| tiers.get(&tier));
        let heading = format!("memory_tier{}", tier.printed());
        write!(out, "{}", self.colour.paint(Style::Heading, heading))?;
        let Some(members) = members else { return out.write_str(": no node is in it\n") };
        let noun = if members.len() == 1 { "node" } else { "nodes" };
        writeln!(out, ": {noun} {members}, abstract distance {} to {}\n", tier.0 << 7, (tier.0 << 7) | 127)?;
        let first = members.first().unwrap_or_default();
        self.about(out, Subject::Performance)?;
        for node in members.iter() {
            self.figures(out, node)?;
        }
        self.reference(out, first)?;
        for node in members.iter() {
            self.about(out, Subject::Tier(node))?;
        }
        for node in members.iter() {
            self.about(out, Subject::Demotion(node))?;
        }
        Ok(())
    }

    fn region<W: Write>(self, out: &mut W, number: u32) -> fmt::Result {
        let name = format!("region{number}");
        let Some(region) = self.plan.places.regions.iter().find(|region| region.name == name) else {
            return writeln!(out, "{}: there is none", self.colour.paint(Style::Heading, name));
        };
        explain_region::headline(out, self.plan, region, self.colour)?;
        out.write_char('\n')?;
        explain_region::parts(out, self.plan, region, self.colour)?;
        let node = region.range.and_then(|range| self.plan.locate(range.start).node());
        match node {
            Some(node) => {
                out.write_char('\n')?;
                self.node(out, node)
            }
            None => Ok(()),
        }
    }

    fn address<W: Write>(self, out: &mut W, address: PhysAddr) -> fmt::Result {
        let location = self.plan.locate(address);
        let heading = format!("address {address:#010x}");
        write!(out, "{}", self.colour.paint(Style::Heading, heading))?;
        let node = location.node();
        match (location.ram.is_some() || location.added.is_some(), node) {
            (true, Some(node)) => writeln!(out, ": memory of node {node}\n")?,
            (_, Some(node)) => writeln!(out, ": no RAM; memory added here would go to node {node}\n")?,
            (_, None) => out.write_str(": no RAM, and no node has it\n\n")?,
        }
        match location.map {
            Some(entry) => {
                write!(out, "{}: {} ", self.title("memory map"), entry.range)?;
                match type_name(entry.kind, self.plan.words) {
                    Some(text) => writeln!(out, "{text}")?,
                    None => writeln!(out, "type {}", entry.kind.0)?,
                }
            }
            None => writeln!(out, "{}: no entry", self.title("memory map"))?,
        }
        for entry in &location.entries {
            self.entry(out, entry)?;
        }
        for window in &location.windows {
            writeln!(out, "{}: {} ({})", self.title("CXL window"), window.range, window.source)?;
        }
        if let Some(added) = location.added {
            writeln!(out, "{}: {} of node {}", self.title("added memory"), added.range, added.node)?;
        }
        if let Some(region) = location.region {
            out.write_char('\n')?;
            explain_region::address(out, self.plan, region, address, self.colour)?;
        }
        if let Some(device) = location.device {
            explain_region::dax(out, device, self.colour)?;
        }
        match (location.ram, node) {
            (Some(piece), Some(node)) => {
                writeln!(out, "{}: {} of node {node}", self.title("RAM of the boot"), piece.range)?;
            }
            (None, Some(_)) => {
                plan_text::explain(out, "later memory", &[&Reason::new(rules::TARGET_NODE)], self.colour)?;
            }
            _ => {}
        }
        match node {
            Some(node) => {
                out.write_char('\n')?;
                self.node(out, node)
            }
            None => Ok(()),
        }
    }

    fn entry<W: Write>(self, out: &mut W, entry: &AcceptedMemory) -> fmt::Result {
        let AcceptedMemory { start, last, domain, source, .. } = entry;
        write!(
            out,
            "{}: {start:#010x}-{last:#010x} of domain {domain} ({source})",
            self.title("memory entry")
        )?;
        for (flag, name) in [(entry.hot_pluggable, ", hot-pluggable"), (entry.non_volatile, ", non-volatile")]
        {
            if flag {
                out.write_str(name)?;
            }
        }
        out.write_char('\n')
    }

    /// The figures that a node shows, for any initiator and for processors; told once where both are the same.
    fn figures<W: Write>(self, out: &mut W, node: NodeId) -> fmt::Result {
        let of = |class| self.plan.reasons_for(Subject::Access(node, class)).collect::<Vec<_>>();
        let (local, processors) = (of(0), of(1));
        if local == processors && !local.is_empty() {
            return self.reasons(out, format_args!("node {node} access0 and access1"), &processors);
        }
        self.about(out, Subject::Access(node, 0))?;
        self.about(out, Subject::Access(node, 1))
    }

    /// The reference for abstract distances, and where its figures come from.
    fn reference<W: Write>(self, out: &mut W, asked: NodeId) -> fmt::Result {
        if let Some((node, _)) = self.plan.reference.filter(|(node, _)| *node != asked) {
            self.about(out, Subject::Access(node, 1))?;
        }
        self.about(out, Subject::Reference)
    }

    fn about<W: Write>(self, out: &mut W, subject: Subject) -> fmt::Result {
        let reasons: Vec<&Reason> = self.plan.reasons_for(subject).collect();
        self.reasons(out, subject, &reasons)
    }

    /// Reasons by the same rule stand together.
    fn reasons<W: Write>(
        self,
        out: &mut W,
        title: impl fmt::Display + Copy,
        reasons: &[&Reason],
    ) -> fmt::Result {
        reasons
            .chunk_by(|a, b| a.rule == b.rule)
            .try_for_each(|same| plan_text::explain(out, title, same, self.colour))
    }

    const fn title(self, text: &str) -> super::style::Painted<&str> {
        self.colour.paint(Style::Title, text)
    }
}
