//! Where the probes put what they read, so that no read is optimised away.

use memtopo::error::{TableError, WriteError};
use memtopo::tables::header::Table;
use zerocopy::{Immutable, IntoBytes};

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

    /// Takes the envelope of a table.
    pub fn table(&mut self, table: &Table<'_>) {
        self.structure(table.header());
        self.bytes(table.bytes());
        self.bytes(table.trailing());
        table.faults().for_each(|fault| self.fault(&fault));
    }
}
