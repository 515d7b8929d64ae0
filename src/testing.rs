//! What tests share: where they find real data (kernel captures and firmware tables, kept outside the project), and
//! made-up tables.

extern crate std;

use crate::tables::header::{Identity, SdtHeader};
use crate::tables::output::{Seal, TableWriter};
use crate::units::Signature;
use alloc::vec::Vec;
use std::path::PathBuf;
use std::{eprintln, fs};

/// The folder `name` of the test data next to the project, or `None`, said loudly, when it is not there.
#[expect(clippy::print_stderr, reason = "a test that skips has to say so")]
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")).join(name);
    if !path.is_dir() {
        eprintln!("SKIPPED: the test data in {} are not there", path.display());
        return None;
    }
    Some(path)
}

/// What a test measured, shown with `--nocapture`.
#[expect(clippy::print_stderr, reason = "figures for the reader of the test run")]
pub(crate) fn report(figures: core::fmt::Arguments<'_>) {
    eprintln!("{figures}");
}

/// The files and folders in `folder`, in order of name.
pub(crate) fn listing(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A sound table with this signature and body.
pub(crate) fn sdt(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let header = SdtHeader::new(Signature(*signature), 1, Identity::default());
    let mut bytes = Vec::new();
    let mut writer = TableWriter::new(&mut bytes, &header);
    writer.raw(body);
    writer.finish(Seal::Fill).unwrap();
    bytes
}
