//! Scripts as they travel: without comments and indentation, each statement on the line that it has in the source.
//!
//! Comments are a third of what the scripts weigh. What an error says of a line is still true. It must never look
//! into a line of code: a comment behind code stays, and a text over several lines is an error.

use anyhow::{Result, ensure};

/// The script without the lines that only comment.
pub(super) fn bare(script: &str) -> Result<String> {
    let (mut bare, mut in_comment) = (String::with_capacity(script.len()), false);
    for line in script.lines() {
        let code = line.trim();
        if in_comment || code.starts_with("/*") {
            in_comment = !code.contains("*/");
            ensure!(in_comment || code.ends_with("*/"), "a script has code behind a comment: {code}");
        } else if !code.starts_with("//") {
            ensure!(
                code.matches('`').count().rem_euclid(2) == 0,
                "a script has a text over several lines, which may look like a comment: {code}"
            );
            bare.push_str(code);
        }
        bare.push('\n');
    }
    Ok(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_lines_stay_where_they_were() {
        let script = "// One.\nlet a = 1; // stays\n/**\n * Two.\n */\n  if (a) {\n    /* Three. */\n    b('/*');\n  }\n";
        assert_eq!(bare(script).unwrap(), "\nlet a = 1; // stays\n\n\n\nif (a) {\n\nb('/*');\n}\n");
    }

    #[test]
    fn what_may_be_mistaken_is_refused() {
        for script in ["let a = `\n// no comment\n`;", "/* a */ b();", "/*\n*/ b();"] {
            assert!(bare(script).is_err(), "{script}");
        }
    }
}
