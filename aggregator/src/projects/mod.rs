//! One project: its row, its books as of one state, and the policy that follows from both.
//!
//! Pure: nothing here reads a clock or the store.

pub mod book;
pub mod policy;
pub mod project;
pub mod stay;
