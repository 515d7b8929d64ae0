//! The one bounded walker over structures that begin with a type and a length.

use crate::error::{Cause, TableError};
use crate::units::{Signature, widen};
use core::fmt;
use core::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// How a family of tables writes the type and length of its structures.
pub trait Framing: Copy + fmt::Debug {
    /// Bytes of type, length and what lies between.
    const HEADER: usize;
    /// Type and length in bytes, or `None` when `bytes` is shorter than the header.
    fn read(bytes: &[u8]) -> Option<(u16, u32)>;
}

/// One byte each: SRAT, MADT.
#[derive(Clone, Copy, Debug)]
pub struct Narrow;

impl Framing for Narrow {
    const HEADER: usize = 2;
    #[inline]
    fn read(bytes: &[u8]) -> Option<(u16, u32)> {
        let [kind, length] = *bytes.first_chunk::<2>()?;
        Some((u16::from(kind), u32::from(length)))
    }
}

/// Type in one byte, a reserved byte, length in two: CEDT, CDAT.
#[derive(Clone, Copy, Debug)]
pub struct Medium;

impl Framing for Medium {
    const HEADER: usize = 4;
    #[inline]
    fn read(bytes: &[u8]) -> Option<(u16, u32)> {
        let [kind, _, low, high] = *bytes.first_chunk::<4>()?;
        Some((u16::from(kind), u32::from(u16::from_le_bytes([low, high]))))
    }
}

/// Type in two bytes, two reserved, length in four: HMAT.
#[derive(Clone, Copy, Debug)]
pub struct Wide;

impl Framing for Wide {
    const HEADER: usize = 8;
    #[inline]
    fn read(bytes: &[u8]) -> Option<(u16, u32)> {
        let [a, b, _, _, l0, l1, l2, l3] = *bytes.first_chunk::<8>()?;
        Some((u16::from_le_bytes([a, b]), u32::from_le_bytes([l0, l1, l2, l3])))
    }
}

/// One structure as it lies in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawEntry<'a> {
    /// The Type field.
    pub kind: u16,
    /// Byte offset of the structure from the start of the table.
    pub offset: usize,
    /// The bytes of the structure, its header included: exactly as many as its Length field says.
    pub bytes: &'a [u8],
}

impl fmt::Debug for RawEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} at {:#x}, {} bytes", self.kind, self.offset, self.bytes.len())
    }
}

/// The structures of a table, in table order.
///
/// Every step moves forward by at least a header, so the work is bounded by the length of the table. A fault
/// that makes it impossible to go on is yielded once, and then the walk is over; the bytes that could not be
/// walked are [`remainder`](Self::remainder).
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a, F> {
    table: Signature,
    offset: usize,
    rest: &'a [u8],
    halted: bool,
    framing: PhantomData<F>,
}

impl<'a, F: Framing> Entries<'a, F> {
    /// The structures of `bytes` from `offset` on.
    #[must_use]
    pub fn new(table: Signature, bytes: &'a [u8], offset: usize) -> Self {
        let rest = bytes.get(offset..).unwrap_or_default();
        Self { table, offset, rest, halted: false, framing: PhantomData }
    }

    /// Offset and bytes of what has not been walked: empty after a walk without a fault.
    #[must_use]
    pub const fn remainder(&self) -> (usize, &'a [u8]) {
        (self.offset, self.rest)
    }

    #[cold]
    fn halt(&mut self, cause: Cause, expected: u64, found: u64) -> Option<Result<RawEntry<'a>, TableError>> {
        self.halted = true;
        Some(Err(TableError { table: self.table, offset: widen(self.offset), cause, expected, found }))
    }
}

impl<'a, F: Framing> Iterator for Entries<'a, F> {
    type Item = Result<RawEntry<'a>, TableError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.halted || self.rest.is_empty() {
            return None;
        }
        let Some((kind, declared)) = F::read(self.rest) else {
            return self.halt(Cause::TrailingFragment, widen(F::HEADER), widen(self.rest.len()));
        };
        let length = usize::try_from(declared).unwrap_or(usize::MAX);
        if length < F::HEADER {
            let cause = if length == 0 { Cause::StructureLengthZero } else { Cause::StructureLengthHeader };
            return self.halt(cause, widen(F::HEADER), u64::from(declared));
        }
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return self.halt(Cause::StructureOverrun, u64::from(declared), widen(self.rest.len()));
        };
        let entry = RawEntry { kind, offset: self.offset, bytes };
        self.offset = self.offset.saturating_add(length);
        self.rest = rest;
        Some(Ok(entry))
    }
}

impl<F: Framing> core::iter::FusedIterator for Entries<'_, F> {}

/// Reads the fixed part of a structure whose type is known.
///
/// # Errors
/// [`Cause::StructureLengthShort`] when the structure is shorter than `T`.
#[inline]
pub(crate) fn typed<'a, T: super::layout::Structure>(
    table: Signature,
    entry: &RawEntry<'a>,
) -> Result<(&'a T, &'a [u8]), TableError> {
    T::ref_from_prefix(entry.bytes).map_err(|_| TableError {
        table,
        offset: widen(entry.offset),
        cause: Cause::StructureLengthShort,
        expected: widen(size_of::<T>()),
        found: widen(entry.bytes.len()),
    })
}

/// Takes the lists of a structure one by one from `rest`, what lies behind its fixed part.
///
/// `needed` is the length in bytes that the structure has to have for all of them; when that is more than it
/// has, no list can be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lists<'a> {
    rest: &'a [u8],
    fault: TableError,
}

impl<'a> Lists<'a> {
    #[inline]
    pub(crate) fn new(
        table: Signature,
        entry: &RawEntry<'a>,
        rest: &'a [u8],
        needed: u64,
    ) -> Result<Self, TableError> {
        let fault = TableError {
            table,
            offset: widen(entry.offset),
            cause: Cause::ListOverrun,
            expected: needed,
            found: widen(entry.bytes.len()),
        };
        if needed > fault.found { Err(fault) } else { Ok(Self { rest, fault }) }
    }

    /// The next `count` elements.
    #[inline]
    pub(crate) fn take<T>(&mut self, count: u64) -> Result<&'a [T], TableError>
    where
        T: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        let count = usize::try_from(count).map_err(|_| self.fault)?;
        let (list, rest) = <[T]>::ref_from_prefix_with_elems(self.rest, count).map_err(|_| self.fault)?;
        self.rest = rest;
        Ok(list)
    }

    /// The bytes behind the lists.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk<F: Framing>(bytes: &[u8]) -> (usize, Option<TableError>, usize) {
        let mut entries = Entries::<F>::new(Signature::SRAT, bytes, 0);
        let mut good = 0;
        let mut fault = None;
        for entry in entries.by_ref() {
            match entry {
                Ok(_) => good += 1,
                Err(error) => fault = Some(error),
            }
        }
        assert!(entries.next().is_none(), "fused");
        (good, fault, entries.remainder().1.len())
    }

    #[test]
    fn a_zero_length_ends_the_walk_and_keeps_the_bytes() {
        let (good, fault, left) = walk::<Narrow>(&[9, 3, 0, 1, 0, 7, 7]);
        assert_eq!((good, left), (1, 4));
        let fault = fault.unwrap();
        assert_eq!(
            (fault.cause, fault.offset, fault.expected, fault.found),
            (Cause::StructureLengthZero, 3, 2, 0)
        );
    }

    #[test]
    fn an_overrun_names_both_lengths() {
        let (good, fault, left) = walk::<Medium>(&[0, 0, 4, 0, 1, 0, 9, 0]);
        assert_eq!((good, left), (1, 4));
        let fault = fault.unwrap();
        assert_eq!(
            (fault.cause, fault.offset, fault.expected, fault.found),
            (Cause::StructureOverrun, 4, 9, 4)
        );
    }

    #[test]
    fn every_truncation_of_a_good_walk_is_told() {
        let bytes = [0, 0, 0, 0, 10, 0, 0, 0, 1, 2, 1, 0, 0, 0, 8, 0, 0, 0];
        assert_eq!(walk::<Wide>(&bytes), (2, None, 0));
        for end in 0..bytes.len() {
            let (good, fault, left) = walk::<Wide>(&bytes[..end]);
            let clean = end == 0 || end == 10;
            assert_eq!(fault.is_none(), clean, "{end}");
            assert_eq!(good, usize::from(end >= 10), "{end}");
            assert_eq!(left, end % 10, "{end}");
        }
    }
}
