//! `memtopo hotplug plan`: a goal and a machine become steps.

use super::plan::read_events;
use super::prepare;
use crate::args::{Hotplug, HotplugCommand, HotplugFormat, HotplugPlan, When};
use crate::events::EventFile;
use crate::term;
use anyhow::{Context, Error, Result, bail, ensure};
use memtopo::hotplug::{Goal, Owner, Request, Target, Wanted, plan};
use memtopo::linux::{Inputs, plan as boot_plan};
use memtopo::render::hotplug_json::hotplug_json;
use memtopo::render::hotplug_text::hotplug_text;
use memtopo::render::plan_text::{self, Reasons};
use memtopo::units::{NodeId, ProximityDomain};
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(args: Hotplug, color: When) -> Result<ExitCode> {
    let HotplugCommand::Plan(args) = args.command;
    let goals = goals(&args)?;
    ensure!(
        !goals.is_empty() || args.events.is_some(),
        "no goal: name one with --add, --remove, --keep-ratio or --goal, or steps with --events"
    );
    let file = args.events.as_deref().map(read_events).transpose()?;
    prepare::machine(&args.machine, |inputs| print(&args, color, inputs, &goals, file.as_ref()))
}

/// The goals in the order in which the options stand in the help.
fn goals(args: &HotplugPlan) -> Result<Vec<Goal>> {
    let mut goals: Vec<Goal> = args.keep_ratio.map(Goal::KeepRatio).into_iter().collect();
    let domain = args.domain.map(|domain| Owner::Domain(ProximityDomain(domain)));
    let on = args.node.map(|node| Owner::Node(NodeId(node))).or(domain);
    let (device, zone) = (args.device, args.zone);
    goals.extend(
        args.add.iter().map(|(size, at)| Goal::Add(Wanted { size: *size, at: *at, on, device, zone })),
    );
    goals.extend(args.remove.iter().map(|target| Goal::Remove(Target::parse(target))));
    for words in &args.goal {
        goals.extend(Goal::parse(words).with_context(|| format!("--goal {words:?}"))?);
    }
    Ok(goals)
}

fn print(
    args: &HotplugPlan,
    color: When,
    inputs: Inputs<'_>,
    goals: &[Goal],
    file: Option<&EventFile>,
) -> Result<ExitCode> {
    let events = file.map(|file| file.events().map_err(Error::msg).context("--events")).transpose()?;
    let events = events.unwrap_or_default();
    let Ok(made) = plan(&Request { inputs, events: &events, goals }) else {
        let colour = term::colour(color);
        term::print(|out| plan_text::plan_text(out, &boot_plan(inputs), colour, Reasons::None))?;
        bail!("the kernel does not come up, so there is nothing to plan");
    };
    match args.format {
        HotplugFormat::Text => term::print(|out| hotplug_text(out, &made, term::colour(color)))?,
        HotplugFormat::Json => term::print(|out| hotplug_json(out, &made))?,
    }
    Ok(if made.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
