//! What the owner of a machine wants beyond what Linux offers. Linux 7.2 has no file to move a node between tiers; the
//! wish is carried out as if it had one, and demotion follows by the kernel's own rule.

use super::{Errno, Stop};
use crate::linux::moved::MoveRefusal;
use crate::linux::rules;
use crate::linux::state::State;
use crate::linux::tiers::TierId;
use crate::units::NodeId;
use alloc::boxed::Box;
use alloc::format;

impl State<'_> {
    /// Moves a node to a tier, or refuses as a file of the kernel's would.
    pub(super) fn obey_move(&mut self, node: NodeId, tier: TierId) -> Result<(), Box<Stop>> {
        self.move_node(node, tier).map_err(|refusal| {
            let rule = match refusal {
                MoveRefusal::NoMemory => rules::MOVE_NO_MEMORY,
                MoveRefusal::NoTier => rules::MOVE_NO_TIER,
            };
            Stop::errno(Errno::Invalid, format!("node{node}"), rule)
        })
    }
}
