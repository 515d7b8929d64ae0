//! `memtopo dump`: tables field by field.

use crate::args::{Dump, DumpFormat, When};
use crate::input::Loaded;
use crate::term::{self, Stdout};
use anyhow::{Context, Result, ensure};
use memtopo::bundle::{BundledTable, Container, TableSet};
use memtopo::render::dump_json::PlainHex;
use memtopo::render::json::JsonWriter;
use memtopo::render::style::Colour;
use memtopo::render::{dsl, dump_json, dump_text};
use memtopo::tables::anatomy::Anatomy;
use std::fmt::{self, Display, Write};

/// Runs the command.
pub(crate) fn run(args: &Dump, color: When) -> Result<()> {
    ensure!(
        args.inputs.live || !args.inputs.inputs.is_empty(),
        "no input: name files or folders, or - or --live"
    );
    let loaded = Loaded::read(&args.inputs)?;
    let set = loaded.tables()?;
    let tables = set
        .tables()
        .iter()
        .map(|table| Ok((table, table.anatomy().with_context(|| Source { set: &set, table }.to_string())?)))
        .collect::<Result<Vec<_>>>()?;
    ensure!(!tables.is_empty(), "the inputs hold no table");
    let colour = term::colour(color);
    match args.format {
        DumpFormat::Text => text(&set, &tables, dump_text::Form::Fields, colour),
        DumpFormat::Hex => text(&set, &tables, dump_text::Form::Hex, colour),
        DumpFormat::Json => json(&set, &tables),
        DumpFormat::Dsl => source(&set, &tables),
    }
}

type Tables<'s, 'a> = [(&'s BundledTable<'a>, Anatomy<'s>)];

fn text(set: &TableSet<'_>, tables: &Tables<'_, '_>, form: dump_text::Form, colour: Colour) -> Result<()> {
    term::print(|out| {
        tables.iter().enumerate().try_for_each(|(index, (table, anatomy))| {
            if index > 0 {
                writeln!(out)?;
            }
            dump_text::table(out, form, colour, Source { set, table }, &table.bytes, anatomy.clone())
        })
    })
}

/// The data-table source of each table, and on standard error what iasl will not keep.
fn source(set: &TableSet<'_>, tables: &Tables<'_, '_>) -> Result<()> {
    term::print(|out| {
        tables.iter().try_for_each(|(table, anatomy)| {
            dsl::table(out, anatomy.clone(), |loss| {
                eprintln!("memtopo: note: {}: {} at {:#x}", Source { set, table }, loss.what, loss.offset);
            })
        })
    })
}

/// One object: every table with its source, and the inputs with what lies between their tables.
fn json(set: &TableSet<'_>, tables: &Tables<'_, '_>) -> Result<()> {
    term::print(|out| {
        let mut json = JsonWriter::new(out);
        json.begin_object()?;
        json.key("schema")?;
        json.string("memtopo.dump/1")?;
        inputs(&mut json, set)?;
        json.key("tables")?;
        json.begin_array()?;
        for (table, anatomy) in tables {
            dump_json::table(&mut json, table.format, anatomy.clone(), |json| origin(json, table))?;
        }
        json.end_array()?;
        json.end_object()?;
        json.into_inner().write_char('\n')
    })
}

fn inputs(json: &mut JsonWriter<&mut Stdout>, set: &TableSet<'_>) -> fmt::Result {
    json.key("inputs")?;
    json.begin_array()?;
    for input in set.inputs() {
        json.begin_object()?;
        json.key("name")?;
        json.string(&input.name)?;
        json.key("container")?;
        json.string(container_name(input.container))?;
        json.key("size")?;
        json.number(input.size)?;
        if let Some(base) = input.image_base {
            json.key("image_base")?;
            json.string(format_args!("{base:#x}"))?;
        }
        json.key("uncovered")?;
        json.begin_array()?;
        for gap in &input.uncovered {
            json.begin_object_inline()?;
            json.key("offset")?;
            json.number(gap.offset)?;
            json.key("bytes")?;
            json.string(PlainHex(gap.bytes))?;
            json.end_object()?;
        }
        json.end_array()?;
        json.end_object()?;
    }
    json.end_array()
}

fn origin(json: &mut JsonWriter<&mut Stdout>, table: &BundledTable<'_>) -> fmt::Result {
    json.key("source")?;
    json.begin_object_inline()?;
    json.key("input")?;
    json.number(table.origin.input)?;
    json.key("offset")?;
    json.number(table.origin.offset)?;
    if let Some(member) = &table.origin.member {
        json.key("member")?;
        json.string(member)?;
    }
    if let Some(address) = table.origin.address {
        json.key("address")?;
        json.string(format_args!("{address:#x}"))?;
    }
    json.key("instance")?;
    json.number(table.instance)?;
    json.end_object()
}

/// The name of a container in JSON.
const fn container_name(container: Container) -> &'static str {
    match container {
        Container::Tables => "tables",
        Container::MemoryImage => "memory-image",
        Container::Acpidump => "acpidump",
        Container::Initrd => "initrd",
        Container::Cdat => "cdat",
        Container::Map => "map",
        _ => "other",
    }
}

/// Where a table came from, in words.
struct Source<'a> {
    set: &'a TableSet<'a>,
    table: &'a BundledTable<'a>,
}

impl Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.table.origin;
        f.write_str(self.set.input_of(self.table).map_or("", |input| &input.name))?;
        if let Some(member) = &origin.member {
            write!(f, ": {member}")?;
        }
        if origin.offset != 0 {
            write!(f, " at {:#x}", origin.offset)?;
        }
        if let Some(address) = origin.address {
            write!(f, ", address {address:#x}")?;
        }
        Ok(())
    }
}
