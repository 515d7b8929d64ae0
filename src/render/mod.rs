//! Every output form, over `core::fmt::Write`.
