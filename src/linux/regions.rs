//! Regions of what firmware programmed (`drivers/cxl/core/region.c: cxl_add_to_region`): every committed endpoint
//! decoder is put into the region of its addresses, and a region with all its endpoints is put together.
//!
//! The hierarchy is the state: a region appears in it, and its decoders name it. Decoders that name a region already
//! stay with it, so the capture of a running system stands as it is. What decoders are able to do beyond what they
//! were programmed for is not in the inputs and not checked.

use super::cxl_levels::{Step, multiply, path, power_of_two_ways};
use super::events::Errno;
use super::heap_sort;
use super::reason::{Notes, Reason, Subject};
use super::region_ids::RegionIds;
use super::rules;
use super::windows::RootDecoder;
use crate::topology::cxl::{CxlTree, Decoder, DpaRange, Mode, Port, PortKind, Region, numbers};
use crate::units::{ByteCount, DeviceAddr, PhysAddr};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Why a decoder or region is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error that the kernel reports.
    pub errno: Errno,
    /// What is wrong.
    pub what: String,
}

fn refused<T>(errno: Errno, what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { errno, what: what.into() })
}

/// Most targets that a decoder below the root can have.
const MOST_TARGETS: usize = 8;
/// Granularities that registers can hold, in bytes.
const GRANULARITIES: core::ops::RangeInclusive<u64> = 256..=16384;

/// The hierarchy while regions are put together.
#[derive(Debug)]
pub(crate) struct Assembly<'a> {
    pub(crate) tree: &'a mut CxlTree,
    pub(crate) roots: &'a [RootDecoder],
    pub(crate) ids: &'a mut RegionIds,
    /// Size of the DRAM in front of regions that have any.
    pub(crate) caches: BTreeMap<String, ByteCount>,
}

impl Assembly<'_> {
    /// Takes in every endpoint, in the order of their numbers: the kernel hands them out as it finds devices.
    pub(crate) fn run(&mut self, notes: &mut Notes) {
        let is_endpoint = |port: &&Port| port.kind == PortKind::Endpoint;
        let endpoints: Vec<String> =
            self.tree.ports.iter().filter(is_endpoint).map(|port| port.name.clone()).collect();
        for endpoint in endpoints {
            let mut refuse = |name: &str, refusal: Refusal| {
                let detail = format!("{name}: {}: {}", refusal.errno, refusal.what);
                notes.reason(Subject::Cxl, Reason::new(rules::REGION_REFUSED).because(detail));
            };
            if let Err(refusal) = self.read_endpoint(&endpoint) {
                refuse(&endpoint, refusal);
                continue;
            }
            let decoders = self.tree.decoders_of(&endpoint);
            let free = |decoder: &&Decoder| self.tree.is_committed(decoder) && !self.is_attached(decoder);
            let decoders: Vec<String> = decoders.filter(free).map(|decoder| decoder.name.clone()).collect();
            for decoder in decoders {
                if let Err(refusal) = self.discover(&decoder) {
                    refuse(&decoder, refusal);
                }
            }
        }
    }

    fn is_attached(&self, decoder: &Decoder) -> bool {
        let parked = |region: &Region| region.targets.iter().flatten().any(|name| *name == decoder.name);
        decoder.region.is_some() || self.tree.regions.iter().any(parked)
    }

    /// Gives the decoders of an endpoint their device memory (`init_hdm_decoder`): one after another, from 0 on.
    fn read_endpoint(&mut self, endpoint: &str) -> Result<(), Refusal> {
        let memdev = self.tree.port(endpoint).and_then(|port| self.tree.memdev_of(port)).cloned();
        let capacity = memdev
            .as_ref()
            .map(|memdev| (memdev.ram_size.0, memdev.ram_size.0.saturating_add(memdev.pmem_size.0)));
        let committed: Vec<String> = self
            .tree
            .decoders_of(endpoint)
            .filter(|decoder| self.tree.is_committed(decoder))
            .map(|decoder| decoder.name.clone())
            .collect();
        let mut base = 0_u64;
        for name in committed {
            let Some(decoder) = self.tree.decoders.iter_mut().find(|decoder| decoder.name == name) else {
                continue;
            };
            let ways = u64::from(decoder.ways);
            if decoder.size.0.checked_rem(ways) != Some(0) {
                return refused(Errno::NoDevice, format!("{name} has a size that its ways do not divide"));
            }
            let share = ByteCount(decoder.size.0.checked_div(ways).unwrap_or_default());
            let dpa = *decoder.dpa.get_or_insert(DpaRange { start: DeviceAddr(base), size: share });
            base = dpa.start.0.saturating_add(dpa.size.0);
            let Some((ram, all)) = capacity else { continue };
            if base > all {
                return refused(Errno::NoDevice, format!("{name} leads behind the memory of the device"));
            }
            if decoder.mode.is_none() {
                decoder.mode = match (base <= ram, dpa.start.0 >= ram) {
                    (true, _) => Some(Mode::Ram),
                    (false, true) => Some(Mode::Pmem),
                    (false, false) => None,
                };
            }
        }
        Ok(())
    }

    /// Puts one endpoint decoder into its region (`cxl_add_to_region`).
    fn discover(&mut self, name: &str) -> Result<(), Refusal> {
        let Some(decoder) = self.decoder(name).cloned() else { return Ok(()) };
        let roots = self.roots;
        let Some(root) = roots.iter().find(|root| root.covers(decoder.start, decoder.size)) else {
            return refused(Errno::NoDevice, "no CXL window holds its addresses");
        };
        let root_name = format!("decoder0.{}", root.index);
        let place = self.tree.regions.iter().position(|region| {
            let cache = self.cache(&region.name).0;
            region.root_decoder.as_deref() == Some(&root_name)
                && region.start.0.saturating_add(cache) == decoder.start.0
                && region.size.0.saturating_sub(cache) == decoder.size.0
        });
        let place = match place {
            Some(place) => place,
            None => self.construct(&decoder, root, root_name)?,
        };
        let complete = self.stage(place, &decoder, root)?;
        if complete { self.complete(place, &decoder, root) } else { Ok(()) }
    }

    /// Makes a region for a decoder (`construct_region`).
    fn construct(
        &mut self,
        decoder: &Decoder,
        root: &RootDecoder,
        root_name: String,
    ) -> Result<usize, Refusal> {
        let Some(mode) = decoder.mode else {
            return refused(Errno::Busy, "its device memory lies in no partition");
        };
        let name = format!("region{}", self.ids.take(root.index));
        let (mut start, mut size) = (decoder.start, decoder.size);
        if root.cache_size == decoder.size && start.0.saturating_sub(root.start.0) >= size.0 {
            start = PhysAddr(start.0.saturating_sub(size.0));
            size = ByteCount(size.0.saturating_mul(2));
            self.caches.insert(name.clone(), root.cache_size);
        }
        self.tree.regions.push(Region {
            name: name.clone(),
            root_decoder: Some(root_name),
            start,
            size,
            ways: decoder.ways,
            granularity: decoder.granularity,
            mode: Some(mode),
            committed: Some(false),
            bound: Some(false),
            targets: vec![None; usize::try_from(decoder.ways.min(16)).unwrap_or_default()],
        });
        self.tree.regions.sort_by_key(|region| numbers(&region.name));
        let place = self.tree.regions.iter().position(|region| region.name == name);
        place.map_or_else(|| refused(Errno::NoDevice, "the region is gone"), Ok)
    }

    /// Parks a decoder in the first free slot of a region (`cxl_region_attach_auto`); tells whether that was the last.
    fn stage(&mut self, place: usize, decoder: &Decoder, root: &RootDecoder) -> Result<bool, Refusal> {
        let bridge = self.steps(decoder)?.into_iter().rev().find(|step| step.is_root).map(|step| step.dport);
        let cache = self.tree.regions.get(place).map(|region| self.cache(&region.name)).unwrap_or_default();
        let kind = self
            .tree
            .regions
            .get(place)
            .and_then(|region| region.targets.iter().flatten().next())
            .and_then(|first| self.decoder(first)?.target_type);
        let Some(region) = self.tree.regions.get_mut(place) else { return Ok(false) };
        if decoder.mode != region.mode {
            return refused(Errno::Invalid, format!("{} has memory of another kind", region.name));
        }
        if region.committed == Some(true) {
            return refused(Errno::Busy, format!("{} is committed already", region.name));
        }
        let Some(slot) = region.targets.iter().position(Option::is_none) else {
            return refused(Errno::Invalid, format!("{} has all its targets", region.name));
        };
        let known = |bridge: u32| root.targets.iter().any(|target| target.0 == bridge);
        if !bridge.is_some_and(known) {
            return refused(Errno::NoDevice, "its host bridge is no target of the window");
        }
        if kind.zip(decoder.target_type).is_some_and(|(first, own)| first != own) {
            return refused(Errno::NoDevice, format!("{} has another coherence", region.name));
        }
        let share = decoder.dpa.map_or(0, |dpa| dpa.size.0);
        let total = share.saturating_mul(u64::from(region.ways)).saturating_add(cache.0);
        if total != region.size.0 {
            return refused(Errno::Invalid, format!("its device memory is not its share of {}", region.name));
        }
        if let Some(slot) = region.targets.get_mut(slot) {
            *slot = Some(decoder.name.clone());
        }
        Ok(region.targets.iter().all(Option::is_some))
    }

    /// Sorts the targets of a region and checks what is programmed above them (`cxl_region_attach`, for firmware's
    /// regions).
    fn complete(&mut self, place: usize, last: &Decoder, root: &RootDecoder) -> Result<(), Refusal> {
        let Some(region) = self.tree.regions.get(place).cloned() else { return Ok(()) };
        let (start, size) = (last.start, last.size);
        let mut members = Vec::new();
        let mut unsorted = None;
        for name in region.targets.iter().flatten() {
            let Some(decoder) = self.decoder(name).cloned() else { continue };
            let steps = self.steps(&decoder)?;
            // What has no position comes first.
            let position = match self.position(&steps, start, size, root) {
                Ok(position) => i64::from(position),
                Err(refusal) => {
                    unsorted.get_or_insert(refusal);
                    -6
                }
            };
            members.push((position, decoder, steps));
        }
        let positions: Vec<i64> = members.iter().map(|(position, ..)| *position).collect();
        let mut unplaced: Vec<Option<(i64, Decoder, Vec<Step>)>> = members.into_iter().map(Some).collect();
        let members: Vec<_> = heap_sort::order(&positions)
            .into_iter()
            .filter_map(|place| unplaced.get_mut(place).and_then(Option::take))
            .collect();
        if let Some(region) = self.tree.regions.get_mut(place) {
            region.targets = members.iter().map(|(_, decoder, _)| Some(decoder.name.clone())).collect();
        }
        if let Some(refusal) = unsorted {
            return Err(refusal);
        }
        for ((_, decoder, steps), position) in members.iter().zip(0_u32..) {
            self.attach(&region, decoder, steps, position, (start, size), root)?;
        }
        let members: Vec<(Decoder, Vec<Step>)> =
            members.into_iter().map(|(_, decoder, steps)| (decoder, steps)).collect();
        self.check_targets(&region, &members, (start, size), root)?;
        if let Some(region) = self.tree.regions.get_mut(place) {
            region.committed = Some(true);
            region.bound = Some(true);
        }
        Ok(())
    }

    /// The position of an endpoint by the target lists above it (`cxl_calc_interleave_pos`).
    fn position(
        &self,
        steps: &[Step],
        start: PhysAddr,
        size: ByteCount,
        root: &RootDecoder,
    ) -> Result<u32, Refusal> {
        let mut position = 0_u32;
        for step in steps {
            let (ways, place) = if step.is_root {
                (root.ways, root.targets.iter().position(|target| target.0 == step.dport))
            } else {
                let Some(decoder) = self.programmed(&step.port, start, size) else {
                    return refused(Errno::NoDevice, format!("no decoder of {} has its range", step.port));
                };
                (decoder.ways, decoder.targets.iter().position(|target| *target == step.dport))
            };
            let Some(place) = place.and_then(|place| u32::try_from(place).ok()) else {
                return refused(
                    Errno::NoDevice,
                    format!("downstream port {} of {} is no target", step.dport, step.port),
                );
            };
            position = position.saturating_mul(ways).saturating_add(place);
        }
        Ok(position)
    }

    /// Enters a region in the decoders above one of its endpoints (`cxl_region_attach_position`).
    fn attach(
        &mut self,
        region: &Region,
        decoder: &Decoder,
        steps: &[Step],
        position: u32,
        (start, size): (PhysAddr, ByteCount),
        root: &RootDecoder,
    ) -> Result<(), Refusal> {
        let wanted = position
            .checked_rem(root.ways)
            .and_then(|place| root.targets.get(usize::try_from(place).ok()?).map(|target| target.0));
        let bridge = steps.iter().find(|step| step.is_root).map(|step| step.dport);
        if wanted != bridge {
            return refused(
                Errno::NoDevice,
                format!("position {position} of {} is another bridge's", region.name),
            );
        }
        let above = steps.iter().filter(|step| !step.is_root);
        let mut names = Vec::from([decoder.name.clone()]);
        for step in above {
            let Some(found) = self.programmed(&step.port, start, size) else {
                return refused(
                    Errno::Busy,
                    format!("no decoder of {} has the range of {}", step.port, region.name),
                );
            };
            names.push(found.name.clone());
        }
        for name in names {
            self.check_order(region, &name)?;
            if let Some(decoder) = self.tree.decoders.iter_mut().find(|decoder| decoder.name == name) {
                decoder.region.get_or_insert_with(|| region.name.clone());
            }
        }
        Ok(())
    }

    /// Regions of one port have to come in the order of their addresses, unless decoders do (`alloc_region_ref`).
    fn check_order(&self, region: &Region, name: &str) -> Result<(), Refusal> {
        let Some(decoder) = self.decoder(name) else { return Ok(()) };
        for other in self.tree.decoders_of(&decoder.port) {
            let Some(there) = other.region.as_deref().filter(|there| *there != region.name) else { continue };
            let there = self.tree.regions.iter().find(|region| region.name == there);
            let later = there.is_some_and(|there| there.start >= region.start);
            if later && other.index <= decoder.index {
                return refused(Errno::Busy, format!("{} has a region of higher addresses", decoder.port));
            }
        }
        Ok(())
    }

    /// Compares the decoders of every port with what the region asks of them (`cxl_port_setup_targets`).
    fn check_targets(
        &self,
        region: &Region,
        members: &[(Decoder, Vec<Step>)],
        (start, size): (PhysAddr, ByteCount),
        root: &RootDecoder,
    ) -> Result<(), Refusal> {
        let mut used: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for step in members.iter().flat_map(|(_, steps)| steps) {
            used.entry(&step.port).or_default().insert(step.dport);
        }
        let count = |port: &str| used.get(port).map_or(0, BTreeSet::len);
        let mut set: BTreeMap<&str, usize> = BTreeMap::new();
        for (position, (_, steps)) in members.iter().enumerate() {
            let (mut ways_above, mut granularity) = (power_of_two_ways(root.ways), region.granularity);
            let mut distance = usize::try_from(root.ways).unwrap_or(usize::MAX);
            for step in steps.iter().rev().filter(|step| !step.is_root) {
                let Some(decoder) = self.programmed(&step.port, start, size) else {
                    return refused(Errno::Busy, format!("no decoder of {} has the range", step.port));
                };
                let ways = count(&step.port);
                if !ways.is_power_of_two() {
                    return refused(Errno::Invalid, format!("{ways} targets below {}", step.port));
                }
                distance = distance.saturating_mul(ways);
                let done = set.entry(&step.port).or_default();
                let listed = decoder.targets.iter().take(*done).any(|target| *target == step.dport);
                if listed {
                    let peer = position.checked_sub(distance).and_then(|peer| members.get(peer));
                    let same =
                        |step: &Step, other: &Step| step.port == other.port && step.dport == other.dport;
                    if !peer.is_some_and(|(_, peer)| peer.iter().any(|other| same(step, other))) {
                        return refused(
                            Errno::NoDevice,
                            format!("position {position} has no peer below {}", step.port),
                        );
                    }
                } else {
                    if *done == 0 {
                        check_programming(decoder, ways, ways_above, granularity)?;
                    }
                    if decoder.targets.get(*done) != Some(&step.dport) {
                        return refused(
                            Errno::NoDevice,
                            format!("{} does not have downstream port {} in turn", decoder.name, step.dport),
                        );
                    }
                    *done = done.saturating_add(1);
                }
                granularity =
                    decoder.granularity.or(granularity.and_then(|above| multiply(above, ways_above)));
                ways_above = decoder.ways;
            }
        }
        Ok(())
    }

    /// The committed decoder of a port with exactly these addresses.
    fn programmed(&self, port: &str, start: PhysAddr, size: ByteCount) -> Option<&Decoder> {
        let equal = |decoder: &&Decoder| {
            decoder.start == start && decoder.size == size && self.tree.is_committed(decoder)
        };
        self.tree.decoders_of(port).find(equal)
    }

    fn decoder(&self, name: &str) -> Option<&Decoder> {
        self.tree.decoders.iter().find(|decoder| decoder.name == name)
    }

    fn cache(&self, region: &str) -> ByteCount {
        self.caches.get(region).copied().unwrap_or_default()
    }

    /// The way from an endpoint decoder up to the root, nearest port first.
    fn steps(&self, decoder: &Decoder) -> Result<Vec<Step>, Refusal> {
        let steps = path(self.tree, &decoder.port);
        match steps.last() {
            Some(last) if last.is_root => Ok(steps),
            _ => refused(Errno::NoDevice, format!("{} does not lead to a root", decoder.port)),
        }
    }
}

fn check_programming(
    decoder: &Decoder,
    ways: usize,
    ways_above: u32,
    granularity_above: Option<ByteCount>,
) -> Result<(), Refusal> {
    let wanted = granularity_above.and_then(|above| multiply(above, ways_above));
    if wanted.is_some_and(|wanted| !wanted.0.is_power_of_two() || !GRANULARITIES.contains(&wanted.0)) {
        return refused(
            Errno::Invalid,
            format!("{} would need a granularity that there is not", decoder.name),
        );
    }
    if ways > MOST_TARGETS {
        return refused(Errno::NoDevice, format!("{} cannot have {ways} targets", decoder.name));
    }
    let told = decoder.granularity.zip(wanted);
    let granularity_differs = ways > 1 && told.is_some_and(|(own, wanted)| own != wanted);
    if usize::try_from(decoder.ways) != Ok(ways) || granularity_differs {
        let bytes = |count: Option<ByteCount>| count.map_or(0, |count| count.0);
        return refused(
            Errno::NoDevice,
            format!(
                "{} has {} ways of {} bytes where the region needs {ways} of {}",
                decoder.name,
                decoder.ways,
                bytes(decoder.granularity),
                bytes(wanted)
            ),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::cedt::{InterleaveArithmetic, WindowRestrictions};
    use crate::topology::cxl::{Dport, Memdev};
    use crate::units::AcpiUid;
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;

    const MIB: u64 = 1 << 20;
    const BASE: u64 = 0x2_5000_0000;

    fn port(
        name: &str,
        kind: PortKind,
        host: &str,
        above: Option<(&str, &str)>,
        dports: &[(u32, &str)],
    ) -> Port {
        Port {
            name: name.to_owned(),
            kind,
            host: Some(host.to_owned()),
            parent: above.map(|(parent, _)| parent.to_owned()),
            parent_dport: above.map(|(_, dport)| dport.to_owned()),
            dports: dports
                .iter()
                .map(|(id, device)| Dport { id: *id, device: (*device).to_owned() })
                .collect(),
            decoders_committed: Some(0),
        }
    }

    /// Programs the next decoder of a port.
    fn program(
        tree: &mut CxlTree,
        name: &str,
        (start, size): (u64, u64),
        granularity: u64,
        targets: &[u32],
        ways: u32,
    ) {
        let port = tree.ports.iter_mut().find(|port| port.name == name).unwrap();
        let index = port.decoders_committed.unwrap();
        port.decoders_committed = Some(index + 1);
        tree.decoders.push(Decoder {
            name: format!("decoder{}.{index}", numbers(name).0),
            port: name.to_owned(),
            index,
            start: PhysAddr(start),
            size: ByteCount(size),
            ways,
            granularity: Some(ByteCount(granularity)),
            targets: targets.to_vec(),
            target_type: None,
            locked: Some(false),
            region: None,
            dpa: None,
            mode: None,
            root: None,
        });
    }

    /// One host bridge, two root ports, a device of 512 MiB behind each.
    fn machine() -> CxlTree {
        let ports = vec![
            port("root0", PortKind::Root, "ACPI0017:00", None, &[(12, "pci0000:0c")]),
            port(
                "port1",
                PortKind::Switch,
                "pci0000:0c",
                Some(("root0", "pci0000:0c")),
                &[(0, "rp0"), (1, "rp1")],
            ),
            port("endpoint2", PortKind::Endpoint, "mem0", Some(("port1", "rp0")), &[]),
            port("endpoint3", PortKind::Endpoint, "mem1", Some(("port1", "rp1")), &[]),
        ];
        let memdev = |number: u64| Memdev {
            name: format!("mem{number}"),
            serial: Some(number + 1),
            host: None,
            ram_size: ByteCount(512 * MIB),
            pmem_size: ByteCount(0),
            numa_node: None,
            ram_qos_class: None,
            pmem_qos_class: None,
        };
        CxlTree { ports, memdevs: (0..2).map(memdev).collect(), ..CxlTree::default() }
    }

    /// Two ways over both devices, with this programming of the bridge.
    fn two_ways(bridge: &[u32], granularity: u64) -> CxlTree {
        let mut tree = machine();
        let range = (BASE, 1024 * MIB);
        program(&mut tree, "port1", range, granularity, bridge, 2);
        program(&mut tree, "endpoint2", range, 256, &[], 2);
        program(&mut tree, "endpoint3", range, 256, &[], 2);
        tree
    }

    fn run(tree: &mut CxlTree, cache: u64) -> Vec<String> {
        let root = RootDecoder {
            index: 0,
            window: Some(0),
            start: PhysAddr(BASE - cache),
            size: ByteCount(4096 * MIB),
            ways: 1,
            granularity: ByteCount(256),
            targets: Vec::from([AcpiUid(12)]),
            arithmetic: InterleaveArithmetic::MODULO,
            maps: Vec::new(),
            restrictions: WindowRestrictions(0xf),
            qtg: 0,
            cache_size: ByteCount(cache),
            source: None,
        };
        let (mut ids, mut notes) = (RegionIds::default(), Notes::default());
        ids.prepare(0);
        Assembly { tree, roots: &[root], ids: &mut ids, caches: BTreeMap::new() }.run(&mut notes);
        notes.reasons.iter().map(|(_, reason)| reason.detail.clone().unwrap()).collect()
    }

    fn shown(tree: &CxlTree) -> Vec<(String, Option<bool>, Vec<Option<String>>)> {
        let row = |region: &Region| (region.name.clone(), region.committed, region.targets.clone());
        tree.regions.iter().map(row).collect()
    }

    fn some(names: &[&str]) -> Vec<Option<String>> {
        names.iter().map(|name| Some(name.to_string())).collect()
    }

    #[test]
    fn matching_registers_make_a_region() {
        let mut tree = two_ways(&[0, 1], 256);
        assert_eq!(run(&mut tree, 0), [""; 0]);
        assert_eq!(shown(&tree), [("region0".to_owned(), Some(true), some(&["decoder2.0", "decoder3.0"]))]);
        assert_eq!(tree.regions[0].mode, Some(Mode::Ram));
        assert!(tree.decoders.iter().all(|decoder| decoder.region.as_deref() == Some("region0")));
        let dpa = DpaRange { start: DeviceAddr(0), size: ByteCount(512 * MIB) };
        assert_eq!(tree.decoders[1].dpa, Some(dpa));
    }

    #[test]
    fn the_list_of_the_bridge_orders_the_targets() {
        let mut tree = two_ways(&[1, 0], 256);
        run(&mut tree, 0);
        assert_eq!(shown(&tree), [("region0".to_owned(), Some(true), some(&["decoder3.0", "decoder2.0"]))]);
    }

    #[test]
    fn a_bridge_with_another_granularity_is_refused() {
        let mut tree = two_ways(&[0, 1], 512);
        assert_eq!(
            run(&mut tree, 0),
            ["decoder3.0: ENXIO: decoder1.0 has 2 ways of 512 bytes where the region needs 2 of 256"]
        );
        assert_eq!(tree.regions[0].committed, Some(false));
    }

    #[test]
    fn a_bridge_without_registers_is_refused() {
        let mut tree = machine();
        tree.ports.retain(|port| port.name != "endpoint3");
        program(&mut tree, "port1", (0, 0), 4096, &[0], 1);
        tree.ports[1].decoders_committed = Some(0);
        program(&mut tree, "endpoint2", (BASE, 512 * MIB), 256, &[], 1);
        assert_eq!(run(&mut tree, 0), ["decoder2.0: ENXIO: no decoder of port1 has its range"]);
        assert_eq!(shown(&tree), [("region0".to_owned(), Some(false), some(&["decoder2.0"]))]);
        assert_eq!(tree.decoders[1].region, None);
    }

    #[test]
    fn a_region_waits_for_its_last_target() {
        let mut tree = two_ways(&[0, 1], 256);
        tree.decoders.pop();
        tree.ports.pop();
        assert_eq!(run(&mut tree, 0), [""; 0]);
        let targets = vec![Some("decoder2.0".to_owned()), None];
        assert_eq!(shown(&tree), [("region0".to_owned(), Some(false), targets)]);
    }

    #[test]
    fn addresses_outside_every_window_make_no_region() {
        let mut tree = machine();
        program(&mut tree, "endpoint2", (BASE + 4096 * MIB, 512 * MIB), 256, &[], 1);
        assert_eq!(run(&mut tree, 0), ["decoder2.0: ENXIO: no CXL window holds its addresses"]);
        assert!(tree.regions.is_empty());
    }

    #[test]
    fn an_endpoint_that_cannot_be_read_is_left_out() {
        let mut tree = machine();
        program(&mut tree, "endpoint2", (BASE, 1000 * MIB), 256, &[], 3);
        program(&mut tree, "endpoint3", (BASE, 1024 * MIB), 256, &[], 1);
        assert_eq!(
            run(&mut tree, 0),
            [
                "endpoint2: ENXIO: decoder2.0 has a size that its ways do not divide",
                "endpoint3: ENXIO: decoder3.0 leads behind the memory of the device"
            ]
        );
    }

    #[test]
    fn regions_of_one_bridge_come_in_the_order_of_addresses() {
        for (first, second, refusals) in [(0, 512, 0), (512, 0, 1)] {
            let mut tree = machine();
            for (offset, endpoint, dport) in [(first, "endpoint2", 0), (second, "endpoint3", 1)] {
                let range = (BASE + offset * MIB, 512 * MIB);
                program(&mut tree, "port1", range, 256, &[dport], 1);
                program(&mut tree, endpoint, range, 256, &[], 1);
            }
            assert_eq!(run(&mut tree, 0).len(), refusals, "{first} before {second}");
            let names: Vec<_> = tree.regions.iter().map(|region| region.name.as_str()).collect();
            assert_eq!(names, ["region0", "region1"]);
        }
    }

    #[test]
    fn dram_in_front_of_a_window_doubles_the_region() {
        let mut tree = two_ways(&[0, 1], 256);
        assert_eq!(run(&mut tree, 1024 * MIB), [""; 0]);
        let region = &tree.regions[0];
        assert_eq!((region.start.0, region.size.0), (BASE - 1024 * MIB, 2048 * MIB));
        assert_eq!(region.committed, Some(true));
    }
}
