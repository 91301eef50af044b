//! The meter on premise: it counts and decides beside the customer's endpoints, and reports signed aggregates.
//!
//! | module | what |
//! |---|---|
//! | `config`, `clock`, `random` | the only places that read the environment, a clock, the system's randomness |
//! | `store` | all SQL: the home's rows, every report, what was last heard |
//! | `meter` | the home in memory; nothing is answered before it is durable |
//! | `outbox` | reports: frozen once, chained, kept until they are acknowledged and ever after |
//! | `transport`, `sender` | the one way out |
//! | `standing` | how it is, by cause |
//! | `http`, `cli` | who asks |
//! | `egress` | the page that tells every field that can leave |
//!
//! It must never stop serving because the aggregator is away, never lose what it has acknowledged, and never send what
//! [`shared::report::Report`] does not name.

pub mod agents;
pub mod cli;
pub mod clock;
pub mod config;
pub mod egress;
pub mod http;
pub mod meter;
pub mod metrics;
pub mod named;
pub mod outbox;
pub mod policy;
pub mod random;
pub mod receipts;
pub mod sender;
pub mod standing;
pub mod store;
pub mod transport;
