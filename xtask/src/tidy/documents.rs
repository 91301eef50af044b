//! What documents name must exist: commands of xtask with their options, and paths of the repository.
//!
//! It reads Markdown by lines: inline code, fenced blocks (commands only), and links to files.

use clap::Command;

use super::tree::Tree;

/// A word of inline code that ends so is a path, wherever it begins.
const EXTENSIONS: [&str; 8] = [".rs", ".md", ".toml", ".js", ".json", ".capnp", ".sql", ".yml"];
/// What is made, and therefore not there.
const GENERATED: [&str; 2] = ["target/", "node_modules/"];

/// Checks the documents at the root and below `docs/`.
pub(super) fn check(tree: &Tree, xtask: &Command) -> Vec<String> {
    let documents = tree.ending(".md").filter(|(path, _)| !path.contains('/') || path.starts_with("docs/"));
    documents.flat_map(|(path, text)| check_document(tree, xtask, path, text)).collect()
}

fn check_document(tree: &Tree, xtask: &Command, document: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        let mut complain = |what: String| findings.push(format!("{document}:{number}: {what}"));
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            let code = line.split(" #").next().unwrap_or(line);
            command_complaint(xtask, code).map(&mut complain);
        } else {
            for code in line.split('`').skip(1).step_by(2) {
                command_complaint(xtask, code).map(&mut complain);
                if names_path(tree, code) && !is_there(tree, document, code) {
                    complain(format!("`{code}` does not exist"));
                }
            }
            for target in link_targets(line).filter(|target| !leads_somewhere(tree, document, target)) {
                complain(format!("the link to {target} leads nowhere"));
            }
        }
    }
    findings
}

/// What is wrong with a command of xtask that the text names, if it names one.
fn command_complaint(xtask: &Command, code: &str) -> Option<String> {
    let (_, after) = code.split_once("cargo xtask")?;
    let mut words =
        after.split_whitespace().map(|word| word.trim_matches(['[', ']', '(', ')', ',', '.', ';']));
    let name = words.next().filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))?;
    let Some(task) = xtask.find_subcommand(name) else {
        return Some(format!("`cargo xtask {name}` does not exist"));
    };
    let options = words.take_while(|word| *word != "--").filter_map(|word| word.strip_prefix("--"));
    let names = options.map(|option| option.split('=').next().unwrap_or(option));
    let known =
        |option: &str| option == "help" || task.get_arguments().any(|known| known.get_long() == Some(option));
    let unknown = names.into_iter().find(|option| !known(option))?;
    Some(format!("`cargo xtask {name}` has no option --{unknown}"))
}

/// Whether inline code is meant as a path of this repository.
fn names_path(tree: &Tree, code: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-/".contains(character);
    if code.starts_with('/')
        || !code.chars().all(plain)
        || GENERATED.iter().any(|made| code.starts_with(made))
    {
        return false;
    }
    let first = code.split('/').next().unwrap_or(code);
    EXTENSIONS.iter().any(|extension| code.len() > extension.len() && code.ends_with(extension))
        || (code.contains('/') && tree.exists(first))
}

/// Whether a path is there, seen from the root or from the document's own folder; a mere name may be anywhere.
fn is_there(tree: &Tree, document: &str, path: &str) -> bool {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    tree.exists(path) || tree.exists(&joined(folder, path)) || !path.contains('/') && tree.has_name(path)
}

/// A link is followed from the document's own folder.
fn leads_somewhere(tree: &Tree, document: &str, target: &str) -> bool {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    tree.exists(&joined(folder, target))
}

/// `docs/errors` and `../protocol.md` make `docs/protocol.md`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The files that a line links to.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or(target));
    files.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn what_is_named_must_exist() {
        for (line, findings) in [
            ("Run `cargo xtask dev --fresh`, then `cargo xtask --help`.", 0),
            ("Run `cargo xtask dev [--fresh] [--rpm N]`.", 0),
            ("Run `cargo xtask devel`.", 1),
            ("Run `cargo xtask dev --frsh`.", 1),
            ("Run `cargo xtask test -- --nocapture`.", 0),
            ("```\ncargo xtask polish\n```", 1),
            ("```\n$ cargo xtask ci   # not --this\n```", 0),
            (
                "See `edge/js/entry.js`, `edge/`, `Cargo.toml`, `target/dev/env`, `/v1/verify`, `demo/live`.",
                0,
            ),
            ("See `entry.js`, but not `exit.js`.", 1),
            ("See `edge/js/exit.js`.", 1),
            ("See `aggregator/src/x.rs`.", 1),
            ("See [the protocol](protocol.md#keys) and [more](https://example.com/x).", 0),
            ("See [the protocol](../docs/protocol.md) and [home](../README.md).", 0),
            ("See [the protocol](docs/protocol.md) and [it](protocols.md).", 2),
        ] {
            let tree = Tree::from([
                ("docs/a.md", line),
                ("docs/protocol.md", ""),
                ("README.md", ""),
                ("Cargo.toml", ""),
                ("edge/js/entry.js", ""),
            ]);
            let found = check(&tree, &crate::Cli::command());
            assert_eq!(found.len(), findings, "{line}: {found:?}");
        }
    }
}
