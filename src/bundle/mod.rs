//! Many tables of one machine as one value, from any container.
//!
//! [`TableSet::read`] takes a whole input, sees by its contents what it is, and adds every table in it: raw tables,
//! a CDAT, acpidump text, an initrd archive with table upgrades, a memory image with an RSDP. Tables are borrowed
//! from the input where it holds them as bytes.

pub mod acpidump;
pub mod archive;
mod cdat;
pub mod cxl_sysfs;
mod image;
pub mod memory_map;
pub mod paths;
mod raw;
mod set;
pub(crate) mod text;

pub use set::{BundledTable, Container, Hint, Input, Origin, ReadOptions, TableSet, Uncovered};
