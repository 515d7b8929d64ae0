//! Speed of CXL devices and regions: as JSON, and as lines for people.

use super::json::JsonWriter;
use super::plan_text;
use super::style::{Colour, Style};
use crate::linux::coordinates::Coordinates;
use crate::linux::cxl_performance::{Lack, PartitionPerformance};
use crate::linux::performance_plan::{DeviceFigures, PerformancePlan, RegionFiguresPlan, RegionValues};
use crate::linux::reason::Reason;
use crate::linux::tiers::AbstractDistance;
use alloc::vec::Vec;
use core::fmt::{self, Write};

type Json<W> = JsonWriter<W>;

/// Writes the member `performance`, unless there is nothing to tell.
pub(crate) fn member<W: Write>(json: &mut Json<W>, plan: &PerformancePlan) -> fmt::Result {
    if plan.devices.is_empty() && plan.regions.is_empty() {
        return Ok(());
    }
    json.key("performance")?;
    json.begin_object()?;
    json.key("devices")?;
    json.begin_array()?;
    plan.devices.iter().try_for_each(|one| device(json, one))?;
    json.end_array()?;
    json.key("regions")?;
    json.begin_array()?;
    plan.regions.iter().try_for_each(|one| region(json, one))?;
    json.end_array()?;
    if !plan.assumed.is_empty() {
        json.key("assumed")?;
        json.begin_array()?;
        plan.assumed.iter().try_for_each(|text| json.string(text))?;
        json.end_array()?;
    }
    json.end_object()
}

fn device<W: Write>(json: &mut Json<W>, device: &DeviceFigures) -> fmt::Result {
    json.begin_object()?;
    if let Some(serial) = device.serial {
        json.key("serial")?;
        json.number(serial)?;
    }
    match &device.memory {
        Err(lack) => absent(json, lack)?,
        Ok(memory) => {
            for (name, partition) in [("ram", &memory.ram), ("pmem", &memory.pmem)] {
                if let Some(partition) = partition {
                    json.key(name)?;
                    self::partition(json, partition)?;
                }
            }
            if !memory.erased.is_empty() {
                reasons(json, "erased", &memory.erased)?;
            }
        }
    }
    json.end_object()
}

fn partition<W: Write>(json: &mut Json<W>, partition: &PartitionPerformance) -> fmt::Result {
    json.begin_object()?;
    json.key("qos_class")?;
    json.number(partition.class)?;
    classes(json, &partition.classes)?;
    json.key("reason")?;
    json.string(&partition.reason)?;
    json.end_object()
}

/// What is missing under `unknown`, what the kernel refuses with its reason.
fn absent<W: Write>(json: &mut Json<W>, lack: &Lack) -> fmt::Result {
    match lack {
        Lack::Kernel(reason) => {
            json.key("none")?;
            json.string(reason)
        }
        Lack::Untold(missing) => {
            json.key("unknown")?;
            json.string(missing)
        }
    }
}

fn region<W: Write>(json: &mut Json<W>, region: &RegionFiguresPlan) -> fmt::Result {
    json.begin_object()?;
    json.key("name")?;
    json.string(&region.name)?;
    if let Some(node) = region.node {
        json.key("node")?;
        json.number(node)?;
    }
    match &region.figures {
        Err(lack) => absent(json, lack)?,
        Ok(values) => {
            classes(json, &values.classes)?;
            distance(json, "abstract_distance", "memory_tier", values.distance)?;
            if values.classes != values.physical {
                json.key("physical")?;
                json.begin_object()?;
                classes(json, &values.physical)?;
                distance(json, "abstract_distance", "memory_tier", values.physical_distance)?;
                json.end_object()?;
            }
            reasons(json, "reasons", &values.reasons)?;
        }
    }
    json.end_object()
}

fn distance<W: Write>(
    json: &mut Json<W>,
    distance: &str,
    tier: &str,
    value: Option<AbstractDistance>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    json.key(distance)?;
    json.number(value.0)?;
    json.key(tier)?;
    json.number(value.tier().printed())
}

fn reasons<W: Write>(json: &mut Json<W>, key: &str, reasons: &[Reason]) -> fmt::Result {
    json.key(key)?;
    json.begin_array()?;
    reasons.iter().try_for_each(|reason| json.string(reason))?;
    json.end_array()
}

/// Both classes with the names that sysfs has; what it does not show is 0 there and absent here.
fn classes<W: Write>(json: &mut Json<W>, classes: &[Coordinates; 2]) -> fmt::Result {
    for (name, own) in ["access0", "access1"].into_iter().zip(classes) {
        json.key(name)?;
        json.begin_object_inline()?;
        for (name, value) in [
            ("read_latency", own.read_latency.0),
            ("write_latency", own.write_latency.0),
            ("read_bandwidth", own.read_bandwidth.0),
            ("write_bandwidth", own.write_bandwidth.0),
        ] {
            if value != 0 {
                json.key(name)?;
                json.number(value)?;
            }
        }
        json.end_object()?;
    }
    Ok(())
}

/// The figures of processors on one line: `17270/17370 ns, 16000/16000 MB/s`.
struct Figures<'a>(&'a Coordinates);

impl fmt::Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Coordinates { read_latency, write_latency, read_bandwidth, write_bandwidth } = self.0;
        write!(f, "{read_latency}/{write_latency} ns, {read_bandwidth}/{write_bandwidth} MB/s")
    }
}

/// Prints the figures of one region and how they came to be.
pub(crate) fn explain<W: Write>(
    out: &mut W,
    plan: &PerformancePlan,
    region: &str,
    colour: Colour,
) -> fmt::Result {
    let Some(region) = plan.regions.iter().find(|known| known.name == region) else { return Ok(()) };
    let title = colour.paint(Style::Title, "latency and bandwidth");
    match &region.figures {
        Ok(values) => {
            write!(out, "{title}: ")?;
            line(out, values)?;
            let reasons: Vec<&Reason> = values.reasons.iter().collect();
            let mut groups = reasons.chunk_by(|one, other| one.rule == other.rule);
            groups.try_for_each(|same| plan_text::explain(out, "figures", same, colour))
        }
        Err(Lack::Kernel(reason)) => plan_text::explain(out, "latency and bandwidth", &[reason], colour),
        Err(Lack::Untold(missing)) => writeln!(out, "{title}: cannot be told without {missing}"),
    }
}

/// Writes a line for every device and region of which something is known, and what was taken for granted.
pub(crate) fn text<W: Write>(out: &mut W, plan: &PerformancePlan, colour: Colour) -> fmt::Result {
    for device in &plan.devices {
        let Ok(memory) = &device.memory else { continue };
        for (name, partition) in [("ram", &memory.ram), ("pmem", &memory.pmem)] {
            let (Some(partition), Some(serial)) = (partition, device.serial) else { continue };
            let [_, cpu] = &partition.classes;
            write!(out, "{}", colour.paint(Style::Title, format_args!("device {serial}")))?;
            writeln!(out, "  {name}, QoS class {}, {}", partition.class, Figures(cpu))?;
        }
    }
    for region in &plan.regions {
        let Ok(values) = &region.figures else { continue };
        write!(out, "{}  ", colour.paint(Style::Title, &region.name))?;
        line(out, values)?;
    }
    for assumed in &plan.assumed {
        writeln!(out, "assumed of QEMU: {assumed}")?;
    }
    Ok(())
}

/// The figures of a region, the tier that they are worth, and both as they would be without the mix of units.
fn line<W: Write>(out: &mut W, values: &RegionValues) -> fmt::Result {
    let ([_, own], [_, physical]) = (&values.classes, &values.physical);
    write!(out, "{}", Figures(own))?;
    if let Some(distance) = values.distance {
        write!(out, ", worth memory_tier{}", distance.tier().printed())?;
    }
    if own != physical {
        let RegionValues { distance, physical_distance, .. } = values;
        write!(out, "; physically {}/{} ns", physical.read_latency, physical.write_latency)?;
        let tier = |distance: &AbstractDistance| distance.tier();
        if let Some(other) =
            physical_distance.filter(|other| Some(tier(other)) != distance.as_ref().map(tier))
        {
            write!(out, ", memory_tier{}", other.tier().printed())?;
        }
        out.write_str(" (link-latency-unit)")?;
    }
    out.write_char('\n')
}
