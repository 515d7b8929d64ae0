//! DAX devices go from driver to driver, and vanish with what they stand on (`drivers/dax/bus.c`, `drivers/dax/kmem.c`,
//! `drivers/dax/device.c`).

use super::block_map::BlockState;
use super::blocks;
use super::changes::Change;
use super::reason::Reason;
use super::rules;
use super::soft_reserved::{DaxDriver, DaxParent, Kmem};
use super::state::State;
use super::zones::PageSpan;
use crate::units::NodeId;

impl State<'_> {
    /// The place of a DAX device in the list.
    pub(crate) fn dax_place(&self, name: &str) -> Option<usize> {
        self.dax.iter().position(|device| device.name() == name)
    }

    /// Takes a device from its driver. What kmem made of it goes where all of it is offline, and stays otherwise.
    pub(crate) fn release_dax(&mut self, place: usize) {
        let Some(device) = self.dax.get(place).copied() else { return };
        let Some(driver) = device.driver else { return };
        let mut rule = rules::DAX_UNBOUND;
        if driver == DaxDriver::Kmem {
            let range = blocks::whole_blocks(&device.range, self.blocks.size);
            let added = self.added.iter().find(|added| Some(added.range) == range).cloned();
            let offline = added.as_ref().is_some_and(|added| {
                let (first, end) = (self.blocks.of(added.range.start), self.blocks.of(added.range.end));
                self.blocks.between(first, end).iter().all(|(_, run)| run.state == BlockState::Offline)
            });
            let kmem = match added {
                Some(added) if offline => {
                    self.remove_memory(added);
                    Kmem::Unbound
                }
                _ => {
                    rule = rules::DAX_LEFT;
                    Kmem::Left
                }
            };
            if let Some(device) = self.dax.get_mut(place) {
                device.kmem = kmem;
            }
            if let Some(node) = device.node.filter(|_| offline) {
                self.forget_distance(node);
            }
        }
        if let Some(device) = self.dax.get_mut(place) {
            device.driver = None;
        }
        let change = Change::DaxUnbound { device: device.name(), driver: driver.name() };
        self.changed(change, Reason::new(rule));
    }

    /// A node keeps its distance as long as it has memory, or a device of kmem (`clear_node_memory_type`).
    fn forget_distance(&mut self, node: NodeId) {
        let used = self.dax.iter().any(|device| device.node == Some(node) && device.is_memory());
        if !used && !self.nodes.has_memory.contains(node) {
            self.tiers.distance.remove(&node);
            self.moved.remove(&node);
        }
    }

    /// Takes the device over a region away.
    pub(crate) fn remove_region_device(&mut self, region: u32) {
        let own = |device: &super::soft_reserved::DaxDevice| {
            device.parent == DaxParent::Region && device.id == region
        };
        let Some(place) = self.dax.iter().position(own) else { return };
        self.release_dax(place);
        let device = self.dax.remove(place);
        self.changed(Change::DaxRemoved(device.name()), Reason::new(rules::DAX_REMOVED));
    }

    /// `device_dax` takes a device: its pages join the device zone of the node that it is near to; `false` where they
    /// are in use.
    pub(crate) fn try_device_dax(&mut self, place: usize) -> bool {
        let Some(device) = self.dax.get(place).copied() else { return false };
        if device.kmem == Kmem::Left {
            return false;
        }
        let node = device.near.or_else(|| self.nodes.has_cpu.iter().next());
        if let Some(node) = node {
            self.zones.keep(node, PageSpan::of(&device.range));
        }
        if let Some(device) = self.dax.get_mut(place) {
            device.driver = Some(DaxDriver::DeviceDax);
        }
        true
    }
}
