//! What Linux would do: the behaviour of the kernel as pure functions of topology, memory map and parameters.

pub mod command_line;
pub mod kernel;
pub mod memory_map;
pub mod node_set;
