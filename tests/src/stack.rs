//! The whole meter on free ports in a private folder: workerd with the bundle, `meter serve`, and
//! the demo upstream.
//!
//! Each part can be killed and started again; what it has stored stays. A test that passes ends with
//! [`Stack::finish`]; whatever is dropped before that keeps its folder and tells its logs.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::key::KeySecrets;
use shared::sign::SigningKeys;

use crate::client::Call;
use crate::clock;
use crate::config::{self, Parts};
use crate::poll::eventually;
use crate::program::{Program, tail};
use crate::scratch::Scratch;
use crate::secrets::Secrets;
use crate::small_disk;

/// A part that has not answered after this long will not; generous, because the machine is shared.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long a part may take to stop politely.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A part of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `meter serve`.
    Aggregator,
    /// Another `meter serve` on the same database, which only [`Stack::begin`] starts.
    Replica,
    /// workerd with the worker's bundle.
    Edge,
    /// The demo governance upstream.
    Upstream,
    /// The simulated Stripe, where [`Options::stripe`] asks for it.
    Stripe,
    /// The Redis with the homes, where [`Options::counters`] says so.
    Redis,
}

/// What holds the homes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counters {
    /// Objects of the edge.
    Objects,
    /// A Redis, which is Valkey's server.
    Redis,
    /// Durable Objects, with such a Redis beside them that homes may move to.
    Both,
}

impl Default for Counters {
    /// What `METER_TEST_COUNTERS` says: one suite runs on both.
    fn default() -> Self {
        if config::counts_in_redis() { Self::Redis } else { Self::Objects }
    }
}

impl Part {
    const ALL: [Self; 6] =
        [Self::Redis, Self::Stripe, Self::Aggregator, Self::Replica, Self::Upstream, Self::Edge];

    fn name(self) -> &'static str {
        match self {
            Self::Aggregator => "aggregator",
            Self::Replica => "replica",
            Self::Edge => "edge",
            Self::Upstream => "upstream",
            Self::Stripe => "stripe",
            Self::Redis => "redis",
        }
    }
}

/// How a stack differs from the usual one.
#[derive(Debug, Default)]
pub struct Options {
    /// What stands at the upstream's place; the demo upstream is not started then.
    pub upstream: Option<SocketAddr>,
    /// What stands at the aggregator's place, as the edge sees it.
    pub aggregator_of_edge: Option<SocketAddr>,
    /// The text of `METER_ROUTES`.
    pub routes: Option<String>,
    /// Whether isolates decide by leases instead of asking the home.
    pub leases: bool,
    /// Whether the aggregator has an account at a simulated Stripe, which keeps its state through a kill.
    pub stripe: bool,
    /// How many sub-homes stand between isolates and the home, with leases.
    pub sub_homes: u32,
    /// Further variables of the edge.
    pub edge_settings: Vec<(&'static str, String)>,
    /// Further variables of the aggregator.
    pub aggregator_settings: Vec<(&'static str, String)>,
    /// The URL of a Postgres database, where the books are not to be on SQLite.
    pub database: Option<String>,
    /// Whether `meter clock advance` works.
    pub moving_clock: bool,
    /// Which of `examples/` runs in the edge's place, with the meter beside it.
    pub example: Option<&'static str>,
    /// Whether the test makes the edge panic.
    pub panics: bool,
    /// The part whose data is on a small disk of its own, which [`Stack::fill`] fills.
    pub small_disk: Option<Part>,
    /// Parts that the test starts by itself later.
    pub later: Vec<Part>,
    /// What holds the homes.
    pub counters: Counters,
    /// Settings of the Redis beyond those that make it lasting.
    pub redis_settings: Vec<&'static str>,
    /// Which program the Redis is, where it is not Valkey's server.
    pub redis_program: Option<PathBuf>,
    /// What `REDIS_URL` and `REDIS_REPLICAS` say where the test starts the Redis by itself.
    pub redis_of_test: Option<(String, u32)>,
}

impl Options {
    /// An aggregator with payments whose clock can be moved, and nothing beside it until it is begun.
    #[must_use]
    pub fn payments() -> Self {
        let later = vec![Part::Edge, Part::Upstream];
        Self { stripe: true, moving_clock: true, later, ..Self::default() }
    }
}

/// A running meter.
#[derive(Debug)]
pub struct Stack {
    // The parts come before the folder that they write to, so that they are ended before it is removed.
    running: Vec<(Part, Program)>,
    scratch: Scratch,
    parts: Parts,
    secrets: Secrets,
    options: Options,
    aggregator: SocketAddr,
    replica: SocketAddr,
    edge: SocketAddr,
    upstream: SocketAddr,
    gateway: SocketAddr,
    stripe: SocketAddr,
    redis: SocketAddr,
    finished: bool,
}

impl Stack {
    /// Starts every part and waits until all of them answer.
    ///
    /// # Errors
    /// When a part is missing or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a stack whose isolates decide by leases.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub async fn start_leasing() -> Result<Self> {
        Self::start_with(Options { leases: true, ..Options::default() }).await
    }

    /// Starts a stack that differs from the usual one.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub async fn start_with(options: Options) -> Result<Self> {
        clock::with_seconds_of_day(clock::TEST_SECONDS_MAX).await;
        let mut stack = Self {
            running: Vec::new(),
            scratch: Scratch::new()?,
            parts: Parts::find()?,
            secrets: Secrets::draw()?,
            aggregator: kit::ports::free()?,
            replica: kit::ports::free()?,
            edge: kit::ports::free()?,
            gateway: kit::ports::free()?,
            upstream: match options.upstream {
                Some(other) => other,
                None => kit::ports::free()?,
            },
            stripe: kit::ports::free()?,
            redis: kit::ports::free()?,
            options,
            finished: false,
        };
        fs::create_dir(stack.homes())?;
        fs::create_dir(stack.books())?;
        let wanted = |part: &Part| !stack.options.later.contains(part);
        let is_ours = |part: &Part| match part {
            Part::Aggregator | Part::Edge => true,
            Part::Replica => false,
            Part::Upstream => stack.options.upstream.is_none(),
            Part::Stripe => stack.options.stripe,
            Part::Redis => stack.has_redis() && stack.options.redis_of_test.is_none(),
        };
        let now: Vec<_> = Part::ALL.into_iter().filter(wanted).filter(is_ours).collect();
        for part in now {
            stack.launch(part)?;
            if part == Part::Redis {
                // The aggregator looks at once what it promises.
                stack.ready().await?;
            }
        }
        stack.ready().await?;
        Ok(stack)
    }

    /// Where clients connect.
    #[must_use]
    pub fn edge(&self) -> SocketAddr {
        self.edge
    }

    /// Where the aggregator listens.
    #[must_use]
    pub fn aggregator(&self) -> SocketAddr {
        self.aggregator
    }

    /// Where this stack's files are; they go with it.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Where the upstream listens.
    #[must_use]
    pub fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    /// Where the simulated Stripe listens.
    #[must_use]
    pub fn stripe(&self) -> SocketAddr {
        self.stripe
    }

    /// Where the Redis listens.
    #[must_use]
    pub fn redis(&self) -> SocketAddr {
        self.redis
    }

    /// Whether homes are in a Redis.
    #[must_use]
    pub fn counts_in_redis(&self) -> bool {
        self.options.counters == Counters::Redis
    }

    fn has_redis(&self) -> bool {
        self.options.counters != Counters::Objects
    }

    /// Where the example listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// The secret key of the account at the simulated Stripe.
    #[must_use]
    pub fn stripe_key(&self) -> &str {
        &self.secrets.stripe_key
    }

    /// What deliveries of the simulated Stripe are signed with, one signature for each.
    pub fn stripe_secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.stripe_webhook.split(',')
    }

    /// The first of these secrets.
    #[must_use]
    pub fn stripe_secret(&self) -> &str {
        self.stripe_secrets().next().unwrap_or_default()
    }

    /// Under which this stack's project keys are made.
    ///
    /// # Errors
    /// Never with secrets that the harness drew.
    pub fn key_secrets(&self) -> Result<KeySecrets> {
        self.secrets.keys()
    }

    /// The signing keys of this stack's machines.
    ///
    /// # Errors
    /// Never with secrets that the harness drew.
    pub fn signing_keys(&self) -> Result<SigningKeys> {
        self.secrets.signing()
    }

    /// The text of `METER_SIGNING_KEYS`, for parts that a test starts by itself.
    #[must_use]
    pub fn signing_text(&self) -> &str {
        &self.secrets.signing_keys
    }

    /// The text of `METER_KEY_SECRETS`, for parts that a test starts by itself.
    #[must_use]
    pub fn key_secrets_text(&self) -> &str {
        &self.secrets.key_secrets
    }

    /// Every secret that the parts share, for tests that look for them where they must not be.
    #[must_use]
    pub fn secret_texts(&self) -> Vec<String> {
        let all = [&self.secrets.key_secrets, &self.secrets.signing_keys];
        let entries = all.into_iter().flat_map(|text| text.split(','));
        entries.filter_map(|entry| entry.rsplit(':').next()).map(str::to_owned).collect()
    }

    /// Starts parts that are not running and waits until all that run answer.
    ///
    /// # Errors
    /// When one does not.
    pub async fn begin(&mut self, parts: &[Part]) -> Result<()> {
        for part in parts {
            self.launch(*part)?;
        }
        self.ready().await
    }

    /// How many sub-homes the aggregator names when it is started again.
    pub fn set_sub_homes(&mut self, count: u32) {
        self.options.sub_homes = count;
    }

    /// Which program the aggregator is from its next start on.
    pub fn set_meter(&mut self, program: &Path) {
        self.parts.meter = program.to_path_buf();
    }

    /// `kill -9`; returns when the process is gone. Its stored data stays.
    ///
    /// # Errors
    /// When the part is not running.
    pub fn kill(&mut self, part: Part) -> Result<()> {
        self.take(part)?.kill()
    }

    /// Stops a part for that long, as a machine does that is short of memory or is moved.
    ///
    /// # Errors
    /// When the part is not running.
    pub async fn stand_still(&self, part: Part, pause: Duration) -> Result<()> {
        let program = self.running.iter().find(|(running, _)| *running == part);
        let (_, program) = program.with_context(|| format!("the {} is not running", part.name()))?;
        program.stop()?;
        tokio::time::sleep(pause).await;
        program.go_on()
    }

    /// Asks a part to stop with SIGTERM, and says how it ended.
    ///
    /// # Errors
    /// When the part is not running or does not end.
    pub async fn terminate(&mut self, part: Part) -> Result<ExitStatus> {
        self.take(part)?.terminate(STOP_MAX).await
    }

    /// Runs a `meter` command on this stack's database.
    ///
    /// # Errors
    /// When the command fails; what it said is told.
    pub fn meter(&self, arguments: &[&str]) -> Result<String> {
        self.meter_with(arguments, &[])
    }

    /// As [`Stack::meter`], with settings that differ from those of the parts.
    ///
    /// # Errors
    /// As [`Stack::meter`].
    pub fn meter_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Result<String> {
        let mut command = Command::new(&self.parts.meter);
        command.args(arguments);
        if self.options.small_disk == Some(Part::Aggregator) {
            command = small_disk::beside(self.process(Part::Aggregator)?, &command);
        }
        let command = self.with_environment(&mut command).envs(settings.iter().copied());
        let output = command.output()?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(
            output.status.success(),
            "meter {}: {}: {}\n{}",
            arguments.join(" "),
            output.status,
            said(&output.stderr),
            said(&output.stdout)
        );
        Ok(said(&output.stdout))
    }

    /// Takes all the room that is left on the small disk.
    ///
    /// # Errors
    /// When there is no small disk, or it cannot be written to.
    pub fn fill(&self) -> Result<()> {
        let (process, folder) = self.small_disk()?;
        small_disk::fill(process, &folder)
    }

    /// Gives back the room that [`Stack::fill`] took.
    ///
    /// # Errors
    /// When none was taken.
    pub fn make_room(&self) -> Result<()> {
        let (process, folder) = self.small_disk()?;
        small_disk::make_room(process, &folder)
    }

    /// Every file that the homes have stored, with its size and content.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn stored_by_homes(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        let mut folders = vec![self.homes()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = fs::read(&path)?;
                    files.push((path, content));
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Everything that a part has written to its log.
    ///
    /// # Errors
    /// When there is no such log yet.
    pub fn log(&self, part: Part) -> Result<String> {
        fs::read_to_string(self.log_path(part)).with_context(|| format!("the log of the {}", part.name()))
    }

    /// Ends a passed test: nothing may have panicked in any part.
    ///
    /// # Errors
    /// When a log speaks of a panic.
    pub fn finish(mut self) -> Result<()> {
        self.running.clear();
        for part in Part::ALL.into_iter().filter(|part| self.log_path(*part).exists()) {
            let log = self.log(part)?;
            let told = ["panicked", "RuntimeError", "unreachable"].iter().find(|word| log.contains(**word));
            let wanted = self.options.panics && part == Part::Edge;
            ensure!(told.is_some() == wanted, "the {} has written {told:?}", part.name());
        }
        self.finished = true;
        Ok(())
    }

    /// The process that sees the small disk, and where.
    fn small_disk(&self) -> Result<(u32, PathBuf)> {
        let part = self.options.small_disk.context("no part has a small disk")?;
        Ok((self.process(part)?, self.data(part)))
    }

    /// The process of a part.
    ///
    /// # Errors
    /// When the part is not running.
    pub fn process(&self, part: Part) -> Result<u32> {
        let running = self.running.iter().find(|(running, _)| *running == part);
        Ok(running.with_context(|| format!("the {} is not running", part.name()))?.1.pid())
    }

    fn take(&mut self, part: Part) -> Result<Program> {
        let at = self.running.iter().position(|(running, _)| *running == part);
        let at = at.with_context(|| format!("the {} is not running", part.name()))?;
        Ok(self.running.remove(at).1)
    }

    fn launch(&mut self, part: Part) -> Result<()> {
        let mut command = match part {
            Part::Aggregator | Part::Replica => self.aggregator_command(),
            Part::Edge => self.edge_command(),
            Part::Upstream => Command::new(&self.parts.demo_upstream),
            Part::Stripe => Command::new(&self.parts.fake_stripe),
            Part::Redis => self.redis_command()?,
        };
        if self.options.small_disk == Some(part) {
            command = small_disk::on_small_disk(&command, &self.data(part), small_disk::BYTES, true);
        }
        self.with_environment(&mut command);
        if part == Part::Replica {
            command.env("METER_LISTEN", self.replica.to_string());
        }
        let program = Program::start(&mut command, &self.log_path(part))?;
        self.running.push((part, program));
        Ok(())
    }

    fn redis_command(&self) -> Result<Command> {
        let folder = self.folder("redis")?;
        let program = self.options.redis_program.clone().map_or_else(config::valkey, Ok)?;
        let mut command = kit::redis::command(&program, &folder, self.redis);
        command.args(kit::redis::LASTING).args(&self.options.redis_settings);
        Ok(command)
    }

    fn aggregator_command(&self) -> Command {
        let mut command = Command::new(&self.parts.meter);
        command.arg("serve");
        command.envs(self.options.aggregator_settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A folder of this stack's own, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A process beside the edge that has no homes: it asks this stack's edge for them. It serves the
    /// socket that is its input.
    pub(crate) fn isolate_command(&self, folder: &Path) -> Command {
        let mut homes = OsString::from("homes=");
        homes.push(folder);
        let mut command = Command::new(&self.parts.workerd);
        command.arg("serve").arg(&self.parts.workerd_config).args(["--socket-fd", "edge=0"]);
        command.arg("--external-addr").arg(format!("aggregator={}", self.aggregator));
        command.arg("--external-addr").arg(format!("upstream={}", self.upstream));
        command.arg("--external-addr").arg(format!("center={}", self.edge));
        command.arg("--directory-path").arg(homes);
        command.envs(self.options.edge_settings.iter().map(|(name, value)| (name, value)));
        self.with_environment(&mut command);
        command.env("METER_HOMES", "remote");
        command
    }

    fn edge_command(&self) -> Command {
        let mut homes = OsString::from("homes=");
        homes.push(self.homes());
        let mut command = Command::new(&self.parts.workerd);
        command.arg("serve");
        match self.options.example {
            Some(name) => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
                let mut import = OsString::from("--import-path=");
                import.push(self.parts.workerd_config.ancestors().nth(2).unwrap_or(Path::new(".")));
                command.arg(import).arg(folder.join("example.capnp"));
                command.arg("--socket-addr").arg(format!("gateway={}", self.gateway));
            }
            None => {
                command.arg(&self.parts.workerd_config);
            }
        }
        command.arg("--socket-addr").arg(format!("edge={}", self.edge));
        let aggregator = self.options.aggregator_of_edge.unwrap_or(self.aggregator);
        command.arg("--external-addr").arg(format!("aggregator={aggregator}"));
        command.arg("--external-addr").arg(format!("upstream={}", self.upstream));
        command.arg("--directory-path").arg(homes);
        if let Some(routes) = &self.options.routes {
            command.env("METER_ROUTES", routes);
        }
        command.envs(self.options.edge_settings.iter().map(|(name, value)| (name, value)));
        command
    }

    fn with_environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let file = self.books().join("meter.db");
        let database =
            self.options.database.clone().unwrap_or_else(|| format!("sqlite://{}", file.display()));
        if self.options.stripe {
            let webhook = format!("http://{}/api/v1/stripe/webhook", self.aggregator);
            command
                .env("STRIPE_SECRET_KEY", &self.secrets.stripe_key)
                .env("STRIPE_WEBHOOK_SECRET", &self.secrets.stripe_webhook)
                .env("STRIPE_API_BASE", format!("http://{}", self.stripe))
                .env("STRIPE_RETURN_URLS", format!("http://{}/", self.aggregator))
                .env("FAKE_STRIPE_LISTEN", self.stripe.to_string())
                .env("FAKE_STRIPE_WEBHOOK", webhook)
                .env("FAKE_STRIPE_STATE", self.scratch.path().join("stripe.json"));
        }
        if self.has_redis() {
            let own = || (format!("redis://{}", self.redis), 0);
            let (url, replicas) = self.options.redis_of_test.clone().unwrap_or_else(own);
            let first = if self.counts_in_redis() { "redis" } else { "durable_object" };
            command.env("COUNTERS", first).env("REDIS_URL", url);
            command.env("REDIS_REPLICAS", replicas.to_string());
        }
        command
            .env("METER_KEY_SECRETS", &self.secrets.key_secrets)
            .env("METER_SIGNING_KEYS", &self.secrets.signing_keys)
            .env("METER_LISTEN", self.aggregator.to_string())
            .env("METER_WEBHOOKS_ALLOW_LOOPBACK", "1")
            .env("DATABASE_URL", database)
            .env("EDGE_URL", format!("http://{}", self.edge))
            .env("DEMO_UPSTREAM_LISTEN", self.upstream.to_string())
            .env("METER_TEST", if self.options.moving_clock { "1" } else { "0" })
            .env("METER_DECISIONS", self.decisions())
    }

    fn decisions(&self) -> String {
        let Options { leases, sub_homes, .. } = &self.options;
        if *leases { format!("lease:{sub_homes}") } else { "home".to_owned() }
    }

    /// Waits until every running part answers.
    async fn ready(&mut self) -> Result<()> {
        let (aggregator, edge, upstream, stripe) = (self.aggregator, self.edge, self.upstream, self.stripe);
        let (replica, redis) = (self.replica, self.redis);
        for (part, program) in &mut self.running {
            let (address, path) = match part {
                Part::Aggregator => (aggregator, "/readyz"),
                Part::Replica => (replica, "/readyz"),
                Part::Edge => (edge, "/healthz"),
                Part::Upstream => (upstream, "/healthz"),
                Part::Stripe => (stripe, "/healthz"),
                Part::Redis => (redis, ""),
            };
            let mut ended = None;
            let answer = eventually(part.name(), READY_MAX, async || {
                if let Err(error) = program.check_alive() {
                    ended = Some(error);
                    return Ok(Some(()));
                }
                if path.is_empty() {
                    return Ok(kit::redis::answers(address)?.then_some(()));
                }
                Ok((Call::get(path).send(address).await?.status == 200).then_some(()))
            });
            answer.await?;
            if let Some(error) = ended {
                return Err(error.context(format!("the {} does not start", part.name())));
            }
        }
        Ok(())
    }

    /// The folder of what that part stores.
    fn data(&self, part: Part) -> PathBuf {
        match part {
            Part::Edge => self.homes(),
            Part::Redis => self.scratch.path().join("redis"),
            Part::Aggregator | Part::Replica | Part::Upstream | Part::Stripe => self.books(),
        }
    }

    fn books(&self) -> PathBuf {
        self.scratch.path().join("books")
    }

    fn homes(&self) -> PathBuf {
        self.scratch.path().join("homes")
    }

    fn log_path(&self, part: Part) -> PathBuf {
        self.scratch.path().join(format!("{}.log", part.name()))
    }

    fn tell(&self, log: &Path) {
        if log.exists() {
            eprintln!("the end of {}:\n{}", log.display(), tail(log));
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !self.finished {
            self.scratch.keep();
            Part::ALL.iter().for_each(|part| self.tell(&self.log_path(*part)));
        }
    }
}
