//! A plan as one JSON object: keys, shapes and units as a captured boot has them, plus `unknown` and `reasons`.

use super::json::JsonWriter;
use super::placement::placement_json;
use super::plan_cxl_json;
use super::policy::policy_json;
use super::steps_json::one_step;
use crate::linux::access::{NodeAccess, SideCache};
use crate::linux::demotion::Demotion;
use crate::linux::events::Step;
use crate::linux::memory_map::{MapRange, type_name};
use crate::linux::node_set::NodeSet;
use crate::linux::nodes::Description;
use crate::linux::plan::{BlockPlan, Masks, NodePlan, Outcome, Plan};
use crate::linux::reason::{Reason, Subject};
use crate::policy::PolicyPlan;
use crate::units::NodeId;
use alloc::collections::BTreeMap;
use core::fmt::{self, Write};

/// The format's name and version.
pub const SCHEMA: &str = "memtopo.plan/1";

/// Writes the plan.
pub fn plan_json<W: Write>(out: W, plan: &Plan) -> fmt::Result {
    whole_json(out, plan, None, None)
}

/// Writes the plan, what events make of it, and what its owner would make of it.
pub fn whole_json<W: Write>(
    out: W,
    plan: &Plan,
    steps: Option<&[Step<'_>]>,
    owner: Option<&PolicyPlan>,
) -> fmt::Result {
    let mut json = JsonWriter::new(out);
    json.begin_object()?;
    json.key("schema")?;
    json.string(SCHEMA)?;
    members(&mut json, plan)?;
    if let Some(boot) = &plan.boot {
        placement_json(&mut json, boot)?;
    }
    if let Some(steps) = steps {
        json.key("steps")?;
        json.begin_array()?;
        for step in steps {
            one_step(&mut json, step)?;
        }
        json.end_array()?;
    }
    if let Some(owner) = owner {
        json.key("policy")?;
        policy_json(&mut json, owner)?;
    }
    json.end_object()?;
    json.into_inner().write_char('\n')
}

/// Writes the members of the plan into an object that is already open.
pub fn members<W: Write>(json: &mut JsonWriter<W>, plan: &Plan) -> fmt::Result {
    json.key("kernel")?;
    json.string(plan.version.name())?;
    match &plan.outcome {
        Outcome::Ok => {
            json.key("outcome")?;
            json.string("ok")?;
        }
        Outcome::Panic(reason) => {
            json.key("outcome")?;
            json.string("panic")?;
            json.key("reason")?;
            json.string(reason)?;
        }
        Outcome::Undetermined => {}
    }
    if let Some(all) = &plan.masks {
        json.key("nodes")?;
        masks(json, all)?;
        json.key("node")?;
        json.begin_object()?;
        for node in &plan.nodes {
            one_node(json, node, plan)?;
        }
        json.end_object()?;
    }
    if let Some(tiers) = &plan.tiers {
        json.key("memory_tiers")?;
        json.begin_object()?;
        for (tier, nodes) in tiers {
            json.key(format_args!("memory_tier{}", tier.printed()))?;
            set(json, nodes)?;
        }
        json.end_object()?;
    }
    demotion(json, plan)?;
    weights(json, plan)?;
    memory(json, plan)?;
    plan_cxl_json::members(json, plan.cxl.as_ref(), plan.devices.as_deref())?;
    if plan.outcome != Outcome::Undetermined {
        accepted(json, plan)?;
        json.key("numa_faked")?;
        json.bool(matches!(plan.description, Some(Description::None | Description::Off)))?;
        json.key("no_numa_config")?;
        json.bool(plan.description == Some(Description::None))?;
    }
    memory_map(json, plan)?;
    json.key("unknown")?;
    json.begin_array()?;
    for unknown in &plan.unknown {
        json.begin_object_inline()?;
        json.key("keys")?;
        json.string(unknown.section.name())?;
        json.key("missing")?;
        json.string(&unknown.missing)?;
        json.end_object()?;
    }
    json.end_array()?;
    json.key("reasons")?;
    json.begin_array()?;
    for (subject, reason) in &plan.reasons {
        one_reason(json, *subject, reason)?;
    }
    json.end_array()
}

pub(super) fn set<W: Write>(json: &mut JsonWriter<W>, nodes: &NodeSet) -> fmt::Result {
    numbers(json, nodes.iter())
}

fn numbers<W: Write>(json: &mut JsonWriter<W>, values: impl Iterator<Item: fmt::Display>) -> fmt::Result {
    json.begin_array_inline()?;
    for value in values {
        json.number(value)?;
    }
    json.end_array()
}

fn masks<W: Write>(json: &mut JsonWriter<W>, masks: &Masks) -> fmt::Result {
    let all = [
        ("possible", Some(&masks.possible)),
        ("online", Some(&masks.online)),
        ("has_cpu", masks.has_cpu.as_ref()),
        ("has_memory", Some(&masks.has_memory)),
        ("has_normal_memory", masks.has_normal_memory.as_ref()),
        ("has_generic_initiator", Some(&masks.has_generic_initiator)),
    ];
    json.begin_object()?;
    for (name, nodes) in all {
        if let Some(nodes) = nodes {
            json.key(name)?;
            set(json, nodes)?;
        }
    }
    json.end_object()
}

fn one_node<W: Write>(json: &mut JsonWriter<W>, node: &NodePlan, plan: &Plan) -> fmt::Result {
    json.key(format_args!("{}", node.node))?;
    json.begin_object()?;
    if let Some(domain) = node.domain {
        json.key("proximity_domain")?;
        json.number(domain)?;
    }
    if let Some(cpus) = &node.cpus {
        json.key("cpus")?;
        numbers(json, cpus.iter())?;
    }
    if let Some(distance) = &node.distance {
        json.key("distance")?;
        numbers(json, distance.iter())?;
    }
    for (access, name) in node.access.iter().zip(["access0", "access1"]) {
        if let Some(access) = access {
            json.key(name)?;
            one_class(json, access)?;
        }
    }
    if let Some(memory) = &plan.memory {
        json.key("memory_blocks")?;
        let own = memory.blocks.iter().filter(|run| run.nodes.contains(node.node));
        numbers(json, own.flat_map(|run| run.first.0..run.end.0))?;
    }
    if !node.caches.is_empty() {
        json.key("memory_side_cache")?;
        json.begin_object()?;
        for cache in &node.caches {
            side_cache(json, cache, plan.cache_address_mode)?;
        }
        json.end_object()?;
    }
    json.end_object()
}

fn one_class<W: Write>(json: &mut JsonWriter<W>, access: &NodeAccess) -> fmt::Result {
    json.begin_object_inline()?;
    json.key("initiators")?;
    set(json, &access.initiators)?;
    json.key("targets")?;
    set(json, &access.targets)?;
    if let Some(figures) = &access.coordinates {
        for (name, value) in [
            ("read_latency", figures.read_latency.0),
            ("write_latency", figures.write_latency.0),
            ("read_bandwidth", figures.read_bandwidth.0),
            ("write_bandwidth", figures.write_bandwidth.0),
        ] {
            json.key(name)?;
            json.number(value)?;
        }
    }
    json.end_object()
}

fn side_cache<W: Write>(json: &mut JsonWriter<W>, cache: &SideCache, address_mode: bool) -> fmt::Result {
    json.key(format_args!("{}", cache.level))?;
    json.begin_object_inline()?;
    json.key("size")?;
    json.number(cache.size)?;
    json.key("line_size")?;
    json.number(cache.line_size)?;
    json.key("indexing")?;
    json.number(cache.indexing)?;
    json.key("write_policy")?;
    json.number(cache.write_policy)?;
    if address_mode {
        json.key("address_mode")?;
        json.number(cache.address_mode)?;
    }
    json.end_object()
}

fn demotion<W: Write>(json: &mut JsonWriter<W>, plan: &Plan) -> fmt::Result {
    let dead = matches!(plan.outcome, Outcome::Panic(_));
    let nothing = BTreeMap::new();
    // A kernel that dies has announced nothing.
    let Some(demotion) = plan.demotion.as_ref().or(dead.then_some(&nothing)) else { return Ok(()) };
    json.key("demotion_targets")?;
    targets(json, demotion.iter().filter(|_| plan.demotion_logged))
}

pub(super) fn targets<'p, W: Write>(
    json: &mut JsonWriter<W>,
    targets: impl Iterator<Item = (&'p NodeId, &'p Demotion)>,
) -> fmt::Result {
    json.begin_object()?;
    for (node, demotion) in targets {
        json.key(format_args!("{node}"))?;
        targets_of_one(json, demotion)?;
    }
    json.end_object()
}

/// The targets of one node; `null` where it has none.
pub(super) fn targets_of_one<W: Write>(json: &mut JsonWriter<W>, demotion: &Demotion) -> fmt::Result {
    if demotion.preferred.is_empty() {
        return json.null();
    }
    json.begin_object_inline()?;
    json.key("preferred")?;
    set(json, &demotion.preferred)?;
    json.key("fallback")?;
    set(json, &demotion.fallback)?;
    json.end_object()
}

fn weights<W: Write>(json: &mut JsonWriter<W>, plan: &Plan) -> fmt::Result {
    let Some(weights) = plan.weights.as_ref() else { return Ok(()) };
    json.key("weighted_interleave")?;
    json.begin_object()?;
    if let Some(auto) = weights.auto {
        json.key("auto")?;
        json.bool(auto)?;
    }
    for (node, weight) in &weights.weights {
        json.key(format_args!("node{node}"))?;
        json.number(weight)?;
    }
    json.end_object()
}

fn memory<W: Write>(json: &mut JsonWriter<W>, plan: &Plan) -> fmt::Result {
    let Some(memory) = &plan.memory else { return Ok(()) };
    let settings = &memory.settings;
    json.key("demotion_enabled")?;
    json.bool(settings.demotion)?;
    json.key("memory")?;
    json.begin_object()?;
    json.key("block_size_bytes")?;
    json.number(memory.block_size)?;
    json.key("auto_online_blocks")?;
    json.string(settings.auto_online.name())?;
    json.key("memory_hotplug_params")?;
    json.begin_object_inline()?;
    json.key("auto_movable_numa_aware")?;
    json.string(if settings.numa_aware { "Y" } else { "N" })?;
    json.key("auto_movable_ratio")?;
    json.number(settings.movable_ratio)?;
    json.key("memmap_on_memory")?;
    json.string(settings.memmap_on_memory.name())?;
    json.key("online_policy")?;
    json.string(settings.zone_policy.name())?;
    json.end_object()?;
    json.key("block_count")?;
    let counts = memory.blocks.iter().map(|run| run.end.0.saturating_sub(run.first.0));
    json.number(counts.fold(0, u64::saturating_add))?;
    json.key("blocks")?;
    json.begin_array()?;
    for run in &memory.blocks {
        for id in run.first.0..run.end.0 {
            one_block(json, id, run, plan.zones.is_some())?;
        }
    }
    json.end_array()?;
    json.end_object()?;
    let Some(zones) = &plan.zones else { return Ok(()) };
    json.key("zones")?;
    json.begin_array()?;
    for zone in zones {
        json.begin_object_inline()?;
        json.key("node")?;
        json.number(zone.node)?;
        json.key("zone")?;
        json.string(zone.zone)?;
        json.key("spanned")?;
        json.number(zone.pages.span.count())?;
        json.key("present")?;
        json.number(zone.pages.present)?;
        // The kernel prints no more of a zone without pages.
        if zone.pages.present > 0 {
            json.key("start_pfn")?;
            json.number(zone.pages.span.start)?;
        }
        json.end_object()?;
    }
    json.end_array()
}

fn one_block<W: Write>(json: &mut JsonWriter<W>, id: u64, run: &BlockPlan, zones: bool) -> fmt::Result {
    json.begin_object_inline()?;
    json.key("id")?;
    json.number(id)?;
    json.key("nodes")?;
    set(json, &run.nodes)?;
    json.key("state")?;
    json.string(if run.online { "online" } else { "offline" })?;
    json.key("removable")?;
    json.number(1)?;
    if zones {
        json.key("valid_zones")?;
        json.begin_array_inline()?;
        for zone in &run.valid_zones {
            json.string(zone)?;
        }
        if run.valid_zones.is_empty() {
            json.string("none")?;
        }
        json.end_array()?;
    }
    json.end_object()
}

fn accepted<W: Write>(json: &mut JsonWriter<W>, plan: &Plan) -> fmt::Result {
    json.key("srat_memory_accepted")?;
    json.begin_array()?;
    for entry in &plan.accepted {
        json.begin_object_inline()?;
        json.key("node")?;
        json.number(entry.node)?;
        json.key("pxm")?;
        json.number(entry.domain)?;
        json.key("start")?;
        json.string(format_args!("{:#010x}", entry.start))?;
        json.key("last")?;
        json.string(format_args!("{:#010x}", entry.last))?;
        json.key("hotplug")?;
        json.bool(entry.hot_pluggable)?;
        json.key("non_volatile")?;
        json.bool(entry.non_volatile)?;
        json.end_object()?;
    }
    json.end_array()
}

fn memory_map<W: Write>(json: &mut JsonWriter<W>, plan: &Plan) -> fmt::Result {
    json.key("e820")?;
    json.begin_array()?;
    map_rows(json, plan, "user", plan.user_map.as_deref().unwrap_or_default())?;
    map_rows(json, plan, "modified", &plan.memory_map)?;
    json.end_array()
}

fn map_rows<W: Write>(json: &mut JsonWriter<W>, plan: &Plan, name: &str, map: &[MapRange]) -> fmt::Result {
    for entry in map {
        json.begin_array_inline()?;
        json.string(name)?;
        json.string(format_args!("{:#018x}", entry.range.start))?;
        json.string(format_args!("{:#018x}", entry.range.end.0.wrapping_sub(1)))?;
        match type_name(entry.kind, plan.words) {
            Some(text) => json.string(text)?,
            None => json.string(format_args!("type {}", entry.kind.0))?,
        }
        json.end_array()?;
    }
    Ok(())
}

fn one_reason<W: Write>(json: &mut JsonWriter<W>, subject: Subject, reason: &Reason) -> fmt::Result {
    json.begin_object_inline()?;
    json.key("of")?;
    json.string(subject)?;
    rule(json, reason)?;
    json.end_object()
}

/// The members of a reason, into an object that is already open.
pub(super) fn rule<W: Write>(json: &mut JsonWriter<W>, reason: &Reason) -> fmt::Result {
    json.key("rule")?;
    json.string(reason.rule.id)?;
    json.key("sentence")?;
    json.string(reason.rule.sentence)?;
    json.key("function")?;
    json.string(reason.rule.function)?;
    if let Some(detail) = &reason.detail {
        json.key("detail")?;
        json.string(detail)?;
    }
    json.key("facts")?;
    json.begin_array()?;
    for fact in &reason.facts {
        json.begin_object()?;
        json.key("name")?;
        json.string(fact.name)?;
        json.key("value")?;
        json.number(fact.value)?;
        if let Some(source) = fact.source {
            json.key("table")?;
            json.string(source.table)?;
            json.key("offset")?;
            json.number(source.offset)?;
        }
        json.end_object()?;
    }
    json.end_array()
}
