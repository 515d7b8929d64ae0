//! Tables from the initrd that replace those of the firmware, or join them (`drivers/acpi/tables.c:
//! acpi_table_upgrade`, `acpi_table_initrd_override`; ACPICA `tbinstal.c`).

use crate::tables::header::Table;
use crate::topology::TableBytes;
use crate::units::Signature;
use alloc::vec::Vec;

/// The most files that the kernel takes.
const MOST_FILES: usize = 64;

/// Signatures that the kernel lets an initrd bring, as far as they matter for memory topology.
const ALLOWED: [Signature; 6] =
    [Signature::MADT, Signature::SRAT, Signature::SLIT, Signature::HMAT, Signature::CEDT, Signature::MSCT];

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It takes the place of the firmware's table with this index.
    Replaces(usize),
    /// No table has its signature and ids: it comes behind the others. Of a kind of which the kernel uses the
    /// first only, it has no effect when firmware has one.
    Appended,
    /// A table with its ids is there and not older.
    NotNewer,
    /// Its size is not its Length, or shorter than a header.
    WrongLength,
    /// Its bytes do not sum to 0.
    WrongChecksum,
    /// Its signature is none that may be brought.
    NotAllowed,
    /// 64 files were taken before.
    TooMany,
}

/// Which tables the kernel works with, in its order, and what became of each file of the initrd.
#[must_use]
pub fn upgrade<'a>(firmware: &[TableBytes<'a>], files: &[&'a [u8]]) -> (Vec<TableBytes<'a>>, Vec<Fate>) {
    let mut tables = firmware.to_vec();
    let mut taken = 0_usize;
    let mut fates = Vec::new();
    for file in files {
        let fate = match acceptable(file) {
            Err(fate) => fate,
            Ok(_) if taken >= MOST_FILES => Fate::TooMany,
            Ok(new) => {
                taken = taken.saturating_add(1);
                TableBytes::copy(file).map_or(Fate::WrongLength, |file| place(&new, file, &mut tables))
            }
        };
        fates.push(fate);
    }
    (tables, fates)
}

/// The checks on a file by itself.
fn acceptable(file: &[u8]) -> Result<Table<'_>, Fate> {
    let table = Table::parse(file).map_err(|_| Fate::WrongLength)?;
    if !ALLOWED.contains(&table.signature()) {
        return Err(Fate::NotAllowed);
    }
    if usize::try_from(table.header().length.get().0) != Ok(file.len()) {
        return Err(Fate::WrongLength);
    }
    if table.faults().next().is_some() { Err(Fate::WrongChecksum) } else { Ok(table) }
}

/// Puts an acceptable file among the tables.
fn place<'a>(new: &Table<'_>, file: TableBytes<'a>, tables: &mut Vec<TableBytes<'a>>) -> Fate {
    let ids = |table: &Table<'_>| {
        let header = table.header();
        (table.signature(), header.oem_id.get().0, header.oem_table_id.get().0)
    };
    let revision = |table: &Table<'_>| table.header().oem_revision.get().0;
    let twin = tables.iter_mut().enumerate().find_map(|(index, bytes)| {
        let table = Table::parse(bytes.from(0)).ok()?;
        (ids(&table) == ids(new)).then_some((index, bytes, revision(&table)))
    });
    match twin {
        Some((index, bytes, old)) if revision(new) > old => {
            *bytes = file;
            Fate::Replaces(index)
        }
        Some(_) => Fate::NotNewer,
        None => {
            tables.push(file);
            Fate::Appended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::header::Identity;
    use crate::tables::output::Seal;
    use crate::tables::srat::SratWriter;

    fn srat(oem_revision: u32, oem_id: &[u8; 6]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let identity = Identity { oem_id: *oem_id, oem_revision, ..Identity::default() };
        SratWriter::new(&mut bytes, identity).finish(Seal::Fill).unwrap();
        bytes
    }

    fn run<'a>(firmware: &[&'a [u8]], files: &[&'a [u8]]) -> (Vec<&'a [u8]>, Vec<Fate>) {
        let firmware: Vec<_> = firmware.iter().map(|bytes| TableBytes::copy(bytes).unwrap()).collect();
        let (tables, fates) = upgrade(&firmware, files);
        (tables.iter().map(|table| table.from(0)).collect(), fates)
    }

    #[test]
    fn a_newer_table_with_the_same_ids_replaces_and_another_joins() {
        let (old, newer, other) = (srat(1, b"BOCHS "), srat(2, b"BOCHS "), srat(9, b"MTOPO "));
        let (tables, fates) = run(&[&old], &[&newer, &other]);
        assert_eq!(fates, [Fate::Replaces(0), Fate::Appended]);
        assert_eq!(tables, [&newer[..], &other[..]]);
        let (tables, fates) = run(&[&newer], &[&old]);
        assert_eq!((tables, fates), (Vec::from([&newer[..]]), Vec::from([Fate::NotNewer])));
    }

    #[test]
    fn what_the_kernel_refuses_is_named() {
        let good = srat(1, b"BOCHS ");
        let mut checksum = good.clone();
        checksum[9] ^= 1;
        let long = [&good[..], &[0]].concat();
        let mut unknown = good.clone();
        unknown[..4].copy_from_slice(b"CDAT");
        let (tables, fates) = run(&[], &[&checksum, &long, &unknown]);
        assert_eq!(fates, [Fate::WrongChecksum, Fate::WrongLength, Fate::NotAllowed]);
        assert!(tables.is_empty());
        let files = [&good[..]; 65];
        assert_eq!(run(&[], &files).1[64], Fate::TooMany);
    }
}
