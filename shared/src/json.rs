//! JSON as the worker reads and writes it: what `serde_json` would, in a fraction of the code.
//!
//! Every new isolate loads the worker, so each of its messages and rows costs bytes. `serde_json`'s reader is copied
//! into each type that it reads; here only what a type must know is, and everything that looks at text is there once.
//! Texts are the same in both directions. It must never accept what `serde_json` refuses.

mod read;
mod write;

use std::fmt;

pub use read::read;
pub use write::write;

/// Why a text is not what it should be, or a value has no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<str>);

impl Error {
    fn new(what: &str) -> Self {
        Self(what.into())
    }

    fn named(name: &str, what: &str) -> Self {
        Self([name, what].concat().into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

// The provided methods describe what they got at a length that nobody reads here.
impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }

    fn invalid_type(_: serde::de::Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self::new("a value is of another type than accepted")
    }

    fn invalid_value(_: serde::de::Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self::new("a value is outside of what is accepted")
    }

    fn invalid_length(_: usize, _: &dyn serde::de::Expected) -> Self {
        Self::new("a list is of another length than accepted")
    }

    fn unknown_variant(variant: &str, _: &'static [&'static str]) -> Self {
        Self::named(variant, " is none of the accepted words")
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::named(field, " is no accepted field")
    }

    fn missing_field(field: &'static str) -> Self {
        Self::named(field, " is missing")
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::named(field, " is there twice")
    }
}

#[cfg(test)]
mod tests;
