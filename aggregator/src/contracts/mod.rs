//! Enterprise contracts and the on-premise reporters that work under them.
//!
//! Pure: what a contract comes to, what its reporters may spend and how they stand. It must never do I/O.

pub mod agreement;
pub mod break_even;
pub mod chain;
pub mod einvoice;
pub mod month;
pub mod party;
pub mod printable;
pub mod reporter;
pub mod standing;
