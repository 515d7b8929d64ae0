//! `memtopo example`.
use crate::args::Example;
pub(crate) fn run(_args: &Example) -> anyhow::Result<()> {
    Ok(())
}
