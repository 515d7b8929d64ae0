//! CDAT, the Coherent Device Attribute Table: what a CXL device or switch says about its memory and paths
//! (CDAT 1.03). Not an ACPI table: it has a header of its own and no signature.

use super::header::{envelope_faults, split_table};
use super::layout::layout;
use super::schema::{Body, FramingKind, Structures, TableSchema};
use super::wire::{Checksum, Length, Reserved};
use crate::error::{Cause, TableError};
use crate::units::{Signature, widen};
use zerocopy::FromBytes;

layout! {
    /// CDAT header, 16 bytes.
    CdatHeader("header", "CDAT Header", 16) {
        /// Length of the whole table in bytes, header included.
        length: Length<u32> = "CDAT Table Length",
        /// 1 for CDAT 1.00 to 1.02, 2 for 1.03.
        revision: u8 = "Revision",
        /// Makes all `length` bytes sum to 0 modulo 256.
        checksum: Checksum = "Checksum",
        /// Zero.
        reserved: Reserved<6> = "Reserved",
        /// Counts the changes of the contents at run time.
        sequence: u32 = "Sequence",
    }
}

/// How to walk and print a CDAT.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::CDAT,
    name: "Coherent Device Attribute Table",
    prologue: None,
    body: Body::Structures(Structures { framing: FramingKind::Medium, layouts: &[], choose: None }),
};

/// A CDAT, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Cdat<'a> {
    header: &'a CdatHeader,
    bytes: &'a [u8],
    trailing: &'a [u8],
}

impl<'a> Cdat<'a> {
    /// Bytes before the first structure.
    pub const FIXED: usize = 16;

    /// Takes the CDAT at the start of `input`.
    ///
    /// A Length field beyond the input gives the bytes that are there; one below 16 gives the bare header.
    ///
    /// # Errors
    /// [`Cause::Truncated`] when `input` has fewer than 16 bytes.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let short = TableError {
            table: Signature::CDAT,
            offset: 0,
            cause: Cause::Truncated,
            expected: widen(Self::FIXED),
            found: widen(input.len()),
        };
        let (header, _) = CdatHeader::ref_from_prefix(input).map_err(|_| short)?;
        let (bytes, trailing) = split_table(input, Self::FIXED, header.length.get().0).ok_or(short)?;
        Ok(Self { header, bytes, trailing })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &'a CdatHeader {
        self.header
    }

    /// The bytes of the table, header included: as many as Length claims, or as there are.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the input behind the table.
    #[must_use]
    pub const fn trailing(&self) -> &'a [u8] {
        self.trailing
    }

    /// What is wrong with Length and checksum, at most one of each.
    pub fn faults(&self) -> impl Iterator<Item = TableError> + use<> {
        envelope_faults(Signature::CDAT, self.bytes, Self::FIXED, self.header.length.get().0, 5)
    }
}
