//! One property for each container: everything in it is found once, and what is written comes back.

use crate::envelope::{anatomy_of, print};
use memtopo::bundle::memory_map::{self, MapReading};
use memtopo::bundle::{Container, Hint, ReadOptions, TableSet, acpidump, archive};
use memtopo::error::{Cause, TableError};
use memtopo::tables::anatomy::Format;
use memtopo::units::PhysAddr;
use std::borrow::Cow;

/// What is known about an input when only its contents tell.
const UNTOLD: ReadOptions = ReadOptions { hint: None, image_base: None };

/// Any input, told apart by its contents.
pub fn detection(input: &[u8]) {
    read(input, UNTOLD);
}

/// Tables one after another, whatever their signature.
pub fn concatenated(input: &[u8]) {
    read(input, ReadOptions { hint: Some(Hint::Tables), ..UNTOLD });
    read(input, UNTOLD);
}

/// A CDAT, which only its numbers tell.
pub fn cdat_detection(input: &[u8]) {
    let told = read(input, ReadOptions { hint: Some(Hint::Cdat), ..UNTOLD });
    let untold = read(input, UNTOLD);
    if let Some(untold) = untold.filter(|set| set.inputs()[0].container == Container::Cdat) {
        let told = told.expect("what looks like a CDAT can be read as one");
        assert!(told.tables()[0].bytes == untold.tables()[0].bytes);
    }
}

/// Memory with an RSDP, at the address 0, at one that the pointers tell, at one that is told.
pub fn memory_image(input: &[u8]) {
    read(input, ReadOptions { hint: Some(Hint::MemoryImage), ..UNTOLD });
    for base in [0, 0x7ffe_0000, u64::MAX - 0xfff] {
        read(input, ReadOptions { hint: Some(Hint::MemoryImage), image_base: Some(PhysAddr(base)) });
    }
}

/// The text of acpidump. What is found in it is found again when it is printed anew.
pub fn acpidump(input: &[u8]) {
    let Some(set) = read(input, UNTOLD) else { return };
    let mut text = String::new();
    let printable = |table: &&_| is_printable(table);
    for table in set.tables().iter().filter(printable) {
        acpidump::write(&mut text, table.signature, table.origin.address, &table.bytes)
            .expect("a string grows");
    }
    if text.is_empty() {
        return;
    }
    let again = read(text.as_bytes(), UNTOLD).expect("what acpidump prints can be read");
    assert_eq!(again.inputs()[0].container, Container::Acpidump);
    assert_eq!(again.inputs()[0].faults, []);
    let mut printed = set.tables().iter().filter(printable);
    for (again, table) in again.tables().iter().zip(printed.by_ref()) {
        assert_eq!(again.signature, table.signature);
        assert_eq!(again.origin.address, Some(table.origin.address.unwrap_or_default()));
        assert!(again.bytes == table.bytes, "the text has other bytes");
    }
    assert_eq!(printed.count(), 0, "the text has fewer tables");
}

/// Whether acpidump can print a table so that its name comes back, and a reader takes it for one.
fn is_printable(table: &memtopo::bundle::BundledTable<'_>) -> bool {
    let named = matches!(table.format, Format::Sdt) && table.bytes.starts_with(&table.signature.0);
    named && table.signature.is_plausible() && table.bytes.len() >= 36
}

/// An initrd with table upgrades. The tables found in it make an archive in which they are found again.
pub fn archive(input: &[u8]) {
    let Some(set) = read(input, UNTOLD) else { return };
    let tables: Vec<_> =
        set.tables().iter().filter(|table| table.format == Format::Sdt && table.bytes.len() >= 36).collect();
    if tables.is_empty() {
        return;
    }
    let names: Vec<String> = (0..tables.len()).map(|index| format!("{index}.aml")).collect();
    let members = names.iter().zip(&tables).map(|(name, table)| (name.as_str(), &*table.bytes));
    let bytes = archive::write(members).expect("below 4 GiB");
    let again = read(&bytes, UNTOLD).expect("an archive of ours can be read");
    assert_eq!(again.inputs()[0].container, Container::Initrd);
    assert_eq!(again.inputs()[0].faults, []);
    assert_eq!(again.tables().len(), tables.len());
    for ((again, table), name) in again.tables().iter().zip(tables).zip(names) {
        assert!(again.bytes == table.bytes, "the archive has other bytes");
        assert_eq!(again.origin.member, Some(format!("{}{name}", archive::UPGRADE_FOLDER)));
    }
}

/// Reads `input` and checks what is found in it.
fn read(input: &[u8], options: ReadOptions) -> Option<TableSet<'_>> {
    let mut set = TableSet::default();
    match set.read("input", input, options) {
        Ok(count) => assert_eq!(count, set.tables().len()),
        Err(error) => {
            print(&error);
            let refusals = [Cause::NothingDecoded, Cause::Truncated, Cause::Stride];
            assert!(refusals.contains(&error.cause), "{error}");
            assert!(set.tables().is_empty() && set.inputs().is_empty());
            return None;
        }
    }
    let [found] = set.inputs() else { panic!("one input makes one entry") };
    assert_eq!(found.size, input.len() as u64);
    assert!(!set.tables().is_empty(), "an input without a table is refused");
    // A table takes at least 16 bytes of an input, a fault at least one.
    assert!(set.tables().len() <= input.len() && found.faults.len() <= input.len() + 1);
    found.faults.iter().for_each(print);
    for (index, table) in set.tables().iter().enumerate() {
        let before = set.tables()[..index].iter().filter(|other| other.signature == table.signature).count();
        assert_eq!((table.instance, table.origin.input), (before, 0));
        assert_eq!(set.input_of(table).map(|input| input.size), Some(found.size));
        if let Cow::Borrowed(bytes) = table.bytes {
            let at = usize::try_from(table.origin.offset).expect("inside the input");
            assert!(input[at..].starts_with(bytes), "a table lies elsewhere");
            if !table.beyond.is_empty() {
                assert!(
                    input[at + bytes.len()..].starts_with(table.beyond),
                    "what follows a table lies elsewhere"
                );
            }
        }
        anatomy_of(table.format, &table.bytes);
    }
    if matches!(found.container, Container::Tables | Container::MemoryImage) {
        covers(input, &set);
    }
    Some(set)
}

/// Together with what is between and behind them, the tables are all of the input; in a file of tables, each byte once.
fn covers(input: &[u8], set: &TableSet<'_>) {
    let found = &set.inputs()[0];
    let tables = set.tables().iter().map(|table| (table.origin.offset, table.bytes.len() as u64, true));
    let rest = found.uncovered.iter().map(|part| (part.offset, part.bytes.len() as u64, false));
    let mut parts: Vec<_> = tables.chain(rest).collect();
    parts.sort_unstable();
    let mut covered = 0_u64;
    for (offset, length, is_table) in parts {
        assert!(offset <= covered, "bytes from {covered:#x} to {offset:#x} belong to nothing");
        if found.container == Container::Tables || !is_table {
            assert_eq!(offset, covered, "bytes belong to two parts");
        }
        covered = covered.max(offset + length);
    }
    assert_eq!(covered, input.len() as u64, "bytes at the end belong to nothing");
}

/// A memory map of unknown form, as text, as EFI descriptors of each usual stride, as E820 entries, as files of sysfs.
pub fn memory_map(input: &[u8]) {
    match memory_map::read(input) {
        Ok(reading) => {
            check(input, &reading);
            assert_eq!(memory_map::read(input), Ok(reading), "the same input, another answer");
        }
        Err(error) => print(&error),
    }
    check(input, &memory_map::read_text(input));
    check(input, &memory_map::read_e820(input));
    for stride in [40, 48, 56] {
        let reading = memory_map::read_efi(input, stride).expect("40 and more are allowed");
        assert_eq!(reading.maps[0].entries.len(), input.len() / stride);
        check(input, &reading);
    }
    assert_eq!(memory_map::read_efi(input, 39).map_err(|error: TableError| error.cause), Err(Cause::Stride));
    let text = String::from_utf8_lossy(input);
    let files = text.lines().filter_map(|line| line.split_once('='));
    check(input, &memory_map::read_sysfs(files));
}

fn check(input: &[u8], reading: &MapReading) {
    reading.faults.iter().for_each(print);
    let entries: usize = reading.maps.iter().map(|map| map.entries.len()).sum();
    assert!(entries + reading.faults.len() <= input.len() + 1, "more entries than bytes");
    for entry in reading.maps.iter().flat_map(|map| &map.entries) {
        assert!(entry.range.start <= entry.range.end, "{entry:?}: a range that ends before it begins");
    }
    if let Some(map) = reading.firmware() {
        assert!(reading.maps.contains(map));
    }
}

/// Every output form of every table of an input: JSON, text, source for iasl.
pub fn dump(input: &[u8]) {
    use memtopo::render::{dsl, dump_json, dump_text, json::JsonWriter, style::Colour};
    let formats = [Format::Sdt, Format::Rsdp, Format::Cdat, Format::EfiMap { stride: 48 }, Format::E820];
    for format in formats {
        let Ok(anatomy) = memtopo::tables::anatomy::anatomy(format, input) else { continue };
        let mut json = JsonWriter::new(String::new());
        dump_json::table(&mut json, format, anatomy.clone(), |_| Ok(())).expect("a string grows");
        let json = json.into_inner();
        assert!(json.starts_with('{') && json.ends_with('}'));
        assert!(json.chars().all(|c| c == '\n' || !c.is_control()), "JSON with a raw control character");
        for form in [dump_text::Form::Fields, dump_text::Form::Hex] {
            let mut text = String::new();
            dump_text::table(&mut text, form, Colour::Off, "input", input, anatomy.clone())
                .expect("a string grows");
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "text that could move a cursor");
        }
        let mut source = String::new();
        dsl::table(&mut source, anatomy, |_| ()).expect("a string grows");
        // Every output is linear in the input: a matrix cell or a byte takes a line at most.
        assert!(json.len() + source.len() <= 4000 + 400 * input.len(), "output out of proportion");
    }
}
