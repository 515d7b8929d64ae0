//! The kernel laboratory: boots a real, unmodified Linux under an emulator on given firmware tables, captures what
//! it made of them, and compares that with memtopo's plan.

pub mod boot;
pub mod case;
pub mod check;
pub mod compare;
pub mod cpio;
pub mod cxl_bus;
pub mod events;
pub mod fetch;
pub mod firmware;
pub mod guest;
pub mod json;
pub mod keep;
pub mod log;
pub mod planner;
pub mod random;
pub mod region_events;
pub mod script;
pub mod smoke;
pub mod sysfs;
pub mod tar;
pub mod workshop;
