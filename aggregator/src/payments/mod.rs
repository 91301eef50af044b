//! Payments: what is sold, what Stripe's objects say, and what follows for the ledger.
//!
//! | file | what |
//! |---|---|
//! | [`signature`], [`event`] | is a delivery Stripe's, and what is it about |
//! | [`table`] | the state machine, as data |
//! | [`seen`], [`schedule`] | Stripe's objects, as far as we look at them |
//! | [`goods`] | plans and packs with their prices |
//! | [`order`], [`subscription`], [`intent`] | what follows from an object's present state |
//! | [`paying`] | what is overdue, what waits, for those who pay |
//! | [`top_up`] | when a pack is bought by itself |
//!
//! Pure: `stripe` asks Stripe, `store::payments` keeps what it says.
//!
//! An event is never applied: it says which object to fetch, and the object's present state is settled
//! against our own rows. Everything that follows is one transaction with the ledger's entries.

pub mod event;
pub mod goods;
pub mod intent;
pub mod order;
pub mod paying;
pub mod schedule;
pub mod seen;
pub mod signature;
pub mod subscription;
pub mod table;
pub mod top_up;

#[cfg(test)]
#[cfg(feature = "server")]
mod tests;
