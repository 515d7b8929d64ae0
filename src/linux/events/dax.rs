//! DAX devices are given to drivers and taken from them.

use super::{Errno, Stop};
use crate::linux::changes::Change;
use crate::linux::reason::Reason;
use crate::linux::rules;
use crate::linux::soft_reserved::{DaxDriver, Kmem};
use crate::linux::state::State;
use alloc::boxed::Box;
use alloc::format;

impl State<'_> {
    /// The writes to `memmap_on_memory` of the device, where that is asked for, and to `bind` of the driver; for
    /// `device_dax` to `new_id` before. That file takes the device at once, so the write to `bind` finds it taken.
    pub(super) fn bind_dax(
        &mut self,
        name: &str,
        driver: &str,
        memmap_on_memory: Option<bool>,
    ) -> Result<(), Box<Stop>> {
        let place = self.dax_place(name);
        if let Some(wish) = memmap_on_memory {
            let at = format!("/sys/bus/dax/devices/{name}/memmap_on_memory");
            let Some(device) = place.and_then(|place| self.dax.get(place)) else {
                return Err(Stop::errno(Errno::NoEntry, at, rules::DAX_MISSING));
            };
            if wish && !self.supports_memmap_on_memory() {
                return Err(Stop::errno(Errno::NotSupported, at, rules::DAX_MEMMAP_OFF));
            }
            if device.driver == Some(DaxDriver::Kmem) && device.memmap_on_memory != wish {
                return Err(Stop::errno(Errno::Busy, at, rules::DAX_MEMMAP_BOUND));
            }
            if let Some(device) = place.and_then(|place| self.dax.get_mut(place)) {
                device.memmap_on_memory = wish;
            }
        }
        let folder = format!("/sys/bus/dax/drivers/{driver}");
        let at = format!("{folder}/bind");
        let loaded = self.loaded.iter().any(|loaded| loaded == driver);
        let known = [DaxDriver::Kmem, DaxDriver::DeviceDax].into_iter().find(|known| known.name() == driver);
        let Some(known) = known.filter(|_| loaded) else {
            let file = if driver == DaxDriver::DeviceDax.name() { "new_id" } else { "bind" };
            return Err(Stop::errno(Errno::NoEntry, format!("{folder}/{file}"), rules::DAX_MISSING));
        };
        let Some((place, device)) = place.and_then(|place| Some((place, *self.dax.get(place)?))) else {
            return Err(Stop::errno(Errno::NoMatch, at, rules::DAX_MISSING));
        };
        if device.driver.is_some() {
            return Err(Stop::errno(Errno::Busy, at, rules::DAX_TAKEN));
        }
        let bound = Change::DaxBound { device: device.name(), driver: known.name() };
        if known == DaxDriver::DeviceDax {
            let rule = if self.try_device_dax(place) {
                self.changed(bound, Reason::new(rules::DAX_BOUND));
                rules::DAX_TAKEN
            } else {
                rules::KMEM_BUSY
            };
            return Err(Stop::errno(Errno::Busy, at, rule));
        }
        // Told before what it leads to, and taken back where it leads to nothing.
        let told = self.changes.len();
        self.changed(bound, Reason::new(rules::DAX_BOUND));
        let (errno, rule) = match self.try_kmem(place) {
            Kmem::Added => return Ok(()),
            Kmem::NoNode => (Errno::Invalid, rules::KMEM_NO_NODE),
            Kmem::TooSmall => (Errno::Invalid, rules::KMEM_TOO_SMALL),
            Kmem::Refused => (Errno::Invalid, rules::KMEM_REFUSED),
            Kmem::Busy | Kmem::Left | Kmem::Unbound => (Errno::Busy, rules::KMEM_BUSY),
        };
        self.changes.truncate(told);
        Err(Stop::errno(errno, at, rule))
    }

    /// A write to `unbind` of the driver that the device has. It succeeds even where the memory stays.
    pub(super) fn unbind_dax(&mut self, name: &str) -> Result<(), Box<Stop>> {
        let place = self.dax_place(name);
        let driver = place.and_then(|place| self.dax.get(place)?.driver);
        let (Some(place), Some(_)) = (place, driver) else {
            return Err(Stop::errno(Errno::NoMatch, "/sys/bus/dax/drivers//unbind", rules::DAX_MISSING));
        };
        self.release_dax(place);
        Ok(())
    }
}
