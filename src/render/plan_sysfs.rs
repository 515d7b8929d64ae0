//! A plan as the files of a running kernel: `PATH<TAB>VALUE` lines, the value byte for byte what `cat` prints, without the
//! line break at its end.
//!
//! Files only: what sysfs says with links (the initiators of an access class, the blocks of a node) is in the other
//! forms. A file whose content the inputs do not tell has no line.

use super::plan_cxl_json::{CAPABILITIES, Targets};
use crate::linux::access::{NodeAccess, SideCache};
use crate::linux::cxl_plan::{CxlPlan, DaxPlan, RegionPlan, RootDecoderPlan};
use crate::linux::node_set::NodeSet;
use crate::linux::plan::{BlockPlan, MemoryPlan, NodePlan, Plan, WeightPlan};
use crate::units::NodeId;
use core::fmt::{self, Arguments, Display, Write};

const NODES: &str = "/sys/devices/system/node";
const BLOCKS: &str = "/sys/devices/system/memory";
const HOTPLUG: &str = "/sys/module/memory_hotplug/parameters";
const TIERS: &str = "/sys/devices/virtual/memory_tiering";
const WEIGHTS: &str = "/sys/kernel/mm/mempolicy/weighted_interleave";
const DEMOTION: &str = "/sys/kernel/mm/numa/demotion_enabled";
const CXL: &str = "/sys/bus/cxl/devices";
const DAX: &str = "/sys/bus/dax/devices";

/// Prints the files.
pub fn plan_sysfs<W: Write>(out: &mut W, plan: &Plan) -> fmt::Result {
    masks(out, plan)?;
    plan.nodes.iter().try_for_each(|node| one_node(out, node, plan.cache_address_mode))?;
    for (tier, nodes) in plan.tiers.iter().flatten() {
        file(out, format_args!("{TIERS}/memory_tier{}/nodelist", tier.printed()), nodes)?;
    }
    if let Some(shown) = &plan.weights {
        weights(out, shown)?;
    }
    if let Some(known) = &plan.memory {
        memory(out, known, plan.zones.is_some())?;
    }
    if let Some(cxl) = &plan.cxl {
        windows(out, cxl)?;
    }
    plan.devices.iter().flatten().try_for_each(|device| dax(out, device))
}

fn file<W: Write>(out: &mut W, path: Arguments<'_>, value: impl Display) -> fmt::Result {
    writeln!(out, "{path}\t{value}")
}

fn masks<W: Write>(out: &mut W, plan: &Plan) -> fmt::Result {
    let Some(masks) = &plan.masks else { return Ok(()) };
    for (name, nodes) in [
        ("possible", Some(&masks.possible)),
        ("online", Some(&masks.online)),
        ("has_normal_memory", masks.has_normal_memory.as_ref()),
        ("has_memory", Some(&masks.has_memory)),
        ("has_cpu", masks.has_cpu.as_ref()),
        ("has_generic_initiator", Some(&masks.has_generic_initiator)),
    ] {
        if let Some(nodes) = nodes {
            file(out, format_args!("{NODES}/{name}"), nodes)?;
        }
    }
    Ok(())
}

fn one_node<W: Write>(out: &mut W, node: &NodePlan, address_mode: bool) -> fmt::Result {
    let id = node.node;
    if let Some(cpus) = &node.cpus {
        // Processors are listed as nodes are.
        let list: NodeSet = cpus.iter().copied().map(NodeId).collect();
        file(out, format_args!("{NODES}/node{id}/cpulist"), list)?;
    }
    if let Some(row) = &node.distance {
        file(out, format_args!("{NODES}/node{id}/distance"), Words(row))?;
    }
    for (class, access) in node.access.iter().enumerate() {
        if let Some(NodeAccess { coordinates: Some(figures), .. }) = access {
            for (name, value) in [
                ("read_bandwidth", figures.read_bandwidth.0),
                ("read_latency", figures.read_latency.0),
                ("write_bandwidth", figures.write_bandwidth.0),
                ("write_latency", figures.write_latency.0),
            ] {
                file(out, format_args!("{NODES}/node{id}/access{class}/initiators/{name}"), value)?;
            }
        }
    }
    node.caches.iter().try_for_each(|cache| side_cache(out, id, cache, address_mode))
}

fn side_cache<W: Write>(out: &mut W, node: NodeId, cache: &SideCache, address_mode: bool) -> fmt::Result {
    let level = cache.level;
    if address_mode {
        let mode = cache.address_mode;
        file(
            out,
            format_args!("{NODES}/node{node}/memory_side_cache/index{level}/address_mode"),
            format_args!("{mode:#x}"),
        )?;
    }
    for (name, value) in [
        ("indexing", u64::from(cache.indexing)),
        ("line_size", u64::from(cache.line_size)),
        ("size", cache.size.0),
        ("write_policy", u64::from(cache.write_policy)),
    ] {
        file(out, format_args!("{NODES}/node{node}/memory_side_cache/index{level}/{name}"), value)?;
    }
    Ok(())
}

fn weights<W: Write>(out: &mut W, shown: &WeightPlan) -> fmt::Result {
    if let Some(auto) = shown.auto {
        file(out, format_args!("{WEIGHTS}/auto"), auto)?;
    }
    shown
        .weights
        .iter()
        .try_for_each(|(node, weight)| file(out, format_args!("{WEIGHTS}/node{node}"), weight))
}

fn memory<W: Write>(out: &mut W, memory: &MemoryPlan, zones: bool) -> fmt::Result {
    let settings = &memory.settings;
    file(out, format_args!("{DEMOTION}"), settings.demotion)?;
    file(out, format_args!("{HOTPLUG}/auto_movable_numa_aware"), flag(settings.numa_aware))?;
    file(out, format_args!("{HOTPLUG}/auto_movable_ratio"), settings.movable_ratio)?;
    file(out, format_args!("{HOTPLUG}/memmap_on_memory"), settings.memmap_on_memory.name())?;
    file(out, format_args!("{HOTPLUG}/online_policy"), settings.zone_policy.name())?;
    file(out, format_args!("{BLOCKS}/auto_online_blocks"), settings.auto_online.name())?;
    file(out, format_args!("{BLOCKS}/block_size_bytes"), format_args!("{:x}", memory.block_size))?;
    for run in &memory.blocks {
        (run.first.0..run.end.0).try_for_each(|id| one_block(out, id, run, zones))?;
    }
    Ok(())
}

fn one_block<W: Write>(out: &mut W, id: u64, run: &BlockPlan, zones: bool) -> fmt::Result {
    file(out, format_args!("{BLOCKS}/memory{id}/phys_index"), format_args!("{id:08x}"))?;
    file(out, format_args!("{BLOCKS}/memory{id}/removable"), 1)?;
    file(out, format_args!("{BLOCKS}/memory{id}/state"), if run.online { "online" } else { "offline" })?;
    match (zones, run.valid_zones.as_slice()) {
        (false, _) => Ok(()),
        (true, []) => file(out, format_args!("{BLOCKS}/memory{id}/valid_zones"), "none"),
        (true, zones) => file(out, format_args!("{BLOCKS}/memory{id}/valid_zones"), Words(zones)),
    }
}

/// CXL as far as its names do not depend on the order in which devices were found: root decoders and regions.
fn windows<W: Write>(out: &mut W, cxl: &CxlPlan) -> fmt::Result {
    cxl.root_decoders.iter().try_for_each(|decoder| root_decoder(out, decoder))?;
    cxl.regions.iter().try_for_each(|one| region(out, one))
}

fn root_decoder<W: Write>(out: &mut W, decoder: &RootDecoderPlan) -> fmt::Result {
    let name = &decoder.name;
    for (capability, bit) in CAPABILITIES {
        let value = u8::from(decoder.restrictions.contains(bit));
        file(out, format_args!("{CXL}/{name}/{capability}"), value)?;
    }
    file(out, format_args!("{CXL}/{name}/interleave_granularity"), decoder.granularity)?;
    file(out, format_args!("{CXL}/{name}/interleave_ways"), decoder.ways)?;
    file(out, format_args!("{CXL}/{name}/locked"), u8::from(decoder.locked))?;
    file(out, format_args!("{CXL}/{name}/qos_class"), decoder.qos_class)?;
    file(out, format_args!("{CXL}/{name}/size"), format_args!("{:#x}", decoder.size))?;
    file(out, format_args!("{CXL}/{name}/start"), format_args!("{:#x}", decoder.start))?;
    file(out, format_args!("{CXL}/{name}/target_list"), Targets(&decoder.targets))
}

fn region<W: Write>(out: &mut W, region: &RegionPlan) -> fmt::Result {
    let name = &region.name;
    file(out, format_args!("{CXL}/{name}/commit"), u8::from(region.committed))?;
    if let Some(granularity) = region.granularity {
        file(out, format_args!("{CXL}/{name}/interleave_granularity"), granularity)?;
    }
    file(out, format_args!("{CXL}/{name}/interleave_ways"), region.ways)?;
    if let Some(mode) = region.mode {
        file(out, format_args!("{CXL}/{name}/mode"), mode.name())?;
    }
    file(out, format_args!("{CXL}/{name}/resource"), format_args!("{:#x}", region.start))?;
    file(out, format_args!("{CXL}/{name}/size"), format_args!("{:#x}", region.size))
}

fn dax<W: Write>(out: &mut W, device: &DaxPlan) -> fmt::Result {
    let name = &device.name;
    file(out, format_args!("{DAX}/{name}/align"), device.alignment)?;
    file(out, format_args!("{DAX}/{name}/memmap_on_memory"), u8::from(device.memmap_on_memory))?;
    match device.numa_node {
        Some(node) => file(out, format_args!("{DAX}/{name}/numa_node"), node)?,
        // The kernel's word for no node.
        None => file(out, format_args!("{DAX}/{name}/numa_node"), -1)?,
    }
    file(out, format_args!("{DAX}/{name}/resource"), format_args!("{:#x}", device.range.start))?;
    file(out, format_args!("{DAX}/{name}/size"), device.range.size())?;
    // This one is not there without a node (`drivers/dax/bus.c: dev_dax_visible`).
    match device.target_node {
        Some(node) => file(out, format_args!("{DAX}/{name}/target_node"), node),
        None => Ok(()),
    }
}

const fn flag(yes: bool) -> &'static str {
    if yes { "Y" } else { "N" }
}

/// Words with a blank between them.
struct Words<'a, T>(&'a [T]);

impl<T: Display> Display for Words<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.0.iter().enumerate() {
            write!(f, "{}{word}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
