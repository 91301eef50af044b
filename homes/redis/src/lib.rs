//! A home's rows in Redis: the one script that reads, compares and writes them, its commands as bytes, and what its
//! replies say. The worker and the aggregator share it.
//!
//! Nothing here connects, waits or decides. Bytes are packed and parsed by the `redis` crate.

mod address;
mod command;
mod groups;
mod proof;
mod replies;
mod route;
mod slots;
mod told;

pub use address::{Address, AddressError, Servers};
pub use command::{load_script, mark, read, write};
pub use groups::Group;
pub use proof::{Proof, is_unknown};
pub use replies::Replies;
pub use route::{Route, Stop};
pub use told::{Place, Snapshot, Told, Wrong, not_refused};
