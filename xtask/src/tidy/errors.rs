//! Every public error code has a page, and every page a code.
//!
//! It reads the table in `shared/src/problem.rs`, whose rows are `Name => "code", status, "title";`.

use std::collections::BTreeMap;

use super::tree::Tree;

const TABLE: &str = "shared/src/problem.rs";
const PAGES: &str = "docs/errors/";

/// Compares the table with the pages.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let table = tree.get(TABLE).unwrap_or_default();
    let codes: BTreeMap<_, _> = table.lines().filter_map(row).collect();
    let mut findings = Vec::new();
    if codes.is_empty() {
        findings.push(format!("{TABLE}: has no rows such as `Name => \"code\", 400, \"Title\";`"));
    }
    for (code, status) in &codes {
        match tree.get(&format!("{PAGES}{code}.md")) {
            None => findings.push(format!("{PAGES}{code}.md is missing: `{code}` needs a page")),
            Some(page) if !page.contains(status) => {
                findings.push(format!("{PAGES}{code}.md does not name the status {status}"));
            }
            Some(_) => {}
        }
    }
    for (path, _) in tree.ending(".md") {
        let page = path.strip_prefix(PAGES).and_then(|name| name.strip_suffix(".md"));
        if page.is_some_and(|code| code != "README" && !codes.contains_key(code)) {
            findings.push(format!("{path}: there is no such code in {TABLE}"));
        }
    }
    findings
}

/// The code and the status of a row.
fn row(line: &str) -> Option<(&str, &str)> {
    let (_, row) = line.trim().split_once(" => \"")?;
    let (code, rest) = row.split_once("\", ")?;
    let (status, _) = rest.split_once(',')?;
    let named = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (named && status.bytes().all(|byte| byte.is_ascii_digit())).then_some((code, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_pages_belong_together() {
        let table =
            (TABLE, "codes! {\n    /// Doc.\n    NotFound => \"not_found\", 404, \"There is nothing\";\n}\n");
        for (page, findings) in [
            (("docs/errors/not_found.md", "# not_found\nStatus 404.\n"), 0),
            (("docs/errors/not_found.md", "# not_found\n"), 1),
            (("docs/errors/not_there.md", "404"), 2),
            (("docs/errors.md", "404"), 1),
        ] {
            assert_eq!(check(&Tree::from([table, page])).len(), findings, "{page:?}");
        }
        assert_eq!(check(&Tree::from([(TABLE, "")])).len(), 1);
    }
}
