//! `memtopo plan`: what Linux makes of a machine, what events make of it, and what its owner would make of it.

use super::prepare;
use crate::args::{Plan, PlanFormat, When};
use crate::events::EventFile;
use crate::input::read_file;
use crate::{policy, term};
use anyhow::{Context, Error, Result, bail};
use memtopo::linux::reason::Unknown;
use memtopo::linux::{Inputs, State, plan};
use memtopo::policy::{Policy, PolicyPlan, apply};
use memtopo::render::plan_sysfs::plan_sysfs;
use memtopo::render::plan_text::{self, Reasons};
use memtopo::render::policy::policy_text;
use memtopo::render::{plan_json, steps_text};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(args: &Plan, color: When) -> Result<ExitCode> {
    let policy = policy::read(args)?;
    let file = args.events.as_deref().map(read_events).transpose()?;
    prepare::machine(&args.machine, |inputs| print(args, color, inputs, policy.as_ref(), file.as_ref()))
}

fn print(
    args: &Plan,
    color: When,
    inputs: Inputs<'_>,
    policy: Option<&Policy>,
    file: Option<&EventFile>,
) -> Result<ExitCode> {
    let place = || args.events.as_deref().unwrap_or(Path::new("-")).display().to_string();
    let events = file.map(|file| file.events().map_err(Error::msg).with_context(place)).transpose()?;
    let (plan, steps) = match events.as_ref().map(|events| (events, State::boot(inputs))) {
        None => (plan(inputs), None),
        Some((events, Ok(state))) => (state.plan(), Some(state.steps(events))),
        Some((_, Err(_))) => {
            eprintln!("memtopo: note: the kernel does not come up, so no event takes place");
            (plan(inputs), Some(Vec::new()))
        }
    };
    let owner = policy.map(|policy| owner(policy, inputs)).transpose()?.flatten();
    match args.format {
        PlanFormat::Text => {
            let colour = term::colour(color);
            term::print(|out| {
                plan_text::plan_text(out, &plan, colour, Reasons::Brief)?;
                if let Some(steps) = &steps {
                    steps_text::steps_text(out, steps, colour)?;
                }
                if let Some(owner) = &owner {
                    out.write_char('\n')?;
                    policy_text(out, owner, colour)?;
                }
                Ok(())
            })?;
        }
        PlanFormat::Json => {
            term::print(|out| plan_json::whole_json(out, &plan, steps.as_deref(), owner.as_ref()))?;
        }
        PlanFormat::Sysfs => {
            let last = steps.iter().flatten().rev().find_map(|step| step.after.as_ref());
            let now = last.unwrap_or(&plan);
            for Unknown { section, missing } in &now.unknown {
                eprintln!("memtopo: unknown {}: needs {missing}", section.name());
            }
            term::print(|out| plan_sysfs(out, now))?;
        }
    }
    let wanted = events.as_ref().map_or(0, Vec::len);
    let steps = steps.unwrap_or_default();
    let refused = steps.len() < wanted || steps.iter().any(|step| step.refused.is_some());
    Ok(if args.strict && refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The owner's layout; `None` where the plan has none to start from.
fn owner(policy: &Policy, inputs: Inputs<'_>) -> Result<Option<PolicyPlan>> {
    match apply(policy, inputs) {
        Ok(owner) => Ok(Some(owner)),
        Err(failure) => match policy::failure(&failure) {
            Some(message) => bail!(message),
            None => {
                eprintln!("memtopo: note: the policy cannot be applied: the plan has no tiers");
                Ok(None)
            }
        },
    }
}

/// The events of a file. Tables that they name are looked for beside it, then in the working folder.
pub(super) fn read_events(path: &Path) -> Result<EventFile> {
    let file = read_file(path)?;
    let text = std::str::from_utf8(&file.bytes).with_context(|| file.name.clone())?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let table = |name: &str| {
        let beside = folder.join(name);
        let found = if beside.exists() { beside } else { PathBuf::from(name) };
        read_file(&found).map(|file| file.bytes).map_err(|error| format!("{error:#}"))
    };
    EventFile::parse(text, table).map_err(Error::msg).with_context(|| file.name.clone())
}
