//! Whole devices that come and go: an addition carried out, and added memory given back by whatever way it has.

use super::added::MemoryDevice;
use super::block_map::GroupId;
use super::hot_add::{Addition, Forecast};
use super::memmap::Adder;
use super::soft_reserved::{DaxDevice, DaxDriver, DaxParent, Kmem};
use super::state::State;
use crate::units::ProximityDomain;
use alloc::collections::BTreeMap;

impl State<'_> {
    /// What would come of an addition, and the state with it carried out, its device included. `domain` is what an ACPI
    /// memory device says. The state is this one where nothing is added.
    pub(crate) fn attach(&self, addition: &Addition, domain: Option<ProximityDomain>) -> (Forecast, Self) {
        let (forecast, mut after) = self.foretell(addition, &BTreeMap::new());
        if forecast.added.is_empty() {
            return (forecast, self.clone());
        }
        match addition.adder {
            Adder::AcpiDevice => {
                let devices = addition.ranges.iter().map(|range| MemoryDevice { range: *range, domain });
                after.devices.extend(devices);
            }
            Adder::Kmem(parent, written) => {
                for range in &addition.ranges {
                    if !after.dax.iter().any(|device| device.range == *range) {
                        let id = after.region_ids.allocate();
                        after.dax.push(DaxDevice::new(id, parent, None, *range, forecast.node));
                    }
                    for device in after.dax.iter_mut().filter(|device| device.range == *range) {
                        device.driver = Some(DaxDriver::Kmem);
                        device.memmap_on_memory = written.unwrap_or(device.memmap_on_memory);
                        device.kmem = Kmem::Added;
                    }
                }
            }
            Adder::VirtioMem => {}
        }
        (forecast, after)
    }

    /// The state after memory that was added together was taken offline and given back with its device. That all its
    /// pages can be moved is taken for granted.
    pub(crate) fn detach(&self, group: GroupId) -> Self {
        let mut after = self.clone();
        after.changes.clear();
        for added in self.added.iter().filter(|added| added.group == group) {
            let range = added.range;
            after.take_offline(after.blocks.of(range.start), after.blocks.of(range.end));
            after.remove_memory(added.clone());
            after.devices.retain(|device| device.range != range);
            after.dax.retain(|device| device.parent != DaxParent::Region || !device.range.covers(&range));
            for device in after.dax.iter_mut().filter(|device| device.range.covers(&range)) {
                (device.driver, device.kmem) = (None, Kmem::Unbound);
            }
        }
        after
    }
}
