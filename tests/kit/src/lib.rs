//! What tests, benchmarks and xtask share, none of which may depend on another.

pub mod cluster;
pub mod machine;
pub mod ports;
pub mod redis;
pub mod section;
mod together;
pub mod watched;
