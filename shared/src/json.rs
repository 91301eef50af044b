//! Messages and rows as JSON: `serde_json`, with the one thing that it leaves to its callers.
//!
//! A struct may also be read from a list of its fields in their order, because serde's derives accept that. What
//! clients send must not pass that way: whoever reads a body of theirs looks that it is an object.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Reads a value; the text must hold nothing else.
///
/// # Errors
/// When the text is not JSON, or not JSON of that type.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

/// Writes a value without any space.
#[expect(clippy::expect_used, reason = "an empty row or message would be worse than a lost instance")]
pub fn write<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("our types are always JSON")
}

#[cfg(test)]
pub(crate) mod tests;
