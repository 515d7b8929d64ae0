//! One property for each table: the view agrees with the anatomy, and its writer gives the same bytes back.

use crate::envelope::{Place, anatomy_of, refused, undecoded, walk, writes};
use memtopo::tables::anatomy::Format;
use memtopo::tables::header::{SdtHeader, Table};
use memtopo::tables::output::Seal;
use memtopo::tables::{madt, srat};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The fixed fields between the header and the body.
fn prologue<'a, T: FromBytes + Immutable + KnownLayout + Unaligned>(table: &Table<'a>) -> &'a T {
    T::ref_from_prefix(&table.bytes()[SdtHeader::SIZE..]).expect("the view checked the fixed part").0
}

/// A table that is written anew with Length and Checksum filled in has no fault in them.
fn sealed(bytes: &[u8]) {
    let table = Table::parse(bytes).expect("it was parsed before");
    assert_eq!(table.faults().count(), 0, "a sealed table has a fault");
    assert!(table.trailing().is_empty());
}

/// Writes a structure, then what follows it within its length.
macro_rules! put {
    ($writer:ident, $structure:ident, $raw:ident) => {{
        $writer.push($structure);
        $writer.push_raw(&$raw.bytes[size_of_val($structure)..]);
    }};
}

/// The property of a table of structures: `start` makes its writer, the arms repeat what was decoded; what they
/// leave over is repeated as bytes.
macro_rules! table_of_structures {
    (
        $(#[$meta:meta])*
        $name:ident($view:ty) {
            start($place:ident, $table:ident): $start:expr;
            repeat($writer:ident, $raw:ident): { $($pattern:pat => $repeat:expr,)* }
        }
    ) => {
        $(#[$meta])*
        pub fn $name(input: &[u8]) {
            let groups = anatomy_of(Format::Sdt, input);
            let view = match <$view>::parse(input) {
                Ok(view) => view,
                Err(error) => return refused(&error, input),
            };
            let $table = view.table();
            let (structures, remainder) = walk(view.raw_entries(), $table.bytes(), <$view>::FIXED, &groups);
            let decoded: Vec<_> = view.entries().collect();
            assert_eq!(decoded.len(), structures.len() + usize::from(!remainder.is_empty()));
            let write = |$place: Place<'_>, seal| {
                let mut $writer = $start;
                for ($raw, decoded) in structures.iter().zip(&decoded) {
                    match *decoded {
                        $($pattern => $repeat,)*
                        Ok(_) => $writer.push_raw($raw.bytes),
                        Err(error) => {
                            undecoded(&error, $raw);
                            $writer.push_raw($raw.bytes);
                        }
                    }
                }
                $writer.push_raw(remainder);
                $writer.finish(seal)
            };
            writes($table.bytes(), |place| write(place, Seal::Keep));
            let mut vec = Vec::new();
            write(Place::Vec(&mut vec), Seal::Fill).expect("it was written before");
            sealed(&vec);
        }
    };
}

table_of_structures! {
    /// SRAT.
    srat(srat::Srat<'_>) {
        start(place, table): srat::SratWriter::with_header(place, table.header(), prologue(table));
        repeat(writer, raw): {
            Ok(srat::Entry::LocalApic(s)) => put!(writer, s, raw),
            Ok(srat::Entry::Memory(s)) => put!(writer, s, raw),
            Ok(srat::Entry::X2Apic(s)) => put!(writer, s, raw),
            Ok(srat::Entry::Gicc(s)) => put!(writer, s, raw),
            Ok(srat::Entry::Its(s)) => put!(writer, s, raw),
            Ok(srat::Entry::GenericInitiator(s) | srat::Entry::GenericPort(s)) => {
                // Made from its parts again, a handle keeps every byte that has a meaning.
                assert_eq!(srat::GenericAffinity::initiator(s.proximity_domain.get(), s.device()).device(), s.device());
                put!(writer, s, raw)
            },
            Ok(srat::Entry::Rintc(s)) => put!(writer, s, raw),
        }
    }
}

table_of_structures! {
    /// MADT.
    madt(madt::Madt<'_>) {
        start(place, table): madt::MadtWriter::with_header(place, table.header(), prologue(table));
        repeat(writer, raw): {
            Ok(madt::Entry::LocalApic(s)) => put!(writer, s, raw),
            Ok(madt::Entry::IoApic(s)) => put!(writer, s, raw),
            Ok(madt::Entry::InterruptSourceOverride(s)) => put!(writer, s, raw),
            Ok(madt::Entry::LocalApicNmi(s)) => put!(writer, s, raw),
            Ok(madt::Entry::LocalX2Apic(s)) => put!(writer, s, raw),
            Ok(madt::Entry::LocalX2ApicNmi(s)) => put!(writer, s, raw),
            Ok(madt::Entry::Gicc(s, rest)) => {
                let extra = madt::Gicc::extra(rest);
                assert_eq!(extra.efficiency_class.is_some(), !rest.is_empty());
                writer.push(s);
                writer.push_raw(rest);
            },
            Ok(madt::Entry::GicIts(s)) => put!(writer, s, raw),
            Ok(madt::Entry::Rintc(s)) => put!(writer, s, raw),
        }
    }
}
