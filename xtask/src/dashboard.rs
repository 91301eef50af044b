//! `cargo xtask dashboard`: the page that the aggregator embeds, built where its sources have changed.
//!
//! It must never leave half a page: what is built is stamped last, and a page without its stamp is built again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;
use crate::{config, tools};

/// What the page is made of, beside the types, which are made of the interface's description.
const SOURCES: [&str; 5] = ["src", "build.mjs", "package.json", "package-lock.json", "tsconfig.json"];

/// Builds the page, unless it is built of exactly these sources.
pub(crate) fn build() -> Result<()> {
    let folder = config::root().join("dashboard");
    let stamp = config::target().join("dashboard").join("built.from");
    let sources = written(&folder)?;
    let is_there = folder.join("dist").join("index.html.gz").is_file();
    if is_there && fs::read(&stamp).is_ok_and(|built| built == sources) {
        return Ok(());
    }
    let packages = tools::ensure_from(&folder, "dashboard")?.join("node_modules");
    link(&packages, &folder.join("node_modules"))?;
    let node = config::find_program("node")
        .context("there is no `node` in PATH, and the dashboard is built by it")?;
    fs::remove_file(&stamp).ok();
    let mut command = Command::new(node);
    run("dashboard: types, check, bundle", command.arg("build.mjs").current_dir(&folder))?;
    fs::write(&stamp, sources)?;
    Ok(())
}

/// Makes the packages seen from the sources, for the compiler and for editors.
fn link(packages: &Path, seen: &Path) -> Result<()> {
    if fs::read_link(seen).is_ok_and(|there| there == packages) {
        return Ok(());
    }
    fs::remove_file(seen).ok();
    std::os::unix::fs::symlink(packages, seen).with_context(|| format!("cannot make {}", seen.display()))
}

/// Every source's path and text, one after the other.
fn written(folder: &Path) -> Result<Vec<u8>> {
    let mut files = vec![config::root().join("docs").join("openapi.json")];
    for source in SOURCES {
        add(&folder.join(source), &mut files)?;
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(format!("\n{}\n", file.display()).bytes());
        all.extend(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(all)
}

fn add(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            add(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_path_buf());
    }
    Ok(())
}
