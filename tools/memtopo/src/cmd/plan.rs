//! `memtopo plan`: what Linux makes of a machine.

use super::prepare;
use crate::args::{Plan, PlanFormat, When};
use crate::term;
use anyhow::Result;
use memtopo::linux::plan;
use memtopo::render::plan_json;

/// Runs the command.
pub(crate) fn run(args: &Plan, color: When) -> Result<()> {
    prepare::machine(&args.machine, |inputs| {
        let plan = plan(inputs);
        let _ = color;
        match args.format {
            PlanFormat::Text | PlanFormat::Json => term::print(|out| plan_json::plan_json(out, &plan)),
        }
    })
}
