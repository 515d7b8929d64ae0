//! A table as data-table source for iasl, which compiles it back.
//!
//! iasl wants each field on a line of its own, in order and under exactly the label it knows; which these are
//! was established by compiling with iasl 20260408 (20250404 takes the same). It fills in lengths and checksums
//! itself and always writes its own creator id and revision. What it cannot express is a [`Loss`]: the source
//! says so in a comment where it happens, and the caller is told.

use crate::tables::anatomy::{Anatomy, Group, Piece, Role};
use crate::tables::layout::{Field, Kind, Layout, List, ListPart, Row, little_endian};
use crate::tables::schema::Body;
use crate::units::{Signature, widen};
use core::fmt::{self, Display, Write};

/// Something of a table that iasl cannot compile to the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Byte offset in the table.
    pub offset: usize,
    /// What happens.
    pub what: LossKind,
}

/// The ways in which iasl falls short of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossKind {
    /// A bit without a line of its own: compiled to 0.
    ReservedBit,
    /// A field labelled `Reserved` that is not zero: refused, or compiled to zero.
    ReservedField,
    /// A structure type that iasl does not know: refused.
    UnknownStructure,
    /// Bytes behind the fields of a structure or the structures of a table: left out.
    ExtraBytes,
    /// A structure or list that the bytes cut short: refused.
    CutShort,
    /// A window of 3, 6, 12 or 16 ways: refused.
    InterleaveWays,
    /// A CXIMS with fewer than two maps: iasl does not end.
    XorMaps,
    /// Text with a byte that iasl has no way to write.
    TextByte,
    /// A wrong length or checksum, which iasl puts right.
    Corrected,
    /// A zero entry of an XSDT or RSDT: refused unless iasl is called with `-vw 6312`.
    ZeroEntry,
    /// A table whose structures this program does not know.
    UnknownTable,
}

impl Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBit => "iasl has no line for a reserved bit and clears it",
            Self::ReservedField => "iasl refuses a Reserved field that is not zero",
            Self::UnknownStructure => "iasl does not know this structure type",
            Self::ExtraBytes => "iasl leaves out bytes behind the known fields",
            Self::CutShort => "iasl cannot compile a structure that is cut short",
            Self::InterleaveWays => "iasl refuses windows of 3, 6, 12 and 16 ways",
            Self::XorMaps => "iasl 20260408 does not end on a CXIMS with fewer than two maps",
            Self::TextByte => "iasl cannot write this text",
            Self::Corrected => "iasl puts a wrong length or checksum right",
            Self::ZeroEntry => "iasl refuses a zero entry unless called with -vw 6312",
            Self::UnknownTable => "not a memory-topology table; use the hex or json form",
        })
    }
}

/// How iasl writes one structure: a label for each fixed field, the bits that have lines, the list labels.
struct Source {
    id: &'static str,
    labels: &'static [&'static str],
    /// Lines behind the flags field; none where iasl takes the flags as a plain number.
    bits: &'static [Bit],
    /// Whether the number on the line of the flags field counts, and not the lines of the bits.
    whole_flags: bool,
    /// Labels of the list, where they differ from its names: of each field of an element, or, for elements of one
    /// field, of the first element and of all others.
    list: &'static [&'static str],
}

struct Bit(&'static str, u32, u32);

const ENABLED: &[Bit] = &[Bit("Enabled", 0, 1)];
const GENERIC: &[Bit] = &[Bit("Enabled", 0, 1), Bit("Architectural Transactions", 1, 1)];
const GENERIC_LABELS: &[&str] = &[
    "Subtable Type",
    "Length",
    "Reserved1",
    "Device Handle Type",
    "Proximity Domain",
    "Device Handle",
    DECODED,
    "Reserved2",
];
const POLARITY: &[Bit] = &[Bit("Polarity", 0, 2), Bit("Trigger Mode", 2, 2)];
const ONLINE: &[Bit] = &[Bit("Processor Enabled", 0, 1), Bit("Runtime Online Capable", 1, 1)];
const LOCALITY: &[Bit] = &[
    Bit("Memory Hierarchy", 0, 4),
    Bit("Use Minimum Transfer Size", 4, 1),
    Bit("Non-sequential Transfers", 5, 1),
];
const LOCALITY_LABELS: &[&str] = &[
    "Structure Type",
    "Reserved",
    "Length",
    DECODED,
    "Data Type",
    "Minimum Transfer Size",
    "Reserved1",
    "Initiator Proximity Domains #",
    "Target Proximity Domains #",
    "Reserved2",
    "Entry Base Unit",
];
const DECODED: &str = "Flags (decoded below)";

const fn source(id: &'static str, labels: &'static [&'static str], bits: &'static [Bit]) -> Source {
    Source { id, labels, bits, whole_flags: false, list: &[] }
}

/// Every structure that iasl can compile.
const SOURCES: &[Source] = &[
    source("srat", &["Table Revision", "Reserved"], &[]),
    source(
        "local_apic_affinity",
        &[
            "Subtable Type",
            "Length",
            "Proximity Domain Low(8)",
            "Apic ID",
            DECODED,
            "Local Sapic EID",
            "Proximity Domain High(24)",
            "Clock Domain",
        ],
        ENABLED,
    ),
    source(
        "memory_affinity",
        &[
            "Subtable Type",
            "Length",
            "Proximity Domain",
            "Reserved1",
            "Base Address",
            "Address Length",
            "Reserved2",
            DECODED,
            "Reserved3",
        ],
        &[Bit("Enabled", 0, 1), Bit("Hot Pluggable", 1, 1), Bit("Non-Volatile", 2, 1)],
    ),
    source(
        "x2apic_affinity",
        &[
            "Subtable Type",
            "Length",
            "Reserved1",
            "Proximity Domain",
            "Apic ID",
            DECODED,
            "Clock Domain",
            "Reserved2",
        ],
        ENABLED,
    ),
    source(
        "gicc_affinity",
        &["Subtable Type", "Length", "Proximity Domain", "Acpi Processor UID", DECODED, "Clock Domain"],
        ENABLED,
    ),
    source("its_affinity", &["Subtable Type", "Length", "Proximity Domain", "Reserved", "ITS ID"], &[]),
    source("generic_initiator_affinity", GENERIC_LABELS, GENERIC),
    source("generic_port_affinity", GENERIC_LABELS, GENERIC),
    source(
        "rintc_affinity",
        &[
            "Subtable Type",
            "Length",
            "Reserved",
            "Proximity Domain",
            "Acpi Processor UID",
            DECODED,
            "Clock Domain",
        ],
        ENABLED,
    ),
    source("slit", &["Localities"], &[]),
    source(
        "msct",
        &["Proximity Offset", "Max Proximity Domains", "Max Clock Domains", "Max Physical Address"],
        &[],
    ),
    source(
        "maximum_proximity_domain_information",
        &[
            "Revision",
            "Length",
            "Domain Range Start",
            "Domain Range End",
            "Processor Capacity",
            "Memory Capacity",
        ],
        &[],
    ),
    source("hmat", &["Reserved"], &[]),
    Source {
        whole_flags: true,
        ..source(
            "memory_proximity_attributes",
            &[
                "Structure Type",
                "Reserved",
                "Length",
                DECODED,
                "Reserved1",
                "Attached Initiator Proximity Domain",
                "Memory Proximity Domain",
                "Reserved2",
                "Reserved3",
                "Reserved4",
            ],
            &[Bit("Processor Proximity Domain Valid", 0, 1)],
        )
    },
    Source {
        whole_flags: true,
        ..source(
            "memory_subsystem_address_range",
            &[
                "Structure Type",
                "Reserved",
                "Length",
                DECODED,
                "Reserved1",
                "Attached Initiator Proximity Domain",
                "Memory Proximity Domain",
                "Reserved2",
                "Reserved3",
                "Reserved4",
            ],
            &[Bit("Processor Proximity Domain Valid", 0, 1)],
        )
    },
    Source { whole_flags: true, ..source("system_locality", LOCALITY_LABELS, LOCALITY) },
    Source { whole_flags: true, ..source("system_locality_revision_1", LOCALITY_LABELS, LOCALITY) },
    Source {
        whole_flags: true,
        ..source(
            "memory_side_cache",
            &[
                "Structure Type",
                "Reserved",
                "Length",
                "Memory Proximity Domain",
                "Reserved1",
                "Memory Side Cache Size",
                "Cache Attributes (decoded below)",
                "Address Mode",
                "SMBIOS Handle #",
            ],
            &[
                Bit("Total Cache Levels", 0, 4),
                Bit("Cache Level", 4, 4),
                Bit("Cache Associativity", 8, 4),
                Bit("Write Policy", 12, 4),
                Bit("Cache Line Size", 16, 16),
            ],
        )
    },
    source(
        "cxl_host_bridge",
        &[
            "Subtable Type",
            "Reserved",
            "Length",
            "Associated host bridge",
            "Specification version",
            "Reserved",
            "Register base",
            "Register length",
        ],
        &[],
    ),
    Source {
        list: &["First Target", "Next Target"],
        ..source(
            "cxl_fixed_memory_window",
            &[
                "Subtable Type",
                "Reserved",
                "Length",
                "Reserved",
                "Window base address",
                "Window size",
                "Interleave Members",
                "Interleave Arithmetic",
                "Reserved",
                "Granularity",
                "Restrictions",
                "QtgId",
            ],
            &[],
        )
    },
    Source {
        list: &["First Xormap", "Next Xormap"],
        ..source(
            "cxl_xor_interleave_math",
            &[
                "Subtable Type",
                "Reserved",
                "Length",
                "Reserved",
                "Interleave Granularity",
                "Xormap List Count",
            ],
            &[],
        )
    },
    source(
        "dsmas",
        &[
            "Subtable Type",
            "Reserved",
            "Length",
            "DSMAD Handle",
            "Flags",
            "Reserved",
            "DPA Base Address",
            "DPA Length",
        ],
        &[],
    ),
    source(
        "dslbis",
        &[
            "Subtable Type",
            "Reserved",
            "Length",
            "Handle",
            "Flags",
            "Data Type",
            "Reserved",
            "Entry Base Unit",
            "Entry0",
            "Entry1",
            "Entry2",
            "Reserved",
        ],
        &[],
    ),
    source(
        "dsmscis",
        &[
            "Subtable Type",
            "Reserved",
            "Length",
            "DSMAS Handle",
            "Reserved",
            "Side Cache Size",
            "Cache Attributes",
        ],
        &[],
    ),
    source("dsis", &["Subtable Type", "Reserved", "Length", "Flags", "Handle", "Reserved"], &[]),
    source(
        "dsemts",
        &[
            "Subtable Type",
            "Reserved",
            "Length",
            "DSMAS Handle",
            "Memory Type",
            "Reserved",
            "DPA Offset",
            "DPA Range Length",
        ],
        &[],
    ),
    Source {
        list: &["Port X Id", "Port Y Id", "Latency or Bandwidth", "Reserved"],
        ..source(
            "sslbis",
            &["Subtable Type", "Reserved", "Length", "Data Type", "Reserved", "Entry Base Unit"],
            &[],
        )
    },
    source("madt", &["Local Apic Address", DECODED], &[Bit("PC-AT Compatibility", 0, 1)]),
    source("local_apic", &["Subtable Type", "Length", "Processor ID", "Local Apic ID", DECODED], ONLINE),
    source("io_apic", &["Subtable Type", "Length", "I/O Apic ID", "Reserved", "Address", "Interrupt"], &[]),
    source(
        "interrupt_source_override",
        &["Subtable Type", "Length", "Bus", "Source", "Interrupt", DECODED],
        POLARITY,
    ),
    source(
        "local_apic_nmi",
        &["Subtable Type", "Length", "Processor ID", DECODED, "Interrupt Input LINT"],
        POLARITY,
    ),
];

/// Writes one table as iasl source and calls `lost` for everything that iasl will not keep.
pub fn table<W: Write>(out: &mut W, anatomy: Anatomy<'_>, mut lost: impl FnMut(Loss)) -> fmt::Result {
    let signature = anatomy.table();
    let known = matches!(anatomy.schema().body, Body::Structures(_) | Body::Lists)
        && ![Signature::RSDP, Signature::EFI_MAP, Signature::E820].contains(&signature);
    if !known {
        writeln!(out, "/* {signature}: {} */", LossKind::UnknownTable)?;
        lost(Loss { offset: 0, what: LossKind::UnknownTable });
        return Ok(());
    }
    let mut printer = Printer { out, lost: &mut lost, whole_flags: false };
    for group in anatomy {
        printer.group(&group)?;
    }
    Ok(())
}

struct Printer<'a, W> {
    out: &'a mut W,
    lost: &'a mut dyn FnMut(Loss),
    whole_flags: bool,
}

impl<W: Write> Printer<'_, W> {
    fn loss(&mut self, offset: usize, what: LossKind) -> fmt::Result {
        (self.lost)(Loss { offset, what });
        writeln!(self.out, "/* {offset:#x}: {what} */")
    }

    fn group(&mut self, group: &Group<'_>) -> fmt::Result {
        let Some(layout) = group.layout else {
            let what = match group.role {
                Role::Structure { .. } => LossKind::UnknownStructure,
                Role::Unwalked => LossKind::CutShort,
                _ => LossKind::ExtraBytes,
            };
            return self.lost_bytes(group.offset, group.bytes, what);
        };
        if group.role == Role::Header {
            for _ in group.faults.iter().flatten() {
                self.loss(group.offset, LossKind::Corrected)?;
            }
        } else if widen(group.bytes.len()) < layout.parts(group.bytes).1 {
            return self.lost_bytes(group.offset, group.bytes, LossKind::CutShort);
        }
        let source = SOURCES.iter().find(|source| source.id == layout.id);
        if matches!(group.role, Role::Structure { .. }) {
            writeln!(self.out)?;
            if source.is_none() {
                return self.lost_bytes(group.offset, group.bytes, LossKind::UnknownStructure);
            }
            self.shortcomings(layout, group)?;
        }
        self.whole_flags = source.is_some_and(|source| source.whole_flags);
        for (index, piece) in group.pieces().enumerate() {
            match piece {
                Piece::Field { field, offset, bytes } => {
                    let label = source.and_then(|source| source.labels.get(index)).copied();
                    let bits = source.map_or(&[][..], |source| source.bits);
                    self.field(field, offset, bytes, label.unwrap_or(field.label), bits)?;
                }
                Piece::List { list, offset, part } => {
                    self.list(list, offset, &part, source.map_or(&[], |source| source.list))?;
                }
                Piece::Rest { offset, bytes } => self.lost_bytes(offset, bytes, LossKind::ExtraBytes)?,
            }
        }
        Ok(())
    }

    /// What iasl cannot do with structures that it knows.
    fn shortcomings(&mut self, layout: &Layout, group: &Group<'_>) -> fmt::Result {
        let [first, ..] = group.lists();
        match layout.id {
            "cxl_fixed_memory_window" if ![1, 2, 4, 8].contains(&first.count) => {
                self.loss(group.offset, LossKind::InterleaveWays)
            }
            "cxl_xor_interleave_math" if first.count < 2 => self.loss(group.offset, LossKind::XorMaps),
            _ => Ok(()),
        }
    }

    /// Bytes that have no line, as a comment.
    fn lost_bytes(&mut self, offset: usize, bytes: &[u8], what: LossKind) -> fmt::Result {
        self.loss(offset, what)?;
        for line in bytes.chunks(16) {
            writeln!(self.out, "/* {} */", super::value::HexBytes(line))?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        offset: usize,
        bytes: &[u8],
        label: &str,
        bits: &[Bit],
    ) -> fmt::Result {
        let value = little_endian(bytes);
        if label == "Reserved" && bytes.iter().any(|byte| *byte != 0) {
            self.loss(offset, LossKind::ReservedField)?;
        }
        match field.kind {
            Kind::Text => {
                // Whatever follows the first NUL is padding as long as it is NUL too.
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
                let text = bytes.get(..end).unwrap_or_default();
                let writable = text.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'"');
                // iasl writes its own creator id whatever stands here.
                if !writable && field.key != "creator_id" {
                    self.loss(offset, LossKind::TextByte)?;
                }
                writeln!(self.out, "{label:>37} : \"{}\"", Writable(text))
            }
            Kind::DeviceHandle => writeln!(self.out, "{label:>37} : {}", super::value::HexBytes(bytes)),
            Kind::Flags(_) if label.ends_with("(decoded below)") => {
                self.flags(offset, value, label, bits, bytes.len())
            }
            _ => writeln!(
                self.out,
                "{label:>37} : {:0width$X}",
                Wide(bytes),
                width = bytes.len().saturating_mul(2)
            ),
        }
    }

    /// A flags field with a line for each bit that iasl names.
    fn flags(&mut self, offset: usize, value: u64, label: &str, bits: &[Bit], width: usize) -> fmt::Result {
        let named = bits.iter().fold(0_u64, |all, Bit(_, shift, width)| {
            let ones = 1_u64.checked_shl(*width).unwrap_or(0).wrapping_sub(1);
            all | ones.checked_shl(*shift).unwrap_or(0)
        });
        if !self.whole_flags && value & !named != 0 {
            self.loss(offset, LossKind::ReservedBit)?;
        }
        writeln!(self.out, "{label:>37} : {value:0width$X}", width = width.saturating_mul(2))?;
        for Bit(name, shift, width) in bits {
            let ones = 1_u64.checked_shl(*width).unwrap_or(0).wrapping_sub(1);
            let part = value.checked_shr(*shift).unwrap_or(0) & ones;
            writeln!(self.out, "{name:>37} : {part:X}")?;
        }
        Ok(())
    }

    fn list(&mut self, list: &List, offset: usize, part: &ListPart<'_>, labels: &[&str]) -> fmt::Result {
        if list.row == Row::Square {
            let row = usize::try_from(part.count.isqrt()).unwrap_or(usize::MAX).max(1);
            for (index, bytes) in part.bytes.chunks(row).enumerate() {
                writeln!(self.out, "{:>25}Locality {index:3} : {}", "", super::value::HexBytes(bytes))?;
            }
            return Ok(());
        }
        let mut at = offset;
        for (index, element) in part.bytes.chunks_exact(list.stride.max(1)).enumerate() {
            for (nth, field) in list.element.iter().enumerate() {
                let bytes = field.bytes(element).unwrap_or_default();
                let which = if list.element.len() == 1 { index.min(1) } else { nth };
                let own = if field.label.is_empty() { list.label } else { field.label };
                let label = labels.get(which).copied().unwrap_or(own);
                if matches!(field.kind, Kind::Address) && bytes.iter().all(|byte| *byte == 0) {
                    self.loss(at, LossKind::ZeroEntry)?;
                }
                self.field(field, at.saturating_add(field.offset), bytes, label, &[])?;
            }
            at = at.saturating_add(element.len());
        }
        Ok(())
    }
}

/// Little-endian bytes of any number as one hexadecimal number.
struct Wide<'a>(&'a [u8]);

impl fmt::UpperHex for Wide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// Text with a space for every byte that iasl cannot write.
struct Writable<'a>(&'a [u8]);

impl Display for Writable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| {
            let writable = (0x20..0x7f).contains(byte) && *byte != b'"';
            f.write_char(if writable { char::from(*byte) } else { ' ' })
        })
    }
}
