//! What Linux would do: the behaviour of the kernel as pure functions of topology, memory map and parameters.
//!
//! [`plan()`] is the way in. The boot goes through the rooms in the kernel's order: [`memory_map`], [`srat`] and
//! [`nodes`], [`fallback`], [`access`], [`interleave`], [`tiers`], and with the
//! drivers [`soft_reserved`] and [`cxl`]; the result is a [`State`], which events can
//! change, and of which a [`Plan`] is the printable view.

pub mod access;
pub mod added;
pub mod attach;
pub mod block_map;
pub mod blocks;
pub mod cdat_performance;
pub mod changes;
pub mod command_line;
pub mod coordinates;
pub mod cpus;
pub mod cxl;
mod cxl_bandwidth;
mod cxl_findings;
pub mod cxl_levels;
pub mod cxl_performance;
pub mod cxl_plan;
pub mod cxl_platform;
mod dax;
mod decoder_state;
pub mod demotion;
pub mod distances;
pub mod domains;
mod emulation;
pub mod events;
pub mod fallback;
mod figures;
mod first_round;
mod hdm_decoders;
mod heap_sort;
pub mod hmat;
pub mod hot_add;
pub mod hot_remove;
pub mod interleave;
pub mod kernel;
pub mod locate;
pub mod memmap;
pub mod memory_map;
mod movable;
pub mod moved;
pub mod node_set;
pub mod nodes;
pub mod online;
pub mod performance_plan;
pub mod placement;
pub mod plan;
pub mod qos;
pub mod quirks;
pub mod ranges;
pub mod reason;
mod region_attach;
pub mod region_ids;
pub mod region_map;
pub mod region_performance;
pub mod region_rules;
mod region_space;
pub mod regions;
pub mod rules;
pub mod settings;
pub mod soft_reserved;
pub mod srat;
pub mod state;
pub mod table_upgrade;
pub mod tiers;
pub mod windows;
pub mod zones;

pub use events::Event;
pub use kernel::{Kernel, Version};
pub use plan::{Outcome, Plan, plan};
pub use state::{Inputs, State};
