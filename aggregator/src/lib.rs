//! The aggregator of Palveron Meter: the books of all projects, and the policies that follow from them.
//!
//! `http` and `jobs` meet only through `store`; what is decided is decided by pure functions
//! (`access`, `batch`, `book`, `ledger`, `policy`, `usage`, `webhook`). SQL must stay in `store`, the environment
//! in `config`, the clock in `clock`, and randomness in `random`.

pub mod access;
#[cfg(feature = "server")]
pub mod app;
pub mod batch;
pub mod billing;
pub mod book;
pub mod catalogue;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
#[cfg(feature = "server")]
mod clock_followers;
#[cfg(feature = "server")]
pub mod clock_peers;
#[cfg(feature = "server")]
pub mod config;
pub mod growth;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod jobs;
pub mod ledger;
pub mod member;
#[cfg(feature = "server")]
pub mod metrics;
pub mod once;
#[cfg(feature = "server")]
mod outbound;
pub mod policy;
pub mod project;
pub mod random;
pub mod store;
pub mod stripe;
pub mod text;
pub mod token;
pub mod trail;
pub mod usage;
pub mod usage_groups;
pub mod usage_page;
pub mod webhook;
