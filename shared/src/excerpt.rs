//! The beginning of what somebody sent, as messages show it.

/// The first characters of a text, at most so many.
#[must_use]
pub fn beginning(text: &str, chars_max: usize) -> &str {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_has_whole_characters() {
        assert_eq!(beginning("größe", 3), "grö");
        assert_eq!(beginning("größe", 5), "größe");
        assert_eq!(beginning("", 1), "");
    }
}
