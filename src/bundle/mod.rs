//! Many tables of one machine as one value, from any container.

pub mod memory_map;
pub(crate) mod text;
