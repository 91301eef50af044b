//! The administrators' interface: projects, their keys and tokens.

pub(super) mod credits;
pub(super) mod keys;
pub(super) mod projects;
pub(super) mod tokens;

pub use keys::KeyView;
pub use projects::ProjectView;
pub use tokens::TokenView;
