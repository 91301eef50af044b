//! The worker in a real workerd, with everything behind it.

mod again;
mod at_once;
mod clock;
mod cluster;
mod crashes;
mod denials;
mod examples;
mod fleet;
mod forward;
mod forwarded_bodies;
mod input;
mod keys;
mod late;
mod lease_map;
mod leases;
mod left;
mod limits;
mod moves;
mod outage;
mod paid;
mod panics;
mod policy;
mod quota;
mod redis;
mod restored;
mod sentinel;
mod servers;
mod shapes;
mod starts;
mod stopped;
mod strict_redis;
mod sub_homes;
mod tls_cluster;
mod turns;
mod usage;

use anyhow::Result;
use tests::stack::{Options, Stack};

/// Whether isolates have leases, and how many sub-homes stand between them and the home.
const PLACES: [(bool, u32); 3] = [(false, 0), (true, 0), (true, 2)];

async fn stack_of((leases, sub_homes): (bool, u32)) -> Result<Stack> {
    Stack::start_with(Options { leases, sub_homes, ..Options::default() }).await
}
