//! A CDAT as bytes. It has no signature: its own numbers have to tell.

use super::set::{Container, Contents, Found};
use crate::error::TableError;
use crate::tables::anatomy::Format;
use crate::tables::cdat::Cdat;
use crate::tables::entries::{Entries, Medium};
use crate::tables::header::byte_sum;
use crate::units::Signature;

/// Whether the bytes are a CDAT: a Length that is possible, a revision that exists, zero where zero belongs, and
/// either a good checksum or structures of known types up to the end.
pub(super) fn is_plausible(bytes: &[u8]) -> bool {
    /// CDAT 1.03 defines the types up to this one.
    const LAST_TYPE: u16 = 5;
    let Ok(cdat) = Cdat::parse(bytes) else { return false };
    let header = cdat.header();
    let whole = usize::try_from(header.length.get().0).is_ok_and(|length| length == cdat.bytes().len());
    let shaped = whole && (1..=2).contains(&header.revision.get()) && header.reserved.get().0 == [0; 6];
    let walkable = || {
        Entries::<Medium>::new(Signature::CDAT, cdat.bytes(), Cdat::FIXED)
            .all(|entry| entry.is_ok_and(|entry| entry.kind <= LAST_TYPE))
    };
    shaped && (byte_sum(cdat.bytes()) == 0 || walkable())
}

/// Reads an input that is a CDAT.
///
/// # Errors
/// [`Cause::Truncated`](crate::error::Cause::Truncated) when it has fewer than 16 bytes.
pub(super) fn read(bytes: &[u8]) -> Result<Contents<'_>, TableError> {
    Cdat::parse(bytes)?;
    let mut contents = Contents::new(Container::Cdat);
    contents.tables.push(Found::borrowed(Signature::CDAT, Format::Cdat, 0, bytes));
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use alloc::vec::Vec;

    extern crate std;
    use std::fs;

    /// A CDAT of revision 1 with one DSMAS structure, and the right checksum.
    fn cdat() -> Vec<u8> {
        let mut bytes = Vec::from([40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
        bytes.extend([0, 0, 24, 0, 1, 4, 0, 0]);
        bytes.resize(40, 0);
        bytes[5] = 0_u8.wrapping_sub(byte_sum(&bytes));
        bytes
    }

    #[test]
    fn a_cdat_is_known_by_its_numbers() {
        let good = cdat();
        assert!(is_plausible(&good));
        assert!(is_plausible(&[&good[..], b"tail"].concat()));
        // A wrong checksum, but structures up to the end; a wrong structure, but a right checksum.
        for (at, byte, plausible) in
            [(5, 0, true), (16, 9, false), (6, 1, false), (4, 3, false), (4, 0, false)]
        {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert_eq!(is_plausible(&bytes), plausible, "byte {at}");
        }
        let mut bytes = good.clone();
        bytes[16] = 9;
        bytes[5] = bytes[5].wrapping_sub(9);
        assert!(is_plausible(&bytes));
        for end in 0..good.len() {
            assert!(!is_plausible(&good[..end]));
            assert_eq!(read(&good[..end]).is_ok(), end >= 16);
        }
    }

    #[test]
    fn tables_of_devices_are_recognised() {
        let Some(cases) = testing::shared("oracle/cases") else { return };
        let mut tables = 0;
        // A guest that died early has left no tables.
        for case in testing::listing(&cases).iter().filter(|case| case.join("tables").is_dir()) {
            for path in testing::listing(&case.join("tables")) {
                let bytes = fs::read(&path).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(is_plausible(&bytes), name.starts_with("CDAT"), "{}", path.display());
                tables += usize::from(name.starts_with("CDAT"));
            }
        }
        testing::report(format_args!("CDATs recognised in the captures: {tables}"));
    }
}
