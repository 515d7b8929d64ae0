//! The chain of structures in a table as their lengths link them, right or wrong.
//!
//! [`Entries`](crate::tables::entries::Entries) stops where a structure cannot be read safely as declared. This
//! walk goes wherever the lengths lead, as kernels do: a structure may reach behind the table, and a length
//! below the structure's own header still leads to the next one.

use super::{Source, TableBytes};
use crate::tables::entries::Framing;
use crate::units::widen;
use core::marker::PhantomData;

/// One structure of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its type number.
    pub kind: u16,
    /// Where it begins.
    pub source: Source,
    /// Its declared length in bytes.
    pub length: u32,
}

/// How the chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum End {
    /// The table ends.
    #[default]
    Complete,
    /// The last structure declares a length of 0, so nothing leads on from it.
    ZeroLength,
    /// The declared table goes on, but its bytes are not known from this offset.
    Unknown(Source),
}

/// Walks the chain of one table.
#[derive(Clone, Debug)]
pub(crate) struct Chain<'a, F> {
    table: TableBytes<'a>,
    next: Option<usize>,
    /// How the walk ended, once it has.
    pub(crate) end: End,
    framing: PhantomData<F>,
}

impl<'a, F: Framing> Chain<'a, F> {
    /// The chain that begins at `first`.
    pub(crate) const fn new(table: TableBytes<'a>, first: usize) -> Self {
        Self { table, next: Some(first), end: End::Complete, framing: PhantomData }
    }
}

impl<F: Framing> Iterator for Chain<'_, F> {
    type Item = (Link, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.next.take()?;
        if offset.saturating_add(F::HEADER) > self.table.length() {
            return None;
        }
        let source = self.table.source(offset);
        let Some((kind, length)) = F::read(self.table.from(offset)) else {
            self.end = End::Unknown(source);
            return None;
        };
        if length == 0 {
            self.end = End::ZeroLength;
        } else {
            self.next = usize::try_from(length).ok().and_then(|length| offset.checked_add(length));
        }
        Some((Link { kind, source, length }, offset))
    }
}

impl Link {
    /// Offset of the first byte behind the structure.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.source.offset.saturating_add(u64::from(self.length))
    }

    /// Whether the structure's header ends before the table does, `length` bytes long, with at least one byte
    /// between.
    #[must_use]
    pub fn header_inside<F: Framing>(&self, length: usize) -> bool {
        self.source.offset.saturating_add(widen(F::HEADER)) < widen(length)
    }
}
