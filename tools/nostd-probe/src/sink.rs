//! Where the probes put what they read, so that no read is optimised away.

use memtopo::error::{TableError, WriteError};
use memtopo::tables::entries::{Entries, Framing};
use memtopo::tables::header::Table;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A value that depends on everything that was put in.
#[derive(Default)]
pub struct Sink(u64);

impl Sink {
    /// What came together.
    pub fn value(&self) -> u64 {
        self.0
    }

    /// Takes a number.
    pub fn number(&mut self, number: impl Into<u64>) {
        self.0 = self.0.rotate_left(5) ^ number.into();
    }

    /// Takes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.number(*byte);
        }
    }

    /// Takes every byte of a structure.
    pub fn structure<T: IntoBytes + Immutable + ?Sized>(&mut self, structure: &T) {
        self.bytes(structure.as_bytes());
    }

    /// Takes why reading failed.
    pub fn fault(&mut self, fault: &TableError) {
        self.bytes(&fault.table.0);
        self.number(fault.offset);
        self.number(fault.expected);
        self.number(fault.found);
    }

    /// Takes how writing ended.
    pub fn written(&mut self, result: Result<u64, WriteError>) {
        match result {
            Ok(length) => self.number(length),
            Err(WriteError::BufferTooSmall { needed, available }) => {
                self.number(needed);
                self.number(available);
            }
            Err(WriteError::TooLong { length, limit, .. }) => {
                self.number(length);
                self.number(limit);
            }
            Err(_) => {}
        }
    }

    /// Takes the structures of a table as they lie there, and what cannot be walked.
    pub fn walk<F: Framing>(&mut self, mut entries: Entries<'_, F>) {
        for entry in entries.by_ref() {
            match entry {
                Ok(raw) => self.number(raw.kind),
                Err(fault) => self.fault(&fault),
            }
        }
        self.bytes(entries.remainder().1);
    }

    /// Takes the envelope of a table.
    pub fn table(&mut self, table: &Table<'_>) {
        self.structure(table.header());
        self.bytes(table.bytes());
        self.bytes(table.trailing());
        table.faults().for_each(|fault| self.fault(&fault));
    }
}

/// Numbers made of bytes that the compiler does not know.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// Takes its numbers from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next number; `None` when there are no more.
    pub fn next(&mut self) -> Option<u64> {
        let (number, rest) = u64::read_from_prefix(self.0).ok()?;
        self.0 = rest;
        Some(number)
    }

    /// The next number cut to 32 bits.
    pub fn next32(&mut self) -> Option<u32> {
        let [a, b, c, d, ..] = self.next()?.to_le_bytes();
        Some(u32::from_le_bytes([a, b, c, d]))
    }

    /// The next number cut to 16 bits.
    pub fn next16(&mut self) -> Option<u16> {
        let [a, b, ..] = self.next()?.to_le_bytes();
        Some(u16::from_le_bytes([a, b]))
    }

    /// The next number cut to 8 bits.
    pub fn next8(&mut self) -> Option<u8> {
        Some(self.next()?.to_le_bytes()[0])
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}
