//! `memtopo dump`: tables field by field.

use crate::args::{Dump, DumpFormat, When};
use crate::{input, term};
use anyhow::Result;
use memtopo::render::json::JsonWriter;
use memtopo::render::{dsl, dump_json, dump_text};
use memtopo::tables::anatomy::{Format, anatomy};
use std::fmt::Write;

/// Runs the command.
pub(crate) fn run(args: &Dump, color: When) -> Result<()> {
    let colour = term::colour(color);
    let mut tables = Vec::new();
    for p in &args.inputs.inputs {
        let n = input::read_file(p)?;
        let format = if n.bytes.starts_with(b"RSD PTR ") {
            Format::Rsdp
        } else if p.display().to_string().to_lowercase().contains("cdat") {
            Format::Cdat
        } else {
            Format::Sdt
        };
        tables.push((n, format));
    }
    match args.format {
        DumpFormat::Text | DumpFormat::Hex => {
            let form =
                if args.format == DumpFormat::Text { dump_text::Form::Fields } else { dump_text::Form::Hex };
            term::print(|out| {
                for (n, f) in &tables {
                    dump_text::table(out, form, colour, &n.name, &n.bytes, anatomy(*f, &n.bytes).unwrap())?;
                }
                Ok(())
            })
        }
        DumpFormat::Json => term::print(|out| {
            let mut json = JsonWriter::new(&mut *out);
            json.begin_object()?;
            json.key("schema")?;
            json.string("memtopo.dump/1")?;
            json.key("tables")?;
            json.begin_array()?;
            for (n, f) in &tables {
                dump_json::table(&mut json, *f, anatomy(*f, &n.bytes).unwrap(), |_| Ok(()))?;
            }
            json.end_array()?;
            json.end_object()?;
            out.write_char('\n')
        }),
        DumpFormat::Dsl => term::print(|out| {
            for (n, f) in &tables {
                dsl::table(out, anatomy(*f, &n.bytes).unwrap(), |loss| eprintln!("{:?}", loss))?;
            }
            Ok(())
        }),
    }
}
