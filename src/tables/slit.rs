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
