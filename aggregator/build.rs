//! Puts the dashboard and the documentation into the binary, where `cargo xtask dashboard` and `cargo xtask docs` have
//! built them.
//!
//! It must never build them: without Node there is a binary all the same, which says at `/` how to get the page.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let made = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no folder")?);
    println!("cargo:rerun-if-changed=build.rs");
    fs::write(made.join("dashboard.rs"), dashboard(&root.join("dashboard/dist"))?)?;
    fs::write(made.join("docs.rs"), docs(&root.join("docs/dist"))?)?;
    Ok(())
}

/// The built files that have their compressed form beside them, by name.
fn dashboard(dist: &Path) -> Result<String, std::fmt::Error> {
    println!("cargo:rerun-if-changed={}", dist.display());
    let entries = dist.read_dir().into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            dist.join(format!("{name}.gz")).is_file().then(|| (name, entry.path()))
        })
        .collect();
    files.sort();
    let mut list = String::from("&[");
    for (name, path) in files {
        let compressed = dist.join(format!("{name}.gz"));
        write!(list, "({name:?}, include_bytes!({path:?}), Some(include_bytes!({compressed:?}))),")?;
    }
    list.push(']');
    Ok(list)
}

/// Every file of the site, by its path in it.
fn docs(dist: &Path) -> Result<String, Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    if dist.is_dir() {
        add(dist, &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[");
    for path in files {
        let name = path.strip_prefix(dist)?.to_str().ok_or("a name that is no text")?;
        write!(list, "({name:?}, include_bytes!({path:?}), None),")?;
    }
    list.push(']');
    Ok(list)
}

fn add(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            add(&path, files)?;
        } else if !path.ends_with(".gitignore") {
            files.push(path);
        }
    }
    Ok(())
}
