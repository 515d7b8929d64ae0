//! wip
pub mod goal;
