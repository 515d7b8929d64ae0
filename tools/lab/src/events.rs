//! Events in a running guest: how each is done, and how its result is read.

use crate::boot::Texts;
use crate::cxl_bus::Bus;
use crate::guest::Guest;
use crate::{log, region_events};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// What one event led to.
pub(crate) struct Step {
    /// The entry of `steps`.
    pub(crate) value: Value,
    /// Log lines of this step.
    pub(crate) log: Vec<String>,
    /// Log lines up to here.
    pub(crate) log_lines: usize,
    /// The CXL bus after it.
    pub(crate) bus: String,
}

/// A result, the file that refused, and every write.
pub(crate) struct Done {
    pub(crate) result: String,
    pub(crate) refused_at: Option<String>,
    pub(crate) writes: Vec<[String; 3]>,
}

impl Done {
    fn one(target: &str, value: &str, result: String) -> Self {
        let refused_at = (result != "ok").then(|| target.to_owned());
        let writes = vec![[target.to_owned(), value.to_owned(), result.clone()]];
        Self { result, refused_at, writes }
    }
}

/// Loads a driver with its dependencies: `ok`, or an errno's name.
pub(crate) fn load(guest: &mut Guest, driver: &str) -> Result<String> {
    let names = guest.drivers(driver);
    Ok(errno(&guest.order(&format!("load {}", names.join(" ")))?))
}

/// The DIMMs that are there, as a capture lists them.
pub(crate) fn memory_devices(guest: &mut Guest) -> Result<Vec<Value>> {
    Ok(dimms(guest)?
        .iter()
        .map(|dimm| {
            let hexadecimal = |key: &str| dimm[key].as_u64().map(|number| format!("{number:#x}"));
            json!({"start": hexadecimal("addr"), "size": hexadecimal("size"), "domain": dimm["node"]})
        })
        .collect())
}

fn dimms(guest: &mut Guest) -> Result<Vec<Value>> {
    let list = guest.monitor()?.execute("query-memory-devices", json!({}))?.map_err(anyhow::Error::msg)?;
    let list = list.as_array().cloned().unwrap_or_default();
    Ok(list
        .into_iter()
        .filter(|device| device["type"] == "dimm")
        .map(|device| device["data"].clone())
        .collect())
}

/// What the capture before an event showed.
pub(crate) struct Before<'a> {
    /// Log lines at the first capture.
    pub(crate) booted: usize,
    /// Log lines up to here.
    pub(crate) log_lines: usize,
    /// The CXL bus.
    pub(crate) bus: &'a str,
    /// Memory blocks.
    pub(crate) memory: &'a Value,
}

/// Runs one event and captures what came of it.
pub(crate) fn run(guest: &mut Guest, event: &Value, index: usize, before: &Before<'_>) -> Result<Step> {
    let Before { booted, log_lines: seen, .. } = *before;
    let text = |key: &str| -> Result<&str> { event[key].as_str().with_context(|| format!("no {key}")) };
    let block = || event["block"].as_u64().context("no block");
    let name = text("event")?;
    let mut done = match name {
        "load" => {
            let driver = text("driver")?;
            let result = load(guest, driver)?;
            guest.order("sleep 1")?;
            Done::one("insmod", driver, result)
        }
        "set" => set(guest, text("name")?, &plain(&event["value"]))?,
        "online" | "offline" => {
            let state = if name == "online" { event["type"].as_str().unwrap_or("online") } else { "offline" };
            let file = format!("memory{}/state", block()?);
            let result = write(guest, &format!("/sys/devices/system/memory/{file}"), state)?;
            Done::one(&file, state, result)
        }
        "add_memory" => add_memory(guest, event, index)?,
        "remove_memory" => remove_memory(guest, event, index)?,
        "bind_dax" => bind_dax(guest, event)?,
        "unbind_dax" => unbind_dax(guest, text("device")?)?,
        "create_region" => region_events::create(guest, event, index, &Bus::read(before.bus))?,
        "delete_region" => region_events::delete(guest, event, &Bus::read(before.bus), before.memory)?,
        other => bail!("the laboratory cannot do the event `{other}`"),
    };
    guest.order("quiet")?;
    let texts = Texts { files: guest.capture("later")? };
    let dmesg = texts.text("dmesg.txt");
    let lines = log::lines(&dmesg);
    let fresh: Vec<String> = lines.iter().skip(seen).map(|line| (*line).to_owned()).collect();
    let mut after = texts.state();
    if name == "add_memory" && done.result == "ok" {
        judge_addition(&mut done, number(&event["start"])?, &fresh, &after["memory"]);
    }
    let since = lines.get(booted..).unwrap_or_default();
    after.insert("demotion_targets_changed".to_owned(), log::demotion_targets(since).0);
    let log_lines = lines.len();
    let mut value = json!({"step": index, "event": event, "result": done.result, "writes": done.writes, "log": fresh,
        "after": after});
    if let Some(file) = done.refused_at {
        value["refused_at"] = json!(file);
    }
    Ok(Step { value, log_lines, log: fresh, bus: texts.bus() })
}

/// A number as events write it: hexadecimal text, decimal text, or a JSON number.
pub(crate) fn number(value: &Value) -> Result<u64> {
    let parsed = match value {
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => value.as_u64(),
    };
    parsed.with_context(|| format!("{value} is no number"))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(crate) fn write(guest: &mut Guest, path: &str, value: &str) -> Result<String> {
    Ok(errno(&guest.order(&format!("write {path} {value}"))?))
}

/// The shell says an error in words; the captures use the errno's name.
fn errno(words: &str) -> String {
    const WORDS: [(&str, &str); 18] = [
        ("", "ok"),
        ("Operation not permitted", "EPERM"),
        ("No such file or directory", "ENOENT"),
        ("nonexistent directory", "ENOENT"),
        ("Input/output error", "EIO"),
        ("No such device or address", "ENXIO"),
        ("Argument list too long", "E2BIG"),
        ("Resource temporarily unavailable", "EAGAIN"),
        ("Cannot allocate memory", "ENOMEM"),
        ("Permission denied", "EACCES"),
        ("Device or resource busy", "EBUSY"),
        ("File exists", "EEXIST"),
        ("No such device", "ENODEV"),
        ("Invalid argument", "EINVAL"),
        ("No space left on device", "ENOSPC"),
        ("Numerical result out of range", "ERANGE"),
        ("Operation not supported", "EOPNOTSUPP"),
        ("Connection timed out", "ETIMEDOUT"),
    ];
    let known = WORDS.iter().find(|(text, _)| *text == words);
    known.map_or_else(|| words.to_owned(), |(_, name)| (*name).to_owned())
}

fn set(guest: &mut Guest, name: &str, value: &str) -> Result<Done> {
    let (shown, path) = match name {
        "auto_online_blocks" => (name.to_owned(), format!("/sys/devices/system/memory/{name}")),
        "demotion_enabled" => (name.to_owned(), format!("/sys/kernel/mm/numa/{name}")),
        _ => {
            let path = format!("/sys/module/memory_hotplug/parameters/{name}");
            (path.clone(), path)
        }
    };
    let result = write(guest, &path, value)?;
    Ok(Done::one(&shown, value, result))
}

fn add_memory(guest: &mut Guest, event: &Value, index: usize) -> Result<Done> {
    let (start, size) = (number(&event["start"])?, number(&event["size"])?);
    let domain = number(&event["domain"])?;
    let monitor = guest.monitor()?;
    let backend = format!("lab{index}");
    let object = json!({"qom-type": "memory-backend-ram", "id": backend, "size": size});
    monitor.execute("object-add", object)?.map_err(anyhow::Error::msg)?;
    let device = json!({"driver": "pc-dimm", "id": format!("labdimm{index}"), "memdev": backend, "addr": start,
        "node": domain});
    let mut done = Done::one("add", &index.to_string(), "ok".to_owned());
    if let Err(words) = monitor.execute("device_add", device)? {
        if !words.contains("conflicts with memory device") {
            bail!("the emulator refuses the DIMM: {words}");
        }
        monitor.execute("object-del", json!({"id": backend}))?.ok();
        done = Done::one("add", &index.to_string(), "EEXIST".to_owned());
        done.refused_at = Some("emulator".to_owned());
    }
    Ok(done)
}

/// The driver says nothing to user space: the result is read off the log and the blocks.
fn judge_addition(done: &mut Done, start: u64, fresh: &[String], memory: &Value) {
    let block_size = memory["block_size_bytes"].as_u64().filter(|size| *size > 0).unwrap_or(1);
    let said = |words: &str| fresh.iter().any(|line| line.contains(words));
    let present = memory["blocks"]
        .as_array()
        .is_some_and(|blocks| blocks.iter().any(|block| block["id"].as_u64() == Some(start / block_size)));
    let result = if said(&format!("unaligned hotplug range: start {start:#x},")) {
        "EINVAL"
    } else if !present {
        "EEXIST"
    } else {
        return;
    };
    let index = done.writes.first().map(|write| write[1].clone()).unwrap_or_default();
    *done = Done::one("add", &index, result.to_owned());
}

fn remove_memory(guest: &mut Guest, event: &Value, index: usize) -> Result<Done> {
    let start = number(&event["start"])?;
    let dimms = dimms(guest)?;
    let dimm = dimms.iter().find(|dimm| dimm["addr"].as_u64() == Some(start));
    let Some(id) = dimm.and_then(|dimm| dimm["id"].as_str()).map(str::to_owned) else {
        let mut done = Done::one("del", &index.to_string(), "ENOENT".to_owned());
        done.refused_at = Some("emulator".to_owned());
        return Ok(done);
    };
    let backend = dimm.and_then(|dimm| dimm["memdev"].as_str()).and_then(|path| path.rsplit('/').next());
    let backend = backend.unwrap_or_default().to_owned();
    let monitor = guest.monitor()?;
    monitor.execute("device_del", json!({"id": id}))?.map_err(anyhow::Error::msg)?;
    let answer = monitor.wait(Duration::from_secs(15), |message| {
        let device = message["data"]["device"].as_str() == Some(id.as_str());
        match message["event"].as_str() {
            Some("DEVICE_DELETED") if device => Some("ok"),
            Some("MEM_UNPLUG_ERROR" | "DEVICE_UNPLUG_GUEST_ERROR") if device => Some("EBUSY"),
            _ => None,
        }
    })?;
    let result = answer.unwrap_or("EBUSY");
    if result == "ok" {
        monitor.execute("object-del", json!({"id": backend}))?.ok();
    }
    Ok(Done::one("del", &index.to_string(), result.to_owned()))
}

fn bind_dax(guest: &mut Guest, event: &Value) -> Result<Done> {
    let device = event["device"].as_str().context("no device")?;
    let driver = event["driver"].as_str().context("no driver")?;
    let mut writes = Vec::new();
    if let Some(wish) = event["memmap_on_memory"].as_bool() {
        writes.push((format!("/sys/bus/dax/devices/{device}/memmap_on_memory"), u8::from(wish).to_string()));
    }
    if driver == "device_dax" {
        writes.push((format!("/sys/bus/dax/drivers/{driver}/new_id"), device.to_owned()));
    }
    writes.push((format!("/sys/bus/dax/drivers/{driver}/bind"), device.to_owned()));
    let mut done = Done { result: "ok".to_owned(), refused_at: None, writes: Vec::new() };
    for (path, value) in writes {
        let result = write(guest, &path, &value)?;
        done.writes.push([path.clone(), value, result.clone()]);
        if result != "ok" {
            done.result = result;
            done.refused_at = Some(path);
            break;
        }
    }
    Ok(done)
}

fn unbind_dax(guest: &mut Guest, device: &str) -> Result<Done> {
    let driver = guest.order(&format!("driver /sys/bus/dax/devices/{device}/driver"))?;
    let path = format!("/sys/bus/dax/drivers/{driver}/unbind");
    let result = if driver.is_empty() { "ENODEV".to_owned() } else { write(guest, &path, device)? };
    Ok(Done::one(&path, device, result))
}

/// Events with the outcomes that no input tells, as a capture found them.
///
/// Whether online memory outside a movable zone can be taken offline depends on what the kernel has put there.
#[must_use]
pub fn with_outcomes(events: &[Value], observed: &Value) -> Vec<Value> {
    let empty = Vec::new();
    let steps = observed["steps"].as_array().unwrap_or(&empty);
    let mut before = observed;
    let mut told = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let mut event = event.clone();
        let step = steps.get(index).unwrap_or(&Value::Null);
        let outcome = step["result"].as_str().filter(|result| matches!(*result, "ok" | "EBUSY"));
        if let (Some(outcome), true) = (outcome, depends_on_the_run(&event, &before["memory"])) {
            event["result"] = json!(outcome);
        }
        told.push(event);
        before = &step["after"];
    }
    told
}

/// Whether the event takes a block offline that is in a zone of the kernel's own.
fn depends_on_the_run(event: &Value, memory: &Value) -> bool {
    let size = memory["block_size_bytes"].as_u64().filter(|size| *size > 0).unwrap_or(1);
    let ids = match event["event"].as_str() {
        Some("offline") => event["block"].as_u64().map(|block| block..block.saturating_add(1)),
        Some("remove_memory") => number(&event["start"])
            .ok()
            .zip(number(&event["size"]).ok())
            .map(|(start, length)| start / size..start.saturating_add(length).div_ceil(size)),
        _ => None,
    };
    let Some(ids) = ids else { return false };
    memory["blocks"].as_array().into_iter().flatten().any(|block| {
        block["id"].as_u64().is_some_and(|id| ids.contains(&id))
            && block["state"] == "online"
            && block["valid_zones"]
                .as_array()
                .is_some_and(|zones| zones.first().is_some_and(|zone| zone != "Movable" && zone != "none"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Located;
    use std::path::Path;

    #[test]
    fn outcomes_are_told_where_captured_event_files_tell_them() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/cases");
        let Ok(list) = std::fs::read_dir(&cases) else {
            return eprintln!("SKIPPED: the captures in {} are not there", cases.display());
        };
        let mut compared = 0;
        for folder in list.map(|item| item.expect("an entry").path()) {
            let Ok(text) = std::fs::read_to_string(folder.join("events.jsonl")) else { continue };
            let expected: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let located = Located::read(&folder).expect("a case");
            let observed = crate::check::observed(&folder, crate::workshop::Kernel::V7_2).expect("facts");
            assert_eq!(with_outcomes(&located.case.events, &observed), expected, "{}", located.case.name);
            compared += 1;
        }
        assert!(compared > 40, "{compared} event files");
    }

    #[test]
    fn errors_get_their_names() {
        assert_eq!(errno(""), "ok");
        assert_eq!(errno("Device or resource busy"), "EBUSY");
        assert_eq!(errno("Something new"), "Something new");
    }

    #[test]
    fn an_addition_without_blocks_was_refused() {
        let memory = json!({"block_size_bytes": 0x800_0000, "blocks": [{"id": 32}]});
        let judged = |start: u64, log: &[&str]| {
            let mut done = Done::one("add", "0", "ok".to_owned());
            let log: Vec<String> = log.iter().map(|line| (*line).to_owned()).collect();
            judge_addition(&mut done, start, &log, &memory);
            done.result
        };
        assert_eq!(judged(0x1_0000_0000, &[]), "ok");
        assert_eq!(judged(0x2_0000_0000, &[]), "EEXIST");
        let line = "Block size [0x8000000] unaligned hotplug range: start 0x168000000, size 0x28200000";
        assert_eq!(judged(0x1_6800_0000, &[line]), "EINVAL");
    }
}
