//! The kernel laboratory: boots a real, unmodified Linux under an emulator on given firmware tables, captures what
//! it made of them, and compares that with memtopo's plan.

pub mod fetch;
pub mod workshop;
