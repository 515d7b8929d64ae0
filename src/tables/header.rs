//! The header that all ACPI tables begin with, and the table around it (ACPI 6.6 §5.2.6).

use super::layout::{Structure, layout};
use super::wire::{Checksum, Hex, Length, Text};
use crate::error::{Cause, TableError};
use crate::units::{Signature, widen};
use zerocopy::FromBytes;

layout! {
    /// System Description Table Header, 36 bytes: ACPI 6.6 §5.2.6.
    SdtHeader("header", "Table Header", 36) {
        /// Four ASCII bytes that name the table.
        signature: Signature = "Signature",
        /// Length of the whole table in bytes, header included; at least 36.
        length: Length<u32> = "Table Length",
        /// Revision of the table; each table counts its own.
        revision: u8 = "Revision",
        /// Makes all `length` bytes sum to 0 modulo 256.
        checksum: Checksum = "Checksum",
        /// Name of the manufacturer.
        oem_id: Text<6> = "Oem ID",
        /// Name that the manufacturer gives the table.
        oem_table_id: Text<8> = "Oem Table ID",
        /// Larger is newer; decides whether Linux lets an initrd table replace this one.
        oem_revision: Hex<u32> = "Oem Revision",
        /// Vendor of the program that made the table.
        creator_id: Text<4> = "Asl Compiler ID",
        /// Version of that program.
        creator_revision: Hex<u32> = "Asl Compiler Revision",
    }
}

impl SdtHeader {
    /// Size of the header in bytes.
    pub const SIZE: usize = 36;

    /// A header for a new table: length and checksum are filled in when the table is finished.
    #[must_use]
    pub fn new(signature: Signature, revision: u8, identity: Identity) -> Self {
        Self {
            signature: signature.into(),
            length: Length(0).into(),
            revision: revision.into(),
            checksum: Checksum(0).into(),
            oem_id: Text(identity.oem_id).into(),
            oem_table_id: Text(identity.oem_table_id).into(),
            oem_revision: Hex(identity.oem_revision).into(),
            creator_id: Text(identity.creator_id).into(),
            creator_revision: Hex(identity.creator_revision).into(),
        }
    }
}

/// Who made a table: the identifying fields of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the manufacturer.
    pub oem_id: [u8; 6],
    /// Name that the manufacturer gives the table.
    pub oem_table_id: [u8; 8],
    /// Larger is newer.
    pub oem_revision: u32,
    /// Vendor of the program that made the table.
    pub creator_id: [u8; 4],
    /// Version of that program.
    pub creator_revision: u32,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            oem_id: *b"MTOPO ",
            oem_table_id: *b"MEMTOPO ",
            oem_revision: 1,
            creator_id: *b"MTPO",
            creator_revision: 1,
        }
    }
}

/// The value of a checksum byte that makes `bytes` sum to 0, where `bytes` holds `current` in its place.
#[must_use]
pub fn right_checksum(bytes: &[u8], current: u8) -> u8 {
    current.wrapping_sub(byte_sum(bytes))
}

/// Sum of all bytes modulo 256.
#[must_use]
pub fn byte_sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// A table as it lies in its input: the header, the bytes that its Length field claims, and what follows them.
///
/// Making one needs no more than a readable header; whether Length and checksum are right is told by
/// [`faults`](Self::faults), because a damaged table still has to be read.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    header: &'a SdtHeader,
    bytes: &'a [u8],
    trailing: &'a [u8],
}

impl<'a> Table<'a> {
    /// Takes the table at the start of `input`.
    ///
    /// A Length field beyond the input gives the bytes that are there; one below 36 gives the bare header.
    ///
    /// # Errors
    /// [`Cause::Truncated`] when `input` has fewer than 36 bytes.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let short = TableError {
            table: input.first_chunk().map_or(Signature(*b"????"), |bytes| Signature(*bytes)),
            offset: 0,
            cause: Cause::Truncated,
            expected: widen(SdtHeader::SIZE),
            found: widen(input.len()),
        };
        let (header, _) = SdtHeader::ref_from_prefix(input).map_err(|_| short)?;
        let (bytes, trailing) = split_table(input, SdtHeader::SIZE, header.length.get().0).ok_or(short)?;
        Ok(Self { header, bytes, trailing })
    }

    /// As [`parse`](Self::parse), for a table whose signature has to be `expected`.
    ///
    /// # Errors
    /// Also [`Cause::Signature`] when it is another, and [`Cause::TableLengthShort`] when the table ends before
    /// byte `fixed`.
    pub(crate) fn expect(input: &'a [u8], expected: Signature, fixed: usize) -> Result<Self, TableError> {
        let table = Self::parse(input)?;
        if table.signature() != expected {
            return Err(TableError {
                table: expected,
                offset: 0,
                cause: Cause::Signature,
                expected: u64::from(u32::from_le_bytes(expected.0)),
                found: u64::from(u32::from_le_bytes(table.signature().0)),
            });
        }
        if table.bytes.len() < fixed {
            return Err(TableError {
                table: expected,
                offset: 4,
                cause: Cause::TableLengthShort,
                expected: widen(fixed),
                found: widen(table.bytes.len()),
            });
        }
        Ok(table)
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &'a SdtHeader {
        self.header
    }

    /// The signature of the header.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.header.signature.get()
    }

    /// The revision of the header.
    #[must_use]
    pub fn revision(&self) -> u8 {
        self.header.revision.get()
    }

    /// The bytes of the table, header included: as many as Length claims, or as there are.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes of the table behind the header.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(SdtHeader::SIZE..).unwrap_or_default()
    }

    /// The fixed fields behind the header.
    ///
    /// # Errors
    /// [`Cause::Truncated`] when the table ends inside them.
    pub(crate) fn prologue<T: Structure>(&self) -> Result<&'a T, TableError> {
        let body = self.body();
        T::ref_from_prefix(body).map(|(prologue, _)| prologue).map_err(|_| TableError {
            table: self.signature(),
            offset: widen(SdtHeader::SIZE),
            cause: Cause::Truncated,
            expected: widen(size_of::<T>()),
            found: widen(body.len()),
        })
    }

    /// Bytes of the input behind the table.
    #[must_use]
    pub const fn trailing(&self) -> &'a [u8] {
        self.trailing
    }

    /// What is wrong with Length and checksum, at most one of each.
    pub fn faults(&self) -> impl Iterator<Item = TableError> + use<> {
        Envelope::sdt(self.signature()).faults(self.bytes, self.header.length.get().0)
    }
}

/// Splits `input` where a table with a header of `fixed` bytes that declares `length` ends: never inside the
/// header, never behind the input. `None` when the input is shorter than the header.
pub(crate) fn split_table(input: &[u8], fixed: usize, length: u32) -> Option<(&[u8], &[u8])> {
    let declared = usize::try_from(length).unwrap_or(usize::MAX);
    if input.len() < fixed { None } else { input.split_at_checked(declared.clamp(fixed, input.len())) }
}

/// Where a kind of table keeps what all tables have: its Length and its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    /// The table.
    pub(crate) table: Signature,
    /// Size of the header in bytes.
    fixed: usize,
    /// Offset of the Length field, four bytes.
    pub(crate) length_at: usize,
    /// Offset of the checksum byte.
    pub(crate) checksum_at: usize,
}

impl Envelope {
    /// That of CDAT.
    pub(crate) const CDAT: Self = Self { table: Signature::CDAT, fixed: 16, length_at: 0, checksum_at: 5 };

    /// That of the tables with the common header.
    pub(crate) const fn sdt(table: Signature) -> Self {
        Self { table, fixed: SdtHeader::SIZE, length_at: 4, checksum_at: 9 }
    }

    /// The faults of a table in its Length field, which says `declared`, and in its checksum, where `bytes` are
    /// what is there of it.
    pub(crate) fn faults(self, bytes: &[u8], declared: u32) -> impl Iterator<Item = TableError> + use<> {
        let fault = |cause, offset: usize, expected, found| TableError {
            table: self.table,
            offset: widen(offset),
            cause,
            expected,
            found,
        };
        let length = if u64::from(declared) < widen(self.fixed) {
            Some(fault(Cause::TableLengthShort, self.length_at, widen(self.fixed), u64::from(declared)))
        } else if u64::from(declared) > widen(bytes.len()) {
            Some(fault(Cause::TableLengthLong, self.length_at, u64::from(declared), widen(bytes.len())))
        } else {
            None
        };
        let found = bytes.get(self.checksum_at).copied().unwrap_or_default();
        let right = right_checksum(bytes, found);
        // The sum of a table that is not all there says nothing.
        let checksum = (length.is_none() && right != found)
            .then(|| fault(Cause::Checksum, self.checksum_at, u64::from(right), u64::from(found)));
        length.into_iter().chain(checksum)
    }
}
