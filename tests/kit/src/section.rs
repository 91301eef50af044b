//! A report's place in a Markdown file: between two marks. What people wrote around it stays.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Puts the report between the file's marks of that name.
///
/// # Errors
/// When the file cannot be read or written, or lacks a mark.
pub fn write(file: &Path, name: &str, report: &str) -> Result<()> {
    let before = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let after = replace(&before, name, report).with_context(|| format!("in {}", file.display()))?;
    fs::write(file, after).with_context(|| format!("cannot write {}", file.display()))
}

/// The marks of that name, which stand around its section.
#[must_use]
pub fn marks(name: &str) -> [String; 2] {
    [
        format!("<!-- {name}: begin; written by the benchmark, edits are lost -->"),
        format!("<!-- {name}: end -->"),
    ]
}

/// The text with the report between its marks of that name.
///
/// # Errors
/// When it lacks a mark.
pub fn replace(text: &str, name: &str, report: &str) -> Result<String> {
    let [begin, end] = marks(name);
    match (text.split_once(&begin), text.split_once(&end)) {
        (Some((before, _)), Some((within, after))) if within.contains(&begin) => {
            Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", report.trim()))
        }
        _ => bail!("one of the marks {begin} and {end} is missing, or they are in the wrong order"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_section_is_replaced() {
        let [begin, end] = marks("bench");
        let page = format!("# A\n\n{begin}\n\nold\n\n{end}\n\n## B\n");
        let once = replace(&page, "bench", "one\n").unwrap();
        assert_eq!(once, format!("# A\n\n{begin}\n\none\n\n{end}\n\n## B\n"));
        assert_eq!(replace(&once, "bench", "two").unwrap(), once.replace("one", "two"));
        for broken in ["# A\n".to_owned(), begin.clone(), end.clone(), format!("{end}\n{begin}")] {
            assert!(replace(&broken, "bench", "x").is_err(), "{broken}");
        }
        assert!(replace(&page, "native", "x").is_err(), "another section");
    }
}
