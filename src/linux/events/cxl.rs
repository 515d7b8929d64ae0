//! CXL regions are made and taken apart, write by write, as `cxl create-region` and `cxl destroy-region -f` do it.

use super::{Cause, Errno, RegionWish, Stop};
use crate::linux::block_map::{BlockId, BlockState};
use crate::linux::changes::Change;
use crate::linux::cxl::Cxl;
use crate::linux::reason::{Reason, Section};
use crate::linux::region_rules::{Broken, RegionRule, check_granularity, check_kind, check_size, check_ways};
use crate::linux::rules;
use crate::linux::state::State;
use crate::linux::windows::RootDecoder;
use crate::range::AddressRange;
use crate::topology::cxl::{Mode, Region, numbers};
use crate::units::{ByteCount, PhysAddr};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const BIND: &str = "/sys/bus/cxl/drivers/cxl_region/bind";

/// A write that broke a rule.
fn refuse(at: impl Into<String>) -> impl FnOnce(Broken) -> Box<Stop> {
    let at = at.into();
    move |broken| Stop::with(Cause::Errno(broken.rule.errno()), Some(at), broken.reason())
}

fn undetermined(missing: &str) -> Box<Stop> {
    Stop::with(Cause::Undetermined(missing.to_owned()), None, Reason::new(rules::CXL_NOT_DESCRIBED))
}

impl State<'_> {
    /// Makes a region. One that a write refuses is deleted again, and the device memory that it was given goes back as
    /// far as the kernel takes it.
    pub(super) fn create_region(&mut self, wish: &RegionWish) -> Result<(), Box<Stop>> {
        let at = format!("{}/create_{}_region", wish.root, wish.mode);
        let Some((root, mode)) = self.parts(wish) else {
            if self.notes.lacks(Section::Cxl) {
                return Err(undetermined("what its windows are"));
            }
            return Err(Stop::errno(Errno::NoEntry, at, rules::REGION_WINDOW_KIND));
        };
        let root = root.clone();
        check_kind(&root, mode).map_err(refuse(at))?;
        let id = self.region_ids.take(root.index);
        let name = format!("region{id}");
        if let Some(cxl) = &mut self.cxl {
            cxl.tree.regions.push(Region {
                name: name.clone(),
                root_decoder: Some(wish.root.clone()),
                start: PhysAddr(0),
                size: ByteCount(0),
                ways: 0,
                granularity: None,
                mode: Some(mode),
                committed: Some(false),
                bound: Some(false),
                targets: Vec::new(),
            });
            cxl.tree.regions.sort_by_key(|region| numbers(&region.name));
        }
        let mut given = Vec::new();
        let result = self.build(wish, &name, &root, mode, &mut given);
        if result.is_err() {
            self.drop_region(&name);
            if let Some(cxl) = &mut self.cxl {
                for decoder in given {
                    // In the order in which they were given, which the kernel does not always take.
                    let _still_held = cxl.set_share(&decoder, ByteCount(0));
                }
            }
        }
        result
    }

    /// The root decoder and the kind of memory of a wish, where there are such.
    fn parts(&self, wish: &RegionWish) -> Option<(&RootDecoder, Mode)> {
        let cxl = self.cxl.as_ref()?;
        let named = |root: &&RootDecoder| format!("decoder0.{}", root.index) == wish.root;
        Some((cxl.root.decoders.iter().find(named)?, Mode::from_name(&wish.mode)?))
    }

    /// The writes behind the first, in order.
    fn build(
        &mut self,
        wish: &RegionWish,
        name: &str,
        root: &RootDecoder,
        mode: Mode,
        given: &mut Vec<String>,
    ) -> Result<(), Box<Stop>> {
        let count = wish.ways.unwrap_or_else(|| u32::try_from(wish.targets.len()).unwrap_or(u32::MAX));
        check_granularity(root, wish.granularity)
            .map_err(refuse(format!("{name}/interleave_granularity")))?;
        let ways = check_ways(root, count).map_err(refuse(format!("{name}/interleave_ways")))?;
        let start = self.addresses(name, root, count, wish.size)?;
        if let Some(region) = self.cxl.as_mut().and_then(|cxl| cxl.region_mut(name)) {
            (region.start, region.size, region.ways) = (start, wish.size, count);
            region.granularity = Some(wish.granularity);
            region.targets = vec![None; usize::from(ways.count())];
        }
        if self.topology.cxl.is_none() {
            return Err(undetermined("the CXL devices: what `cxl list -vvv` prints, or a copied /sys"));
        }
        let targets = u64::try_from(wish.targets.len()).unwrap_or(u64::MAX);
        let share = ByteCount(wish.size.0.checked_div(targets).unwrap_or_default());
        for (position, serial) in wish.targets.iter().enumerate() {
            self.add_target(name, mode, share, position, *serial, given)?;
        }
        let at = format!("{name}/commit");
        let Some(cxl) = &mut self.cxl else { return Ok(()) };
        let complete = cxl.region(name).is_some_and(|region| region.targets.iter().all(Option::is_some));
        if complete && self.kernel.platform.hypervisor {
            let broken = Broken::new(RegionRule::Flush, "the kernel sees a hypervisor");
            return Err(refuse(at)(broken));
        }
        cxl.commit_region(name).map_err(refuse(at))?;
        let names =
            cxl.region(name).map(|region| region.targets.iter().flatten().cloned().collect::<Vec<_>>());
        let detail = format!(
            "{count} ways of {} bytes over {}",
            wish.granularity,
            names.unwrap_or_default().join(", ")
        );
        if let Some(range) = AddressRange::from_base_size(start, wish.size) {
            let change = Change::RegionCreated { region: name.to_owned(), range };
            self.changed(change, Reason::new(rules::REGION_CREATED).because(detail));
        }
        if wish.bind {
            self.bind_region(name)?;
        }
        Ok(())
    }

    /// One target: the kind and amount of its memory, and its position.
    fn add_target(
        &mut self,
        name: &str,
        mode: Mode,
        share: ByteCount,
        position: usize,
        serial: u64,
        given: &mut Vec<String>,
    ) -> Result<(), Box<Stop>> {
        let Some(cxl) = &mut self.cxl else { return Ok(()) };
        let Some(decoder) = free_endpoint_decoder(cxl, serial) else {
            let detail =
                format!("no device with serial number {serial}, or all its decoders have device memory");
            let broken = Broken::new(RegionRule::FreeEndpointDecoder, detail);
            return Err(refuse(format!("serial {serial}"))(broken));
        };
        cxl.set_mode(&decoder, mode).map_err(refuse(format!("{decoder}/mode")))?;
        cxl.set_share(&decoder, share).map_err(refuse(format!("{decoder}/dpa_size")))?;
        given.push(decoder.clone());
        cxl.attach(name, &decoder, position).map_err(refuse(format!("{name}/target{position}")))
    }

    /// The addresses of a new region (`alloc_hpa`). A size of 0 gives it none, which the kernel takes.
    fn addresses(
        &self,
        name: &str,
        root: &RootDecoder,
        ways: u32,
        size: ByteCount,
    ) -> Result<PhysAddr, Box<Stop>> {
        let at = format!("{name}/size");
        if size.0 == 0 {
            return Ok(PhysAddr(0));
        }
        check_size(ways, size).map_err(refuse(at.clone()))?;
        let Some(gaps) = self.gaps(root) else {
            return Err(undetermined("what the kernel does in a window that another one has cut off"));
        };
        let lowest = gaps.iter().find(|gap| gap.size() >= size).map(|gap| gap.start);
        lowest.ok_or_else(|| {
            let detail = format!("{:#x} bytes in decoder0.{}", size.0, root.index);
            refuse(at)(Broken::new(RegionRule::FreeAddresses, detail))
        })
    }

    /// The region driver takes a committed region; `dax_cxl` makes a device over volatile memory.
    fn bind_region(&mut self, name: &str) -> Result<(), Box<Stop>> {
        let Some(cxl) = &mut self.cxl else { return Ok(()) };
        // A bridge to the NVDIMM drivers is there as soon as a window allows persistent memory, which a window with such
        // a region does.
        if let Some(region) = cxl.region_mut(name) {
            region.bound = Some(true);
            cxl.bound.push(name.to_owned());
        } else {
            return Err(Stop::errno(Errno::NoMatch, BIND, rules::REGION_MISSING));
        }
        self.changed(Change::RegionBound(name.to_owned()), Reason::new(rules::REGION_BOUND));
        self.add_region_devices();
        Ok(())
    }

    /// Takes a region from its driver, and the device over it away.
    fn unbind_region(&mut self, name: &str) {
        let Some(region) = self.cxl.as_mut().and_then(|cxl| cxl.region_mut(name)) else { return };
        if region.bound != Some(true) {
            return;
        }
        region.bound = Some(false);
        if let Some(cxl) = &mut self.cxl {
            cxl.bound.retain(|known| known != name);
        }
        self.remove_region_device(numbers(name).0);
        self.changed(Change::RegionUnbound(name.to_owned()), Reason::new(rules::REGION_UNBOUND));
    }

    /// Takes a region away and its number back.
    fn drop_region(&mut self, name: &str) {
        self.unbind_region(name);
        let root = self.cxl.as_ref().and_then(|cxl| cxl.region(name)?.root_decoder.clone());
        if let Some(cxl) = &mut self.cxl {
            cxl.delete_region(name);
        }
        let id = numbers(name).0;
        if let Some(root) = root {
            self.region_ids.release(numbers(&root).1, id);
        }
    }

    /// Takes a region apart. What a write leaves when a later one is refused stays so.
    pub(super) fn delete_region(&mut self, name: &str) -> Result<(), Box<Stop>> {
        let Some(region) = self.cxl.as_ref().and_then(|cxl| cxl.region(name)).cloned() else {
            if self.notes.lacks(Section::Cxl) {
                return Err(undetermined("which regions there are"));
            }
            return Err(Stop::errno(Errno::NoEntry, name, rules::REGION_MISSING));
        };
        if let Some(block) = self.online_block_in(&region) {
            return Err(Stop::errno(Errno::Busy, format!("memory{block}"), rules::REGION_MEMORY_ONLINE));
        }
        if region.bound == Some(true) {
            self.unbind_region(name);
        }
        let Some(cxl) = &mut self.cxl else { return Ok(()) };
        if cxl.is_locked(&region) {
            let broken = Broken::new(RegionRule::Unlocked, format!("{name} is locked"));
            return Err(refuse(format!("{name}/commit"))(broken));
        }
        if region.committed == Some(true) {
            cxl.reset_region(name);
            self.changed(Change::RegionReset(name.to_owned()), Reason::new(rules::REGION_RESET));
        }
        for position in 0..region.targets.len() {
            let Some(cxl) = &mut self.cxl else { return Ok(()) };
            let Some(decoder) = cxl.detach(name, position) else { continue };
            let left = cxl.region(name).and_then(|region| region.targets.get(position)) == Some(&None);
            let freed = cxl.set_share(&decoder, ByteCount(0));
            if left {
                let change = Change::TargetDetached { region: name.to_owned(), decoder: decoder.clone() };
                self.changed(change, Reason::new(rules::REGION_TARGET_LEFT));
            }
            freed.map_err(refuse(format!("{decoder}/dpa_size")))?;
        }
        self.drop_region(name);
        self.changed(Change::RegionDeleted(name.to_owned()), Reason::new(rules::REGION_DELETED));
        Ok(())
    }

    /// The first block of a region that is online.
    fn online_block_in(&self, region: &Region) -> Option<BlockId> {
        let range =
            AddressRange::from_base_size(region.start, region.size).filter(|range| !range.is_empty())?;
        let (first, last) =
            (self.blocks.of(range.start), self.blocks.of(PhysAddr(range.end.0.saturating_sub(1))));
        let runs = self.blocks.between(first, last.plus(1));
        runs.iter().find(|(_, run)| run.state != BlockState::Offline).map(|(first, _)| *first)
    }
}

/// The first decoder of a device that has no device memory.
fn free_endpoint_decoder(cxl: &Cxl, serial: u64) -> Option<String> {
    let tree = &cxl.tree;
    let memdev = tree.memdevs.iter().find(|memdev| memdev.serial == Some(serial))?;
    let endpoint = tree.ports.iter().find(|port| port.host.as_deref() == Some(&memdev.name))?;
    let mut decoders = tree.decoders_of(&endpoint.name);
    decoders.find(|decoder| decoder.dpa.is_none()).map(|decoder| decoder.name.clone())
}
