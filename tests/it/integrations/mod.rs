//! What stands beside the meter where its users live, each run as they run it, against real servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::stack::Stack;

mod clients;

/// A place in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Copies a folder of the repository, without what is made in it, so that it is built beside nobody's own files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    const MADE: [&str; 5] = ["node_modules", "dist", "generated", "__pycache__", ".venv"];
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if !MADE.iter().any(|made| name == *made) {
                copy(&entry.path(), &target)?;
            }
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Runs a program to its end, and tells all it said if it fails; what it said otherwise.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(said)
}

/// Tells a program where this stack's servers are, and a token of an operator.
fn with_stack<'a>(command: &'a mut Command, stack: &Stack) -> Result<&'a mut Command> {
    let made: Value = serde_json::from_str(&stack.meter(&["token", "create", "--operator", "--json"])?)?;
    let token = made.get("token").and_then(Value::as_str).context("a token")?;
    Ok(command
        .env("METER_TOKEN", token)
        .env("METER_URL", format!("http://{}", stack.aggregator()))
        .env("METER_EDGE", format!("http://{}", stack.edge())))
}
