//! The memory of a machine by node and zone, and the devices that brought what came after the boot.

use super::goal::{DeviceKind, Target};
use crate::linux::block_map::{BlockId, BlockState, GroupId};
use crate::linux::hot_remove::Rezoned;
use crate::linux::memmap::Home;
use crate::linux::soft_reserved::DaxParent;
use crate::linux::state::State;
use crate::linux::zones::Zone;
use crate::range::AddressRange;
use crate::units::{ByteCount, NodeId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Memory of one zone of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneSize {
    /// The node.
    pub node: NodeId,
    /// The zone.
    pub zone: Zone,
    /// What is present in it.
    pub present: ByteCount,
}

/// How a machine looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Zones with memory, by node.
    pub zones: Vec<ZoneSize>,
    /// Devices, in the order in which they were added.
    pub devices: Vec<Device>,
}

/// A device whose memory was added, and what keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its place in the list, from 1.
    pub number: u32,
    /// Its name; for ACPI memory devices where it begins, because their names are not known.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Its memory.
    pub group: GroupId,
    /// The addresses of that.
    pub ranges: Vec<AddressRange>,
    /// Its node.
    pub node: NodeId,
    /// Where its page structures live.
    pub home: Home,
    /// What they take.
    pub memmap: ByteCount,
    /// How much of it is in the movable zone.
    pub movable: ByteCount,
    /// How much of it is in kernel zones.
    pub kernel: ByteCount,
    /// How much of it is offline.
    pub offline: ByteCount,
    /// Devices that have to be removed before it, by number, because it may hold their page structures.
    pub after: Vec<u32>,
    /// Devices that may hold page structures of it, by number.
    pub hosted_by: Vec<u32>,
}

impl Layout {
    /// The layout of a state.
    pub(super) fn of(state: &State<'_>) -> Self {
        let zones = state.zones.iter().filter(|(_, _, pages)| pages.present > 0);
        let zones = zones.map(|(node, zone, pages)| {
            let present = ByteCount(pages.present.saturating_mul(4096));
            ZoneSize { node, zone, present }
        });
        Self { zones: zones.collect(), devices: devices(state) }
    }
}

impl Device {
    /// All of its memory.
    #[must_use]
    pub fn size(&self) -> ByteCount {
        ByteCount(self.ranges.iter().map(|range| range.size().0).fold(0, u64::saturating_add))
    }

    /// Whether it can go at any time, but for pages that somebody pins.
    #[must_use]
    pub fn is_removable(&self) -> bool {
        self.kernel.0 == 0 && self.after.is_empty()
    }
}

/// The devices of a state. Those that share page structures name each other; that a device holds page tables of another
/// is a few pages, and no more is said of it.
pub(super) fn devices(state: &State<'_>) -> Vec<Device> {
    let mut groups: Vec<GroupId> = Vec::new();
    for added in &state.added {
        if !groups.contains(&added.group) {
            groups.push(added.group);
        }
    }
    let number = |group: GroupId| {
        let place = groups.iter().position(|known| *known == group)?;
        u32::try_from(place.saturating_add(1)).ok()
    };
    let mut devices = Vec::with_capacity(groups.len());
    for group in &groups {
        let own = || state.added.iter().filter(|added| added.group == *group);
        let Some(first) = own().next() else { continue };
        let ranges: Vec<AddressRange> = own().map(|added| added.range).collect();
        let (mut movable, mut kernel, mut offline) = (0_u64, 0_u64, 0_u64);
        for (block, run) in ranges
            .iter()
            .flat_map(|range| state.blocks.between(state.blocks.of(range.start), state.blocks.of(range.end)))
        {
            let size = state.blocks.range(block, run.end).size().0;
            let sum = match run.state {
                BlockState::Offline => &mut offline,
                BlockState::Online(Some(Zone::Movable)) => &mut movable,
                BlockState::Online(_) => &mut kernel,
            };
            *sum = sum.saturating_add(size);
        }
        let (name, kind) = identity(state, &ranges);
        let memmap = own().map(|added| added.memmap.size.0).fold(0, u64::saturating_add);
        let order = state.removal_order(&[*group]);
        let hosts = state.ties().into_iter().filter(|tie| tie.first == *group && tie.holds_structures());
        let mut hosted_by: Vec<u32> = hosts.filter_map(|tie| number(tie.then.group)).collect();
        hosted_by.sort_unstable();
        hosted_by.dedup();
        devices.push(Device {
            number: number(*group).unwrap_or_default(),
            name,
            kind,
            group: *group,
            ranges,
            node: first.node,
            home: first.memmap.home,
            memmap: ByteCount(memmap),
            movable: ByteCount(movable),
            kernel: ByteCount(kernel),
            offline: ByteCount(offline),
            after: order.in_the_way.iter().filter_map(|group| number(*group)).collect(),
            hosted_by,
        });
    }
    devices
}

fn identity(state: &State<'_>, ranges: &[AddressRange]) -> (String, DeviceKind) {
    let over = |range: &AddressRange| state.dax.iter().find(|device| device.range.covers(range));
    match (ranges.iter().find_map(over), ranges.first()) {
        (Some(device), _) => {
            let kind = match device.parent {
                DaxParent::Region => DeviceKind::Cxl,
                DaxParent::SoftReserved => DeviceKind::SoftReserved,
            };
            (format!("dax{}.0", device.id), kind)
        }
        (None, Some(range)) => (format!("DIMM at {:#x}", range.start), DeviceKind::Dimm),
        (None, None) => (String::new(), DeviceKind::Dimm),
    }
}

/// The devices that a target names, in the order of the list.
pub(super) fn named(devices: &[Device], target: &Target) -> Vec<Device> {
    let meant = |device: &&Device| match target {
        Target::Device(number) => device.number == *number,
        Target::Name(name) => device.name.eq_ignore_ascii_case(name),
        Target::Range(range) => device.ranges.iter().any(|own| own.overlaps(range)),
        Target::Node(node) => device.node == *node,
    };
    devices.iter().filter(meant).cloned().collect()
}

/// The runs of blocks of a device.
pub(super) fn runs(state: &State<'_>, device: &Device) -> Vec<(BlockId, BlockId, BlockState)> {
    let of = |range: &AddressRange| {
        let (first, end) = (state.blocks.of(range.start), state.blocks.of(range.end));
        state.blocks.between(first, end).into_iter().map(|(at, run)| (at, run.end, run.state))
    };
    device.ranges.iter().flat_map(of).collect()
}

/// What a failed eject of it would leave in other zones.
pub(super) fn rezoned(state: &State<'_>, device: &Device) -> Vec<Rezoned> {
    let ejected = device.ranges.iter().filter(|_| device.kind == DeviceKind::Dimm);
    ejected.flat_map(|range| state.after_failed_eject(range)).collect()
}
