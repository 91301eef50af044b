//! A reporter as a customer runs it: the real program on a free port, with a folder of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::client::{Answer, Call};
use crate::config;
use crate::poll::eventually;
use crate::program::Program;
use crate::scratch::Scratch;

/// How long the program may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a network that has nothing but itself, and becomes the program in it.
const APART: &str = r#"ip link set lo up && exec "$@""#;

/// A reporter's key of these tests.
#[must_use]
pub fn key(id: &str, byte: &str) -> String {
    format!("pvr_plant-7_{id}_{}", byte.repeat(32))
}

/// A reporter.
#[derive(Debug)]
pub struct OnPremise {
    scratch: Scratch,
    program: Option<Program>,
    address: SocketAddr,
    settings: BTreeMap<String, String>,
    apart: bool,
}

impl OnPremise {
    /// A reporter that is not started yet, and reports there.
    ///
    /// # Errors
    /// When no port is free.
    pub fn new(aggregator: &str) -> Result<Self> {
        let (scratch, address) = (Scratch::new()?, kit::ports::free()?);
        let mut settings = BTreeMap::new();
        let data = scratch.path().join("data").display().to_string();
        for (name, value) in [
            ("TELEMETRY_ENDPOINT", aggregator),
            ("TELEMETRY_HMAC_KEY", &key("k1", "ab")),
            ("METER_REPORTER_DATA", &data),
            ("METER_REPORTER_LISTEN", &address.to_string()),
            ("METER_TEST", "1"),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self { scratch, program: None, address, settings, apart: false })
    }

    /// The same with another setting.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// The same in a network of its own, with no way out of it. Whoever makes one must be root, of the machine or of a
    /// user namespace.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Changes a setting, for its next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A folder of this test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.program.as_ref().map(Program::pid)
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn start(&mut self) -> Result<()> {
        let mut command = self.command(&[])?;
        if self.apart {
            command = apart(&command);
        }
        let mut program = Program::start(&mut command, &self.scratch.path().join("log"))?;
        let (address, network) = (self.address, self.apart.then(|| program.pid()));
        eventually("a reporter that answers", PATIENCE, async || {
            program.check_alive()?;
            Ok(asked(network, address, Call::get("/healthz")).await.ok())
        })
        .await?;
        self.program = Some(program);
        Ok(())
    }

    /// Asks it something, from within its network.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, call: Call) -> Result<Answer> {
        asked(self.pid().filter(|_| self.apart), self.address, call).await
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.program.take().context("it does not run")?.kill()
    }

    /// Asks it to stop, and waits for its end.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(&mut self) -> Result<()> {
        let status = self.program.take().context("it does not run")?.terminate(PATIENCE).await?;
        ensure!(status.success(), "it ended with {status}: {}", self.log());
        Ok(())
    }

    /// Counts.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn count(&self, body: &str) -> Result<Answer> {
        self.ask(Call::post("/count", body.to_owned()).json()).await
    }

    /// Has it send now; what came of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self) -> Result<Value> {
        self.ask(Call::post("/send", "")).await?.ok()
    }

    /// How it is.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn status(&self) -> Result<Value> {
        self.ask(Call::get("/status")).await?.ok()
    }

    /// Waits until it is in that state.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn is(&self, state: &str) -> Result<Value> {
        eventually(state, PATIENCE, async || {
            let status = self.status().await?;
            Ok((status.get("state").and_then(Value::as_str) == Some(state)).then_some(status))
        })
        .await
    }

    /// Waits until a report of it was acknowledged.
    ///
    /// # Errors
    /// When none is in time.
    pub async fn is_heard(&self) -> Result<()> {
        eventually("a receipt", PATIENCE, async || {
            let status = self.status().await?;
            Ok((status.get("acknowledged").and_then(Value::as_u64) > Some(0)).then_some(()))
        })
        .await
    }

    /// Moves its clock.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn move_clock(&self, offset_ms: u64) -> Result<()> {
        let call = Call::post("/internal/clock", format!(r#"{{"offset_ms":{offset_ms}}}"#));
        let _: Value = self.ask(call.json()).await?.ok()?;
        Ok(())
    }

    /// Runs one of its commands; what it printed, and whether it succeeded.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> Result<(bool, String, String)> {
        let mut command = self.command(arguments)?;
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((output.status.success(), text(output.stdout), text(output.stderr)))
    }

    /// The program with its settings, and none of ours.
    ///
    /// # Errors
    /// When it is missing.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(config::reporter()?);
        command.args(arguments).env_clear().envs(&self.settings);
        Ok(command)
    }
}

/// The same program with the same arguments and settings, in a network of its own.
fn apart(command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--net", "sh", "-c", APART, "sh"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    // It inherits where `unshare` and `ip` are.
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped
}

/// Sends a call in the network of that process, or in ours.
async fn asked(network: Option<u32>, address: SocketAddr, call: Call) -> Result<Answer> {
    let Some(process) = network else { return call.send(address).await };
    // A thread of its own enters the network and ends with it; what listens and waits elsewhere stays where it is.
    let thread = std::thread::spawn(move || {
        setns(std::fs::File::open(format!("/proc/{process}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(call.send(address))
    });
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| anyhow!("the thread within the network has panicked"))?
}
