//! The views and writers on tables that real machines and emulators sent.

extern crate std;

use super::anatomy::Format;
use super::anatomy::testing::assert_covered;
use super::output::Seal;
use super::wire::{Le, Wire};
use super::{cdat, cedt, hmat, slit};
use crate::error::Cause;
use crate::testing::{listing, report, shared};
use crate::units::Signature;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use std::fs;
use std::path::PathBuf;
use zerocopy::IntoBytes;

fn values<T: Wire>(list: &[Le<T>]) -> Vec<T> {
    list.iter().map(|value| value.get()).collect()
}

/// What a rewriting met.
#[derive(Default, Debug)]
struct Tally {
    tables: usize,
    /// Structures written from their values.
    typed: usize,
    /// Structures written verbatim: of unknown types, or with bytes that their lists do not explain.
    verbatim: usize,
}

/// Reads a table and writes it again from what the view says.
type Rewrite = fn(&[u8], &mut Tally) -> Vec<u8>;

fn rewrite_hmat(input: &[u8], tally: &mut Tally) -> Vec<u8> {
    let view = hmat::Hmat::parse(input).unwrap();
    let mut output = Vec::new();
    let prologue = view.table().prologue().unwrap();
    let mut writer = hmat::HmatWriter::with_header(&mut output, view.table().header(), prologue);
    for raw in view.raw_entries() {
        let raw = raw.unwrap();
        tally.typed += 1;
        match hmat::Entry::decode(&raw, view.table().revision()).unwrap() {
            hmat::Entry::MemoryAttributes(memory) if raw.bytes.len() == 40 => writer.push(memory),
            hmat::Entry::AddressRange(range) if raw.bytes.len() == 40 => writer.push(range),
            hmat::Entry::Locality(it) if it.rest().is_empty() => {
                let (initiators, targets) = (values(it.initiators()), values(it.targets()));
                let cell = |row, column| it.cell(row, column).unwrap();
                writer.push_locality(it.header(), &initiators, &targets, cell).unwrap();
            }
            hmat::Entry::MemorySideCache(cache) if cache.rest().is_empty() => {
                writer.push_memory_side_cache(cache.header(), &values(cache.smbios_handles())).unwrap();
            }
            _ => {
                tally.typed -= 1;
                tally.verbatim += 1;
                writer.push_raw(raw.bytes);
            }
        }
    }
    writer.finish(Seal::Keep).unwrap();
    output
}

fn rewrite_cedt(input: &[u8], tally: &mut Tally) -> Vec<u8> {
    let view = cedt::Cedt::parse(input).unwrap();
    let mut output = Vec::new();
    let mut writer = cedt::CedtWriter::with_header(&mut output, view.table().header());
    for raw in view.raw_entries() {
        let raw = raw.unwrap();
        tally.typed += 1;
        match cedt::Entry::decode(&raw).unwrap() {
            cedt::Entry::HostBridge(bridge) if raw.bytes.len() == 32 => writer.push(bridge),
            cedt::Entry::FixedMemoryWindow(window) if window.rest().is_empty() => {
                writer.push_window(window.header(), &values(window.targets())).unwrap();
            }
            cedt::Entry::XorInterleaveMath(math) if math.rest().is_empty() => {
                writer.push_xor_interleave_math(math.header(), &values(math.xormaps())).unwrap();
            }
            _ => {
                tally.typed -= 1;
                tally.verbatim += 1;
                writer.push_raw(raw.bytes);
            }
        }
    }
    writer.finish(Seal::Keep).unwrap();
    output
}

fn rewrite_cdat(input: &[u8], tally: &mut Tally) -> Vec<u8> {
    let view = cdat::Cdat::parse(input).unwrap();
    let mut output = Vec::new();
    let mut writer = cdat::CdatWriter::new(&mut output, view.header());
    for raw in view.raw_entries() {
        let raw = raw.unwrap();
        tally.typed += 1;
        match cdat::Entry::decode(&raw).unwrap() {
            cdat::Entry::Dsmas(dsmas) => writer.push(dsmas),
            cdat::Entry::Dslbis(dslbis) => writer.push(dslbis),
            cdat::Entry::Dsmscis(dsmscis) => writer.push(dsmscis),
            cdat::Entry::Dsis(dsis) => writer.push(dsis),
            cdat::Entry::Dsemts(dsemts) => writer.push(dsemts),
            cdat::Entry::Sslbis(sslbis) if sslbis.rest().is_empty() => {
                writer.push_sslbis(sslbis.header(), sslbis.entries()).unwrap();
            }
            _ => {
                tally.typed -= 1;
                tally.verbatim += 1;
                writer.push_raw(raw.bytes);
            }
        }
    }
    writer.finish(Seal::Keep).unwrap();
    output
}

fn rewrite_slit(input: &[u8], tally: &mut Tally) -> Vec<u8> {
    let view = slit::Slit::parse(input).unwrap();
    let matrix = view.matrix().unwrap();
    let mut output = Vec::new();
    let prologue = view.table().prologue().unwrap();
    let mut writer = slit::SlitWriter::with_header(&mut output, view.table().header(), prologue);
    for row in 0..matrix.localities() {
        writer.push_raw(matrix.row(row).unwrap().as_bytes());
    }
    writer.push_raw(matrix.rest());
    writer.finish(Seal::Keep).unwrap();
    tally.typed += 1;
    output
}

/// Tables that are meant to be wrong, and cannot be written from values: their lengths lie.
const DAMAGED: [(&str, &str); 8] = [
    ("REAL/tables/cedt-fwts-16.bin", "an RDPAS says 16 bytes where its layout has 17"),
    ("cedt-short-window/input/CEDT.bin", "a CFMWS is shorter than its targets"),
    ("cedt-short-window/tables/CEDT.bin", "a CFMWS is shorter than its targets"),
    ("cedt-zero-length/input/CEDT.bin", "a structure says it has no bytes"),
    ("cedt-zero-length/tables/CEDT.bin", "a structure says it has no bytes"),
    ("slit-body-short/input/SLIT.bin", "the matrix is larger than the table"),
    ("slit-body-short/tables/SLIT.bin", "the matrix is larger than the table"),
    ("tree-slit-short/tables/SLIT.bin", "the matrix is larger than the table"),
];

/// Every binary table of the captures and of the collection of real tables.
fn tables() -> Vec<PathBuf> {
    let (Some(real), Some(cases)) = (shared("corpus/REAL/tables"), shared("oracle/cases")) else {
        return Vec::new();
    };
    let of_cases = listing(&cases).into_iter().flat_map(|case| [case.join("input"), case.join("tables")]);
    let folders = of_cases.filter(|folder| folder.is_dir()).chain([real]);
    let files = folders.flat_map(|folder| listing(&folder));
    files.filter(|file| file.extension().is_some_and(|extension| extension == "bin")).collect()
}

#[test]
fn tables_rewritten_from_their_values_are_the_same_bytes() {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut damaged = 0;
    let files = tables();
    for file in &files {
        let bytes = fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let is_cdat = name.to_ascii_lowercase().starts_with("cdat");
        let signature = if is_cdat { Signature::CDAT } else { Signature(*bytes.first_chunk().unwrap()) };
        let (kind, rewrite): (_, Rewrite) = match signature {
            Signature::HMAT => ("HMAT", rewrite_hmat),
            Signature::CEDT => ("CEDT", rewrite_cedt),
            Signature::CDAT => ("CDAT", rewrite_cdat),
            Signature::SLIT => ("SLIT", rewrite_slit),
            _ => continue,
        };
        let groups = assert_covered(if is_cdat { Format::Cdat } else { Format::Sdt }, &bytes);
        let faults = groups.iter().flat_map(|group| group.faults).flatten();
        let lies = faults.filter(|fault| fault.cause != Cause::Checksum).count();
        assert_eq!(lies > 0, DAMAGED.iter().any(|(path, _)| file.ends_with(path)), "{}", file.display());
        if lies > 0 {
            damaged += 1;
            continue;
        }
        let tally = tallies.entry(kind).or_default();
        tally.tables += 1;
        assert_eq!(rewrite(&bytes, tally), bytes, "{}", file.display());
    }
    report(format_args!("{} files: {tallies:?}, {damaged} damaged", files.len()));
    // No MSCT is among them.
    assert!(files.is_empty() || (tallies.len(), damaged) == (4, DAMAGED.len()), "{tallies:?} {damaged}");
}
