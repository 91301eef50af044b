//! The folder of one run, below `target/`, so that what is written durably is written where the repository lies:
//! a folder in memory would flatter whatever writes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder; removed at the end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes an empty folder, and removes those of runs that were killed.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            let owner_lives = Path::new("/proc").join(entry.file_name()).exists();
            if !owner_lives {
                let left = entry.path();
                fs::remove_dir_all(&left).with_context(|| format!("cannot remove {}", left.display()))?;
            }
        }
        let path = parent.join(std::process::id().to_string());
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A folder in it.
    pub(crate) fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
