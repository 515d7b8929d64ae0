//! Where an emulator's boot loader puts the initrd.

use crate::bundle::memory_map::{FirmwareMap, MapKind};
use crate::linux::kernel::Kernel;
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::topology::Topology;
use crate::units::PhysAddr;

const FOUR_GIB: PhysAddr = PhysAddr(1 << 32);
const PAGE: u64 = 4096;
/// What QEMU keeps free for ACPI data of older machines below the RAM that its firmware keeps (`hw/i386/x86-common.c`:
/// `acpi_data_size`, of which the firmware takes 128 KiB).
const KEPT_FREE: u64 = 32 << 10;

/// Takes the initrd to end where QEMU's loader puts it, and returns that place: for `movable_node`, where it matters, on
/// a machine that calls itself QEMU's, when nothing was told of it.
pub fn assume_initrd(kernel: &mut Kernel, topology: &Topology<'_>, map: &FirmwareMap) -> Option<PhysAddr> {
    let platform = &mut kernel.platform;
    let told = platform.initrd.is_some() || !platform.reserved.is_empty();
    if told || !kernel.command_line.movable_node || !platform.cxl.is_emulated(topology) {
        return None;
    }
    let page = end_of_initrd_on_qemu(map)?;
    platform.reserved.push(page);
    Some(page.end)
}

/// The page that QEMU's loader puts the end of an initrd into: as high in the RAM below 4 GiB as can be. Which node it
/// is on is what costs that node its movable zone; where the initrd begins hangs on its size.
fn end_of_initrd_on_qemu(map: &FirmwareMap) -> Option<AddressRange> {
    let ram = map.entries.iter().filter(|entry| entry.kind == MapKind::E820(E820Type::RAM));
    let top = ram.map(|entry| entry.range.end).filter(|end| *end <= FOUR_GIB).max()?;
    let end = top.0.checked_sub(KEPT_FREE)?;
    Some(AddressRange::new(PhysAddr(end.checked_sub(PAGE)?), PhysAddr(end)))
}
