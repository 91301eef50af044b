//! What runs beside requests. Jobs meet handlers only through the store.

pub mod audit;
mod backoff;
pub mod clock_offset;
pub mod contract_close;
pub mod contract_turn;
pub mod forget;
pub mod home_moves;
pub mod key_expiry;
pub mod month_close;
pub mod part_sums;
pub mod policy_push;
pub mod policy_turn;
pub mod redis_homes;
pub mod reporter_watch;
pub mod stream_age;
pub mod stripe;
pub mod stripe_reconcile;
pub mod webhooks;
