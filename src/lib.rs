#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failing test is meant to stop"
    )
)]

// Tests may allocate whatever the library does.
#[cfg(any(feature = "alloc", test))]
extern crate alloc;

// What `arbitrary` derives names the standard library.
#[cfg(feature = "arbitrary")]
extern crate std;

#[cfg(feature = "alloc")]
pub mod bundle;
pub mod error;
#[cfg(feature = "alloc")]
pub mod hotplug;
#[cfg(feature = "alloc")]
pub mod linux;
#[cfg(feature = "alloc")]
pub mod policy;
pub mod range;
pub mod region;
pub mod render;
pub mod tables;
#[cfg(all(test, feature = "alloc"))]
mod testing;
#[cfg(feature = "alloc")]
pub mod topology;
pub mod units;
