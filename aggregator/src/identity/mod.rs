//! An OpenID provider that people may sign in by: what it is asked, and what its answers prove.
//!
//! It never decides who may do what: who somebody is comes from there, and what that person may do from our own books.

mod provider;
mod settings;
mod wire;

pub use self::provider::{Provider, ProviderError};
pub use self::settings::{Issuer, ProviderSettings};
