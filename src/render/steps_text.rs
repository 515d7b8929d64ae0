//! Steps of a sequence of events for a person: what was asked, what came of it, what changed and why.

use super::style::{Colour, Style};
use crate::linux::events::{Cause, Step};
use core::fmt::{self, Write};

/// Prints the steps, one paragraph each.
pub fn steps_text<W: Write>(out: &mut W, steps: &[Step<'_>], colour: Colour) -> fmt::Result {
    for (step, number) in steps.iter().zip(0..) {
        write!(out, "step {number}: {}: ", step.event)?;
        match &step.refused {
            None => writeln!(out, "ok")?,
            Some(Cause::Errno(errno)) => {
                write!(out, "{}", colour.paint(Style::Fault, errno))?;
                if let Some(at) = &step.refused_at {
                    write!(out, " at {at}")?;
                }
                writeln!(out)?;
            }
            Some(Cause::NotModelled) => writeln!(out, "{}", colour.paint(Style::Warning, "not modelled"))?,
            Some(Cause::Undetermined(missing)) => {
                writeln!(out, "{}: needs {missing}", colour.paint(Style::Warning, "unknown"))?;
            }
        }
        if let (Some(_), Some(reason)) = (&step.refused, &step.reason) {
            writeln!(out, "  {reason}")?;
        }
        for (change, reason) in &step.changes {
            writeln!(out, "  {change}: {}", colour.paint(Style::Dim, reason))?;
        }
    }
    Ok(())
}
