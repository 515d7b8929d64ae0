//! The distance from every proximity domain to every other: the SLIT.

use super::{HEADER, Source, TableBytes};
use crate::tables::slit::{Slit, SlitPrologue};
use crate::units::Distance;

/// The SLIT. Locality `i` of its matrix is proximity domain `i`.
#[derive(Clone, Copy, Debug)]
pub struct Distances<'a> {
    table: TableBytes<'a>,
    localities: Option<u64>,
}

impl<'a> Distances<'a> {
    /// Reads a SLIT.
    #[must_use]
    pub fn read(table: TableBytes<'a>) -> Self {
        let prologue = table.read::<SlitPrologue>(HEADER);
        Self { table, localities: prologue.whole().map(|prologue| prologue.locality_count.get()) }
    }

    /// The declared length of the table in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.table.length()
    }

    /// Rows and columns that the table declares, whether it has room for them or not; `None` when even that
    /// lies behind the known bytes.
    #[must_use]
    pub const fn localities(&self) -> Option<u64> {
        self.localities
    }

    /// The known distances, row by row; the last may be missing.
    #[must_use]
    pub fn cells(&self) -> &'a [u8] {
        let count =
            self.localities.and_then(|n| n.checked_mul(n)).and_then(|count| usize::try_from(count).ok());
        let known = self.table.from(Slit::FIXED);
        known.get(..count.unwrap_or(usize::MAX)).unwrap_or(known)
    }

    /// One distance, where it is known.
    #[must_use]
    pub fn get(&self, from: usize, to: usize) -> Option<Distance> {
        let n = usize::try_from(self.localities?).ok()?;
        let at = from.checked_mul(n)?.checked_add(to)?;
        self.cells().get(at).copied().map(Distance)
    }

    /// Where a distance stands.
    #[must_use]
    pub fn source(&self, from: usize, to: usize) -> Source {
        let n = self.localities.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        self.table.source(from.saturating_mul(n).saturating_add(to).saturating_add(Slit::FIXED))
    }
}
