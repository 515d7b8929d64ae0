//! HDM decoders below the root: which are on, and the device memory that those of endpoints lead to
//! (`drivers/cxl/core/hdm.c`).

use super::cxl::Cxl;
use super::region_rules::{Broken, RegionRule, UNIT, passes_through};
use crate::topology::cxl::{CxlTree, Decoder, DpaRange, Mode, PortKind};
use crate::units::{ByteCount, DeviceAddr};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

/// Decoders that are on when the drivers come up: committed ones. A bridge or switch may still show the addresses of a
/// region that it has lost; what counts there is a region, or a device behind it that decodes the same addresses. The
/// last committed one is on in any case: the count goes down with it (`drivers/cxl/core/hdm.c:
/// cxl_port_commit_reap`).
pub(crate) fn enabled(tree: &CxlTree) -> BTreeSet<String> {
    let of_endpoint = |decoder: &Decoder| {
        tree.port(&decoder.port).is_some_and(|port| port.kind == PortKind::Endpoint)
            && tree.is_committed(decoder)
    };
    let behind = |decoder: &Decoder| {
        let same = |other: &&Decoder| other.start == decoder.start && other.size == decoder.size;
        tree.decoders.iter().filter(same).any(of_endpoint)
    };
    let last = |decoder: &Decoder| {
        let count = tree.port(&decoder.port).and_then(|port| port.decoders_committed);
        count.is_some_and(|count| count == decoder.index.saturating_add(1))
    };
    let on = |decoder: &&Decoder| {
        tree.is_committed(decoder)
            && (decoder.region.is_some() || last(decoder) || of_endpoint(decoder) || behind(decoder))
    };
    tree.decoders.iter().filter(on).map(|decoder| decoder.name.clone()).collect()
}

impl Cxl {
    /// The decoder with this name.
    pub(crate) fn decoder(&self, name: &str) -> Option<&Decoder> {
        self.tree.decoders.iter().find(|decoder| decoder.name == name)
    }

    pub(crate) fn decoder_mut(&mut self, name: &str) -> Option<&mut Decoder> {
        self.tree.decoders.iter_mut().find(|decoder| decoder.name == name)
    }

    /// How many decoders of a port are committed: the index of the next in turn.
    pub(crate) fn next_to_commit(&self, port: &str) -> u32 {
        self.tree.port(port).and_then(|port| port.decoders_committed).unwrap_or_default()
    }

    fn set_committed(&mut self, port: &str, count: u32) {
        if let Some(port) = self.tree.ports.iter_mut().find(|known| known.name == port) {
            port.decoders_committed = Some(count);
        }
    }

    /// Commits a decoder (`cxl_decoder_commit`).
    pub(crate) fn commit_decoder(&mut self, name: &str) -> Result<(), Broken> {
        let Some(decoder) = self.decoder(name) else { return Ok(()) };
        let (port, index) = (decoder.port.clone(), decoder.index);
        if self.enabled.contains(name) || passes_through(&self.tree, &port) {
            return Ok(());
        }
        let next = self.next_to_commit(&port);
        if next != index {
            let detail = format!("{name} before index {next} of {port}");
            return Err(Broken::new(RegionRule::CommitOrder, detail));
        }
        self.set_committed(&port, next.saturating_add(1));
        self.enabled.insert(String::from(name));
        Ok(())
    }

    /// Takes a decoder off (`cxl_decoder_reset`). The last of its port takes those before it along that are off
    /// already.
    pub(crate) fn reset_decoder(&mut self, name: &str) {
        let Some(decoder) = self.decoder(name) else { return };
        if decoder.locked == Some(true) || !self.enabled.contains(name) {
            return;
        }
        let (port, index) = (decoder.port.clone(), decoder.index);
        self.enabled.remove(name);
        if self.next_to_commit(&port) != index.saturating_add(1) {
            return;
        }
        let is_on = |decoder: &&Decoder| self.enabled.contains(&decoder.name) && decoder.index < index;
        let count =
            self.tree.decoders_of(&port).filter(is_on).map(|decoder| decoder.index.saturating_add(1)).max();
        self.set_committed(&port, count.unwrap_or_default());
    }

    /// The memory of the device of an endpoint, volatile and persistent.
    fn partitions(&self, endpoint: &str) -> (u64, u64) {
        let memdev = self.tree.port(endpoint).and_then(|port| self.tree.memdev_of(port));
        memdev.map_or((0, 0), |memdev| (memdev.ram_size.0, memdev.pmem_size.0))
    }

    /// Picks the kind of memory of an endpoint decoder (`cxl_dpa_set_part`).
    pub(crate) fn set_mode(&mut self, name: &str, mode: Mode) -> Result<(), Broken> {
        let Some(decoder) = self.decoder(name) else { return Ok(()) };
        if self.enabled.contains(name) {
            return Err(Broken::new(RegionRule::DeviceMemoryOrder, format!("{name} is on")));
        }
        let (ram, pmem) = self.partitions(&decoder.port);
        let size = if mode == Mode::Ram { ram } else { pmem };
        if size == 0 {
            let detail = format!("the device of {name} has no {} memory", mode.name());
            return Err(Broken::new(RegionRule::DeviceKind, detail));
        }
        if let Some(decoder) = self.decoder_mut(name) {
            decoder.mode = Some(mode);
        }
        Ok(())
    }

    /// Gives an endpoint decoder device memory, or takes it back with a size of 0 (`dpa_size_store`).
    pub(crate) fn set_share(&mut self, name: &str, size: ByteCount) -> Result<(), Broken> {
        if size.0.checked_rem(UNIT.0) != Some(0) {
            return Err(Broken::new(RegionRule::ShareUnit, format!("{name}: {:#x} bytes", size.0)));
        }
        self.free_share(name)?;
        if size.0 == 0 {
            return Ok(());
        }
        let Some(decoder) = self.decoder(name) else { return Ok(()) };
        let refused = |what: &str| Err(Broken::new(RegionRule::DeviceMemoryOrder, format!("{name} {what}")));
        let Some(mode) = decoder.mode else { return refused("has no kind of memory") };
        if decoder.region.is_some() || self.enabled.contains(name) {
            return refused("is in use");
        }
        let (ram, pmem) = self.partitions(&decoder.port);
        let (mut ram_end, mut pmem_end, mut before) = (0, ram, 0);
        for dpa in self.tree.decoders_of(&decoder.port).filter_map(|decoder| decoder.dpa) {
            // What lies between it and the one before is skipped, and counts as given away.
            let skipped = if dpa.start.0 > before { dpa.start.0.min(ram) } else { 0 };
            before = dpa.start.0.saturating_add(dpa.size.0);
            ram_end = ram_end.max(skipped);
            let end = if dpa.start.0 < ram { &mut ram_end } else { &mut pmem_end };
            *end = before.max(*end);
        }
        let held = self.tree.decoders_of(&decoder.port).filter(|decoder| decoder.dpa.is_some());
        let next = held.map(|decoder| decoder.index.saturating_add(1)).max().unwrap_or_default();
        let (start, end) = match mode {
            Mode::Ram => (ram_end, ram),
            Mode::Pmem => (pmem_end, ram.saturating_add(pmem)),
        };
        let left = end.saturating_sub(start);
        if size.0 > left {
            let detail = format!("{name}: {:#x} bytes of {} memory, {left:#x} are left", size.0, mode.name());
            return Err(Broken::new(RegionRule::FreeDeviceMemory, detail));
        }
        if decoder.index != next {
            return refused("is not the next in turn");
        }
        if let Some(decoder) = self.decoder_mut(name) {
            decoder.dpa = Some(DpaRange { start: DeviceAddr(start), size });
        }
        Ok(())
    }

    /// Takes the device memory of an endpoint decoder back (`cxl_dpa_free`): last in, first out.
    fn free_share(&mut self, name: &str) -> Result<(), Broken> {
        let Some(decoder) = self.decoder(name).filter(|decoder| decoder.dpa.is_some()) else { return Ok(()) };
        let what = if let Some(region) = &decoder.region {
            Some(format!("{name} is part of {region}"))
        } else if self.enabled.contains(name) {
            Some(format!("{name} is on"))
        } else {
            let held = |other: &&Decoder| other.dpa.is_some() && other.index > decoder.index;
            let later = self.tree.decoders_of(&decoder.port).find(held);
            later.map(|later| {
                format!("{} has device memory that was given away after that of {name}", later.name)
            })
        };
        if let Some(what) = what {
            return Err(Broken::new(RegionRule::DeviceMemoryOrder, what));
        }
        if let Some(decoder) = self.decoder_mut(name) {
            decoder.dpa = None;
        }
        Ok(())
    }
}
