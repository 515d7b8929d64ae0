//! The command line of memtopo.
mod spec;
fn main() {}
