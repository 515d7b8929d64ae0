//! Where writers put bytes: a caller's slice without an allocator, or a growing `Vec<u8>`.

use super::header::{Envelope, SdtHeader, right_checksum};
use super::wire::{Le, Wire};
use crate::error::WriteError;
use crate::units::{Signature, widen};
use zerocopy::{FromBytes, IntoBytes};

/// A destination for the bytes of one table.
///
/// A destination that runs out of room goes on counting, so that the caller learns the length it takes.
pub trait Output {
    /// Makes room for `length` more bytes and gives them, zeroed or not, to be filled. `None` when they do not
    /// fit: the output is then only being measured.
    fn claim(&mut self, length: usize) -> Option<&mut [u8]>;
    /// Everything that was written, to be patched, with the number of bytes that the output takes or would
    /// take. The slice is shorter than that number when the room ran out.
    fn written(&mut self) -> (&mut [u8], u64);

    /// Appends `bytes`.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        // The second look at the length is what lets the compiler see that the copy cannot panic.
        if let Some(room) = self.claim(bytes.len()).and_then(|room| room.get_mut(..bytes.len())) {
            room.copy_from_slice(bytes);
        }
    }
}

/// Writes into a caller's slice, and counts on when the slice is full.
#[derive(Debug)]
pub struct SliceOutput<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> SliceOutput<'a> {
    /// Writes to the start of `buffer`; an empty one only measures.
    #[must_use]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }
}

impl Output for SliceOutput<'_> {
    #[inline]
    fn claim(&mut self, length: usize) -> Option<&mut [u8]> {
        let start = self.length;
        self.length = start.saturating_add(length);
        // In this form the compiler sees how long the room is.
        self.buffer.get_mut(start..)?.get_mut(..length)
    }

    fn written(&mut self) -> (&mut [u8], u64) {
        let length = self.length.min(self.buffer.len());
        let total = widen(self.length);
        (self.buffer.get_mut(..length).unwrap_or_default(), total)
    }
}

/// Bytes from which on a vector grows by a 32nd only.
#[cfg(feature = "alloc")]
const LARGE: usize = 1 << 20;

/// Grows as needed: to twice its size while that is little, and beyond by what is written and at most 4 percent
/// more. A caller who knows the length does best to reserve it, and can learn it from a [`SliceOutput`] of an
/// empty slice.
#[cfg(feature = "alloc")]
impl Output for alloc::vec::Vec<u8> {
    #[inline]
    fn claim(&mut self, length: usize) -> Option<&mut [u8]> {
        grow(self, length);
        let start = self.len();
        self.resize(start.saturating_add(length), 0);
        self.get_mut(start..)
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        // As the trait has it, but without zeroes that are written over at once.
        grow(self, bytes.len());
        self.extend_from_slice(bytes);
    }

    fn written(&mut self) -> (&mut [u8], u64) {
        let total = widen(self.len());
        (self, total)
    }
}

/// Makes room for `length` more bytes.
#[cfg(feature = "alloc")]
#[inline]
fn grow(vec: &mut alloc::vec::Vec<u8>, length: usize) {
    let start = vec.len();
    if vec.capacity().saturating_sub(start) < length {
        // Doubling would make a vector with a matrix of many megabytes twice as large for one more structure.
        let spare = if start < LARGE { start } else { start >> 5 };
        vec.reserve_exact(length.max(spare));
    }
}

impl<O: Output> Output for &mut O {
    #[inline]
    fn claim(&mut self, length: usize) -> Option<&mut [u8]> {
        (**self).claim(length)
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        (**self).put(bytes);
    }

    fn written(&mut self) -> (&mut [u8], u64) {
        (**self).written()
    }
}

/// Ends what was written from byte `start` of `output` on, for forms without Length and checksum, and gives the
/// number of bytes.
///
/// # Errors
/// [`WriteError::BufferTooSmall`] with the length that is needed, counted from the start of the buffer.
pub(crate) fn finish_bare<O: Output>(output: &mut O, start: u64) -> Result<u64, WriteError> {
    let (bytes, total) = output.written();
    let available = widen(bytes.len());
    if available < total {
        return Err(WriteError::BufferTooSmall { needed: total, available });
    }
    Ok(total.saturating_sub(start))
}

/// Whether a writer fills in Length and Checksum or leaves them as the header has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Seal {
    /// Length becomes the number of bytes written, Checksum what makes them sum to 0.
    #[default]
    Fill,
    /// Both stay as given, right or wrong.
    Keep,
}

/// Writes an ACPI table: the header, then whatever is appended, then Length and Checksum.
///
/// The writers of the single tables wrap this one; alone it writes any table, known or not.
#[derive(Debug)]
pub struct TableWriter<O> {
    output: O,
    envelope: Envelope,
    start: u64,
}

impl<O: Output> TableWriter<O> {
    /// Starts a table at the current end of `output`.
    pub fn new(output: O, header: &SdtHeader) -> Self {
        Self::with_envelope(output, header.as_bytes(), Envelope::sdt(header.signature.get()))
    }

    /// Starts a table whose header is `header`.
    pub(crate) fn with_envelope(mut output: O, header: &[u8], envelope: Envelope) -> Self {
        let start = output.written().1;
        output.put(header);
        Self { output, envelope, start }
    }

    /// Appends bytes verbatim: an unknown structure, padding, a whole body.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.output.put(bytes);
    }

    /// Appends a list of numbers.
    pub(crate) fn list<T: Wire>(&mut self, values: &[T]) {
        let size = values.len().saturating_mul(size_of::<Le<T>>());
        if let Some(places) = self.output.claim(size).and_then(places) {
            places.iter_mut().zip(values).for_each(|(place, value)| place.set(*value));
        }
    }

    /// Appends a matrix row by row; `value` gives the number at a row and a column, and is called for each in
    /// order, or never when there is no room.
    #[inline]
    pub(crate) fn matrix<T: Wire>(
        &mut self,
        rows: usize,
        columns: usize,
        mut value: impl FnMut(usize, usize) -> T,
    ) {
        let size = rows.saturating_mul(columns).saturating_mul(size_of::<Le<T>>());
        if let Some(places) = self.output.claim(size).and_then(places) {
            for (row, places) in places.chunks_exact_mut(columns.max(1)).enumerate() {
                for (column, place) in places.iter_mut().enumerate() {
                    place.set(value(row, column));
                }
            }
        }
    }

    /// Ends the table and returns its length in bytes.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`] with the length that is needed, counted from the start of the buffer;
    /// [`WriteError::TooLong`] when the table has 4 GiB or more.
    pub fn finish(mut self, seal: Seal) -> Result<u64, WriteError> {
        let (bytes, total) = self.output.written();
        let available = widen(bytes.len());
        let length = total.saturating_sub(self.start);
        let field: u32 = fit(self.envelope.table, length, u64::from(u32::MAX))?;
        let start = usize::try_from(self.start).unwrap_or(usize::MAX);
        let table = bytes
            .get_mut(start..)
            .filter(|_| available == total)
            .ok_or(WriteError::BufferTooSmall { needed: total, available })?;
        if seal == Seal::Fill {
            let at = self.envelope.length_at;
            if let Some(place) = table.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
                *place = field.to_le_bytes();
            }
            let at = self.envelope.checksum_at;
            let current = table.get(at).copied().unwrap_or_default();
            let checksum = right_checksum(table, current);
            if let Some(place) = table.get_mut(at) {
                *place = checksum;
            }
        }
        Ok(length)
    }
}

/// The numbers that stand in `room`.
fn places<T: Wire>(room: &mut [u8]) -> Option<&mut [Le<T>]> {
    <[Le<T>]>::mut_from_bytes(room).ok()
}

/// `length` in the type of its field, when it is at most `limit`.
pub(crate) fn fit<T: TryFrom<u64>>(table: Signature, length: u64, limit: u64) -> Result<T, WriteError> {
    let error = WriteError::TooLong { table, length, limit };
    if length > limit { Err(error) } else { T::try_from(length).map_err(|_| error) }
}
