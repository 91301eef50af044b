//! The meter for Envoy: a server of its rate limit service and its rate limit quota service, by leases of the meter's
//! homes.
//!
//! | module | what |
//! |---|---|
//! | `config`, `clock`, `random` | the only places that read the environment, a clock, the system's randomness |
//! | `descriptors`, `response` | from what Envoy asks to the meter's question, and back; pure |
//! | `assignments` | which units are with Envoy, and what became of them; pure |
//! | `meter` | the leases, the requests that wait, and who looks after them |
//! | `homes` | the one way to the homes: signed calls |
//! | `rate_limit`, `quota`, `http`, `metrics`, `cli` | who asks |
//!
//! It is one more isolate: it must never serve what it does not have in hand, and what it has not reported when it is
//! killed is neither billed nor served again.

pub mod assignments;
pub mod cli;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod homes;
pub mod http;
pub mod meter;
pub mod metrics;
pub mod quota;
pub mod random;
pub mod rate_limit;
pub mod response;
