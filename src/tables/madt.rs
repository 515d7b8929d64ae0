//! MADT, the Multiple APIC Description Table: which processors there are, and how interrupts reach them
//! (ACPI 6.6 §5.2.12).
//!
//! The topology needs its processors: local APIC, x2APIC, GICC and RINTC structures tie the numbers that SRAT
//! uses to those of the namespace, and tell which processors are there at boot.

mod structures;

pub use self::structures::*;
use super::entries::{Entries, Narrow, RawEntry, typed};
use super::header::{Identity, SdtHeader, Table};
use super::layout::Structure;
use super::output::{Output, Seal, TableWriter};
use super::wire::Hex;
use crate::error::{Cause, TableError, WriteError};
use crate::units::{Signature, widen};
use zerocopy::{FromBytes, IntoBytes};

/// One structure of a MADT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// Type 0.
    LocalApic(&'a LocalApic),
    /// Type 1.
    IoApic(&'a IoApic),
    /// Type 2.
    InterruptSourceOverride(&'a InterruptSourceOverride),
    /// Type 4.
    LocalApicNmi(&'a LocalApicNmi),
    /// Type 9.
    LocalX2Apic(&'a LocalX2Apic),
    /// Type 10.
    LocalX2ApicNmi(&'a LocalX2ApicNmi),
    /// Type 11, with the bytes that its length adds to the 76 of ACPI 5.1, for [`Gicc::extra`].
    Gicc(&'a Gicc, &'a [u8]),
    /// Type 15.
    GicIts(&'a GicIts),
    /// Type 24.
    Rintc(&'a Rintc),
    /// A type that this crate does not take apart.
    Unknown(RawEntry<'a>),
}

impl<'a> Entry<'a> {
    /// Gives a walked structure its type.
    ///
    /// # Errors
    /// [`Cause::StructureLengthShort`].
    #[inline]
    pub fn decode(raw: &RawEntry<'a>) -> Result<Self, TableError> {
        const T: Signature = Signature::MADT;
        Ok(match raw.kind {
            0 => Self::LocalApic(typed(T, raw)?.0),
            1 => Self::IoApic(typed(T, raw)?.0),
            2 => Self::InterruptSourceOverride(typed(T, raw)?.0),
            4 => Self::LocalApicNmi(typed(T, raw)?.0),
            9 => Self::LocalX2Apic(typed(T, raw)?.0),
            10 => Self::LocalX2ApicNmi(typed(T, raw)?.0),
            11 => {
                let (gicc, rest) = typed(T, raw)?;
                Self::Gicc(gicc, rest)
            }
            15 => Self::GicIts(typed(T, raw)?.0),
            24 => Self::Rintc(typed(T, raw)?.0),
            _ => Self::Unknown(*raw),
        })
    }
}

/// A MADT, read in place.
///
/// ```
/// use memtopo::tables::madt::{Entry, LocalX2Apic, Madt, MadtWriter};
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::units::{ApicId, ProcessorUid};
///
/// let mut buffer = [0; 64];
/// let mut writer = MadtWriter::new(SliceOutput::new(&mut buffer), Default::default());
/// writer.push(&LocalX2Apic::new(ProcessorUid(7), ApicId(0x100)));
/// let length = writer.finish(Seal::Fill)?;
/// assert_eq!(length, 60);
///
/// let madt = Madt::parse(&buffer[..60])?;
/// for entry in madt.entries() {
///     if let Entry::LocalX2Apic(processor) = entry? {
///         assert_eq!(processor.acpi_processor_uid.get(), ProcessorUid(7));
///     }
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Madt<'a> {
    table: Table<'a>,
    prologue: &'a MadtPrologue,
}

impl<'a> Madt<'a> {
    /// Bytes before the first structure.
    pub const FIXED: usize = 44;

    /// Takes the MADT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 44, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let table = Table::expect(input, Signature::MADT, Self::FIXED)?;
        let (prologue, _) = MadtPrologue::ref_from_prefix(table.body()).map_err(|_| TableError {
            table: Signature::MADT,
            offset: 4,
            cause: Cause::TableLengthShort,
            expected: widen(Self::FIXED),
            found: widen(table.bytes().len()),
        })?;
        Ok(Self { table, prologue })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// The fixed fields behind the header.
    #[must_use]
    pub const fn prologue(&self) -> &'a MadtPrologue {
        self.prologue
    }

    /// The structures as they lie in the table, whatever their type.
    #[must_use]
    pub fn raw_entries(&self) -> Entries<'a, Narrow> {
        Entries::new(Signature::MADT, self.table.bytes(), Self::FIXED)
    }

    /// The structures in table order.
    ///
    /// A structure too short for its type is an error of that item; the walk goes on. A walk that cannot go on
    /// ends with an error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, TableError>> + use<'a> {
        self.raw_entries().map(|raw| Entry::decode(&raw?))
    }
}

/// Writes a MADT.
#[derive(Debug)]
pub struct MadtWriter<O> {
    table: TableWriter<O>,
}

impl<O: Output> MadtWriter<O> {
    /// Starts a MADT of revision 7 (ACPI 6.6) for an x86 machine at the end of `output`.
    pub fn new(output: O, identity: Identity) -> Self {
        let prologue = MadtPrologue {
            local_interrupt_controller_address: Hex(0xfee0_0000).into(),
            flags: MadtFlags::PCAT_COMPAT.into(),
        };
        Self::with_header(output, &SdtHeader::new(Signature::MADT, 7, identity), &prologue)
    }

    /// Starts a MADT with every field of the fixed part as given.
    pub fn with_header(output: O, header: &SdtHeader, prologue: &MadtPrologue) -> Self {
        let mut table = TableWriter::new(output, header);
        table.raw(prologue.as_bytes());
        Self { table }
    }

    /// Appends one structure as it is.
    #[inline]
    pub fn push<T: MadtStructure>(&mut self, structure: &T) {
        self.table.raw(structure.as_bytes());
    }

    /// Appends bytes verbatim, such as a structure of an unknown type.
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

/// The structures that may stand in a MADT.
pub trait MadtStructure: Structure {}
impl MadtStructure for LocalApic {}
impl MadtStructure for IoApic {}
impl MadtStructure for InterruptSourceOverride {}
impl MadtStructure for LocalApicNmi {}
impl MadtStructure for LocalX2Apic {}
impl MadtStructure for LocalX2ApicNmi {}
impl MadtStructure for Gicc {}
impl MadtStructure for GicIts {}
impl MadtStructure for Rintc {}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::testing;
    use crate::units::{ApicId, ItsId, PhysAddr, ProcessorUid};

    extern crate std;
    use alloc::vec::Vec;

    /// The interesting structures of a MADT as QEMU 10.0.2 made it for two processors, and an x2APIC one.
    const X86: &[u8] = &[
        0x00, 0x08, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, // processor 1, APIC id 1, enabled
        0x01, 0x0c, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xfe, 0x00, 0x00, 0x00,
        0x00, // I/O APIC at 0xfec00000
        0x02, 0x0a, 0x00, 0x05, 0x05, 0x00, 0x00, 0x00, 0x0d, 0x00, // ISA 5 -> 5, high, level
        0x04, 0x06, 0xff, 0x00, 0x00, 0x01, // all processors, LINT1
        0x09, 0x10, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x0a,
        0x0c, 0x05, 0x00, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00, 0x00, 0x00, //
        0x10, 0x04, 0xaa, 0xbb, // a type that is not taken apart
    ];

    fn table(structures: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = MadtWriter::new(&mut bytes, Identity::default());
        writer.push_raw(structures);
        writer.finish(Seal::Fill).unwrap();
        bytes
    }

    #[test]
    fn x86_structures_read_as_the_emulator_meant_them() {
        let bytes = table(X86);
        let madt = Madt::parse(&bytes).unwrap();
        assert_eq!(madt.prologue().local_interrupt_controller_address.get(), Hex(0xfee0_0000));
        assert_eq!(madt.table().faults().count(), 0);
        let entries: Vec<_> = madt.entries().map(Result::unwrap).collect();
        let [
            Entry::LocalApic(apic),
            Entry::IoApic(io),
            Entry::InterruptSourceOverride(isa),
            Entry::LocalApicNmi(nmi),
            Entry::LocalX2Apic(x2apic),
            Entry::LocalX2ApicNmi(x2nmi),
            Entry::Unknown(unknown),
        ] = entries[..]
        else {
            panic!("{entries:?}")
        };
        assert_eq!(
            (apic.uid(), apic.id(), apic.flags.get()),
            (ProcessorUid(1), ApicId(1), ApicFlags::ENABLED)
        );
        assert_eq!(io.address.get(), Hex(0xfec0_0000));
        assert_eq!((isa.source.get(), isa.flags.get()), (Hex(5), IntiFlags(0xd)));
        assert_eq!((nmi.acpi_processor_uid.get(), nmi.lint.get()), (Hex(0xff), 1));
        assert_eq!(
            (x2apic.x2apic_id.get(), x2apic.acpi_processor_uid.get()),
            (ApicId(0x100), ProcessorUid(44))
        );
        assert_eq!(x2apic.flags.get(), ApicFlags::ONLINE_CAPABLE);
        assert_eq!((x2nmi.acpi_processor_uid.get(), x2nmi.lint.get()), (ProcessorUid(u32::MAX), 1));
        assert_eq!((unknown.kind, unknown.bytes), (16, &X86[64..]));
    }

    #[test]
    fn every_length_of_a_gicc_is_read() {
        let gicc = |length: u8| {
            let mut bytes = [0; 82];
            bytes[..2].copy_from_slice(&[11, length]);
            bytes[8] = 3; // UID
            bytes[12] = 8; // online capable
            bytes[68..76].copy_from_slice(&0x8100_0200_u64.to_le_bytes());
            bytes[76] = 5; // efficiency class
            bytes[78] = 0x15; // SPE
            bytes[80] = 0x16; // TRBE
            table(&bytes[..usize::from(length)])
        };
        for (length, extra) in
            [(76, [None; 3]), (80, [Some(5), Some(0x15), None]), (82, [Some(5), Some(0x15), Some(0x16)])]
        {
            let bytes = gicc(length);
            let Some(Ok(Entry::Gicc(fixed, rest))) = Madt::parse(&bytes).unwrap().entries().next() else {
                panic!("{length}")
            };
            assert_eq!(fixed.acpi_processor_uid.get(), ProcessorUid(3));
            assert_eq!(fixed.flags.get(), GiccFlags::ONLINE_CAPABLE);
            assert_eq!(fixed.mpidr.get(), Hex(0x8100_0200));
            let read = Gicc::extra(rest);
            let read = [read.efficiency_class.map(u16::from), read.spe_interrupt, read.trbe_interrupt];
            assert_eq!(read, extra, "{length}");
        }
        // ACPI 5.0 had 40 bytes, without what tells one processor from another; Linux refuses them too.
        let short = table(
            &gicc(82)[44..84]
                .iter()
                .copied()
                .enumerate()
                .map(|(i, b)| if i == 1 { 40 } else { b })
                .collect::<Vec<_>>(),
        );
        let fault = Madt::parse(&short).unwrap().entries().next().unwrap().unwrap_err();
        assert_eq!((fault.cause, fault.expected, fault.found), (Cause::StructureLengthShort, 76, 40));
    }

    #[test]
    fn built_structures_have_the_bytes_of_the_specification() {
        let mut bytes = Vec::new();
        let mut writer = MadtWriter::new(&mut bytes, Identity::default());
        writer.push(&LocalApic::new(1, 1));
        writer.push(&GicIts::new(ItsId(2), PhysAddr(0x1234_5678)));
        writer.push(&Rintc::new(ProcessorUid(5), 0x1_0000_0003));
        let length = writer.finish(Seal::Fill).unwrap();
        assert_eq!(length, 44 + 8 + 20 + 36);
        assert_eq!(bytes[44..52], X86[..8]);
        assert_eq!(bytes[52..72], [15, 20, 0, 0, 2, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[72..96], [24, 36, 1, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[96..], [0; 12]);
    }

    #[test]
    fn no_truncation_panics_and_short_tables_are_refused() {
        let bytes = table(X86);
        for end in 0..bytes.len() {
            match Madt::parse(&bytes[..end]) {
                Ok(madt) => assert!(end >= 44 && madt.entries().count() <= 7),
                Err(fault) => assert!(end < 44, "{fault}"),
            }
        }
    }

    #[test]
    fn emulator_tables_come_back_byte_for_byte() {
        let Some(cases) = testing::shared("oracle/cases") else { return };
        let mut tables = 0;
        for case in testing::listing(&cases) {
            let Ok(bytes) = std::fs::read(case.join("tables/APIC.bin")) else { continue };
            let madt = Madt::parse(&bytes).unwrap();
            assert_eq!(madt.table().faults().count(), 0, "{}", case.display());
            let mut rebuilt = Vec::new();
            let mut writer = MadtWriter::with_header(&mut rebuilt, madt.table().header(), madt.prologue());
            for entry in madt.entries() {
                match entry.unwrap() {
                    Entry::LocalApic(entry) => writer.push(entry),
                    Entry::IoApic(entry) => writer.push(entry),
                    Entry::InterruptSourceOverride(entry) => writer.push(entry),
                    Entry::LocalApicNmi(entry) => writer.push(entry),
                    Entry::LocalX2Apic(entry) => writer.push(entry),
                    Entry::LocalX2ApicNmi(entry) => writer.push(entry),
                    other => panic!("{other:?} in {}", case.display()),
                }
            }
            writer.finish(Seal::Keep).unwrap();
            assert_eq!(rebuilt, bytes);
            tables += 1;
        }
        assert!(tables > 100, "{tables}");
        testing::report(format_args!("MADT: {tables} emulator tables rebuilt"));
    }
}
