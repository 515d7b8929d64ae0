//! What `memtopo build` builds from.

mod dump;
mod machine;

use anyhow::{Context, Result};
pub(crate) use machine::Machine;

/// One binary that a description gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Built {
    /// What the file is named after: the signature.
    pub(crate) name: String,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Builds from a dump (JSON) or a machine description (TOML), told apart by the first character.
pub(crate) fn build(text: &str, reseal: bool) -> Result<Vec<Built>> {
    if text.trim_start().starts_with('{') {
        dump::build(&serde_json::from_str(text).context("malformed JSON")?, reseal)
    } else {
        Machine::parse(text)?.build()
    }
}
