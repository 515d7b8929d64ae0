//! How fast a CXL region is, and what its memory is worth to its node: access classes, abstract distance
//! (`drivers/cxl/core/region.c`).

use super::coordinates::Coordinates;
use super::cxl_bandwidth::{self, Member, Stop};
use super::cxl_performance::{Classes, Figures, Lack};
use super::quirks::Quirk;
use super::reason::{Reason, Section, Subject};
use super::rules;
use super::state::{State, hmat};
use super::tiers::{AbstractDistance, abstract_distance};
use crate::topology::cxl::{DpaRange, Mode, Region, numbers};
use crate::units::{MegabytesPerSecond, NodeId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// One endpoint of a region: what its figures are asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionTarget {
    /// Its endpoint: `endpoint3`.
    pub endpoint: String,
    /// The memory of the device.
    pub dpa: DpaRange,
    /// What kind of memory that is.
    pub mode: Mode,
}

/// The figures of a region, for any initiator and for processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionFigures {
    /// What the kernel has.
    pub classes: Classes,
    /// How they came to be.
    pub reasons: Vec<Reason>,
}

impl Figures<'_, '_> {
    /// The figures of a region with all of its endpoints (`cxl_region_perf_data_calculate`, then the bandwidth of
    /// shared links).
    ///
    /// # Errors
    /// Where the kernel has none, or the inputs do not tell.
    pub fn region(&self, targets: &[RegionTarget]) -> Result<RegionFigures, Lack> {
        let mut classes = Classes::default();
        let (mut reasons, mut members, mut without) = (Vec::new(), Vec::new(), None);
        for target in targets {
            let Some(endpoint) = self.tree.port(&target.endpoint) else {
                return Err(Lack::Untold(format!("the port {}", target.endpoint)));
            };
            match self.share(endpoint, target.mode, target.dpa)? {
                Ok(share) => {
                    classes = accumulate(classes, &share.classes);
                    reasons.push(share.reason.clone());
                    members.push(Member { endpoint, device: share.range.coordinates });
                }
                Err(reason) => without = without.or(Some(reason)),
            }
        }
        match without {
            Some(reason) if members.is_empty() => return Err(Lack::Kernel(reason)),
            Some(reason) => reasons.push(reason),
            None => match cxl_bandwidth::shared(self, &members) {
                Ok(shared) => {
                    for (class, shared) in classes.iter_mut().zip(&shared.classes) {
                        class.read_bandwidth = shared.read_bandwidth;
                        class.write_bandwidth = shared.write_bandwidth;
                    }
                    reasons.push(Reason::new(rules::REGION_BANDWIDTH).because(shared.text));
                }
                Err(Stop::Abandoned(why)) => {
                    reasons.push(Reason::new(rules::REGION_BANDWIDTH_KEPT).because(why));
                }
                Err(Stop::Untold(missing)) => return Err(Lack::Untold(missing)),
            },
        }
        Ok(RegionFigures { classes, reasons })
    }
}

/// The largest latencies and the sums of bandwidths.
fn accumulate(total: Classes, more: &Classes) -> Classes {
    let ([local, cpu], [more_local, more_cpu]) = (total, more);
    let add = |a: MegabytesPerSecond, b: MegabytesPerSecond| MegabytesPerSecond(a.0.wrapping_add(b.0));
    let one = |total: Coordinates, more: &Coordinates| Coordinates {
        read_latency: total.read_latency.max(more.read_latency),
        write_latency: total.write_latency.max(more.write_latency),
        read_bandwidth: add(total.read_bandwidth, more.read_bandwidth),
        write_bandwidth: add(total.write_bandwidth, more.write_bandwidth),
    };
    [one(local, more_local), one(cpu, more_cpu)]
}

/// What a node's memory is worth by the regions on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionDistance {
    /// The distance that the kernel gives.
    pub kernel: AbstractDistance,
    /// The one that it would give if it took latencies of links for what they are.
    pub physical: Option<AbstractDistance>,
    /// Why: the figures of the devices, their sum, the distance.
    pub reasons: Vec<Reason>,
}

impl State<'_> {
    /// What figures of devices and regions are made from; `None` before the CXL drivers are there.
    pub(crate) fn figures(&self) -> Option<Figures<'_, '_>> {
        let cxl = self.cxl.as_ref()?;
        Some(Figures {
            topology: self.topology,
            tree: &cxl.tree,
            platform: &self.kernel.platform.cxl,
            access: &self.access,
            cpus_told: !self.notes.lacks(Section::Cpus),
            roots: &cxl.root.decoders,
            restricted: &cxl.restricted,
            quirks: self.kernel.switches.quirks,
        })
    }

    /// The figures of a region of the hierarchy that has all of its endpoints.
    ///
    /// # Errors
    /// Where the kernel has none, or the inputs do not tell.
    pub fn region_figures(&self, region: &str) -> Result<RegionFigures, Lack> {
        self.region_figures_of(region, |figures| figures)
    }

    /// The same of a kernel without one of its quirks.
    pub(crate) fn region_figures_without(&self, region: &str, quirk: Quirk) -> Result<RegionFigures, Lack> {
        self.region_figures_of(region, |figures| figures.without(quirk))
    }

    fn region_figures_of<'s>(
        &'s self,
        region: &str,
        change: impl Fn(Figures<'s, 's>) -> Figures<'s, 's>,
    ) -> Result<RegionFigures, Lack> {
        let untold = || Lack::Untold(format!("the endpoints of {region}"));
        let (figures, cxl) = self.figures().zip(self.cxl.as_ref()).ok_or_else(untold)?;
        let found = cxl.tree.regions.iter().find(|known| known.name == region).ok_or_else(untold)?;
        let targets: Option<Vec<RegionTarget>> =
            found.targets.iter().map(|target| self.target_of(target.as_deref()?, found.mode)).collect();
        change(figures).region(&targets.ok_or_else(untold)?)
    }

    fn target_of(&self, decoder: &str, mode: Option<Mode>) -> Option<RegionTarget> {
        let tree = &self.cxl.as_ref()?.tree;
        let decoder = tree.decoders.iter().find(|known| known.name == decoder)?;
        Some(RegionTarget { endpoint: decoder.port.clone(), dpa: decoder.dpa?, mode: decoder.mode.or(mode)? })
    }

    /// Regions of a node whose driver has them, in the order in which it got them.
    pub(crate) fn regions_on(&self, node: NodeId) -> Vec<&Region> {
        let Some(cxl) = &self.cxl else { return Vec::new() };
        let on_node = |region: &&Region| self.nodes.target_node(region.start, self.kernel) == Some(node);
        let bound = cxl.committed().filter(|region| region.bound == Some(true));
        let mut regions: Vec<&Region> = bound.filter(on_node).collect();
        regions.sort_by_key(|region| numbers(&region.name));
        regions
    }

    /// The abstract distance that the regions on a node give its memory (`cxl_region_calculate_adistance`): that of
    /// the first that knows one.
    ///
    /// # Errors
    /// What the inputs do not tell.
    pub fn region_distance(&self, node: NodeId) -> Result<Option<RegionDistance>, String> {
        for region in self.regions_on(node) {
            let figures = match self.region_figures(&region.name) {
                Ok(figures) => figures,
                Err(Lack::Kernel(_)) => continue,
                Err(Lack::Untold(missing)) if self.tiers.gives_distances() => return Err(missing),
                Err(Lack::Untold(_)) => continue,
            };
            let Some((kernel, text)) = self.distance_of(&figures.classes) else { continue };
            let physical = self.region_figures_without(&region.name, Quirk::LinkLatencyUnit).ok();
            let physical = physical.and_then(|figures| self.distance_of(&figures.classes));
            let mut detail = format!("{}: {text}", region.name);
            if let Some((_, other)) = physical.as_ref().filter(|(distance, _)| *distance != kernel) {
                detail = format!("{detail}; with links in nanoseconds {other}");
            }
            let mut reasons = figures.reasons;
            reasons.push(Reason::new(rules::TIER_REGION).because(detail));
            let physical = physical.map(|(distance, _)| distance);
            return Ok(Some(RegionDistance { kernel, physical, reasons }));
        }
        Ok(None)
    }

    /// The distance of memory with the figures of a region, and the calculation (`mt_perf_to_adistance`).
    pub(crate) fn distance_of(&self, classes: &Classes) -> Option<(AbstractDistance, String)> {
        let (_, reference) = self.tiers.reference.as_ref().filter(|_| self.tiers.gives_distances())?;
        let [_, cpu] = classes;
        abstract_distance(cpu, reference, self.kernel.switches.quirks)
    }

    /// The distance that figures give the memory of a node (`mt_calc_adistance`): those of the HMAT, or else of the
    /// regions on it.
    pub(crate) fn calculate_distance(&mut self, node: NodeId) -> Option<AbstractDistance> {
        let hmat = hmat(self.topology, self.updated.as_ref());
        let by_hmat = self.tiers.calculate(node, &self.nodes, &mut self.access, hmat, &mut self.notes);
        if by_hmat.is_some() {
            return by_hmat;
        }
        match self.region_distance(node) {
            Ok(found) => {
                let found = found?;
                for reason in found.reasons {
                    self.notes.reason(Subject::Tier(node), reason);
                }
                Some(found.kernel)
            }
            Err(missing) => {
                for section in [Section::Tiers, Section::Demotion] {
                    self.notes.missing(section, missing.clone());
                }
                None
            }
        }
    }
}
