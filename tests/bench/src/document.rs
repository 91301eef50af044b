//! The report's place in a Markdown file: between two marks. What people wrote around it stays.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

const BEGIN: &str = "<!-- bench: begin; written by the benchmark, edits are lost -->";
const END: &str = "<!-- bench: end -->";
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
    let section = format!("{BEGIN}\n\n{}\n\n{END}", report.trim());
    match (text.split_once(BEGIN), text.split_once(END)) {
        (None, None) => Ok(format!("{}\n\n{section}\n", text.trim_end())),
        (Some((before, _)), Some((within, after))) if within.contains(BEGIN) => {
            Ok(format!("{before}{section}{after}"))
        }
        _ => bail!("one of the marks {BEGIN} and {END} is missing, or they are in the wrong order"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_section_is_replaced() {
        let once = replace("# Benchmarks\n", "one\n").unwrap();
        assert_eq!(once, format!("# Benchmarks\n\n{BEGIN}\n\none\n\n{END}\n"));
        let around = format!("{once}\nafter\n");
        assert_eq!(replace(&around, "two").unwrap(), around.replace("one", "two"));
        for broken in [BEGIN.to_owned(), END.to_owned(), format!("{END}\n{BEGIN}")] {
            assert!(replace(&broken, "x").is_err(), "{broken}");
        }
    }
}
