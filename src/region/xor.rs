//! What an XOR window does to an address before the decoders see it.

use super::refusal::LayoutError;
use super::values::{Granularity, Interleave};
use crate::tables::cedt::{
    FixedMemoryWindowHeader, InterleaveArithmetic, InterleaveGranularity, XorInterleaveMath,
};
use crate::units::{PhysAddr, XorMap};

/// The most maps that a window needs: 16 ways have four.
const MOST: usize = 4;

/// The maps of one window, in the order in which they are applied.
///
/// A map sets its lowest bit of the address to the parity of all bits of the map that the address has (CXL 3.1
/// §9.18.1.4; `drivers/cxl/acpi.c: cxl_do_xormap_calc`). The addresses are absolute. The CPU's side of the window is
/// called system physical address (SPA), the decoders' side CXL host physical address (HPA).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct XorMaps {
    maps: [XorMap; MOST],
    count: u8,
}

/// Applies one map. A map without bits changes nothing, as in Linux.
const fn apply(map: XorMap, address: u64) -> u64 {
    // The bit becomes the parity of itself and the others, so it changes where the others are odd.
    let others = map.0 & map.0.wrapping_sub(1);
    let odd = (address & others).count_ones() & 1 == 1;
    if odd { address ^ (map.0 ^ others) } else { address }
}

impl XorMaps {
    /// No maps: modulo arithmetic, and windows of 1 or 3 ways.
    pub const NONE: Self = Self { maps: [XorMap(0); MOST], count: 0 };

    /// The maps in this order.
    ///
    /// # Errors
    ///
    /// [`LayoutError::TooManyMaps`] above four.
    pub fn new(maps: &[XorMap]) -> Result<Self, LayoutError> {
        let mut kept = [XorMap(0); MOST];
        let error = LayoutError::TooManyMaps { found: maps.len() };
        kept.get_mut(..maps.len()).ok_or(error)?.copy_from_slice(maps);
        Ok(Self { maps: kept, count: u8::try_from(maps.len()).map_err(|_| error)? })
    }

    /// The maps of a window, out of all XOR structures of its CEDT in table order, by the rules of Linux
    /// (`drivers/cxl/acpi.c: cxl_parse_cxims`).
    ///
    /// Those of the window's granularity count; where there are several, the last. A window of 1 or 3 ways needs
    /// none, and no window uses more than it needs.
    ///
    /// # Errors
    ///
    /// [`LayoutError::NoMaps`] or [`LayoutError::TooFewMaps`], and reserved codes of the window's ways, granularity or
    /// arithmetic, or of the granularity of a structure.
    pub fn of_window<'a>(
        window: &FixedMemoryWindowHeader,
        structures: impl IntoIterator<Item = XorInterleaveMath<'a>>,
    ) -> Result<Self, LayoutError> {
        let Interleave { ways, granularity } = Interleave::of_window(window)?;
        match window.interleave_arithmetic.get() {
            InterleaveArithmetic::MODULO => return Ok(Self::NONE),
            InterleaveArithmetic::MODULO_XOR if ways.power_bits() == 0 => return Ok(Self::NONE),
            InterleaveArithmetic::MODULO_XOR => {}
            other => return Err(LayoutError::ArithmeticCode(other)),
        }
        let needed = ways.code().0 & 7;
        let mut found = None;
        for structure in structures {
            let code = InterleaveGranularity::from(structure.header().granularity.get());
            if Granularity::try_from(code)? != granularity {
                continue;
            }
            let mut maps = [XorMap(0); MOST];
            let kept = maps.iter_mut().take(usize::from(needed));
            let all = structure.xormaps();
            if all.len() < usize::from(needed) {
                return Err(LayoutError::TooFewMaps { found: all.len(), needed });
            }
            kept.zip(all).for_each(|(map, raw)| *map = raw.get());
            found = Some(Self { maps, count: needed });
        }
        found.ok_or(LayoutError::NoMaps(granularity.bytes()))
    }

    /// The maps.
    #[must_use]
    pub fn maps(&self) -> &[XorMap] {
        self.maps.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The address that the decoders see for one that the CPU uses.
    #[inline]
    #[must_use]
    pub fn to_hpa(&self, spa: PhysAddr) -> PhysAddr {
        PhysAddr(self.maps().iter().fold(spa.0, |address, map| apply(*map, address)))
    }

    /// The address that the CPU uses for one that the decoders see: the exact inverse of
    /// [`to_hpa`](Self::to_hpa), whatever the maps.
    ///
    /// Each map undoes itself, so the inverse applies them from the last to the first. Linux applies them in the same
    /// order in both directions: [`reported::to_spa`](super::reported::to_spa).
    #[inline]
    #[must_use]
    pub fn to_spa(&self, hpa: PhysAddr) -> PhysAddr {
        PhysAddr(self.maps().iter().rev().fold(hpa.0, |address, map| apply(*map, address)))
    }

    /// Whether the maps undo themselves in the same order too, as Linux takes for granted: no map has the lowest bit
    /// of another.
    #[must_use]
    pub fn is_self_inverse(&self) -> bool {
        let lowest = |map: &XorMap| map.0 & map.0.wrapping_neg();
        let maps = self.maps().iter().enumerate();
        maps.clone().all(|(i, one)| maps.clone().all(|(j, other)| i == j || lowest(one) & other.0 == 0))
    }
}

/// All maps at once: for each the bits of the *original* address whose parity changes its lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parities {
    rows: [u64; MOST],
    bits: [u32; MOST],
}

impl Parities {
    /// Puts what earlier maps change into the rows of later ones.
    fn new(maps: impl Iterator<Item = XorMap>) -> Self {
        let mut rows = [0; MOST];
        let mut bits = [0; MOST];
        for (index, map) in maps.enumerate().filter(|(_, map)| map.0 != 0) {
            let others = map.0 & map.0.wrapping_sub(1);
            let earlier = rows.iter().zip(&bits).take(index);
            let row =
                earlier.fold(
                    others,
                    |row, (earlier, bit)| {
                        if others.wrapping_shr(*bit) & 1 == 1 { row ^ earlier } else { row }
                    },
                );
            if let (Some(place), Some(bit)) = (rows.get_mut(index), bits.get_mut(index)) {
                (*place, *bit) = (row, map.0.trailing_zeros());
            }
        }
        Self { rows, bits }
    }

    /// The address after all maps.
    ///
    /// The four parities are found together: two words fold into the halves of one, those into its quarters.
    #[inline(always)]
    pub(super) const fn apply(&self, address: u64) -> u64 {
        const HALF: u64 = 0x0000_0000_ffff_ffff;
        const QUARTERS: u64 = 0x0000_ffff_0000_ffff;
        let [a, b, c, d] = self.rows;
        let (a, b, c, d) = (address & a, address & b, address & c, address & d);
        let ab = ((a ^ (a >> 32)) & HALF) | ((b ^ (b << 32)) & !HALF);
        let cd = ((c ^ (c >> 32)) & HALF) | ((d ^ (d << 32)) & !HALF);
        let mut all = ((ab ^ (ab >> 16)) & QUARTERS) | ((cd ^ (cd << 16)) & !QUARTERS);
        all ^= all >> 8;
        all ^= all >> 4;
        all ^= all >> 2;
        all ^= all >> 1;
        let [a, b, c, d] = self.bits;
        address
            ^ (all & 1).wrapping_shl(a)
            ^ ((all >> 32) & 1).wrapping_shl(b)
            ^ ((all >> 16) & 1).wrapping_shl(c)
            ^ ((all >> 48) & 1).wrapping_shl(d)
    }
}

/// The most distances of [`Shifts`].
const DISTANCES: usize = 8;

/// The same by the distance between the bits that are added up and the bit that changes.
///
/// The maps of a window are mostly one pattern, moved by a bit each time: then all maps have the same few distances,
/// and one shift serves them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shifts {
    shifts: [u32; DISTANCES],
    /// The bits that change by what is at that distance above them.
    masks: [u64; DISTANCES],
}

impl Shifts {
    /// `None` when there are too many distances.
    fn new(parities: &Parities) -> Option<Self> {
        let mut found = Self { shifts: [0; DISTANCES], masks: [0; DISTANCES] };
        let mut places = found.shifts.iter_mut().zip(&mut found.masks);
        for distance in 1..64 {
            let changed = parities.rows.iter().zip(parities.bits).fold(0, |mask, (row, bit)| {
                // Row and bit of no map are zero.
                mask ^ (row.wrapping_shr(bit).wrapping_shr(distance) & 1).wrapping_shl(bit)
            });
            if changed != 0 {
                let (shift, mask) = places.next()?;
                (*shift, *mask) = (distance, changed);
            }
        }
        Some(found)
    }

    /// The address after all maps.
    #[inline(always)]
    pub(super) fn apply(&self, address: u64) -> u64 {
        let both = self.shifts.iter().zip(&self.masks);
        both.fold(address, |seen, (shift, mask)| seen ^ (address.wrapping_shr(*shift) & mask))
    }
}

/// Maps in one order, in the form that is fastest to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// No map changes an address.
    Nothing,
    Shifts(Shifts),
    Parities(Parities),
}

impl Prepared {
    /// From what the CPU uses to what the decoders see.
    pub(super) fn to_hpa(maps: &XorMaps) -> Self {
        Self::new(maps.maps().iter().copied())
    }

    /// And back, exactly.
    pub(super) fn to_spa(maps: &XorMaps) -> Self {
        Self::new(maps.maps().iter().rev().copied())
    }

    fn new(maps: impl Iterator<Item = XorMap> + Clone) -> Self {
        let parities = Parities::new(maps.clone());
        match Shifts::new(&parities) {
            _ if maps.clone().all(|map| map.0 == 0) => Self::Nothing,
            Some(shifts) => Self::Shifts(shifts),
            None => Self::Parities(parities),
        }
    }

    /// The address after all maps.
    #[inline(always)]
    pub(super) fn apply(&self, address: u64) -> u64 {
        match self {
            Self::Nothing => address,
            Self::Shifts(shifts) => shifts.apply(address),
            Self::Parities(parities) => parities.apply(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::cedt::{
        Cedt, CedtWriter, Entry, InterleaveWays, MapGranularity, WindowRestrictions, XorInterleaveMathHeader,
    };
    use crate::tables::header::Identity;
    use crate::tables::output::{Seal, SliceOutput};
    use crate::units::ByteCount;

    /// Bit by bit, as the specification says it.
    fn by_hand(maps: &[u64], mut address: u64) -> u64 {
        for map in maps.iter().filter(|map| **map != 0) {
            let bit = (0..64).find(|bit| map >> bit & 1 == 1).unwrap();
            let ones = (0..64).filter(|bit| (address & map) >> bit & 1 == 1).count();
            address &= !(1 << bit);
            address |= u64::try_from(ones % 2).unwrap() << bit;
        }
        address
    }

    fn maps(maps: &[u64]) -> XorMaps {
        let maps: alloc::vec::Vec<XorMap> = maps.iter().copied().map(XorMap).collect();
        XorMaps::new(&maps).unwrap()
    }

    extern crate std;

    #[test]
    fn maps_set_their_lowest_bit_to_the_parity() {
        let mut random = super::super::reference::Random::new(3);
        for list in [
            &[0x202_0900_u64][..],
            &[0x202_0900, 0x404_1200],
            &[0x40_4100, 0x80_8200, 0x101_0400, 0x202_0800],
            &[0x300, 0x600],
            &[0x600, 0x300],
            &[0, 0x8000_0000_0000_0000, u64::MAX],
            &[0x1_2345_6780_0f00, 0x300, 0x8765_4321_0f01_0700, 0x5a5a_5a5a_5a5a_5b00],
            &[],
        ] {
            let xor = maps(list);
            let (forth, back) = (Prepared::to_hpa(&xor), Prepared::to_spa(&xor));
            let parities = Parities::new(xor.maps().iter().copied());
            match forth {
                Prepared::Nothing => assert!(list.is_empty()),
                Prepared::Shifts(_) => assert!(list.iter().all(|map| map.count_ones() < 9)),
                Prepared::Parities(_) => assert!(list.iter().any(|map| map.count_ones() > 9)),
            }
            for _ in 0..1000 {
                let spa = random.next();
                let hpa = xor.to_hpa(PhysAddr(spa));
                assert_eq!(hpa.0, by_hand(list, spa));
                assert_eq!(xor.to_spa(hpa), PhysAddr(spa));
                assert_eq!(parities.apply(spa), hpa.0);
                assert_eq!((forth.apply(spa), back.apply(hpa.0)), (hpa.0, spa));
                if xor.is_self_inverse() {
                    assert_eq!(xor.to_hpa(hpa), PhysAddr(spa));
                }
            }
        }
        assert!(maps(&[0x202_0900, 0x404_1200]).is_self_inverse());
    }

    /// The counter-example of the sheet, section 4.2: applied twice, 512 of 1024 granules do not come back.
    #[test]
    fn maps_that_share_bits_do_not_undo_themselves() {
        let xor = maps(&[0x300, 0x600]);
        assert!(!xor.is_self_inverse());
        let addresses = (0..1024_u64).map(|granule| PhysAddr(granule << 8));
        let moved = addresses.clone().filter(|spa| xor.to_hpa(xor.to_hpa(*spa)) != *spa).count();
        assert_eq!(moved, 512);
        assert!(addresses.clone().all(|spa| xor.to_spa(xor.to_hpa(spa)) == spa));
    }

    #[test]
    fn windows_find_their_maps() {
        let mut buffer = [0; 256];
        let mut writer = CedtWriter::new(SliceOutput::new(&mut buffer), Identity::default());
        let list = [XorMap(0x202_0900), XorMap(0x404_1200), XorMap(0x808_2400)];
        for (granularity, maps) in [
            (MapGranularity::BYTES_256, &list[..1]),
            (MapGranularity::KIB_1, &list[1..2]),
            (MapGranularity::BYTES_256, &list[..]),
        ] {
            writer.push_xor_interleave_math(&XorInterleaveMathHeader::new(granularity), maps).unwrap();
        }
        let length = writer.finish(Seal::Fill).unwrap();
        let cedt = Cedt::parse(&buffer[..usize::try_from(length).unwrap()]).unwrap();
        let structures = || {
            cedt.entries().filter_map(|entry| match entry {
                Ok(Entry::XorInterleaveMath(math)) => Some(math),
                _ => None,
            })
        };
        let window = |ways: InterleaveWays, granularity| {
            let size = ByteCount(1 << 30);
            let mut window = FixedMemoryWindowHeader::new(
                PhysAddr(0),
                size,
                InterleaveGranularity(granularity),
                WindowRestrictions(0),
            );
            window.interleave_ways = ways.into();
            window.interleave_arithmetic = InterleaveArithmetic::MODULO_XOR.into();
            window
        };
        let of = |ways, granularity| XorMaps::of_window(&window(ways, granularity), structures());
        assert_eq!(of(InterleaveWays::WAYS_1, 5), Ok(XorMaps::NONE));
        assert_eq!(of(InterleaveWays::WAYS_3, 5), Ok(XorMaps::NONE));
        // The last of two, and of that only what is needed.
        assert_eq!(of(InterleaveWays::WAYS_6, 2).unwrap().maps(), &list[1..2]);
        assert_eq!(
            XorMaps::of_window(&window(InterleaveWays::WAYS_4, 0), structures().skip(1)).unwrap().maps(),
            &list[..2]
        );
        assert_eq!(of(InterleaveWays::WAYS_2, 1), Err(LayoutError::NoMaps(ByteCount(512))));
        // Too few in one of them is the end, even where another would do.
        assert_eq!(of(InterleaveWays::WAYS_4, 0), Err(LayoutError::TooFewMaps { found: 1, needed: 2 }));
        let mut modulo = window(InterleaveWays::WAYS_2, 1);
        modulo.interleave_arithmetic = InterleaveArithmetic::MODULO.into();
        assert_eq!(XorMaps::of_window(&modulo, structures()), Ok(XorMaps::NONE));
        modulo.interleave_arithmetic = InterleaveArithmetic(2).into();
        let refused = LayoutError::ArithmeticCode(InterleaveArithmetic(2));
        assert_eq!(XorMaps::of_window(&modulo, structures()), Err(refused));
        assert_eq!(XorMaps::new(&[XorMap(1); 5]), Err(LayoutError::TooManyMaps { found: 5 }));
    }
}
