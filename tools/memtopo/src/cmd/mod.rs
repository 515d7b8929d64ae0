//! One file for each command.

pub(crate) mod build;
pub(crate) mod cxl;
pub(crate) mod dump;
pub(crate) mod example;
pub(crate) mod explain;
pub(crate) mod hotplug;
pub(crate) mod plan;
pub(crate) mod prepare;
pub(crate) mod translate;
pub(crate) mod vm;
