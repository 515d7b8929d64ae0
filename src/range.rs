//! Half-open ranges of physical addresses.

use crate::units::{ByteCount, PhysAddr};
use core::fmt;

/// The addresses `start <= a < end`.
///
/// A range may be empty. The last byte of the address space cannot be part of one, because `end` has 64 bits;
/// [`from_base_size`](Self::from_base_size) returns `None` there as for any overflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AddressRange {
    /// First address of the range.
    pub start: PhysAddr,
    /// First address behind the range.
    pub end: PhysAddr,
}

impl AddressRange {
    /// The range from `start` up to, not including, `end`.
    #[must_use]
    pub const fn new(start: PhysAddr, end: PhysAddr) -> Self {
        Self { start, end }
    }

    /// The `size` bytes from `base`, or `None` when they pass the end of the address space.
    #[must_use]
    pub const fn from_base_size(base: PhysAddr, size: ByteCount) -> Option<Self> {
        match base.checked_add(size) {
            Some(end) => Some(Self { start: base, end }),
            None => None,
        }
    }

    /// Whether no address is inside.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start.0 >= self.end.0
    }

    /// Bytes inside; 0 for an empty range.
    #[must_use]
    pub const fn size(&self) -> ByteCount {
        ByteCount(self.end.0.saturating_sub(self.start.0))
    }

    /// Whether `address` is inside.
    #[must_use]
    pub const fn contains(&self, address: PhysAddr) -> bool {
        self.start.0 <= address.0 && address.0 < self.end.0
    }

    /// Whether all of `other` is inside; an empty `other` is when its start is.
    #[must_use]
    pub const fn covers(&self, other: &Self) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// Whether the two share an address.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }

    /// The addresses in both, or `None` when there are none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let both = Self { start: self.start.max(other.start), end: self.end.min(other.end) };
        if both.is_empty() { None } else { Some(both) }
    }

    /// The smallest range that contains both.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Prints as Linux does, with the last address inside: `[mem 0x00100000-0x3fffffff]` without the frame.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}-{:#010x}", self.start.0, self.end.0.wrapping_sub(1))
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start.0, self.end.0)
    }
}
