//! Tables that change at run time.
//!
//! Linux 7.2 reads the HMAT once, while it boots. It does not evaluate `_HMA`, so a new HMAT changes nothing that it
//! shows: not even for memory that is added later, whose figures come from the table of the boot. What a kernel that
//! did read it would show is a state of its own, [`State::reevaluated`]; with
//! [`Switches::rereads_hmat`](crate::linux::kernel::Switches::rereads_hmat) it is the next state.

use super::{Cause, Stop, TableUpdate};
use crate::linux::access::Access;
use crate::linux::changes::Change;
use crate::linux::hmat::Crash;
use crate::linux::reason::{Reason, Subject};
use crate::linux::rules;
use crate::linux::state::State;
use crate::linux::tiers::{AbstractDistance, Tiers};
use crate::topology::Topology;
use crate::topology::performance::Performance;
use crate::units::NodeId;
use alloc::boxed::Box;
use alloc::vec::Vec;

impl<'a> State<'a> {
    /// A table has new contents.
    pub(super) fn update_table(&mut self, update: &TableUpdate<'a>) -> Result<(), Box<Stop>> {
        match update {
            TableUpdate::Hmat(table) => {
                self.offered = Some(Performance::read(table));
                if !self.kernel.switches.rereads_hmat {
                    self.changed(Change::TableUpdated("HMAT"), Reason::new(rules::HMAT_NOT_READ_AGAIN));
                    return Ok(());
                }
                self.changed(Change::TableUpdated("HMAT"), Reason::new(rules::HMAT_READ_AGAIN));
                self.evaluate().map_err(|Crash(reason)| Stop::with(Cause::NotModelled, None, reason))
            }
            TableUpdate::Cdat(_) => {
                self.changed(Change::TableUpdated("CDAT"), Reason::new(rules::CDAT_NOT_READ_AGAIN));
                Ok(())
            }
        }
    }

    /// The state if the kernel read the HMAT that firmware would give now; `None` when it has read it, or there is no
    /// new one.
    #[must_use]
    pub fn reevaluated(&self) -> Option<Self> {
        self.offered.as_ref()?;
        let mut state = self.clone();
        state.evaluate().ok()?;
        Some(state)
    }

    /// Reads the HMAT anew. Access classes, distances and weights are found as at boot, over the nodes as they are; a
    /// node that its owner moved stays where it is.
    fn evaluate(&mut self) -> Result<(), Crash> {
        let Some(hmat) = self.offered.take() else { return Ok(()) };
        let topology = Topology { performance: Some(hmat.clone()), ..self.topology.clone() };
        self.updated = Some(hmat);
        self.notes.reasons.retain(|(subject, _)| {
            use Subject::{Access, Domain, Interleave, Performance, Reference, Tier};
            !matches!(subject, Access(..) | Domain(_) | Performance | Reference | Tier(_) | Interleave)
        });
        self.access = Access::boot(&topology, &self.nodes, self.kernel, &mut self.notes)?;
        self.weights.forget();
        let [_, of_processors] = &self.access.classes;
        let shown = of_processors.iter().filter(|(_, class)| class.coordinates.is_some());
        let published: Vec<NodeId> = shown.map(|(node, _)| *node).collect();
        for node in &published {
            self.publish(*node);
        }
        self.find_weights();

        let before = core::mem::take(&mut self.tiers);
        self.tiers = Tiers {
            top: before.top,
            limits: before.limits.clone(),
            quirks: before.quirks,
            ..Tiers::default()
        };
        let dram = Self::dram_nodes(&self.nodes);
        self.tiers.find_reference(&dram, &self.nodes, &self.access, self.kernel, &mut self.notes);
        for (node, distance) in &before.distance {
            if self.moved.contains_key(node) {
                self.tiers.distance.insert(*node, *distance);
            }
        }
        let of_kmem = self.dax.iter().filter(|device| device.is_memory());
        let of_kmem: Vec<NodeId> = of_kmem.filter_map(|device| device.node).collect();
        let with_memory: Vec<NodeId> = self.nodes.has_memory.iter().collect();
        for node in with_memory {
            if of_kmem.contains(&node) && !self.tiers.distance.contains_key(&node) {
                let found = self.calculate_distance(node);
                self.tiers.distance.insert(node, found.unwrap_or(AbstractDistance::KMEM));
            }
            self.tell_move(node, &before);
        }
        for tier in before.tiers.keys().filter(|tier| !self.tiers.tiers.contains_key(tier)) {
            self.changes.push((Change::TierRemoved(*tier), Reason::new(rules::TIER_EMPTY)));
        }
        self.find_demotion();
        Ok(())
    }

    /// A node joins its tier; told only when it is another than before.
    fn tell_move(&mut self, node: NodeId, before: &Tiers) {
        let told = self.changes.len();
        self.join_tier(node);
        let joined = self.changes.split_off(told);
        let from = before.tier_of(node);
        for (change, reason) in joined {
            match change {
                Change::NodeMoved { to, .. } if to == from => {}
                Change::NodeMoved { to, .. } => self.changed(Change::NodeMoved { node, from, to }, reason),
                Change::TierCreated(tier) if before.tiers.contains_key(&tier) => {}
                _ => self.changed(change, reason),
            }
        }
    }
}
