//! CXL and DAX of a plan as JSON, with the keys of a captured boot. What a boot does not show is absent.

use super::json::JsonWriter;
use super::plan_performance;
use crate::linux::cxl_plan::{CxlPlan, DaxPlan, DecoderPlan, RegionPlan, RootDecoderPlan};
use crate::tables::cedt::{InterleaveArithmetic, WindowRestrictions};
use crate::topology::cxl::Memdev;
use crate::units::{ByteCount, PhysAddr};
use core::fmt::{self, Write};

type Json<W> = JsonWriter<W>;

/// Writes the members `cxl` and `devices` into an object that is already open.
pub(crate) fn members<W: Write>(
    json: &mut Json<W>,
    cxl: Option<&CxlPlan>,
    devices: Option<&[DaxPlan]>,
) -> fmt::Result {
    if let Some(cxl) = cxl {
        json.key("cxl")?;
        json.begin_object()?;
        list(json, "memdevs", &cxl.memdevs, memdev)?;
        list(json, "root_decoders", &cxl.root_decoders, root_decoder)?;
        list(json, "switch_decoders", &cxl.switch_decoders, switch_decoder)?;
        list(json, "endpoint_decoders", &cxl.endpoint_decoders, endpoint_decoder)?;
        list(json, "regions", &cxl.regions, region)?;
        plan_performance::member(json, &cxl.performance)?;
        json.end_object()?;
    }
    if let Some(devices) = devices {
        json.key("devices")?;
        json.begin_array()?;
        for one in devices {
            device(json, one)?;
        }
        json.end_array()?;
    }
    Ok(())
}

/// A list that is left out when it is empty.
fn list<W: Write, T>(
    json: &mut Json<W>,
    key: &str,
    items: &[T],
    write: fn(&mut Json<W>, &T) -> fmt::Result,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    json.key(key)?;
    json.begin_array()?;
    for item in items {
        json.begin_object_inline()?;
        write(json, item)?;
        json.end_object()?;
    }
    json.end_array()
}

fn number<W: Write>(json: &mut Json<W>, key: &str, value: impl fmt::Display) -> fmt::Result {
    json.key(key)?;
    json.number(value)
}

fn hex<W: Write>(json: &mut Json<W>, key: &str, value: impl fmt::LowerHex) -> fmt::Result {
    json.key(key)?;
    json.string(format_args!("{value:#x}"))
}

fn text<W: Write>(json: &mut Json<W>, key: &str, value: &str) -> fmt::Result {
    json.key(key)?;
    json.string(value)
}

fn flag<W: Write>(json: &mut Json<W>, key: &str, value: bool) -> fmt::Result {
    number(json, key, u8::from(value))
}

fn range<W: Write>(json: &mut Json<W>, first: &str, start: PhysAddr, size: ByteCount) -> fmt::Result {
    hex(json, first, start)?;
    hex(json, "size", size)
}

fn interleave<W: Write>(json: &mut Json<W>, ways: u32, granularity: Option<ByteCount>) -> fmt::Result {
    number(json, "interleave_ways", ways)?;
    match granularity {
        Some(bytes) => number(json, "interleave_granularity", bytes),
        None => Ok(()),
    }
}

/// What a root decoder may be used for, by the names of its files.
pub(super) const CAPABILITIES: [(&str, WindowRestrictions); 4] = [
    ("cap_ram", WindowRestrictions::VOLATILE),
    ("cap_pmem", WindowRestrictions::PERSISTENT),
    ("cap_type2", WindowRestrictions::DEVICE_COHERENT),
    ("cap_type3", WindowRestrictions::HOST_ONLY_COHERENT),
];

/// Targets as sysfs lists them: `0,1`.
pub(super) struct Targets<'a>(pub(super) &'a [u32]);

impl fmt::Display for Targets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, target) in self.0.iter().enumerate() {
            write!(f, "{}{target}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

fn targets<W: Write>(json: &mut Json<W>, targets: &[u32]) -> fmt::Result {
    json.key("target_list")?;
    json.string(Targets(targets))
}

fn memdev<W: Write>(json: &mut Json<W>, memdev: &Memdev) -> fmt::Result {
    if let Some(serial) = memdev.serial {
        number(json, "serial", serial)?;
    }
    if let Some(host) = &memdev.host {
        text(json, "pci", host)?;
    }
    hex(json, "pmem_size", memdev.pmem_size)?;
    hex(json, "ram_size", memdev.ram_size)?;
    for (key, class) in [("ram_qos_class", memdev.ram_qos_class), ("pmem_qos_class", memdev.pmem_qos_class)] {
        if let Some(class) = class {
            number(json, key, class)?;
        }
    }
    Ok(())
}

fn root_decoder<W: Write>(json: &mut Json<W>, decoder: &RootDecoderPlan) -> fmt::Result {
    text(json, "name", &decoder.name)?;
    range(json, "start", decoder.start, decoder.size)?;
    interleave(json, decoder.ways, Some(decoder.granularity))?;
    targets(json, &decoder.targets)?;
    number(json, "qos_class", decoder.qos_class)?;
    for (key, bit) in CAPABILITIES {
        flag(json, key, decoder.restrictions.contains(bit))?;
    }
    flag(json, "locked", decoder.locked)?;
    // Keys that a capture does not have say something only where it matters.
    if decoder.arithmetic == Some(InterleaveArithmetic::MODULO_XOR) {
        text(json, "arithmetic", "xor")?;
    }
    if decoder.cache_size.0 != 0 {
        hex(json, "extended_linear_cache_size", decoder.cache_size)?;
    }
    Ok(())
}

fn switch_decoder<W: Write>(json: &mut Json<W>, decoder: &DecoderPlan) -> fmt::Result {
    in_use(json, decoder)?;
    targets(json, &decoder.targets)
}

fn endpoint_decoder<W: Write>(json: &mut Json<W>, decoder: &DecoderPlan) -> fmt::Result {
    in_use(json, decoder)?;
    if let Some(dpa) = decoder.dpa {
        hex(json, "dpa_resource", dpa.start)?;
        json.key("dpa_size")?;
        json.string(format_args!("{:#018x}", dpa.size))?;
    }
    match decoder.mode {
        Some(mode) => text(json, "mode", mode.name()),
        None => Ok(()),
    }
}

fn in_use<W: Write>(json: &mut Json<W>, decoder: &DecoderPlan) -> fmt::Result {
    text(json, "name", &decoder.name)?;
    text(json, "region", decoder.region.as_deref().unwrap_or_default())?;
    range(json, "start", decoder.start, decoder.size)?;
    interleave(json, decoder.ways, decoder.granularity)
}

fn region<W: Write>(json: &mut Json<W>, region: &RegionPlan) -> fmt::Result {
    text(json, "name", &region.name)?;
    if let Some(root) = &region.root_decoder {
        text(json, "root_decoder", root)?;
    }
    range(json, "resource", region.start, region.size)?;
    interleave(json, region.ways, region.granularity)?;
    if let Some(mode) = region.mode {
        text(json, "mode", mode.name())?;
    }
    flag(json, "commit", region.committed)?;
    json.key("bound")?;
    json.bool(region.bound)?;
    if region.cache_size.0 != 0 {
        hex(json, "extended_linear_cache_size", region.cache_size)?;
    }
    json.key("targets")?;
    json.begin_array()?;
    for target in &region.targets {
        match target {
            Some(target) => json.string(target)?,
            None => json.null()?,
        }
    }
    json.end_array()
}

fn device<W: Write>(json: &mut Json<W>, device: &DaxPlan) -> fmt::Result {
    json.begin_object_inline()?;
    text(json, "bus", "dax")?;
    text(json, "name", &device.name)?;
    text(json, "parent", &device.parent)?;
    json.key("driver")?;
    match device.driver {
        Some(driver) => json.string(driver)?,
        None => json.null()?,
    }
    json.key("attrs")?;
    json.begin_object()?;
    number(json, "align", device.alignment)?;
    flag(json, "memmap_on_memory", device.memmap_on_memory)?;
    match device.numa_node {
        Some(node) => number(json, "numa_node", node)?,
        // The kernel's word for no node.
        None => number(json, "numa_node", -1)?,
    }
    hex(json, "resource", device.range.start)?;
    number(json, "size", device.range.size())?;
    // This one is not there without a node (`drivers/dax/bus.c: dev_dax_visible`).
    if let Some(node) = device.target_node {
        number(json, "target_node", node)?;
    }
    json.end_object()?;
    json.end_object()
}
