//! CXL regions made and taken apart in a running guest, write by write as the program `cxl` does it.

use crate::cxl_bus::Bus;
use crate::events::{Done, number, write};
use crate::guest::Guest;
use anyhow::{Context, Result};
use serde_json::Value;

const BUS: &str = "/sys/bus/cxl/devices/";
const DRIVER: &str = "/sys/bus/cxl/drivers/cxl_region/";
/// Regions of persistent memory have a name of their own that no one else has.
const UUID: &str = "00000000-0000-4000-8000-";

/// Writes until one fails.
struct Writer<'a> {
    guest: &'a mut Guest,
    done: Done,
}

impl<'a> Writer<'a> {
    fn new(guest: &'a mut Guest) -> Self {
        Self { guest, done: Done { result: "ok".to_owned(), refused_at: None, writes: Vec::new() } }
    }

    /// One write, by a path in the bus folder or a whole one; tells whether it was taken.
    fn put(&mut self, file: &str, value: &str) -> Result<bool> {
        let path = if file.starts_with('/') { file.to_owned() } else { format!("{BUS}{file}") };
        let result = write(self.guest, &path, value)?;
        self.done.writes.push([file.to_owned(), value.to_owned(), result.clone()]);
        if result != "ok" {
            self.refuse(&result, file);
        }
        Ok(result == "ok")
    }

    fn refuse(&mut self, result: &str, at: &str) {
        result.clone_into(&mut self.done.result);
        self.done.refused_at = Some(at.to_owned());
    }

    /// A write that takes back; its outcome changes nothing.
    fn undo(&mut self, file: &str, value: &str) -> Result<()> {
        let result = write(self.guest, &format!("{BUS}{file}"), value)?;
        let outcome = if result == "ok" { "ok" } else { "no" };
        self.done.writes.push([format!("undo {file}"), value.to_owned(), outcome.to_owned()]);
        Ok(())
    }
}

/// Makes a region; one that is refused is undone.
pub(crate) fn create(guest: &mut Guest, event: &Value, index: usize, bus: &Bus) -> Result<Done> {
    let text = |key: &str| event[key].as_str().with_context(|| format!("no {key}"));
    let (root, mode) = (text("root")?, text("mode")?);
    let name = guest.order(&format!("read {BUS}{root}/create_{mode}_region"))?;
    let mut used = Vec::new();
    let mut writer = Writer::new(guest);
    if !writer.put(&format!("{root}/create_{mode}_region"), &name)? {
        return Ok(writer.done);
    }
    if !build(&mut writer, event, index, (&name, mode), bus, &mut used)? {
        writer.undo(&format!("{root}/delete_region"), &name)?;
        for decoder in used {
            writer.undo(&format!("{decoder}/dpa_size"), "0")?;
        }
    }
    Ok(writer.done)
}

/// Everything after the region is there; tells whether all of it was taken. `used` gets the endpoint decoders.
fn build(
    writer: &mut Writer<'_>,
    event: &Value,
    index: usize,
    (name, mode): (&str, &str),
    bus: &Bus,
    used: &mut Vec<String>,
) -> Result<bool> {
    let targets = event["targets"].as_array().context("no targets")?;
    let ways = match &event["ways"] {
        Value::Null => u64::try_from(targets.len())?,
        ways => number(ways)?,
    };
    let size = number(&event["size"])?;
    let mut settings = vec![
        ("interleave_granularity", number(&event["granularity"])?.to_string()),
        ("interleave_ways", ways.to_string()),
    ];
    if mode == "pmem" {
        settings.push(("uuid", format!("{UUID}{:012x}", index + 1)));
    }
    settings.push(("size", size.to_string()));
    for (file, value) in settings {
        if !writer.put(&format!("{name}/{file}"), &value)? {
            return Ok(false);
        }
    }
    for (position, target) in targets.iter().enumerate() {
        let serial = number(target.get("serial").unwrap_or(target))?;
        let free = |decoder: &&str| {
            bus.number(decoder, "dpa_size") == Some(0) && !used.iter().any(|taken| taken == decoder)
        };
        let Some(decoder) = bus.decoders_of(serial).into_iter().find(free).map(str::to_owned) else {
            writer.refuse("ENXIO", &format!("serial {serial}"));
            return Ok(false);
        };
        used.push(decoder.clone());
        let share = size / u64::try_from(targets.len())?.max(1);
        let taken = writer.put(&format!("{decoder}/mode"), mode)?
            && writer.put(&format!("{decoder}/dpa_size"), &share.to_string())?
            && writer.put(&format!("{name}/target{position}"), &decoder)?;
        if !taken {
            return Ok(false);
        }
    }
    if !writer.put(&format!("{name}/commit"), "1")? {
        return Ok(false);
    }
    Ok(event["bind"] == false || writer.put(&format!("{DRIVER}bind"), name)?)
}

/// Takes a region apart; what is refused stays as far as it came. `memory` is that of the last capture.
pub(crate) fn delete(guest: &mut Guest, event: &Value, bus: &Bus, memory: &Value) -> Result<Done> {
    let name = event["region"].as_str().context("no region")?;
    let mut writer = Writer::new(guest);
    let Some(root) = bus.root_of(name) else {
        writer.refuse("ENOENT", name);
        return Ok(writer.done);
    };
    let bound = bus.is_bound(name);
    if let Some(block) = online_block(bus, name, memory).filter(|_| bound) {
        writer.refuse("EBUSY", &format!("memory{block}"));
        return Ok(writer.done);
    }
    let root = root.to_owned();
    let going = (!bound || writer.put(&format!("{DRIVER}unbind"), name)?)
        && writer.put(&format!("{name}/commit"), "0")?;
    if !going {
        return Ok(writer.done);
    }
    for (position, target) in bus.targets(name).into_iter().enumerate() {
        let Some(decoder) = target else { continue };
        let going = writer.put(&format!("{name}/target{position}"), "")?
            && writer.put(&format!("{decoder}/dpa_size"), "0")?;
        if !going {
            return Ok(writer.done);
        }
    }
    writer.put(&format!("{root}/delete_region"), name)?;
    Ok(writer.done)
}

/// The first block of a region that is online.
fn online_block(bus: &Bus, region: &str, memory: &Value) -> Option<u64> {
    let start = bus.number(region, "resource")?;
    let end = start.checked_add(bus.number(region, "size")?)?;
    let size = memory["block_size_bytes"].as_u64().filter(|size| *size > 0)?;
    let blocks = memory["blocks"].as_array()?.iter();
    let online = blocks.filter(|block| block["state"] == "online").filter_map(|block| block["id"].as_u64());
    online.filter(|id| (start..end).contains(&id.saturating_mul(size))).min()
}
