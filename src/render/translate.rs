//! Translated addresses of a CXL region: a line each for a person, an object each for a program.

use super::json::JsonWriter;
use super::style::{Colour, Style};
use crate::linux::region_map::{Byte, RegionDevice, RegionMap, Untranslated};
use crate::region::Place;
use crate::units::PhysAddr;
use core::fmt::{self, Write};

/// What was asked, as one word, and the answer.
pub type Answer<'a> = (&'a str, Result<Byte<'a>, Untranslated>);

/// Prints a line for each address, and another where Linux says something else.
pub fn translate_text<W: Write>(
    out: &mut W,
    map: &RegionMap,
    answers: &[Answer<'_>],
    colour: Colour,
) -> fmt::Result {
    for (asked, answer) in answers {
        match answer {
            Ok(byte) => byte_text(out, map, byte, colour)?,
            Err(refusal) => writeln!(out, "{asked}  {}", colour.paint(Style::Fault, refusal))?,
        }
    }
    Ok(())
}

pub(super) fn byte_text<W: Write>(
    out: &mut W,
    map: &RegionMap,
    byte: &Byte<'_>,
    colour: Colour,
) -> fmt::Result {
    write!(out, "{}", colour.paint(Style::Value, format_args!("{:#x}", byte.address.0)))?;
    if byte.decoded != byte.address {
        write!(out, " (decoded as {:#x})", byte.decoded.0)?;
    }
    writeln!(out, "  {}", Named(byte.device, byte.place))?;
    let differs = byte.place_differs() || byte.address_differs();
    let Some(why) = map.difference().filter(|_| differs) else { return Ok(()) };
    write!(out, "  {}", colour.paint(Style::Warning, "Linux 7.2 says otherwise"))?;
    if byte.place_differs() {
        match byte.reported_place {
            Some((device, place)) => write!(out, ": this address is {}", Named(device, place))?,
            None => out.write_str(": no device for this address")?,
        }
    }
    if byte.address_differs() {
        out.write_str(if byte.place_differs() { ", and " } else { ": " })?;
        match byte.reported_address {
            Some(address) => write!(out, "this place is at {:#x}", address.0)?,
            None => out.write_str("this place has no address")?,
        }
    }
    writeln!(out, " ({why})")
}

/// A place for a person.
struct Named<'a>(&'a RegionDevice, Place);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(device, place) = self;
        write!(f, "{} DPA {:#x}, position {}", Identity(device), place.address.0, place.position)
    }
}

/// A device by all its names.
pub(super) struct Identity<'a>(pub(super) &'a RegionDevice);

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RegionDevice { memdev, serial, host, .. } = self.0;
        f.write_str(memdev)?;
        match (serial, host) {
            (Some(serial), Some(host)) => write!(f, " (serial {serial:#x}, {host})"),
            (Some(serial), None) => write!(f, " (serial {serial:#x})"),
            (None, Some(host)) => write!(f, " ({host})"),
            (None, None) => Ok(()),
        }
    }
}

/// Prints one object with all answers.
pub fn translate_json<W: Write>(
    out: &mut W,
    region: &str,
    map: &RegionMap,
    answers: &[Answer<'_>],
) -> fmt::Result {
    let mut json = JsonWriter::new(&mut *out);
    json.begin_object()?;
    json.key("schema")?;
    json.string("memtopo.translate/1")?;
    json.key("region")?;
    json.string(region)?;
    json.key("results")?;
    json.begin_array()?;
    for (asked, answer) in answers {
        json.begin_object()?;
        match answer {
            Ok(byte) => byte_json(&mut json, map, byte)?,
            Err(refusal) => {
                json.key("asked")?;
                json.string(asked)?;
                json.key("error")?;
                json.string(refusal)?;
            }
        }
        json.end_object()?;
    }
    json.end_array()?;
    json.end_object()?;
    out.write_char('\n')
}

fn byte_json<W: Write>(json: &mut JsonWriter<W>, map: &RegionMap, byte: &Byte<'_>) -> fmt::Result {
    let hex = |json: &mut JsonWriter<W>, key: &str, address: PhysAddr| {
        json.key(key)?;
        json.string(format_args!("{:#x}", address.0))
    };
    hex(json, "hpa", byte.address)?;
    if byte.decoded != byte.address {
        hex(json, "decoded_hpa", byte.decoded)?;
    }
    place_json(json, byte.device, byte.place)?;
    let differs = byte.place_differs() || byte.address_differs();
    let Some(why) = map.difference().filter(|_| differs) else { return Ok(()) };
    json.key("linux")?;
    json.begin_object()?;
    if byte.place_differs() {
        json.key("place")?;
        match byte.reported_place {
            Some((device, place)) => {
                json.begin_object()?;
                place_json(json, device, place)?;
                json.end_object()?;
            }
            None => json.null()?,
        }
    }
    if byte.address_differs() {
        match byte.reported_address {
            Some(address) => hex(json, "hpa", address)?,
            None => {
                json.key("hpa")?;
                json.null()?;
            }
        }
    }
    json.key("because")?;
    json.string(why)?;
    json.end_object()
}

fn place_json<W: Write>(json: &mut JsonWriter<W>, device: &RegionDevice, place: Place) -> fmt::Result {
    json.key("position")?;
    json.number(place.position)?;
    json.key("memdev")?;
    json.string(&device.memdev)?;
    if let Some(serial) = device.serial {
        json.key("serial")?;
        json.number(serial)?;
    }
    if let Some(host) = &device.host {
        json.key("host")?;
        json.string(host)?;
    }
    json.key("decoder")?;
    json.string(device.stable_name.as_deref().unwrap_or(&device.decoder))?;
    json.key("dpa")?;
    json.string(format_args!("{:#x}", place.address.0))
}
