//! What the benches compare: inputs of a given size, and the plain loops to compare with.

pub mod blocks;
pub mod inputs;
pub mod machine;
pub mod plain;
