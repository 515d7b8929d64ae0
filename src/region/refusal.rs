//! Why a layout cannot be, and why an address cannot be translated.

use super::values::{Interleave, Position};
use crate::range::AddressRange;
use crate::tables::cedt::{InterleaveArithmetic, InterleaveGranularity, InterleaveWays};
use crate::units::{ByteCount, DeviceAddr, PhysAddr, XorMap};
use thiserror::Error;

/// Why decoders of these numbers do not make a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A reserved code of ways.
    #[error("reserved code of interleave ways: {:#x}", .0.0)]
    WaysCode(InterleaveWays),
    /// A reserved code of a granularity.
    #[error("reserved code of a granularity: {:#x}", .0.0)]
    GranularityCode(InterleaveGranularity),
    /// A reserved code of an arithmetic.
    #[error("reserved code of an interleave arithmetic: {:#x}", .0.0)]
    ArithmeticCode(InterleaveArithmetic),
    /// No decoder, or more than [`MAX_LEVELS`](super::MAX_LEVELS).
    #[error("{found} levels of decoders above the endpoints, where 1 to {limit} are possible")]
    LevelCount {
        /// Levels that were given.
        found: usize,
        /// The most that are possible.
        limit: usize,
    },
    /// The levels lead to another number of devices than the endpoints are set to.
    #[error("the levels lead to {levels} devices, the endpoints are set to {region} ways")]
    WaysProduct {
        /// Product of the ways of all levels, 2^32 - 1 at most.
        levels: u32,
        /// Ways of the region.
        region: u8,
    },
    /// A level changes its target within one granule of the region.
    #[error("level {level}: granularity {} is finer than the region's {}", .found.granularity, .region.granularity)]
    LevelTooFine {
        /// Index of the level; the root is 0.
        level: usize,
        /// What the level does.
        found: Interleave,
        /// What the endpoints do.
        region: Interleave,
    },
    /// A level selects by address bits that the endpoints keep: some device would be reached by two addresses.
    #[error("level {level}: {found} selects by address bits above those of the region, {region}")]
    LevelTooCoarse {
        /// Index of the level; the root is 0.
        level: usize,
        /// What the level does.
        found: Interleave,
        /// What the endpoints do.
        region: Interleave,
    },
    /// Two levels select by the same address bit: some device would never be reached.
    #[error("level {level}: {found} selects by address bits that a level above has used")]
    LevelsOverlap {
        /// Index of the lower level; the root is 0.
        level: usize,
        /// What the level does.
        found: Interleave,
    },
    /// Linux: a port divides into a number of ways other than 1, 2, 4, 8.
    #[error("level {level}: Linux sets no port to {ways} ways")]
    PortWays {
        /// Index of the level; the root is 0.
        level: usize,
        /// The ways.
        ways: u8,
    },
    /// Linux: a port would need a granularity above 16 KiB.
    #[error("level {level}: a port needs a granularity of {bytes} bytes, 16384 are possible")]
    PortGranularity {
        /// Index of the level; the root is 0.
        level: usize,
        /// The granularity in bytes.
        bytes: u64,
    },
    /// Start or size are no multiples of 256 MiB, the unit of decoder registers, or the range is empty or has
    /// more than 2^63 bytes.
    #[error("{range} is not made of whole 256 MiB")]
    Range {
        /// The range.
        range: AddressRange,
    },
    /// The devices would not get equal shares.
    #[error("{} bytes cannot be shared equally by {ways} devices", .size.0)]
    Shares {
        /// Size of the range.
        size: ByteCount,
        /// Number of devices.
        ways: u8,
    },
    /// More maps than the widest window needs.
    #[error("{found} XOR maps, at most 4 are used")]
    TooManyMaps {
        /// Maps that were given.
        found: usize,
    },
    /// The XOR structure of a window has fewer maps than the window needs.
    #[error("{found} XOR maps, the window needs {needed}")]
    TooFewMaps {
        /// Maps in the structure.
        found: usize,
        /// Maps that the window needs.
        needed: u8,
    },
    /// No XOR structure has the granularity of the window.
    #[error("no XOR maps for a granularity of {} bytes", .0.0)]
    NoMaps(ByteCount),
    /// A map would move addresses over a boundary of 256 MiB, and out of the region.
    #[error("XOR map {:#x} sets address bit {bit}, beyond the 256 MiB that a decoder keeps together", .map.0)]
    MapTooHigh {
        /// The map.
        map: XorMap,
        /// Its lowest bit, which is the one it sets.
        bit: u32,
    },
    /// Not one DPA base for each device.
    #[error("{found} bases of device memory for {ways} devices")]
    BaseCount {
        /// Bases that were given.
        found: usize,
        /// Number of devices.
        ways: u8,
    },
    /// The memory of a device would pass the end of its address space.
    #[error("device memory from {:#x} passes the end of the address space", .base.0)]
    BaseTooHigh {
        /// Where the memory begins.
        base: DeviceAddr,
    },
}

/// Why an address has no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A host address that does not belong to the region.
    #[error("{:#x} is outside the region {range}", .address.0)]
    OutsideRegion {
        /// The address.
        address: PhysAddr,
        /// The region.
        range: AddressRange,
    },
    /// A position that the region does not have.
    #[error("position {position} in a region of {ways} devices")]
    NoSuchPosition {
        /// The position.
        position: Position,
        /// Number of devices.
        ways: u8,
    },
    /// A device address that does not belong to the region.
    #[error("device address {:#x} is outside the {:#x} bytes from {:#x}", .address.0, .size.0, .base.0)]
    OutsideDevice {
        /// The address.
        address: DeviceAddr,
        /// First address of the device's share.
        base: DeviceAddr,
        /// Bytes in the share.
        size: ByteCount,
    },
}

/// Why many addresses were not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum BulkError {
    /// The slices have different lengths. Nothing is written.
    #[error("slices of different lengths: {addresses} addresses, {positions} positions, {places} results")]
    Lengths {
        /// Length of the slice of host addresses.
        addresses: usize,
        /// Length of the slice of positions.
        positions: usize,
        /// Length of the slice of device addresses.
        places: usize,
    },
    /// The first address that has no translation. Nothing useful is in the results.
    #[error("address {index}: {refusal}")]
    At {
        /// Its index.
        index: usize,
        /// Why.
        refusal: Refusal,
    },
}
