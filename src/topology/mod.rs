//! The machine as its firmware describes it, independent of the operating system.
