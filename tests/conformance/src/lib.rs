//! What every storage of homes must do: random operations by several processes at once.
//!
//! A backend implements [`Backend`] and calls [`check`] with a few seeds. What happened is judged by books of its own,
//! not by the code under test.
#![expect(clippy::panic, reason = "a check ends by panicking with what is wrong")]

mod backends;
mod books;
mod run;
pub mod script;
pub mod vectors;

use shared::home::storage::{Commit, Stored};

pub use backends::{Alone, Shared};
pub use run::check;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Accepted,
    /// Another write came first; nothing was changed.
    Moved,
    /// The answer was lost: it may be durable or not.
    Unknown,
}

/// One process's way to the rows of one home.
pub trait Backend {
    /// Everything that is stored, of one instant.
    fn load(&mut self) -> Stored;
    /// Writes all rows if the version is still the expected one, and raises it; without rows it only compares.
    fn commit(&mut self, commit: &Commit) -> Written;
}
