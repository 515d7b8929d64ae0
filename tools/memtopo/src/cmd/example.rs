//! `memtopo example`: machine descriptions to start from.

use crate::args::Example;
use crate::term;
use anyhow::{Result, bail};
use std::fmt::Write;

/// Every bundled description, by name.
pub(crate) const EXAMPLES: [(&str, &str); 4] = [
    ("two-node", include_str!("../../examples/two-node.toml")),
    ("two-socket-cxl", include_str!("../../examples/two-socket-cxl.toml")),
    ("cxl-switches", include_str!("../../examples/cxl-switches.toml")),
    ("accelerator", include_str!("../../examples/accelerator.toml")),
];

/// The machine that is planned when none is given.
pub(crate) const DEFAULT: (&str, &str) = EXAMPLES[0];

/// Runs the command.
pub(crate) fn run(args: &Example) -> Result<()> {
    let Some(name) = &args.name else {
        return term::print(|out| {
            EXAMPLES.iter().try_for_each(|(name, toml)| {
                let about = toml.lines().next().unwrap_or_default().trim_start_matches("# ");
                writeln!(out, "{name:16} {about}")
            })
        });
    };
    match EXAMPLES.iter().find(|(known, _)| known == name) {
        Some((_, toml)) => term::print(|out| out.write_str(toml)),
        None => bail!("no example {name:?}; `memtopo example` lists them"),
    }
}
