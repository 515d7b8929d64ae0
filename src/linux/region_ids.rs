//! The numbers of regions and of the devices over them (`lib/memregion.c`): one pool for CXL, soft-reserved memory and
//! NVDIMMs.

use alloc::collections::{BTreeMap, BTreeSet};

/// Which numbers are taken, and which of them root decoders hold ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionIds {
    taken: BTreeSet<u32>,
    ready: BTreeMap<u32, u32>,
}

impl RegionIds {
    /// Takes the lowest free number.
    pub(crate) fn allocate(&mut self) -> u32 {
        let id = (0..).find(|id| !self.taken.contains(id)).unwrap_or(u32::MAX);
        self.taken.insert(id);
        id
    }

    /// Marks a number as taken.
    pub(crate) fn claim(&mut self, id: u32) {
        self.taken.insert(id);
    }

    /// Holds a number ready for the next region of a root decoder (`cxl_root_decoder_alloc`).
    pub(crate) fn prepare(&mut self, root: u32) {
        let id = self.allocate();
        self.ready.insert(root, id);
    }

    /// The number that the next region of a root decoder will have.
    #[must_use]
    pub fn next(&self, root: u32) -> Option<u32> {
        self.ready.get(&root).copied()
    }

    /// Takes the number that a root decoder holds ready, and the next one for it (`__create_region`).
    pub(crate) fn take(&mut self, root: u32) -> u32 {
        let next = self.allocate();
        self.ready.insert(root, next).unwrap_or_else(|| {
            let first = next;
            let next = self.allocate();
            self.ready.insert(root, next);
            first
        })
    }

    /// Gives the number of a region back that was part of a root decoder (`cxl_region_release`): one that is lower
    /// than the next of that decoder becomes its next.
    pub(crate) fn release(&mut self, root: u32, id: u32) {
        let unused = match self.ready.get_mut(&root) {
            Some(next) if id < *next => core::mem::replace(next, id),
            _ => id,
        };
        self.taken.remove(&unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a booted 7.2.12 named its regions after a refused one and a deleted one.
    #[test]
    fn a_lower_number_comes_back_first() {
        let mut ids = RegionIds::default();
        ids.prepare(0);
        ids.prepare(1);
        assert_eq!((ids.take(0), ids.take(1), ids.take(1)), (0, 1, 3));
        ids.release(1, 3);
        assert_eq!((ids.next(0), ids.next(1)), (Some(2), Some(3)));
        ids.release(1, 1);
        assert_eq!(ids.next(1), Some(1));
        assert_eq!(ids.allocate(), 3);
    }

    #[test]
    fn roots_hold_the_next_number() {
        let mut ids = RegionIds::default();
        ids.prepare(0);
        ids.prepare(1);
        assert_eq!(ids.allocate(), 2);
        assert_eq!(ids.take(1), 1);
        assert_eq!(ids.next(1), Some(3));
        assert_eq!(ids.take(0), 0);
        assert_eq!(ids.next(0), Some(4));
    }
}
