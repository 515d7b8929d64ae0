//! Address windows for CXL memory: the CFMWS structures of the CEDT in table order.

use super::chain::{Chain, End, Link};
use super::{Partial, TableBytes};
use crate::tables::cedt::{Cedt, FixedMemoryWindowHeader};
use crate::tables::entries::Medium;
use alloc::vec::Vec;

/// The windows of the CEDT.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Declared length of the table in bytes.
    pub length: usize,
    /// The structures, in table order.
    pub entries: Vec<Entry>,
    /// How the chain of structures ended.
    pub end: End,
}

/// One structure of the CEDT.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Type, place and declared length.
    pub link: Link,
    /// The fixed part of a window (type 1); `None` for every other type.
    pub window: Option<Partial<FixedMemoryWindowHeader>>,
}

impl Windows {
    /// Reads a CEDT.
    #[must_use]
    pub fn read(table: &TableBytes<'_>) -> Self {
        let mut chain = Chain::<Medium>::new(*table, Cedt::FIXED);
        let entries = chain
            .by_ref()
            .map(|(link, at)| Entry { link, window: (link.kind == 1).then(|| table.read(at)) })
            .collect();
        Self { length: table.length(), entries, end: chain.end }
    }
}
