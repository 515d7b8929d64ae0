//! Where new memory can go, when nobody says: windows and ranges that the tables name, and what is free in them.

use super::Unmet;
use super::goal::{DeviceKind, Owner, Wanted};
use crate::linux::cxl::Cxl;
use crate::linux::events::Errno;
use crate::linux::reason::Reason;
use crate::linux::rules;
use crate::linux::state::State;
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::units::{BinarySize, ByteCount, NodeId, PhysAddr};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

/// Regions begin at multiples of this.
const REGION_ALIGNMENT: u64 = 256 << 20;
/// Memory devices begin at multiples of this, as firmware and emulators have them.
const DIMM_ALIGNMENT: u64 = 1 << 30;
/// Below this are devices.
const HIGH_MEMORY: u64 = 1 << 32;

/// The node that is wanted, where one is.
pub(super) fn wanted_node(state: &State<'_>, wanted: &Wanted) -> Result<Option<NodeId>, Box<Unmet>> {
    let unknown = |detail| {
        let reason = Reason::new(rules::ADD_NO_NODE).because(detail);
        let nearest = Some(format!("a node of {}", state.nodes.possible));
        Box::new(Unmet { errno: Some(Errno::Invalid), reason, nearest })
    };
    match wanted.on {
        None => Ok(None),
        Some(Owner::Node(node)) if state.nodes.possible.contains(node) => Ok(Some(node)),
        Some(Owner::Node(node)) => Err(unknown(format!("node {node} may not exist"))),
        Some(Owner::Domain(domain)) => {
            let node = state.nodes.domains.node(domain);
            node.map(Some).ok_or_else(|| unknown(format!("domain {domain} has no node")))
        }
    }
}

/// The addresses of new memory: those that are asked for, or the first that are free where such memory goes.
pub(super) fn place(
    state: &State<'_>,
    wanted: &Wanted,
    node: Option<NodeId>,
) -> Result<AddressRange, Box<Unmet>> {
    if let Some(at) = wanted.at {
        let whole = AddressRange::from_base_size(at, wanted.size);
        let reason = Reason::new(rules::ADD_BEYOND);
        let beyond = Unmet { errno: Some(Errno::TooBig), reason, nearest: None };
        return whole.ok_or_else(|| Box::new(beyond));
    }
    let block = state.blocks.size.0;
    let (align, rule, errno) = match wanted.device {
        DeviceKind::Cxl => (REGION_ALIGNMENT, rules::NO_ROOM_IN_WINDOWS, Errno::OutOfRange),
        DeviceKind::Dimm => (DIMM_ALIGNMENT.max(block), rules::NO_ROOM_FOR_DEVICE, Errno::TooBig),
        DeviceKind::SoftReserved => (1, rules::NO_SOFT_RESERVED, Errno::NoDevice),
    };
    let own = |range: &AddressRange| {
        let theirs = || state.nodes.target_node(range.start, state.kernel);
        node.is_none_or(|node| theirs() == Some(node))
    };
    let candidates: Vec<AddressRange> = candidates(state, wanted.device).into_iter().filter(own).collect();
    let taken = taken(state, wanted.device);
    let found = candidates.iter().find_map(|range| first_fit(range, &taken, wanted.size, align));
    found.ok_or_else(|| {
        let gaps = candidates.iter().flat_map(|range| free(range, &taken));
        let sizes = gaps.filter_map(|gap| aligned(&gap, align)).map(|gap| gap.size());
        let largest = sizes.max().unwrap_or_default();
        let nearest = (largest.0 > 0).then(|| format!("at most {} in one piece", BinarySize(largest)));
        let wanted = BinarySize(wanted.size);
        let reason = Reason::new(rule).because(format!("{wanted} wanted"));
        Box::new(Unmet { errno: Some(errno), reason, nearest })
    })
}

/// Where memory of such a device goes.
fn candidates(state: &State<'_>, device: DeviceKind) -> Vec<AddressRange> {
    let nodes = &state.nodes;
    let mut described: Vec<AddressRange> = nodes.reserved.iter().map(|entry| entry.range).collect();
    described.sort_unstable();
    match device {
        DeviceKind::Cxl => {
            let windows: Vec<AddressRange> = nodes.windows.iter().map(|window| window.range).collect();
            if windows.is_empty() { described } else { windows }
        }
        DeviceKind::Dimm => {
            let windows: Vec<AddressRange> = nodes.windows.iter().map(|window| window.range).collect();
            described.retain(|range| !windows.iter().any(|window| window.overlaps(range)));
            // Behind everything that is there.
            let ends = state.memory_map.table.iter().map(|entry| entry.range.end);
            let ends = ends.chain(windows.iter().map(|window| window.end));
            let ends = ends.chain(state.added.iter().map(|added| added.range.end));
            let behind = ends.max().unwrap_or_default().max(PhysAddr(HIGH_MEMORY));
            let top = 1_u64.checked_shl(state.kernel.config.physical_bits).unwrap_or(u64::MAX);
            described.push(AddressRange::new(behind, PhysAddr(top)));
            described
        }
        DeviceKind::SoftReserved => state.memory_map.of_kind(E820Type::SOFT_RESERVED).collect(),
    }
}

/// What is not free.
fn taken(state: &State<'_>, device: DeviceKind) -> Vec<AddressRange> {
    let soft = |kind| device == DeviceKind::SoftReserved && kind == E820Type::SOFT_RESERVED;
    let firmware = state.memory_map.table.iter().filter(|entry| !soft(entry.kind)).map(|entry| entry.range);
    let mut taken: Vec<AddressRange> = firmware.collect();
    taken.extend(state.added.iter().map(|added| added.range));
    taken.extend(state.devices.iter().map(|device| device.range));
    if device != DeviceKind::SoftReserved {
        taken.extend(state.dax.iter().map(|device| device.range));
    }
    let regions = state.cxl.iter().flat_map(Cxl::committed);
    taken.extend(regions.filter_map(|region| AddressRange::from_base_size(region.start, region.size)));
    taken.sort_unstable();
    taken
}

/// What is free in a range.
fn free(range: &AddressRange, taken: &[AddressRange]) -> Vec<AddressRange> {
    let mut gaps = Vec::new();
    let mut at = range.start;
    for other in taken.iter().filter(|other| other.overlaps(range)) {
        if at < other.start {
            gaps.push(AddressRange::new(at, other.start));
        }
        at = at.max(other.end);
    }
    if at < range.end {
        gaps.push(AddressRange::new(at, range.end));
    }
    gaps
}

/// A range from its first multiple on.
fn aligned(range: &AddressRange, align: u64) -> Option<AddressRange> {
    let start = PhysAddr(range.start.0.checked_next_multiple_of(align)?);
    (start < range.end).then_some(AddressRange::new(start, range.end))
}

fn first_fit(
    range: &AddressRange,
    taken: &[AddressRange],
    size: ByteCount,
    align: u64,
) -> Option<AddressRange> {
    free(range, taken).iter().find_map(|gap| {
        let gap = aligned(gap, align)?;
        AddressRange::from_base_size(gap.start, size).filter(|found| gap.covers(found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mib(start: u64, end: u64) -> AddressRange {
        AddressRange::new(PhysAddr(start << 20), PhysAddr(end << 20))
    }

    #[test]
    fn the_first_gap_that_has_room_is_taken() {
        let taken = [mib(0, 4096), mib(4100, 4200), mib(5000, 5120)];
        assert_eq!(free(&mib(4000, 6000), &taken), [mib(4096, 4100), mib(4200, 5000), mib(5120, 6000)]);
        let fit =
            |size: u64, align: u64| first_fit(&mib(4000, 6000), &taken, ByteCount(size << 20), align << 20);
        assert_eq!(fit(4, 1), Some(mib(4096, 4100)));
        assert_eq!(fit(512, 256), Some(mib(4352, 4864)));
        assert_eq!(fit(800, 256), Some(mib(5120, 5920)));
        assert_eq!(fit(1024, 256), None);
    }
}
