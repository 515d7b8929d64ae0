//! Random machines: each booted, compared, and shrunk when kernel and plan do not agree.

pub mod eventful;
pub mod fabric;
pub mod generate;
pub mod machine;
pub mod prng;
pub mod shrink;
pub mod wishes;

use crate::boot;
use crate::case::{Case, Located};
use crate::check::{self, Verdict};
use crate::planner::Planner;
use crate::workshop::{Kernel, Workshop};
use anyhow::{Context, Result};
use machine::Machine;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A machine that can be booted and made smaller.
pub trait Candidate: Clone {
    /// The tables, with the file names of a case.
    ///
    /// # Errors
    /// A table is too long.
    fn tables(&self) -> Result<Vec<(String, Vec<u8>)>>;

    /// The case that boots this machine with its [`tables`](Self::tables).
    fn case(&self, name: &str, description: &str) -> Case;

    /// Machines that are one step simpler, the boldest steps first.
    fn simpler(&self) -> Vec<Self>;
}

impl Candidate for Machine {
    fn tables(&self) -> Result<Vec<(String, Vec<u8>)>> {
        Self::tables(self)
    }

    fn case(&self, name: &str, description: &str) -> Case {
        Self::case(self, name, description)
    }

    fn simpler(&self) -> Vec<Self> {
        shrink::simpler(self)
    }
}

/// How often a machine is booted at most for an answer.
const BOOTS: usize = 3;

/// Boots that one mismatch may cost.
const SHRINK_BOOTS: usize = 60;

/// Puts a machine into a folder as a case, boots it there, and compares.
///
/// # Errors
/// Something of the host is missing or fails.
pub fn try_machine(
    workshop: &Workshop,
    kernel: Kernel,
    planner: &Planner,
    machine: &impl Candidate,
    folder: &Path,
    description: &str,
) -> Result<Verdict> {
    boot_machine(workshop, kernel, machine, folder, description)?;
    check::stored(folder, planner, kernel)
}

/// Puts a machine into a folder as a case and boots it there.
///
/// # Errors
/// Something of the host is missing or fails.
pub fn boot_machine(
    workshop: &Workshop,
    kernel: Kernel,
    machine: &impl Candidate,
    folder: &Path,
    description: &str,
) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(folder.join("input"))?;
    for (name, bytes) in machine.tables()? {
        std::fs::write(folder.join(name), bytes)?;
    }
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("case");
    let located = Located { case: machine.case(name, description), folder: folder.to_owned() };
    boot::run(workshop, kernel, &located)?.write(folder, &located, kernel)
}

/// Boots a machine as [`boot_machine`] does, again where a busy host gave it too little time.
///
/// # Errors
/// Something of the host is missing or fails, each time.
pub fn boot_until_conclusive(
    workshop: &Workshop,
    kernel: Kernel,
    machine: &impl Candidate,
    folder: &Path,
    description: &str,
) -> Result<()> {
    for _ in 1..BOOTS {
        boot_machine(workshop, kernel, machine, folder, description)?;
        if check::observed(folder, kernel)?["outcome"] != "timeout" {
            return Ok(());
        }
    }
    boot_machine(workshop, kernel, machine, folder, description)
}

/// Sections in which two disagree; what a smaller machine has to share with the larger.
fn sections(verdict: &Verdict) -> BTreeSet<String> {
    match verdict {
        Verdict::Compared(report) => report.differences.iter().map(|d| d.section().to_owned()).collect(),
        Verdict::Inconclusive(_) => BTreeSet::new(),
    }
}

/// A mismatch, made as small as a few boots allow.
#[derive(Debug)]
pub struct Mismatch {
    /// Where the small case is.
    pub folder: PathBuf,
    /// What differs there.
    pub verdict: Verdict,
    /// Boots that it took.
    pub boots: usize,
}

/// Shrinks a machine on which kernel and plan do not agree.
///
/// # Errors
/// Something of the host is missing or fails.
pub fn shrink(
    workshop: &Workshop,
    kernel: Kernel,
    planner: &Planner,
    machine: &impl Candidate,
    verdict: Verdict,
    name: &str,
) -> Result<Mismatch> {
    let wanted = sections(&verdict);
    let scratch = workshop.path("shrink").join(name);
    let mut best = (machine.clone(), verdict);
    let mut boots = 0;
    'again: loop {
        for candidate in best.0.simpler() {
            if boots >= SHRINK_BOOTS {
                break 'again;
            }
            boots += 1;
            let Ok(verdict) = try_machine(workshop, kernel, planner, &candidate, &scratch, "shrinking")
            else {
                continue;
            };
            if !sections(&verdict).is_disjoint(&wanted) {
                best = (candidate, verdict);
                continue 'again;
            }
        }
        break;
    }
    let folder = workshop.path("mismatches").join(name);
    let verdict = try_machine(workshop, kernel, planner, &best.0, &folder, &format!("shrunk from {name}"))?;
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    Ok(Mismatch { folder, verdict, boots: boots + 1 })
}
