//! RSDP, RSDT and XSDT: where the other tables are (ACPI 6.6 §5.2.5, §5.2.7, §5.2.8).

use super::header::{Identity, SdtHeader, Table, right_checksum};
use super::layout::{Row, Structure, layout};
use super::output::{Output, Seal, TableWriter};
use super::schema::{Body, TableSchema};
use super::wire::{Checksum, Hex, Le, Length, Reserved, Text};
use crate::error::{Cause, TableError, WriteError};
use crate::units::{PhysAddr, Signature, widen};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

layout! {
    /// Root System Description Pointer of ACPI 1.0, 20 bytes, and the start of every later one.
    RsdpV1("rsdp", "Root System Description Pointer", 20) {
        /// `RSD PTR ` with the space.
        signature: Text<8> = "Signature",
        /// Makes the first 20 bytes sum to 0 modulo 256, in every revision.
        checksum: Checksum = "Checksum",
        /// Name of the manufacturer.
        oem_id: Text<6> = "Oem ID",
        /// 0 for ACPI 1.0, 2 for ACPI 2.0 and later.
        revision: u8 = "Revision",
        /// Physical address of the RSDT; 0 when there is none.
        rsdt_address: Hex<u32> = "RSDT Address",
    }
}

layout! {
    /// What revision 2 adds to [`RsdpV1`]: the 16 bytes from offset 20.
    RsdpExtension("rsdp_extension", "ACPI 2.0 extension", 16) {
        /// Length of the whole structure in bytes: 36.
        length: Length<u32> = "Length",
        /// Physical address of the XSDT; 0 when there is none.
        xsdt_address: PhysAddr = "XSDT Address",
        /// Makes all `length` bytes sum to 0 modulo 256.
        extended_checksum: Checksum = "Extended Checksum",
        /// Zero.
        reserved: Reserved<3> = "Reserved",
    }
}

layout! {
    /// What RSDT has behind the header: addresses, and no fixed fields.
    RsdtBody("rsdt", "RSDT", 0) {}
    lists(|_, length| [widen(length).checked_div(4).unwrap_or(0), 0, 0]) {
        "entries", "ACPI Table Address": [Hex<u32>], Row::Plain;
    }
}

layout! {
    /// What XSDT has behind the header: addresses, and no fixed fields.
    XsdtBody("xsdt", "XSDT", 0) {}
    lists(|_, length| [widen(length).checked_div(8).unwrap_or(0), 0, 0]) {
        "entries", "ACPI Table Address": [PhysAddr], Row::Plain;
    }
}

/// How to walk and print an RSDT.
pub(crate) const RSDT_SCHEMA: TableSchema = TableSchema {
    signature: Signature::RSDT,
    name: "Root System Description Table",
    prologue: Some(&RsdtBody::LAYOUT),
    body: Body::Lists,
};

/// How to walk and print an XSDT.
pub(crate) const XSDT_SCHEMA: TableSchema = TableSchema {
    signature: Signature::XSDT,
    name: "Extended System Description Table",
    prologue: Some(&XsdtBody::LAYOUT),
    body: Body::Lists,
};

/// Where an RSDP sends the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootPointer {
    /// To the XSDT at this address.
    Xsdt(PhysAddr),
    /// To the RSDT at this address.
    Rsdt(PhysAddr),
}

/// An RSDP, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Rsdp<'a> {
    first: &'a RsdpV1,
    extension: Option<&'a RsdpExtension>,
    bytes: &'a [u8],
    trailing: &'a [u8],
}

impl<'a> Rsdp<'a> {
    /// What an RSDP begins with.
    pub const MAGIC: [u8; 8] = *b"RSD PTR ";
    /// Size in bytes of the RSDP of ACPI 1.0.
    pub const V1_SIZE: usize = 20;
    /// Size in bytes from revision 2 on.
    pub const SIZE: usize = 36;

    /// Takes the RSDP at the start of `input`. One of revision 2 that is cut off before byte 36 is read without what
    /// revision 2 adds.
    ///
    /// # Errors
    /// [`Cause::Truncated`] when `input` has fewer than 20 bytes, [`Cause::Signature`] when it begins otherwise.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let fault =
            |cause, expected, found| TableError { table: Signature::RSDP, offset: 0, cause, expected, found };
        let (first, rest) = RsdpV1::ref_from_prefix(input)
            .map_err(|_| fault(Cause::Truncated, widen(Self::V1_SIZE), widen(input.len())))?;
        if first.signature.get().0 != Self::MAGIC {
            let found = u64::from_le_bytes(first.signature.get().0);
            return Err(fault(Cause::Signature, u64::from_le_bytes(Self::MAGIC), found));
        }
        let extended = first.revision.get() >= 2;
        let extension =
            RsdpExtension::ref_from_prefix(rest).ok().map(|(found, _)| found).filter(|_| extended);
        let size = if extended { Self::SIZE } else { Self::V1_SIZE };
        let (bytes, trailing) = input.split_at_checked(size).unwrap_or((input, &[]));
        Ok(Self { first, extension, bytes, trailing })
    }

    /// The fields that every RSDP has.
    #[must_use]
    pub const fn first(&self) -> &'a RsdpV1 {
        self.first
    }

    /// The fields that revision 2 adds.
    #[must_use]
    pub const fn extension(&self) -> Option<&'a RsdpExtension> {
        self.extension
    }

    /// The bytes of the RSDP: 20, or 36 from revision 2 on, or as many as there are.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the input behind it.
    #[must_use]
    pub const fn trailing(&self) -> &'a [u8] {
        self.trailing
    }

    /// What is wrong with its checksums and its length.
    pub fn faults(&self) -> impl Iterator<Item = TableError> + use<> {
        let fault = |offset, cause, expected, found| TableError {
            table: Signature::RSDP,
            offset,
            cause,
            expected,
            found,
        };
        let sum = |size: usize, at: usize| {
            let covered = self.bytes.get(..size)?;
            let found = covered.get(at).copied()?;
            let right = right_checksum(covered, found);
            (right != found).then(|| fault(widen(at), Cause::Checksum, u64::from(right), u64::from(found)))
        };
        let extended = self.first.revision.get() >= 2;
        let short = (extended && self.extension.is_none())
            .then(|| fault(0, Cause::Truncated, widen(Self::SIZE), widen(self.bytes.len())));
        let both = [sum(Self::V1_SIZE, 8), sum(Self::SIZE, 32).filter(|_| extended), short];
        both.into_iter().flatten()
    }

    /// Whether the first 20 bytes sum to 0, by which a search through memory knows an RSDP.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults().all(|fault| fault.cause != Cause::Checksum || fault.offset != 8)
    }

    /// The table that Linux follows: the XSDT from revision 2 on unless its address is 0, else the RSDT
    /// (`acpi_tb_parse_root_table`). `None` when both addresses are 0.
    #[must_use]
    pub fn root(&self) -> Option<RootPointer> {
        let xsdt = self.extension.map_or(PhysAddr(0), |extension| extension.xsdt_address.get());
        let rsdt = self.first.rsdt_address.get().0;
        match (xsdt, rsdt) {
            (PhysAddr(0), 0) => None,
            (PhysAddr(0), _) => Some(RootPointer::Rsdt(PhysAddr(u64::from(rsdt)))),
            _ => Some(RootPointer::Xsdt(xsdt)),
        }
    }
}

impl RsdpV1 {
    /// An RSDP of ACPI 1.0 with its checksum.
    #[must_use]
    pub fn new(oem_id: [u8; 6], rsdt_address: Hex<u32>) -> Self {
        let mut first = Self {
            signature: Text(Rsdp::MAGIC).into(),
            oem_id: Text(oem_id).into(),
            rsdt_address: rsdt_address.into(),
            ..Self::new_zeroed()
        };
        first.checksum = Checksum(right_checksum(first.as_bytes(), 0)).into();
        first
    }
}

/// The 36 bytes of an RSDP of revision 2, with both checksums. An address of 0 means that there is no such table.
#[must_use]
pub fn rsdp_bytes(oem_id: [u8; 6], rsdt_address: Hex<u32>, xsdt_address: PhysAddr) -> [u8; Rsdp::SIZE] {
    let mut first =
        RsdpV1 { revision: 2.into(), checksum: Checksum(0).into(), ..RsdpV1::new(oem_id, rsdt_address) };
    first.checksum = Checksum(right_checksum(first.as_bytes(), 0)).into();
    let mut extension = RsdpExtension {
        length: Length(36).into(),
        xsdt_address: xsdt_address.into(),
        ..RsdpExtension::new_zeroed()
    };
    // The first 20 bytes sum to 0 already.
    extension.extended_checksum = Checksum(right_checksum(extension.as_bytes(), 0)).into();
    let mut bytes = [0; Rsdp::SIZE];
    for (place, byte) in bytes.iter_mut().zip(first.as_bytes().iter().chain(extension.as_bytes())) {
        *place = *byte;
    }
    bytes
}

/// An XSDT, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Xsdt<'a> {
    table: Table<'a>,
    entries: &'a [Le<PhysAddr>],
    remainder: &'a [u8],
}

impl<'a> Xsdt<'a> {
    /// Takes the XSDT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 36, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let table = Table::expect(input, Signature::XSDT, SdtHeader::SIZE)?;
        let (entries, remainder) = entries(table.body());
        Ok(Self { table, entries, remainder })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// The addresses of the tables, in order. A NULL one is to be passed over.
    #[must_use]
    pub const fn entries(&self) -> &'a [Le<PhysAddr>] {
        self.entries
    }

    /// Bytes at the end that are less than an entry.
    #[must_use]
    pub const fn remainder(&self) -> &'a [u8] {
        self.remainder
    }
}

/// An RSDT, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Rsdt<'a> {
    table: Table<'a>,
    entries: &'a [Le<Hex<u32>>],
    remainder: &'a [u8],
}

impl<'a> Rsdt<'a> {
    /// Takes the RSDT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 36, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let table = Table::expect(input, Signature::RSDT, SdtHeader::SIZE)?;
        let (entries, remainder) = entries(table.body());
        Ok(Self { table, entries, remainder })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// The addresses of the tables, in order. A NULL one is to be passed over.
    #[must_use]
    pub const fn entries(&self) -> &'a [Le<Hex<u32>>] {
        self.entries
    }

    /// Bytes at the end that are less than an entry.
    #[must_use]
    pub const fn remainder(&self) -> &'a [u8] {
        self.remainder
    }
}

/// As many whole elements as `body` has, and what is left.
fn entries<T: super::wire::Wire>(body: &[u8]) -> (&[Le<T>], &[u8]) {
    let count = body.len().checked_div(size_of::<Le<T>>()).unwrap_or(0);
    <[Le<T>]>::ref_from_prefix_with_elems(body, count).unwrap_or((&[], body))
}

/// Writes an XSDT or an RSDT.
#[derive(Debug)]
pub struct RootWriter<O, T> {
    table: TableWriter<O>,
    entry: core::marker::PhantomData<T>,
}

/// Writes an XSDT.
///
/// ```
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::tables::root::{Xsdt, XsdtWriter};
/// use memtopo::units::PhysAddr;
///
/// let mut buffer = [0; 44];
/// let mut writer = XsdtWriter::new(SliceOutput::new(&mut buffer), Default::default());
/// writer.push(PhysAddr(0x7fe_1000));
/// assert_eq!(writer.finish(Seal::Fill)?, 44);
/// assert_eq!(Xsdt::parse(&buffer)?.entries()[0].get(), PhysAddr(0x7fe_1000));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub type XsdtWriter<O> = RootWriter<O, PhysAddr>;

/// Writes an RSDT.
pub type RsdtWriter<O> = RootWriter<O, Hex<u32>>;

impl<O: Output> XsdtWriter<O> {
    /// Starts an XSDT of revision 1 at the end of `output`.
    pub fn new(output: O, identity: Identity) -> Self {
        Self::with_header(output, &SdtHeader::new(Signature::XSDT, 1, identity))
    }
}

impl<O: Output> RsdtWriter<O> {
    /// Starts an RSDT of revision 1 at the end of `output`.
    pub fn new(output: O, identity: Identity) -> Self {
        Self::with_header(output, &SdtHeader::new(Signature::RSDT, 1, identity))
    }
}

impl<O: Output, T: super::wire::Wire> RootWriter<O, T> {
    /// Starts a table with every field of the header as given.
    pub fn with_header(output: O, header: &SdtHeader) -> Self {
        Self { table: TableWriter::new(output, header), entry: core::marker::PhantomData }
    }

    /// Appends the address of a table.
    pub fn push(&mut self, address: T) {
        self.table.raw(Le::from(address).as_bytes());
    }

    /// Appends bytes verbatim, such as a fragment of an entry.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.table.raw(bytes);
    }

    /// Ends the table and returns its length in bytes.
    ///
    /// # Errors
    /// See [`TableWriter::finish`].
    pub fn finish(self, seal: Seal) -> Result<u64, WriteError> {
        self.table.finish(seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::anatomy::{Format, Piece, Role, anatomy};
    use crate::tables::output::SliceOutput;

    /// The RSDP of the format sheet.
    const RSDP: [u8; 36] = [
        0x52, 0x53, 0x44, 0x20, 0x50, 0x54, 0x52, 0x20, 0x30, 0x4d, 0x54, 0x4f, 0x50, 0x4f, 0x20, 0x02, 0x00,
        0x00, 0x00, 0x00, 0x24, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfe, 0x07, 0x00, 0x00, 0x00, 0x00, 0xd7, 0x00,
        0x00, 0x00,
    ];

    /// The XSDT of the format sheet.
    const XSDT: [u8; 52] = [
        0x58, 0x53, 0x44, 0x54, 0x34, 0x00, 0x00, 0x00, 0x01, 0x31, 0x4d, 0x54, 0x4f, 0x50, 0x4f, 0x20, 0x45,
        0x58, 0x41, 0x4d, 0x50, 0x4c, 0x45, 0x20, 0x01, 0x00, 0x00, 0x00, 0x4d, 0x54, 0x50, 0x4f, 0x01, 0x00,
        0x00, 0x00, 0x00, 0x10, 0xfe, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20, 0xfe, 0x07, 0x00, 0x00, 0x00,
        0x00,
    ];

    const EXAMPLE: Identity = Identity {
        oem_id: *b"MTOPO ",
        oem_table_id: *b"EXAMPLE ",
        oem_revision: 1,
        creator_id: *b"MTPO",
        creator_revision: 1,
    };

    #[test]
    fn the_pointer_of_the_sheet_reads_and_writes_alike() {
        let rsdp = Rsdp::parse(&RSDP).unwrap();
        assert_eq!(rsdp.faults().count(), 0);
        assert_eq!(rsdp.root(), Some(RootPointer::Xsdt(PhysAddr(0x7fe_0000))));
        assert_eq!(rsdp_bytes(*b"MTOPO ", Hex(0), PhysAddr(0x7fe_0000)), RSDP);
    }

    #[test]
    fn the_old_pointer_leads_to_the_rsdt() {
        let first = RsdpV1::new(*b"OEMOEM", Hex(0x1234_5678));
        let mut bytes = [0x77; 40];
        bytes[..20].copy_from_slice(first.as_bytes());
        let rsdp = Rsdp::parse(&bytes).unwrap();
        assert_eq!(bytes[..20].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        assert_eq!((rsdp.bytes().len(), rsdp.trailing().len(), rsdp.faults().count()), (20, 20, 0));
        assert!(rsdp.extension().is_none());
        assert_eq!(rsdp.root(), Some(RootPointer::Rsdt(PhysAddr(0x1234_5678))));
    }

    #[test]
    fn each_checksum_has_its_own_fault() {
        let mut bytes = RSDP;
        bytes[33] = 1;
        let faults: [Option<TableError>; 2] = {
            let mut faults = Rsdp::parse(&bytes).unwrap().faults();
            [faults.next(), faults.next()]
        };
        let [Some(fault), None] = faults else { panic!("{faults:?}") };
        assert_eq!((fault.offset, fault.expected, fault.found), (32, 0xd6, 0xd7));
        assert!(Rsdp::parse(&bytes).unwrap().is_sound());
        bytes[9] = b'N';
        assert_eq!(Rsdp::parse(&bytes).unwrap().faults().next().unwrap().offset, 8);
        assert!(!Rsdp::parse(&bytes).unwrap().is_sound());
        for end in 0..RSDP.len() {
            match Rsdp::parse(&RSDP[..end]) {
                Ok(rsdp) => assert_eq!(rsdp.faults().map(|fault| fault.cause).last(), Some(Cause::Truncated)),
                Err(fault) => assert!(end < 20 && fault.cause == Cause::Truncated),
            }
        }
        assert_eq!(Rsdp::parse(&XSDT).unwrap_err().cause, Cause::Signature);
    }

    #[test]
    fn the_table_of_the_sheet_reads_and_writes_alike() {
        let xsdt = Xsdt::parse(&XSDT).unwrap();
        assert_eq!(xsdt.table().faults().count(), 0);
        assert_eq!(xsdt.entries(), [PhysAddr(0x7fe_1000), PhysAddr(0x7fe_2000)].map(Le::from));
        let mut buffer = [0; 52];
        let mut writer = XsdtWriter::new(SliceOutput::new(&mut buffer), EXAMPLE);
        for entry in xsdt.entries() {
            writer.push(entry.get());
        }
        assert_eq!(writer.finish(Seal::Fill), Ok(52));
        assert_eq!(buffer, XSDT);
    }

    #[test]
    fn a_fragment_behind_the_entries_survives() {
        let mut buffer = [0; 46];
        let mut writer = RsdtWriter::new(SliceOutput::new(&mut buffer), EXAMPLE);
        writer.push(Hex(0x1000));
        writer.push(Hex(0));
        writer.push_raw(&[0xaa, 0xbb]);
        assert_eq!(writer.finish(Seal::Fill), Ok(46));
        let rsdt = Rsdt::parse(&buffer).unwrap();
        assert_eq!(rsdt.entries(), [Hex(0x1000), Hex(0)].map(Le::from));
        assert_eq!(rsdt.remainder(), [0xaa, 0xbb]);

        let body = anatomy(Format::Sdt, &buffer).unwrap().find(|group| group.role == Role::Prologue).unwrap();
        let mut pieces = body.pieces();
        let Some(Piece::List { part, offset: 36, .. }) = pieces.next() else { panic!("no list") };
        assert_eq!((part.count, part.bytes), (2, &[0, 0x10, 0, 0, 0, 0, 0, 0][..]));
        let Some(Piece::Rest { offset: 44, bytes }) = pieces.next() else { panic!("no rest") };
        assert_eq!(bytes, [0xaa, 0xbb]);
        assert!(pieces.next().is_none());
        for end in 0..XSDT.len() {
            assert_eq!(Xsdt::parse(&XSDT[..end]).is_ok(), end >= 36);
        }
    }
}
