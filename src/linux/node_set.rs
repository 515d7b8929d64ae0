//! Sets of nodes, as the kernel keeps them: one bit for each node.

use crate::units::NodeId;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A set of nodes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeSet {
    /// 64 nodes a word; the last word is never zero.
    words: Vec<u64>,
}

/// The word and the bit in it that stand for a node.
fn place(node: NodeId) -> (usize, u64) {
    (usize::try_from(node.0 >> 6).unwrap_or(usize::MAX), 1 << (node.0 & 63))
}

impl NodeSet {
    /// The set without nodes.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Whether `node` is in the set.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        let (word, bit) = place(node);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds `node`; tells whether it is new.
    pub fn insert(&mut self, node: NodeId) -> bool {
        let (index, bit) = place(node);
        if self.words.len() <= index {
            self.words.resize(index.saturating_add(1), 0);
        }
        let Some(word) = self.words.get_mut(index) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Takes `node` out; tells whether it was in the set.
    pub fn remove(&mut self, node: NodeId) -> bool {
        let (index, bit) = place(node);
        let Some(word) = self.words.get_mut(index) else { return false };
        let there = *word & bit != 0;
        *word &= !bit;
        self.trim();
        there
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// The nodes, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.words.iter().zip(0_u32..).flat_map(|(word, index)| {
            let mut left = *word;
            core::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left.wrapping_sub(1);
                Some(NodeId((index << 6) | bit))
            })
        })
    }

    /// The lowest node.
    #[must_use]
    pub fn first(&self) -> Option<NodeId> {
        self.iter().next()
    }

    /// The highest node.
    #[must_use]
    pub fn last(&self) -> Option<NodeId> {
        let word = self.words.last()?;
        let index = u32::try_from(self.words.len()).ok()?.checked_sub(1)?;
        Some(NodeId((index << 6) | (63_u32.saturating_sub(word.leading_zeros()))))
    }

    /// How many nodes are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| usize::try_from(word.count_ones()).unwrap_or_default()).sum()
    }

    /// Whether no node is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Combines two sets word by word.
    fn zip(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = vec![0; self.words.len().max(other.words.len())];
        for (index, word) in words.iter_mut().enumerate() {
            let of = |set: &Self| set.words.get(index).copied().unwrap_or_default();
            *word = combine(of(self), of(other));
        }
        let mut set = Self { words };
        set.trim();
        set
    }

    /// The nodes of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// The nodes of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// The nodes that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut set = Self::new();
        set.extend(nodes);
        set
    }
}

impl Extend<NodeId> for NodeSet {
    fn extend<I: IntoIterator<Item = NodeId>>(&mut self, nodes: I) {
        for node in nodes {
            self.insert(node);
        }
    }
}

/// Prints as sysfs does: `0-1,3`. An empty set prints nothing.
impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nodes = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = nodes.next() {
            let mut last = first;
            while let Some(next) = nodes.next_if(|next| next.0.checked_sub(1) == Some(last.0)) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::string::ToString;

    fn set(nodes: &[u32]) -> NodeSet {
        nodes.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn lists_print_as_sysfs_does() {
        for (nodes, text) in [
            (&[][..], ""),
            (&[0], "0"),
            (&[0, 1, 3], "0-1,3"),
            (&[63, 64, 65, 200], "63-65,200"),
            (&[1023], "1023"),
        ] {
            assert_eq!(set(nodes).to_string(), text);
        }
    }

    #[test]
    fn sets_that_hold_the_same_nodes_are_equal() {
        let mut large = set(&[3, 900]);
        assert_eq!((large.len(), large.first(), large.last()), (2, Some(NodeId(3)), Some(NodeId(900))));
        assert!(large.remove(NodeId(900)) && !large.remove(NodeId(900)));
        assert_eq!(large, set(&[3]));
        assert_eq!(set(&[1, 2, 70]).difference(&set(&[70])), set(&[1, 2]));
        assert_eq!(set(&[1, 70]).intersection(&set(&[1])), set(&[1]));
        assert_eq!(set(&[1]).union(&set(&[1, 70])), set(&[70, 1]));
        assert!(set(&[70]).intersection(&set(&[1])).is_empty());
        assert_eq!(set(&[]).last(), None);
    }
}
