//! The aggregator of Palveron Meter: the books of all projects, and the policies that follow from them.
//!
//! | folder | what | pure |
//! |---|---|---|
//! | `ledger` | who may spend what and who owes what | yes |
//! | `projects` | one project: its row, its books, its policy | yes |
//! | `metering` | cells coming in, usage going out | yes |
//! | `access` | who may do what, and who did | yes |
//! | `contracts` | enterprise contracts and their on-premise reporters | yes |
//! | `payments` | what follows from what Stripe says | yes |
//! | `webhooks` | what customers are told, where it may go, when it is tried again | yes |
//! | `store` | all SQL | no |
//! | `stripe`, `edge`, `counters`, `identity` | what we ask of others | no |
//! | `http`, `jobs`, `cli` | who calls all of it: requests, time, the operator | no |
//!
//! `http` and `jobs` meet only through `store`. SQL must stay in `store`, the environment in `config`, the clock in
//! `clock`, and randomness in `random`.

pub mod access;
#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod contracts;
#[cfg(feature = "server")]
pub mod counters;
#[cfg(feature = "server")]
pub mod edge;
#[cfg(feature = "server")]
pub mod http;
pub mod idempotency;
#[cfg(feature = "server")]
pub mod identity;
#[cfg(feature = "server")]
pub mod jobs;
pub mod ledger;
pub mod metering;
#[cfg(feature = "server")]
pub mod metrics;
pub mod payments;
pub mod projects;
pub mod random;
pub mod store;
#[cfg(feature = "server")]
pub mod stripe;
pub mod text;
#[cfg(feature = "server")]
pub mod traces;
pub mod webhooks;
