//! One property for each table: the view agrees with the anatomy, and its writer gives the same bytes back.

use crate::envelope::{Place, anatomy_of, lists_agree, refused, sealed, undecoded, walk, writes};
use memtopo::tables::anatomy::Format;
use memtopo::tables::header::{Identity, SdtHeader, Table};
use memtopo::tables::output::Seal;
use memtopo::tables::wire::{Le, Wire};
use memtopo::tables::{cdat, cedt, e820, efi, hmat, madt, msct, root, slit, srat};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The fixed fields between the header and the body.
fn prologue<'a, T: FromBytes + Immutable + KnownLayout + Unaligned>(table: &Table<'a>) -> &'a T {
    T::ref_from_prefix(&table.bytes()[SdtHeader::SIZE..]).expect("the view checked the fixed part").0
}

/// The values of a list.
fn values<T: Wire>(list: &[Le<T>]) -> Vec<T> {
    list.iter().map(|value| value.get()).collect()
}

/// Writes a structure, then what follows it within its length.
macro_rules! put {
    ($writer:ident, $structure:ident, $raw:ident) => {{
        $writer.push($structure);
        $writer.push_raw(&$raw.bytes[size_of_val($structure)..]);
    }};
}

/// Writes a structure from its parts. With bytes behind its lists its length is not the one that the writer would
/// give it, so it is repeated as it is.
macro_rules! put_parts {
    ($structure:ident, $raw:ident, $writer:ident, $write:expr) => {
        if $structure.rest().is_empty() {
            assert_eq!($write, Ok(()));
        } else {
            $writer.push_raw($raw.bytes);
        }
    };
}

/// The property of a table of structures: `start` makes its writer, the arms repeat what was decoded; what they
/// leave over is repeated as bytes.
macro_rules! table_of_structures {
    (
        $(#[$meta:meta])*
        $name:ident($view:ty, $format:expr) {
            bytes($of:ident): $bytes:expr;
            start($place:ident, $groups:ident): $start:expr;
            repeat($writer:ident, $raw:ident): { $($pattern:pat => $repeat:expr,)* }
        }
    ) => {
        $(#[$meta])*
        pub fn $name(input: &[u8]) {
            let $groups = anatomy_of($format, input);
            let $of = match <$view>::parse(input) {
                Ok(view) => view,
                Err(error) => return refused(&error, input),
            };
            let bytes = $bytes;
            let (structures, remainder) = walk($of.raw_entries(), bytes, &$groups);
            let decoded: Vec<_> = $of.entries().collect();
            assert_eq!(decoded.len(), structures.len() + usize::from(!remainder.is_empty()));
            let write = |$place: Place<'_>, seal| {
                let mut $writer = $start;
                // What a table says about where its structures begin may leave bytes before them.
                let begin = $of.raw_entries().remainder().0.min(bytes.len());
                $writer.push_raw(&bytes[<$view>::FIXED..begin]);
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
            writes(bytes, |place| write(place, Seal::Keep));
            let mut vec = Vec::new();
            write(Place::Vec(&mut vec), Seal::Fill).expect("it was written before");
            sealed($format, &vec);
        }
    };
}

table_of_structures! {
    /// SRAT.
    srat(srat::Srat<'_>, Format::Sdt) {
        bytes(view): view.table().bytes();
        start(place, groups): srat::SratWriter::with_header(place, view.table().header(), prologue(view.table()));
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
    madt(madt::Madt<'_>, Format::Sdt) {
        bytes(view): view.table().bytes();
        start(place, groups): madt::MadtWriter::with_header(place, view.table().header(), view.prologue());
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

table_of_structures! {
    /// MSCT.
    msct(msct::Msct<'_>, Format::Sdt) {
        bytes(view): view.table().bytes();
        start(place, groups): {
            assert!(view.proximity_domains() >= 1 && view.clock_domains() >= 1);
            assert_eq!(view.gap().is_ok(), view.raw_entries().remainder().0 <= view.table().bytes().len());
            msct::MsctWriter::with_header(place, view.table().header(), view.prologue())
        };
        repeat(writer, raw): {
            Ok(msct::Entry::ProximityDomain(s)) => put!(writer, s, raw),
        }
    }
}

table_of_structures! {
    /// HMAT.
    hmat(hmat::Hmat<'_>, Format::Sdt) {
        bytes(view): view.table().bytes();
        start(place, groups): hmat::HmatWriter::with_header(place, view.table().header(), prologue(view.table()));
        repeat(writer, raw): {
            Ok(hmat::Entry::MemoryAttributes(s)) => put!(writer, s, raw),
            Ok(hmat::Entry::AddressRange(s)) => put!(writer, s, raw),
            Ok(hmat::Entry::Locality(s)) => {
                let (initiators, targets, cells) = (s.initiators(), s.targets(), s.cells());
                lists_agree(&groups, raw, &[initiators.as_bytes(), targets.as_bytes(), cells.as_bytes()]);
                assert_eq!(cells.len(), initiators.len() * targets.len());
                assert_eq!(s.row(initiators.len()), None);
                let cell = |row, column| s.cell(row, column).expect("inside the matrix");
                assert_eq!(s.cell(0, targets.len()), None);
                let (initiators, targets) = (values(initiators), values(targets));
                put_parts!(s, raw, writer, writer.push_locality(s.header(), &initiators, &targets, cell));
            },
            Ok(hmat::Entry::MemorySideCache(s)) => {
                lists_agree(&groups, raw, &[s.smbios_handles().as_bytes()]);
                let handles = values(s.smbios_handles());
                put_parts!(s, raw, writer, writer.push_memory_side_cache(s.header(), &handles));
            },
        }
    }
}

table_of_structures! {
    /// CEDT.
    cedt(cedt::Cedt<'_>, Format::Sdt) {
        bytes(view): view.table().bytes();
        start(place, groups): cedt::CedtWriter::with_header(place, view.table().header());
        repeat(writer, raw): {
            Ok(cedt::Entry::HostBridge(s)) => put!(writer, s, raw),
            Ok(cedt::Entry::FixedMemoryWindow(s)) => {
                lists_agree(&groups, raw, &[s.targets().as_bytes()]);
                put_parts!(s, raw, writer, writer.push_window(s.header(), &values(s.targets())));
            },
            Ok(cedt::Entry::XorInterleaveMath(s)) => {
                lists_agree(&groups, raw, &[s.xormaps().as_bytes()]);
                put_parts!(s, raw, writer, writer.push_xor_interleave_math(s.header(), &values(s.xormaps())));
            },
            Ok(cedt::Entry::SystemDescription(s)) => put!(writer, s, raw),
        }
    }
}

table_of_structures! {
    /// CDAT.
    cdat(cdat::Cdat<'_>, Format::Cdat) {
        bytes(view): view.bytes();
        start(place, groups): cdat::CdatWriter::new(place, view.header());
        repeat(writer, raw): {
            Ok(cdat::Entry::Dsmas(s)) => put!(writer, s, raw),
            Ok(cdat::Entry::Dslbis(s)) => put!(writer, s, raw),
            Ok(cdat::Entry::Dsmscis(s)) => put!(writer, s, raw),
            Ok(cdat::Entry::Dsis(s)) => put!(writer, s, raw),
            Ok(cdat::Entry::Dsemts(s)) => put!(writer, s, raw),
            Ok(cdat::Entry::Sslbis(s)) => {
                lists_agree(&groups, raw, &[s.entries().as_bytes()]);
                put_parts!(s, raw, writer, writer.push_sslbis(s.header(), s.entries()));
            },
        }
    }
}

/// SLIT.
pub fn slit(input: &[u8]) {
    anatomy_of(Format::Sdt, input);
    let view = match slit::Slit::parse(input) {
        Ok(view) => view,
        Err(error) => return refused(&error, input),
    };
    let bytes = view.table().bytes();
    let write = |place: Place<'_>, seal| {
        let mut writer = slit::SlitWriter::with_header(place, view.table().header(), prologue(view.table()));
        writer.push_raw(&bytes[slit::Slit::FIXED..]);
        writer.finish(seal)
    };
    writes(bytes, |place| write(place, Seal::Keep));
    let mut vec = Vec::new();
    write(Place::Vec(&mut vec), Seal::Fill).expect("it was written before");
    sealed(Format::Sdt, &vec);

    let matrix = match view.matrix() {
        Ok(matrix) => matrix,
        Err(error) => return refused(&error, input),
    };
    let n = matrix.localities();
    assert_eq!(n as u64, view.localities());
    assert_eq!(matrix.distances().len(), n * n);
    assert_eq!((matrix.row(n), matrix.distance(0, n)), (None, None));
    if let Ok(localities) = u16::try_from(n) {
        let distance = |from, to| matrix.distance(from, to).expect("inside the matrix");
        let mut again = Vec::new();
        let mut writer = slit::SlitWriter::new(&mut again, Identity::default(), localities, distance);
        writer.push_raw(matrix.rest());
        assert_eq!(writer.finish(Seal::Fill), Ok(bytes.len() as u64));
        assert!(again[SdtHeader::SIZE..] == bytes[SdtHeader::SIZE..], "the matrix changed");
    }
}

/// RSDP, RSDT and XSDT.
pub fn root(input: &[u8]) {
    rsdp(input);
    anatomy_of(Format::Sdt, input);
    macro_rules! addresses {
        ($view:ident, $writer:ident) => {
            match root::$view::parse(input) {
                Ok(view) => {
                    let bytes = view.table().bytes();
                    let write = |place: Place<'_>, seal| {
                        let mut writer = root::$writer::with_header(place, view.table().header());
                        view.entries().iter().for_each(|entry| writer.push(entry.get()));
                        writer.push_raw(view.remainder());
                        writer.finish(seal)
                    };
                    writes(bytes, |place| write(place, Seal::Keep));
                    let mut vec = Vec::new();
                    write(Place::Vec(&mut vec), Seal::Fill).expect("it was written before");
                    sealed(Format::Sdt, &vec);
                }
                Err(error) => refused(&error, input),
            }
        };
    }
    addresses!(Xsdt, XsdtWriter);
    addresses!(Rsdt, RsdtWriter);
}

fn rsdp(input: &[u8]) {
    let groups = anatomy_of(Format::Rsdp, input);
    let view = match root::Rsdp::parse(input) {
        Ok(view) => view,
        Err(error) => return refused(&error, input),
    };
    assert_eq!(view.bytes().len() + view.trailing().len(), input.len());
    assert_eq!(groups.iter().map(|group| group.bytes.len()).sum::<usize>(), input.len());
    let (first, extension) = (view.first(), view.extension());
    let (oem, rsdt) = (first.oem_id.get().0, first.rsdt_address.get());
    // Written anew from its values it is sound and leads to the same place.
    let again = match extension {
        Some(extension) => root::rsdp_bytes(oem, rsdt, extension.xsdt_address.get()).to_vec(),
        None => root::RsdpV1::new(oem, rsdt).as_bytes().to_vec(),
    };
    let again = root::Rsdp::parse(&again).expect("a whole RSDP");
    assert_eq!(again.faults().count(), 0);
    assert!(again.is_sound());
    assert_eq!(again.root(), view.root());
}

/// EFI memory descriptors, at the usual strides.
pub fn efi_map(input: &[u8]) {
    assert!(efi::EfiMap::parse(input, 39).is_err());
    for stride in [40, 48, 56, 64] {
        let map = efi::EfiMap::parse(input, stride).expect("40 and more are allowed");
        let groups = anatomy_of(Format::EfiMap { stride }, input);
        assert_eq!(map.descriptors().count(), input.len() / stride);
        assert_eq!(map.fault().is_some(), input.len() % stride != 0);
        assert_eq!(groups.len(), input.len().div_ceil(stride));
        map.descriptors()
            .for_each(|(descriptor, _)| assert!(descriptor.range().start <= descriptor.range().end));
        writes(input, |place| {
            let mut writer = efi::EfiMapWriter::new(place, stride).expect("40 and more are allowed");
            map.descriptors().for_each(|(descriptor, extra)| writer.push_with(descriptor, extra));
            writer.push_raw(map.remainder().1);
            writer.finish()
        });
    }
}

/// E820 entries.
pub fn e820(input: &[u8]) {
    let groups = anatomy_of(Format::E820, input);
    let map = e820::E820Map::parse(input);
    assert_eq!(map.entries().len(), input.len() / 20);
    assert_eq!(map.fault().is_some(), input.len() % 20 != 0);
    assert_eq!(groups.len(), input.len().div_ceil(20));
    map.entries().iter().for_each(|entry| assert!(entry.range().start <= entry.range().end));
    writes(input, |place| {
        let mut writer = e820::E820MapWriter::new(place);
        map.entries().iter().for_each(|entry| writer.push(entry));
        writer.push_raw(map.remainder());
        writer.finish()
    });
}
