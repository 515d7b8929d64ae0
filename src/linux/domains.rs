//! Proximity domains to nodes and back (`drivers/acpi/numa/srat.c: acpi_map_pxm_to_node`).
//!
//! Node numbers are dense and handed out in the order in which domains are first used. A mapping, once made,
//! stays, even when the description of nodes is thrown away later.

use super::node_set::NodeSet;
use crate::topology::Source;
use crate::units::{NodeId, ProximityDomain};
use alloc::vec;
use alloc::vec::Vec;

/// The two maps.
#[derive(Clone, Debug, Default)]
pub struct DomainMap {
    node_of: Vec<Option<NodeId>>,
    domain_of: Vec<Option<ProximityDomain>>,
    /// Where each node's domain was first used.
    first_use: Vec<Option<Source>>,
    taken: NodeSet,
    /// `numa=off`: no domain has a node.
    off: bool,
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl DomainMap {
    /// Empty maps with room for so many domains and nodes.
    #[must_use]
    pub fn new(max_domains: u32, max_nodes: u32, off: bool) -> Self {
        Self {
            node_of: vec![None; index(max_domains)],
            domain_of: vec![None; index(max_nodes)],
            first_use: vec![None; index(max_nodes)],
            taken: NodeSet::new(),
            off,
        }
    }

    /// The node of a domain, which gets the lowest free number if it has none yet. `None` when domain or node
    /// numbers run out.
    pub fn map(&mut self, domain: ProximityDomain, source: Source) -> Option<NodeId> {
        if self.off {
            return None;
        }
        let known = *self.node_of.get(index(domain.0))?;
        if known.is_some() {
            return known;
        }
        let node = self.free()?;
        self.link(domain, node);
        if let Some(first) = self.first_use.get_mut(index(node.0)) {
            *first = Some(source);
        }
        Some(node)
    }

    /// The lowest node number that no domain has.
    #[must_use]
    pub fn free(&self) -> Option<NodeId> {
        let room = u32::try_from(self.domain_of.len()).unwrap_or(u32::MAX);
        // Numbers are dense unless `numa=fake=` moved some, so the next one is nearly always free.
        let next = self.taken.len();
        let dense = self.taken.last().is_none_or(|last| index(last.0).checked_add(1) == Some(next));
        let free = if dense {
            NodeId(u32::try_from(next).ok()?)
        } else {
            (0..room).map(NodeId).find(|node| !self.taken.contains(*node))?
        };
        (free.0 < room).then_some(free)
    }

    fn link(&mut self, domain: ProximityDomain, node: NodeId) {
        if let Some(place) = self.node_of.get_mut(index(domain.0)) {
            *place = Some(node);
        }
        if let Some(place) = self.domain_of.get_mut(index(node.0)) {
            *place = Some(domain);
        }
        self.taken.insert(node);
    }

    /// The node of a domain, if it has one.
    #[must_use]
    pub fn node(&self, domain: ProximityDomain) -> Option<NodeId> {
        if self.off { None } else { *self.node_of.get(index(domain.0))? }
    }

    /// The domain of a node, if it has one.
    #[must_use]
    pub fn domain(&self, node: NodeId) -> Option<ProximityDomain> {
        *self.domain_of.get(index(node.0))?
    }

    /// Where the domain of a node was first used.
    #[must_use]
    pub fn first_use(&self, node: NodeId) -> Option<Source> {
        *self.first_use.get(index(node.0))?
    }

    /// The largest domain that has a node.
    #[must_use]
    pub fn largest(&self) -> Option<ProximityDomain> {
        self.domain_of.iter().flatten().max().copied()
    }

    /// All nodes that have a domain, lowest first.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, ProximityDomain)> + '_ {
        self.domain_of.iter().zip(0..).filter_map(|(domain, node)| Some((NodeId(node), (*domain)?)))
    }

    /// Replaces both maps: pairs of node and domain, where a domain leads to the lowest of its nodes
    /// (`numa=fake=`).
    pub fn replace(&mut self, pairs: &[(NodeId, ProximityDomain)]) {
        self.node_of.fill(None);
        self.domain_of.fill(None);
        self.taken = NodeSet::new();
        for (node, domain) in pairs {
            let lowest = self.node(*domain).map_or(*node, |known| known.min(*node));
            self.link(*domain, *node);
            if let Some(place) = self.node_of.get_mut(index(domain.0)) {
                *place = Some(lowest);
            }
        }
    }
}
