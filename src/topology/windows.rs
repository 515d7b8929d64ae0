//! CXL host bridges and the address windows over them: the structures of the CEDT in table order.

use super::chain::{Chain, End, Link};
use super::{Partial, TableBytes};
use crate::tables::cedt::{Cedt, FixedMemoryWindowHeader, HostBridge, XorInterleaveMathHeader};
use crate::tables::entries::Medium;
use crate::tables::wire::Le;
use crate::units::{AcpiUid, XorMap};
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The windows of the CEDT.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Declared length of the table in bytes.
    pub length: usize,
    /// The structures, in table order.
    pub entries: Vec<Entry>,
    /// How the chain of structures ended.
    pub end: End,
    /// The ids of who made the table: OEM id and OEM table id.
    pub oem: ([u8; 6], [u8; 8]),
}

/// One structure of the CEDT.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Type, place and declared length.
    pub link: Link,
    /// A host bridge (type 0); `None` for every other type.
    pub bridge: Option<Partial<HostBridge>>,
    /// The fixed part of a window (type 1); `None` for every other type.
    pub window: Option<Partial<FixedMemoryWindowHeader>>,
    /// The targets of a window, one for each way, as far as their bytes are known, whether the structure declares
    /// them as its own or not.
    pub targets: Vec<AcpiUid>,
    /// The fixed part of XOR maps (type 2); `None` for every other type.
    pub xor: Option<Partial<XorInterleaveMathHeader>>,
    /// The maps, as far as their bytes are known, whether the structure declares them as its own or not.
    pub maps: Vec<XorMap>,
}

impl Entry {
    fn read(table: &TableBytes<'_>, link: Link, at: usize) -> Self {
        let window = (link.kind == 1).then(|| table.read::<FixedMemoryWindowHeader>(at));
        let xor = (link.kind == 2).then(|| table.read::<XorInterleaveMathHeader>(at));
        let ways = window.and_then(|window| window.whole()?.interleave_ways.get().ways()).unwrap_or(0);
        let count = xor.and_then(|xor| Some(xor.whole()?.map_count.get())).unwrap_or(0);
        let behind = |fixed: usize| table.from(at.saturating_add(fixed));
        Self {
            link,
            bridge: (link.kind == 0).then(|| table.read(at)),
            window,
            targets: list::<Le<AcpiUid>>(behind(size_of::<FixedMemoryWindowHeader>()), ways)
                .iter()
                .map(|target| target.get())
                .collect(),
            xor,
            maps: list::<Le<XorMap>>(behind(size_of::<XorInterleaveMathHeader>()), count)
                .iter()
                .map(|map| map.get())
                .collect(),
        }
    }
}

/// `count` elements at the start of `bytes`, or as many as there are.
fn list<T: FromBytes + Immutable + KnownLayout + Unaligned>(bytes: &[u8], count: u8) -> &[T] {
    let available = bytes.len().checked_div(size_of::<T>()).unwrap_or_default();
    let count = usize::from(count).min(available);
    <[T]>::ref_from_prefix_with_elems(bytes, count).map(|(list, _)| list).unwrap_or_default()
}

impl Windows {
    /// Reads a CEDT.
    #[must_use]
    pub fn read(table: &TableBytes<'_>) -> Self {
        let mut chain = Chain::<Medium>::new(*table, Cedt::FIXED);
        let entries = chain.by_ref().map(|(link, at)| Entry::read(table, link, at)).collect();
        Self { length: table.length(), entries, end: chain.end, oem: table.oem() }
    }
}
