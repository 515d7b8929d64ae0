//! Address windows for CXL memory: the CFMWS structures of the CEDT in table order.

use super::chain::{Chain, End, Link};
use super::{Partial, TableBytes};
use crate::tables::cedt::{Cedt, FixedMemoryWindowHeader};
use crate::tables::entries::Medium;
use crate::tables::wire::Le;
use crate::units::AcpiUid;
use alloc::vec::Vec;
use zerocopy::FromBytes;

/// The windows of the CEDT.
#[derive(Clone, Debug)]
pub struct Windows<'a> {
    /// Declared length of the table in bytes.
    pub length: usize,
    /// The structures, in table order.
    pub entries: Vec<Entry<'a>>,
    /// How the chain of structures ended.
    pub end: End,
}

/// One structure of the CEDT.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Type, place and declared length.
    pub link: Link,
    /// The fixed part of a window (type 1); `None` for every other type.
    pub window: Option<Partial<FixedMemoryWindowHeader>>,
    /// Host bridges of a window, by `_UID`, as far as their bytes are known.
    pub targets: &'a [Le<AcpiUid>],
}

impl<'a> Windows<'a> {
    /// Reads a CEDT.
    #[must_use]
    pub fn read(table: &TableBytes<'a>) -> Self {
        let mut chain = Chain::<Medium>::new(*table, Cedt::FIXED);
        let entries = chain
            .by_ref()
            .map(|(link, at)| {
                let window = (link.kind == 1).then(|| table.read::<FixedMemoryWindowHeader>(at));
                let header = window.as_ref().and_then(Partial::whole);
                let ways = header.and_then(|header| header.interleave_ways.get().ways()).unwrap_or(0);
                let behind = table.from(at.saturating_add(size_of::<FixedMemoryWindowHeader>()));
                let targets = <[Le<AcpiUid>]>::ref_from_prefix_with_elems(behind, usize::from(ways));
                Entry { link, window, targets: targets.map_or(&[], |(targets, _)| targets) }
            })
            .collect();
        Self { length: table.length(), entries, end: chain.end }
    }
}
