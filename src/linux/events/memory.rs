//! Memory devices that are plugged in and pulled out, and blocks that go online and offline.

use super::{Cause, Errno, Given, Stop};
use crate::linux::added::MemoryDevice;
use crate::linux::block_map::{BlockId, BlockState};
use crate::linux::hot_remove::Fate;
use crate::linux::online::OnlineKind;
use crate::linux::reason::{Reason, Section};
use crate::linux::rules;
use crate::linux::state::State;
use crate::linux::zones::Zone;
use crate::range::AddressRange;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl State<'_> {
    /// Plugs an ACPI memory device in.
    pub(super) fn plug(&mut self, device: &MemoryDevice) -> Result<(), Box<Stop>> {
        if self.devices.iter().any(|known| known.range.overlaps(&device.range)) {
            return Err(Stop::errno(Errno::Exists, "emulator", rules::DEVICE_THERE));
        }
        // It stays plugged in even when the kernel refuses its memory.
        self.devices.push(*device);
        self.add_device(device).map_err(|refused| {
            let (errno, rule) = refused.told();
            let detail = format!("{}, in blocks of {} MiB", device.range, self.blocks.size.0 >> 20);
            Stop::with(Cause::Errno(errno), Some(String::from("add")), Reason::new(rule).because(detail))
        })
    }

    /// Asks an ACPI memory device back (`drivers/acpi/scan.c: acpi_scan_hot_remove`).
    pub(super) fn unplug(&mut self, range: &AddressRange, outcome: Option<Given>) -> Result<(), Box<Stop>> {
        let Some(place) = self.devices.iter().position(|known| known.range == *range) else {
            return Err(Stop::errno(Errno::NoEntry, "del", rules::NO_DEVICE));
        };
        // One whose memory was refused has nothing to take offline.
        if let Some(added) = self.added.iter().find(|added| added.range == *range).cloned() {
            let (first, end) = (self.blocks.of(range.start), self.blocks.of(range.end));
            let runs = self.blocks.between(first, end);
            let movable = BlockState::Online(Some(Zone::Movable));
            let in_kernel_zone = |state| state != movable && state != BlockState::Offline;
            let kernel = runs.iter().any(|(_, run)| in_kernel_zone(run.state));
            match outcome {
                Some(Given::Ok) => {}
                None if !kernel => {}
                None => return Err(undetermined(String::from("del"))),
                Some(Given::Busy) => {
                    if kernel {
                        // In a kernel zone, only pages tell whether a block went offline and came back as was asked.
                        let asked = self.asked_in_vain.range(first..end).map(|(block, _)| *block);
                        let fixed = |block: &BlockId| {
                            self.blocks.get(*block).is_none_or(|run| !in_kernel_zone(run.state))
                        };
                        for block in asked.filter(|block| !fixed(block)) {
                            let missing =
                                format!("whether block {block} was offline before the eject failed");
                            self.notes.missing(Section::MovableZones, missing);
                        }
                        self.roll_back(
                            runs.iter()
                                .filter(|(_, run)| run.state == movable)
                                .map(|(at, run)| (*at, run.end)),
                        );
                    }
                    return Err(Stop::errno(Errno::Busy, "del", rules::EJECT_BUSY));
                }
            }
            self.take_offline(first, end);
            self.remove_memory(added);
        }
        self.devices.remove(place);
        Ok(())
    }

    /// What could be taken offline goes back online, wherever the policy puts it now; but a block whose last request
    /// was refused, as that asks (`drivers/base/memory.c: state_store, memory_subsys_online`).
    fn roll_back(&mut self, movable: impl Iterator<Item = (BlockId, BlockId)>) {
        let movable: Vec<(BlockId, BlockId)> = movable.collect();
        for (first, end) in &movable {
            self.take_offline(*first, *end);
        }
        for (first, end) in movable {
            let mut at = first;
            for (block, kind) in
                self.asked_in_vain.range(first..end).map(|(at, kind)| (*at, *kind)).collect::<Vec<_>>()
            {
                self.bring_online(at, block, OnlineKind::Policy);
                self.bring_online(block, block.plus(1), kind);
                at = block.plus(1);
            }
            self.bring_online(at, end, OnlineKind::Policy);
        }
    }

    /// One write to the `state` file of a block.
    pub(super) fn online_block(&mut self, block: BlockId, kind: OnlineKind) -> Result<(), Box<Stop>> {
        let at = format!("memory{block}/state");
        match self.blocks.get(block).map(|run| run.state) {
            None => Err(Stop::errno(Errno::NoEntry, at, rules::NO_BLOCK)),
            Some(BlockState::Online(_)) => {
                self.asked_in_vain.insert(block, kind);
                Err(Stop::errno(Errno::Invalid, at, rules::BLOCK_STATE))
            }
            Some(BlockState::Offline) => {
                self.bring_online(block, block.plus(1), kind);
                Ok(())
            }
        }
    }

    /// One write of `offline` to the `state` file of a block.
    pub(super) fn offline_block(&mut self, block: BlockId, outcome: Option<Given>) -> Result<(), Box<Stop>> {
        let at = format!("memory{block}/state");
        let end = block.plus(1);
        let invalid = |at: String, rule| Err(Stop::errno(Errno::Invalid, at, rule));
        let Some(run) = self.blocks.get(block) else {
            return Err(Stop::errno(Errno::NoEntry, at, rules::NO_BLOCK));
        };
        match (self.fate(block, run), outcome) {
            (Fate::Offline, _) => return invalid(at, rules::BLOCK_STATE),
            (Fate::Refused(Errno::Invalid, rule), _) => return invalid(at, rule),
            (_, Some(Given::Busy)) => return Err(Stop::errno(Errno::Busy, at, rules::BLOCK_BUSY)),
            (Fate::KernelPages, None) => return Err(undetermined(at)),
            (Fate::Refused(errno, rule), None) => return Err(Stop::errno(errno, at, rule)),
            _ => self.take_offline(block, end),
        }
        Ok(())
    }
}

/// Kernel memory may hold pages that cannot move.
fn undetermined(at: String) -> Box<Stop> {
    let missing = String::from("the outcome, as \"result\":\"ok\" or \"result\":\"EBUSY\"");
    Stop::with(Cause::Undetermined(missing), Some(at), Reason::new(rules::KERNEL_PAGES))
}
