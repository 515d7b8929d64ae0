//! What `memtopo build` builds from.

pub mod dump;
