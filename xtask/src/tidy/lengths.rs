//! Notes about files and functions that have grown long.
//!
//! It reports and never forbids: some things are long for a reason.

use super::tree::Tree;

/// Files longer than this are worth a look.
const FILE_LINES: usize = 400;
/// Functions longer than this do not fit a screen.
const FUNCTION_LINES: usize = 70;

/// What is long.
pub(super) fn notes(tree: &Tree) -> Vec<String> {
    let mut notes = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let lines = text.lines().count();
        if lines > FILE_LINES {
            notes.push(format!("{path} has {lines} lines"));
        }
        for (name, number, length) in
            functions(text).into_iter().filter(|(.., length)| *length > FUNCTION_LINES)
        {
            notes.push(format!("{path}:{number}: {name} has {length} lines"));
        }
    }
    notes
}

/// Names, first lines and lengths of functions: from the line with `fn` to the brace that is indented as much.
fn functions(text: &str) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(&str, usize, usize)> = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let code = line.trim_start();
        let indent = line.len().saturating_sub(code.len());
        if let Some(name) = function_name(code) {
            open.push((name, number, indent));
        }
        // A function without a body, or with one on its own line, ends where it begins.
        let ends = code.starts_with('}')
            || function_name(code).is_some() && (code.ends_with(';') || code.ends_with('}'));
        if let Some((name, start, _)) = open.pop_if(|(_, _, outer)| ends && *outer == indent) {
            found.push((name, start, number.saturating_sub(start).saturating_add(1)));
        }
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "default "];
    let mut code = code;
    while let Some(rest) = words.iter().find_map(|word| code.strip_prefix(word)) {
        code = rest;
    }
    code.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_head_to_brace() {
        let text = "impl X {\n    pub(crate) fn one(\n        a: u8,\n    ) {\n        if a {\n        }\n    }\n    fn two() {}\n}\nfn three() {\n}\n";
        assert_eq!(functions(text), [("one", 2, 6), ("two", 8, 1), ("three", 10, 2)]);
    }

    #[test]
    fn long_files_and_functions_are_reported() {
        let function = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_LINES));
        let file = "// x\n".repeat(FILE_LINES);
        let tree =
            Tree::from([("a.rs", function.as_str()), ("b.rs", file.as_str()), ("c.rs", "fn a() {}\n")]);
        assert_eq!(notes(&tree), ["a.rs:1: long has 72 lines"]);
    }
}
