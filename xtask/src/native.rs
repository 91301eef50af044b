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

    /// The test harness of this name, of the package in that folder.
    pub(crate) fn tests(&self, folder: &str, name: &str) -> Result<&Path> {
        self.get(&harness(folder, name))
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

/// The folder of the package that a message is about.
fn folder(message: &Value) -> Option<String> {
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    Some(manifest.parent()?.file_name()?.to_str()?.to_owned())
}

fn harness(folder: &str, name: &str) -> String {
    format!("{folder}'s tests {name}")
}

/// The programs in cargo's messages; test harnesses are named apart, because they share their names.
fn programs(messages: &str) -> Programs {
    let found = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message.get("executable")?.as_str()?;
        let name = message.pointer("/target/name")?.as_str()?;
        let name = if message.pointer("/profile/test")?.as_bool()? {
            harness(&folder(&message).unwrap_or_default(), name)
        } else {
            name.to_owned()
        };
        Some((name, PathBuf::from(executable)))
    });
    Programs(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_test_harnesses_are_those_that_cargo_names() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"meter"},"profile":{"test":true},"executable":"/t/deps/meter-1"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"meter"},"profile":{"test":false},"executable":"/t/meter"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"shared"},"profile":{"test":false},"executable":null}"#,
            "\nnot json\n",
        );
        let programs = programs(messages);
        assert_eq!(programs.get("meter").unwrap(), Path::new("/t/meter"));
        assert_eq!(programs.folder_of("meter").unwrap(), Path::new("/t"));
        assert_eq!(programs.tests("a", "meter").unwrap(), Path::new("/t/deps/meter-1"));
        assert!(programs.get("shared").is_err() && programs.tests("b", "meter").is_err());
    }
}
