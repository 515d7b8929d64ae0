//! What the kernel takes from a CDAT: ranges of device memory with their latency and bandwidth, and paths through a
//! switch (`drivers/cxl/core/cdat.c`).

use super::coordinates::{Coordinates, normalise};
use crate::tables::cdat::{Dslbis, Dsmas, PortId, SslbisEntry, SslbisHeader};
use crate::tables::entries::Medium;
use crate::tables::hmat::DataType;
use crate::topology::Source;
use crate::topology::device_tables::{DeviceTable, Structure};
use crate::units::DsmasHandle;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use zerocopy::FromBytes;

/// Lengths of the structures, header included, in bytes.
const DSMAS: u32 = 24;
const DSLBIS: u32 = 24;
const SSLBIS: u32 = 16;
const SSLBE: u32 = 8;

/// Why the kernel takes nothing, or nothing more, from a CDAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CdatFault {
    /// It is shorter than its header.
    Short,
    /// The sum of its bytes is not 0.
    Checksum(u8),
    /// A structure has length 0.
    ZeroLength(Source),
    /// A structure has a length that its type does not have.
    Length(Source, u32),
    /// A structure reaches behind the end of the table.
    Behind(Source),
    /// Two DSMAS structures have one handle.
    SameHandle(Source, DsmasHandle),
    /// There is no DSMAS.
    NoRange,
    /// There is no DSLBIS.
    NoFigures,
    /// There is no SSLBIS.
    NoPaths,
}

impl CdatFault {
    /// Where it stands, where it stands anywhere.
    #[must_use]
    pub const fn source(&self) -> Option<Source> {
        match self {
            Self::ZeroLength(source)
            | Self::Length(source, _)
            | Self::Behind(source)
            | Self::SameHandle(source, _) => Some(*source),
            _ => None,
        }
    }
}

impl fmt::Display for CdatFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("it is shorter than its header"),
            Self::Checksum(sum) => write!(f, "its bytes sum to {sum:#04x}, not to 0"),
            Self::ZeroLength(source) => write!(f, "the structure at {source} has length 0"),
            Self::Length(source, length) => {
                write!(f, "the structure at {source} has a length of {length} bytes, which its type has not")
            }
            Self::Behind(source) => {
                write!(f, "the structure at {source} reaches behind the end of the table")
            }
            Self::SameHandle(source, handle) => {
                write!(f, "the DSMAS at {source} has handle {handle}, as one before it")
            }
            Self::NoRange => f.write_str("it has no DSMAS"),
            Self::NoFigures => f.write_str("it has no DSLBIS"),
            Self::NoPaths => f.write_str("it has no SSLBIS"),
        }
    }
}

/// A range of device memory with its figures, the same for both access classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRange {
    /// Its first address inside the device.
    pub start: u64,
    /// Its last address inside the device; wrapped for an empty range.
    pub last: u64,
    /// How fast the device itself is.
    pub coordinates: Coordinates,
    /// Where it stands.
    pub source: Source,
    /// Where its figures stand, by what they are about: later ones overwrote earlier ones.
    pub figures: BTreeMap<u8, Source>,
}

impl DeviceRange {
    /// Whether all of it lies between two addresses of the device.
    #[must_use]
    pub const fn inside(&self, start: u64, last: u64) -> bool {
        start <= self.start && self.last <= last
    }

    /// Whether all between two addresses of the device lies in it.
    #[must_use]
    pub const fn holds(&self, start: u64, last: u64) -> bool {
        self.start <= start && last <= self.last
    }
}

/// The structures that the walk comes to (`lib/fw_table.c: acpi_parse_entries_array`), and the zero length that ends
/// it badly.
fn walk<'a>(table: &DeviceTable<'a>) -> (Vec<Structure<'a>>, Option<CdatFault>) {
    let end = table.end();
    let visited = table.structures().filter(|one| one.link.header_inside::<Medium>(end));
    let all: Vec<_> = visited.collect();
    let zero = all.last().filter(|last| last.link.length == 0);
    let fault = zero.map(|last| CdatFault::ZeroLength(last.link.source));
    (all, fault)
}

/// Whether the kernel keeps the table at all (`core/pci.c: read_cdat_data`).
fn sound(table: &DeviceTable<'_>) -> Result<(), CdatFault> {
    match (table.declared(), table.sum()) {
        (None, _) => Err(CdatFault::Short),
        (Some(_), 0) => Ok(()),
        (Some(_), sum) => Err(CdatFault::Checksum(sum)),
    }
}

/// A structure that has to have exactly this length.
fn exact<T: FromBytes>(one: &Structure<'_>, length: u32, table: &DeviceTable<'_>) -> Result<T, CdatFault> {
    let source = one.link.source;
    if one.link.length != length {
        return Err(CdatFault::Length(source, one.link.length));
    }
    let inside = usize::try_from(one.link.end()).is_ok_and(|end| end <= table.end());
    one.read().filter(|_| inside).ok_or(CdatFault::Behind(source))
}

/// The ranges of a device, by handle (`cxl_cdat_endpoint_process`): all of them or none.
///
/// # Errors
/// Why the kernel takes none.
pub fn device_ranges(table: &DeviceTable<'_>) -> Result<BTreeMap<DsmasHandle, DeviceRange>, CdatFault> {
    sound(table)?;
    let (structures, zero_length) = walk(table);
    let mut ranges = BTreeMap::new();
    for one in structures.iter().filter(|one| one.link.kind == 0) {
        let dsmas: Dsmas = exact(one, DSMAS, table)?;
        let (start, source) = (dsmas.dpa_base.get().0, one.link.source);
        let last = start.wrapping_add(dsmas.dpa_length.get().0).wrapping_sub(1);
        let range = DeviceRange {
            start,
            last,
            coordinates: Coordinates::default(),
            source,
            figures: BTreeMap::new(),
        };
        if ranges.insert(dsmas.handle.get(), range).is_some() {
            return Err(CdatFault::SameHandle(source, dsmas.handle.get()));
        }
    }
    if let Some(fault) = zero_length {
        return Err(fault);
    }
    if ranges.is_empty() {
        return Err(CdatFault::NoRange);
    }
    let mut any = false;
    for one in structures.iter().filter(|one| one.link.kind == 1) {
        let dslbis: Dslbis = exact(one, DSLBIS, table)?;
        any = true;
        let kind = dslbis.data_type.get();
        if kind > DataType::WRITE_BANDWIDTH || dslbis.flags.get().memory_hierarchy().0 != 0 {
            continue;
        }
        if let Some(range) = ranges.get_mut(&dslbis.handle.get()) {
            let value = normalise(dslbis.entry0.get(), dslbis.entry_base_unit.get(), kind, REVISION);
            range.coordinates.set(kind, value);
            range.figures.insert(kind.0, one.link.source);
        }
    }
    if any { Ok(ranges) } else { Err(CdatFault::NoFigures) }
}

/// The figures of a CDAT are scaled as those of an HMAT of this revision.
const REVISION: u8 = 2;

/// A downstream port of a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchPath {
    /// How fast the way through the switch is, the same for both access classes.
    pub coordinates: Coordinates,
    /// Where its figures stand.
    pub figures: BTreeMap<u8, Source>,
    /// What ended the walk early; what stands before it counts.
    pub fault: Option<CdatFault>,
}

/// The way through a switch to one of its downstream ports (`cdat_sslbis_handler`).
#[must_use]
pub fn switch_path(table: &DeviceTable<'_>, port: u32) -> SwitchPath {
    let mut path = SwitchPath::default();
    if let Err(fault) = sound(table) {
        path.fault = Some(fault);
        return path;
    }
    let (structures, zero_length) = walk(table);
    let mut any = false;
    for one in structures.iter().filter(|one| one.link.kind == 5) {
        any = true;
        match read_paths(one, table) {
            Err(fault) => {
                path.fault = Some(fault);
                return path;
            }
            Ok((header, entries)) => {
                let kind = header.data_type.get();
                let of_port =
                    entries.iter().find(|entry| downstream(entry).is_none_or(|id| u32::from(id) == port));
                if let Some(entry) = of_port.filter(|_| kind <= DataType::WRITE_BANDWIDTH) {
                    let value = normalise(entry.value.get(), header.entry_base_unit.get(), kind, REVISION);
                    path.coordinates.set(kind, value);
                    path.figures.insert(kind.0, one.link.source);
                }
            }
        }
    }
    path.fault = zero_length.or((!any).then_some(CdatFault::NoPaths));
    path
}

/// The downstream port that an entry is about; `None` for any.
fn downstream(entry: &SslbisEntry) -> Option<u16> {
    let id = match (entry.port_x.get(), entry.port_y.get()) {
        (PortId::UPSTREAM, y) => y,
        (PortId::ANY, PortId::UPSTREAM) => PortId::ANY,
        (PortId::ANY, y) => y,
        (x, _) => x,
    };
    (id != PortId::ANY).then_some(id.0)
}

fn read_paths(
    one: &Structure<'_>,
    table: &DeviceTable<'_>,
) -> Result<(SslbisHeader, Vec<SslbisEntry>), CdatFault> {
    let (length, source) = (one.link.length, one.link.source);
    let room = length.checked_sub(SSLBIS).filter(|room| *room != 0 && room.checked_rem(SSLBE) == Some(0));
    if room.is_none() {
        return Err(CdatFault::Length(source, length));
    }
    let inside = usize::try_from(one.link.end()).is_ok_and(|end| end <= table.end());
    let header: SslbisHeader = one.read().filter(|_| inside).ok_or(CdatFault::Behind(source))?;
    let list = one.behind(size_of::<SslbisHeader>());
    let entries = list.chunks_exact(size_of::<SslbisEntry>());
    let entries = entries.filter_map(|entry| SslbisEntry::read_from_bytes(entry).ok());
    Ok((header, entries.collect()))
}
