//! Which addresses of a CXL window new regions can have.

use super::region_rules::UNIT;
use super::soft_reserved::DaxParent;
use super::state::State;
use super::windows::RootDecoder;
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::units::PhysAddr;
use alloc::vec::Vec;

impl State<'_> {
    /// The gaps of a root decoder's window, ascending; a region begins at a multiple of 256 MiB, and so does every gap
    /// (`kernel/resource.c: alloc_free_mem_region`). `None` for a window that another one has cut off.
    pub(crate) fn gaps(&self, root: &RootDecoder) -> Option<Vec<AddressRange>> {
        let window = self.window_of(root)?;
        let regions = self.cxl.iter().flat_map(|cxl| &cxl.tree.regions);
        let regions = regions.filter_map(|region| AddressRange::from_base_size(region.start, region.size));
        let devices = self.dax.iter().filter(|device| device.parent == DaxParent::SoftReserved);
        let map = self.memory_map.table.iter();
        let map = map.filter(|entry| entry.kind != E820Type::SOFT_RESERVED && !entry.range.covers(&window));
        let mut taken: Vec<AddressRange> = regions
            .chain(devices.map(|device| device.range))
            .chain(map.map(|entry| entry.range))
            .chain(self.added.iter().map(|added| added.range))
            .filter(|range| range.overlaps(&window))
            .collect();
        taken.sort_unstable();
        let up = |address: PhysAddr| address.0.checked_next_multiple_of(UNIT.0).map(PhysAddr);
        let mut gaps = Vec::new();
        let mut from = up(window.start.max(PhysAddr(UNIT.0)));
        for range in taken {
            let Some(start) = from else { break };
            if start < range.start {
                gaps.push(AddressRange::new(start, range.start));
            }
            from = up(range.end).map(|end| end.max(start));
        }
        gaps.extend(
            from.filter(|start| *start < window.end).map(|start| AddressRange::new(start, window.end)),
        );
        Some(gaps)
    }

    /// The addresses that regions of a root decoder can have: those of the outermost window around it, as it stands in
    /// `/proc/iomem`, where it swallows what crosses its ends (`add_cxl_resources`, `pair_cxl_resource`). `None` for
    /// one that is cut off by that.
    fn window_of(&self, root: &RootDecoder) -> Option<AddressRange> {
        let claimed = &self.cxl.as_ref()?.root.claimed;
        let ranges: Vec<AddressRange> = claimed
            .iter()
            .filter_map(|(start, size)| AddressRange::from_base_size(*start, *size))
            .filter(|range| !range.is_empty())
            .collect();
        let own = AddressRange::from_base_size(root.start, root.size)?;
        let outermost = |range: &&AddressRange| {
            range.covers(&own) && !ranges.iter().any(|other| other != *range && other.covers(range))
        };
        let mut window = *ranges.iter().find(outermost)?;
        loop {
            let crossing = self
                .memory_map
                .table
                .iter()
                .map(|entry| entry.range)
                .find(|entry| entry.overlaps(&window) && !window.covers(entry) && !entry.covers(&window));
            let Some(entry) = crossing else { break };
            window = AddressRange::new(window.start.min(entry.start), window.end.max(entry.end));
        }
        let others = ranges.iter().filter(|other| !window.covers(other));
        others.into_iter().all(|other| !other.overlaps(&window)).then_some(window)
    }
}
