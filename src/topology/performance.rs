//! How fast initiators reach memory, and the caches before it: the structures of the HMAT in table order.

use super::chain::{Chain, End, Link};
use super::{Partial, TableBytes};
use crate::tables::entries::Wide;
use crate::tables::hmat::{Hmat, LocalityHeader, MemorySideCacheHeader, MemorySubsystemAddressRange};
use crate::tables::wire::Le;
use crate::units::{MatrixCell, ProximityDomain};
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The HMAT.
#[derive(Clone, Debug)]
pub struct Performance<'a> {
    /// Revision of the table, on which units and flags depend.
    pub revision: u8,
    /// Declared length of the table in bytes.
    pub length: usize,
    /// The structures, in table order.
    pub entries: Vec<Entry<'a>>,
    /// How the chain of structures ended.
    pub end: End,
}

/// One structure of the HMAT.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Type, place and declared length.
    pub link: Link,
    /// What it says.
    pub content: Content<'a>,
}

/// What a structure of the HMAT says.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Content<'a> {
    /// What a memory domain is attached to; both revisions of the structure share the fields that count.
    Proximity(Partial<MemorySubsystemAddressRange>),
    /// A matrix of latencies or bandwidths.
    Locality(Partial<LocalityHeader>, Matrix<'a>),
    /// A memory-side cache.
    Cache(Partial<MemorySideCacheHeader>),
    /// A type without a definition.
    Unknown,
}

/// The lists of a locality structure, as far as their bytes are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matrix<'a> {
    /// Domains of the rows.
    pub initiators: &'a [Le<ProximityDomain>],
    /// Domains of the columns.
    pub targets: &'a [Le<ProximityDomain>],
    /// The cells, row by row.
    pub cells: &'a [Le<MatrixCell>],
    /// Whether all rows, columns and cells that the structure declares are known.
    pub complete: bool,
}

impl<'a> Matrix<'a> {
    fn read(header: &LocalityHeader, mut bytes: &'a [u8]) -> Self {
        let rows = u64::from(header.initiator_count.get());
        let columns = u64::from(header.target_count.get());
        let (initiators, all_rows) = take(&mut bytes, rows);
        let (targets, all_columns) = take(&mut bytes, columns);
        let (cells, all_cells) = take(&mut bytes, rows.saturating_mul(columns));
        Self { initiators, targets, cells, complete: all_rows && all_columns && all_cells }
    }

    /// The cell of one row and one column.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> Option<MatrixCell> {
        let at = row.checked_mul(self.targets.len())?.checked_add(column)?;
        self.cells.get(at).map(|cell| cell.get())
    }
}

/// Takes `count` elements, or as many as there are; tells whether that is all of them.
fn take<'a, T>(bytes: &mut &'a [u8], count: u64) -> (&'a [T], bool)
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    let available = bytes.len().checked_div(size_of::<T>()).unwrap_or_default();
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    match <[T]>::ref_from_prefix_with_elems(bytes, wanted.min(available)) {
        Ok((list, rest)) => {
            *bytes = if wanted > available { &[] } else { rest };
            (list, wanted <= available)
        }
        Err(_) => (&[], wanted == 0),
    }
}

impl<'a> Performance<'a> {
    /// Reads an HMAT.
    #[must_use]
    pub fn read(table: &TableBytes<'a>) -> Self {
        let mut chain = Chain::<Wide>::new(*table, Hmat::FIXED);
        let entries = chain
            .by_ref()
            .map(|(link, at)| Entry {
                link,
                content: match link.kind {
                    0 => Content::Proximity(table.read(at)),
                    1 => {
                        let header = table.read::<LocalityHeader>(at);
                        let lists = table.from(at.saturating_add(size_of::<LocalityHeader>()));
                        let matrix = header.whole().map(|header| Matrix::read(header, lists));
                        Content::Locality(header, matrix.unwrap_or_default())
                    }
                    2 => Content::Cache(table.read(at)),
                    _ => Content::Unknown,
                },
            })
            .collect();
        Self { revision: table.revision(), length: table.length(), entries, end: chain.end }
    }
}
