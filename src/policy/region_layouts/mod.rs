//! Which CXL regions a machine can have: every legal layout of a window over some devices, and the best of them.
//!
//! What is legal is what [`region_rules`] say; this looks for all that satisfies them, and
//! for what comes nearest to a wish that does not.

mod arrangement;
mod best;
mod wish;

pub use best::{Best, Goal};
pub use wish::{Refused, RegionWish};

use crate::linux::cxl_levels::{Step, path};
use crate::linux::cxl_performance::Figures;
use crate::linux::region_rules::{
    self, Broken, Capability, RegionRule, Shape, Target, capability_of, check_endpoint, check_granularity,
    check_kind, check_ways,
};
use crate::linux::state::State;
use crate::linux::windows::RootDecoder;
use crate::region::{Granularity, Ways};
use crate::topology::cxl::{CxlTree, Memdev, Mode, Port as TreePort};
use crate::units::ByteCount;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use arrangement::{Node, Port};
use thiserror::Error;

/// What sizes of regions and of shares are a multiple of, in bytes.
const UNIT: u64 = region_rules::UNIT.0;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The root decoder: `decoder0.0`.
    pub window: String,
    /// The devices, by name, PCI function or serial number; none for all.
    pub devices: Vec<String>,
    /// What kind of memory.
    pub mode: Mode,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoLayouts {
    /// The CXL drivers are not there, or the inputs have no hierarchy.
    #[error("there is no CXL hierarchy: name one among the inputs, and with --drivers cxl_acpi and cxl_pci")]
    NoHierarchy,
    /// No such window.
    #[error("no window {window:?}: there are {known}")]
    NoWindow {
        /// The name.
        window: String,
        /// Those that there are.
        known: String,
    },
    /// No such device.
    #[error("no device {device:?}: there are {known}")]
    NoDevice {
        /// The name.
        device: String,
        /// Those that there are.
        known: String,
    },
    /// The window is not for such regions.
    #[error("{0}")]
    Kind(Broken),
}

/// A device that may take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub memdev: String,
    /// Its serial number.
    pub serial: Option<u64>,
    /// Its endpoint.
    pub endpoint: String,
    /// Memory of the kind that no decoder has yet.
    pub free: ByteCount,
    /// Where that memory begins.
    pub(crate) base: u64,
    pub(crate) capability: Capability,
    pub(crate) path: Vec<Step>,
}

/// All layouts of one number of ways and one granularity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// How many devices.
    pub ways: Ways,
    /// In pieces of how many bytes.
    pub granularity: Granularity,
    /// How many orders of devices are legal: 2^128 - 1 stands for that and more.
    pub orders: u128,
    /// How the levels below the host bridges can divide: the ways of each, the bridge first.
    pub shapes: Vec<Vec<u8>>,
}

/// Every legal layout, and what is not.
#[derive(Clone, Debug)]
pub struct Layouts {
    /// The window.
    pub window: RootDecoder,
    /// What kind of memory.
    pub mode: Mode,
    /// The devices, in the order of the question or of their names.
    pub devices: Vec<Candidate>,
    /// Devices that cannot take part, and why.
    pub excluded: Vec<(String, Broken)>,
    /// The layouts, by ways and granularity.
    pub families: Vec<Family>,
    /// Ways and granularities without a layout, and the rule that is in the way.
    pub refused: Vec<(Ways, Granularity, Broken)>,
    /// The largest gap of the window.
    pub gap: ByteCount,
    /// The devices that can take part, as the question names them.
    order: Vec<usize>,
    /// What is below each target of the window.
    roots: Vec<Option<Node>>,
    bridges: Vec<u32>,
    capabilities: Vec<(String, Capability)>,
}

impl Layouts {
    /// Looks for every legal layout. The work grows with the number of devices and levels, not with that of layouts.
    ///
    /// # Errors
    /// Where the window or a device is not there, or the window is for other memory.
    pub fn find(state: &State<'_>, question: &Question) -> Result<Self, NoLayouts> {
        let cxl = state.cxl.as_ref().ok_or(NoLayouts::NoHierarchy)?;
        let tree = &cxl.tree;
        if tree.ports.is_empty() {
            return Err(NoLayouts::NoHierarchy);
        }
        let name = |decoder: &RootDecoder| format!("decoder0.{}", decoder.index);
        let window = cxl.root.decoders.iter().find(|decoder| name(decoder) == question.window);
        let window = window.cloned().ok_or_else(|| NoLayouts::NoWindow {
            window: question.window.clone(),
            known: listed(cxl.root.decoders.iter().map(name)),
        })?;
        check_kind(&window, question.mode).map_err(NoLayouts::Kind)?;
        let mut layouts = Self {
            gap: state.gaps(&window).into_iter().flatten().map(|gap| gap.size()).max().unwrap_or_default(),
            window,
            mode: question.mode,
            devices: Vec::new(),
            excluded: Vec::new(),
            families: Vec::new(),
            refused: Vec::new(),
            order: Vec::new(),
            roots: Vec::new(),
            bridges: cxl.bridges.clone(),
            capabilities: tree
                .ports
                .iter()
                .map(|port| (port.name.clone(), capability_of(tree, &port.name)))
                .collect(),
        };
        layouts.take_devices(tree, question)?;
        layouts.grow();
        layouts.enumerate();
        Ok(layouts)
    }

    /// Sorts the devices into those that can take part and those that cannot.
    fn take_devices(&mut self, tree: &CxlTree, question: &Question) -> Result<(), NoLayouts> {
        let mut asked: Vec<&Memdev> = Vec::new();
        for name in &question.devices {
            let found = tree.memdevs.iter().find(|memdev| is_called(memdev, name));
            let found = found.ok_or_else(|| NoLayouts::NoDevice {
                device: name.clone(),
                known: listed(tree.memdevs.iter().map(|memdev| memdev.name.clone())),
            })?;
            asked.push(found);
        }
        if question.devices.is_empty() {
            asked = tree.memdevs.iter().collect();
        }
        for memdev in asked {
            // One that is named twice is one device, and twice in the order.
            let known = self.devices.iter().position(|device| device.memdev == memdev.name);
            match known.map_or_else(|| self.candidate(tree, memdev).map(Some), |_| Ok(None)) {
                Ok(candidate) => {
                    self.order.push(known.unwrap_or(self.devices.len()));
                    self.devices.extend(candidate);
                }
                Err(broken) => self.excluded.push((memdev.name.clone(), broken)),
            }
        }
        Ok(())
    }

    fn candidate(&self, tree: &CxlTree, memdev: &Memdev) -> Result<Candidate, Broken> {
        let broken = |rule, detail: &str| Err(Broken::new(rule, format!("{}: {detail}", memdev.name)));
        let mut endpoints = tree.ports.iter();
        let endpoint = endpoints.find(|port| tree.memdev_of(port).is_some_and(|own| own.name == memdev.name));
        let Some(endpoint) = endpoint else {
            return broken(RegionRule::FreeEndpointDecoder, "it has no endpoint");
        };
        let path = path(tree, &endpoint.name);
        let bridge = path.last().filter(|step| step.is_root).map(|step| step.dport);
        let below = bridge.is_some_and(|bridge| self.bridges.contains(&bridge));
        if !below || !self.window.targets.iter().any(|target| Some(target.0) == bridge) {
            return broken(RegionRule::BelowRoot, "its host bridge is no target of the window");
        }
        let decoders = || tree.decoders_of(&endpoint.name);
        if !decoders().any(|decoder| decoder.dpa.is_none() && !tree.is_committed(decoder)) {
            return broken(RegionRule::FreeEndpointDecoder, "all its decoders are in use");
        }
        let ram = memdev.ram_size.0;
        let (start, end) = match self.mode {
            Mode::Ram => (0, ram),
            Mode::Pmem => (ram, ram.saturating_add(memdev.pmem_size.0)),
        };
        if start == end {
            return broken(RegionRule::DeviceKind, "it has no such memory");
        }
        let used =
            decoders().filter_map(|decoder| decoder.dpa).map(|dpa| dpa.start.0.saturating_add(dpa.size.0));
        let base = used.filter(|used| (start..=end).contains(used)).fold(start, u64::max);
        let free = end.saturating_sub(base);
        if free < UNIT {
            return broken(RegionRule::FreeDeviceMemory, "less than 256 MiB of it are free");
        }
        Ok(Candidate {
            memdev: memdev.name.clone(),
            serial: memdev.serial,
            endpoint: endpoint.name.clone(),
            free: ByteCount(free),
            base,
            capability: capability_of(tree, &endpoint.name),
            path,
        })
    }

    /// Makes the tree of ports above the devices, one for each target of the window.
    fn grow(&mut self) {
        let mut trees: Vec<(u32, Node)> = Vec::new();
        for (index, device) in self.devices.iter().enumerate() {
            let capability = |name: &str| {
                let known = self.capabilities.iter().find(|(known, _)| known == name);
                known.map_or(Capability::PORT, |(_, capability)| *capability)
            };
            insert(&mut trees, device.path.iter().rev(), index, &capability);
        }
        let of = |uid: u32| trees.iter().find(|(bridge, _)| *bridge == uid).map(|(_, node)| node.clone());
        let targets = self.window.targets.iter().map(|target| target.0);
        self.roots = targets.map(|uid| of(uid).filter(|_| self.bridges.contains(&uid))).collect();
    }

    fn enumerate(&mut self) {
        let (mut families, mut refused) = (Vec::new(), Vec::new());
        for ways in Ways::ALL.into_iter().filter(|ways| usize::from(ways.count()) <= self.devices.len()) {
            for granularity in Granularity::ALL {
                match self.family(ways, granularity) {
                    Ok(family) => families.push(family),
                    Err(broken) => refused.push((ways, granularity, broken)),
                }
            }
        }
        families.sort_by_key(|family| (family.ways.count(), family.granularity));
        refused.sort_by_key(|(ways, granularity, _)| (ways.count(), *granularity));
        (self.families, self.refused) = (families, refused);
    }

    /// The layouts of these ways and this granularity, or the rule that leaves none.
    fn family(&self, ways: Ways, granularity: Granularity) -> Result<Family, Broken> {
        let bytes = granularity.bytes();
        check_granularity(&self.window, bytes)?;
        check_ways(&self.window, u32::from(ways.count()))?;
        let allowed = |device: usize| self.able(device, ways, granularity);
        let able = self.devices.iter().zip(0..).filter(|(_, device)| allowed(*device)).count();
        if able < usize::from(ways.count()) {
            let first = self.devices.iter().find_map(|device| {
                check_endpoint(&device.memdev, &device.capability, ways, granularity).err()
            });
            return Err(first.unwrap_or_else(|| self.short(ways)));
        }
        let turns = &self.window.targets;
        if let Some(twice) = turns
            .iter()
            .enumerate()
            .find(|(place, target)| turns.iter().take(*place).any(|other| other == *target))
        {
            let detail = format!("host bridge {} has two turns in decoder0.{}", twice.1, self.window.index);
            return Err(Broken::new(RegionRule::BridgeTurn, detail));
        }
        let (below, top) = self.below_root(ways, granularity);
        let mut orders = 1_u128;
        let mut shapes: Vec<Vec<u8>> = Vec::new();
        for root in &self.roots {
            let own = root.as_ref().map_or(0, |root| root.count(below, top, &allowed));
            orders = orders.saturating_mul(own);
            for shape in root.iter().flat_map(|root| root.shapes(below, top)) {
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
        }
        if self.roots.is_empty() || orders == 0 {
            return Err(self.in_the_way(ways, granularity));
        }
        Ok(Family { ways, granularity, orders, shapes })
    }

    /// How many positions each target of the window has, and the granularity of its host bridge.
    fn below_root(&self, ways: Ways, granularity: Granularity) -> (u8, u64) {
        let roots = u8::try_from(self.window.ways).unwrap_or(u8::MAX);
        let above = if roots.is_power_of_two() { roots } else { roots / 3 };
        let top = granularity.bytes().0.saturating_mul(u64::from(above));
        (ways.count().checked_div(roots).unwrap_or_default(), top)
    }

    fn able(&self, device: usize, ways: Ways, granularity: Granularity) -> bool {
        self.devices.get(device).is_some_and(|device| device.capability.allows(ways, granularity))
    }

    fn short(&self, ways: Ways) -> Broken {
        let detail = format!("{} devices, {ways} ways", self.devices.len());
        Broken::new(RegionRule::AllTargets, detail)
    }

    /// The rule that leaves no layout: that of the first host bridge which cannot fill its positions, found by trying an
    /// order.
    fn in_the_way(&self, ways: Ways, granularity: Granularity) -> Broken {
        let (below, _) = self.below_root(ways, granularity);
        let roots = usize::try_from(self.window.ways).unwrap_or(usize::MAX);
        let mut lists: Vec<Vec<usize>> = Vec::new();
        for target in self.window.targets.iter().take(roots) {
            let of_bridge = self
                .devices
                .iter()
                .enumerate()
                .filter(|(_, device)| device.path.last().is_some_and(|step| step.dport == target.0));
            let list: Vec<usize> = of_bridge.map(|(index, _)| index).take(usize::from(below)).collect();
            if list.len() < usize::from(below) {
                let detail =
                    format!("host bridge {target} has {} of the {below} devices that it needs", list.len());
                return Broken::new(RegionRule::BridgeTurn, detail);
            }
            lists.push(list);
        }
        let lists: Vec<&[usize]> = lists.iter().map(Vec::as_slice).collect();
        let order = arrangement::in_turn(&lists);
        self.check(ways, granularity, &order).err().unwrap_or_else(|| self.short(ways))
    }

    /// All rules on one order of devices.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, ways: Ways, granularity: Granularity, order: &[usize]) -> Result<(), Broken> {
        let chosen = order.iter().filter_map(|device| self.devices.get(*device));
        let targets: Vec<Target<'_>> = chosen
            .map(|device| Target {
                device: &device.memdev,
                capability: device.capability,
                path: &device.path,
            })
            .collect();
        let shape = Shape {
            root: &self.window,
            bridges: &self.bridges,
            ways: u32::from(ways.count()),
            granularity: granularity.bytes(),
            targets: &targets,
        };
        let capability = |name: &str| {
            let known = self.capabilities.iter().find(|(known, _)| known == name);
            known.map_or(Capability::PORT, |(_, capability)| *capability)
        };
        shape.check(&capability).map(drop)
    }

    /// Legal orders of devices, each by position, up to so many.
    #[must_use]
    pub fn orders(&self, family: &Family, limit: usize) -> Vec<Vec<usize>> {
        let (below, top) = self.below_root(family.ways, family.granularity);
        let of_root =
            |root: &Option<Node>| root.iter().flat_map(|root| root.orders(below, top, limit)).collect();
        let lists: Vec<Vec<Vec<usize>>> = self.roots.iter().map(of_root).collect();
        let mut all = Vec::new();
        // Targets of the window have their places.
        fixed(&lists, &mut Vec::new(), &mut all, limit);
        all.retain(|order| order.iter().all(|device| self.able(*device, family.ways, family.granularity)));
        all
    }

    /// The largest region that some devices can have, a multiple of 256 MiB for each; `None` where there is no room.
    #[must_use]
    pub fn size(&self, order: &[usize]) -> Option<ByteCount> {
        let devices = order.iter().filter_map(|device| self.devices.get(*device));
        let share = devices.map(|device| device.free.0).min()?;
        let ways = u64::try_from(order.len()).ok()?;
        let share = share.min(self.gap.0.checked_div(ways)?);
        let share = share.saturating_sub(share.checked_rem(UNIT)?);
        (share != 0).then(|| ByteCount(share.saturating_mul(ways)))
    }

    /// The command that makes a region: that of the CXL tools.
    #[must_use]
    pub fn command(&self, granularity: Granularity, size: ByteCount, order: &[usize]) -> String {
        let names = order.iter().filter_map(|device| self.devices.get(*device));
        let names: Vec<&str> = names.map(|device| device.memdev.as_str()).collect();
        format!(
            "cxl create-region -m -d decoder0.{} -w {} -g {granularity} -t {} -s {size} {}",
            self.window.index,
            order.len(),
            self.mode.name(),
            names.join(" ")
        )
    }
}

/// One list of each, in every combination.
fn fixed<'l>(
    lists: &'l [Vec<Vec<usize>>],
    picked: &mut Vec<&'l [usize]>,
    all: &mut Vec<Vec<usize>>,
    limit: usize,
) {
    if all.len() >= limit {
        return;
    }
    let Some(next) = lists.get(picked.len()) else {
        all.push(arrangement::in_turn(picked));
        return;
    };
    for order in next {
        picked.push(order);
        fixed(lists, picked, all, limit);
        picked.pop();
    }
}

/// Puts a device into the trees: `steps` lead to it, the one at the root first.
fn insert<'s>(
    trees: &mut Vec<(u32, Node)>,
    mut steps: impl Iterator<Item = &'s Step> + Clone,
    device: usize,
    capability: &dyn Fn(&str) -> Capability,
) {
    let Some(step) = steps.next() else { return };
    let Some(next) = steps.clone().next() else {
        trees.push((step.dport, Node::Device(device)));
        return;
    };
    let place = trees.iter().position(|(dport, _)| *dport == step.dport).unwrap_or_else(|| {
        let port = Port { name: next.port.clone(), capability: capability(&next.port), below: Vec::new() };
        trees.push((step.dport, Node::Port(port)));
        trees.len().saturating_sub(1)
    });
    if let Some((_, Node::Port(port))) = trees.get_mut(place) {
        insert(&mut port.below, steps, device, capability);
        port.below.sort_by_key(|(dport, _)| *dport);
    }
}

/// Whether a memory device is called so.
pub(crate) fn is_called(memdev: &Memdev, name: &str) -> bool {
    let serial = match name.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => name.parse().ok(),
    };
    memdev.name == name
        || memdev.host.as_deref() == Some(name)
        || (serial.is_some() && memdev.serial == serial)
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}

/// The port of an endpoint.
fn endpoint<'t>(figures: &Figures<'t, '_>, device: &Candidate) -> Option<&'t TreePort> {
    figures.tree.port(&device.endpoint)
}
