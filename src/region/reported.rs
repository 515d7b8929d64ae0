//! What Linux 7.2 reports for an address, where that can differ from what the decoders do.
//!
//! Linux translates addresses only to name them in traces of media errors and to inject poison
//! (`drivers/cxl/core/region.c`). It counts chunks from the start of the region and takes the number of a chunk for the
//! position of its device; three kinds of region show the difference:
//!
//! - Below a root of 3 or 6 ways with a port that divides further, a chunk has another number than its device:
//!   [`calculate_position`] names the wrong device.
//! - A region whose start is no multiple of the root's 3, 6 or 12 times 256 MiB has rules of its own
//!   ([`Region::is_unaligned`]). Where root and region have the same granularity they leave the ports out, and give one
//!   address to several devices; where they do not, most addresses find no device.
//! - XOR maps that share bits are not undone: [`to_spa`].
//!
//! Everything here is what the kernel says; what the decoders do is [`Translator`](super::Translator)'s business.

use super::values::{Interleave, Position};
use super::xor::XorMaps;
use crate::range::AddressRange;
use crate::units::{ByteCount, PhysAddr};

/// The size that Linux aligns regions to.
const UNIT: u64 = 1 << 28;

/// The position that Linux gives to the chunk at an offset in a region (`cxl_calculate_position`).
///
/// ```
/// use memtopo::region::{Granularity, Interleave, Position, Ways, reported};
/// use memtopo::units::ByteCount;
///
/// let region = Interleave::new(Ways::SIX, Granularity::BYTES_512);
/// assert_eq!(reported::calculate_position(ByteCount(0x1234_5678), region), Position(3));
/// ```
#[must_use]
pub fn calculate_position(offset: ByteCount, region: Interleave) -> Position {
    Position(region.select(offset.0))
}

/// The offset in a device of an offset in a region (`cxl_calculate_dpa_offset`).
#[must_use]
pub const fn calculate_dpa_offset(offset: ByteCount, region: Interleave) -> ByteCount {
    let shift = region.granularity.shift();
    let stripe = offset.0.wrapping_shr(shift.wrapping_add(region.ways.power_bits()));
    let stripe = if region.ways.has_three() { stripe / 3 } else { stripe };
    ByteCount(stripe.wrapping_shl(shift) | (offset.0 & region.granularity.bytes().0.wrapping_sub(1)))
}

/// The offset in a region of an offset in the device at a position (`cxl_calculate_hpa_offset`), or `None` for a
/// position that the region does not have.
///
/// The sum is that of 64 bits. For ways that are a power of two only the low 52 bits of the offset count.
#[must_use]
pub fn calculate_hpa_offset(offset: ByteCount, position: Position, region: Interleave) -> Option<ByteCount> {
    let ways = region.ways.count();
    if position.0 >= ways {
        return None;
    }
    let shift = region.granularity.shift();
    let limit = if region.ways.has_three() { u64::MAX } else { u64::MAX >> 12 };
    let stripe = (offset.0 & limit).wrapping_shr(shift);
    let chunk = stripe.wrapping_mul(ways.into()).wrapping_add(position.0.into());
    Some(ByteCount(chunk.wrapping_shl(shift) | (offset.0 & region.granularity.bytes().0.wrapping_sub(1))))
}

/// The address that the CPU uses for one that the decoders see, by applying the maps in the order of the other
/// direction (`drivers/cxl/acpi.c: cxl_do_xormap_calc`).
///
/// [`XorMaps::to_spa`] is the inverse; the two agree where [`XorMaps::is_self_inverse`].
#[must_use]
pub fn to_spa(maps: &XorMaps, hpa: PhysAddr) -> PhysAddr {
    maps.to_hpa(hpa)
}

/// A region as Linux has it when it translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The addresses, with the extended linear cache that may be at their start.
    pub range: AddressRange,
    /// Bytes of that cache; mostly 0.
    pub cache_size: ByteCount,
    /// Ways and granularity of the region: what the endpoints do.
    pub region: Interleave,
    /// What the root does.
    pub root: Interleave,
    /// The XOR maps of the window.
    pub maps: XorMaps,
}

impl Region {
    /// A region without cache and without XOR maps.
    #[must_use]
    pub const fn new(range: AddressRange, region: Interleave, root: Interleave) -> Self {
        Self { range, cache_size: ByteCount(0), region, root, maps: XorMaps::NONE }
    }

    /// Whether the rules for unaligned regions apply: the root's ways are no power of two, and the start is no multiple
    /// of that many times 256 MiB (`region_is_unaligned_mod3`).
    #[must_use]
    pub fn is_unaligned(&self) -> bool {
        let ways = self.root.ways;
        let turn = UNIT.wrapping_mul(ways.count().into());
        ways.has_three() && self.range.start.0.checked_rem(turn) != Some(0)
    }

    /// The address that Linux gives to an offset in the device at a position (`cxl_dpa_to_hpa`), or `None` where it
    /// gives none.
    #[must_use]
    pub fn dpa_to_spa(&self, position: Position, offset: ByteCount) -> Option<PhysAddr> {
        let start = self.range.start.0;
        let unaligned = self.is_unaligned();
        let hpa = if unaligned {
            self.unaligned_hpa(position, offset)?
        } else {
            start.wrapping_add(calculate_hpa_offset(offset, position, self.region)?.0)
        };
        let hpa = hpa.wrapping_add(self.cache_size.0);
        let spa = to_spa(&self.maps, PhysAddr(hpa));
        if !self.range.contains(spa) {
            return None;
        }
        if !unaligned && self.maps.maps().is_empty() {
            // Only a cache that is no whole number of stripes makes a difference.
            let offset = ByteCount(spa.0.wrapping_sub(start));
            if calculate_position(offset, self.region) != position {
                return None;
            }
        }
        Some(spa)
    }

    /// The position and the offset in its device that Linux finds for an offset in the region
    /// (`region_offset_to_dpa_result`), or `None` where it finds none. With a cache the offset is counted from the end
    /// of the cache.
    #[must_use]
    pub fn offset_to_dpa(&self, offset: ByteCount) -> Option<(Position, ByteCount)> {
        let start = self.range.start;
        if offset.0 >= self.range.size().0.saturating_sub(self.cache_size.0) {
            return None;
        }
        let spa = start.0.wrapping_add(offset.0);
        if self.is_unaligned() {
            let root = self.root.granularity.bytes().0;
            let turn = root.wrapping_mul(self.root.ways.count().into());
            let rounds = offset.0.checked_div(turn)?;
            let dpa = ByteCount(rounds.wrapping_mul(root) | (offset.0 & root.wrapping_sub(1)));
            let mut positions = (0..self.region.ways.count()).map(Position);
            let found = positions.find(|position| self.unaligned_hpa(*position, dpa) == Some(spa))?;
            return Some((found, dpa));
        }
        let hpa = self.maps.to_hpa(PhysAddr(spa));
        let offset = ByteCount(hpa.0.wrapping_sub(start.0));
        Some((calculate_position(offset, self.region), calculate_dpa_offset(offset, self.region)))
    }

    /// `unaligned_dpa_to_hpa`: the address, of those that the root's turn has for the offset, that goes to the host
    /// bridge of the position.
    fn unaligned_hpa(&self, position: Position, offset: ByteCount) -> Option<u64> {
        let (ways, roots) = (self.region.ways, self.root.ways);
        if position.0 >= ways.count() || !ways.has_three() {
            return None;
        }
        // Only whole numbers of ways at each host bridge: 3 below 3, 6 and 12; 6 below 6 and 12; 12 below 12.
        let per_bridge = ways.count().checked_div(roots.count()).filter(|per_bridge| *per_bridge != 0)?;
        let (port, bridge) = (position.0.checked_rem(per_bridge)?, position.0.checked_div(per_bridge)?);
        let spread = |offset: u64, place: u8, granularity: u64, ways: u8| {
            let low = offset & granularity.wrapping_sub(1);
            let rest = offset.wrapping_sub(low).wrapping_mul(ways.into());
            rest.wrapping_add(granularity.wrapping_mul(place.into())).wrapping_add(low)
        };
        let (fine, coarse) = (self.region.granularity.bytes().0, self.root.granularity.bytes().0);
        let at_bridge = if fine == coarse { offset.0 } else { spread(offset.0, port, fine, per_bridge) };
        let mut turn = 0..roots.count();
        turn.by_ref()
            .map(|place| self.range.start.0.wrapping_add(spread(at_bridge, place, coarse, roots.count())))
            .find(|hpa| self.root.select(*hpa) == bridge)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{Random, interleave, translator};
    use super::super::{Granularity, Levels, Ways};
    use super::*;
    use crate::units::XorMap;

    extern crate std;
    use alloc::collections::BTreeSet;

    fn region(start: u64, size: u64, of: (u32, u64), root: (u32, u64)) -> Region {
        let range = AddressRange::from_base_size(PhysAddr(start), ByteCount(size)).unwrap();
        Region::new(range, interleave(of.0, of.1), interleave(root.0, root.1))
    }

    /// The rule of the sheet, section 4.1, by division; every ways and granularity over whole stripes, and offsets of
    /// 46 bits.
    #[test]
    fn offsets_follow_the_plain_rule() {
        let mut random = Random::new(7);
        for of in Ways::ALL.into_iter().flat_map(|w| Granularity::ALL.map(|g| Interleave::new(w, g))) {
            let (ways, bytes) = (u64::from(of.ways.count()), of.granularity.bytes().0);
            let stripes = (0..64 * ways).flat_map(|chunk| [0, 1, bytes - 1].map(|low| chunk * bytes + low));
            let random: alloc::vec::Vec<u64> = (0..2000).map(|_| random.next() >> 18).collect();
            for offset in stripes.chain(random) {
                let position = calculate_position(ByteCount(offset), of);
                let dpa = calculate_dpa_offset(ByteCount(offset), of);
                assert_eq!(u64::from(position.0), offset / bytes % ways);
                assert_eq!(dpa.0, offset / bytes / ways * bytes + offset % bytes);
                assert_eq!(calculate_hpa_offset(dpa, position, of), Some(ByteCount(offset)));
            }
            assert_eq!(calculate_hpa_offset(ByteCount(0), Position(of.ways.count()), of), None);
        }
        // Bits from 52 on are cut off, but not for three ways.
        let high = ByteCount(1 << 52);
        assert_eq!(calculate_hpa_offset(high, Position(0), interleave(2, 256)), Some(ByteCount(0)));
        assert_eq!(calculate_hpa_offset(high, Position(0), interleave(3, 256)), Some(ByteCount(3 << 52)));
    }

    /// Rows 13, 14, 18, 20 to 22 of the sheet, section 4.6: Linux and the decoders agree.
    #[test]
    fn aligned_regions_are_right() {
        let row = |region: Region, spa: u64, position, dpa| {
            let offset = ByteCount(spa - region.range.start.0);
            let found = (Position(position), ByteCount(dpa));
            assert_eq!(region.offset_to_dpa(offset), Some(found));
            assert_eq!(region.dpa_to_spa(found.0, found.1), Some(PhysAddr(spa)));
        };
        let size = 6 << 30;
        row(region(0x3_0000_0000, size, (6, 512), (6, 512)), 0x3_1234_5678, 3, 0x308_b878);
        row(region(0x3_0000_0000, size, (12, 256), (12, 256)), 0x3_1234_5678, 6, 0x184_5c78);
        let xor = |mut region: Region, maps: &[XorMap]| {
            region.maps = XorMaps::new(maps).unwrap();
            region
        };
        let (one, two) = ([XorMap(0x202_0900)], [XorMap(0x202_0900), XorMap(0x404_1200)]);
        let of = |ways, roots| region(0x4_0000_0000, 1 << 30, (ways, 256), (roots, 256));
        row(xor(of(2, 2), &one), 0x4_1234_5678, 1, 0x91a_2b78);
        row(xor(of(4, 4), &two), 0x4_1234_5678, 3, 0x48d_1578);
        row(xor(of(4, 2), &one), 0x4_0000_0900, 0, 0x200);
        row(xor(region(0x3_0000_0000, size, (6, 256), (6, 256)), &one), 0x3_0000_0800, 3, 0x100);
    }

    /// Rows 23 to 27, from the device to the address.
    #[test]
    fn worked_addresses_of_unaligned_regions() {
        let start = 0x2_5000_0000;
        let three = region(start, 3 << 28, (3, 256), (3, 256));
        assert!(three.is_unaligned());
        for (spa, position, dpa) in [(start + 0x200, 0, 0), (start, 1, 0), (start + 0x36945, 1, 0x12345)] {
            assert_eq!(three.dpa_to_spa(Position(position), ByteCount(dpa)), Some(PhysAddr(spa)));
            let found = three.offset_to_dpa(ByteCount(spa - start));
            assert_eq!(found, Some((Position(position), ByteCount(dpa))));
        }
        let six = region(start, 6 << 28, (6, 256), (3, 512));
        assert_eq!(six.dpa_to_spa(Position(1), ByteCount(0)), Some(PhysAddr(0x2_5000_0300)));
        assert_eq!(six.dpa_to_spa(Position(3), ByteCount(0x345)), Some(PhysAddr(0x2_5000_1745)));
        assert!(!region(0x3_0000_0000, 3 << 28, (3, 256), (3, 256)).is_unaligned());
        assert!(!region(start, 1 << 28, (2, 256), (2, 256)).is_unaligned());
        // Six host bridges have no share of three devices.
        assert_eq!(region(start, 6 << 28, (3, 256), (6, 256)).dpa_to_spa(Position(0), ByteCount(0)), None);
    }

    /// The table of the sheet, section 4.4: whether addresses are unique, and how many find their device again.
    #[test]
    fn limits_of_unaligned_regions_are_those_of_linux() {
        let measure = |of: (u32, u64), root: (u32, u64)| {
            let start = 0x2_5000_0000;
            let region = region(start, u64::from(of.0) << 28, of, root);
            let granules = u64::from(of.0) * 32;
            let given: alloc::vec::Vec<u64> = (0..granules)
                .map(|n| (n % u64::from(of.0), n / u64::from(of.0) * of.1))
                .map(|(position, dpa)| {
                    let position = Position(u8::try_from(position).unwrap());
                    region.dpa_to_spa(position, ByteCount(dpa)).unwrap().0
                })
                .collect();
            let unique = given.iter().collect::<BTreeSet<_>>().len() == given.len();
            let resolved =
                (0..granules).filter_map(|granule| region.offset_to_dpa(ByteCount(granule * of.1))).count();
            (unique, u64::try_from(resolved).unwrap(), granules)
        };
        for ways in [3, 6, 12] {
            let (unique, resolved, all) = measure((ways, 256), (ways, 256));
            assert!(unique && resolved == all);
        }
        for (of, root) in [((6, 256), (3, 512)), ((12, 256), (3, 1024)), ((12, 256), (6, 512))] {
            let (unique, resolved, _) = measure(of, root);
            assert!(unique && (3..=6).contains(&resolved), "{of:?} {root:?}: {resolved}");
        }
        for (of, root) in [((6, 256), (3, 256)), ((12, 256), (3, 256)), ((12, 256), (6, 256))] {
            let (unique, resolved, all) = measure(of, root);
            assert!(!unique && resolved == all, "{of:?} {root:?}: {resolved}");
        }
    }

    /// Sheet, section 4.5: below a root of three the number of the chunk is not that of its device.
    #[test]
    fn linux_names_the_wrong_device_below_a_root_of_three() {
        let of = interleave(6, 256);
        let levels = Levels::of_linux(interleave(3, 256), &[Ways::TWO], of).unwrap();
        let start = 0x3_0000_0000;
        let truth = translator(start, 6 << 28, levels, &[]);
        let said = region(start, 6 << 28, (6, 256), (3, 256));
        let wrong = (0..6).filter(|chunk| {
            let offset = ByteCount(chunk * 256);
            let (position, dpa) = said.offset_to_dpa(offset).unwrap();
            let place = truth.to_device(PhysAddr(start + offset.0)).unwrap();
            assert_eq!(dpa.0, place.address.0);
            position != place.position
        });
        assert_eq!(wrong.collect::<alloc::vec::Vec<_>>(), [1, 4]);
    }

    #[test]
    fn caches_come_first_and_maps_are_applied_in_one_order() {
        let cache = 1 << 30;
        let mut region = region(0x2_0000_0000, 2 << 30, (2, 256), (1, 256));
        region.cache_size = ByteCount(cache);
        assert_eq!(region.dpa_to_spa(Position(1), ByteCount(0)), Some(PhysAddr(0x2_4000_0100)));
        assert_eq!(region.offset_to_dpa(ByteCount(0x100)), Some((Position(1), ByteCount(0))));
        assert_eq!(region.offset_to_dpa(ByteCount(cache)), None);
        assert_eq!(region.dpa_to_spa(Position(0), ByteCount(cache / 2)), None);
        region.cache_size = ByteCount(cache + 256);
        assert_eq!(region.dpa_to_spa(Position(1), ByteCount(0)), None);
        let maps = XorMaps::new(&[XorMap(0x300), XorMap(0x600)]).unwrap();
        let spa = PhysAddr(0x400);
        assert_eq!(maps.to_hpa(spa), PhysAddr(0x600));
        assert_eq!(maps.to_spa(PhysAddr(0x600)), spa);
        assert_eq!(to_spa(&maps, PhysAddr(0x600)), PhysAddr(0x500));
    }
}
