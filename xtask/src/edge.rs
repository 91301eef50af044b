//! Builds the worker's bundle: `entry.js` and its sisters, `meter.js` (wasm-bindgen's glue), `meter_bg.wasm`,
//! `workerd.capnp`.
//!
//! Cargo decides whether the wasm is new; the glue is made again only when the wasm or xtask itself is newer.
//! It must never change what the scripts do, beyond putting the glue into one file.

pub(crate) mod example;
mod first_answer;
mod glue;
mod order;
mod script;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde_json::Value;

use crate::config;
use crate::process;
use crate::progress::Progress;
use crate::{toolchain, tools};

/// The package of the worker.
const PACKAGE: &str = "meter-bundle";
/// The glue and the wasm; the folder also gets [`COPIED`].
const GLUE: &str = "meter.js";
const WASM: &str = "meter_bg.wasm";
/// The names of the wasm's functions, for whoever reads a panic in a log. It stays here.
const NAMES: &str = "meter.names";
/// Files that are copied from `edge/`, the scripts without their comments.
const COPIED: [&str; 10] = [
    "again.js",
    "commit.js",
    "entry.js",
    "home.js",
    "platform.js",
    "reach.js",
    "service.js",
    "sub_home.js",
    "testing.js",
    "workerd.capnp",
];

/// What the bundle may weigh, packed: what it does, and a little for other compilers. It only ever sinks; what was tried
/// and what is left is in docs/decisions.md.
const PACKED_KIB_MAX: u64 = 120;

/// A built worker.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// The folder with its files.
    pub(crate) folder: PathBuf,
    /// What it weighs packed, where there is a gzip.
    packed_kib: Option<u64>,
}

impl Bundle {
    /// The configuration that workerd runs.
    pub(crate) fn workerd_config(&self) -> PathBuf {
        self.folder.join("workerd.capnp")
    }

    /// An error where it weighs more than it may. Only whoever asks for the size is told, not whoever wants to run it.
    pub(crate) fn ensure_small(&self) -> Result<()> {
        let packed = self.packed_kib.unwrap_or_default();
        ensure!(
            packed <= PACKED_KIB_MAX,
            "the bundle is {packed} KiB packed, and may be {PACKED_KIB_MAX}: see \"What the bundle weighs\" in docs/decisions.md"
        );
        Ok(())
    }
}

/// What `cargo xtask edge` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Build `examples/rust-worker` too, into target/examples
    #[arg(long)]
    examples: bool,
}

/// Builds what was asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    let bundle = build()?;
    bundle.ensure_small()?;
    let time = first_answer::measure(&tools::workerd()?, &bundle)?;
    eprintln!("  ✓ first answer {} ms after the start of workerd", time.as_millis());
    if options.examples { example::build() } else { Ok(()) }
}

/// Builds the worker, if anything has changed, and says how large it is.
pub(crate) fn build() -> Result<Bundle> {
    let wasm = compile()?;
    let folder = config::target().join("edge");
    fs::create_dir_all(&folder)?;
    for name in COPIED {
        let source = config::root().join("edge").join(name);
        let text =
            fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
        let text = if name.ends_with(".js") { script::bare(&text)? } else { text };
        write_if_new(&folder.join(name), text.as_bytes())?;
    }
    if is_outdated(&folder, &wasm) {
        let progress = Progress::start("worker glue");
        let glue = glue::make(&wasm, "meter")?;
        let packing = order::improve(&glue.wasm)?;
        write_if_new(&folder.join(WASM), &packing.wasm)?;
        write_if_new(&folder.join(NAMES), packing.names.as_bytes())?;
        // Last, because its age tells whether all of this has to be done again.
        write_new(&folder.join(GLUE), script::bare(&glue.javascript)?.as_bytes())?;
        progress.done();
    }
    let packed_kib = report_size(&folder);
    Ok(Bundle { folder, packed_kib })
}

/// Compiles the worker, and returns the wasm file that cargo names.
fn compile() -> Result<PathBuf> {
    let toolchain = toolchain::wasm()?;
    let mut cargo = toolchain.cargo("build");
    cargo.args(["--package", PACKAGE, "--lib", "--profile", "edge"]);
    cargo.arg("--message-format=json-render-diagnostics");
    let messages = process::run(&format!("worker, {}", toolchain.describe()), &mut cargo)?;
    wasm_file(&messages).ok_or_else(|| {
        anyhow!(
            "cargo built {PACKAGE}, but no wasm file: its [lib] needs crate-type \"cdylib\" for {}",
            toolchain::TARGET
        )
    })
}

/// Finds the wasm file in cargo's messages.
fn wasm_file(messages: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter_map(|artifact| artifact.get("filenames")?.as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .rfind(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

/// Whether the glue has to be made: it is missing, or older than the wasm or than the program that makes it.
fn is_outdated(folder: &Path, wasm: &Path) -> bool {
    let Some(made) = changed(&folder.join(GLUE)) else { return true };
    let maker = std::env::current_exe().ok();
    let sources = [Some(wasm.to_path_buf()), maker];
    !folder.join(WASM).exists()
        || sources.iter().flatten().any(|source| changed(source).is_none_or(|changed| changed > made))
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// Leaves a file alone that already says the same.
fn write_if_new(file: &Path, content: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|present| present == content) { Ok(()) } else { write_new(file, content) }
}

/// Writes beside the place and renames, so that nobody reads half a file.
fn write_new(file: &Path, content: &[u8]) -> Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    fs::write(&draft, content).with_context(|| format!("cannot write {}", file.display()))?;
    fs::rename(&draft, file).with_context(|| format!("cannot write {}", file.display()))
}

/// Says how large the bundle's modules are, as they are and as they travel.
fn report_size(folder: &Path) -> Option<u64> {
    let scripts = COPIED.into_iter().filter(|name| name.ends_with(".js")).chain([GLUE]);
    let (wasm, wasm_packed) = sizes(folder, [WASM].into_iter());
    let (scripts, scripts_packed) = sizes(folder, scripts);
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let packed = wasm_packed.zip(scripts_packed);
    let told = packed.map_or_else(String::new, |(wasm, scripts)| {
        let all = kib(wasm.saturating_add(scripts));
        format!("; gzip {all} KiB of {PACKED_KIB_MAX}: {} and {}", kib(wasm), kib(scripts))
    });
    eprintln!("  ✓ target/edge: {WASM} {} KiB, scripts {} KiB{told}", kib(wasm), kib(scripts));
    packed.map(|(wasm, scripts)| kib(wasm.saturating_add(scripts)))
}

/// The size of some of its files together, and packed in one piece, as they are deployed, where there is a gzip.
fn sizes<'a>(folder: &Path, names: impl Iterator<Item = &'a str>) -> (u64, Option<u64>) {
    let all: Vec<u8> = names.filter_map(|name| fs::read(folder.join(name)).ok()).flatten().collect();
    (u64::try_from(all.len()).unwrap_or(u64::MAX), packed_size(&all))
}

/// The size after `gzip -9`, where there is a gzip.
fn packed_size(content: &[u8]) -> Option<u64> {
    let mut gzip =
        Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut input = gzip.stdin.take()?;
    // Both ends at once: neither holds more than a pipe does.
    let output = thread::scope(|scope| {
        scope.spawn(move || input.write_all(content));
        gzip.wait_with_output()
    });
    let output = output.ok().filter(|output| output.status.success())?;
    u64::try_from(output.stdout.len()).ok()
}

/// Whether wasm-bindgen's crate and the library that makes its glue are of one release; they must be.
pub(crate) fn bindgen_versions_agree(lock: &str) -> bool {
    let version = |name: &str| {
        let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        after.split_once('"').map(|(version, _)| version)
    };
    version("wasm-bindgen") == version("wasm-bindgen-cli-support")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wasm_file_is_the_one_that_cargo_names() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/x/libshared.rlib"]}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","filenames":["/x/meter.wasm","/x/libmeter.rlib"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(wasm_file(messages), Some(PathBuf::from("/x/meter.wasm")));
        assert_eq!(wasm_file(r#"{"filenames":["/x/libmeter.rlib"]}"#), None);
    }
}
