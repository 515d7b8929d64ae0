//! Ways, granularities and positions that are valid by construction.

use super::refusal::LayoutError;
use crate::tables::cedt::{FixedMemoryWindowHeader, InterleaveGranularity, InterleaveWays};
use crate::units::ByteCount;
use core::fmt;

/// A number of interleave ways that has a code: 1, 2, 4, 8, 16, 3, 6 or 12.
///
/// Windows and HDM decoders use the same codes (CXL 3.1 §8.2.4.20.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ways {
    /// log2 of the part that is a power of two.
    shift: u8,
    /// Three times that part.
    three: bool,
}

impl Ways {
    /// No interleave.
    pub const ONE: Self = Self { shift: 0, three: false };
    /// 2 ways.
    pub const TWO: Self = Self { shift: 1, three: false };
    /// 4 ways.
    pub const FOUR: Self = Self { shift: 2, three: false };
    /// 8 ways.
    pub const EIGHT: Self = Self { shift: 3, three: false };
    /// 16 ways.
    pub const SIXTEEN: Self = Self { shift: 4, three: false };
    /// 3 ways.
    pub const THREE: Self = Self { shift: 0, three: true };
    /// 6 ways.
    pub const SIX: Self = Self { shift: 1, three: true };
    /// 12 ways.
    pub const TWELVE: Self = Self { shift: 2, three: true };

    /// All of them, in the order of their codes.
    pub const ALL: [Self; 8] =
        [Self::ONE, Self::TWO, Self::FOUR, Self::EIGHT, Self::SIXTEEN, Self::THREE, Self::SIX, Self::TWELVE];

    /// The ways that a number stands for, or `None` where there is no code for it.
    #[must_use]
    pub fn from_count(count: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|ways| u32::from(ways.count()) == count)
    }

    /// The number.
    #[inline]
    #[must_use]
    pub const fn count(self) -> u8 {
        let power = 1_u8.wrapping_shl(self.power_bits());
        if self.three { power.wrapping_mul(3) } else { power }
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> InterleaveWays {
        InterleaveWays(if self.three { self.shift | 8 } else { self.shift })
    }

    /// log2 of the part that is a power of two: as many address bits select, and as many XOR maps are needed.
    #[inline]
    #[must_use]
    pub const fn power_bits(self) -> u32 {
        // No From in constant functions.
        u32::from_le_bytes([self.shift, 0, 0, 0])
    }

    /// Whether the number is three times a power of two, and not one itself.
    #[inline]
    #[must_use]
    pub const fn has_three(self) -> bool {
        self.three
    }
}

impl TryFrom<InterleaveWays> for Ways {
    type Error = LayoutError;

    fn try_from(code: InterleaveWays) -> Result<Self, LayoutError> {
        Self::ALL.into_iter().find(|ways| ways.code() == code).ok_or(LayoutError::WaysCode(code))
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.count(), f)
    }
}

/// An interleave granularity that has a code: 256 bytes to 16 KiB, a power of two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Granularity {
    /// The code, 0 to 6.
    code: u8,
}

impl Granularity {
    /// 256 bytes.
    pub const BYTES_256: Self = Self { code: 0 };
    /// 512 bytes.
    pub const BYTES_512: Self = Self { code: 1 };
    /// 1 KiB.
    pub const KIB_1: Self = Self { code: 2 };
    /// 2 KiB.
    pub const KIB_2: Self = Self { code: 3 };
    /// 4 KiB.
    pub const KIB_4: Self = Self { code: 4 };
    /// 8 KiB.
    pub const KIB_8: Self = Self { code: 5 };
    /// 16 KiB.
    pub const KIB_16: Self = Self { code: 6 };

    /// All of them, in the order of their codes.
    pub const ALL: [Self; 7] =
        [Self::BYTES_256, Self::BYTES_512, Self::KIB_1, Self::KIB_2, Self::KIB_4, Self::KIB_8, Self::KIB_16];

    /// The granularity of a number of bytes, or `None` where there is no code for it.
    #[must_use]
    pub fn from_bytes(bytes: ByteCount) -> Option<Self> {
        Self::ALL.into_iter().find(|granularity| granularity.bytes() == bytes)
    }

    /// The bytes that go to one target before the next has its turn.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> ByteCount {
        ByteCount(1_u64.wrapping_shl(self.shift()))
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> InterleaveGranularity {
        InterleaveGranularity(u32::from_le_bytes([self.code, 0, 0, 0]))
    }

    /// The lowest address bit that is not inside a granule: log2 of [`bytes`](Self::bytes), 8 to 14.
    #[inline]
    #[must_use]
    pub const fn shift(self) -> u32 {
        u32::from_le_bytes([self.code, 0, 0, 0]).wrapping_add(8)
    }
}

impl TryFrom<InterleaveGranularity> for Granularity {
    type Error = LayoutError;

    fn try_from(code: InterleaveGranularity) -> Result<Self, LayoutError> {
        let known = Self::ALL.into_iter().find(|granularity| granularity.code() == code);
        known.ok_or(LayoutError::GranularityCode(code))
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.bytes(), f)
    }
}

/// What one decoder does: how many ways, and how many bytes at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interleave {
    /// Number of targets.
    pub ways: Ways,
    /// Bytes for one target before the next has its turn.
    pub granularity: Granularity,
}

impl Interleave {
    /// Ways and granularity together.
    #[must_use]
    pub const fn new(ways: Ways, granularity: Granularity) -> Self {
        Self { ways, granularity }
    }

    /// What the root decoder of a window does, as Linux reads it (`drivers/cxl/acpi.c: __cxl_parse_cfmws`).
    ///
    /// Only the low 16 bits of the granularity count, and a window of one way has 256 bytes whatever it says.
    ///
    /// # Errors
    ///
    /// [`LayoutError::WaysCode`] and [`LayoutError::GranularityCode`] for reserved codes.
    pub fn of_window(window: &FixedMemoryWindowHeader) -> Result<Self, LayoutError> {
        let ways = Ways::try_from(window.interleave_ways.get())?;
        let code = InterleaveGranularity(window.granularity.get().0 & 0xffff);
        let granularity = Granularity::try_from(code)?;
        Ok(Self { ways, granularity: if ways == Ways::ONE { Granularity::BYTES_256 } else { granularity } })
    }

    /// The index of the target that an absolute address goes to.
    #[inline]
    #[must_use]
    pub(crate) const fn select(self, address: u64) -> u8 {
        let granule = address.wrapping_shr(self.granularity.shift());
        let power = granule & 1_u64.wrapping_shl(self.ways.power_bits()).wrapping_sub(1);
        let index = if self.ways.three {
            // The remainder by 3 * 2^n keeps the n low bits.
            let whole = granule.wrapping_shr(self.ways.power_bits());
            power | (whole % 3).wrapping_shl(self.ways.power_bits())
        } else {
            power
        };
        let [index, ..] = index.to_le_bytes();
        index
    }
}

/// `2 x 256`: the ways and the bytes.
impl fmt::Display for Interleave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.ways, self.granularity)
    }
}

/// The place of a device in a region, as Linux numbers `targetN`: 0 to ways - 1.
///
/// The index in the root's list of targets counts least, that in the list next to the device most
/// (`drivers/cxl/core/region.c: cxl_calc_interleave_pos`). [`Levels`](super::Levels) computes it and takes it apart.
/// It is not always the index of the chunk in a stripe that the device gets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Position(pub u8);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::cedt::WindowRestrictions;
    use crate::units::PhysAddr;

    extern crate std;
    use alloc::string::ToString;

    #[test]
    fn codes_are_those_of_the_registers() {
        let codes: alloc::vec::Vec<(u8, u8)> =
            Ways::ALL.iter().map(|ways| (ways.code().0, ways.count())).collect();
        assert_eq!(codes, [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (8, 3), (9, 6), (10, 12)]);
        for code in 0..=255 {
            let ways = Ways::try_from(InterleaveWays(code));
            assert_eq!(ways.ok().map(Ways::count), InterleaveWays(code).ways());
        }
        assert_eq!(
            Ways::try_from(InterleaveWays(5)).unwrap_err().to_string(),
            "reserved code of interleave ways: 0x5"
        );
        assert_eq!(Ways::from_count(12), Some(Ways::TWELVE));
        assert_eq!(Ways::from_count(9), None);
        let bytes: alloc::vec::Vec<u64> = Granularity::ALL.iter().map(|g| g.bytes().0).collect();
        assert_eq!(bytes, [256, 512, 1024, 2048, 4096, 8192, 16384]);
        for code in 0..300 {
            let granularity = Granularity::try_from(InterleaveGranularity(code));
            assert_eq!(granularity.ok().map(Granularity::bytes), InterleaveGranularity(code).bytes());
        }
        assert_eq!(Granularity::from_bytes(ByteCount(4096)), Some(Granularity::KIB_4));
        assert_eq!(Granularity::from_bytes(ByteCount(768)), None);
    }

    /// Only 16 bits of the granularity count, and a single way has 256 bytes (sheet, section 1.2).
    #[test]
    fn windows_are_read_as_linux_reads_them() {
        let mut window = FixedMemoryWindowHeader::new(
            PhysAddr(0),
            ByteCount(1 << 28),
            InterleaveGranularity(0x10002),
            WindowRestrictions(0),
        );
        window.interleave_ways = InterleaveWays::WAYS_3.into();
        let read = Interleave::of_window(&window).unwrap();
        assert_eq!(read.to_string(), "3 x 1024");
        window.interleave_ways = InterleaveWays::WAYS_1.into();
        assert_eq!(Interleave::of_window(&window).unwrap().to_string(), "1 x 256");
        window.granularity = InterleaveGranularity(7).into();
        assert_eq!(
            Interleave::of_window(&window),
            Err(LayoutError::GranularityCode(InterleaveGranularity(7)))
        );
    }

    #[test]
    fn targets_are_selected_by_remainders() {
        for ways in Ways::ALL {
            for granularity in Granularity::ALL {
                let interleave = Interleave::new(ways, granularity);
                for address in (0..0x10_0000).step_by(128).map(|low| low | 0xffff_f000_0000_0000) {
                    let index = address / granularity.bytes().0 % u64::from(ways.count());
                    assert_eq!(u64::from(interleave.select(address)), index);
                }
            }
        }
    }
}
