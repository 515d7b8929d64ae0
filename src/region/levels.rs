//! The decoders between the window and the devices, and the positions that they lead to.

use super::refusal::LayoutError;
use super::values::{Granularity, Interleave, Position, Ways};
use crate::units::ByteCount;

/// The most levels of decoders above the endpoints: the root, a host bridge and six switches.
pub const MAX_LEVELS: usize = 8;

/// What the decoders on the way to the devices of one region do, from the root down.
///
/// A value of this type is sound: the levels select by different address bits, exactly those that the endpoints take
/// out of the address, so that every address of a stripe reaches another place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Levels {
    region: Interleave,
    levels: [Interleave; MAX_LEVELS],
    count: u8,
}

/// The index in the list of targets at each level, from the root down, on the way to one device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    indexes: [u8; MAX_LEVELS],
    count: u8,
}

impl Path {
    /// The indexes, the root's first.
    #[must_use]
    pub fn indexes(&self) -> &[u8] {
        self.indexes.get(..usize::from(self.count)).unwrap_or_default()
    }
}

impl Levels {
    /// The decoders of a region: what its endpoints do, and what each level above them does, the root first.
    ///
    /// A level of one way selects nothing, whatever its granularity. All levels use the absolute address, so the
    /// granularity of a lower level says which bits are left to it.
    ///
    /// # Errors
    ///
    /// [`LayoutError::LevelCount`], [`WaysProduct`](LayoutError::WaysProduct),
    /// [`LevelTooFine`](LayoutError::LevelTooFine), [`LevelTooCoarse`](LayoutError::LevelTooCoarse) and
    /// [`LevelsOverlap`](LayoutError::LevelsOverlap).
    pub fn new(region: Interleave, levels: &[Interleave]) -> Result<Self, LayoutError> {
        let count_error = LayoutError::LevelCount { found: levels.len(), limit: MAX_LEVELS };
        let count = u8::try_from(levels.len()).map_err(|_| count_error)?;
        let mut kept = [region; MAX_LEVELS];
        kept.get_mut(..levels.len()).filter(|_| count != 0).ok_or(count_error)?.copy_from_slice(levels);
        let product = levels.iter().fold(1_u32, |ways, level| ways.saturating_mul(level.ways.count().into()));
        if product != u32::from(region.ways.count()) {
            let region = region.ways.count();
            return Err(LayoutError::WaysProduct { levels: product, region });
        }
        let end = |of: Interleave| of.granularity.shift().saturating_add(of.ways.power_bits());
        let mut used = 0_u32;
        for (level, found) in levels.iter().copied().enumerate().filter(|(_, of)| of.ways != Ways::ONE) {
            if found.granularity < region.granularity {
                return Err(LayoutError::LevelTooFine { level, found, region });
            }
            if end(found) > end(region) {
                return Err(LayoutError::LevelTooCoarse { level, found, region });
            }
            let below = |bit: u32| 1_u32.wrapping_shl(bit).wrapping_sub(1);
            let bits = below(end(found)) & !below(found.granularity.shift());
            if used & bits != 0 {
                return Err(LayoutError::LevelsOverlap { level, found });
            }
            used |= bits;
        }
        Ok(Self { region, levels: kept, count })
    }

    /// A region whose devices are spread by the root alone.
    #[must_use]
    pub const fn flat(region: Interleave) -> Self {
        Self { region, levels: [region; MAX_LEVELS], count: 1 }
    }

    /// The decoders that Linux sets for a region: the granularity of each port follows from the ways above it
    /// (`drivers/cxl/core/region.c: cxl_port_setup_targets`).
    ///
    /// `ports` are the ways of host bridge and switches, from the bridge down. Below a root of 3, 6 or 12 ways the
    /// bridge selects by the bit that is left of a power of two; below every other port by the next bit.
    ///
    /// # Errors
    ///
    /// [`LayoutError::PortWays`] and [`PortGranularity`](LayoutError::PortGranularity) where Linux refuses, and those of
    /// [`new`](Self::new): where the root's granularity is not the region's, Linux still counts from the region's.
    pub fn of_linux(root: Interleave, ports: &[Ways], region: Interleave) -> Result<Self, LayoutError> {
        let mut levels = [root; MAX_LEVELS];
        let found = ports.len().saturating_add(1);
        let count_error = LayoutError::LevelCount { found, limit: MAX_LEVELS };
        let all = levels.get_mut(..found).ok_or(count_error)?;
        let mut shift = region.granularity.shift().saturating_add(root.ways.power_bits());
        for ((level, place), ways) in all.iter_mut().enumerate().skip(1).zip(ports) {
            if ways.has_three() || *ways == Ways::SIXTEEN {
                return Err(LayoutError::PortWays { level, ways: ways.count() });
            }
            let bytes = 1_u64.checked_shl(shift).unwrap_or(u64::MAX);
            let granularity = Granularity::from_bytes(ByteCount(bytes))
                .ok_or(LayoutError::PortGranularity { level, bytes })?;
            *place = Interleave::new(*ways, granularity);
            shift = shift.saturating_add(ways.power_bits());
        }
        Self::new(region, all)
    }

    /// What the endpoints do.
    #[must_use]
    pub const fn region(&self) -> Interleave {
        self.region
    }

    /// What each level does, the root first.
    #[must_use]
    pub fn levels(&self) -> &[Interleave] {
        self.levels.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The position of the device at the end of a path, by the index in the list of targets at each level, the root
    /// first (`drivers/cxl/core/region.c: cxl_calc_interleave_pos`). `None` for another number of levels, or an index
    /// that a level does not have.
    #[must_use]
    pub fn position(&self, indexes: &[u8]) -> Option<Position> {
        let levels = self.levels();
        if levels.len() != indexes.len() {
            return None;
        }
        let both = levels.iter().zip(indexes).rev();
        let position = both
            .map(|(level, index)| (level.ways.count(), *index))
            .try_fold(0_u8, |position, (ways, index)| {
                (index < ways).then(|| position.wrapping_mul(ways).wrapping_add(index))
            });
        position.map(Position)
    }

    /// The way to a device, or `None` for a position that the region does not have.
    #[must_use]
    pub fn path(&self, position: Position) -> Option<Path> {
        if position.0 >= self.region.ways.count() {
            return None;
        }
        let mut rest = position.0;
        let mut path = Path { indexes: [0; MAX_LEVELS], count: self.count };
        for (index, level) in path.indexes.iter_mut().zip(self.levels()) {
            let ways = level.ways.count();
            *index = rest.checked_rem(ways)?;
            rest = rest.checked_div(ways)?;
        }
        Some(path)
    }

    /// The way that the decoders give an absolute address (CXL HPA).
    #[must_use]
    pub(crate) fn route(&self, address: u64) -> Path {
        let mut path = Path { indexes: [0; MAX_LEVELS], count: self.count };
        for (index, level) in path.indexes.iter_mut().zip(self.levels()) {
            *index = level.select(address);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn of(ways: u32, bytes: u64) -> Interleave {
        Interleave::new(Ways::from_count(ways).unwrap(), Granularity::from_bytes(ByteCount(bytes)).unwrap())
    }

    fn ports(levels: Levels) -> Vec<alloc::string::String> {
        levels.levels().iter().skip(1).map(ToString::to_string).collect()
    }

    /// Values read from a booted kernel: sheet, section 9.3.
    #[test]
    fn ports_are_set_as_booted_kernels_set_them() {
        let of_linux = |root, list: &[Ways], region| ports(Levels::of_linux(root, list, region).unwrap());
        assert_eq!(of_linux(of(1, 256), &[Ways::TWO], of(2, 1024)), ["2 x 1024"]);
        assert_eq!(of_linux(of(2, 1024), &[Ways::ONE], of(2, 1024)), ["1 x 2048"]);
        assert_eq!(of_linux(of(3, 256), &[Ways::ONE], of(3, 256)), ["1 x 256"]);
        assert_eq!(of_linux(of(1, 256), &[Ways::TWO, Ways::TWO], of(4, 256)), ["2 x 256", "2 x 512"]);
        // Devices behind (rp0,ds0), (rp1,ds0), (rp0,ds1), (rp1,ds1) in the order of positions.
        let levels = Levels::of_linux(of(1, 256), &[Ways::TWO, Ways::TWO], of(4, 256)).unwrap();
        let paths: Vec<Path> = (0..4).map(|position| levels.path(Position(position)).unwrap()).collect();
        let expected = [[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]];
        assert!(paths.iter().map(Path::indexes).eq(expected));
        assert_eq!(levels.path(Position(4)), None);
        assert_eq!(levels.position(&[0, 1, 1]), Some(Position(3)));
        assert_eq!(levels.position(&[1, 1, 1]), None);
        assert_eq!(levels.position(&[0, 1]), None);
    }

    #[test]
    fn what_linux_does_not_set_is_refused() {
        assert_eq!(
            Levels::of_linux(of(2, 256), &[Ways::THREE], of(6, 256)),
            Err(LayoutError::PortWays { level: 1, ways: 3 })
        );
        assert_eq!(
            Levels::of_linux(of(2, 16384), &[Ways::TWO], of(4, 16384)),
            Err(LayoutError::PortGranularity { level: 1, bytes: 32768 })
        );
        // The bridge would get 512 bytes, and the root's second bit is at 512 too.
        assert_eq!(
            Levels::of_linux(of(2, 512), &[Ways::TWO], of(4, 256)),
            Err(LayoutError::LevelsOverlap { level: 1, found: of(2, 512) })
        );
        assert_eq!(
            Levels::of_linux(of(1, 256), &[Ways::ONE; 8], of(1, 256)),
            Err(LayoutError::LevelCount { found: 9, limit: 8 })
        );
    }

    #[test]
    fn unsound_levels_are_refused() {
        let four = of(4, 512);
        let refused = |levels: &[Interleave]| Levels::new(four, levels).unwrap_err().to_string();
        assert_eq!(refused(&[]), "0 levels of decoders above the endpoints, where 1 to 8 are possible");
        assert_eq!(
            refused(&[of(2, 512), of(1, 256)]),
            "the levels lead to 2 devices, the endpoints are set to 4 ways"
        );
        assert_eq!(
            refused(&[of(2, 256), of(2, 512)]),
            "level 0: granularity 256 is finer than the region's 512"
        );
        assert_eq!(
            refused(&[of(2, 512), of(2, 2048)]),
            "level 1: 2 x 2048 selects by address bits above those of the region, 4 x 512"
        );
        assert_eq!(
            refused(&[of(2, 1024), of(2, 1024)]),
            "level 1: 2 x 1024 selects by address bits that a level above has used"
        );
        assert_eq!(
            Levels::new(of(3, 256), &[of(3, 512)]),
            Err(LayoutError::LevelTooCoarse { level: 0, found: of(3, 512), region: of(3, 256) })
        );
        assert_eq!(
            Levels::new(of(16, 256), &[of(16, 256); 8]),
            Err(LayoutError::WaysProduct { levels: u32::MAX, region: 16 })
        );
        assert_eq!(Levels::flat(of(12, 256)).region().to_string(), "12 x 256");
    }

    /// What kernels have set in the captures, decoder by decoder: the granularities of all ports, and the order of the
    /// targets where the devices have their serial numbers in the order of the tree.
    #[cfg(feature = "alloc")]
    #[test]
    fn captured_regions_are_set_the_same() {
        use crate::testing::{listing, report, shared};
        use serde_json::Value;

        /// Captures that use every device of a tree in which all bridges are alike.
        const WHOLE_TREES: [&str; 3] = ["cxl-x4-bridges", "cxl-x4-switches", "cxl-x8"];

        fn interleave(decoder: &Value) -> (u32, u64) {
            let number = |key: &str| decoder[key].as_str().unwrap().parse::<u64>().unwrap();
            (u32::try_from(number("interleave_ways")).unwrap(), number("interleave_granularity"))
        }
        fn named<'a>(cxl: &'a Value, kind: &str, region: &'a Value) -> impl Iterator<Item = &'a Value> {
            let all = cxl[kind].as_array().into_iter().flatten();
            all.filter(move |decoder| decoder["region"] == region["name"])
        }

        let Some(cases) = shared("oracle/cases") else { return };
        let (mut regions, mut ordered) = (0, 0);
        for path in listing(&cases) {
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            let observed: Value =
                serde_json::from_slice(&std::fs::read(path.join("observed.json")).unwrap()).unwrap();
            let steps = observed["steps"].as_array().into_iter().flatten().map(|step| &step["after"]["cxl"]);
            let states: Vec<&Value> = [&observed["cxl"]].into_iter().chain(steps).collect();
            for cxl in states {
                for region in cxl["regions"].as_array().into_iter().flatten() {
                    let ports: Vec<&Value> = named(cxl, "switch_decoders", region).collect();
                    if region["commit"] != "1" || ports.is_empty() {
                        continue;
                    }
                    let roots = cxl["root_decoders"].as_array().unwrap();
                    let root = roots.iter().find(|root| root["name"] == region["root_decoder"]).unwrap();
                    let of_region = interleave(region);
                    for endpoint in named(cxl, "endpoint_decoders", region) {
                        assert_eq!(interleave(endpoint), of_region, "{name}");
                    }
                    let is_bridge = |port: &&&Value| port["name"].as_str().unwrap().starts_with("port pci");
                    let bridge = ports.iter().find(is_bridge).unwrap();
                    let switch = ports.iter().find(|port| !is_bridge(port));
                    let below = [Some(bridge), switch].into_iter().flatten();
                    let below: Vec<(u32, u64)> = below.map(|port| interleave(port)).collect();
                    let ways: Vec<Ways> =
                        below.iter().map(|(ways, _)| Ways::from_count(*ways).unwrap()).collect();
                    let root = interleave(root);
                    let levels =
                        Levels::of_linux(of(root.0, root.1), &ways, of(of_region.0, of_region.1)).unwrap();
                    let expected: Vec<Interleave> = below.iter().map(|(w, g)| of(*w, *g)).collect();
                    assert_eq!(levels.levels()[1..], expected, "{name}");
                    regions += 1;
                    if WHOLE_TREES.contains(&name.as_str()) {
                        let targets = region["targets"].as_array().unwrap();
                        for (target, position) in targets.iter().zip(0..) {
                            let path = levels.path(Position(position)).unwrap();
                            let steps = path.indexes().iter().zip(levels.levels());
                            let serial =
                                steps.fold(0, |serial, (index, level)| serial * level.ways.count() + index);
                            let name = std::format!("device {}/decoder.0", serial + 1);
                            assert_eq!(target.as_str(), Some(name.as_str()));
                        }
                        ordered += 1;
                    }
                }
            }
        }
        report(format_args!("{regions} captured regions, {ordered} with the order of their targets"));
        assert!(regions > 0 && ordered >= WHOLE_TREES.len());
    }
}
