//! The first round of looking for the best initiators, for all targets at once.
//!
//! In it every initiator is asked about every target. Going through the matrix row by row reads it once and in order;
//! asking target by target would jump from row to row. What follows asks the few that remain.

use super::access::{Access, Locality};
use super::coordinates::normalise;
use crate::topology::performance::{Content, Performance};
use alloc::vec;
use alloc::vec::Vec;

/// Who remains after the first matrix, and with which figure, for each target.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstRound {
    /// The best figure; 0 where nothing is known.
    pub(super) best: Vec<u32>,
    /// The initiators that have it, by place, ascending.
    pub(super) left: Vec<Vec<usize>>,
}

impl FirstRound {
    fn new(targets: usize) -> Self {
        Self { best: vec![0; targets], left: vec![Vec::new(); targets] }
    }

    fn ask(&mut self, initiator: usize, values: &[u32], smaller: bool) {
        for ((best, left), value) in self.best.iter_mut().zip(&mut self.left).zip(values) {
            let better = if smaller { *value < *best } else { *value > *best };
            if *value != 0 && (*best == 0 || better) {
                *best = *value;
                left.clear();
            }
            if value == best {
                left.push(initiator);
            }
        }
    }
}

impl Access {
    /// The first round among all initiators, and among those with processors.
    pub(super) fn first_rounds(&self, locality: &Locality, hmat: &Performance<'_>) -> [FirstRound; 2] {
        let mut all = FirstRound::new(self.targets.len());
        let mut with_cpu = all.clone();
        let Some(Content::Locality(_, matrix)) = hmat.entries.get(locality.entry).map(|entry| &entry.content)
        else {
            return [all, with_cpu];
        };
        let mut values = vec![0; self.targets.len()];
        for ((place, initiator), row) in self.initiators.iter().enumerate().zip(&locality.rows) {
            let cells = row.and_then(|row| {
                let start = row.checked_mul(locality.width)?;
                matrix.cells.get(start..start.checked_add(locality.width)?)
            });
            let cells = cells.unwrap_or_default();
            for (value, column) in values.iter_mut().zip(&locality.columns) {
                let cell = column.and_then(|column| cells.get(column)).map(|cell| cell.get());
                *value = normalise(cell.unwrap_or_default(), locality.base, locality.kind, self.revision);
            }
            let smaller = locality.kind.is_latency();
            all.ask(place, &values, smaller);
            if initiator.has_cpu {
                with_cpu.ask(place, &values, smaller);
            }
        }
        [all, with_cpu]
    }
}
