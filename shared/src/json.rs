//! JSON as the worker reads and writes it: what `serde_json` would, in a fraction of the code.
//!
//! Every new isolate loads the worker, so each of its messages and rows costs bytes. serde makes a reader of every type
//! that is read; here a type is a table of its fields and a way to each, and everything that looks at text is there
//! once. What a type's JSON is, is said by serde's attributes; [`shared_derive`] reads them too. Texts are the same in
//! both directions. It must never accept what `serde_json` refuses.

mod read;
mod types;
mod write;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt;

pub use read::{Grow, List, Place, Places, Read, Reader, Variant, read, read_into};
pub use shared_derive::{Read, Write};
pub use write::{Part, Parts, Write, Writer, write};

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(
    // Boxed twice: it is in the way of every value that is read, and there it should be one word.
    Box<Box<str>>,
);

impl Error {
    /// An error of these words.
    #[must_use]
    pub fn new(what: &str) -> Self {
        Self(Box::new(what.into()))
    }

    /// The error of a type that reads its own text.
    #[must_use]
    pub fn of(error: impl fmt::Display) -> Self {
        Self(Box::new(error.to_string().into()))
    }

    fn named(name: &str, what: &str) -> Self {
        Self::new(&(name.to_owned() + what))
    }

    /// A word that is none of an enum's.
    #[must_use]
    pub fn no_word(word: &str) -> Self {
        Self::named(word, " is none of the accepted words")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Error {}

/// One field of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it may be missing.
    pub optional: bool,
    /// Whether it is left out where there is nothing to say.
    pub left_out: bool,
}

/// One table of several: flattened fields stand among the others.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "it is called while compiling, which stops at a wrong index")]
pub const fn join<const N: usize>(tables: &[&[Field]]) -> [Field; N] {
    let mut all = [Field { name: "", optional: false, left_out: false }; N];
    let (mut filled, mut table) = (0, 0);
    while table < tables.len() {
        let mut at = 0;
        while at < tables[table].len() {
            all[filled] = tables[table][at];
            (filled, at) = (filled + 1, at + 1);
        }
        table += 1;
    }
    all
}

#[cfg(test)]
pub(crate) mod tests;
