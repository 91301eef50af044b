//! Builds the repository's own programs for this machine, and says where cargo put them.
//!
//! It must never guess a path: `CARGO_TARGET_DIR` and configuration files move cargo's output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::config;
use crate::process::{require_cc, run};

/// The programs that a build made, by name.
#[derive(Debug)]
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    /// The program of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Path> {
        self.0
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("cargo built no program called {name}"))
    }

    /// The folder of the program of this name.
    pub(crate) fn folder_of(&self, name: &str) -> Result<&Path> {
        self.get(name)?.parent().context("a program without a folder")
    }
}

/// Runs `cargo build` with these arguments.
pub(crate) fn build(what: &str, arguments: &[&str]) -> Result<Programs> {
    require_cc()?;
    let mut cargo = cargo("build");
    let messages = run(what, cargo.args(arguments).arg("--message-format=json-render-diagnostics"))?;
    Ok(programs(&messages))
}

/// A cargo command of the active toolchain, at the repository's root.
pub(crate) fn cargo(verb: &str) -> Command {
    let mut command = Command::new(config::cargo());
    command.current_dir(config::root()).arg(verb);
    command
}

/// The programs in cargo's messages, but for those that are test harnesses.
fn programs(messages: &str) -> Programs {
    let found = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message.get("executable")?.as_str()?;
        if message.pointer("/profile/test")?.as_bool()? {
            return None;
        }
        Some((message.pointer("/target/name")?.as_str()?.to_owned(), PathBuf::from(executable)))
    });
    Programs(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_those_that_cargo_names_without_test_harnesses() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"meter"},"profile":{"test":true},"executable":"/t/deps/meter-1"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"meter"},"profile":{"test":false},"executable":"/t/meter"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"shared"},"profile":{"test":false},"executable":null}"#,
            "\nnot json\n",
        );
        let programs = programs(messages);
        assert_eq!(programs.get("meter").unwrap(), Path::new("/t/meter"));
        assert_eq!(programs.folder_of("meter").unwrap(), Path::new("/t"));
        assert!(programs.get("shared").is_err());
    }
}
