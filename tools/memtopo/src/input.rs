//! Files, folders and standard input.

use anyhow::{Context, Result};
use std::io::Read;
use std::path::Path;

/// Bytes and what to call them in messages.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads one file, or standard input for `-`.
pub(crate) fn read_file(path: &Path) -> Result<Named> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    Ok(Named { bytes: bytes.with_context(|| name.clone())?, name })
}
