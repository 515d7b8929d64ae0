//! What the process tests share: the program, the test data next to the project, scratch folders.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs `memtopo` with the given arguments and standard input.
pub(crate) fn memtopo(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_memtopo"))
        .args(args)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that does not read its input closes the pipe; that is its right.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    output
}

/// The folder `name` of the test data next to the project, or `None`, said loudly, when it is not there.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: the test data in {} are not there", path.display());
    None
}

/// Every real or captured table: `corpus/REAL/tables`, and `tables` and `input` of every kernel capture.
pub(crate) fn all_binaries() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    folders.extend(shared("corpus/REAL/tables"));
    for case in shared("oracle/cases").iter().flat_map(|cases| listing(cases)) {
        folders
            .extend(["tables", "input"].map(|part| case.join(part)).into_iter().filter(|path| path.is_dir()));
    }
    let mut files: Vec<_> = folders.iter().flat_map(|folder| listing(folder)).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "bin"));
    files
}

/// What is in a folder, by name.
pub(crate) fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// An empty folder for one test.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a scratch folder");
    path
}
