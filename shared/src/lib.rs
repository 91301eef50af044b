//! The pure core of Palveron Meter.
//!
//! Every decision about units, permits, cells and signatures is made here, by the same code in the
//! worker, the aggregator and the tests. This crate must never read a clock, draw a random number,
//! look at the environment, or do I/O: whatever it needs to know is an argument. It has no standard library,
//! so that the compiler has none of these to offer.

#![cfg_attr(not(test), no_std)]

#[macro_use]
extern crate alloc;
// Where the simulator plants its bugs, each thread has a switch.
#[cfg(feature = "planted")]
#[macro_use(thread_local)]
extern crate std;

pub mod cell;
pub mod decision;
pub mod denials;
pub mod excerpt;
pub mod home;
pub mod ids;
pub mod json;
pub mod key;
pub mod kind;
pub mod lease;
pub mod lease_question;
pub mod moved;
#[cfg(feature = "schema")]
pub mod openapi;
pub mod plan;
pub mod planted;
pub mod policy;
pub mod problem;
pub mod random;
pub mod report;
#[cfg(feature = "schema")]
mod schema;
pub mod sign;
pub mod source;
pub mod sub_home;
pub mod time;
pub mod units;
pub mod whole;
pub mod window;
pub mod wire;
