//! The report's place in a Markdown file: its marked section.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kit::section;

/// What the section is called.
const NAME: &str = "bench";
const NEW: &str = "\
# Benchmarks

What a decision at the edge costs, beside what one would write instead. Everything in one run on one machine, on
loopback: compare numbers within this page only. What the baselines are is in `tests/bench/baselines`.
";

/// Puts the report into the file; makes the file if it is missing.
pub(crate) fn write(file: &Path, report: &str) -> Result<()> {
    let before = if file.exists() {
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
    } else {
        NEW.to_owned()
    };
    let after = replace(&before, report).with_context(|| format!("in {}", file.display()))?;
    fs::write(file, after).with_context(|| format!("cannot write {}", file.display()))
}

/// Replaces the marked section, or appends one.
fn replace(text: &str, report: &str) -> Result<String> {
    let marks = section::marks(NAME);
    if marks.iter().any(|mark| text.contains(mark)) {
        return section::replace(text, NAME, report);
    }
    section::replace(&format!("{}\n\n{}\n", text.trim_end(), marks.concat()), NAME, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_section_is_replaced() {
        let [begin, end] = section::marks(NAME);
        let once = replace("# Benchmarks\n", "one\n").unwrap();
        assert_eq!(once, format!("# Benchmarks\n\n{begin}\n\none\n\n{end}\n"));
        let around = format!("{once}\nafter\n");
        assert_eq!(replace(&around, "two").unwrap(), around.replace("one", "two"));
        for broken in [begin.clone(), end.clone(), format!("{end}\n{begin}")] {
            assert!(replace(&broken, "x").is_err(), "{broken}");
        }
    }
}
