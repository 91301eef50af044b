//! Members: the people of a project. What a name may be is decided here.

use shared::time::Timestamp;

use crate::access::Role;
use crate::text::is_words;

/// The longest name; e-mail addresses are shorter.
pub const NAME_CHARS_MAX: usize = 120;

/// What is accepted as a name, in words.
pub const NAME: &str = "1 to 120 characters that are not only spaces, such as an e-mail address";

/// The most tokens of a project that are not revoked: far more than people and programs need, few enough to list.
pub const ACTIVE_TOKENS_MAX: usize = 200;

/// One member of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Names the member in addresses.
    pub id: String,
    /// What people call the member.
    pub name: String,
    /// What the member may do.
    pub role: Role,
    /// The account by which the member signs in; `None` where there are tokens alone.
    pub account: Option<String>,
    /// When the member was added.
    pub created: Timestamp,
    /// When the member was removed.
    pub removed: Option<Timestamp>,
}

/// Whether a text may name a member, as far as its form goes.
#[must_use]
pub fn is_name(text: &str) -> bool {
    is_words(text, NAME_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_texts_without_controls() {
        for (text, accepted) in [
            ("ada@example.com", true),
            ("Ada L.", true),
            (" ", false),
            ("", false),
            ("a\n", false),
            ("a\u{202e}b", false),
        ] {
            assert_eq!(is_name(text), accepted, "{text:?}");
        }
        assert!(is_name(&"ä".repeat(120)) && !is_name(&"a".repeat(121)));
    }
}
