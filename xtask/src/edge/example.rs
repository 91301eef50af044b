//! Builds `examples/rust-worker`, a worker of somebody's own that uses the meter's library, for its test.
//!
//! It must never become part of the meter's bundle.

use anyhow::{Context, Result};

use super::{glue, wasm_file, write_if_new};
use crate::config;
use crate::process::run;
use crate::toolchain;

/// Leaves `worker.js` and `worker_bg.wasm` in `target/examples`.
pub(crate) fn build() -> Result<()> {
    let toolchain = toolchain::wasm()?;
    let mut cargo = toolchain.cargo("build");
    cargo.arg("--manifest-path").arg(config::root().join("examples/rust-worker/Cargo.toml"));
    cargo.args(["--release", "--message-format=json-render-diagnostics"]);
    let messages = run("examples/rust-worker", &mut cargo)?;
    let wasm =
        wasm_file(&messages, "rust-worker").context("cargo built examples/rust-worker, but no wasm file")?;
    let glue = glue::make(&wasm, "worker")?;
    let folder = config::target().join("examples");
    std::fs::create_dir_all(&folder)?;
    write_if_new(&folder.join("worker.js"), glue.javascript.as_bytes())?;
    write_if_new(&folder.join("worker_bg.wasm"), &glue.wasm)
}
