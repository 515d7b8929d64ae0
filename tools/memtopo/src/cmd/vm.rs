//! `memtopo vm`: the boot of the kernel laboratory as a script that a person can run.

use crate::args::Vm;
use crate::term;
use anyhow::{Context, Result};
use memtopo_lab::case::Located;
use memtopo_lab::script;
use std::fmt::Write;

/// Runs the command.
pub(crate) fn run(args: &Vm) -> Result<()> {
    let mut located = Located::read(&args.input).with_context(|| args.input.display().to_string())?;
    let case = &mut located.case;
    case.cmdline = format!("{} {}", case.cmdline, args.cmdline).trim().to_owned();
    term::print(|out| out.write_str(&script::render(case)))
}
