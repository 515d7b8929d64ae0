//! A capture against its plan.

use crate::case::Located;
use crate::compare::{Answer, Report, compare};
use crate::planner::Planner;
use crate::workshop::Kernel;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// What came of comparing one capture.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Compared.
    Compared(Report),
    /// The capture says nothing about the kernel, for the reason given.
    Inconclusive(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = match self {
            Self::Inconclusive(reason) => return write!(f, "inconclusive: {reason}"),
            Self::Compared(report) => report,
        };
        let (count, differ) = (report.total(), report.differences.len());
        write!(f, "{count} values agree, {differ} differ")?;
        if !report.unknown.is_empty() {
            write!(f, ", {} unknown to the plan", report.unknown.len())?;
        }
        if !report.lacking.is_empty() {
            let parts: Vec<_> =
                report.lacking.iter().map(|(part, count)| format!("{part} ({count})")).collect();
            write!(f, "; NOT COMPARED, the plan lacks them: {}", parts.join(", "))?;
        }
        Ok(())
    }
}

/// The parsed facts of a case folder.
///
/// # Errors
/// They cannot be read.
pub fn observed(folder: &Path, kernel: Kernel) -> Result<Value> {
    let path = folder.join(kernel.observed_file());
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Compares a stored capture with the plan.
///
/// # Errors
/// The capture cannot be read, or the plan cannot be made.
pub fn stored(folder: &Path, planner: &Planner, kernel: Kernel) -> Result<Verdict> {
    let located = Located::read(folder)?;
    let observed = observed(folder, kernel)?;
    let outcome = observed["outcome"].as_str().unwrap_or_default();
    if outcome == "timeout" {
        return Ok(Verdict::Inconclusive("the boot took too long".to_owned()));
    }
    if !folder.join("tables").is_dir() {
        return Ok(Verdict::Inconclusive(format!("{outcome}, and no tables were captured")));
    }
    let plan = planner.plan(folder, &located.case, &observed, kernel).context(located.case.name)?;
    Ok(Verdict::Compared(compare(&observed, &plan, Answer::Plan)))
}
