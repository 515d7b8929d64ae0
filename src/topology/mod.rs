//! The machine as its firmware describes it, independent of the operating system.
//!
//! Every fact keeps its [`Source`]: the table and the byte offset at which it stands. The order of the
//! structures, their declared lengths and bytes that are not there are kept as well, because operating systems
//! differ in what they make of them. Nothing here is judged and nothing is left out.

pub mod affinity;
pub mod chain;
pub mod cxl;
pub mod cxl_registers;
mod cxl_sysfs;
pub mod device_tables;
pub mod distances;
pub mod performance;
pub mod processors;
pub mod windows;

use crate::error::TableError;
use crate::tables::header::{SdtHeader, Table};
use crate::units::{Signature, widen};
use alloc::vec::Vec;
use core::fmt;
use zerocopy::{FromBytes, IntoBytes};

/// Where a fact stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The table.
    pub table: Signature,
    /// Byte offset from the start of the table.
    pub offset: u64,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.table, self.offset)
    }
}

/// The bytes of one table, and what is known of the memory behind it.
///
/// Kernels read what a structure declares, even where that lies behind the end of the table. In a memory image
/// those bytes are known; in a copy of the table they are not, and what depends on them is undetermined.
#[derive(Clone, Copy)]
pub struct TableBytes<'a> {
    memory: &'a [u8],
    length: usize,
}

impl fmt::Debug for TableBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes, {} known", self.signature(), self.length, self.memory.len())
    }
}

impl<'a> TableBytes<'a> {
    /// A copy of a table: what lies behind its declared length is not known, whatever follows in `bytes`.
    ///
    /// # Errors
    /// When `bytes` is shorter than a table header.
    pub fn copy(bytes: &'a [u8]) -> Result<Self, TableError> {
        let table = Table::parse(bytes)?;
        Ok(Self { memory: table.bytes(), length: declared(&table) })
    }

    /// A table in a memory image: `memory` goes from its first byte as far as the image is known.
    ///
    /// # Errors
    /// When `memory` is shorter than a table header.
    pub fn in_memory(memory: &'a [u8]) -> Result<Self, TableError> {
        Ok(Self { memory, length: declared(&Table::parse(memory)?) })
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.memory.first_chunk().map_or(Signature(*b"????"), |bytes| Signature(*bytes))
    }

    /// The revision of the header.
    #[must_use]
    pub fn revision(&self) -> u8 {
        self.memory.get(8).copied().unwrap_or_default()
    }

    /// The ids of who made the table: OEM id and OEM table id.
    #[must_use]
    pub fn oem(&self) -> ([u8; 6], [u8; 8]) {
        let id = self.from(10).first_chunk().copied().unwrap_or_default();
        (id, self.from(16).first_chunk().copied().unwrap_or_default())
    }

    /// The declared length in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The known bytes from `offset` on, inside the table and behind it.
    #[must_use]
    pub fn from(&self, offset: usize) -> &'a [u8] {
        self.memory.get(offset..).unwrap_or_default()
    }

    /// The fact at `offset`.
    #[must_use]
    pub fn source(&self, offset: usize) -> Source {
        Source { table: self.signature(), offset: widen(offset) }
    }

    /// The structure at `offset`, as far as its bytes are known.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Partial<T> {
        let known = self.from(offset);
        let mut value = T::new_zeroed();
        let present = known.len().min(size_of::<T>());
        if let (Some(to), Some(from)) = (value.as_mut_bytes().get_mut(..present), known.get(..present)) {
            to.copy_from_slice(from);
        }
        Partial { value, present }
    }
}

fn declared(table: &Table<'_>) -> usize {
    usize::try_from(table.header().length.get().0).unwrap_or(usize::MAX)
}

/// A structure of which the end may be unknown, because it lies behind the bytes that are at hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Partial<T> {
    value: T,
    present: usize,
}

impl<T> Partial<T> {
    /// The structure, when at least its first `end` bytes are known. Later ones read as zero where they are not.
    #[must_use]
    pub const fn up_to(&self, end: usize) -> Option<&T> {
        if self.present >= end { Some(&self.value) } else { None }
    }

    /// The structure, when all of it is known.
    #[must_use]
    pub const fn whole(&self) -> Option<&T> {
        self.up_to(size_of::<T>())
    }
}

/// What the tables of one machine say.
#[derive(Clone, Debug, Default)]
pub struct Topology<'a> {
    /// From the first SRAT.
    pub affinity: Option<affinity::Affinity>,
    /// From the first SLIT.
    pub distances: Option<distances::Distances<'a>>,
    /// From the first HMAT.
    pub performance: Option<performance::Performance<'a>>,
    /// From the first CEDT.
    pub windows: Option<windows::Windows>,
    /// From the first MADT.
    pub processors: Option<processors::Processors>,
    /// The CXL hierarchy, from a running system: ACPI tables do not hold it. [`read`](Self::read) leaves it empty.
    pub cxl: Option<cxl::CxlTree>,
    /// CDATs of CXL devices and switches. [`read`](Self::read) leaves them empty.
    pub device_tables: Vec<device_tables::DeviceTable<'a>>,
    /// Further tables with the signature of one above; operating systems use the first only.
    pub further: Vec<TableBytes<'a>>,
}

impl<'a> Topology<'a> {
    /// Reads the tables that describe the machine, in the order in which firmware lists them; others are passed
    /// over.
    #[must_use]
    pub fn read(tables: impl IntoIterator<Item = TableBytes<'a>>) -> Self {
        let mut topology = Self::default();
        for table in tables {
            let taken = match table.signature() {
                Signature::SRAT => put(&mut topology.affinity, || affinity::Affinity::read(&table)),
                Signature::SLIT => put(&mut topology.distances, || distances::Distances::read(table)),
                Signature::HMAT => put(&mut topology.performance, || performance::Performance::read(&table)),
                Signature::CEDT => put(&mut topology.windows, || windows::Windows::read(&table)),
                Signature::MADT => put(&mut topology.processors, || processors::Processors::read(&table)),
                _ => true,
            };
            if !taken {
                topology.further.push(table);
            }
        }
        topology
    }
}

/// Fills an empty place; `false` when it was taken.
fn put<T>(place: &mut Option<T>, make: impl FnOnce() -> T) -> bool {
    let free = place.is_none();
    if free {
        *place = Some(make());
    }
    free
}

/// The bytes that a table's header takes.
pub(crate) const HEADER: usize = SdtHeader::SIZE;
