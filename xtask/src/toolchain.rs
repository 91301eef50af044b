//! Finds, or makes, a toolchain that builds for `wasm32-unknown-unknown`: the one place that knows how.
//!
//! Three ways, tried in this order: the active toolchain has the target; rustup adds it; Debian's own toolchain
//! carries the standard library's source, and the library is built with the crate. It must never change a
//! machine in another way, and it says what it does before anything that takes long.

mod debian;
mod rustup;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::config;
use crate::process::{ask, require_cc};

pub(crate) use rustup::add_components;

/// The platform of the worker.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A toolchain that builds for [`TARGET`].
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The one that runs us.
    Active,
    /// Debian's, which builds the standard library with the crate.
    Debian {
        /// Its `cargo`.
        cargo: OsString,
        /// Its `rustc`.
        rustc: OsString,
    },
}

impl Toolchain {
    /// A cargo command for the worker, such as `build` or `check`, with what is the same for all of them.
    ///
    /// It has a target folder of its own: two compilers would throw each other's work away. Flags and wrappers
    /// that people set are meant for their own machine's code, and are switched off; set to nothing rather than
    /// removed, which also outweighs a configuration file.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = match self {
            Self::Active => Command::new(config::cargo()),
            Self::Debian { cargo, rustc } => {
                let mut command = Command::new(cargo);
                command.env("CARGO", cargo).env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                // rustup's choice, and its libraries' folder, which `cargo run` puts first.
                command.env_remove("RUSTUP_TOOLCHAIN").env_remove("LD_LIBRARY_PATH").env_remove("RUSTDOC");
                command
            }
        };
        command.current_dir(config::root()).arg(verb).args(["--locked", "--target", TARGET]);
        command.arg("--target-dir").arg(config::target().join("wasm"));
        if matches!(self, Self::Debian { .. }) {
            command.args(["-Z", "build-std=std,panic_abort"]);
        }
        command.env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
        command.env("CARGO_ENCODED_RUSTFLAGS", "");
        command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
        command
    }

    /// A name for people.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Active => "active toolchain",
            Self::Debian { .. } => "Debian's toolchain",
        }
    }
}

/// Finds a toolchain for the worker, installing what is missing where that is possible.
pub(crate) fn wasm() -> Result<Toolchain> {
    require_cc()?;
    if active_has_target() {
        return Ok(Toolchain::Active);
    }
    // Where rustup has failed once and Debian's toolchain is there, nobody should wait for rustup every time.
    let settled = config::target().join("wasm").join("debian-toolchain");
    if !settled.exists() || !debian::is_complete() {
        let rustup = rustup::add_target();
        if active_has_target() {
            return Ok(Toolchain::Active);
        }
        if !debian::is_debian() {
            bail!(
                "the worker is built for {TARGET}, and no toolchain here can.\n\
                 Tried: the active toolchain (it lacks the target); rustup ({rustup}).\n\
                 Install rustup and run `rustup target add {TARGET}`, or install your system's package of that target."
            );
        }
        eprintln!("  no {TARGET} in the active toolchain, none by rustup ({rustup}): using Debian's");
    }
    let (cargo, rustc) = debian::toolchain()?;
    if let Some(folder) = settled.parent() {
        fs::create_dir_all(folder)?;
        fs::write(&settled, "rustup could not add the target; remove this file to let it try again\n")?;
    }
    Ok(Toolchain::Debian { cargo, rustc })
}

/// Whether the active compiler has the target's standard library: it names the folder whether or not it exists.
fn active_has_target() -> bool {
    let mut rustc = Command::new(config::rustc());
    let folder = ask(rustc.args(["--target", TARGET, "--print", "target-libdir"]));
    folder.is_some_and(|folder| holds_library(Path::new(folder.trim())))
}

/// An interrupted installation leaves an empty folder, which is as good as none.
fn holds_library(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libcore-")))
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn debians_toolchain_is_driven_without_what_belongs_to_another() {
        let debian = Toolchain::Debian { cargo: "/usr/bin/cargo".into(), rustc: "/usr/bin/rustc".into() };
        let command = debian.cargo("build");
        let set =
            |name: &str| command.get_envs().find(|(key, _)| *key == OsStr::new(name)).map(|(_, value)| value);
        assert_eq!(set("RUSTC"), Some(Some(OsStr::new("/usr/bin/rustc"))));
        assert_eq!(set("CARGO"), Some(Some(OsStr::new("/usr/bin/cargo"))));
        for removed in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "LD_LIBRARY_PATH"] {
            assert_eq!(set(removed), Some(None), "{removed} must be removed");
        }
        for emptied in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            assert_eq!(set(emptied), Some(Some(OsStr::new(""))), "{emptied} must be empty");
        }
        assert!(command.get_args().any(|argument| argument == "build-std=std,panic_abort"));
    }

    #[test]
    fn the_active_toolchain_keeps_its_own_compiler() {
        let command = Toolchain::Active.cargo("check");
        assert!(command.get_envs().all(|(key, _)| key != "RUSTC" && key != "RUSTC_BOOTSTRAP"));
        assert!(!command.get_args().any(|argument| argument == "-Z"));
    }

    #[test]
    fn an_empty_library_folder_counts_as_none() {
        let folder = std::env::temp_dir().join(format!("xtask-{}-libdir", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(!holds_library(&folder));
        assert!(!holds_library(&folder.join("missing")));
        fs::write(folder.join("libcore-0.rlib"), "").unwrap();
        assert!(holds_library(&folder));
        fs::remove_dir_all(folder).unwrap();
    }
}
