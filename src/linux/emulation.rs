//! `numa=fake=`: nodes made up out of those that are there (`mm/numa_emulation.c`).

use super::kernel::Kernel;
use super::memory_map::MemoryMap;
use super::ranges::Limits;
use super::reason::{Notes, Reason};
use super::srat::Walks;
use crate::units::NodeId;
use alloc::vec::Vec;

/// Which physical node each made-up node lies on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Emulated {
    physical: Vec<NodeId>,
}

impl Emulated {
    /// All made-up nodes on the physical node of `node`, itself included.
    pub(crate) fn siblings(&self, _node: NodeId) -> Vec<NodeId> {
        Vec::new()
    }
}

pub(crate) fn apply(
    _text: &str,
    _walks: &mut Walks,
    _map: &MemoryMap,
    _limits: Limits,
    _kernel: &Kernel,
    _notes: &mut Notes,
) -> Result<Option<Emulated>, Reason> {
    Ok(None)
}
