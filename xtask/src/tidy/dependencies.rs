//! Rules about who depends on whom, read from cargo's own account of the workspace.
//!
//! It must never need the network: only the workspace's own manifests are read.

use anyhow::{Context, Result};
use serde_json::Value;

use super::tree::Tree;
use crate::edge::bindgen_versions_agree;
use crate::native::cargo;
use crate::process::ask;

/// What the pure core may depend on: nothing here knows a clock, randomness, files, network, or async.
const SHARED_MAY: &[&str] = &[
    "base16ct",
    "hmac",
    "percent-encoding",
    "schemars",
    "serde",
    "serde_json",
    "sha2",
    "subtle",
    "thiserror",
    "unicode-normalization",
];
/// What nothing may depend on.
const LEAVES: [&str; 3] = ["bench", "tests", "xtask"];

/// A package of the workspace and what it depends on.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    for_tests_only: bool,
}

/// The packages of the workspace.
pub(super) fn packages() -> Result<Vec<Package>> {
    let answer = ask(cargo("metadata").args(["--no-deps", "--offline", "--format-version", "1"]));
    let metadata: Value = serde_json::from_str(&answer.context("cargo metadata failed")?)?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("cargo metadata lists no packages")?;
    packages
        .iter()
        .map(|package| parse(package).context("cargo metadata describes packages in a new way"))
        .collect()
}

fn parse(package: &Value) -> Option<Package> {
    let dependency = |dependency: &Value| {
        let name = dependency.get("name")?.as_str()?.to_owned();
        Some(Dependency { name, for_tests_only: dependency.get("kind")?.as_str() == Some("dev") })
    };
    let dependencies =
        package.get("dependencies")?.as_array()?.iter().map(dependency).collect::<Option<_>>()?;
    Some(Package { name: package.get("name")?.as_str()?.to_owned(), dependencies })
}

/// Checks who depends on whom.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        for Dependency { name, for_tests_only } in &package.dependencies {
            let why = match (package.name.as_str(), name.as_str()) {
                (_, name) if LEAVES.contains(&name) => "nothing depends on bench, tests or xtask",
                ("meter-reporter", "aggregator") | ("aggregator", "meter-reporter") => {
                    "reporter and aggregator speak by shared's messages, and are released apart"
                }
                ("meter-edge" | "meter-homes" | "meter-envoy", "aggregator") => {
                    "the edge knows shared, never the aggregator"
                }
                ("aggregator", "meter-edge" | "meter-homes") => "the aggregator knows shared, never the edge",
                ("meter-edge", "meter-homes") | ("meter-homes", "meter-edge") => {
                    "edge and homes are deployed apart: what both know is in shared"
                }
                ("shared", name) if !for_tests_only && !SHARED_MAY.contains(&name) => {
                    "shared is pure: a new dependency is a decision (docs/decisions/dependencies.md, then tidy's list)"
                }
                _ => continue,
            };
            findings.push(format!("{} depends on {name}: {why}", package.name));
        }
    }
    findings
}

/// Checks what only the lock file shows.
pub(super) fn check_lock(tree: &Tree) -> Vec<String> {
    let agree = tree.get("Cargo.lock").is_none_or(bindgen_versions_agree);
    let finding =
        "Cargo.lock: wasm-bindgen and wasm-bindgen-cli-support differ: the glue would not fit the wasm";
    if agree { Vec::new() } else { vec![finding.to_owned()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(package: &str, dependency: &str, for_tests_only: bool) -> bool {
        let dependencies = vec![Dependency { name: dependency.to_owned(), for_tests_only }];
        !check(&[Package { name: package.to_owned(), dependencies }]).is_empty()
    }

    #[test]
    fn forbidden_directions_are_found() {
        for (package, dependency, for_tests_only, expected) in [
            ("shared", "serde", false, false),
            ("shared", "tokio", false, true),
            ("shared", "proptest", true, false),
            ("shared", "tests", true, true),
            ("meter-edge", "shared", false, false),
            ("meter-edge", "aggregator", false, true),
            ("meter-homes", "meter-edge", false, true),
            ("meter-envoy", "aggregator", false, true),
            ("aggregator", "xtask", false, true),
            ("meter-reporter", "aggregator", false, true),
            ("meter-reporter", "meter-edge", false, false),
            ("aggregator", "tokio", false, false),
        ] {
            assert_eq!(found(package, dependency, for_tests_only), expected, "{package} → {dependency}");
        }
    }

    #[test]
    fn glue_of_another_release_is_found() {
        let lock = |crate_version: &str| {
            format!(
                "[[package]]\nname = \"wasm-bindgen\"\nversion = \"{crate_version}\"\n\n\
                 [[package]]\nname = \"wasm-bindgen-cli-support\"\nversion = \"0.2.130\"\n"
            )
        };
        assert!(check_lock(&Tree::from([("Cargo.lock", lock("0.2.130").as_str())])).is_empty());
        assert_eq!(check_lock(&Tree::from([("Cargo.lock", lock("0.2.131").as_str())])).len(), 1);
    }
}
