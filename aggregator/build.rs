//! Puts the dashboard into the binary, where `cargo xtask dashboard` has built it.
//!
//! It must never build it: without Node there is a binary all the same, which says at `/` how to get the page.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboard/dist");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut list = String::from("&[");
    for (name, path) in files(&dist) {
        let compressed = dist.join(format!("{name}.gz"));
        write!(
            list,
            "File {{ name: {name:?}, bytes: include_bytes!({path:?}), compressed: include_bytes!({compressed:?}) }},"
        )?;
    }
    list.push(']');
    let made = std::env::var_os("OUT_DIR").ok_or("cargo names no folder")?;
    fs::write(PathBuf::from(made).join("dashboard.rs"), list)?;
    Ok(())
}

/// The built files that have their compressed form beside them, by name.
fn files(dist: &Path) -> Vec<(String, PathBuf)> {
    let entries = dist.read_dir().into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            dist.join(format!("{name}.gz")).is_file().then(|| (name, entry.path()))
        })
        .collect();
    files.sort();
    files
}
