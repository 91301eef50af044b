//! Whole numbers as clients write them: in digits alone.

use core::str::FromStr;

/// Reads a whole number of digits alone; `None` for anything else, or for more than the type holds.
///
/// The standard library also takes a plus sign before them, which the schemas do not, and which is a space in a query.
#[must_use]
pub fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_digits_alone() {
        assert_eq!(whole::<u64>("0"), Some(0));
        assert_eq!(whole::<u64>("18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "1.0", "0x1", "1e3", "18446744073709551616", "\u{661}"] {
            assert_eq!(whole::<u64>(text), None, "{text:?}");
        }
    }
}
