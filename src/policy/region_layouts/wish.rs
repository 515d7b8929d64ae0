//! A region that somebody wants: whether it is legal, and if not, which rule it breaks and what comes nearest to it.

use super::best::{Best, Goal};
use super::{Family, Layouts, UNIT};
use crate::linux::cxl_performance::Figures;
use crate::linux::region_rules::{Broken, RegionRule, check_granularity, check_size, check_ways};
use crate::linux::state::State;
use crate::region::{Granularity, Ways};
use crate::units::ByteCount;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

/// A region that somebody wants, over the devices of the question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionWish {
    /// How many ways; as many as there are devices where it is not given.
    pub ways: Option<u32>,
    /// In pieces of how many bytes; the granularity of the window where it is not given, or 256 in a window of one way.
    pub granularity: Option<ByteCount>,
    /// How large; as large as possible where it is not given.
    pub size: Option<ByteCount>,
    /// The devices of the question are in the order of positions.
    pub in_order: bool,
}

/// Why a wish is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The first rule that it breaks.
    pub broken: Broken,
    /// The legal wish that comes nearest: first by the number of ways, then by the granularity, then by the size.
    pub nearest: Option<Box<Best>>,
}

impl Layouts {
    /// The layout that meets a wish.
    ///
    /// # Errors
    /// The first rule that is in the way, with what comes nearest.
    pub fn wish(&self, state: &State<'_>, wish: &RegionWish) -> Result<Best, Refused> {
        let devices = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        let count = wish.ways.unwrap_or(devices);
        let bytes = wish.granularity.unwrap_or(self.window.granularity);
        let figures = state.figures();
        self.try_wish(figures.as_ref(), wish, count, bytes).map_err(|broken| Refused {
            broken,
            nearest: self.nearest(figures.as_ref(), count, bytes, wish.size).map(Box::new),
        })
    }

    fn try_wish(
        &self,
        figures: Option<&Figures<'_, '_>>,
        wish: &RegionWish,
        count: u32,
        bytes: ByteCount,
    ) -> Result<Best, Broken> {
        let granularity = check_granularity(&self.window, bytes)?;
        let ways = check_ways(&self.window, count)?;
        if let Some(size) = wish.size {
            check_size(count, size)?;
        }
        let order = if wish.in_order {
            if let Some((_, broken)) = self.excluded.first() {
                return Err(broken.clone());
            }
            self.check(ways, granularity, &self.order)?;
            self.order.clone()
        } else {
            let family = self.families.iter();
            match family.clone().find(|family| (family.ways, family.granularity) == (ways, granularity)) {
                Some(family) => self.most_bandwidth(figures, family).unwrap_or_default(),
                None => return Err(self.rule_against(ways, granularity)),
            }
        };
        let room = self.size(&order).unwrap_or_default();
        let size = wish.size.unwrap_or(room);
        if size > room || size.0 == 0 {
            let (rule, what) = if self.gap < size {
                (RegionRule::FreeAddresses, "the window has room for")
            } else {
                (RegionRule::FreeDeviceMemory, "the devices have room for")
            };
            return Err(Broken::new(rule, format!("{:#x} bytes, {what} {:#x}", size.0, room.0)));
        }
        Ok(self.finish(figures, (ways, granularity), order, size))
    }

    fn rule_against(&self, ways: Ways, granularity: Granularity) -> Broken {
        let known = self.refused.iter().find(|(w, g, _)| (*w, *g) == (ways, granularity));
        known.map_or_else(|| self.short(ways), |(.., broken)| broken.clone())
    }

    fn most_bandwidth(&self, figures: Option<&Figures<'_, '_>>, family: &Family) -> Option<Vec<usize>> {
        let knowledge = figures.and_then(|figures| self.knowledge(figures).ok());
        self.best_order(family, knowledge.as_ref(), Goal::Bandwidth)
    }

    /// The legal layout that is nearest to these numbers.
    fn nearest(
        &self,
        figures: Option<&Figures<'_, '_>>,
        count: u32,
        bytes: ByteCount,
        size: Option<ByteCount>,
    ) -> Option<Best> {
        let distance = |family: &&Family| {
            let ways = u32::from(family.ways.count());
            // Octaves between the granularities.
            let shift = bytes.0.checked_ilog2().unwrap_or_default();
            (ways.abs_diff(count), family.granularity.shift().abs_diff(shift), ways)
        };
        let mut families: Vec<&Family> = self.families.iter().collect();
        families.sort_by_key(distance);
        families.into_iter().find_map(|family| {
            let order = self.most_bandwidth(figures, family)?;
            let room = self.size(&order)?;
            let unit = UNIT.saturating_mul(u64::from(family.ways.count()));
            let wanted = size.map_or(room.0, |size| {
                let whole = size.0.saturating_sub(size.0.checked_rem(unit).unwrap_or_default());
                whole.max(unit).min(room.0)
            });
            Some(self.finish(figures, (family.ways, family.granularity), order, ByteCount(wanted)))
        })
    }
}
