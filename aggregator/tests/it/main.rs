//! The aggregator over real sockets and a real database. Nothing here may sleep to wait for something:
//! it polls with a deadline.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail a test by panicking, like the tests themselves"
)]

mod authz;
mod backend;
mod bodies;
mod calls;
mod cli;
mod cloud_events;
mod connections;
mod contracts;
mod copy;
mod dashboard;
mod denials;
mod docs;
mod durability;
mod errors;
mod focus;
mod ingest;
mod inputs;

mod ledger;
mod limits;
mod mcp;
mod members;
mod openapi;
mod overview;
mod payments;
mod places;
mod plans;
mod policies;
mod providers;
mod sessions;
mod streams;
mod stripe_inbox;
mod support;
mod taken_back;
mod trail;
mod usage;
mod webhooks;
