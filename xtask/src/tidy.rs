//! `cargo xtask tidy`: the repository's own rules, those that no compiler checks. Also a test, below.
//!
//! It must never change a file, and must name the place and the reason of every finding.

mod decisions;
mod dependencies;
mod documents;
mod errors;
mod lengths;
mod rooms;
mod sources;
mod tree;

use anyhow::{Result, bail};
use clap::CommandFactory;

use tree::Tree;

/// Checks everything; prints what is wrong, and what is merely long.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(&crate::config::root())?;
    for note in lengths::notes(&tree) {
        eprintln!("  note: {note}");
    }
    let findings = findings(&tree)?;
    for finding in &findings {
        eprintln!("  {finding}");
    }
    if findings.is_empty() {
        eprintln!("  ✓ tidy, {} files", tree.len());
        return Ok(());
    }
    bail!("tidy found {} thing(s) to put right", findings.len())
}

/// The manifests of all workspaces: the root's, and those of folders that build for themselves.
pub(crate) fn workspaces() -> Result<Vec<String>> {
    let tree = Tree::read(&crate::config::root())?;
    let manifests =
        tree.ending("Cargo.toml").filter(|(_, text)| text.lines().any(|line| line == "[workspace]"));
    Ok(manifests.map(|(path, _)| path.to_owned()).collect())
}

fn findings(tree: &Tree) -> Result<Vec<String>> {
    let mut findings = sources::check(tree);
    findings.extend(dependencies::check(&dependencies::packages()?));
    findings.extend(dependencies::check_lock(tree));
    findings.extend(documents::check(tree, &crate::Cli::command()));
    findings.extend(crate::readme::check(tree.ending(".md")));
    findings.extend(decisions::check(tree));
    findings.extend(errors::check(tree));
    findings.extend(rooms::check(tree));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::read(&crate::config::root()).unwrap();
        let findings = findings(&tree).unwrap();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
