//! `memtopo plan`: what Linux makes of a machine.

use super::prepare;
use crate::args::{Plan, PlanFormat, When};
use crate::events::EventFile;
use crate::input::read_file;
use crate::term;
use anyhow::{Context, Error, Result};
use memtopo::linux::{Inputs, State, plan};
use memtopo::render::plan_text::{self, Reasons};
use memtopo::render::{plan_json, steps_text};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(args: &Plan, color: When) -> Result<ExitCode> {
    let events = args.events.as_deref().map(read_events).transpose()?;
    prepare::machine(&args.machine, |inputs| match (&events, args.events.as_deref()) {
        (Some(events), Some(path)) => with_events(args, color, inputs, events, path),
        _ => without_events(args, color, inputs).map(|()| ExitCode::SUCCESS),
    })
}

fn without_events(args: &Plan, color: When, inputs: Inputs<'_>) -> Result<()> {
    let plan = plan(inputs);
    match args.format {
        PlanFormat::Text => {
            let colour = term::colour(color);
            term::print(|out| plan_text::plan_text(out, &plan, colour, Reasons::Brief))
        }
        PlanFormat::Json => term::print(|out| plan_json::plan_json(out, &plan)),
    }
}

fn with_events(
    args: &Plan,
    color: When,
    inputs: Inputs<'_>,
    file: &EventFile,
    path: &Path,
) -> Result<ExitCode> {
    let events = file.events().map_err(Error::msg).with_context(|| path.display().to_string())?;
    let (plan, steps) = match State::boot(inputs) {
        Ok(state) => (state.plan(), state.steps(&events)),
        Err(_) => {
            eprintln!("memtopo: note: the kernel does not come up, so no event takes place");
            (plan(inputs), Vec::new())
        }
    };
    match args.format {
        PlanFormat::Text => {
            let colour = term::colour(color);
            term::print(|out| {
                plan_text::plan_text(out, &plan, colour, Reasons::Brief)?;
                steps_text::steps_text(out, &steps, colour)
            })?;
        }
        PlanFormat::Json => term::print(|out| plan_json::plan_and_steps_json(out, &plan, &steps))?,
    }
    let refused = steps.len() < events.len() || steps.iter().any(|step| step.refused.is_some());
    Ok(if args.strict && refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The events of a file. Tables that they name are looked for beside it, then in the working folder.
fn read_events(path: &Path) -> Result<EventFile> {
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
