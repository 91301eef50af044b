//! The aggregator's own interface, in a real process.

mod clients;
mod dashboard;
mod docs;
mod full_disk;
mod ingest;
mod interface;
mod lifecycle;
mod stripe;
mod transport;
mod usage;
mod webhooks;
