//! Several aggregators on one database, without an edge: what one of them may do to another's work.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed, SigningKeys};
use shared::wire::INGEST_PATH;

use crate::client::Call;
use crate::clock;
use crate::config::meter_program;
use crate::poll::eventually;
use crate::program::Program;
use crate::scratch::Scratch;
use crate::secrets::Secrets;

/// A start migrates the database; machines that run other tests take longer.
const READY_MAX: Duration = Duration::from_secs(60);

/// Signs as the edge does.
#[derive(Debug, Clone)]
pub struct Signer(SigningKeys);

impl Signer {
    /// A rightly signed flush.
    ///
    /// # Errors
    /// When there is no key, which is never.
    pub fn flush(&self, body: &str) -> Result<Call> {
        let key = self.0.current(Purpose::Edge).context("no key of the edge")?;
        let signed = Signed { method: "POST", path: INGEST_PATH, body: body.as_bytes() };
        let signature = signed.sign(key, clock::now());
        Ok(Call::post(INGEST_PATH, body.to_owned()).json().header(SIGNATURE_HEADER, signature))
    }
}

/// Aggregators that share a database.
#[derive(Debug)]
pub struct Servers {
    // The programs come before the folder that they write to, so that they are ended before it is removed.
    running: Vec<Option<Program>>,
    addresses: Vec<SocketAddr>,
    scratch: Scratch,
    program: PathBuf,
    secrets: Secrets,
    database: String,
    edge: SocketAddr,
    paid: bool,
}

impl Servers {
    /// Names the database, empty or an SQLite file in a folder of its own, and starts nothing yet.
    ///
    /// # Errors
    /// When the aggregator's program is missing.
    pub fn on(postgres: Option<String>, edge: Option<SocketAddr>) -> Result<Self> {
        let scratch = Scratch::new()?;
        let file = format!("sqlite://{}", scratch.path().join("meter.db").display());
        Ok(Self {
            running: Vec::new(),
            addresses: Vec::new(),
            program: meter_program()?,
            secrets: Secrets::draw()?,
            database: postgres.unwrap_or(file),
            // Where there is no edge, nobody listens.
            edge: edge.map_or_else(kit::ports::free, Ok)?,
            scratch,
            paid: false,
        })
    }

    /// With an account at a Stripe that nobody answers for: deliveries are taken in all the same.
    #[must_use]
    pub fn paid(self) -> Self {
        Self { paid: true, ..self }
    }

    /// The secret of its deliveries.
    #[must_use]
    pub fn stripe_secret(&self) -> &str {
        self.secrets.stripe_webhook.split(',').next().unwrap_or_default()
    }

    /// The URL of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Starts one more, on a day that has time left for a test, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add(&mut self) -> Result<SocketAddr> {
        clock::with_seconds_of_day(clock::TEST_SECONDS_MAX).await;
        let address = kit::ports::free()?;
        self.addresses.push(address);
        self.running.push(None);
        let index = self.addresses.len().saturating_sub(1);
        self.launch(index)?;
        self.ready(index).await?;
        Ok(address)
    }

    /// Starts one of them without waiting for it.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn launch(&mut self, index: usize) -> Result<()> {
        let address = *self.addresses.get(index).context("no such server")?;
        let mut command = self.command(&["serve"]);
        command.env("METER_LISTEN", address.to_string());
        let program = Program::start(&mut command, &self.log_path(index))?;
        *self.running.get_mut(index).context("no such server")? = Some(program);
        Ok(())
    }

    /// Waits until it is ready; one that could not start, because its database was gone, is started again.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn ready(&mut self, index: usize) -> Result<()> {
        let address = *self.addresses.get(index).context("no such server")?;
        eventually("the aggregator", READY_MAX, async || {
            let dead = match self.running.get_mut(index).and_then(Option::as_mut) {
                Some(program) => program.check_alive().is_err(),
                None => true,
            };
            if dead {
                self.launch(index)?;
            }
            Ok((Call::get("/readyz").send(address).await?.status == 200).then_some(()))
        })
        .await
    }

    /// `kill -9`; returns when the process is gone.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        match self.running.get_mut(index).context("no such server")?.take() {
            Some(mut program) => program.kill(),
            None => Ok(()),
        }
    }

    /// The process of a server that runs.
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.running.get(index)?.as_ref().map(Program::pid)
    }

    /// Runs a `meter` command on the database.
    ///
    /// # Errors
    /// When the command fails; what it said is told.
    pub fn meter(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output()?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(output.status.success(), "meter {}: {}", arguments.join(" "), said(&output.stderr));
        Ok(said(&output.stdout))
    }

    /// Makes an Enterprise project that no limit stops, and the token of its owner.
    ///
    /// # Errors
    /// When a command fails.
    pub fn project(&self, id: &str, included: u64) -> Result<String> {
        let included = included.to_string();
        let words =
            ["project", "create", id, "--plan", "enterprise", "--rpm", "1000000", "--included", &included];
        self.meter(&words)?;
        let made = self.meter(&["token", "create", "--project", id, "--role", "owner", "--json"])?;
        let made: Value = serde_json::from_str(&made)?;
        Ok(made.get("token").and_then(Value::as_str).context("no token")?.to_owned())
    }

    /// A path for something that a test keeps beside their logs.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// What signs flushes for all of them.
    ///
    /// # Errors
    /// Never with secrets that the harness drew.
    pub fn signer(&self) -> Result<Signer> {
        Ok(Signer(self.secrets.signing()?))
    }

    /// What all servers have logged, one after the other.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn logs(&self) -> Result<String> {
        let mut all = String::new();
        for index in 0..self.addresses.len() {
            all.push_str(&fs::read_to_string(self.log_path(index))?);
        }
        Ok(all)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(self.scratch.path())
            .env("METER_KEY_SECRETS", &self.secrets.key_secrets)
            .env("METER_SIGNING_KEYS", &self.secrets.signing_keys)
            .env("DATABASE_URL", &self.database)
            .env("EDGE_URL", format!("http://{}", self.edge))
            .env("METER_WEBHOOKS_ALLOW_LOOPBACK", "1")
            .env("METER_TEST", "1");
        if self.paid {
            command
                .env("STRIPE_SECRET_KEY", &self.secrets.stripe_key)
                .env("STRIPE_WEBHOOK_SECRET", &self.secrets.stripe_webhook)
                .env("STRIPE_API_BASE", "http://127.0.0.1:1");
        }
        command
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.scratch.path().join(format!("meter-{index}.log"))
    }
}
