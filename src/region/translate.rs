//! The translation between host addresses and places in devices.

use super::levels::Levels;
use super::refusal::{BulkError, LayoutError, Refusal};
use super::values::Position;
use super::xor::{Prepared, XorMaps};
use crate::range::AddressRange;
use crate::units::{ByteCount, DeviceAddr, PhysAddr};
use core::slice;

/// The unit of base and size of a decoder: their low 28 bits are not implemented.
const UNIT: u64 = 1 << 28;

/// A device of a region, and an address in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Which device.
    pub position: Position,
    /// Which of its addresses (DPA).
    pub address: DeviceAddr,
}

/// Small numbers, sixteen of four bits each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Nibbles(u64);

impl Nibbles {
    #[inline(always)]
    const fn get(self, index: u64) -> u64 {
        let [index, ..] = index.to_le_bytes();
        self.0.wrapping_shr(u32::from_le_bytes([index, 0, 0, 0]).wrapping_mul(4)) & 15
    }

    const fn or(self, index: u8, value: u8) -> Self {
        let value = u64::from_le_bytes([value, 0, 0, 0, 0, 0, 0, 0]);
        Self(self.0 | value.wrapping_shl(u32::from_le_bytes([index, 0, 0, 0]).wrapping_mul(4)))
    }
}

/// The arithmetic of one region, prepared once.
///
/// The addresses are those that the CPU uses. With XOR maps they are first made into those that the decoders see.
/// The target of each level is selected by the absolute address, the address in the device comes from the offset in
/// the region: chunks of the region's granularity go to the devices in turns, a stripe is one turn.
///
/// # Examples
///
/// Three ways from a start that is no multiple of three times 256 MiB: the first chunk is not the first device's.
///
/// ```
/// use memtopo::range::AddressRange;
/// use memtopo::region::{Granularity, Interleave, Levels, Position, Refusal, Translator, Ways, XorMaps};
/// use memtopo::units::{ByteCount, DeviceAddr, PhysAddr};
///
/// let region = Interleave::new(Ways::THREE, Granularity::BYTES_256);
/// let range = AddressRange::from_base_size(PhysAddr(0x2_5000_0000), ByteCount(3 << 28)).unwrap();
/// let translator = Translator::new(range, Levels::flat(region), XorMaps::NONE)?;
/// assert_eq!(translator.to_device(range.start)?.position, Position(1));
///
/// let addresses = [PhysAddr(0x2_5000_0200), PhysAddr(0x2_5003_6945)];
/// let (mut positions, mut places) = ([Position(0); 2], [DeviceAddr(0); 2]);
/// translator.to_devices(&addresses, &mut positions, &mut places)?;
/// assert_eq!(positions, [Position(0), Position(1)]);
/// assert_eq!(places, [DeviceAddr(0), DeviceAddr(0x12345)]);
///
/// let outside = translator.to_device(range.end).unwrap_err();
/// assert!(matches!(outside, Refusal::OutsideRegion { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translator {
    levels: Levels,
    range: AddressRange,
    maps: XorMaps,
    to_hpa: Prepared,
    to_spa: Prepared,
    start: u64,
    /// Offset of the last byte.
    last: u64,
    /// Offsets of the same granule have the same bits from here up.
    granule: u32,
    /// As many bits above say which device; with three ways more there is a remainder too.
    power: u32,
    three: bool,
    ways: u64,
    /// Bytes of each device.
    share: u64,
    /// By the chunk of a stripe the position, and back.
    positions: Nibbles,
    chunks: Nibbles,
    /// First address of each device's share.
    bases: [u64; 16],
    /// Chunks and positions have the same numbers, and all shares begin at the same address.
    straight: bool,
}

impl Translator {
    /// Prepares the translation of the addresses in `range`, which is what the decoders below the root decode: for a
    /// region with an extended linear cache the part behind the cache.
    ///
    /// The share of each device begins at DPA 0 until [`with_bases`](Self::with_bases) says otherwise.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Range`], [`Shares`](LayoutError::Shares) and [`MapTooHigh`](LayoutError::MapTooHigh).
    pub fn new(range: AddressRange, levels: Levels, maps: XorMaps) -> Result<Self, LayoutError> {
        let size = range.size().0;
        let whole = range.start.0 % UNIT == 0 && size % UNIT == 0;
        let last = size.checked_sub(1).filter(|last| whole && last >> 63 == 0);
        let last = last.ok_or(LayoutError::Range { range })?;
        let region = levels.region();
        let ways = region.ways.count();
        let count = u64::from(ways);
        if size.checked_rem(count) != Some(0) {
            return Err(LayoutError::Shares { size: range.size(), ways });
        }
        for map in maps.maps().iter().filter(|map| map.0 != 0) {
            let bit = map.0.trailing_zeros();
            if 1_u64.wrapping_shl(bit) >= UNIT {
                return Err(LayoutError::MapTooHigh { map: *map, bit });
            }
        }
        let (mut positions, mut chunks) = (Nibbles(0), Nibbles(0));
        let mut straight = true;
        for chunk in 0..ways {
            let offset = u64::from(chunk).wrapping_shl(region.granularity.shift());
            // Sound levels lead to a position, and each chunk of a stripe to another one.
            let path = levels.route(range.start.0.wrapping_add(offset));
            let position = levels.position(path.indexes()).unwrap_or_default();
            positions = positions.or(chunk, position.0);
            chunks = chunks.or(position.0, chunk);
            straight &= position.0 == chunk;
        }
        Ok(Self {
            levels,
            range,
            maps,
            to_hpa: Prepared::to_hpa(&maps),
            to_spa: Prepared::to_spa(&maps),
            start: range.start.0,
            last,
            granule: region.granularity.shift(),
            power: region.ways.power_bits(),
            three: region.ways.has_three(),
            ways: count,
            share: size.checked_div(count).unwrap_or(size),
            positions,
            chunks,
            bases: [0; 16],
            straight,
        })
    }

    /// The same with the share of the device at each position beginning at the DPA given for it: the DPA that its
    /// endpoint decoder starts at.
    ///
    /// # Errors
    ///
    /// [`LayoutError::BaseCount`] unless there is one for each device, and [`LayoutError::BaseTooHigh`].
    pub fn with_bases(mut self, bases: &[DeviceAddr]) -> Result<Self, LayoutError> {
        let ways = self.levels.region().ways.count();
        if bases.len() != usize::from(ways) {
            return Err(LayoutError::BaseCount { found: bases.len(), ways });
        }
        for (place, base) in self.bases.iter_mut().zip(bases) {
            let end = base.0.checked_add(self.share);
            *place = end.map(|_| base.0).ok_or(LayoutError::BaseTooHigh { base: *base })?;
        }
        let first = self.bases.first().copied();
        let equal = bases.iter().all(|base| Some(base.0) == first);
        let straight = |chunk: u64| self.positions.get(chunk) == chunk;
        self.straight = equal && (0..self.ways).all(straight);
        Ok(self)
    }

    /// The addresses that are translated.
    #[must_use]
    pub const fn range(&self) -> AddressRange {
        self.range
    }

    /// What the decoders do.
    #[must_use]
    pub const fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The XOR maps of the window.
    #[must_use]
    pub const fn maps(&self) -> &XorMaps {
        &self.maps
    }

    /// Bytes of the region that each device holds.
    #[must_use]
    pub const fn share(&self) -> ByteCount {
        ByteCount(self.share)
    }

    /// First address of the share of a device, or `None` for a position that the region does not have.
    #[must_use]
    pub fn base(&self, position: Position) -> Option<DeviceAddr> {
        let base = self.bases.get(usize::from(position.0)).copied();
        base.filter(|_| u64::from(position.0) < self.ways).map(DeviceAddr)
    }

    /// The device that gets a chunk of every stripe, counted from the start of the region, or `None` for a chunk beyond
    /// the ways.
    #[must_use]
    pub fn position_of_chunk(&self, chunk: u8) -> Option<Position> {
        let [position, ..] = self.positions.get(chunk.into()).to_le_bytes();
        (u64::from(chunk) < self.ways).then_some(Position(position))
    }

    /// The device and its address behind a host address.
    ///
    /// # Errors
    ///
    /// [`Refusal::OutsideRegion`].
    #[inline]
    pub fn to_device(&self, address: PhysAddr) -> Result<Place, Refusal> {
        let offset = self.to_hpa.apply(address.0).wrapping_sub(self.start);
        if offset > self.last {
            return Err(Refusal::OutsideRegion { address, range: self.range });
        }
        let (stripe, chunk) = if self.three { self.split_three(offset) } else { self.split_power(offset) };
        let position = self.positions.get(chunk);
        let base = self.base_at(position);
        let [position, ..] = position.to_le_bytes();
        let address = self.in_device(stripe, offset).wrapping_add(base);
        Ok(Place { position: Position(position), address: DeviceAddr(address) })
    }

    /// The host address of a place in a device.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchPosition`] and [`Refusal::OutsideDevice`].
    #[inline]
    pub fn to_host(&self, place: Place) -> Result<PhysAddr, Refusal> {
        let position = place.position;
        let Some(base) = self.base(position) else {
            return Err(Refusal::NoSuchPosition { position, ways: self.levels.region().ways.count() });
        };
        let offset = place.address.0.wrapping_sub(base.0);
        if offset >= self.share {
            let size = ByteCount(self.share);
            return Err(Refusal::OutsideDevice { address: place.address, base, size });
        }
        let stripe = offset.wrapping_shr(self.granule);
        let chunk = stripe.wrapping_mul(self.ways).wrapping_add(self.chunks.get(position.0.into()));
        let offset = chunk.wrapping_shl(self.granule) | (offset & self.within());
        Ok(PhysAddr(self.to_spa.apply(self.start.wrapping_add(offset))))
    }

    /// [`to_device`](Self::to_device) for many addresses: the position and the device address of each go to the same
    /// index of the results.
    ///
    /// # Errors
    ///
    /// [`BulkError::Lengths`] when the slices have different lengths, and [`BulkError::At`] with the first address that
    /// has no translation.
    pub fn to_devices(
        &self,
        addresses: &[PhysAddr],
        positions: &mut [Position],
        places: &mut [DeviceAddr],
    ) -> Result<(), BulkError> {
        self.check_lengths(addresses.len(), positions.len(), places.len())?;
        let results = (positions, places);
        let inside = match &self.to_hpa {
            Prepared::Nothing => self.sweep(|address| address, addresses, results),
            Prepared::Shifts(shifts) => self.sweep(|address| shifts.apply(address), addresses, results),
            Prepared::Parities(parities) => self.sweep(|address| parities.apply(address), addresses, results),
        };
        if inside {
            Ok(())
        } else {
            Self::first_refusal(addresses.iter(), |address| self.to_device(*address))
        }
    }

    /// [`to_host`](Self::to_host) for many places, each a position and a device address at the same index.
    ///
    /// # Errors
    ///
    /// [`BulkError::Lengths`] when the slices have different lengths, and [`BulkError::At`] with the first place that has
    /// no translation.
    pub fn to_hosts(
        &self,
        positions: &[Position],
        places: &[DeviceAddr],
        addresses: &mut [PhysAddr],
    ) -> Result<(), BulkError> {
        self.check_lengths(addresses.len(), positions.len(), places.len())?;
        let all = positions.iter().zip(places).zip(addresses);
        for (index, ((position, address), result)) in all.enumerate() {
            let place = Place { position: *position, address: *address };
            *result = self.to_host(place).map_err(|refusal| BulkError::At { index, refusal })?;
        }
        Ok(())
    }

    fn check_lengths(&self, addresses: usize, positions: usize, places: usize) -> Result<(), BulkError> {
        let equal = addresses == positions && positions == places;
        if equal { Ok(()) } else { Err(BulkError::Lengths { addresses, positions, places }) }
    }

    /// The bits of an address inside a granule.
    #[inline(always)]
    const fn within(&self) -> u64 {
        1_u64.wrapping_shl(self.granule).wrapping_sub(1)
    }

    /// Stripe and chunk in it of an offset, for ways that are a power of two.
    #[inline(always)]
    const fn split_power(&self, offset: u64) -> (u64, u64) {
        let granule = offset.wrapping_shr(self.granule);
        (granule.wrapping_shr(self.power), granule & self.ways.wrapping_sub(1))
    }

    /// The same for three times a power of two. Compilers turn the division by a constant into a multiplication.
    #[inline(always)]
    const fn split_three(&self, offset: u64) -> (u64, u64) {
        let granule = offset.wrapping_shr(self.granule);
        let stripe = granule.wrapping_shr(self.power) / 3;
        (stripe, granule.wrapping_sub(stripe.wrapping_mul(self.ways)))
    }

    #[inline(always)]
    const fn in_device(&self, stripe: u64, offset: u64) -> u64 {
        stripe.wrapping_shl(self.granule) | (offset & self.within())
    }

    #[inline(always)]
    fn base_at(&self, position: u64) -> u64 {
        let [position, ..] = position.to_le_bytes();
        self.bases.get(usize::from(position & 15)).copied().unwrap_or_default()
    }

    /// Translates all, and tells whether all were inside. Which way to take is decided outside the loop.
    #[inline(always)]
    fn sweep(
        &self,
        decoded: impl Fn(u64) -> u64,
        addresses: &[PhysAddr],
        results: (&mut [Position], &mut [DeviceAddr]),
    ) -> bool {
        let base = self.base_at(0);
        let same = |chunk| (chunk, base);
        let named = |chunk| {
            let position = self.positions.get(chunk);
            (position, self.base_at(position))
        };
        match (self.three, self.straight) {
            (false, true) => self.pass(decoded, |offset| self.split_power(offset), same, addresses, results),
            (false, false) => {
                self.pass(decoded, |offset| self.split_power(offset), named, addresses, results)
            }
            (true, true) => self.pass(decoded, |offset| self.split_three(offset), same, addresses, results),
            (true, false) => self.pass(decoded, |offset| self.split_three(offset), named, addresses, results),
        }
    }

    #[inline(always)]
    fn pass(
        &self,
        decoded: impl Fn(u64) -> u64,
        split: impl Fn(u64) -> (u64, u64),
        name: impl Fn(u64) -> (u64, u64),
        addresses: &[PhysAddr],
        (positions, places): (&mut [Position], &mut [DeviceAddr]),
    ) -> bool {
        let mut outside = 0;
        for ((address, position), place) in addresses.iter().zip(positions).zip(places) {
            let offset = decoded(address.0).wrapping_sub(self.start);
            // The top bit is set when the offset is beyond the last byte, which has none: without a comparison.
            outside |= offset | self.last.wrapping_sub(offset);
            let (stripe, chunk) = split(offset);
            let (at, base) = name(chunk);
            let [at, ..] = at.to_le_bytes();
            *position = Position(at);
            *place = DeviceAddr(self.in_device(stripe, offset).wrapping_add(base));
        }
        outside >> 63 == 0
    }

    #[cold]
    fn first_refusal<T>(
        items: slice::Iter<'_, T>,
        translate: impl Fn(&T) -> Result<Place, Refusal>,
    ) -> Result<(), BulkError> {
        for (index, item) in items.enumerate() {
            translate(item).map_err(|refusal| BulkError::At { index, refusal })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ways;
    use super::super::reference::{Random, interleave, layouts, translator};
    use super::*;
    use crate::units::XorMap;

    extern crate std;
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const GIB: u64 = 1 << 30;

    /// A row of the sheet, section 4.6: SPA, position, DPA.
    type Row = (u64, u8, u64);

    fn check(translator: &Translator, rows: &[Row]) {
        for (spa, position, dpa) in rows {
            let place = Place { position: Position(*position), address: DeviceAddr(*dpa) };
            assert_eq!(translator.to_device(PhysAddr(*spa)), Ok(place), "{spa:#x}");
            assert_eq!(translator.to_host(place), Ok(PhysAddr(*spa)), "{place:?}");
        }
        let addresses: Vec<PhysAddr> = rows.iter().map(|row| PhysAddr(row.0)).collect();
        let mut positions: Vec<Position> = rows.iter().map(|_| Position(0xff)).collect();
        let mut places: Vec<DeviceAddr> = rows.iter().map(|_| DeviceAddr(0)).collect();
        translator.to_devices(&addresses, &mut positions, &mut places).unwrap();
        assert!(positions.iter().map(|position| position.0).eq(rows.iter().map(|row| row.1)));
        assert!(places.iter().map(|place| place.0).eq(rows.iter().map(|row| row.2)));
        let mut back: Vec<PhysAddr> = rows.iter().map(|_| PhysAddr(0)).collect();
        translator.to_hosts(&positions, &places, &mut back).unwrap();
        assert_eq!(back, addresses);
    }

    fn flat(start: u64, size: u64, ways: u32, bytes: u64, maps: &[u64]) -> Translator {
        translator(start, size, Levels::flat(interleave(ways, bytes)), maps)
    }

    /// Rows 1 to 15 of the sheet, section 4.6.
    #[test]
    fn worked_addresses_of_modulo_windows() {
        let b = 0x2_5000_0000;
        check(&flat(b, GIB, 1, 256, &[]), &[(0x2_5123_4567, 0, 0x123_4567)]);
        let two = [
            (0x2_5000_03ff, 0, 0x3ff),
            (0x2_5000_0400, 1, 0),
            (0x2_5000_1abc, 0, 0xebc),
            (0x2_8fff_ffff, 1, 0x1fff_ffff),
        ];
        check(&flat(b, GIB, 2, 1024, &[]), &two);
        check(&flat(b, GIB, 4, 256, &[]), &[(0x2_5000_02ff, 2, 0xff), (0x2_6234_5678, 2, 0x48d_1578)]);
        let eight = flat(0x4_0000_0000, 4 * GIB, 8, 4096, &[]);
        let eight = eight.with_bases(&[DeviceAddr(0x1000_0000); 8]).unwrap();
        check(&eight, &[(0x4_0000_8123, 0, 0x1000_1123), (0x4_abcd_ef01, 6, 0x2579_bf01)]);
        check(&flat(0x10_0000_0000, 4 * GIB, 16, 16384, &[]), &[(0x10_0004_0000, 0, 0x4000)]);
        let three = [(0x2_4000_02ff, 2, 0xff), (0x2_5234_5678, 0, 0x611_7278)];
        check(&flat(0x2_4000_0000, 3 * GIB, 3, 256, &[]), &three);
        check(&flat(0x3_0000_0000, 6 * GIB, 6, 512, &[]), &[(0x3_1234_5678, 3, 0x308_b878)]);
        let twelve = [(0x3_1234_5678, 6, 0x184_5c78), (0x4_7fff_ffff, 11, 0x1fff_ffff)];
        check(&flat(0x3_0000_0000, 6 * GIB, 12, 256, &[]), &twelve);
    }

    /// Rows 16 to 22.
    #[test]
    fn worked_addresses_of_xor_windows() {
        let start = 0x4_0000_0000;
        let two = [(0x4_0000_0800, 1, 0x400), (0x4_0000_0900, 0, 0x400), (0x4_1234_5678, 1, 0x91a_2b78)];
        check(&flat(start, GIB, 2, 256, &[0x202_0900]), &two);
        let four = [(0x4_0000_1200, 0, 0x400), (0x4_1234_5678, 3, 0x48d_1578)];
        check(&flat(start, GIB, 4, 256, &[0x202_0900, 0x404_1200]), &four);
        check(&flat(0x3_0000_0000, 6 * GIB, 6, 256, &[0x202_0900]), &[(0x3_0000_0800, 3, 0x100)]);
        let levels = Levels::of_linux(interleave(2, 256), &[Ways::TWO], interleave(4, 256)).unwrap();
        check(&translator(start, GIB, levels, &[0x202_0900]), &[(0x4_0000_0900, 0, 0x200)]);
    }

    /// Rows 23 to 27. The last two number the devices as Linux does only for regions that are not aligned: the port
    /// counts least; the way to the device is the same.
    #[test]
    fn worked_addresses_of_unaligned_regions() {
        let start = 0x2_5000_0000;
        let three = [(0x2_5000_0200, 0, 0), (start, 1, 0), (0x2_5003_6945, 1, 0x12345)];
        check(&flat(start, 3 << 28, 3, 256, &[]), &three);
        let levels = [interleave(3, 512), interleave(2, 256)];
        let levels = Levels::new(interleave(6, 256), &levels).unwrap();
        let six = translator(start, 6 << 28, levels, &[]);
        check(&six, &[(0x2_5000_0300, 3, 0), (0x2_5000_1745, 4, 0x345)]);
        for (spa, number) in [(0x2_5000_0300, 1), (0x2_5000_1745, 3)] {
            let path = levels.path(six.to_device(PhysAddr(spa)).unwrap().position).unwrap();
            let [root, port] = path.indexes() else { panic!("{path:?}") };
            assert_eq!(root * 2 + port, number);
        }
    }

    /// The table of the sheet, section 4.5.
    #[test]
    fn chunks_and_positions_differ_below_a_root_of_three() {
        let order = |root, port, ways| {
            let port = Ways::from_count(port).unwrap();
            let levels = Levels::of_linux(interleave(root, 256), &[port], interleave(ways, 256)).unwrap();
            let translator = translator(0x3_0000_0000, 6 * GIB, levels, &[]);
            (0..16).map_while(|chunk| translator.position_of_chunk(chunk)).map(|at| at.0).collect::<Vec<_>>()
        };
        assert_eq!(order(3, 2, 6), [0, 4, 2, 3, 1, 5]);
        assert_eq!(order(3, 4, 12), [0, 4, 8, 9, 1, 5, 6, 10, 2, 3, 7, 11]);
        assert_eq!(order(6, 2, 12), [0, 1, 8, 9, 4, 5, 6, 7, 2, 3, 10, 11]);
        for (root, port, ways) in [(2, 2, 4), (2, 4, 8), (4, 4, 16), (3, 1, 3), (6, 1, 6), (12, 1, 12)] {
            let straight: Vec<u8> = (0..u8::try_from(ways).unwrap()).collect();
            assert_eq!(order(root, port, ways), straight);
        }
    }

    /// Every way to divide every number of ways over up to four levels, in every order of the address bits, at every
    /// granularity that can be set: whole stripes reach every place once, and every level selects as its registers
    /// say. From an aligned start and from one that is no multiple of three.
    #[test]
    fn whole_stripes_reach_every_place_once() {
        let mut layouts_seen = 0_usize;
        for levels in layouts() {
            layouts_seen += 1;
            let region = levels.region();
            let (ways, bytes) = (u64::from(region.ways.count()), region.granularity.bytes().0);
            for start in [0x3_0000_0000, 0x2_5000_0000, 0x2_6000_0000] {
                let translator = translator(start, ways << 28, levels, &[]);
                let addresses: Vec<PhysAddr> =
                    (0..5 * ways).map(|chunk| PhysAddr(start + chunk * bytes + chunk % bytes)).collect();
                let mut positions: Vec<Position> = addresses.iter().map(|_| Position(0)).collect();
                let mut places: Vec<DeviceAddr> = addresses.iter().map(|_| DeviceAddr(0)).collect();
                translator.to_devices(&addresses, &mut positions, &mut places).unwrap();
                let mut seen = BTreeMap::new();
                for ((address, position), place) in addresses.iter().zip(&positions).zip(&places) {
                    let offset = address.0 - start;
                    let chunk = offset / bytes;
                    assert_eq!(place.0, chunk / ways * bytes + offset % bytes);
                    let path = levels.path(*position).unwrap();
                    for (index, level) in path.indexes().iter().zip(levels.levels()) {
                        let of = address.0 / level.granularity.bytes().0 % u64::from(level.ways.count());
                        assert_eq!(u64::from(*index), of);
                    }
                    let place = Place { position: *position, address: *place };
                    assert_eq!(translator.to_device(*address), Ok(place));
                    assert_eq!(translator.to_host(place), Ok(*address));
                    assert_eq!(seen.insert((position.0, chunk / ways), ()), None);
                }
                // 5 stripes, every device once in each.
                assert_eq!(seen.len(), addresses.len());
                assert!(seen.keys().all(|(position, stripe)| u64::from(*position) < ways && *stripe < 5));
            }
        }
        // Counted by another program over the same rules.
        assert_eq!(layouts_seen, LAYOUTS);
    }

    const LAYOUTS: usize = 512;

    /// DPAs of up to 46 bits, with and without maps, and back.
    #[test]
    fn random_device_addresses_come_back() {
        let mut random = Random::new(46);
        let maps: [&[u64]; 4] = [
            &[],
            &[0x202_0900],
            &[0x202_0900, 0x404_1200, 0x808_2400, 0x1010_4800],
            &[0x1_2345_6780_0f00, 0x300, 0x8765_4321_0f01_0700, 0x5a5a_5a5a_5a5a_5b00],
        ];
        for levels in layouts().step_by(7) {
            let region = levels.region();
            let ways = region.ways.count();
            let bases: Vec<DeviceAddr> = (0..ways).map(|_| DeviceAddr(random.next() >> 16)).collect();
            for maps in maps {
                let start = random.next() >> 12 & !(UNIT - 1);
                let translator = translator(start, u64::from(ways) << 46, levels, maps);
                let translator = translator.with_bases(&bases).unwrap();
                let sought: Vec<Place> = (0..20)
                    .map(|_| {
                        let number = random.next() % u64::from(ways);
                        let base = bases[usize::try_from(number).unwrap()];
                        let address = DeviceAddr(base.0 + (random.next() >> 18));
                        Place { position: Position(u8::try_from(number).unwrap()), address }
                    })
                    .collect();
                let addresses: Vec<PhysAddr> =
                    sought.iter().map(|place| translator.to_host(*place).unwrap()).collect();
                let mut positions: Vec<Position> = sought.iter().map(|_| Position(0)).collect();
                let mut places: Vec<DeviceAddr> = sought.iter().map(|_| DeviceAddr(0)).collect();
                translator.to_devices(&addresses, &mut positions, &mut places).unwrap();
                for (((place, address), position), at) in
                    sought.iter().zip(&addresses).zip(&positions).zip(&places)
                {
                    assert_eq!((place.position, place.address), (*position, *at));
                    assert_eq!(translator.to_device(*address), Ok(*place));
                    // Bit by bit and by division, as the sheet says it.
                    let hpa = translator.maps().to_hpa(*address).0;
                    let (bytes, offset) = (region.granularity.bytes().0, hpa - start);
                    let base = bases[usize::from(position.0)].0;
                    assert_eq!(at.0 - base, offset / bytes / u64::from(ways) * bytes + offset % bytes);
                }
            }
        }
    }

    /// The quotient by three is exact up to the largest offset.
    #[test]
    fn the_largest_region_is_exact() {
        let size = (1_u64 << 63) / (3 * UNIT) * (3 * UNIT);
        let translator = flat(0, size, 3, 256, &[]);
        let mut random = Random::new(63);
        let ends = (0..2000).flat_map(|n| [n, size - 1 - n]);
        for address in ends.chain((0..10_000).map(|_| random.next() % size).collect::<Vec<_>>()) {
            let chunk = address / 256;
            let place = translator.to_device(PhysAddr(address)).unwrap();
            assert_eq!(u64::from(place.position.0), chunk % 3);
            assert_eq!(place.address.0, chunk / 3 * 256 + address % 256);
            assert_eq!(translator.to_host(place), Ok(PhysAddr(address)));
        }
    }

    #[test]
    fn what_cannot_be_translated_is_refused() {
        let start = 0x2_5000_0000;
        let two = flat(start, GIB, 2, 256, &[]).with_bases(&[DeviceAddr(0), DeviceAddr(GIB)]).unwrap();
        let outside = |address| {
            let text = two.to_device(PhysAddr(address)).unwrap_err().to_string();
            let mut results = ([Position(0); 3], [DeviceAddr(0); 3]);
            let addresses = [PhysAddr(start), PhysAddr(address), PhysAddr(0)];
            let bulk = two.to_devices(&addresses, &mut results.0, &mut results.1).unwrap_err();
            assert_eq!(bulk.to_string(), std::format!("address 1: {text}"));
            text
        };
        let text = outside(start - 1);
        assert_eq!(text, "0x24fffffff is outside the region 0x250000000-0x28fffffff");
        for address in [start + GIB, 0, u64::MAX, start + (1 << 63), start.wrapping_sub(1 << 63)] {
            outside(address);
        }
        let at = |position, address| Place { position: Position(position), address: DeviceAddr(address) };
        assert_eq!(two.to_host(at(2, 0)).unwrap_err().to_string(), "position 2 in a region of 2 devices");
        let text = two.to_host(at(1, GIB - 1)).unwrap_err().to_string();
        assert_eq!(text, "device address 0x3fffffff is outside the 0x20000000 bytes from 0x40000000");
        assert!(two.to_host(at(1, GIB + GIB / 2)).is_err());
        assert!(two.to_host(at(0, GIB / 2 - 1)).is_ok());
        let hosts = two.to_hosts(&[Position(0); 2], &[DeviceAddr(0), DeviceAddr(GIB)], &mut [PhysAddr(0); 2]);
        assert!(matches!(hosts, Err(BulkError::At { index: 1, refusal: Refusal::OutsideDevice { .. } })));
        let lengths = two.to_devices(&[PhysAddr(start)], &mut [], &mut [DeviceAddr(0)]);
        assert_eq!(lengths, Err(BulkError::Lengths { addresses: 1, positions: 0, places: 1 }));
    }

    #[test]
    fn unsound_regions_are_refused() {
        let prepare = |start, size, ways, maps: &[u64]| {
            let maps: Vec<XorMap> = maps.iter().copied().map(XorMap).collect();
            let range = AddressRange::new(PhysAddr(start), PhysAddr(start.wrapping_add(size)));
            let levels = Levels::flat(interleave(ways, 256));
            Translator::new(range, levels, XorMaps::new(&maps).unwrap())
        };
        let refused =
            |start, size, ways, maps: &[u64]| prepare(start, size, ways, maps).unwrap_err().to_string();
        assert_eq!(refused(1 << 27, GIB, 1, &[]), "0x08000000-0x47ffffff is not made of whole 256 MiB");
        assert_eq!(refused(0, 1 << 27, 1, &[]), "0x00000000-0x07ffffff is not made of whole 256 MiB");
        assert!(prepare(0, 0, 1, &[]).is_err() && prepare(GIB, GIB.wrapping_neg(), 1, &[]).is_err());
        assert!(prepare(0, (1 << 63) + UNIT, 1, &[]).is_err() && prepare(0, 1 << 63, 1, &[]).is_ok());
        assert_eq!(refused(0, GIB, 3, &[]), "1073741824 bytes cannot be shared equally by 3 devices");
        assert_eq!(
            refused(0, GIB, 2, &[0x300, 0x3000_0000]),
            "XOR map 0x30000000 sets address bit 28, beyond the 256 MiB that a decoder keeps together"
        );
        // A map without bits changes nothing.
        assert!(prepare(0, GIB, 2, &[0]).is_ok());
        let two = prepare(0, GIB, 2, &[]).unwrap();
        let bases = |bases: &[DeviceAddr]| two.clone().with_bases(bases).unwrap_err();
        assert_eq!(bases(&[DeviceAddr(0)]), LayoutError::BaseCount { found: 1, ways: 2 });
        let high = DeviceAddr(0_u64.wrapping_sub(GIB / 2) + 1);
        assert_eq!(bases(&[DeviceAddr(0), high]), LayoutError::BaseTooHigh { base: high });
    }
}
