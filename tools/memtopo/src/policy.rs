//! A policy as people write it: TOML.

use crate::args::Plan;
use anyhow::{Context, Result, bail, ensure};
use memtopo::linux::quirks::Quirk;
use memtopo::linux::tiers::{AbstractDistance, TierId};
use memtopo::policy::{
    MemoryType, Override, Policy, PolicyFailure, Selector, TierClass, TierName, TierRules, Wish,
};
use memtopo::units::{AcpiUid, MegabytesPerSecond, Nanoseconds, NodeId, ProximityDomain};
use serde::Deserialize;
use std::num::NonZeroU16;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    quirks: Quirks,
    #[serde(default)]
    tiers: Tiers,
    #[serde(default, rename = "override")]
    overrides: Vec<Wishes>,
}

/// `[quirks]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quirks {
    /// Names, or `all`.
    #[serde(default)]
    off: Vec<String>,
}

/// `[tiers]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tiers {
    chunk: Option<NonZeroU16>,
    near_percent: Option<u8>,
    #[serde(default)]
    class: Vec<Class>,
}

/// `[[tiers.class]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: String,
    max_latency_ns: Option<u32>,
    min_bandwidth_mb_s: Option<u32>,
}

/// `[[override]]`: one way to say which nodes, and any number of wishes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    node: Option<u32>,
    domain: Option<u32>,
    initiator: Option<u32>,
    port: Option<u32>,
    dax: Option<usize>,
    memory: Option<String>,
    tier: Option<Tier>,
    distance: Option<i32>,
    demote_from: Option<bool>,
    demote_to: Option<bool>,
    targets: Option<Vec<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tier {
    Number(i32),
    Class(String),
}

/// The policy that the options name; `None` when they name none.
pub(crate) fn read(args: &Plan) -> Result<Option<Policy>> {
    if args.policy.is_none() && args.quirks.is_empty() {
        return Ok(None);
    }
    let mut policy = match &args.policy {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
            parse(&text).with_context(|| name)?
        }
        None => Policy::default(),
    };
    policy.quirks_off.extend(quirks(&args.quirks).context("--quirks")?);
    Ok(Some(policy))
}

fn parse(text: &str) -> Result<Policy> {
    let file: File = toml::from_str(text)?;
    let class = |class: Class| TierClass {
        name: class.name,
        max_latency: class.max_latency_ns.map(Nanoseconds),
        min_bandwidth: class.min_bandwidth_mb_s.map(MegabytesPerSecond),
    };
    let mut overrides = Vec::new();
    for (number, wishes) in (1..).zip(file.overrides) {
        overrides.extend(wishes.read().with_context(|| format!("override {number}"))?);
    }
    Ok(Policy {
        quirks_off: quirks(&file.quirks.off).context("quirks")?,
        tiers: TierRules {
            chunk: file.tiers.chunk,
            classes: file.tiers.class.into_iter().map(class).collect(),
            near_percent: file.tiers.near_percent,
        },
        overrides,
    })
}

/// Quirks by name; `off` and `all` stand for every one.
fn quirks(names: &[String]) -> Result<Vec<Quirk>> {
    let mut quirks = Vec::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        if name == "off" || name == "all" {
            quirks.extend_from_slice(Quirk::ALL);
            continue;
        }
        let known = || Quirk::ALL.iter().map(|quirk| quirk.id()).collect::<Vec<_>>().join(", ");
        quirks.push(
            Quirk::from_id(name).with_context(|| format!("no quirk {name:?}; there are: {}", known()))?,
        );
    }
    Ok(quirks)
}

impl Wishes {
    fn read(self) -> Result<Vec<Override>> {
        let kind = |name: String| {
            let known = || MemoryType::NAMES.map(|(_, name)| name).join(", ");
            MemoryType::from_name(&name)
                .map(Selector::Memory)
                .with_context(|| format!("no memory type {name:?}; there are: {}", known()))
        };
        let named = [
            self.node.map(|node| Selector::Node(NodeId(node))),
            self.domain.map(|domain| Selector::Domain(ProximityDomain(domain))),
            self.initiator.map(|domain| Selector::Initiator(ProximityDomain(domain))),
            self.port.map(|uid| Selector::Port(AcpiUid(uid))),
            self.dax.map(Selector::Dax),
            self.memory.map(kind).transpose()?,
        ];
        let mut named = named.into_iter().flatten();
        let (Some(who), None) = (named.next(), named.next()) else {
            bail!("expected one of node, domain, initiator, port, dax, memory");
        };
        let tier = self.tier.map(|tier| match tier {
            Tier::Number(id) => TierName::Id(TierId(id)),
            Tier::Class(name) => TierName::Class(name),
        });
        let forbidden = |wish: Option<bool>, what: Wish| (wish == Some(false)).then_some(what);
        let wishes: Vec<Override> = [
            tier.map(Wish::Tier),
            self.distance.map(|distance| Wish::Distance(AbstractDistance(distance))),
            forbidden(self.demote_from, Wish::NotFrom),
            forbidden(self.demote_to, Wish::NotTo),
            self.targets.map(|nodes| Wish::Targets(nodes.into_iter().map(NodeId).collect())),
        ]
        .into_iter()
        .flatten()
        .map(|what| Override { who, what })
        .collect();
        ensure!(
            !wishes.is_empty(),
            "expected tier, distance, demote_from = false, demote_to = false or targets"
        );
        Ok(wishes)
    }
}

/// Why there is no layout, in words; `None` when the plan itself says so.
pub(crate) fn failure(failure: &PolicyFailure) -> Option<String> {
    match failure {
        PolicyFailure::NoClass(name) => {
            Some(format!("an override names the tier {name:?}, which is no class"))
        }
        PolicyFailure::Boot(_) | PolicyFailure::Unknown(_) => None,
    }
}
