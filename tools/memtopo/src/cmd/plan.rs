//! `memtopo plan`: what Linux makes of a machine, and what its owner would make of it.

use super::prepare;
use crate::args::{Plan, PlanFormat, When};
use crate::{policy, term};
use anyhow::{Result, bail};
use memtopo::linux::plan;
use memtopo::policy::apply;
use memtopo::render::json::JsonWriter;
use memtopo::render::plan_json;
use memtopo::render::plan_text::{self, Reasons};
use memtopo::render::policy::{policy_json, policy_text};
use std::fmt::Write;

/// Runs the command.
pub(crate) fn run(args: &Plan, color: When) -> Result<()> {
    let policy = policy::read(args)?;
    prepare::machine(&args.machine, |inputs| {
        let plan = plan(inputs);
        let owner = match policy.map(|policy| apply(&policy, inputs)) {
            Some(Err(failure)) => match policy::failure(&failure) {
                Some(message) => bail!(message),
                None => {
                    eprintln!("memtopo: note: the policy cannot be applied: the plan has no tiers");
                    None
                }
            },
            Some(Ok(owner)) => Some(owner),
            None => None,
        };
        match args.format {
            PlanFormat::Text => {
                let colour = term::colour(color);
                term::print(|out| {
                    plan_text::plan_text(out, &plan, colour, Reasons::Brief)?;
                    owner.iter().try_for_each(|owner| {
                        out.write_char('\n')?;
                        policy_text(out, owner, colour)
                    })
                })
            }
            PlanFormat::Json => term::print(|out| {
                let mut json = JsonWriter::new(out);
                json.begin_object()?;
                json.key("schema")?;
                json.string(plan_json::SCHEMA)?;
                plan_json::members(&mut json, &plan)?;
                if let Some(owner) = &owner {
                    json.key("policy")?;
                    policy_json(&mut json, owner)?;
                }
                json.end_object()?;
                json.into_inner().write_char('\n')
            }),
        }
    })
}
