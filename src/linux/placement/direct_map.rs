//! How the direct map is built, and which of its page tables come from the boot allocator (`arch/x86/mm/init.c:
//! memory_map_top_down, memory_map_bottom_up, alloc_low_pages`).
//!
//! The kernel image brings room for the first tables. It cannot be used while the range that holds it is mapped
//! itself, and it is soon full where entries of 1 GiB are missing.

use crate::linux::memory_map::MemoryMap;
use crate::range::AddressRange;
use crate::units::PhysAddr;
use alloc::collections::BTreeSet;

/// What one entry maps: of the second level, of the third, and one table of the third.
const LARGE: u64 = 2 << 20;
const HUGE: u64 = 1 << 30;
const UPPER: u64 = 512 << 30;
/// The first megabyte is mapped before all.
const FIRST: u64 = 1 << 20;
/// Tables that fit behind the kernel image (`INIT_PGD_PAGE_COUNT`), and how much of its end is room.
const ROOM: u64 = 8;
const ROOM_BYTES: u64 = 0x1_1000;

/// A direct map that grows.
#[derive(Debug)]
pub(super) struct DirectMap<'m> {
    map: &'m MemoryMap,
    /// Entries of 1 GiB can be used.
    huge: bool,
    /// The room behind the kernel image.
    room: AddressRange,
    /// Tables that are there, by what they map and its number.
    tables: BTreeSet<(u64, u64)>,
    left: u64,
    /// Pages from the boot allocator.
    taken: u64,
}

impl<'m> DirectMap<'m> {
    pub(super) fn new(map: &'m MemoryMap, image: &AddressRange, huge: bool) -> Self {
        let start = PhysAddr(image.end.0.saturating_sub(ROOM_BYTES));
        let room = AddressRange::new(start, image.end);
        Self { map, huge, room, tables: BTreeSet::new(), left: ROOM, taken: 0 }
    }

    /// Maps all memory; how many pages come from the boot allocator.
    pub(super) fn pages(mut self, upwards: bool, image_end: PhysAddr) -> u64 {
        let end = self.map.ram.last().map_or(0, |ram| ram.end.0);
        self.enter((LARGE, 0), false);
        self.enter((HUGE, 0), false);
        self.enter((UPPER, 0), false);
        if upwards {
            self.upwards(image_end.0, end);
            self.upwards(FIRST, image_end.0);
        } else {
            self.downwards(FIRST, end);
        }
        self.taken
    }

    /// From the highest 2 MiB downwards, in steps that grow.
    fn downwards(&mut self, from: u64, end: u64) {
        let top = end.saturating_sub(end.checked_rem(LARGE).unwrap_or_default());
        let (mut last, mut step, mut mapped) = (top, LARGE, 0_u64);
        while last > from {
            let before = last.saturating_sub(1);
            let start = before.saturating_sub(before.checked_rem(step).unwrap_or_default()).max(from);
            mapped = mapped.saturating_add(self.map_range(start, last));
            last = start;
            if mapped >= step {
                step = step.saturating_mul(32);
            }
        }
        self.map_range(top, end);
    }

    /// From an address upwards, in steps that grow.
    fn upwards(&mut self, from: u64, end: u64) {
        let (mut start, mut step, mut mapped) = (from, LARGE, 0_u64);
        while start < end {
            let next = start.saturating_add(1).checked_next_multiple_of(step).unwrap_or(end).min(end);
            mapped = mapped.saturating_add(self.map_range(start, next));
            start = next;
            if mapped >= step {
                step = step.saturating_mul(32);
            }
        }
    }

    /// Maps the RAM in a range; how much that is.
    fn map_range(&mut self, start: u64, end: u64) -> u64 {
        let range = AddressRange::new(PhysAddr(start), PhysAddr(end));
        let map = self.map;
        let from = map.ram.partition_point(|ram| ram.end <= range.start);
        let mut sum = 0_u64;
        for ram in map.ram.iter().skip(from).take_while(|ram| ram.start < range.end) {
            let Some(part) = ram.intersect(&range) else { continue };
            sum = sum.saturating_add(part.size().0);
            let itself = part.overlaps(&self.room);
            for table in numbers(&part, UPPER) {
                self.enter((UPPER, table), itself);
            }
            if self.huge {
                for edge in edges(&part, ram, HUGE).into_iter().flatten() {
                    self.enter((HUGE, edge), itself);
                }
            } else {
                for table in numbers(&part, HUGE) {
                    self.enter((HUGE, table), itself);
                }
            }
            for edge in edges(&part, ram, LARGE).into_iter().flatten() {
                self.enter((LARGE, edge), itself);
            }
        }
        sum
    }

    /// A table is needed.
    fn enter(&mut self, table: (u64, u64), itself: bool) {
        if !self.tables.insert(table) {
            return;
        }
        if itself || self.left == 0 {
            self.taken = self.taken.saturating_add(1);
        } else {
            self.left = self.left.saturating_sub(1);
        }
    }
}

/// Numbers of the aligned pieces of a size that a range touches.
fn numbers(range: &AddressRange, size: u64) -> core::ops::Range<u64> {
    range.start.0.checked_div(size).unwrap_or_default()..range.end.0.div_ceil(size.max(1))
}

/// The aligned pieces at the ends of RAM that are not all RAM, as far as a part of it lies in them.
fn edges(part: &AddressRange, ram: &AddressRange, size: u64) -> [Option<u64>; 2] {
    let edge = |at: u64| {
        let number = at.checked_div(size)?;
        let inside = numbers(part, size).contains(&number);
        (at.checked_rem(size) != Some(0) && inside).then_some(number)
    };
    [edge(ram.start.0), edge(ram.end.0)]
}
