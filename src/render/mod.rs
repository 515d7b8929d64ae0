//! Every output form, over `core::fmt::Write`. Nothing here computes: it prints what the layers below say.
#![expect(clippy::missing_errors_doc, reason = "every function here fails only when its destination does")]

pub mod dsl;
pub mod dump_json;
pub mod dump_text;
#[cfg(feature = "alloc")]
pub mod explain;
#[cfg(feature = "alloc")]
mod explain_region;
#[cfg(feature = "alloc")]
pub mod hotplug_json;
#[cfg(feature = "alloc")]
pub mod hotplug_text;
pub mod json;
#[cfg(feature = "alloc")]
pub mod placement;
#[cfg(feature = "alloc")]
mod plan_cxl_json;
#[cfg(feature = "alloc")]
mod plan_cxl_text;
#[cfg(feature = "alloc")]
pub mod plan_json;
#[cfg(feature = "alloc")]
mod plan_performance;
#[cfg(feature = "alloc")]
pub mod plan_sysfs;
#[cfg(feature = "alloc")]
pub mod plan_text;
#[cfg(feature = "alloc")]
pub mod policy;
#[cfg(feature = "alloc")]
pub mod region_layouts;
#[cfg(feature = "alloc")]
mod steps_json;
#[cfg(feature = "alloc")]
pub mod steps_text;
pub mod style;
#[cfg(feature = "alloc")]
pub mod translate;
pub mod value;
