//! Texts that people and programs send, as far as their form goes: what they may hold.

/// Whether a character cannot be seen, or moves those around it: a text that holds one may not say what it shows.
///
/// These are controls, line ends, marks of direction, what Unicode says may be left out where text is shown, and
/// blanks that count as letters. It is a list, because the standard library knows none of these but the controls.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether a text is of at most that many characters, all of which are seen; it may be empty.
#[must_use]
pub fn is_line(text: &str, chars_max: usize) -> bool {
    text.chars().count() <= chars_max && !text.contains(is_unseen)
}

/// As [`is_line`], and not only spaces.
#[must_use]
pub fn is_words(text: &str, chars_max: usize) -> bool {
    !text.trim().is_empty() && is_line(text, chars_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_seen_as_they_are() {
        for text in ["a", "Zo\u{eb}", "\u{674e} O'Brien", "\u{5d3}\u{5d5}\u{5d3}", "a\u{301}", "\u{1f600}"] {
            assert!(is_words(text, 40), "{text:?}");
        }
        for unseen in [
            '\n',
            '\u{85}',
            '\u{ad}',
            '\u{200d}',
            '\u{2028}',
            '\u{202e}',
            '\u{2069}',
            '\u{fe0f}',
            '\u{e0041}',
        ] {
            assert!(!is_line(&format!("a{unseen}b"), 40), "{unseen:?}");
        }
        assert!(is_line("", 0) && !is_words(" ", 40) && !is_words("ab", 1));
    }
}
