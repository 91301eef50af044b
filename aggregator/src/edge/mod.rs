//! What we ask of the edge and of the others whose clocks move along with ours, and how we reach them.

pub mod client;
pub(crate) mod collector;
pub(crate) mod followers;
pub(crate) mod outbound;
pub mod peers;
