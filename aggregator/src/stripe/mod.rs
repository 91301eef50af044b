//! Stripe: what is sold there, what it says about payments, and what follows for the ledger.
//!
//! | file | what | pure |
//! |---|---|---|
//! | [`signature`], [`event`] | is a delivery Stripe's, and what is it about | yes |
//! | [`table`] | the state machine, as data | yes |
//! | [`seen`], [`schedule`] | Stripe's objects, as far as we look at them | yes |
//! | [`goods`] | plans and packs with their prices | yes |
//! | [`order`], [`subscription`], [`intent`] | what follows from an object's present state | yes |
//! | [`paying`] | what is overdue, what waits, for those who pay | yes |
//! | [`top_up`] | when a pack is bought by itself | yes |
//! | [`client`], [`fetch`] | the only files that talk to Stripe's library | no |
//! | [`inbox`] | deliveries on their way into the books | no |
//! | [`sync`] | fetch, settle, for an event or because it is time | no |
//! | [`checkout`], [`charge`], [`collect`], [`sync_goods`] | what we ask of Stripe: buying, automatic top-ups, bills, prices | no |
//!
//! An event is never applied: it says which object to fetch, and the object's present state is settled
//! against our own rows. Everything that follows is one transaction with the ledger's entries. What we send
//! is written down with its key before it is sent, so that the same bytes go again when an answer is lost.

#[cfg(feature = "server")]
pub mod account;
#[cfg(feature = "server")]
pub mod charge;
#[cfg(feature = "server")]
pub mod checkout;
#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "server")]
pub mod collect;
pub mod event;
#[cfg(feature = "server")]
pub mod fetch;
pub mod goods;
#[cfg(feature = "server")]
pub mod inbox;
pub mod intent;
pub mod order;
pub mod paying;
pub mod schedule;
pub mod seen;
pub mod signature;
pub mod subscription;
#[cfg(feature = "server")]
pub mod sync;
#[cfg(feature = "server")]
pub mod sync_goods;
pub mod table;
pub mod top_up;

#[cfg(test)]
#[cfg(feature = "server")]
mod tests;
