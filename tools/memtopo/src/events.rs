//! Events as JSON lines: one object a line, as the contract of the command line has them.

use memtopo::linux::added::MemoryDevice;
use memtopo::linux::block_map::BlockId;
use memtopo::linux::events::{Event, Given, RegionWish, TableUpdate};
use memtopo::linux::online::OnlineKind;
use memtopo::linux::tiers::TierId;
use memtopo::range::AddressRange;
use memtopo::topology::TableBytes;
use memtopo::units::{ByteCount, NodeId, PhysAddr, ProximityDomain};
use serde_json::{Map, Value};

/// A file of events: the objects, and the contents of the tables that they name.
pub(crate) struct EventFile {
    lines: Vec<Line>,
}

struct Line {
    number: usize,
    object: Map<String, Value>,
    /// What is in the file that the event names.
    table: Vec<u8>,
}

impl EventFile {
    /// Reads the text of a file. `read` gives the contents of a file that an event names.
    pub(crate) fn parse(
        text: &str,
        mut read: impl FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let fault = |error: String| format!("line {number}: {error}");
            let object: Map<String, Value> =
                serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
            let table = match object.get("file").and_then(Value::as_str) {
                Some(file) => read(file).map_err(fault)?,
                None => Vec::new(),
            };
            lines.push(Line { number, object, table });
        }
        Ok(Self { lines })
    }

    /// The events.
    pub(crate) fn events(&self) -> Result<Vec<Event<'_>>, String> {
        self.lines
            .iter()
            .map(|line| line.event().map_err(|error| format!("line {}: {error}", line.number)))
            .collect()
    }
}

impl Line {
    fn event(&self) -> Result<Event<'_>, String> {
        let outcome = || match self.object.get("result").map(|_| self.text("result")).transpose()? {
            None => Ok(None),
            Some("ok") => Ok(Some(Given::Ok)),
            Some("EBUSY") => Ok(Some(Given::Busy)),
            Some(other) => Err(format!("result: expected ok or EBUSY, found {other:?}")),
        };
        let text = |key| self.text(key).map(str::to_owned);
        Ok(match self.text("event")? {
            "load" => Event::Load { driver: text("driver")? },
            "set" => {
                let value = match self.object.get("value") {
                    Some(Value::String(value)) => value.clone(),
                    Some(value) => value.to_string(),
                    None => return Err("no value".to_owned()),
                };
                Event::Set { name: text("name")?, value }
            }
            "add_memory" => {
                let domain = self.object.get("domain").map(|_| self.number("domain")).transpose()?;
                let domain = domain.map(narrow).transpose()?.map(ProximityDomain);
                Event::AddMemory(MemoryDevice { range: self.range()?, domain })
            }
            "remove_memory" => Event::RemoveMemory { range: self.range()?, outcome: outcome()? },
            "online" => {
                let kind = match self.object.get("type") {
                    Some(_) => self.text("type")?,
                    None => "online",
                };
                let kind = OnlineKind::from_name(kind).ok_or_else(|| {
                    format!("type: expected online, online_kernel or online_movable, found {kind:?}")
                })?;
                Event::Online { block: BlockId(self.number("block")?), kind }
            }
            "offline" => Event::Offline { block: BlockId(self.number("block")?), outcome: outcome()? },
            "create_region" => Event::CreateRegion(self.region()?),
            "delete_region" => Event::DeleteRegion { region: text("region")? },
            "bind_dax" => Event::BindDax {
                device: text("device")?,
                driver: text("driver")?,
                memmap_on_memory: self.flag("memmap_on_memory")?,
            },
            "unbind_dax" => Event::UnbindDax { device: text("device")? },
            "update_table" => Event::UpdateTable(self.table()?),
            "move_node" => Event::MoveNode {
                node: NodeId(narrow(self.number("node")?)?),
                tier: TierId(i32::from_ne_bytes(narrow(self.number("tier")?)?.to_ne_bytes())),
            },
            other => return Err(format!("unknown event {other:?}")),
        })
    }

    fn value(&self, key: &str) -> Result<&Value, String> {
        self.object.get(key).ok_or_else(|| format!("no {key}"))
    }

    fn text(&self, key: &str) -> Result<&str, String> {
        let value = self.value(key)?;
        value.as_str().ok_or_else(|| format!("{key}: expected a text, found {value}"))
    }

    fn number(&self, key: &str) -> Result<u64, String> {
        number(self.value(key)?)
            .ok_or_else(|| format!("{key}: expected a number, found {}", self.object[key]))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.object.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(value) if matches!(number(value), Some(0 | 1)) => Ok(Some(number(value) == Some(1))),
            Some(value) => Err(format!("{key}: expected true or false, found {value}")),
        }
    }

    fn range(&self) -> Result<AddressRange, String> {
        let (start, size) = (PhysAddr(self.number("start")?), ByteCount(self.number("size")?));
        AddressRange::from_base_size(start, size).ok_or_else(|| "the range passes 64 bits".to_owned())
    }

    fn region(&self) -> Result<RegionWish, String> {
        let targets = self.value("targets")?.as_array().ok_or("targets: expected a list")?;
        let serial = |target: &Value| number(target.get("serial").unwrap_or(target));
        let targets: Option<Vec<u64>> = targets.iter().map(serial).collect();
        let ways = self.object.get("ways").map(|_| self.number("ways")).transpose()?;
        Ok(RegionWish {
            root: self.text("root")?.to_owned(),
            mode: self.text("mode")?.to_owned(),
            granularity: ByteCount(self.number("granularity")?),
            ways: ways.map(narrow).transpose()?,
            size: ByteCount(self.number("size")?),
            targets: targets.ok_or("targets: expected serial numbers")?,
            bind: self.flag("bind")?.unwrap_or(true),
        })
    }

    /// An HMAT by its signature; what has none is a CDAT.
    fn table(&self) -> Result<TableUpdate<'_>, String> {
        self.text("file")?;
        match self.table.get(..4) {
            Some(b"HMAT") => {
                TableBytes::copy(&self.table).map(TableUpdate::Hmat).map_err(|error| error.to_string())
            }
            Some(name @ (b"SRAT" | b"SLIT" | b"CEDT" | b"APIC")) => {
                let name = String::from_utf8_lossy(name);
                Err(format!(
                    "file: expected an HMAT or a CDAT, found {name}, which cannot change at run time"
                ))
            }
            _ => Ok(TableUpdate::Cdat(&self.table)),
        }
    }
}

fn narrow(number: u64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("{number} is too large"))
}

/// A JSON number, or a text in C notation.
fn number(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => return number.as_u64(),
        Value::String(text) => text.replace('_', ""),
        _ => return None,
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let file = EventFile::parse(text, |_| Ok(b"HMAT".to_vec()))?;
        Ok(file.events()?.iter().map(|event| format!("{event}\n")).collect())
    }

    #[test]
    fn lines_become_events() {
        let text = r#"
            {"event":"add_memory","start":"0x100000000","size":"0x40000000","domain":1}
            {"event":"online","block":32,"type":"online_movable"}
            {"event":"offline","block":"32","result":"EBUSY"}
            {"event":"set","name":"auto_movable_ratio","value":20}
            {"event":"move_node","node":2,"tier":4}"#;
        let lines = "add_memory 0x100000000-0x13fffffff\nonline_movable 32\noffline 32\n\
                     set auto_movable_ratio=20\nmove_node 2 to tier 4\n";
        assert_eq!(parse(text).unwrap(), lines);
    }

    #[test]
    fn faults_name_their_line() {
        for (text, fault) in [
            ("\n{\"event\":\"explode\"}", "line 2: unknown event \"explode\""),
            ("{\"event\":\"online\"}", "line 1: no block"),
            ("{\"event\":\"load\",\"driver\":7}", "line 1: driver: expected a text, found 7"),
            (
                "{\"event\":\"offline\",\"block\":1,\"result\":\"no\"}",
                "line 1: result: expected ok or EBUSY, found \"no\"",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), fault);
        }
        assert!(parse("{").unwrap_err().starts_with("line 1: EOF"));
    }
}
