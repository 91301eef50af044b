//! The worker in a real workerd, with everything behind it.

mod again;
mod at_once;
mod clock;
mod crashes;
mod denials;
mod examples;
mod fleet;
mod forward;
mod forwarded_bodies;
mod input;
mod keys;
mod late;
mod leases;
mod left;
mod limits;
mod outage;
mod panics;
mod policy;
mod quota;
mod redis;
mod restored;
mod shapes;
mod stopped;
mod sub_homes;
mod turns;
mod usage;
