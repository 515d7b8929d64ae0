//! The archive with table upgrades that stands at the front of an initrd: newc cpio, in and out.
//!
//! Linux looks there for regular files under `kernel/firmware/acpi/` (`acpi_table_upgrade`); what follows the archive,
//! usually a compressed initramfs, is not looked at.

use super::set::{Container, Contents, Found};
use crate::error::{Cause, TableError, WriteError};
use crate::tables::anatomy::Format;
use crate::tables::header::SdtHeader;
use crate::units::{Signature, widen};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Where Linux looks for table upgrades.
pub const UPGRADE_FOLDER: &str = "kernel/firmware/acpi/";

/// Made-up name of the archive in errors.
const CPIO: Signature = Signature(*b"cpio");

/// The magic of newc, without and with checksums.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];

/// Bytes of a member's header: the magic and thirteen numbers of eight hexadecimal digits.
const HEADER: usize = 110;

/// Headers and contents begin at a multiple of this many bytes.
const ALIGNMENT: usize = 4;

/// The name of the member that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// The bits of a mode that tell the kind of file, and those of a regular file and of a folder.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// Whether an input is such an archive.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    MAGICS.iter().any(|magic| bytes.starts_with(magic))
}

/// One member of an archive.
#[derive(Debug)]
struct Member<'a> {
    mode: u32,
    name: &'a [u8],
    offset: usize,
    contents: &'a [u8],
    /// Offset of what follows it.
    end: usize,
}

/// Why there is no further member.
enum Stop {
    /// What follows is no archive.
    Other,
    /// The member is cut off: so many bytes of the input are needed.
    CutOff(usize),
}

fn align(offset: usize) -> usize {
    offset.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX)
}

/// The member whose header is at `offset`.
fn member(bytes: &[u8], offset: usize) -> Result<Member<'_>, Stop> {
    let rest = bytes.get(offset..).unwrap_or_default();
    if !is_archive(rest) {
        return Err(Stop::Other);
    }
    let header = rest.get(..HEADER).ok_or(Stop::CutOff(offset.saturating_add(HEADER)))?;
    let number = |index: usize| {
        let start = index.checked_mul(8)?.checked_add(6)?;
        let digits = core::str::from_utf8(header.get(start..start.checked_add(8)?)?).ok()?;
        u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
    };
    let size = |index: usize| number(index).and_then(|size| usize::try_from(size).ok());
    let (Some(mode), Some(file), Some(name)) = (number(1), size(6), size(11)) else {
        return Err(Stop::Other);
    };
    let name_start = offset.saturating_add(HEADER);
    let name_end = name_start.saturating_add(name);
    let start = align(name_end);
    let end = start.saturating_add(file);
    let contents = bytes.get(start..end).ok_or(Stop::CutOff(end))?;
    let name = bytes.get(name_start..name_end).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Member { mode, name, offset: start, contents, end: align(end) })
}

/// Reads the table upgrades of an archive, and of further archives behind it.
pub(super) fn read(bytes: &[u8]) -> Contents<'_> {
    let mut contents = Contents::new(Container::Initrd);
    let mut offset = 0_usize;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        // Words of zeros lie between archives.
        let padding = rest.iter().take_while(|byte| **byte == 0).count();
        if padding >= ALIGNMENT {
            offset =
                offset.saturating_add(padding.saturating_sub(padding.checked_rem(ALIGNMENT).unwrap_or(0)));
            continue;
        }
        let found = match member(bytes, offset) {
            Ok(found) => found,
            Err(Stop::Other) => break,
            Err(Stop::CutOff(needed)) => {
                contents.faults.push(malformed(offset, needed, bytes.len()));
                break;
            }
        };
        offset = found.end;
        if found.mode & KIND != REGULAR || !found.name.starts_with(UPGRADE_FOLDER.as_bytes()) {
            continue;
        }
        match found.contents.first_chunk().filter(|_| found.contents.len() >= SdtHeader::SIZE) {
            Some(signature) => contents.tables.push(Found {
                member: Some(String::from_utf8_lossy(found.name).into_owned()),
                ..Found::borrowed(Signature(*signature), Format::Sdt, found.offset, found.contents)
            }),
            None => contents.faults.push(malformed(found.offset, SdtHeader::SIZE, found.contents.len())),
        }
    }
    contents
}

fn malformed(offset: usize, expected: usize, found: usize) -> TableError {
    TableError {
        table: CPIO,
        offset: widen(offset),
        cause: Cause::MalformedContainer,
        expected: widen(expected),
        found: widen(found),
    }
}

/// Makes an archive with one file for each table, `kernel/firmware/acpi/NAME`, to be put in front of an initramfs.
///
/// The same tables give the same bytes: no time, no owner.
///
/// # Errors
/// [`WriteError::TooLong`] for a table of 4 GiB or more, or a name that long.
pub fn write<'a>(tables: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>, WriteError> {
    let mut out = Vec::new();
    let mut inode = 0_u32;
    let mut put = |mode: u32, name: &str, contents: &[u8]| {
        inode = inode.saturating_add(1);
        append(&mut out, inode, mode, name, contents)
    };
    for folder in ["kernel", "kernel/firmware", "kernel/firmware/acpi"] {
        put(FOLDER | 0o755, folder, &[])?;
    }
    for (name, contents) in tables {
        put(REGULAR | 0o644, &format!("{UPGRADE_FOLDER}{name}"), contents)?;
    }
    put(0, TRAILER, &[])?;
    Ok(out)
}

/// Appends one member.
fn append(out: &mut Vec<u8>, inode: u32, mode: u32, name: &str, contents: &[u8]) -> Result<(), WriteError> {
    let field = |length: usize| {
        let too_long = WriteError::TooLong { table: CPIO, length: widen(length), limit: u64::from(u32::MAX) };
        u32::try_from(length).map_err(|_| too_long)
    };
    let size = field(contents.len())?;
    let name_size = field(name.len().saturating_add(1))?;
    let links = if mode & KIND == FOLDER { 2 } else { 1 };
    out.extend_from_slice(b"070701");
    for number in [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
        out.extend_from_slice(format!("{number:08X}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(align(out.len()), 0);
    out.extend_from_slice(contents);
    out.resize(align(out.len()), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, sdt};

    extern crate std;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn names(bytes: &[u8]) -> Vec<String> {
        read(bytes).tables.into_iter().filter_map(|table| table.member).collect()
    }

    #[test]
    fn an_archive_of_ours_reads_back() {
        let (srat, slit) = (sdt(b"SRAT", &[0; 13]), sdt(b"SLIT", &[0; 8]));
        let bytes = write([("srat.aml", &srat[..]), ("b", &slit)]).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let contents = read(&bytes);
        assert_eq!(contents.faults, []);
        assert_eq!(names(&bytes), ["kernel/firmware/acpi/srat.aml", "kernel/firmware/acpi/b"]);
        assert_eq!(*contents.tables[0].bytes, *srat);
        let offset = usize::try_from(contents.tables[1].offset).unwrap();
        assert_eq!(bytes[offset..][..slit.len()], slit);
    }

    #[test]
    fn archives_follow_one_another_until_something_else_comes() {
        let table = sdt(b"SRAT", &[0; 12]);
        let one = write([("one", &table[..])]).unwrap();
        let two = write([("two", &table[..])]).unwrap();
        let bytes = [&one[..], &[0; 512], &two, b"\x1f\x8b\x08 a compressed initramfs"].concat();
        assert_eq!(names(&bytes), ["kernel/firmware/acpi/one", "kernel/firmware/acpi/two"]);
        assert_eq!(read(&bytes).faults, []);
        let crooked = [&one[..], &[0; 2], &two].concat();
        assert_eq!(names(&crooked), ["kernel/firmware/acpi/one"]);
    }

    #[test]
    fn only_regular_files_in_the_folder_are_taken() {
        let table = sdt(b"SRAT", &[0; 12]);
        let mut bytes = Vec::new();
        append(&mut bytes, 1, REGULAR, "kernel/firmware/acpi/short", &table[..35]).unwrap();
        append(&mut bytes, 2, REGULAR, "kernel/x86/microcode/GenuineIntel.bin", &table).unwrap();
        append(&mut bytes, 3, 0o120_777, "kernel/firmware/acpi/link", &table).unwrap();
        append(&mut bytes, 4, REGULAR, "kernel/firmware/acpi/taken", &table).unwrap();
        assert_eq!(names(&bytes), ["kernel/firmware/acpi/taken"]);
        let [fault] = read(&bytes).faults[..] else { panic!("no fault") };
        assert_eq!((fault.cause, fault.expected, fault.found), (Cause::MalformedContainer, 36, 35));
    }

    #[test]
    fn no_truncation_panics() {
        let bytes = write([("srat.aml", &sdt(b"SRAT", &[0; 12])[..])]).unwrap();
        let table_end = usize::try_from(read(&bytes).tables[0].offset).unwrap() + 48;
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]).tables.len(), usize::from(end >= table_end), "{end}");
        }
        let mut lying = bytes;
        for at in 0..lying.len() {
            let byte = core::mem::replace(&mut lying[at], b'F');
            read(&lying);
            lying[at] = byte;
        }
    }

    #[test]
    fn cpio_lists_what_we_wrote() {
        let bytes = write([("srat.aml", &sdt(b"SRAT", &[0; 12])[..])]).unwrap();
        let cpio = Command::new("cpio").arg("-t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut cpio) = cpio else {
            testing::report(format_args!("SKIPPED: cpio is not installed"));
            return;
        };
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        let listed = cpio.wait_with_output().unwrap();
        assert!(listed.status.success());
        assert_eq!(
            listed.stdout,
            b"kernel\nkernel/firmware\nkernel/firmware/acpi\nkernel/firmware/acpi/srat.aml\n"
        );
    }
}
