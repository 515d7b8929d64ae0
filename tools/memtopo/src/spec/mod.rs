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

/// Everything that a description gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// One binary for each table.
    pub(crate) tables: Vec<Built>,
    /// The inputs of a dump that held more than one bare table, put together again: memory images, several tables in
    /// one file.
    pub(crate) images: Vec<Built>,
}

/// Builds from a dump (JSON) or a machine description (TOML), told apart by the first character.
pub(crate) fn build(text: &str, reseal: bool) -> Result<Output> {
    if text.trim_start().starts_with('{') {
        dump::build(&serde_json::from_str(text).context("malformed JSON")?, reseal)
    } else {
        Ok(Output { tables: Machine::parse(text)?.build()?, images: Vec::new() })
    }
}
