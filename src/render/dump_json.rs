//! A table as JSON that holds every byte: what `memtopo dump --format json` prints and `memtopo build` reads.
//!
//! One object for each table. Numbers stand as numbers; addresses, sizes, ids, flags and checksums as `"0x.."`;
//! reserved and opaque bytes as hexadecimal text; text fields as strings in which a character stands for the
//! byte with its number. A key that ends in `_text` explains the one before it and is not read back. `raw`,
//! where it stands, holds all bytes of its structure and is what counts.

use super::json::JsonWriter;
use super::value::{FlagNames, name_of};
use crate::error::TableError;
use crate::tables::anatomy::{Anatomy, Format, Group, Piece, Role};
use crate::tables::layout::{Field, Kind, List, ListPart, Row, little_endian};
use crate::units::widen;
use core::fmt::{self, Display, Write};

/// Writes one table as a JSON object; `source` adds keys of the caller's own, first.
pub fn table<W: Write>(
    json: &mut JsonWriter<W>,
    format: Format,
    anatomy: Anatomy<'_>,
    source: impl FnOnce(&mut JsonWriter<W>) -> fmt::Result,
) -> fmt::Result {
    json.begin_object()?;
    json.key("signature")?;
    json.string(Latin1(&anatomy.table().0))?;
    json.key("format")?;
    json.string(format_name(format))?;
    if let Format::EfiMap { stride } = format {
        json.key("stride")?;
        json.number(stride)?;
    }
    source(json)?;
    faults(json, anatomy.clone())?;
    let mut structures = false;
    for group in anatomy {
        let is_structure = matches!(group.role, Role::Structure { .. });
        if is_structure && !structures {
            json.key("structures")?;
            json.begin_array()?;
            structures = true;
        }
        if !is_structure && structures {
            json.end_array()?;
            structures = false;
        }
        match group.role {
            Role::Header => fields_under(json, "header", &group)?,
            Role::Prologue => fields_under(json, "fields", &group)?,
            Role::Structure { kind } => structure(json, kind, &group)?,
            Role::Body => bytes_under(json, "body", group.bytes)?,
            Role::Unwalked => bytes_under(json, "unwalked", group.bytes)?,
            Role::Trailing => bytes_under(json, "trailing", group.bytes)?,
        }
    }
    if structures {
        json.end_array()?;
    }
    json.end_object()
}

/// The name of a format in JSON.
#[must_use]
pub const fn format_name(format: Format) -> &'static str {
    match format {
        Format::Sdt => "sdt",
        Format::Rsdp => "rsdp",
        Format::Cdat => "cdat",
        Format::EfiMap { .. } => "efi-map",
        Format::E820 => "e820",
    }
}

/// Everything that is wrong, in table order.
fn faults<W: Write>(json: &mut JsonWriter<W>, anatomy: Anatomy<'_>) -> fmt::Result {
    json.key("faults")?;
    json.begin_array()?;
    for TableError { offset, cause, expected, found, .. } in anatomy.flat_map(|group| group.faults).flatten()
    {
        json.begin_object_inline()?;
        json.key("offset")?;
        json.number(offset)?;
        json.key("cause")?;
        json.string(cause)?;
        json.key("expected")?;
        json.number(expected)?;
        json.key("found")?;
        json.number(found)?;
        json.end_object()?;
    }
    json.end_array()
}

fn bytes_under<W: Write>(json: &mut JsonWriter<W>, key: &str, bytes: &[u8]) -> fmt::Result {
    json.key(key)?;
    json.string(PlainHex(bytes))
}

fn fields_under<W: Write>(json: &mut JsonWriter<W>, key: &str, group: &Group<'_>) -> fmt::Result {
    json.key(key)?;
    json.begin_object()?;
    pieces(json, group)?;
    json.end_object()
}

fn structure<W: Write>(json: &mut JsonWriter<W>, kind: Option<u16>, group: &Group<'_>) -> fmt::Result {
    json.begin_object()?;
    json.key("kind")?;
    json.string(group.layout.map_or("unknown", |layout| layout.id))?;
    json.key("offset")?;
    json.string(format_args!("{:#x}", group.offset))?;
    if let (None, Some(kind)) = (group.layout, kind) {
        json.key("type")?;
        json.number(kind)?;
    }
    pieces(json, group)?;
    json.end_object()
}

/// The fields, lists and left-over bytes of a group; all bytes once more where the fields cannot tell them.
fn pieces<W: Write>(json: &mut JsonWriter<W>, group: &Group<'_>) -> fmt::Result {
    let cut = group.layout.is_none_or(|layout| widen(group.bytes.len()) < layout.parts(group.bytes).1)
        || group.layout.is_some_and(|layout| group.bytes.len() < layout.size);
    let parts = group.lists();
    for piece in group.pieces() {
        match piece {
            Piece::Field { field, bytes, .. } => self::field(json, field, bytes)?,
            Piece::List { list: description, part, .. } => list(json, description, &part, &parts)?,
            Piece::Rest { bytes, .. } if !cut => bytes_under(json, "rest", bytes)?,
            Piece::Rest { .. } => {}
        }
    }
    if cut { bytes_under(json, "raw", group.bytes) } else { Ok(()) }
}

fn field<W: Write>(json: &mut JsonWriter<W>, field: &Field, bytes: &[u8]) -> fmt::Result {
    json.key(field.key)?;
    let value = little_endian(bytes);
    match field.kind {
        Kind::Code(names) => {
            json.number(value)?;
            if let Some(name) = name_of(names, value) {
                text_of(json, field, name)?;
            }
            Ok(())
        }
        Kind::Flags(bits) => {
            json.string(format_args!("{value:#x}"))?;
            if value != 0 {
                text_of(json, field, FlagNames { bits, value })?;
            }
            Ok(())
        }
        _ => scalar(json, field.kind, bytes),
    }
}

/// The explanation of a field, under a key of its own.
fn text_of<W: Write>(json: &mut JsonWriter<W>, field: &Field, text: impl Display) -> fmt::Result {
    json.key(format_args!("{}_text", field.key))?;
    json.string(text)
}

/// A value without its explanation.
fn scalar<W: Write>(json: &mut JsonWriter<W>, kind: Kind, bytes: &[u8]) -> fmt::Result {
    let value = little_endian(bytes);
    match kind {
        Kind::Number | Kind::Length | Kind::Domain | Kind::Pages | Kind::Cell | Kind::Code(_) => {
            json.number(value)
        }
        Kind::Hex | Kind::Checksum | Kind::Address | Kind::Size | Kind::Flags(_) => {
            json.string(format_args!("{value:#x}"))
        }
        Kind::Text => json.string(Latin1(bytes)),
        Kind::Reserved | Kind::Bytes | Kind::DeviceHandle => json.string(PlainHex(bytes)),
    }
}

fn list<W: Write>(
    json: &mut JsonWriter<W>,
    list: &List,
    part: &ListPart<'_>,
    parts: &[ListPart<'_>],
) -> fmt::Result {
    json.key(list.key)?;
    let row = match list.row {
        Row::Plain => None,
        Row::Matrix { columns, .. } => parts.get(columns).map(|columns| columns.count),
        Row::Square => Some(part.count.isqrt()),
    };
    let row =
        row.map(|count| usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(list.stride).max(1));
    match row {
        None => elements(json, list, part.bytes),
        Some(row) => {
            json.begin_array()?;
            for bytes in part.bytes.chunks(row) {
                elements(json, list, bytes)?;
            }
            json.end_array()
        }
    }
}

/// Elements of a list on one line; a partial one at the end is left to `raw`.
fn elements<W: Write>(json: &mut JsonWriter<W>, list: &List, bytes: &[u8]) -> fmt::Result {
    json.begin_array_inline()?;
    for element in bytes.chunks_exact(list.stride.max(1)) {
        match list.element {
            [only] => scalar(json, only.kind, element)?,
            fields => {
                json.begin_object()?;
                for field in fields {
                    json.key(field.key)?;
                    scalar(json, field.kind, field.bytes(element).unwrap_or_default())?;
                }
                json.end_object()?;
            }
        }
    }
    json.end_array()
}

/// Bytes as hexadecimal digits without separators.
#[derive(Clone, Copy, Debug)]
pub struct PlainHex<'a>(pub &'a [u8]);

impl Display for PlainHex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes as the characters with the same numbers, so that every byte survives.
struct Latin1<'a>(&'a [u8]);

impl Display for Latin1<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| f.write_char(char::from(*byte)))
    }
}
