//! The harness: starts the real parts on free ports, asks them, kills them, and ends them again.
//!
//! Nothing here may fake a part of the meter, and nothing that it starts may outlive it. It waits
//! only for what it can see, with a deadline.

pub mod books;
pub mod chance;
pub mod client;
pub mod clock;
pub mod collector;
pub mod config;
pub mod envoy;
pub mod fake_stripe;
pub mod fleet;
pub mod ingest;
pub mod load;
pub mod on_premise;
pub mod operator;
pub mod poll;
pub mod postgres;
pub mod project;
pub mod raw;
pub mod receiver;
pub mod servers;
pub mod stack;
pub mod stand_in;
pub mod usage;

mod program;
mod scratch;
mod secrets;
mod small_disk;
