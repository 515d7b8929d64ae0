//! What `memtopo build` builds from.

mod dump;

use anyhow::{Context, Result};

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
    dump::build(&serde_json::from_str(text).context("not JSON")?, reseal)
}
