//! SLIT, the System Locality Distance Information Table: the distance from every proximity domain to every
//! other (ACPI 6.6 §5.2.17).

use super::header::{Identity, SdtHeader, Table};
use super::layout::{Row, Structure, layout};
use super::output::{Output, Seal, TableWriter};
use super::schema::{Body, TableSchema};
use super::wire::Le;
use crate::error::{Cause, TableError, WriteError};
use crate::units::{Distance, Signature, widen};
use zerocopy::{FromBytes, IntoBytes};

layout! {
    /// What SLIT has behind the header: the number of localities, N, and as a list the N x N distances.
    SlitPrologue("slit", "SLIT", 8) {
        /// Rows and columns of the matrix. Locality numbers are proximity domain numbers.
        locality_count: u64 = "Localities",
    }
    lists(|fixed, _| {
        let n = fixed.locality_count.get();
        [n.saturating_mul(n), 0, 0]
    }) {
        "distances", "Locality": [Distance], Row::Square;
    }
}

/// How to walk and print a SLIT.
pub(crate) const SCHEMA: TableSchema = TableSchema {
    signature: Signature::SLIT,
    name: "System Locality Information Table",
    prologue: Some(&SlitPrologue::LAYOUT),
    body: Body::Lists,
};

/// A SLIT, read in place.
///
/// ```
/// use memtopo::tables::output::{Seal, SliceOutput};
/// use memtopo::tables::slit::{Slit, SlitWriter};
/// use memtopo::units::Distance;
///
/// let mut buffer = [0; 48];
/// let distance = |from, to| if from == to { Distance(10) } else { Distance(21) };
/// let writer = SlitWriter::new(SliceOutput::new(&mut buffer), Default::default(), 2, distance);
/// assert_eq!(writer.finish(Seal::Fill)?, 48);
///
/// let slit = Slit::parse(&buffer)?;
/// assert_eq!(slit.matrix()?.distance(0, 1), Some(Distance(21)));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Slit<'a> {
    table: Table<'a>,
    prologue: &'a SlitPrologue,
}

impl<'a> Slit<'a> {
    /// Bytes before the first distance.
    pub const FIXED: usize = 44;

    /// Takes the SLIT at the start of `input`.
    ///
    /// # Errors
    /// When the bytes end before byte 44, or the signature is another.
    pub fn parse(input: &'a [u8]) -> Result<Self, TableError> {
        let table = Table::expect(input, Signature::SLIT, Self::FIXED)?;
        Ok(Self { table, prologue: table.prologue()? })
    }

    /// Header, bytes and faults of the table.
    #[must_use]
    pub const fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// Rows and columns of the matrix, as the table says: any 64-bit number, whether the table has room or not.
    #[must_use]
    pub fn localities(&self) -> u64 {
        self.prologue.locality_count.get()
    }

    /// The distances.
    ///
    /// # Errors
    /// [`Cause::ListOverrun`] when N x N distances do not fit in the table: expected and found are the bytes
    /// behind the header.
    pub fn matrix(&self) -> Result<SlitMatrix<'a>, TableError> {
        let n = self.localities();
        let body = self.table.body();
        let fault = TableError {
            table: Signature::SLIT,
            offset: widen(SdtHeader::SIZE),
            cause: Cause::ListOverrun,
            expected: n.saturating_mul(n).saturating_add(widen(size_of::<SlitPrologue>())),
            found: widen(body.len()),
        };
        let localities = usize::try_from(n).map_err(|_| fault)?;
        let count = localities.checked_mul(localities).ok_or(fault)?;
        let bytes = self.table.bytes().get(Self::FIXED..).unwrap_or_default();
        let (distances, rest) =
            <[Le<Distance>]>::ref_from_prefix_with_elems(bytes, count).map_err(|_| fault)?;
        Ok(SlitMatrix { localities, distances, rest })
    }
}

/// The distances of a SLIT, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlitMatrix<'a> {
    localities: usize,
    distances: &'a [Le<Distance>],
    rest: &'a [u8],
}

impl<'a> SlitMatrix<'a> {
    /// Rows and columns.
    #[must_use]
    pub const fn localities(&self) -> usize {
        self.localities
    }

    /// All distances, row by row.
    #[must_use]
    pub const fn distances(&self) -> &'a [Le<Distance>] {
        self.distances
    }

    /// Distances from locality `from` to every locality.
    #[inline]
    #[must_use]
    pub fn row(&self, from: usize) -> Option<&'a [Le<Distance>]> {
        if from >= self.localities {
            return None;
        }
        let start = from.checked_mul(self.localities)?;
        self.distances.get(start..start.checked_add(self.localities)?)
    }

    /// Distance from locality `from` to locality `to`.
    #[inline]
    #[must_use]
    pub fn distance(&self, from: usize, to: usize) -> Option<Distance> {
        self.row(from)?.get(to).map(|distance| distance.get())
    }

    /// Bytes of the table behind the matrix.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Writes a SLIT of revision 1.
#[derive(Debug)]
pub struct SlitWriter<O> {
    table: TableWriter<O>,
}

impl<O: Output> SlitWriter<O> {
    /// Writes a SLIT with `localities` rows and columns at the end of `output`.
    ///
    /// `distance` is called once for each pair of localities, from and to, row by row. It is not called when the
    /// output has no room and only measures.
    #[inline]
    pub fn new(
        output: O,
        identity: Identity,
        localities: u16,
        distance: impl FnMut(usize, usize) -> Distance,
    ) -> Self {
        let prologue = SlitPrologue { locality_count: u64::from(localities).into() };
        let header = SdtHeader::new(Signature::SLIT, 1, identity);
        let mut writer = Self::with_header(output, &header, &prologue);
        writer.table.matrix(usize::from(localities), usize::from(localities), distance);
        writer
    }

    /// Starts a SLIT with every field of the fixed part as given, and without distances: they are to be appended
    /// with [`push_raw`](Self::push_raw).
    pub fn with_header(output: O, header: &SdtHeader, prologue: &SlitPrologue) -> Self {
        let mut table = TableWriter::new(output, header);
        table.raw(prologue.as_bytes());
        Self { table }
    }

    /// Appends bytes verbatim: rows of the matrix, or what follows it.
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

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::tables::anatomy::Format;
    use crate::tables::anatomy::testing::{IDENTITY, assert_covered, hex, rest};
    use crate::tables::output::SliceOutput;
    use alloc::vec::Vec;

    /// Three localities.
    const EXAMPLE: &str = "
        534c4954 35000000 01 ac 4d544f504f20 4558414d504c4520 01000000 4d54504f 01000000
        0300000000000000 0a151e 150a1f 1e1f0a";

    #[test]
    fn the_example_reads_and_writes() {
        const ROWS: [[u8; 3]; 3] = [[10, 21, 30], [21, 10, 31], [30, 31, 10]];
        let bytes = hex(EXAMPLE);
        let slit = Slit::parse(&bytes).unwrap();
        assert_eq!((slit.localities(), slit.table().faults().count()), (3, 0));
        let matrix = slit.matrix().unwrap();
        assert_eq!((matrix.localities(), matrix.distances().len()), (3, 9));
        for (from, row) in ROWS.iter().enumerate() {
            for (to, distance) in row.iter().enumerate() {
                assert_eq!(matrix.distance(from, to), Some(Distance(*distance)));
            }
            assert_eq!(matrix.distance(from, 3), None);
        }
        assert_eq!((matrix.row(3), matrix.rest().len()), (None, 0));

        let mut written = Vec::new();
        let writer = SlitWriter::new(&mut written, IDENTITY, 3, |from, to| Distance(ROWS[from][to]));
        assert_eq!(writer.finish(Seal::Fill), Ok(53));
        assert_eq!(written, bytes);

        let header = *slit.table().header();
        let prologue = SlitPrologue { locality_count: 3.into() };
        let mut buffer = [0; 53];
        let mut writer = SlitWriter::with_header(SliceOutput::new(&mut buffer), &header, &prologue);
        writer.push_raw(&bytes[44..]);
        assert_eq!(writer.finish(Seal::Keep), Ok(53));
        assert_eq!(buffer[..], bytes);
    }

    #[test]
    fn every_truncation_is_told() {
        let bytes = hex(EXAMPLE);
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            if end >= 36 {
                let groups = assert_covered(Format::Sdt, cut);
                assert!(groups.iter().flat_map(|group| group.faults).flatten().count() >= 1, "{end}");
            }
            match Slit::parse(cut) {
                Err(_) => assert!(end < 44, "{end}"),
                Ok(slit) => {
                    let error = slit.matrix().unwrap_err();
                    assert_eq!((error.cause, error.offset), (Cause::ListOverrun, 36));
                    assert_eq!((error.expected, error.found), (17, end as u64 - 36));
                }
            }
        }
    }

    #[test]
    fn any_number_of_localities_is_safe() {
        for count in [0, 1, 2, 4, 255, 65536, 1 << 31, 1 << 32, (1 << 32) + 1, 1 << 63, u64::MAX] {
            let mut bytes = hex(EXAMPLE);
            bytes[36..44].copy_from_slice(&u64::to_le_bytes(count));
            let slit = Slit::parse(&bytes).unwrap();
            assert_eq!(slit.localities(), count);
            let groups = assert_covered(Format::Sdt, &bytes);
            match slit.matrix() {
                Ok(matrix) => {
                    assert!(count <= 3);
                    assert_eq!(matrix.rest().len() as u64, 9 - count * count);
                    assert_eq!(matrix.rest(), rest(&groups[1]));
                    assert_eq!(matrix.row(usize::try_from(count).unwrap()), None);
                }
                Err(error) => {
                    assert!(count > 3);
                    assert_eq!(groups[1].faults[0], Some(error));
                    assert_eq!(error.expected, count.saturating_mul(count).saturating_add(8));
                }
            }
        }
    }

    #[test]
    fn a_matrix_makes_a_vector_no_larger_than_it_has_to_be() {
        let mut bytes = Vec::new();
        let writer = SlitWriter::new(&mut bytes, IDENTITY, 1000, |from, to| Distance((from ^ to) as u8));
        assert_eq!(writer.finish(Seal::Fill), Ok(1_000_044));
        assert!(bytes.capacity() < 1_050_000, "{}", bytes.capacity());
        let measured =
            SlitWriter::new(SliceOutput::new(&mut []), IDENTITY, u16::MAX, |_, _| panic!("measuring"));
        let needed = 44 + 65535 * 65535;
        assert_eq!(measured.finish(Seal::Fill), Err(WriteError::BufferTooSmall { needed, available: 0 }));
    }
}
