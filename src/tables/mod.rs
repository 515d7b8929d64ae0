//! Tables as bytes: raw structures, borrowed views, writers. Nothing here judges.
//!
//! Each table has one room. It defines the on-disk structures (one macro makes the zero-copy struct and the
//! description that printers and builders use), a borrowed view that walks any bytes safely, and a writer into
//! a caller's slice or a `Vec<u8>`. A view accepts every byte pattern; an unknown type, a reserved bit, bytes
//! behind a structure or a table are kept and readable.

#![expect(
    missing_debug_implementations,
    reason = "the derives of zerocopy make a marker type for each public field; no other type may lack Debug"
)]

pub mod anatomy;
pub mod cdat;
pub mod cedt;
pub mod e820;
pub mod efi;
pub mod entries;
pub mod hdm;
pub mod header;
pub mod hmat;
pub mod layout;
pub mod madt;
pub mod msct;
pub mod output;
#[cfg(all(test, feature = "alloc"))]
mod real;
pub mod root;
pub mod schema;
pub mod slit;
pub mod srat;
pub mod wire;
