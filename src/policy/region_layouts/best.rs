//! The best layout: most bandwidth, or least latency.

use super::arrangement::{Choice, Worth, in_turn};
use super::{Candidate, Family, Layouts, UNIT, endpoint};
use crate::linux::coordinates::Coordinates;
use crate::linux::cxl_performance::{Figures, Lack};
use crate::linux::region_performance::{RegionFigures, RegionTarget};
use crate::linux::state::State;
use crate::region::{Granularity, Ways};
use crate::topology::cxl::{DpaRange, PortKind};
use crate::units::{AcpiUid, ByteCount, DeviceAddr};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// What a layout is to be best at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Most bytes a second for reads by processors.
    Bandwidth,
    /// Least time for a read by a processor.
    Latency,
}

/// A layout that is the best of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Best {
    /// How many devices.
    pub ways: Ways,
    /// In pieces of how many bytes.
    pub granularity: Granularity,
    /// The devices by position.
    pub order: Vec<usize>,
    /// The size of the region.
    pub size: ByteCount,
    /// What Linux would say of it; `None` where it has no figures, or the inputs do not tell them.
    pub figures: Option<RegionFigures>,
    /// What is in the way of figures.
    pub lack: Option<String>,
}

impl Best {
    /// Its figures for processors.
    #[must_use]
    pub fn of_processors(&self) -> Option<Coordinates> {
        self.figures.as_ref().map(|figures| {
            let [_, cpu] = figures.classes;
            cpu
        })
    }
}

/// What each device brings and what each port lets through, for reads by processors.
pub(super) struct Knowledge {
    bandwidth: Vec<u64>,
    latency: Vec<u64>,
    limits: BTreeMap<String, u64>,
}

impl Layouts {
    /// The best layout of each number of ways, by ways. Of equal ones the one with the finest granularity, and with
    /// devices in the order of ports.
    #[must_use]
    pub fn best_by_ways(&self, state: &State<'_>, goal: Goal) -> Vec<Best> {
        let figures = state.figures();
        // Without the figures of all of them, any choice is as good as another.
        let knowledge = figures.as_ref().and_then(|figures| self.knowledge(figures).ok());
        let mut found: Vec<Best> = Vec::new();
        for family in &self.families {
            if found.iter().any(|best| best.ways == family.ways) {
                continue;
            }
            let Some(order) = self.best_order(family, knowledge.as_ref(), goal) else { continue };
            let Some(size) = self.size(&order) else { continue };
            found.push(self.finish(figures.as_ref(), (family.ways, family.granularity), order, size));
        }
        found
    }

    /// A layout with its figures.
    pub(super) fn finish(
        &self,
        figures: Option<&Figures<'_, '_>>,
        (ways, granularity): (Ways, Granularity),
        order: Vec<usize>,
        size: ByteCount,
    ) -> Best {
        let (figures, lack) = match figures.map(|figures| figures.region(&self.targets(&order, size))) {
            Some(Ok(figures)) => (Some(figures), None),
            Some(Err(lack)) => (None, Some(told(&lack))),
            None => (None, None),
        };
        Best { ways, granularity, order, size, figures, lack }
    }

    /// The best layout of all. By bandwidth, of equal ones the one of least latency, then the largest, then that of
    /// fewest devices; by latency, of equal ones that of most bandwidth, and so on.
    #[must_use]
    pub fn best(&self, state: &State<'_>, goal: Goal) -> Option<Best> {
        let rank = |best: &Best| {
            let figures = best.of_processors().unwrap_or_default();
            let slowness = u64::MAX.saturating_sub(u64::from(figures.read_bandwidth.0));
            let latency = match u64::from(figures.read_latency.0) {
                0 => u64::MAX,
                known => known,
            };
            let (first, second) = match goal {
                Goal::Bandwidth => (slowness, latency),
                Goal::Latency => (latency, slowness),
            };
            (first, second, core::cmp::Reverse(best.size), best.ways.count())
        };
        self.best_by_ways(state, goal).into_iter().min_by_key(rank)
    }

    /// The devices of a layout as the figures of a region ask for them.
    fn targets(&self, order: &[usize], size: ByteCount) -> Vec<RegionTarget> {
        let ways = u64::try_from(order.len()).unwrap_or(u64::MAX);
        let share = ByteCount(size.0.checked_div(ways).unwrap_or_default());
        let devices = order.iter().filter_map(|device| self.devices.get(*device));
        devices.map(|device| self.target(device, share)).collect()
    }

    fn target(&self, device: &Candidate, share: ByteCount) -> RegionTarget {
        let dpa = DpaRange { start: DeviceAddr(device.base), size: share };
        RegionTarget { endpoint: device.endpoint.clone(), dpa, mode: self.mode }
    }

    /// What is known of devices and ports (`cxl_region_shared_upstream_bandwidth_update`).
    pub(super) fn knowledge(&self, figures: &Figures<'_, '_>) -> Result<Knowledge, Lack> {
        let (mut bandwidth, mut latency) = (Vec::new(), Vec::new());
        let mut limits = BTreeMap::new();
        let lower = |value: u64, limit: u32| if limit == 0 { value } else { value.min(u64::from(limit)) };
        for device in &self.devices {
            let Some(port) = endpoint(figures, device) else { continue };
            let first = self.target(device, ByteCount(UNIT));
            let share = figures.share(port, first.mode, first.dpa)?.map_err(Lack::Kernel)?;
            let [_, cpu] = share.classes;
            latency.push(u64::from(cpu.read_latency.0));
            let mut own = u64::from(share.range.coordinates.read_bandwidth.0);
            let function = figures.tree.memdev_of(port).and_then(|memdev| memdev.host.as_deref());
            own = lower(own, figures.raw_link(function)?.0);
            let mut below = port;
            let mut is_device = true;
            while let Some((above, dport)) = figures.above(below) {
                let bridge = figures.above(above).is_some_and(|(above, _)| above.kind == PortKind::Root);
                // The way through a switch counts for what is below it.
                let through = if above.kind == PortKind::Switch && !bridge {
                    Some(figures.switch(above, dport)?.read_bandwidth.0)
                } else {
                    None
                };
                if is_device {
                    own = lower(own, through.unwrap_or_default());
                } else if let (Some(limit), Some(through)) = (limits.get_mut(&below.name), through) {
                    *limit = lower(*limit, through);
                }
                if above.kind == PortKind::Root {
                    break;
                }
                if !limits.contains_key(&above.name) {
                    let limit = if bridge {
                        let uid = figures.above(above).map_or(0, |(_, uid)| uid);
                        let [_, port] = figures.bridge(AcpiUid(uid))?;
                        port.read_bandwidth.0
                    } else {
                        figures.raw_link(above.host.as_deref())?.0
                    };
                    limits.insert(above.name.clone(), lower(u64::MAX, limit));
                }
                (below, is_device) = (above, false);
            }
            bandwidth.push(own);
        }
        Ok(Knowledge { bandwidth, latency, limits })
    }

    /// The best order of one family.
    pub(super) fn best_order(
        &self,
        family: &Family,
        knowledge: Option<&Knowledge>,
        goal: Goal,
    ) -> Option<Vec<usize>> {
        let able = |device: usize| self.able(device, family.ways, family.granularity);
        let Some(knowledge) = knowledge else {
            return self.choose(family, &able, &|_| 0, &|_| u64::MAX);
        };
        let bandwidth = |device: usize| knowledge.bandwidth.get(device).copied().unwrap_or_default();
        let limit = |port: &str| knowledge.limits.get(port).copied().unwrap_or(u64::MAX);
        if goal == Goal::Bandwidth {
            return self.choose(family, &able, &bandwidth, &limit);
        }
        // The slowest device counts: of all devices up to some latency, the least that gives a layout.
        let latency = |device: usize| knowledge.latency.get(device).copied().unwrap_or(u64::MAX);
        let mut thresholds = knowledge.latency.clone();
        thresholds.sort_unstable();
        thresholds.dedup();
        thresholds.into_iter().find_map(|most| {
            let near = |device: usize| able(device) && latency(device) <= most;
            self.choose(family, &near, &bandwidth, &limit)
        })
    }

    fn choose(
        &self,
        family: &Family,
        allowed: &dyn Fn(usize) -> bool,
        device: &dyn Fn(usize) -> u64,
        limit: &dyn Fn(&str) -> u64,
    ) -> Option<Vec<usize>> {
        let (below, top) = self.below_root(family.ways, family.granularity);
        let worth = Worth { allowed, device, limit };
        let choices: Option<Vec<Choice>> =
            self.roots.iter().map(|root| root.as_ref()?.best(below, top, worth)).collect();
        let choices = choices?;
        let lists: Vec<&[usize]> = choices.iter().map(|choice| choice.devices.as_slice()).collect();
        Some(in_turn(&lists))
    }
}

/// What is missing for figures.
fn told(lack: &Lack) -> String {
    match lack {
        Lack::Kernel(reason) => alloc::format!("{reason}"),
        Lack::Untold(missing) => alloc::format!("needs {missing}"),
    }
}
