//! The JSON of `memtopo dump`, turned back into bytes.
//!
//! Driven by the same layouts that printed it, so every field of every structure is covered. Length and
//! checksum are taken as they stand, so that a damaged table comes back as it was; where they are left out
//! they are filled in.

use super::{Built, Output};
use anyhow::{Context, Result, anyhow, bail, ensure};
use memtopo::tables::cdat::CdatHeader;
use memtopo::tables::e820::E820Entry;
use memtopo::tables::efi::EfiDescriptor;
use memtopo::tables::header::{SdtHeader, right_checksum};
use memtopo::tables::layout::{Field, Kind, Layout, List, Structure};
use memtopo::tables::root::{RsdpExtension, RsdpV1};
use memtopo::tables::schema::{Body, Structures, TableSchema};
use memtopo::units::Signature;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Builds every table of a dump; `reseal` fills in lengths of tables and checksums whatever the dump says.
pub(crate) fn build(dump: &Value, reseal: bool) -> Result<Output> {
    let schema = dump.get("schema").and_then(Value::as_str).unwrap_or_default();
    ensure!(schema == "memtopo.dump/1", "schema: expected \"memtopo.dump/1\", found {schema:?}");
    let tables = dump.get("tables").and_then(Value::as_array).context("tables: expected a list")?;
    let build = |(index, value)| table(value, reseal).with_context(|| format!("tables[{index}]"));
    let built = tables.iter().enumerate().map(build).collect::<Result<Vec<_>>>()?;
    let inputs = dump.get("inputs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let image = |(index, input)| {
        let of_input = tables.iter().zip(&built).filter_map(|(table, built)| {
            let source = table.get("source")?;
            let place = (source.get("input")?.as_u64()?, source.get("offset")?.as_u64()?);
            (usize::try_from(place.0) == Ok(index)).then_some((place.1, built))
        });
        image(input, of_input.collect()).with_context(|| format!("inputs[{index}]")).transpose()
    };
    let images = inputs.iter().enumerate().filter_map(image).collect::<Result<_>>()?;
    Ok(Output { tables: built, images })
}

/// Puts an input together again from its tables and what lies between them; nothing when it is one bare table, or no
/// container of bytes.
fn image(input: &Value, tables: Vec<(u64, &Built)>) -> Result<Option<Built>> {
    let gaps = input.get("uncovered").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let container = input.get("container").and_then(Value::as_str).unwrap_or_default();
    if !["tables", "memory-image"].contains(&container) || (tables.len() < 2 && gaps.is_empty()) {
        return Ok(None);
    }
    let mut pieces: Vec<(u64, Vec<u8>)> =
        tables.into_iter().map(|(offset, built)| (offset, built.bytes.clone())).collect();
    for gap in gaps {
        let gap = gap.as_object().context("uncovered: expected objects")?;
        let offset =
            gap.get("offset").and_then(Value::as_u64).context("uncovered: offset: expected a number")?;
        pieces.push((offset, hex_bytes(gap, "bytes")?));
    }
    pieces.sort_by_key(|(offset, _)| *offset);
    let mut bytes = Vec::new();
    for (offset, piece) in pieces {
        let expected = u64::try_from(bytes.len())?;
        ensure!(
            offset == expected,
            "the next piece is expected at offset {expected:#x}, found at {offset:#x}"
        );
        bytes.extend(piece);
    }
    let name = input.get("name").and_then(Value::as_str).unwrap_or_default();
    let stem = std::path::Path::new(name).file_stem().map_or("input".into(), |stem| stem.to_string_lossy());
    Ok(Some(Built { name: format!("{stem}.image"), bytes }))
}

/// Where the length and the checksum of a table stand, and what the checksum covers.
struct Seal {
    length_at: Option<usize>,
    checksum_at: Vec<(usize, Option<usize>)>,
}

fn table(value: &Value, reseal: bool) -> Result<Built> {
    let object = value.as_object().context("expected an object")?;
    let name = text(object, "signature")?;
    let signature = Signature(latin1(&name)?.try_into().map_err(|_| anyhow!("signature: expected 4 bytes"))?);
    let known = ["signature", "format", "stride", "source", "faults"];
    let format = text(object, "format")?;
    let header = object.get("header").and_then(Value::as_object);
    let mut bytes = Vec::new();
    let mut seal = Seal { length_at: None, checksum_at: Vec::new() };
    let filled = |key: &str| reseal || header.is_none_or(|header| !header.contains_key(key));
    let schema = match format.as_str() {
        "sdt" => {
            part(object, "header", &SdtHeader::LAYOUT, &mut bytes)?;
            let schema = TableSchema::of(signature);
            if let Some(prologue) = schema.prologue {
                part(object, "fields", prologue, &mut bytes)?;
            }
            seal.length_at = filled("length").then_some(4);
            seal.checksum_at.extend(filled("checksum").then_some((9, None)));
            schema
        }
        "cdat" => {
            part(object, "header", &CdatHeader::LAYOUT, &mut bytes)?;
            seal.length_at = filled("length").then_some(0);
            seal.checksum_at.extend(filled("checksum").then_some((5, None)));
            TableSchema::of(Signature::CDAT)
        }
        "rsdp" => {
            part(object, "header", &RsdpV1::LAYOUT, &mut bytes)?;
            part(object, "fields", &RsdpExtension::LAYOUT, &mut bytes)?;
            seal.checksum_at.extend(filled("checksum").then_some((8, Some(20))));
            seal.checksum_at.extend((reseal && bytes.len() == 36).then_some((32, None)));
            TableSchema::of(signature)
        }
        "efi-map" | "e820" => TableSchema::of(signature),
        other => {
            bail!("format: expected \"sdt\", \"rsdp\", \"cdat\", \"efi-map\" or \"e820\", found {other:?}")
        }
    };
    if let Some(structures) = object.get("structures") {
        let structures = structures.as_array().context("structures: expected a list")?;
        for (index, value) in structures.iter().enumerate() {
            structure(value, &format, &schema, &mut bytes).with_context(|| format!("structures[{index}]"))?;
        }
    }
    for key in ["body", "unwalked"] {
        bytes.extend(hex_bytes(object, key)?);
    }
    let end = bytes.len();
    if let Some(at) = seal.length_at {
        let length = u32::try_from(end).context("the table is too long")?;
        put(&mut bytes, at, &length.to_le_bytes())?;
    }
    for (at, covers) in seal.checksum_at {
        let covered =
            bytes.get(..covers.unwrap_or(end)).context("the table is too short for its checksum")?;
        let right = right_checksum(covered, bytes[at]);
        put(&mut bytes, at, &[right])?;
    }
    bytes.extend(hex_bytes(object, "trailing")?);
    reject_unknown(
        object,
        known.iter().copied().chain(["header", "fields", "structures", "body", "unwalked", "trailing"]),
    )?;
    Ok(Built { name, bytes })
}

/// The bytes of a fixed part, if the dump has it.
fn part(object: &Object, key: &str, layout: &Layout, bytes: &mut Vec<u8>) -> Result<()> {
    let Some(value) = object.get(key) else { return Ok(()) };
    let fields = value.as_object().with_context(|| format!("{key}: expected an object"))?;
    bytes.extend(assemble(fields, layout, None).with_context(|| key.to_owned())?);
    Ok(())
}

fn structure(value: &Value, format: &str, schema: &TableSchema, bytes: &mut Vec<u8>) -> Result<()> {
    let object = value.as_object().context("expected an object")?;
    let kind = text(object, "kind")?;
    if object.contains_key("raw") {
        bytes.extend(hex_bytes(object, "raw")?);
        return Ok(());
    }
    let (layout, framing) = match (format, schema.body) {
        ("efi-map", _) => (EfiDescriptor::LAYOUT, None),
        ("e820", _) => (E820Entry::LAYOUT, None),
        (_, Body::Structures(structures)) => {
            let (number, layout) = structures
                .by_id(&kind)
                .with_context(|| format!("kind: {kind:?} is no structure of {}", schema.signature))?;
            (*layout, Some((structures, number)))
        }
        _ => bail!("{} has no structures", schema.signature),
    };
    bytes.extend(assemble(object, &layout, framing)?);
    Ok(())
}

/// The bytes of one structure: fixed fields, lists, and what stands behind them.
fn assemble(object: &Object, layout: &Layout, framing: Option<(Structures, u16)>) -> Result<Vec<u8>> {
    if object.contains_key("raw") {
        return hex_bytes(object, "raw");
    }
    let mut bytes = vec![0; layout.size];
    for field in layout.fields {
        if let Some(value) = object.get(field.key) {
            let place = bytes.get_mut(field.offset..field.offset + field.width).context("layout")?;
            store(value, field, place).with_context(|| field.key.to_owned())?;
        }
    }
    for list in layout.lists {
        if let Some(value) = object.get(list.key) {
            let values = value.as_array().with_context(|| format!("{}: expected a list", list.key))?;
            elements(values, list, &mut bytes).with_context(|| list.key.to_owned())?;
        }
    }
    bytes.extend(hex_bytes(object, "rest")?);
    if let Some((structures, number)) = framing {
        let [(type_at, type_width), (length_at, length_width)] = structures.framing.fields();
        if !object.contains_key("type") {
            put(&mut bytes, type_at, number.to_le_bytes().get(..type_width).context("layout")?)?;
        }
        if !object.contains_key("length") {
            let length = u64::try_from(bytes.len())?;
            ensure!(length >> (8 * length_width) == 0, "{length} bytes are too many for a {}", layout.name);
            put(&mut bytes, length_at, length.to_le_bytes().get(..length_width).context("layout")?)?;
        }
    }
    let own = ["kind", "offset", "type", "rest"];
    let lists = layout.lists.iter().map(|list| list.key);
    reject_unknown(object, layout.fields.iter().map(|field| field.key).chain(lists).chain(own))?;
    Ok(bytes)
}

/// Appends the elements of a list; a matrix is a list of rows.
fn elements(values: &[Value], list: &List, bytes: &mut Vec<u8>) -> Result<()> {
    for (index, value) in values.iter().enumerate() {
        if let Value::Array(row) = value {
            elements(row, list, bytes).with_context(|| format!("[{index}]"))?;
            continue;
        }
        let start = bytes.len();
        bytes.resize(start + list.stride, 0);
        for field in list.element {
            let place =
                bytes.get_mut(start + field.offset..start + field.offset + field.width).context("layout")?;
            let value = match (value, list.element.len()) {
                (Value::Object(fields), _) => fields.get(field.key),
                (other, 1) => Some(other),
                _ => bail!("[{index}]: expected an object"),
            };
            if let Some(value) = value {
                store(value, field, place).with_context(|| format!("[{index}].{}", field.key))?;
            }
        }
    }
    Ok(())
}

/// Writes one value into the bytes of its field.
fn store(value: &Value, field: &Field, place: &mut [u8]) -> Result<()> {
    match (field.kind, value) {
        (Kind::Text, Value::String(text)) => {
            let bytes = latin1(text)?;
            ensure!(
                bytes.len() <= place.len(),
                "expected at most {} characters, found {}",
                place.len(),
                bytes.len()
            );
            place[..bytes.len()].copy_from_slice(&bytes);
        }
        (Kind::Reserved | Kind::Bytes | Kind::DeviceHandle, Value::String(digits)) => {
            let bytes = hex::decode(digits).context("expected hexadecimal digits")?;
            ensure!(bytes.len() == place.len(), "expected {} bytes, found {}", place.len(), bytes.len());
            place.copy_from_slice(&bytes);
        }
        (kind, value) => {
            ensure!(field.is_number(), "expected text for {kind:?}, found {value}");
            let number = number(value).with_context(|| format!("expected a number, found {value}"))?;
            let width = place.len();
            ensure!(
                width >= 8 || number >> (8 * width) == 0,
                "expected a number of {width} bytes, found {number:#x}"
            );
            place.copy_from_slice(number.to_le_bytes().get(..width).context("layout")?);
        }
    }
    Ok(())
}

/// A number, or text such as `"0x1f"` or `"31"`.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

fn text(object: &Object, key: &str) -> Result<String> {
    let value = object.get(key).and_then(Value::as_str);
    Ok(value.with_context(|| format!("{key}: expected text"))?.to_owned())
}

/// The bytes of a key that holds hexadecimal digits; none when it is absent.
fn hex_bytes(object: &Object, key: &str) -> Result<Vec<u8>> {
    let Some(value) = object.get(key) else { return Ok(Vec::new()) };
    let digits = value.as_str().with_context(|| format!("{key}: expected hexadecimal digits"))?;
    hex::decode(digits).with_context(|| format!("{key}: expected hexadecimal digits"))
}

/// Characters up to U+00FF as the bytes with the same numbers.
fn latin1(text: &str) -> Result<Vec<u8>> {
    let byte = |character| u8::try_from(u32::from(character)).ok();
    text.chars().map(byte).collect::<Option<_>>().context("expected characters up to U+00FF")
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<()> {
    let place = bytes.get_mut(at..at + value.len()).context("the table is too short")?;
    place.copy_from_slice(value);
    Ok(())
}

/// A key that means nothing is most likely a misspelt one.
fn reject_unknown<'a>(object: &Object, known: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    let explains = |key: &str| key.ends_with("_text");
    match object.keys().find(|key| !explains(key) && known.clone().all(|known| known != *key)) {
        Some(key) => bail!("{key}: no such field"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::example;
    use memtopo::render::json::JsonWriter;
    use memtopo::render::style::Colour;
    use memtopo::render::{dsl, dump_json, dump_text};
    use memtopo::tables::anatomy::{Format, anatomy};

    /// Dumps `bytes` in every form and gives what comes back from the JSON.
    fn back(format: Format, bytes: &[u8]) -> Vec<u8> {
        let apart = || anatomy(format, bytes).unwrap();
        let mut text = String::new();
        for form in [dump_text::Form::Fields, dump_text::Form::Hex] {
            dump_text::table(&mut text, form, Colour::On, "test", bytes, apart()).unwrap();
        }
        dsl::table(&mut text, apart(), |_| ()).unwrap();
        let mut json = JsonWriter::new(String::new());
        dump_json::table(&mut json, format, apart(), |_| Ok(())).unwrap();
        let value = serde_json::from_str(&json.into_inner()).unwrap();
        table(&value, false).unwrap().bytes
    }

    /// A small generator (xorshift), so that a failure can be repeated.
    fn next(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state >> 33).unwrap()
    }

    #[test]
    fn damaged_tables_come_back_as_they_were() {
        let mut state = 0x5eed_u64;
        for (_, toml) in example::EXAMPLES {
            for built in super::super::build(toml, false).unwrap().tables {
                let format = if built.name.starts_with("CDAT") { Format::Cdat } else { Format::Sdt };
                let least = if format == Format::Cdat { 16 } else { 36 };
                for _ in 0..400 {
                    let mut bytes = built.bytes.clone();
                    for _ in 0..=next(&mut state) % 3 {
                        let at = next(&mut state) % bytes.len();
                        bytes[at] =
                            [0, 1, 0x7f, 0xff, next(&mut state).to_le_bytes()[0]][next(&mut state) % 5];
                    }
                    match next(&mut state) % 4 {
                        0 => bytes.truncate(least + next(&mut state) % (bytes.len() - least + 1)),
                        1 => bytes.extend([0xaa; 5]),
                        _ => {}
                    }
                    assert_eq!(back(format, &bytes), bytes, "{} {bytes:02x?}", built.name);
                }
            }
        }
    }

    #[test]
    fn a_misspelt_field_is_named_with_its_place() {
        let dump = serde_json::json!({"schema": "memtopo.dump/1", "tables": [{
            "signature": "SRAT", "format": "sdt", "header": {"signature": "SRAT", "revison": 3},
        }]});
        let error = format!("{:#}", build(&dump, false).unwrap_err());
        assert_eq!(error, "tables[0]: header: revison: no such field");
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let dump = serde_json::json!({"schema": "memtopo.dump/1", "tables": [{
            "signature": "SRAT", "format": "sdt",
            "header": {"signature": "SRAT", "revision": 3, "oem_id": "MTOPO "},
            "fields": {"table_revision": 1},
            "structures": [{"kind": "its_affinity", "proximity_domain": 2, "its_id": "0x5"}],
        }]});
        let bytes = build(&dump, false).unwrap().tables.remove(0).bytes;
        // 36 of header, 12 of fixed part, 12 of ITS affinity.
        assert_eq!(bytes.len(), 60);
        assert_eq!(bytes[4..8], 60_u32.to_le_bytes());
        assert_eq!(bytes[48..], [4, 12, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    }
}
