//! `memtopo cxl plan`: the CXL regions that a machine can have, and the commands that make them.

use super::prepare;
use crate::args::{CxlPlan, TranslateFormat, When, number};
use crate::term;
use anyhow::{Result, anyhow, bail};
use memtopo::linux::State;
use memtopo::policy::region_layouts::{Goal, Layouts, Question, RegionWish};
use memtopo::render::region_layouts::{
    Answer, best_text, layouts_json, layouts_text, refused_text, wish_json,
};
use memtopo::topology::cxl::Mode;
use memtopo::units::ByteCount;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(args: &CxlPlan, color: When) -> Result<ExitCode> {
    let Some(mode) = Mode::from_name(&args.mode) else {
        bail!("--mode: expected ram or pmem, found {:?}", args.mode);
    };
    let in_order = !args.order.is_empty();
    let devices = if in_order { args.order.clone() } else { args.devices.clone() };
    let question = Question { window: args.window.clone(), devices, mode };
    let bytes = |text: &Option<String>| text.as_deref().map(size).transpose();
    let (granularity, size) = (bytes(&args.granularity)?, bytes(&args.size)?);
    let wish = RegionWish { ways: args.ways, granularity, size, in_order };
    prepare::machine(&args.machine, |inputs| {
        let Ok(state) = State::boot(inputs) else {
            bail!("the kernel does not come up, so there are no regions")
        };
        let layouts = Layouts::find(&state, &question)?;
        let colour = term::colour(color);
        if wish == RegionWish::default() {
            let by_bandwidth = layouts.best(&state, Goal::Bandwidth);
            let by_latency = layouts.best(&state, Goal::Latency);
            let answer = Answer { layouts, by_bandwidth, by_latency, orders: args.orders };
            match args.format {
                TranslateFormat::Text => term::print(|out| layouts_text(out, &answer, colour))?,
                TranslateFormat::Json => term::print(|out| layouts_json(out, &answer))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        let answer = layouts.wish(&state, &wish);
        match (args.format, &answer) {
            (TranslateFormat::Json, _) => term::print(|out| wish_json(out, &layouts, &answer))?,
            (_, Ok(best)) => term::print(|out| best_text(out, &layouts, "legal", best, colour))?,
            (_, Err(refused)) => term::print(|out| refused_text(out, &layouts, refused, colour))?,
        }
        Ok(if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// A size as the CXL tools take it: a number, with `K`, `M`, `G` or `T` for multiples of 1024.
fn size(text: &str) -> Result<ByteCount> {
    let digits =
        text.trim_end_matches(|character: char| character.is_ascii_alphabetic() && !text.starts_with("0x"));
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
        _ => bail!("{text:?} is no size: write 4096, 0x1000, 4K, 16M, 1G"),
    };
    let value = number(digits).map_err(anyhow::Error::msg)?;
    let bytes = value.checked_mul(1 << shift).ok_or_else(|| anyhow!("{text:?} passes 64 bits"))?;
    Ok(ByteCount(bytes))
}
