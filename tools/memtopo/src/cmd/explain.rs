//! `memtopo explain`: why a node, a tier, a region or an address is as the plan says.

use super::{prepare, translate};
use crate::args::{Explain, When, number};
use crate::term;
use anyhow::{Context, Result, bail, ensure};
use memtopo::linux::plan;
use memtopo::linux::tiers::TierId;
use memtopo::render::explain::{Question, explain};
use memtopo::units::{NodeId, PhysAddr};
use std::path::{Path, PathBuf};

/// Runs the command.
pub(crate) fn run(args: Explain, color: When) -> Result<()> {
    let mut machine = args.machine;
    let question = question(&mut machine.inputs.inputs)?;
    prepare::machine(&machine, |inputs| {
        let plan = plan(inputs);
        if let (Question::Node(node), Some(masks)) = (question, &plan.masks) {
            ensure!(masks.possible.contains(node), "no node {node}: possible are {}", masks.possible);
        }
        if let (Question::Tier(tier), Some(tiers)) = (question, &plan.tiers) {
            let known = tiers.keys().map(|tier| tier.printed().to_string()).collect::<Vec<_>>().join(", ");
            ensure!(tiers.contains_key(&tier), "no tier {}: the plan has {known}", tier.printed());
        }
        if let Question::Region(number) = question {
            translate::find(&plan.places.regions, &format!("region{number}"))?;
        }
        term::print(|out| explain(out, &plan, question, term::colour(color)))
    })
}

/// Takes the question off the end of the arguments; what is left are inputs.
fn question(arguments: &mut Vec<PathBuf>) -> Result<Question> {
    let expected = "expected node N, tier N, region NAME or an address behind the inputs";
    let last = arguments.pop().context(expected)?;
    let text = last.to_str().context(expected)?;
    // `region region0` and `region 0` ask the same.
    let is_region = arguments.last().is_some_and(|kind| kind == Path::new("region"));
    let text = if is_region { text.strip_prefix("region").unwrap_or(text) } else { text };
    let value = number(text).map_err(|_| anyhow::anyhow!("{expected}, found {text:?}"))?;
    let kind = arguments.last().and_then(|kind| kind.to_str()).unwrap_or_default();
    let small = || u32::try_from(value).with_context(|| format!("{kind} {value}: at most 32 bits"));
    let question = match kind {
        "node" => Question::Node(NodeId(small()?)),
        // The kernel prints a negative tier without its sign.
        "tier" => Question::Tier(TierId(i32::from_ne_bytes(small()?.to_ne_bytes()))),
        "region" => Question::Region(small()?),
        "block" => bail!("{expected}, found {kind} {text}"),
        _ => return Ok(Question::Address(PhysAddr(value))),
    };
    arguments.pop();
    Ok(question)
}
