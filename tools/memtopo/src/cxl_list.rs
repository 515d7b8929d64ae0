//! What `cxl list -vvv` prints, as the CXL hierarchy.

use memtopo::topology::cxl::{
    CxlTree, Decoder, DpaRange, Dport, Memdev, Mode, Port, PortKind, Region, RootCapabilities, numbers,
};
use memtopo::units::{ByteCount, DeviceAddr, PhysAddr};
use serde_json::{Map, Value};

/// Members of the program's objects that name one.
const NAMES: [&str; 7] = ["bus", "port", "endpoint", "memdev", "decoder", "region", "anon memdevs"];

/// Whether JSON is a list of that program, however it was filtered.
pub(crate) fn is_cxl_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.first().is_some_and(is_cxl_list),
        Value::Object(object) => {
            let nested = object.values().find(|value| value.is_array());
            NAMES.iter().any(|name| object.contains_key(*name)) || nested.is_some_and(is_cxl_list)
        }
        _ => false,
    }
}

/// Reads the list. Objects may be nested in any way, or lie side by side.
pub(crate) fn read(value: &Value) -> CxlTree {
    let mut tree = CxlTree::default();
    walk(value, &Above::default(), &mut tree);
    for decoder in tree.decoders.iter_mut().filter(|decoder| decoder.port.is_empty()) {
        let number = numbers(&decoder.name).0;
        let port = tree.ports.iter().find(|port| numbers(&port.name).0 == number);
        decoder.port = port.map(|port| port.name.clone()).unwrap_or_default();
    }
    tree.sort();
    tree
}

/// What an object is nested in.
#[derive(Clone, Default)]
struct Above {
    port: Option<String>,
    decoder: Option<String>,
}

fn walk(value: &Value, above: &Above, tree: &mut CxlTree) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, above, tree)),
        Value::Object(object) => {
            let below = add(object, above, tree);
            for (key, member) in object {
                // Other members name objects too, but are none.
                let holds_objects =
                    ["ports", "endpoints", "decoders", "regions", "memdevs", "buses", "memdev"];
                if holds_objects.contains(&key.split(':').next().unwrap_or_default()) || key == "anon memdevs"
                {
                    walk(member, &below, tree);
                }
            }
        }
        _ => {}
    }
}

fn add(object: &Map<String, Value>, above: &Above, tree: &mut CxlTree) -> Above {
    let mut below = above.clone();
    let port_names = [("bus", PortKind::Root), ("port", PortKind::Switch), ("endpoint", PortKind::Endpoint)];
    let name = |key: &str| text(object, key);
    if let Some((name, kind)) = port_names.into_iter().find_map(|(key, kind)| Some((name(key)?, kind))) {
        tree.ports.push(port(object, &name, kind, above));
        below.port = Some(name);
    } else if let Some(name) = name("decoder") {
        tree.decoders.push(decoder(object, &name, above));
        below.decoder = Some(name);
    } else if let Some(name) = name("memdev").filter(|name| tree.memdevs.iter().all(|old| old.name != *name))
    {
        tree.memdevs.push(Memdev {
            name,
            serial: number(object, "serial"),
            host: text(object, "host"),
            ram_size: bytes(object, "ram_size").unwrap_or_default(),
            pmem_size: bytes(object, "pmem_size").unwrap_or_default(),
            numa_node: object.get("numa_node").and_then(Value::as_i64),
            ram_qos_class: object.get("ram_qos_class").and_then(Value::as_i64),
            pmem_qos_class: object.get("pmem_qos_class").and_then(Value::as_i64),
        });
    } else if let Some(name) = name("region") {
        tree.regions.push(region(object, name, above));
    }
    below
}

fn port(object: &Map<String, Value>, name: &str, kind: PortKind, above: &Above) -> Port {
    let dports = object.get("dports").and_then(Value::as_array);
    let dport = |dport: &Value| {
        let dport = dport.as_object()?;
        Some(Dport { id: small(dport, "id")?, device: text(dport, "dport")? })
    };
    // A host bridge lies directly below the root, and is its downstream port itself.
    let parent_dport = text(object, "parent_dport").or_else(|| {
        let below_root = above.port.as_ref().is_some_and(|port| port.starts_with("root"));
        text(object, "host").filter(|_| below_root)
    });
    Port {
        name: name.to_owned(),
        kind,
        host: text(object, "host"),
        parent: above.port.clone(),
        parent_dport,
        dports: dports.into_iter().flatten().filter_map(dport).collect(),
        // The root has none to commit, and the list does not say so.
        decoders_committed: small(object, "decoders_committed").or((kind == PortKind::Root).then_some(0)),
    }
}

fn decoder(object: &Map<String, Value>, name: &str, above: &Above) -> Decoder {
    let (port, index) = numbers(name);
    let mut targets: Vec<(u32, u32)> = object
        .get("targets")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .filter_map(|target| Some((small(target, "position")?, small(target, "id")?)))
        .collect();
    targets.sort_unstable();
    let in_order = targets.into_iter().zip(0_u32..).take_while(|((position, _), place)| position == place);
    let capable = |key: &str| Some(object.get(key).and_then(Value::as_bool).unwrap_or(false));
    let is_root = above.port.as_ref().is_some_and(|port| port.starts_with("root"))
        || (above.port.is_none() && port == 0);
    let dpa = bytes(object, "dpa_size")
        .filter(|size| size.0 != 0)
        .and_then(|size| Some(DpaRange { start: DeviceAddr(number(object, "dpa_resource")?), size }));
    Decoder {
        name: name.to_owned(),
        port: above.port.clone().unwrap_or_default(),
        index,
        start: PhysAddr(number(object, "resource").unwrap_or_default()),
        size: bytes(object, "size").unwrap_or_default(),
        ways: small(object, "interleave_ways").unwrap_or(1),
        granularity: bytes(object, "interleave_granularity"),
        targets: in_order.map(|((_, id), _)| id).collect(),
        // The list tells neither of endpoints and switches.
        target_type: None,
        locked: capable("locked"),
        region: text(object, "region"),
        dpa,
        mode: text(object, "mode").as_deref().and_then(Mode::from_name),
        root: is_root.then(|| RootCapabilities {
            ram: capable("volatile_capable"),
            pmem: capable("pmem_capable"),
            type2: capable("accelmem_capable"),
            type3: None,
            qos_class: object.get("qos_class").and_then(Value::as_i64),
        }),
    }
}

fn region(object: &Map<String, Value>, name: String, above: &Above) -> Region {
    let ways = small(object, "interleave_ways").unwrap_or(0);
    let mut targets = vec![None; usize::try_from(ways.min(16)).unwrap_or_default()];
    for mapping in object.get("mappings").and_then(Value::as_array).into_iter().flatten() {
        let position = mapping.get("position").and_then(Value::as_u64);
        let place = position.and_then(|position| usize::try_from(position).ok());
        if let Some(slot) = place.and_then(|place| targets.get_mut(place)) {
            *slot = mapping.get("decoder").and_then(Value::as_str).map(str::to_owned);
        }
    }
    Region {
        name,
        root_decoder: above.decoder.clone(),
        start: PhysAddr(number(object, "resource").unwrap_or_default()),
        size: bytes(object, "size").unwrap_or_default(),
        ways,
        granularity: bytes(object, "interleave_granularity"),
        mode: text(object, "type").as_deref().and_then(Mode::from_name),
        committed: text(object, "decode_state").map(|state| state == "commit"),
        bound: Some(text(object, "state").as_deref() != Some("disabled")),
        targets,
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

/// A number, also as the text that `cxl list -u` prints.
fn number(object: &Map<String, Value>, key: &str) -> Option<u64> {
    match object.get(key)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

fn bytes(object: &Map<String, Value>, key: &str) -> Option<ByteCount> {
    number(object, key).map(ByteCount)
}

fn small(object: &Map<String, Value>, key: &str) -> Option<u32> {
    number(object, key).and_then(|value| u32::try_from(value).ok())
}
