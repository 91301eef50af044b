//! The aggregator's own interface, in a real process.

mod ingest;
mod interface;
mod lifecycle;
mod stripe;
mod transport;
mod usage;
mod webhooks;
