//! What can go wrong, and where.
//!
//! Reading fails with a [`TableError`]: which table, at which byte, what was expected there and what was
//! found. It is `Copy`, holds no text, and the same cause always has the same [`Cause`], so callers match on it
//! and fuzzers group by it. Reading never panics and never fails for a *judgement* (a wrong checksum, a
//! reserved value, an unknown type): those are reported beside the data, because real firmware is wrong and
//! its tables still have to be read.
//!
//! Writing fails with a [`WriteError`]: the buffer is too small (and how large it must be), or a length does
//! not fit the field that carries it.
//!
//! Text containers (acpidump, memory maps) and archives fail with a [`TableError`] too, with the offset in the
//! file; a line or a member that cannot be used does not stop the rest.

use crate::units::Signature;
use thiserror::Error;

/// Why bytes could not be read, with the place and the two numbers that disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{table}: {cause} at offset {offset:#x}: expected {expected:#x}, found {found:#x}")]
pub struct TableError {
    /// The table, or the container, in which it happened.
    pub table: Signature,
    /// Byte offset from the start of the table (or of the container's file).
    pub offset: u64,
    /// What went wrong.
    pub cause: Cause,
    /// The number that was expected: for lengths, in bytes.
    pub expected: u64,
    /// The number that was found: for lengths, in bytes.
    pub found: u64,
}

/// The kinds of fault that reading can meet. `expected` and `found` of [`TableError`] are explained for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum Cause {
    /// The bytes end inside a fixed part. Expected: its size. Found: the bytes that are there.
    #[error("bytes end early")]
    Truncated,
    /// Another signature. Expected and found: the signatures as little-endian numbers.
    #[error("wrong signature")]
    Signature,
    /// The Length field is below the fixed part of the table. Expected: the least that is possible.
    #[error("table length too small")]
    TableLengthShort,
    /// The Length field goes beyond the bytes that are there. Expected: the declared length.
    #[error("table length beyond the bytes available")]
    TableLengthLong,
    /// Bytes follow the declared length. Expected: the declared length. Found: the size of the input.
    #[error("bytes after the table")]
    TrailingBytes,
    /// The bytes do not sum to zero. Expected: the checksum byte that would be right. Found: the one there.
    #[error("wrong checksum")]
    Checksum,
    /// A structure says it is zero bytes long: nothing behind it can be reached. Expected: the least possible.
    #[error("structure length is zero")]
    StructureLengthZero,
    /// A structure is shorter than its own header. Expected: the header's size.
    #[error("structure length below its header")]
    StructureLengthHeader,
    /// A structure is shorter than its type requires. Expected: the size of the type.
    #[error("structure too short for its type")]
    StructureLengthShort,
    /// A structure runs past the end of the table. Expected: its length. Found: the bytes left.
    #[error("structure runs past the end of the table")]
    StructureOverrun,
    /// The lists of a structure need more room than its length gives. Expected: the length they need.
    #[error("lists do not fit the structure")]
    ListOverrun,
    /// Bytes are left that are fewer than a structure header. Expected: the header's size.
    #[error("bytes left are too few for a structure")]
    TrailingFragment,
    /// The body is not a whole number of entries. Expected: the entry size. Found: the bytes left over.
    #[error("body is not a whole number of entries")]
    PartialEntry,
    /// An EFI descriptor size below the 40 bytes of version 1. Expected: 40.
    #[error("descriptor stride too small")]
    Stride,
    /// A number in a text form could not be read. Expected: 0. Found: the line number.
    #[error("malformed line")]
    MalformedText,
    /// A record of an archive or image is malformed. Expected and found as the container says.
    #[error("malformed container")]
    MalformedContainer,
    /// Nothing in the input is a table that can be decoded. Expected: at least one. Found: none.
    #[error("no table recognised")]
    NothingDecoded,
}

/// Why bytes could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small; nothing useful is in it.
    #[error("buffer too small: {needed} bytes needed, {available} available")]
    BufferTooSmall {
        /// Bytes that the whole output takes.
        needed: u64,
        /// Bytes that the buffer has.
        available: u64,
    },
    /// A table or structure is longer than its length field can say.
    #[error("{table}: {length} bytes exceed the largest length its field can hold ({limit})")]
    TooLong {
        /// The table being written.
        table: Signature,
        /// The length in bytes that did not fit.
        length: u64,
        /// The largest length that the field can carry.
        limit: u64,
    },
}
