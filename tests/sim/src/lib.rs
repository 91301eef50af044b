//! The simulator: holders, sub-homes, the home and the ledger behind them under one seed.
//!
//! The code under test is the product's own. Network, clocks, storage and crashes are simulated, and
//! an auditor that shares nothing with that code checks the invariants after every step. A run must
//! depend on its seed and options alone.
#![expect(clippy::indexing_slicing, reason = "a simulator that is wrong about its own tables must stop")]
#![expect(clippy::integer_division, reason = "figures and delays are rounded down")]

pub mod aggregator;
pub mod audit;
pub mod bugs;
pub mod config;
pub mod figures;
pub mod page;
pub mod plot;
pub mod run;
pub mod scenario;
pub mod shadow;
pub mod shrink;
pub mod world;
