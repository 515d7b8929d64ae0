//! Node distances (`drivers/acpi/numa/srat.c: acpi_parse_slit`, `mm/numa_memblks.c`).

use super::domains::DomainMap;
use super::reason::{Fact, Notes, Reason, Section, Subject};
use super::rules;
use crate::topology::distances::Distances;
use crate::units::{Distance, NodeId, ProximityDomain};
use alloc::vec;
use alloc::vec::Vec;

/// Distance of a node to itself, without a table.
pub const LOCAL: Distance = Distance(10);
/// Distance to any other node, without a table.
pub const REMOTE: Distance = Distance(20);

/// The distances between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistanceTable {
    /// Rows and columns; nodes from here on have the default distances.
    size: usize,
    cells: Vec<Distance>,
}

/// The distances from one node to all others.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    from: NodeId,
    cells: &'a [Distance],
}

impl Row<'_> {
    /// The distance to a node.
    #[must_use]
    pub fn get(&self, to: NodeId) -> Distance {
        let default = if self.from == to { LOCAL } else { REMOTE };
        self.cells.get(index(to)).copied().unwrap_or(default)
    }
}

fn index(node: NodeId) -> usize {
    usize::try_from(node.0).unwrap_or(usize::MAX)
}

impl DistanceTable {
    /// A table for nodes below `size` with the default distances.
    #[must_use]
    pub fn with_defaults(size: usize) -> Self {
        let mut table = Self { size, cells: vec![REMOTE; size.saturating_mul(size)] };
        for cell in table.cells.iter_mut().step_by(size.saturating_add(1)) {
            *cell = LOCAL;
        }
        table
    }

    /// The table that a valid SLIT makes for nodes below `size`; nothing when it is invalid, undetermined when a
    /// distance that counts is not known.
    pub(crate) fn from_slit(
        slit: &Distances<'_>,
        domains: &DomainMap,
        size: usize,
        notes: &mut Notes,
    ) -> Self {
        if let Some((from, to)) = violation(slit) {
            let value = slit.get(from, to).unwrap_or_default();
            let fact = Fact::at(slit.source(from, to), "distance", u64::from(value.0));
            notes.reason(Subject::Distances, Reason::new(rules::SLIT_INVALID).with([fact]));
            return Self::default();
        }
        let known = u64::try_from(slit.cells().len()).unwrap_or(u64::MAX);
        if slit.localities().and_then(|n| n.checked_mul(n)) != Some(known) {
            let missing =
                "bytes behind the end of the SLIT: it declares more localities than it has room for";
            notes.missing(Section::Distances, missing);
            return Self::default();
        }
        // Localities are numbered from 0, so there are no more than rows in the table.
        let rows = usize::try_from(slit.localities().unwrap_or_default()).unwrap_or_default();
        let mapped: Vec<(usize, NodeId)> = (0..rows)
            .zip(0..)
            .filter_map(|(row, domain)| Some((row, domains.node(ProximityDomain(domain))?)))
            .collect();
        if mapped.is_empty() {
            return Self::default();
        }
        let mut table = Self::with_defaults(size);
        let cells = |row: usize| {
            let start = row.checked_mul(rows)?;
            slit.cells().get(start..start.checked_add(rows)?)
        };
        for (row, from) in &mapped {
            let cells = cells(*row).unwrap_or_default();
            let Some(own) = table.row_mut(*from) else { continue };
            for (column, to) in &mapped {
                // A diagonal that is not 10 makes the table invalid, so what is set here is valid.
                if let (Some(distance), Some(place)) = (cells.get(*column), own.get_mut(index(*to))) {
                    *place = Distance(*distance);
                }
            }
        }
        notes.reason(Subject::Distances, Reason::new(rules::SLIT_USED));
        table
    }

    /// Sets one distance, where the kernel would: nodes of the table, 10 on the diagonal.
    pub(crate) fn set(&mut self, from: NodeId, to: NodeId, distance: Distance) {
        if from == to && distance != LOCAL || index(to) >= self.size {
            return;
        }
        let cell = index(from).checked_mul(self.size).and_then(|at| at.checked_add(index(to)));
        if let Some(place) = cell.and_then(|cell| self.cells.get_mut(cell)) {
            *place = distance;
        }
    }

    /// The cells of a node of the table.
    fn row_mut(&mut self, from: NodeId) -> Option<&mut [Distance]> {
        let start = index(from).checked_mul(self.size)?;
        self.cells.get_mut(start..start.checked_add(self.size)?)
    }

    /// The distances from one node.
    #[must_use]
    pub fn row(&self, from: NodeId) -> Row<'_> {
        let cells = index(from)
            .checked_mul(self.size)
            .and_then(|start| self.cells.get(start..start.checked_add(self.size)?));
        Row { from, cells: cells.unwrap_or_default() }
    }

    /// The distance between two nodes.
    #[must_use]
    pub fn get(&self, from: NodeId, to: NodeId) -> Distance {
        self.row(from).get(to)
    }

    /// Rows and columns; 0 without a usable SLIT.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// All distances, row by row.
    #[must_use]
    pub fn cells(&self) -> &[Distance] {
        &self.cells
    }
}

/// The first pair of localities whose distance makes the SLIT invalid.
fn violation(slit: &Distances<'_>) -> Option<(usize, usize)> {
    let n = usize::try_from(slit.localities()?).ok().filter(|n| *n > 0)?;
    slit.cells().chunks(n).enumerate().find_map(|(row, cells)| {
        let wrong = |(column, cell): (usize, &u8)| {
            let good = if row == column { *cell == LOCAL.0 } else { *cell > LOCAL.0 };
            (!good).then_some((row, column))
        };
        cells.iter().enumerate().find_map(wrong)
    })
}
