//! What the tests of this room share: random numbers that repeat, and the arithmetic written the long way.

use super::{Granularity, Interleave, Levels, Translator, Ways, XorMaps};
use crate::range::AddressRange;
use crate::units::{ByteCount, PhysAddr, XorMap};

extern crate std;
use alloc::vec::Vec;

/// A sequence of numbers that is the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// So many ways of so many bytes.
pub(crate) fn interleave(ways: u32, bytes: u64) -> Interleave {
    Interleave::new(Ways::from_count(ways).unwrap(), Granularity::from_bytes(ByteCount(bytes)).unwrap())
}

/// A translator of `size` bytes from `start`.
pub(crate) fn translator(start: u64, size: u64, levels: Levels, maps: &[u64]) -> Translator {
    let range = AddressRange::from_base_size(PhysAddr(start), ByteCount(size)).unwrap();
    let maps: Vec<XorMap> = maps.iter().copied().map(XorMap).collect();
    Translator::new(range, levels, XorMaps::new(&maps).unwrap()).unwrap()
}

/// Every sound layout of one to four levels: every number of ways at every granularity, divided in every way, each
/// level at every granularity.
pub(crate) fn layouts() -> impl Iterator<Item = Levels> {
    let regions = Ways::ALL.into_iter().flat_map(|ways| {
        Granularity::ALL.into_iter().map(move |granularity| Interleave::new(ways, granularity))
    });
    regions.flat_map(|region| {
        let mut found = Vec::new();
        let mut levels = Vec::new();
        divide(region, region.ways.count(), &mut levels, &mut found);
        found
    })
}

fn divide(region: Interleave, left: u8, levels: &mut Vec<Interleave>, found: &mut Vec<Levels>) {
    if left == 1 {
        // A level of one way, where there is no other.
        let root = [Interleave::new(Ways::ONE, Granularity::BYTES_256)];
        let levels = if levels.is_empty() { &root } else { levels.as_slice() };
        found.extend(Levels::new(region, levels));
    } else if levels.len() < 4 {
        for ways in Ways::ALL.into_iter().filter(|ways| *ways != Ways::ONE && left % ways.count() == 0) {
            for granularity in Granularity::ALL {
                levels.push(Interleave::new(ways, granularity));
                divide(region, left / ways.count(), levels, found);
                levels.pop();
            }
        }
    }
}
