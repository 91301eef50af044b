//! What stands beside the meter where its users live, each run as they run it, against real servers.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::config;
use tests::poll::eventually;
use tests::stack::Stack;
use tokio::net::TcpStream;

mod bench;
mod clients;
mod deploy;
mod documented;
mod images;
mod observe;
mod operate;
mod proxy;
mod receivers;
mod traces;
mod upgrade;
mod upstreams;

/// Generous, because the machine is shared.
const READY_MAX: Duration = Duration::from_secs(30);

/// A place in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Copies a folder of the repository, without what is made in it, so that it is built beside nobody's own files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    const MADE: [&str; 5] = ["node_modules", "dist", "generated", "__pycache__", ".venv"];
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if !MADE.iter().any(|made| name == *made) {
                copy(&entry.path(), &target)?;
            }
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Runs a program to its end, and tells all it said if it fails; what it said otherwise.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(said)
}

/// Tells a program where this stack's servers are, and a token of an operator.
fn with_stack<'a>(command: &'a mut Command, stack: &Stack) -> Result<&'a mut Command> {
    let made: Value = serde_json::from_str(&stack.meter(&["token", "create", "--operator", "--json"])?)?;
    let token = made.get("token").and_then(Value::as_str).context("a token")?;
    Ok(command
        .env("METER_TOKEN", token)
        .env("METER_URL", format!("http://{}", stack.aggregator()))
        .env("METER_EDGE", format!("http://{}", stack.edge())))
}

/// Compiles one file of TypeScript, strictly, into a folder; what it imports is linked there.
fn compile(source: &Path, folder: &Path, file: &str) -> Result<()> {
    fs::create_dir_all(folder.join("node_modules"))?;
    fs::copy(source.join(file), folder.join(file))?;
    fs::write(folder.join("package.json"), r#"{"type":"module"}"#)?;
    let tools = config::typescript_client_packages()?;
    let library = config::webhook_library()?.join("node_modules/standardwebhooks");
    for (name, package) in [("@types", tools.join("@types")), ("standardwebhooks", library)] {
        symlink(package.canonicalize()?, folder.join("node_modules").join(name))?;
    }
    let mut tsc = Command::new(tools.join(".bin/tsc"));
    tsc.args(["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "--types", "node"]);
    run(tsc.arg(file).current_dir(folder)).map(|_| ())
}

/// A program that runs as long as this does.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts it; what it says goes to a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = fs::File::create(log)?;
        command.stdout(file.try_clone()?).stderr(file);
        Ok(Self(command.spawn().with_context(|| format!("{command:?}"))?))
    }

    /// Its process.
    fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it listens there.
    pub(crate) async fn listens(&self, at: SocketAddr) -> Result<()> {
        eventually("it listens", READY_MAX, async || {
            TcpStream::connect(at).await?;
            Ok(Some(()))
        })
        .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What has ended already cannot be killed; there is nobody left to tell.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
