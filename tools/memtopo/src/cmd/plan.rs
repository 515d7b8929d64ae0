//! `memtopo plan`.
use crate::args::{Plan, When};
pub(crate) fn run(_args: &Plan, _color: When) -> anyhow::Result<()> {
    Ok(())
}
