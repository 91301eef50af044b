//! Cells of CSV (RFC 4180). They may be opened by whoever did not write them.

/// What a spreadsheet takes for a formula where a cell begins with it, also in the wide forms of East Asian text.
const FORMULA: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// A cell of text: in quotes where it would be taken for several, and behind an apostrophe where a spreadsheet would
/// compute it. Whoever flushes chooses the names of agents, and somebody else opens the export.
pub(crate) fn quoted(text: &str) -> String {
    let doubled = || text.replace('"', "\"\"");
    if text.starts_with(FORMULA) {
        format!("\"'{}\"", doubled())
    } else if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", doubled())
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metering::usage::UsageAgent;
    use shared::ids::AgentId;
    use shared::units::Units;

    #[test]
    fn no_cell_of_an_export_is_a_formula_to_a_spreadsheet() {
        for (text, cell) in [
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("a=1", "a=1"),
            ("bot-1", "bot-1"),
            ("a,=1", "\"a,=1\""),
            ("", ""),
        ] {
            assert_eq!(quoted(text), cell, "{text:?}");
        }
        let agent = UsageAgent { agent: AgentId::parse("=1+1").unwrap(), units: Units::new(2) };
        assert_eq!(agent.csv(), "\"'=1+1\",2\r\n");
    }
}
