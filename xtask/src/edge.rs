//! Builds the bundle: the scripts of the worker that decides and of the worker with the homes, for each `meter.js`
//! (wasm-bindgen's glue) and `meter_bg.wasm`, and `workerd.capnp`.
//!
//! Cargo decides whether the wasm is new; the glue is made again only when the wasm or xtask itself is newer.
//! It must never change what the scripts do, beyond putting the glue into one file.

pub(crate) mod example;
mod first_answer;
mod glue;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::Value;

use crate::config;
use crate::process;
use crate::progress::Progress;
use crate::{toolchain, tools};

/// The glue and the wasm of each worker.
const GLUE: &str = "meter.js";
const WASM: &str = "meter_bg.wasm";
/// What the glue exports, for the scripts' compiler.
const TYPES: &str = "meter.d.ts";
/// What workerd runs.
const CONFIG: &str = "workerd.capnp";

/// One worker of the bundle.
#[derive(Debug)]
struct Worker {
    /// Its package.
    package: &'static str,
    /// What it is called in what xtask tells.
    name: &'static str,
    /// Its place below the bundle's folder.
    place: &'static str,
    /// The folder of its scripts, below the repository's root.
    folder: &'static str,
    /// Scripts of the other worker that it has, too.
    borrowed: &'static [&'static str],
}

/// The one that decides: each new isolate loads it.
const EDGE: Worker =
    Worker { package: "meter-edge", name: "edge", place: "", folder: "edge/js", borrowed: &[] };

/// The one with the homes.
const HOMES: Worker = Worker {
    package: "meter-homes",
    name: "homes",
    place: "homes",
    folder: "homes/js",
    borrowed: &["edge/js/platform.js", "edge/js/traces.js"],
};

/// The built workers.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// The folder with their files.
    pub(crate) folder: PathBuf,
}

impl Bundle {
    /// The configuration that workerd runs.
    pub(crate) fn workerd_config(&self) -> PathBuf {
        self.folder.join(CONFIG)
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
    let time = first_answer::measure(&tools::workerd()?, &bundle)?;
    eprintln!("  ✓ first answer {} ms after the start of workerd", time.as_millis());
    if options.examples { example::build() } else { Ok(()) }
}

/// Builds both workers, if anything has changed, and says how large they are.
pub(crate) fn build() -> Result<Bundle> {
    let messages = compile()?;
    let folder = config::target().join("edge");
    fs::create_dir_all(&folder)?;
    let capnp =
        fs::read(config::root().join("edge").join(CONFIG)).context("cannot read edge/workerd.capnp")?;
    write_if_new(&folder.join(CONFIG), &capnp)?;
    for worker in [EDGE, HOMES] {
        worker.put(&messages, &folder.join(worker.place))?;
    }
    Ok(Bundle { folder })
}

/// Compiles the workers, and returns cargo's messages, which name the wasm files.
fn compile() -> Result<String> {
    let toolchain = toolchain::wasm()?;
    let mut messages = String::new();
    for worker in [EDGE, HOMES] {
        let mut cargo = toolchain.cargo("rustc");
        // Only here is the library a program: one that others use, too, would be linked without optimising the whole.
        cargo.args(["--package", worker.package, "--lib", "--crate-type", "cdylib", "--profile", "edge"]);
        cargo.arg("--message-format=json-render-diagnostics");
        messages += &process::run(&format!("{}, {}", worker.name, toolchain.describe()), &mut cargo)?;
    }
    Ok(messages)
}

impl Worker {
    /// Makes its files, and tells what they weigh.
    fn put(&self, messages: &str, folder: &Path) -> Result<()> {
        let wasm = wasm_file(messages, self.package).ok_or_else(|| {
            anyhow!("cargo built {}, but no wasm file for {}", self.package, toolchain::TARGET)
        })?;
        fs::create_dir_all(folder)?;
        let scripts = self.scripts()?;
        for script in &scripts {
            let text = fs::read(script).with_context(|| format!("cannot read {}", script.display()))?;
            write_if_new(&folder.join(name_of(script)), &text)?;
        }
        if is_outdated(folder, &wasm) {
            let progress = Progress::start(&format!("{}, glue", self.name));
            let glue = glue::make(&wasm, "meter")?;
            write_if_new(&folder.join(WASM), &glue.wasm)?;
            write_if_new(&folder.join(TYPES), glue.types.as_bytes())?;
            // Last, because its age tells whether all of this has to be done again.
            write_new(&folder.join(GLUE), glue.javascript.as_bytes())?;
            progress.done();
        }
        self.weigh(folder, &scripts);
        Ok(())
    }

    /// Its scripts.
    fn scripts(&self) -> Result<Vec<PathBuf>> {
        let root = config::root();
        let folder = root.join(self.folder);
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let all = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let is_script = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "js");
        let borrowed = self.borrowed.iter().map(|path| root.join(path));
        Ok(all.into_iter().filter(is_script).chain(borrowed).collect())
    }

    /// Tells how large its modules are, as they are and as they travel.
    fn weigh(&self, folder: &Path, scripts: &[PathBuf]) {
        let scripts = scripts.iter().map(|path| name_of(path)).chain([OsStr::new(GLUE)]);
        let (wasm, wasm_packed) = sizes(folder, [OsStr::new(WASM)].into_iter());
        let (scripts, scripts_packed) = sizes(folder, scripts);
        let kib = |bytes: u64| bytes.div_ceil(1024);
        let packed = wasm_packed.zip(scripts_packed).map_or_else(String::new, |(wasm, scripts)| {
            let all = kib(wasm.saturating_add(scripts));
            format!("; gzip {all} KiB: {} and {}", kib(wasm), kib(scripts))
        });
        eprintln!("  ✓ {}: {WASM} {} KiB, scripts {} KiB{packed}", self.name, kib(wasm), kib(scripts));
    }
}

/// Gives a program the secrets that workers must have. They protect nothing: it answers on loopback, for a moment.
pub(crate) fn give_secrets(command: &mut Command) {
    let secret = "5e".repeat(32);
    let keys = ["edge", "policy", "upstream"].map(|purpose| format!("{purpose}:k1:{secret}"));
    command.env("METER_KEY_SECRETS", format!("1:{secret}")).env("METER_SIGNING_KEYS", keys.join(","));
}

/// A file's name.
fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// Finds a package's wasm file in cargo's messages.
fn wasm_file(messages: &str, package: &str) -> Option<PathBuf> {
    let target = package.replace('-', "_");
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter(|artifact| artifact.pointer("/target/name").is_some_and(|name| *name == *target))
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

/// The size of some of its files together, and packed in one piece, as they are deployed, where there is a gzip.
fn sizes<'a>(folder: &Path, names: impl Iterator<Item = &'a OsStr>) -> (u64, Option<u64>) {
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
    fn the_wasm_file_is_the_one_that_cargo_names_for_the_package() {
        let messages = concat!(
            r#"{"target":{"name":"shared"},"filenames":["/x/libshared.rlib"]}"#,
            "\nnot json\n",
            r#"{"target":{"name":"meter_edge"},"filenames":["/x/meter_edge.wasm","/x/libmeter_edge.rlib"]}"#,
            "\n",
            r#"{"target":{"name":"other"},"filenames":["/x/other.wasm"]}"#,
        );
        assert_eq!(wasm_file(messages, "meter-edge"), Some(PathBuf::from("/x/meter_edge.wasm")));
        assert_eq!(wasm_file(messages, "shared"), None);
        assert_eq!(wasm_file(messages, "homes"), None);
    }
}
