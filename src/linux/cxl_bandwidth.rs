//! The bandwidth of a region whose devices share links (`drivers/cxl/core/cdat.c:
//! cxl_region_shared_upstream_bandwidth_update`).

use super::coordinates::Coordinates;
use super::cxl_performance::{Classes, Figures, Lack, combine};
use crate::topology::cxl::{Port, PortKind};
use crate::units::{AcpiUid, MegabytesPerSecond};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A device of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'s> {
    /// Its endpoint.
    pub(crate) endpoint: &'s Port,
    /// What its CDAT says.
    pub(crate) device: Coordinates,
}

/// The bandwidth of a region and how it came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Bandwidths of both classes; latencies are 0.
    pub(crate) classes: Classes,
    /// The calculation for reads by processors, level by level.
    pub(crate) text: String,
}

/// Why the kernel leaves the bandwidth as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It gives up.
    Abandoned(String),
    /// It cannot be told.
    Untold(String),
}

impl From<Lack> for Stop {
    fn from(lack: Lack) -> Self {
        match lack {
            Lack::Kernel(reason) => Self::Abandoned(reason.detail.unwrap_or_default()),
            Lack::Untold(missing) => Self::Untold(missing),
        }
    }
}

/// What comes up through one device.
struct Context<'s> {
    /// The port that it belongs to.
    port: &'s Port,
    classes: Classes,
}

type Contexts<'s> = BTreeMap<String, Context<'s>>;

/// The bandwidth of a region over these devices.
pub(crate) fn shared<'s>(figures: &Figures<'s, '_>, members: &[Member<'s>]) -> Result<Shared, Stop> {
    let mut text = Vec::new();
    let (mut contexts, direct) = endpoints(figures, members)?;
    if direct != 0 && direct != members.len() {
        return Err(Stop::Abandoned("some devices are behind switches and some are not".to_owned()));
    }
    describe("devices", &contexts, &mut text);
    if direct == 0 {
        let mut rounds = 0_usize;
        loop {
            let (above, at_top) = switches(figures, &contexts)?;
            contexts = above;
            describe("switches", &contexts, &mut text);
            rounds = rounds.saturating_add(1);
            if at_top {
                break;
            }
            if rounds > figures.tree.ports.len() {
                return Err(Stop::Untold("the ports above the devices".to_owned()));
            }
        }
    }
    let mut bridges: Contexts<'s> = BTreeMap::new();
    for context in contexts.values() {
        add(&mut bridges, context.port.name.clone(), context.port, &context.classes);
    }
    let mut total = [Coordinates::default(); 2];
    for bridge in bridges.values() {
        let Some((_, uid)) = figures.above(bridge.port) else {
            return Err(Stop::Untold("the root above the host bridges".to_owned()));
        };
        let port = figures.bridge(AcpiUid(uid))?;
        let limited = least(&bridge.classes, &port);
        let [_, sum] = &bridge.classes;
        let [_, of_port] = &port;
        let [_, result] = &limited;
        text.push(format!(
            "host bridge {uid} least of {} and {} = {}",
            sum.read_bandwidth, of_port.read_bandwidth, result.read_bandwidth
        ));
        total = sum_of(&total, &limited);
    }
    let [_, result] = &total;
    text.push(format!("all {} MB/s", result.read_bandwidth));
    Ok(Shared { classes: total, text: text.join("; ") })
}

fn describe(what: &str, contexts: &Contexts<'_>, text: &mut Vec<String>) {
    let each = contexts.iter().map(|(name, context)| {
        let [_, cpu] = &context.classes;
        format!("{name} {}", cpu.read_bandwidth)
    });
    text.push(format!("{what} below {}", each.collect::<Vec<_>>().join(", ")));
}

/// Devices, by root port or by the switch above; how many are directly below a root port.
fn endpoints<'s>(figures: &Figures<'s, '_>, members: &[Member<'s>]) -> Result<(Contexts<'s>, usize), Stop> {
    let (mut contexts, mut direct) = (BTreeMap::new(), 0_usize);
    for member in members {
        let Some((port, dport)) = figures.above(member.endpoint) else {
            return Err(Stop::Untold(format!("the port above {}", member.endpoint.name)));
        };
        let at_top = is_bridge(figures, port);
        let function = figures.tree.memdev_of(member.endpoint).and_then(|memdev| memdev.host.as_deref());
        let link = of_link(figures.raw_link(function)?);
        // A device whose bandwidth is not known adds none, whatever its link carries (seen on 7.2.12).
        let own = |link: &Coordinates| combine(Coordinates::default(), link, &member.device);
        let mut own = link.map(|class| bandwidths(&own(&class)));
        let key = if at_top {
            direct = direct.saturating_add(1);
            member.endpoint.parent_dport.clone()
        } else {
            own = least(&own, &[figures.switch(port, dport)?; 2]);
            port.host.clone()
        };
        add(&mut contexts, key.unwrap_or_default(), port, &own);
    }
    Ok((contexts, direct))
}

/// One level of switches: what comes up through the upstream port of each. Whether root ports are next.
fn switches<'s>(figures: &Figures<'s, '_>, below: &Contexts<'s>) -> Result<(Contexts<'s>, bool), Stop> {
    let (mut contexts, mut at_top) = (BTreeMap::new(), 0_usize);
    for (function, context) in below {
        let Some((port, dport)) = figures.above(context.port) else {
            return Err(Stop::Untold(format!("the port above {}", context.port.name)));
        };
        let top = is_bridge(figures, port);
        let mut own = least(&of_link(figures.raw_link(Some(function))?), &context.classes);
        let key = if top {
            at_top = at_top.saturating_add(1);
            context.port.parent_dport.clone()
        } else {
            own = least(&own, &[figures.switch(port, dport)?; 2]);
            port.host.clone()
        };
        add(&mut contexts, key.unwrap_or_default(), port, &own);
    }
    if at_top != 0 && at_top != below.len() {
        return Err(Stop::Abandoned("devices are behind different numbers of switches".to_owned()));
    }
    Ok((contexts, at_top != 0))
}

/// Whether a port is directly below the root.
fn is_bridge(figures: &Figures<'_, '_>, port: &Port) -> bool {
    figures.above(port).is_some_and(|(above, _)| above.kind == PortKind::Root)
}

/// A link has a bandwidth, the same in both directions.
fn of_link(bandwidth: MegabytesPerSecond) -> Classes {
    let one = Coordinates { read_bandwidth: bandwidth, write_bandwidth: bandwidth, ..Coordinates::default() };
    [one; 2]
}

fn add<'s>(contexts: &mut Contexts<'s>, key: String, port: &'s Port, more: &Classes) {
    let known = contexts.entry(key).or_insert(Context { port, classes: [Coordinates::default(); 2] });
    known.classes = sum_of(&known.classes, more);
}

/// The smaller bandwidths; where either is 0, those of `one`.
fn least(one: &Classes, other: &Classes) -> Classes {
    let ([local, cpu], [other_local, other_cpu]) = (one, other);
    let of = |one: &Coordinates, other: &Coordinates| bandwidths(&combine(*one, one, other));
    [of(local, other_local), of(cpu, other_cpu)]
}

/// The same without latencies.
fn bandwidths(all: &Coordinates) -> Coordinates {
    let Coordinates { read_bandwidth, write_bandwidth, .. } = *all;
    Coordinates { read_bandwidth, write_bandwidth, ..Coordinates::default() }
}

/// Bandwidths added up.
fn sum_of(one: &Classes, other: &Classes) -> Classes {
    let ([local, cpu], [other_local, other_cpu]) = (one, other);
    let sum = |one: &Coordinates, other: &Coordinates| {
        let add = |a: MegabytesPerSecond, b: MegabytesPerSecond| MegabytesPerSecond(a.0.wrapping_add(b.0));
        Coordinates {
            read_bandwidth: add(one.read_bandwidth, other.read_bandwidth),
            write_bandwidth: add(one.write_bandwidth, other.write_bandwidth),
            ..*one
        }
    };
    [sum(local, other_local), sum(cpu, other_cpu)]
}
