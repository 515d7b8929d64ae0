//! A table as text for a person: offset, raw bytes, field, value with unit, and every fault where it is.
//!
//! Two forms share the walk: `fields` prints a line for each field, `hex` an annotated hexadecimal dump in which
//! every byte of the input stands.

use super::style::{Colour, Style};
use super::value::{FieldValue, HexBytes, Scale};
use crate::error::TableError;
use crate::tables::anatomy::{Anatomy, Group, Piece, Role};
use crate::tables::header::Table;
use crate::tables::layout::{Kind, List, ListPart, Row, little_endian};
use crate::units::{Ascii, Signature, widen};
use core::fmt::{self, Display, Write};

/// Which lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line for each field; reserved fields that are zero are left out.
    Fields,
    /// Every byte, up to 16 a line, with what it is.
    Hex,
}

/// How many raw bytes a line of [`Form::Fields`] shows before it breaks off with an ellipsis.
const RAW_BYTES: usize = 8;

/// Where the name of a field begins: behind the offset and the raw bytes.
const RAW_WIDTH: usize = 26;

/// Columns of a matrix cell.
const CELL_WIDTH: usize = 8;

/// Where the value of a field begins.
const LABEL_WIDTH: usize = 38;

/// Prints one table; `source` says where it came from.
pub fn table<W: Write>(
    out: &mut W,
    form: Form,
    colour: Colour,
    source: impl Display,
    input: &[u8],
    anatomy: Anatomy<'_>,
) -> fmt::Result {
    title(out, colour, source, input, &anatomy)?;
    let hmat_revision_1 = anatomy.table() == Signature::HMAT && anatomy.revision() == 1;
    for group in anatomy {
        let scale = group.layout.and_then(|layout| Scale::of(layout, group.bytes, hmat_revision_1));
        Printer { out, form, colour, faults: group.faults, scale }.group(&group)?;
    }
    Ok(())
}

/// The line that says what table this is.
fn title<W: Write>(
    out: &mut W,
    colour: Colour,
    source: impl Display,
    input: &[u8],
    anatomy: &Anatomy<'_>,
) -> fmt::Result {
    let table = anatomy.table();
    write!(out, "{}  {}", colour.paint(Style::Heading, table), anatomy.schema().name)?;
    let made_up = [Signature::EFI_MAP, Signature::E820].contains(&table);
    if !made_up {
        write!(out, ", revision {}", anatomy.revision())?;
    }
    write!(out, ", {} bytes", input.len())?;
    if let (false, Ok(sdt)) =
        (made_up || [Signature::CDAT, Signature::RSDP].contains(&table), Table::parse(input))
    {
        let header = sdt.header();
        let (oem, name) = (header.oem_id.get().0, header.oem_table_id.get().0);
        write!(out, ", \"{}\" \"{}\"", Ascii(&oem), Ascii(&name))?;
    }
    writeln!(out, "  {}", colour.paint(Style::Dim, source))
}

struct Printer<'a, W> {
    out: &'a mut W,
    form: Form,
    colour: Colour,
    /// Faults of the group that have not been printed yet.
    faults: [Option<TableError>; 2],
    /// What matrix cells are worth in the group.
    scale: Option<Scale>,
}

impl<W: Write> Printer<'_, W> {
    fn group(&mut self, group: &Group<'_>) -> fmt::Result {
        self.group_title(group)?;
        let parts = group.lists();
        for piece in group.pieces() {
            match piece {
                Piece::Field { field, offset, bytes } => {
                    let idle = matches!(field.kind, Kind::Reserved) && bytes.iter().all(|byte| *byte == 0);
                    // The title of a structure tells its type and length.
                    let told = matches!(group.role, Role::Structure { .. })
                        && (field.key == "type" || matches!(field.kind, Kind::Length));
                    if (idle || told) && self.form == Form::Fields && !self.fault_within(offset, bytes) {
                        continue;
                    }
                    let value = FieldValue { field, bytes, structure: group.bytes, scale: self.scale };
                    self.row(offset, bytes, field.label, value, idle)?;
                }
                Piece::List { list, offset, part } => self.list(list, offset, &part, &parts)?,
                Piece::Rest { offset, bytes } => self.rest(group, offset, bytes)?,
            }
        }
        // What no line of the group took up belongs to the group as a whole.
        for fault in core::mem::take(&mut self.faults).into_iter().flatten() {
            self.fault_line(&fault)?;
        }
        Ok(())
    }

    fn group_title(&mut self, group: &Group<'_>) -> fmt::Result {
        let name = group.layout.map(|layout| layout.name);
        let Group { role, offset, bytes, .. } = group;
        let length = bytes.len();
        let (what, style) = match role {
            Role::Header => return Ok(()),
            Role::Prologue if group.offset == 36 => return Ok(()),
            Role::Prologue => (name.unwrap_or("extension"), Style::Title),
            Role::Structure { .. } => (name.unwrap_or("unknown structure"), Style::Title),
            Role::Body => ("contents not known to this program", Style::Title),
            Role::Unwalked => ("bytes that cannot be walked", Style::Fault),
            Role::Trailing => ("bytes behind the table", Style::Warning),
        };
        let what = self.colour.paint(style, what);
        write!(self.out, "  {}  {what} ", self.colour.paint(Style::Dim, format_args!("{offset:04x}")))?;
        match role {
            Role::Structure { kind: Some(kind) } => writeln!(self.out, "(type {kind}, {length} bytes)"),
            _ => writeln!(self.out, "({length} bytes)"),
        }
    }

    fn fault_within(&self, offset: usize, bytes: &[u8]) -> bool {
        self.faults.iter().flatten().any(|fault| lies_in(fault, offset, bytes.len()))
    }

    /// One field: offset, raw bytes, name, value, and the fault that lies in it.
    fn row(
        &mut self,
        offset: usize,
        bytes: &[u8],
        label: &str,
        value: impl Display,
        idle: bool,
    ) -> fmt::Result {
        let faulty = self.fault_within(offset, bytes);
        let (shown, more) = match self.form {
            Form::Fields if bytes.len() > RAW_BYTES => (bytes.get(..RAW_BYTES).unwrap_or(bytes), true),
            Form::Fields => (bytes, false),
            Form::Hex => (bytes.get(..bytes.len().min(16)).unwrap_or(bytes), false),
        };
        let width = if self.form == Form::Hex { 48 } else { RAW_WIDTH };
        let raw = Padded { bytes: shown, more, width };
        let raw_style = if faulty { Style::Fault } else { Style::Dim };
        let text_style = match (faulty, idle) {
            (true, _) => Style::Fault,
            (_, true) => Style::Dim,
            _ => Style::Value,
        };
        write!(
            self.out,
            "  {}  {} {:<LABEL_WIDTH$} {}",
            self.colour.paint(Style::Dim, format_args!("{offset:04x}")),
            self.colour.paint(raw_style, raw),
            label,
            self.colour.paint(text_style, value),
        )?;
        for fault in &mut self.faults {
            if let Some(found) = fault.take_if(|fault| lies_in(fault, offset, bytes.len())) {
                let TableError { cause, expected, .. } = found;
                write!(
                    self.out,
                    "{}",
                    self.colour.paint(Style::Fault, format_args!("  <-- {cause}: expected {expected:#x}"))
                )?;
            }
        }
        writeln!(self.out)
    }

    fn fault_line(&mut self, fault: &TableError) -> fmt::Result {
        let TableError { offset, cause, expected, found, .. } = fault;
        writeln!(
            self.out,
            "  {}",
            self.colour.paint(
                Style::Fault,
                format_args!("^^^^  {cause} at {offset:#x}: expected {expected:#x}, found {found:#x}"),
            )
        )
    }

    /// Bytes without fields, 16 a line.
    fn rest(&mut self, group: &Group<'_>, offset: usize, bytes: &[u8]) -> fmt::Result {
        let label = match group.role {
            Role::Structure { .. } if group.layout.is_some() => "(beyond the fields of the type)",
            _ => "",
        };
        let mut at = offset;
        for line in bytes.chunks(16) {
            let raw = Padded { bytes: line, more: false, width: 48 };
            writeln!(
                self.out,
                "  {}  {} {} {label}",
                self.colour.paint(Style::Dim, format_args!("{at:04x}")),
                raw,
                self.colour.paint(Style::Dim, Printable(line)),
            )?;
            at = at.saturating_add(line.len());
        }
        Ok(())
    }

    fn list(
        &mut self,
        list: &'static List,
        offset: usize,
        part: &ListPart<'_>,
        parts: &[ListPart<'_>],
    ) -> fmt::Result {
        let row = match list.row {
            Row::Plain => None,
            Row::Matrix { rows, columns } => Some((parts.get(rows), parts.get(columns))),
            Row::Square => Some((None, None)),
        };
        let Some((rows, columns)) = row else { return self.plain_list(list, offset, part) };
        let count = columns.map_or(part.count.isqrt(), |columns| columns.count);
        let row_bytes = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(list.stride).max(1);
        let name = |list: Option<&ListPart<'_>>, index: usize| match list {
            Some(list) => list.bytes.chunks_exact(4).nth(index).map_or_else(|| widen(index), little_endian),
            None => widen(index),
        };
        if self.form == Form::Fields {
            let unit = self.scale.map_or("", |scale| scale.unit());
            write!(self.out, "{:8}{:RAW_WIDTH$} ", "", "")?;
            write!(self.out, "{}", Column(format_args!("{} {unit}", list.label), LABEL_WIDTH))?;
            // As many as there are: the count that the table declares may be anything.
            let first = part.bytes.chunks(row_bytes).next().unwrap_or_default();
            for column in 0..first.len().checked_div(list.stride).unwrap_or(0) {
                let column = name(columns, column);
                write!(self.out, " {}", RightColumn(format_args!("to {column}"), CELL_WIDTH))?;
            }
            writeln!(self.out)?;
        }
        let mut at = offset;
        for (index, row) in part.bytes.chunks(row_bytes).enumerate() {
            let from = name(rows, index);
            if self.form == Form::Hex {
                self.hex_lines(at, row, format_args!("{} from {from}", list.label))?;
            } else {
                write!(self.out, "  {}  ", self.colour.paint(Style::Dim, format_args!("{at:04x}")))?;
                write!(self.out, "{:RAW_WIDTH$} {}", "", Column(format_args!("from {from}"), LABEL_WIDTH))?;
                for element in row.chunks_exact(list.stride.max(1)) {
                    self.cell(little_endian(element))?;
                }
                writeln!(self.out)?;
            }
            at = at.saturating_add(row.len());
        }
        Ok(())
    }

    fn cell(&mut self, value: u64) -> fmt::Result {
        let (style, width) = (Style::Value, CELL_WIDTH);
        match self.scale {
            Some(scale) => {
                write!(self.out, " {}", self.colour.paint(style, RightColumn(scale.cell(value), width)))
            }
            None => write!(self.out, " {}", self.colour.paint(style, RightColumn(value, width))),
        }
    }

    fn plain_list(&mut self, list: &'static List, offset: usize, part: &ListPart<'_>) -> fmt::Result {
        let mut at = offset;
        for (index, element) in part.bytes.chunks(list.stride.max(1)).enumerate() {
            if element.len() < list.stride {
                self.hex_lines(at, element, "(cut off)")?;
            } else {
                for field in list.element {
                    let bytes = field.bytes(element).unwrap_or_default();
                    let value = FieldValue { field, bytes, structure: element, scale: self.scale };
                    let place = at.saturating_add(field.offset);
                    let label = Numbered { list: list.label, index, field: field.label };
                    self.labelled_row(place, bytes, &label, value)?;
                }
            }
            at = at.saturating_add(element.len());
        }
        Ok(())
    }

    fn labelled_row(
        &mut self,
        at: usize,
        bytes: &[u8],
        label: &Numbered,
        value: impl Display,
    ) -> fmt::Result {
        let width = if self.form == Form::Hex { 48 } else { RAW_WIDTH };
        writeln!(
            self.out,
            "  {}  {} {} {}",
            self.colour.paint(Style::Dim, format_args!("{at:04x}")),
            self.colour.paint(Style::Dim, Padded { bytes, more: false, width }),
            Column(label, LABEL_WIDTH),
            self.colour.paint(Style::Value, value),
        )
    }

    fn hex_lines(&mut self, offset: usize, bytes: &[u8], label: impl Display) -> fmt::Result {
        let mut at = offset;
        for (index, line) in bytes.chunks(16).enumerate() {
            let raw = Padded { bytes: line, more: false, width: 48 };
            write!(self.out, "  {}  {raw}", self.colour.paint(Style::Dim, format_args!("{at:04x}")))?;
            if index == 0 {
                write!(self.out, " {label}")?;
            }
            writeln!(self.out)?;
            at = at.saturating_add(line.len());
        }
        Ok(())
    }
}

/// Whether the fault is about a byte of the field at `offset`.
fn lies_in(fault: &TableError, offset: usize, length: usize) -> bool {
    let start = widen(offset);
    fault.offset >= start && fault.offset < start.saturating_add(widen(length))
}

/// `Target[3]`, or `Entry[3] Port X ID` for an element of several fields.
struct Numbered {
    list: &'static str,
    index: usize,
    field: &'static str,
}

impl Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, index, field } = self;
        write!(f, "{list}[{index}]")?;
        if field.is_empty() { Ok(()) } else { write!(f, " {field}") }
    }
}

/// Text with spaces behind it up to a number of columns.
struct Column<T>(T, usize);

impl<T: Display> Display for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:fill$}", self.0, "", fill = missing(&self.0, self.1))
    }
}

/// Text with spaces before it up to a number of columns.
struct RightColumn<T>(T, usize);

impl<T: Display> Display for RightColumn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:fill$}{}", "", self.0, fill = missing(&self.0, self.1))
    }
}

/// How many columns `text` falls short of `width`.
fn missing(text: &impl Display, width: usize) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.saturating_add(text.chars().count());
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail; text that cannot be printed will say so when it is.
    let _ = write!(count, "{text}");
    width.saturating_sub(count.0)
}

/// Hexadecimal bytes, filled up with spaces to `width` columns.
struct Padded<'a> {
    bytes: &'a [u8],
    more: bool,
    width: usize,
}

impl Display for Padded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.more { ".." } else { "" };
        write!(f, "{}", Column(format_args!("{}{more}", HexBytes(self.bytes)), self.width))
    }
}

/// Printable ASCII as it is, everything else as a dot.
struct Printable<'a>(&'a [u8]);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| {
            f.write_char(if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
        })
    }
}
