//! Memory blocks, the unit in which memory is added and brought online (`arch/x86/mm/init_64.c`).

use super::kernel::Kernel;
use super::memory_map::{MemoryMap, PAGE};
use crate::range::AddressRange;
use crate::units::{ByteCount, PhysAddr};

/// The smallest block: one section of 128 MiB.
pub const MIN_BLOCK: ByteCount = ByteCount(128 << 20);
/// The largest block that the kernel picks by itself.
pub const MAX_BLOCK: ByteCount = ByteCount(2 << 30);
/// Memory has to reach up to here for blocks above the smallest.
const LARGE_MEMORY: u64 = 64 << 30;

/// The size of a memory block (`probe_memory_block_size`); `advice` is what CXL windows allow at most.
#[must_use]
pub fn block_size(map: &MemoryMap, advice: Option<u64>, kernel: &Kernel) -> ByteCount {
    let end = map.max_pfn.saturating_mul(PAGE);
    if end < LARGE_MEMORY {
        return MIN_BLOCK;
    }
    let mut size = match advice {
        Some(advice) => advice.clamp(MIN_BLOCK.0, MAX_BLOCK.0),
        None if !kernel.platform.hypervisor => return MAX_BLOCK,
        None => MAX_BLOCK.0,
    };
    while size > MIN_BLOCK.0 && end.checked_rem(size) != Some(0) {
        size >>= 1;
    }
    ByteCount(size)
}

/// The whole blocks in a range; `None` when there are none.
#[must_use]
pub fn whole_blocks(range: &AddressRange, block: ByteCount) -> Option<AddressRange> {
    let start = range.start.0.checked_next_multiple_of(block.0)?;
    let end = range.end.0.checked_rem(block.0).and_then(|rest| range.end.0.checked_sub(rest))?;
    let inside = AddressRange::new(PhysAddr(start), PhysAddr(end));
    (!inside.is_empty()).then_some(inside)
}

/// Whether a range begins and ends at block borders.
#[must_use]
pub fn is_whole(range: &AddressRange, block: ByteCount) -> bool {
    whole_blocks(range, block) == Some(*range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::kernel::Platform;

    fn size(end: u64, advice: Option<u64>, hypervisor: bool) -> u64 {
        let map = MemoryMap { max_pfn: end / PAGE, ..MemoryMap::default() };
        let kernel = Kernel { platform: Platform { hypervisor, ..Platform::default() }, ..Kernel::default() };
        block_size(&map, advice, &kernel).0 >> 20
    }

    /// Measured on booted kernels: captures 16 to 19 of the hotplug sheet.
    #[test]
    fn sizes_are_those_of_booted_kernels() {
        assert_eq!(size(71 << 30, None, true), 1024);
        assert_eq!(size(71 << 30, None, false), 2048);
        assert_eq!(size((71 << 30) + (256 << 20), None, true), 256);
        assert_eq!(size(72 << 30, Some(256 << 20), false), 256);
        assert_eq!(size(63 << 30, Some(16 << 30), false), 128);
    }
}
