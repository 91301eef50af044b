//! What we ask of Stripe. What follows from its answers is decided in `payments`.
//!
//! | file | what |
//! |---|---|
//! | [`client`], [`fetch`] | the only files that talk to Stripe's library |
//! | [`inbox`] | deliveries on their way into the books |
//! | [`sync`] | fetch, settle, for an event or because it is time |
//! | [`processing`], [`rehearsal`] | what becomes of an event, and what would |
//! | [`readings`] | answers that are kept, so that a rehearsal asks once |
//! | [`checkout`], [`charge`], [`collect`], [`contract`], [`sync_goods`] | what we ask of Stripe: buying, automatic top-ups, bills, prices |
//!
//! What we send is written down with its key before it is sent, so that the same bytes go again when an answer
//! is lost.

pub mod account;
pub mod charge;
pub mod checkout;
pub mod client;
pub mod collect;
pub mod contract;
pub mod fetch;
pub mod inbox;
pub mod processing;
pub mod readings;
pub mod rehearsal;
pub mod sync;
pub mod sync_goods;
