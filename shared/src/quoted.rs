//! What somebody sent, as a message shows it: in quotation marks, and nothing in it can pretend to be more.
//!
//! It writes what `{:?}` does of text that people can read. That knows all of Unicode, which every new isolate would
//! load; here only what moves or hides other characters is known.

use core::fmt::{self, Write};

/// The first characters of a text, at most so many.
#[must_use]
pub fn beginning(text: &str, chars_max: usize) -> &str {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// A text in quotation marks.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => f.write_char('\\').and_then(|()| f.write_char(c)),
                '\n' => f.write_str("\\n"),
                '\r' => f.write_str("\\r"),
                '\t' => f.write_str("\\t"),
                '\0' => f.write_str("\\0"),
                c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
                c => f.write_char(c),
            }?;
        }
        f.write_char('"')
    }
}

/// Controls, marks of direction, line ends, and what has no width.
fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{a0}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_rust_shows_it() {
        let mut all: Vec<String> = (0..=0x17f).filter_map(char::from_u32).map(String::from).collect();
        all.extend(
            ["größe 1", "a\u{202e}b", "\u{200b}", "日本語", "\u{feff}x", "\u{1f600}", "\u{2028}"]
                .map(str::to_owned),
        );
        for text in all {
            assert_eq!(Quoted(&text).to_string(), format!("{text:?}"));
        }
    }
}
