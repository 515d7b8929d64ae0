//! E820 entries as an x86 boot loader hands them over (`struct boot_e820_entry`, 20 bytes).

use super::layout::{code, layout};
use super::output::{Output, finish_bare};
use crate::error::{Cause, TableError, WriteError};
use crate::range::AddressRange;
use crate::units::{ByteCount, PhysAddr, Signature, widen};
use zerocopy::{FromBytes, IntoBytes};

code! {
    /// Type of an E820 range (ACPI 6.6 §15.1; Linux `enum e820_type`).
    E820Type(u32) {
        /// Usable memory.
        RAM = 1, "RAM";
        /// Not usable.
        RESERVED = 2, "Reserved";
        /// Holds ACPI tables.
        ACPI = 3, "ACPI data";
        /// ACPI non-volatile storage.
        NVS = 4, "ACPI NVS";
        /// Memory with errors.
        UNUSABLE = 5, "Unusable";
        /// Persistent memory.
        PMEM = 7, "Persistent Memory";
        /// Persistent memory, by the older number.
        PRAM = 12, "Persistent Memory (legacy)";
        /// Specific-purpose memory, as Linux marks it.
        SOFT_RESERVED = 0xefff_ffff, "Soft Reserved";
    }
}

layout! {
    /// One E820 entry, 20 bytes.
    E820Entry("e820_entry", "E820 Entry", 20) {
        /// First byte.
        address: PhysAddr = "Address",
        /// Bytes in the range.
        size: ByteCount = "Size",
        /// What the range is.
        r#type: E820Type = "Type",
    }
}

impl E820Entry {
    /// Size of an entry in bytes.
    pub const SIZE: usize = 20;

    /// The entry of a range.
    #[must_use]
    pub fn new(range: AddressRange, entry_type: E820Type) -> Self {
        Self { address: range.start.into(), size: range.size().into(), r#type: entry_type.into() }
    }

    /// The addresses that it covers; one that passes the end of the address space ends there.
    #[must_use]
    pub fn range(&self) -> AddressRange {
        let (start, size) = (self.address.get(), self.size.get());
        AddressRange::new(start, PhysAddr(start.0.saturating_add(size.0)))
    }
}

/// An E820 map, read in place: entries without a header or a count.
///
/// ```
/// use memtopo::tables::e820::{E820Entry, E820Map, E820MapWriter, E820Type};
/// use memtopo::tables::output::SliceOutput;
/// use memtopo::range::AddressRange;
/// use memtopo::units::PhysAddr;
///
/// let low = AddressRange::new(PhysAddr(0), PhysAddr(0x9fc00));
/// let mut buffer = [0; 20];
/// let mut writer = E820MapWriter::new(SliceOutput::new(&mut buffer));
/// writer.push(&E820Entry::new(low, E820Type::RAM));
/// assert_eq!(writer.finish()?, 20);
/// assert_eq!(E820Map::parse(&buffer).entries()[0].range(), low);
/// # Ok::<(), memtopo::error::WriteError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct E820Map<'a> {
    entries: &'a [E820Entry],
    remainder: &'a [u8],
}

impl<'a> E820Map<'a> {
    /// Takes all of `bytes` as entries.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Self {
        let count = bytes.len().checked_div(E820Entry::SIZE).unwrap_or(0);
        let (entries, remainder) =
            <[E820Entry]>::ref_from_prefix_with_elems(bytes, count).unwrap_or((&[], bytes));
        Self { entries, remainder }
    }

    /// The entries in map order.
    #[must_use]
    pub const fn entries(&self) -> &'a [E820Entry] {
        self.entries
    }

    /// Bytes at the end that are less than an entry.
    #[must_use]
    pub const fn remainder(&self) -> &'a [u8] {
        self.remainder
    }

    /// What is wrong with the length of the map, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<TableError> {
        (!self.remainder.is_empty()).then(|| TableError {
            table: Signature::E820,
            offset: widen(self.entries.as_bytes().len()),
            cause: Cause::PartialEntry,
            expected: widen(E820Entry::SIZE),
            found: widen(self.remainder.len()),
        })
    }
}

/// Writes an E820 map.
#[derive(Debug)]
pub struct E820MapWriter<O> {
    output: O,
    start: u64,
}

impl<O: Output> E820MapWriter<O> {
    /// Starts a map at the end of `output`.
    pub fn new(mut output: O) -> Self {
        let start = output.written().1;
        Self { output, start }
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: &E820Entry) {
        self.output.put(entry.as_bytes());
    }

    /// Appends bytes verbatim, such as a fragment at the end of a map that is cut off.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.output.put(bytes);
    }

    /// Ends the map and returns its length in bytes.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`].
    pub fn finish(mut self) -> Result<u64, WriteError> {
        finish_bare(&mut self.output, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::output::SliceOutput;

    #[test]
    fn entries_and_a_fragment_come_back() {
        // The first two entries that SeaBIOS hands over, by hand, and a cut-off third.
        let mut bytes = [0; 43];
        bytes[8..12].copy_from_slice(&0x9fc00_u32.to_le_bytes());
        bytes[16] = 1;
        bytes[20..24].copy_from_slice(&0x9fc00_u32.to_le_bytes());
        bytes[28..32].copy_from_slice(&0x400_u32.to_le_bytes());
        bytes[36] = 2;
        bytes[40] = 7;
        let map = E820Map::parse(&bytes);
        let [ram, reserved] = map.entries() else { panic!("{map:?}") };
        assert_eq!(ram.range(), AddressRange::new(PhysAddr(0), PhysAddr(0x9fc00)));
        assert_eq!(ram.r#type.get(), E820Type::RAM);
        assert_eq!(reserved.range(), AddressRange::new(PhysAddr(0x9fc00), PhysAddr(0xa0000)));
        assert_eq!(reserved.r#type.get(), E820Type::RESERVED);
        let fault = map.fault().unwrap();
        assert_eq!((fault.cause, fault.offset, fault.found), (Cause::PartialEntry, 40, 3));

        let mut buffer = [0; 43];
        let mut writer = E820MapWriter::new(SliceOutput::new(&mut buffer));
        for entry in map.entries() {
            writer.push(&E820Entry::new(entry.range(), entry.r#type.get()));
        }
        writer.push_raw(map.remainder());
        assert_eq!(writer.finish(), Ok(43));
        assert_eq!(buffer, bytes);
    }
}
