//! Targets join and leave a region, and its decoders go on and off (`drivers/cxl/core/region.c: cxl_region_attach`,
//! `__cxl_decoder_detach`, `cxl_region_decode_commit`, `cxl_region_decode_reset`).
//!
//! The hierarchy is the state: a region has a place in a port when a decoder of that port names it.

use super::cxl::Cxl;
use super::cxl_levels::{Step, path};
use super::region_rules::{
    Broken, RegionRule, capability_of, check_endpoint, check_target_count, check_turn, program,
};
use super::windows::RootDecoder;
use crate::region::{Granularity, Ways};
use crate::topology::cxl::{Decoder, Region, TargetType, numbers};
use crate::units::{ByteCount, PhysAddr};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

fn broken<T>(rule: RegionRule, detail: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::new(rule, detail))
}

impl Cxl {
    /// The region with this name.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<&Region> {
        self.tree.regions.iter().find(|region| region.name == name)
    }

    pub(crate) fn region_mut(&mut self, name: &str) -> Option<&mut Region> {
        self.tree.regions.iter_mut().find(|region| region.name == name)
    }

    /// The root decoder that a region is part of.
    pub(crate) fn root_of(&self, region: &Region) -> Option<&RootDecoder> {
        let name = region.root_decoder.as_deref()?;
        self.root.decoders.iter().find(|root| numbers(name) == (0, root.index))
    }

    /// Whether nothing of a region may be changed: its window has a fixed configuration, or a decoder of it is locked.
    pub(crate) fn is_locked(&self, region: &Region) -> bool {
        let own = |decoder: &&Decoder| {
            let target = region.targets.iter().flatten().any(|name| *name == decoder.name);
            target || decoder.region.as_ref() == Some(&region.name)
        };
        self.root_of(region).is_some_and(RootDecoder::locked)
            || self.tree.decoders.iter().filter(own).any(|decoder| decoder.locked == Some(true))
    }

    /// The ways up of the targets that a region has, with their positions.
    fn paths(&self, region: &Region) -> Vec<(usize, Vec<Step>)> {
        let targets = region.targets.iter().enumerate();
        let path_of = |(position, target): (usize, &Option<String>)| {
            let decoder = self.decoder(target.as_deref()?)?;
            Some((position, path(&self.tree, &decoder.port)))
        };
        targets.filter_map(path_of).collect()
    }

    /// The decoder of a port that a region has.
    fn decoder_in(&self, port: &str, region: &str) -> Option<&Decoder> {
        self.tree.decoders_of(port).find(|decoder| decoder.region.as_deref() == Some(region))
    }

    /// Makes an endpoint decoder a target of a region that user space builds, with the checks in the kernel's order.
    pub(crate) fn attach(&mut self, name: &str, decoder: &str, position: usize) -> Result<(), Broken> {
        let (Some(region), Some(own)) = (self.region(name).cloned(), self.decoder(decoder).cloned()) else {
            return broken(RegionRule::FreeEndpointDecoder, format!("{decoder} is not there"));
        };
        let capability = capability_of(&self.tree, &own.port);
        let interleave =
            Ways::from_count(region.ways).zip(region.granularity.and_then(Granularity::from_bytes));
        if let Some((ways, granularity)) = interleave {
            check_endpoint(decoder, &capability, ways, granularity)?;
        }
        if region.size.0 == 0 {
            return broken(RegionRule::AddressesFirst, format!("{name} has no addresses"));
        }
        if region.targets.iter().flatten().count() >= region.targets.len() {
            return broken(RegionRule::TargetCount, format!("{name} has all its targets"));
        }
        let steps = path(&self.tree, &own.port);
        let Some(root) = self.root_of(&region).cloned() else {
            return broken(RegionRule::BelowRoot, format!("{name} has no window"));
        };
        let bridge = steps.last().filter(|step| step.is_root).map(|step| step.dport);
        let below = bridge.is_some_and(|bridge| self.bridges.contains(&bridge));
        if below && own.target_type == Some(TargetType::Accelerator) {
            return broken(RegionRule::Coherence, format!("{decoder} gives device-coherent memory"));
        }
        let share = own.dpa.map_or(0, |dpa| dpa.size.0);
        let cache = self.caches.get(name).copied().unwrap_or_default();
        let total = share.saturating_mul(u64::from(region.ways)).saturating_add(cache.0);
        if below && total != region.size.0 {
            let detail = format!(
                "{decoder} has {share:#x} bytes, {name} {} ways of {:#x}",
                region.ways, region.size.0
            );
            return broken(RegionRule::Share, detail);
        }
        let same_device = |other: &str| self.decoder(other).is_some_and(|other| other.port == own.port);
        if below && region.targets.iter().flatten().any(|other| same_device(other)) {
            return broken(
                RegionRule::DeviceOnce,
                format!("the device of {decoder} is part of {name} already"),
            );
        }
        check_turn(&root, &self.bridges, decoder, bridge, position)?;
        self.join_ports(&region, &own, &steps)?;
        if let Some(slot) = self.region_mut(name).and_then(|region| region.targets.get_mut(position)) {
            *slot = Some(decoder.to_owned());
        }
        self.set_up(name, &root)?;
        if let Some(own) = self.decoder_mut(decoder) {
            own.ways = region.ways;
            own.granularity = region.granularity;
            (own.start, own.size) = (region.start, region.size);
        }
        Ok(())
    }

    /// Gives a region a decoder of every port between an endpoint and the root (`cxl_port_attach_region`); all of them
    /// or none.
    fn join_ports(&mut self, region: &Region, own: &Decoder, steps: &[Step]) -> Result<(), Broken> {
        let mut joined = Vec::new();
        let result = self.try_ports(region, own, steps, &mut joined);
        if result.is_err() {
            for name in joined {
                if let Some(decoder) = self.decoder_mut(&name) {
                    decoder.region = None;
                }
            }
        }
        result
    }

    fn try_ports(
        &mut self,
        region: &Region,
        own: &Decoder,
        steps: &[Step],
        joined: &mut Vec<String>,
    ) -> Result<(), Broken> {
        self.check_order(region, &own.port)?;
        if let Some(other) = &own.region {
            return broken(RegionRule::FreeEndpointDecoder, format!("{} is part of {other}", own.name));
        }
        self.take(&own.name, region, joined);
        let paths = self.paths(region);
        for step in steps.iter().filter(|step| !step.is_root) {
            if self.decoder_in(&step.port, &region.name).is_none() {
                let free = self.free_decoder(&step.port)?;
                self.check_order(region, &step.port)?;
                self.take(&free, region, joined);
            }
            let through = paths.iter().flat_map(|(_, path)| path).filter(|other| other.port == step.port);
            let mut dports: BTreeSet<u32> = through.map(|other| other.dport).collect();
            dports.insert(step.dport);
            check_target_count(&step.port, dports.len(), &capability_of(&self.tree, &step.port))?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, region: &Region, joined: &mut Vec<String>) {
        if let Some(decoder) = self.decoder_mut(name) {
            decoder.region = Some(region.name.clone());
            joined.push(name.to_owned());
        }
    }

    /// The decoder of a port that a new region gets (`match_free_decoder`).
    fn free_decoder(&self, port: &str) -> Result<String, Broken> {
        let next = self.next_to_commit(port);
        let Some(decoder) = self.tree.decoders_of(port).find(|decoder| decoder.index == next) else {
            return broken(RegionRule::FreePortDecoder, format!("all decoders of {port} are committed"));
        };
        if let Some(region) = &decoder.region {
            return broken(RegionRule::FreePortDecoder, format!("{} is reserved for {region}", decoder.name));
        }
        let off = |before: &&Decoder| before.index < next && !self.enabled.contains(&before.name);
        if let Some(off) = self.tree.decoders_of(port).find(off) {
            let detail = format!("{} was taken off before decoders behind it", off.name);
            return broken(RegionRule::FreePortDecoder, detail);
        }
        Ok(decoder.name.clone())
    }

    /// No region of a port has addresses at or above those of one that joins it (`alloc_region_ref`).
    fn check_order(&self, region: &Region, port: &str) -> Result<(), Broken> {
        for decoder in self.tree.decoders_of(port) {
            let there = decoder.region.as_deref().filter(|there| *there != region.name);
            let Some(there) = there.and_then(|there| self.region(there)) else { continue };
            if there.start >= region.start {
                let detail = format!(
                    "{port} has {} at {:#x}, {} begins at {:#x}",
                    there.name, there.start.0, region.name, region.start.0
                );
                return broken(RegionRule::AddressOrder, detail);
            }
        }
        Ok(())
    }

    /// Programs the ports of a region that has all its targets.
    fn set_up(&mut self, name: &str, root: &RootDecoder) -> Result<(), Broken> {
        let Some(region) = self.region(name).cloned() else { return Ok(()) };
        let Some(granularity) = region.granularity.filter(|_| region.targets.iter().all(Option::is_some))
        else {
            return Ok(());
        };
        let paths = self.paths(&region);
        let steps: Vec<&[Step]> = paths.iter().map(|(_, path)| path.as_slice()).collect();
        let tree = &self.tree;
        let ports = program(root.ways, granularity, &steps, &|port| capability_of(tree, port))?;
        for (port, programming) in ports {
            let Some(decoder) = self.decoder_in(&port, name).map(|decoder| decoder.name.clone()) else {
                continue;
            };
            if let Some(decoder) = self.decoder_mut(&decoder) {
                decoder.ways = programming.ways;
                decoder.granularity = Some(programming.granularity);
                decoder.targets = programming.targets;
                (decoder.start, decoder.size) = (region.start, region.size);
            }
        }
        Ok(())
    }

    /// Takes the target at a position out of a region; its decoder.
    pub(crate) fn detach(&mut self, name: &str, position: usize) -> Option<String> {
        let region = self.region(name)?.clone();
        let target = region.targets.get(position)?.clone()?;
        // One that firmware programmed and the region only waits with has not joined it, and so cannot leave.
        let joined = self.decoder(&target).is_some_and(|decoder| decoder.region.as_deref() == Some(name));
        if !joined {
            return Some(target);
        }
        if region.committed == Some(true) {
            self.reset_region(name);
        }
        let was_active = region.size.0 != 0 && region.targets.iter().all(Option::is_some);
        let paths = self.paths(&region);
        let (own, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(|(other, _)| *other == position);
        let mut lost = Vec::from([target.clone()]);
        for step in own.iter().flat_map(|(_, path)| path).filter(|step| !step.is_root) {
            if !others.iter().flat_map(|(_, path)| path).any(|other| other.port == step.port) {
                lost.extend(self.decoder_in(&step.port, name).map(|decoder| decoder.name.clone()));
            }
        }
        for lost in lost {
            if let Some(decoder) = self.decoder_mut(&lost) {
                decoder.region = decoder.region.take().filter(|region| region != name);
            }
        }
        // The addresses of what firmware had programmed stay.
        if was_active && !self.assembled.contains(name) {
            let ports: BTreeSet<&str> = others
                .iter()
                .flat_map(|(_, path)| path)
                .filter(|step| !step.is_root)
                .map(|step| step.port.as_str())
                .collect();
            for decoder in &mut self.tree.decoders {
                if decoder.region.as_deref() == Some(name) && ports.contains(decoder.port.as_str()) {
                    (decoder.start, decoder.size) = (PhysAddr(0), ByteCount(0));
                }
            }
        }
        if let Some(slot) = self.region_mut(name).and_then(|region| region.targets.get_mut(position)) {
            *slot = None;
        }
        if let Some(decoder) = self.decoder_mut(&target) {
            (decoder.start, decoder.size) = (PhysAddr(0), ByteCount(0));
        }
        Some(target)
    }

    /// Commits the decoders of a region, from each device up to its bridge.
    pub(crate) fn commit_region(&mut self, name: &str) -> Result<(), Broken> {
        let Some(region) = self.region(name).cloned() else { return Ok(()) };
        if region.targets.iter().any(Option::is_none) {
            return broken(RegionRule::AllTargets, format!("{name} lacks targets"));
        }
        for (position, target) in region.targets.iter().enumerate() {
            let Some(target) = target else { continue };
            let decoders = self.decoders_above(&region.name, target);
            for (place, decoder) in decoders.iter().enumerate() {
                if let Err(refused) = self.commit_decoder(decoder) {
                    for done in decoders.iter().take(place) {
                        self.reset_decoder(done);
                    }
                    self.reset_targets(&region, position);
                    return Err(refused);
                }
            }
        }
        if let Some(region) = self.region_mut(name) {
            region.committed = Some(true);
        }
        Ok(())
    }

    /// The decoders of a region on the way of one of its targets, its own first.
    fn decoders_above(&self, region: &str, target: &str) -> Vec<String> {
        let mut names = Vec::from([target.to_owned()]);
        let steps = self.decoder(target).map(|decoder| path(&self.tree, &decoder.port)).unwrap_or_default();
        for step in steps.iter().filter(|step| !step.is_root) {
            names.extend(self.decoder_in(&step.port, region).map(|decoder| decoder.name.clone()));
        }
        names
    }

    /// Takes the decoders of a region off.
    pub(crate) fn reset_region(&mut self, name: &str) {
        let Some(region) = self.region(name).cloned() else { return };
        if !self.is_locked(&region) {
            self.reset_targets(&region, region.targets.len());
        }
        if let Some(region) = self.region_mut(name) {
            region.committed = Some(false);
        }
    }

    /// Takes the decoders above the first `count` targets off, the last target's first, each from its bridge down.
    fn reset_targets(&mut self, region: &Region, count: usize) {
        for target in region.targets.iter().take(count).rev().flatten() {
            for decoder in self.decoders_above(&region.name, target).iter().rev() {
                self.reset_decoder(decoder);
            }
        }
    }

    /// Takes a region away with all its targets.
    pub(crate) fn delete_region(&mut self, name: &str) {
        let count = self.region(name).map_or(0, |region| region.targets.len());
        for position in 0..count {
            self.detach(name, position);
        }
        self.tree.regions.retain(|region| region.name != name);
        self.caches.remove(name);
        self.assembled.remove(name);
    }
}
