//! What the owner of a machine wants beyond what Linux offers. Linux 7.2 has no file to move a node between tiers; the
//! wish is carried out as if it had one, and demotion follows by the kernel's own rule.

use super::{Errno, Stop};
use crate::linux::reason::Reason;
use crate::linux::rules;
use crate::linux::state::State;
use crate::linux::tiers::{AbstractDistance, TierId};
use crate::units::NodeId;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

impl State<'_> {
    /// Moves a node to a tier. Back in the tier that it came from it has its own distance again.
    pub(super) fn obey_move(&mut self, node: NodeId, tier: TierId) -> Result<(), Box<Stop>> {
        let at = format!("node{node}");
        let Some(from) = self.tiers.tier_of(node) else {
            return Err(Stop::errno(Errno::Invalid, at, rules::MOVE_NO_MEMORY));
        };
        if from == tier {
            return Ok(());
        }
        let middle = tier.middle();
        if middle.tier() != tier {
            return Err(Stop::errno(Errno::Invalid, at, rules::MOVE_NO_TIER));
        }
        let known = self.tiers.distance.get(&node).copied().unwrap_or(AbstractDistance::DRAM);
        let own = *self.moved.entry(node).or_insert(known);
        let back = own.tier() == tier;
        if back {
            self.moved.remove(&node);
        }
        let distance = if back { own } else { middle };
        let rule = if back { rules::MOVED_BACK } else { rules::MOVED };
        let reason = Reason::new(rule).because(format!("abstract distance {}", distance.0));

        self.replace_distance(node, distance, Vec::from([reason]));
        Ok(())
    }
}
