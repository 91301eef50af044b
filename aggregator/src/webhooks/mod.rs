//! Outbound webhooks: what customers are told, how it is signed, when it is tried again, and where it may go.
//!
//! Pure: the store writes events with the facts that they tell of, `jobs` sends them. Nothing here reads a clock,
//! draws randomness or opens a connection.

pub mod address;
pub mod endpoint;
pub mod event;
pub mod health;
pub mod schedule;
pub mod seal;
pub mod sign;
pub mod slack;
pub mod target;

/// What this meter's operator has settled about webhooks.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where deliveries may go.
    pub rules: target::Rules,
    /// What secrets are sealed with.
    pub keys: seal::SealKeys,
}
