//! The text that acpidump prints, in and out.
//!
//! A headline `SRAT @ 0x000000007FFE1000` and lines of sixteen bytes, `    0010: 4F 52 ...  OR`. What is accepted is
//! what acpixtract accepts: any width of address, `(nil)` for one, any line that is neither as the end of a table.

use super::set::{Container, Contents, Found};
use super::text;
use crate::error::{Cause, TableError};
use crate::tables::anatomy::Format;
use crate::tables::root::Rsdp;
use crate::units::{PhysAddr, Signature, widen};
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;

/// A headline is shorter than this; a longer line that looks like one is prose.
const HEADLINE_LIMIT: usize = 49;

/// The bytes of a line end this many characters behind the colon, where the same bytes follow as text.
const BYTES_WIDTH: usize = 49;

/// The most bytes on a line.
const LINE_BYTES: usize = 16;

/// A table while its lines come in.
#[derive(Debug)]
struct Block {
    signature: Signature,
    address: Option<PhysAddr>,
    place: (u64, u64),
    bytes: Vec<u8>,
}

/// Reads every table of a text.
pub(super) fn read(decoded: &[u8]) -> Contents<'static> {
    let mut contents = Contents::new(Container::Acpidump);
    let mut open: Option<Block> = None;
    for line in text::lines(decoded) {
        let place = (line.offset, line.number);
        if let Some((signature, address)) = headline(&line.text) {
            close(open.replace(Block { signature, address, place, bytes: Vec::new() }), &mut contents);
            continue;
        }
        let Some(block) = &mut open else { continue };
        let Some((offset, bytes)) = data(&line.text) else {
            close(open.take(), &mut contents);
            continue;
        };
        if offset != Some(widen(block.bytes.len())) || bytes.is_empty() {
            contents.faults.push(malformed(block.signature, place));
        }
        block.bytes.extend_from_slice(&bytes);
    }
    close(open, &mut contents);
    contents
}

/// Ends a table. A headline alone is nothing, and said to be.
fn close(block: Option<Block>, contents: &mut Contents<'static>) {
    let Some(block) = block else { return };
    if block.bytes.is_empty() {
        contents.faults.push(malformed(block.signature, block.place));
        return;
    }
    // The headline only names the table: what its bytes say counts, where they say it.
    let (signature, format) = match (block.signature, block.bytes.first_chunk()) {
        (Signature::CDAT, _) => (Signature::CDAT, Format::Cdat),
        _ if block.bytes.starts_with(&Rsdp::MAGIC) => (Signature::RSDP, Format::Rsdp),
        (_, Some(own)) => (Signature(*own), Format::Sdt),
        (named, None) => (named, Format::Sdt),
    };
    contents.tables.push(Found {
        signature,
        format,
        member: None,
        offset: block.place.0,
        address: block.address,
        bytes: Cow::Owned(block.bytes),
        beyond: &[],
    });
}

fn malformed(table: Signature, (offset, number): (u64, u64)) -> TableError {
    TableError { table, offset, cause: Cause::MalformedText, expected: 0, found: number }
}

/// Signature and address of a headline.
fn headline(line: &str) -> Option<(Signature, Option<PhysAddr>)> {
    if line.len() >= HEADLINE_LIMIT || line.starts_with(' ') {
        return None;
    }
    let (name, address) = line.split_once(" @ ")?;
    let signature = match name.trim_end().as_bytes() {
        b"RSD PTR" => Signature::RSDP,
        name => Signature(name.try_into().ok()?),
    };
    Some((signature, text::hex(address.trim()).map(PhysAddr)))
}

/// Offset and bytes of a data line.
fn data(line: &str) -> Option<(Option<u64>, Vec<u8>)> {
    let (offset, rest) = line.split_once(": ").filter(|_| line.starts_with([' ', '\t']))?;
    let rest = rest.as_bytes();
    // The column counts from the colon, so the space behind it is one of the characters.
    let columns = rest.get(..BYTES_WIDTH.saturating_sub(1)).unwrap_or(rest);
    let words = columns.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let byte = |word: &[u8]| {
        let mut byte = [0];
        hex::decode_to_slice(word, &mut byte).ok().map(|()| byte)
    };
    let bytes = words.map_while(byte).flatten().take(LINE_BYTES).collect();
    Some((text::hex(offset.trim()), bytes))
}

/// Writes one table as acpidump does, with the empty line that ends it. A table whose address is not known is said to be
/// at 0, as acpidump says of a table from a file.
///
/// # Errors
/// When `out` fails.
pub fn write(
    out: &mut impl fmt::Write,
    signature: Signature,
    address: Option<PhysAddr>,
    bytes: &[u8],
) -> fmt::Result {
    let name = signature.0.map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { '?' });
    for letter in name {
        out.write_char(letter)?;
    }
    writeln!(out, " @ 0x{:016X}", address.unwrap_or_default().0)?;
    for (index, line) in (0_u64..).zip(bytes.chunks(LINE_BYTES)) {
        let offset = format!("{:04X}", index.saturating_mul(widen(LINE_BYTES)));
        write!(out, "{offset:>8}: ")?;
        for column in 0..LINE_BYTES {
            match line.get(column) {
                Some(byte) => write!(out, "{byte:02X} ")?,
                None => out.write_str("   ")?,
            }
        }
        out.write_char(' ')?;
        for byte in line {
            let shown = if matches!(byte, 0x20..=0x7e) { *byte } else { b'.' };
            out.write_char(char::from(shown))?;
        }
        out.write_char('\n')?;
    }
    out.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use alloc::string::String;

    extern crate std;
    use std::fs;
    use std::process::Command;

    fn written(signature: Signature, address: Option<PhysAddr>, bytes: &[u8]) -> String {
        let mut text = String::new();
        write(&mut text, signature, address, bytes).unwrap();
        text
    }

    #[test]
    fn every_headline_in_use_is_read() {
        let good = [
            ("SRAT @ 0x000000007FFE1000", Signature::SRAT, Some(0x7ffe_1000)),
            ("SRAT @ 0x7ffe1000", Signature::SRAT, Some(0x7ffe_1000)),
            ("DSDT @ (nil)", Signature(*b"DSDT"), None),
            ("RSD PTR @ 0xf5a10", Signature::RSDP, Some(0xf_5a10)),
        ];
        for (line, signature, address) in good {
            assert_eq!(headline(line), Some((signature, address.map(PhysAddr))), "{line}");
        }
        for line in [
            " SRAT @ 0x0",
            "SRAT@0x0",
            "SRATX @ 0x0",
            "",
            "SRAT @ 0x0 and then a good deal of prose about it",
        ] {
            assert_eq!(headline(line), None, "{line}");
        }
    }

    #[test]
    fn the_text_column_is_never_taken_for_bytes() {
        let bytes: Vec<u8> = (0x41..0x51).collect();
        let full = "    0000: 41 42 43 44 45 46 47 48 49 4A 4B 4C 4D 4E 4F 50  AB CD EF 01 23 4";
        assert_eq!(data(full), Some((Some(0), bytes.clone())));
        let short = "    0010: 41 42                                            AB CD EF";
        assert_eq!(data(short), Some((Some(0x10), bytes[..2].to_vec())));
        assert_eq!(data("  12345: 41"), Some((Some(0x12345), bytes[..1].to_vec())));
        assert_eq!(data("0000: 41"), None);
        assert_eq!(data("    no colon"), None);
    }

    #[test]
    fn loose_texts_give_their_tables() {
        let text = b"a first line\r\n\
            RSD PTR @ 0xF0\r\n  0000: 52 53 44 20 50 54 52 20 00 00 00 00 00 00 00 00  RSD PTR\r\n  0010: 00 00 00 00  ....\r\n\r\n\
            OEM1 @ (nil)\n  0000: 4f 45 4d 31  OEM1\n  0004: zz\nCDAT @ 0x0\n  0000: 10 00 00 00\nSLIT @ 0x0\n\n";
        let contents = read(text);
        let found: Vec<_> =
            contents.tables.iter().map(|t| (t.signature, t.format, t.address, t.bytes.len())).collect();
        assert_eq!(
            found,
            [
                (Signature::RSDP, Format::Rsdp, Some(PhysAddr(0xf0)), 20),
                (Signature(*b"OEM1"), Format::Sdt, None, 4),
                (Signature::CDAT, Format::Cdat, Some(PhysAddr(0)), 4),
            ]
        );
        // A data line without bytes, and a headline without lines.
        let faults: Vec<_> = contents.faults.iter().map(|fault| (fault.table, fault.found)).collect();
        assert_eq!(faults, [(Signature(*b"OEM1"), 8), (Signature::SLIT, 11)]);
    }

    #[test]
    fn a_gap_in_the_offsets_is_told() {
        let contents = read(b"SRAT @ 0x0\n  0000: 53 52\n  0010: 41 54\n");
        assert_eq!(*contents.tables[0].bytes, *b"SRAT");
        assert_eq!(contents.faults, [malformed(Signature::SRAT, (25, 3))]);
    }

    #[test]
    fn a_text_of_many_tables_comes_back() {
        let mut text = String::new();
        let tables = [testing::sdt(b"SRAT", &[7; 100]), testing::sdt(b"OEM1", &[0x80; 70_000])];
        for table in &tables {
            write(&mut text, Signature(table[..4].try_into().unwrap()), Some(PhysAddr(0x10_0000)), table)
                .unwrap();
        }
        let contents = read(text.as_bytes());
        assert_eq!(contents.faults, []);
        let found: Vec<_> = contents.tables.iter().map(|table| table.bytes.to_vec()).collect();
        assert_eq!(found, tables);
        for end in (0..text.len()).step_by(9973).chain(0..400) {
            assert!(read(&text.as_bytes()[..end]).tables.len() <= 2);
        }
    }

    #[test]
    fn acpidump_prints_the_same_text_and_acpixtract_reads_ours() {
        let Some(case) = testing::shared("oracle/cases/tree-good/tables") else { return };
        let version = Command::new("acpidump").arg("-v").output();
        if version.is_err() {
            testing::report(format_args!("SKIPPED: acpidump is not installed"));
            return;
        }
        let folder = std::env::temp_dir().join(alloc::format!("memtopo-acpidump-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut all = String::new();
        let paths = testing::listing(&case);
        for path in &paths {
            let bytes = fs::read(path).unwrap();
            let signature = Signature(bytes[..4].try_into().unwrap());
            let theirs = Command::new("acpidump").arg("-f").arg(path).output().unwrap();
            let ours = written(signature, None, &bytes);
            assert_eq!(String::from_utf8(theirs.stdout).unwrap(), ours, "{}", path.display());
            all.push_str(&ours);
        }
        fs::write(folder.join("all.txt"), &all).unwrap();
        let status = Command::new("acpixtract").arg("-a").arg("all.txt").current_dir(&folder).output();
        assert!(status.unwrap().status.success());
        for path in &paths {
            let name = path.file_stem().unwrap().to_str().unwrap().to_ascii_lowercase();
            assert_eq!(fs::read(folder.join(name + ".dat")).unwrap(), fs::read(path).unwrap());
        }
        fs::remove_dir_all(&folder).unwrap();
        testing::report(format_args!("acpidump and acpixtract agree on {} tables", paths.len()));
    }
}
