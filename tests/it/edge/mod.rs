//! The worker in a real workerd, with everything behind it.

mod clock;
mod crashes;
mod forward;
mod input;
mod keys;
mod leases;
mod limits;
mod outage;
mod policy;
mod shapes;
mod sub_homes;
mod usage;
