//! `memtopo plan`: what Linux makes of a machine.

use super::prepare;
use crate::args::{Plan, PlanFormat, When};
use crate::term;
use anyhow::Result;
use memtopo::linux::plan;
use memtopo::render::plan_json;
use memtopo::render::plan_text::{self, Reasons};

/// Runs the command.
pub(crate) fn run(args: &Plan, color: When) -> Result<()> {
    prepare::machine(&args.machine, |inputs| {
        let plan = plan(inputs);
        match args.format {
            PlanFormat::Text => {
                let colour = term::colour(color);
                term::print(|out| plan_text::plan_text(out, &plan, colour, Reasons::Brief))
            }
            PlanFormat::Json => term::print(|out| plan_json::plan_json(out, &plan)),
        }
    })
}
