//! What servers that are started together have in common: a folder of their own, and that they are waited for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

const LOOK_PAUSE: Duration = Duration::from_millis(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new folder, whose owner's servers end before it. It goes with its owner, unless a test has failed.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// One whose name tells what it is for.
    pub(crate) fn new(what: &str) -> Self {
        let name = format!("meter-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    /// A place in it.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            // There is nobody left to tell of a failure.
            fs::remove_dir_all(&self.0).ok();
        }
    }
}

/// Looks again and again, so often at most, until it is so.
pub(crate) fn wait(looks_max: u32, what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    for _ in 0..looks_max {
        if is_so()? {
            return Ok(());
        }
        thread::sleep(LOOK_PAUSE);
    }
    bail!("not so: {what}")
}
