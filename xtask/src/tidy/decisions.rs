//! Every decision is a page of one shape, and both lists of pages have it.

use super::tree::Tree;

const PAGES: &str = "docs/decisions/";
const INDEX: &str = "docs/decisions/README.md";
const SUMMARY: &str = "docs/SUMMARY.md";

/// What each page has, in this order: a title, then these lines.
const PARTS: [&str; 4] = ["**Date:** 20", "## Context", "## Choice", "## Cost"];

/// Looks at each page, and for it in the index and the book's summary.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let (index, summary) = (tree.get(INDEX).unwrap_or_default(), tree.get(SUMMARY).unwrap_or_default());
    let mut findings = Vec::new();
    for (path, page) in tree.ending(".md") {
        let Some(name) = path.strip_prefix(PAGES).filter(|name| *name != "README.md") else { continue };
        let Some(title) = page.lines().next().and_then(|line| line.strip_prefix("# ")) else {
            findings.push(format!("{path}: begins with no title"));
            continue;
        };
        let mut lines = page.lines();
        if let Some(part) = PARTS.iter().find(|part| !lines.any(|line| line.starts_with(**part))) {
            findings.push(format!("{path}: has no line that begins with {part:?}, or not in its place"));
        }
        for (list, text, link) in [
            (INDEX, index, format!("[{title}]({name})")),
            (SUMMARY, summary, format!("[{title}](decisions/{name})")),
        ] {
            if !text.contains(&link) {
                findings.push(format!("{list}: lacks {link}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# One home\n\n**Date:** 2026-11-23\n\n## Context\n\n## Choice\n\n## Cost\n";

    #[test]
    fn a_decision_says_when_why_what_and_at_which_cost_and_is_listed() {
        let (index, summary) = ("| [One home](home.md) | 2026-11-23 |", "  - [One home](decisions/home.md)");
        for (page, index, summary, findings) in [
            (PAGE.to_owned(), index, summary, 0),
            (PAGE.replace("## Cost\n", ""), index, summary, 1),
            (PAGE.replace("**Date:** 2026", "**Date:** soon"), index, summary, 1),
            (
                PAGE.replace("## Choice", "## Context").replacen("## Context", "## Choice", 1),
                index,
                summary,
                1,
            ),
            (PAGE.replace("# One home", "One home"), index, summary, 1),
            (PAGE.replace("One home", "Two homes"), index, summary, 2),
            (PAGE.to_owned(), "", summary, 1),
            (PAGE.to_owned(), index, "", 1),
        ] {
            let tree =
                Tree::from([("docs/decisions/home.md", page.as_str()), (INDEX, index), (SUMMARY, summary)]);
            assert_eq!(check(&tree).len(), findings, "{page}\n{index}\n{summary}");
        }
    }
}
