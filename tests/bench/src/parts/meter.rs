//! Ours: the real bundle in workerd, and a real aggregator with a project whose limits no load reaches.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program::Program;
use super::{Places, Redis, workerd};
use crate::open::Line;

/// The binding by which the worker waits before it asks a home.
const HOME_DELAY: &str = "METER_TEST_HOME_DELAY_MS";
const PROJECT: &str = "bench";
/// One whose plan has room for few agents.
const CROWDED: &str = "crowded";
/// The most that a project can have; beyond what a variant is asked in a minute, since it must take turns.
const RPM: &str = "1000000";
/// Beyond what any machine asks in a run.
const INCLUDED: &str = "1000000000";

/// A running aggregator with its project.
#[derive(Debug)]
pub(crate) struct Meter {
    server: Program,
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    address: SocketAddr,
    key: String,
    crowded_key: String,
    /// What the homes are in, where that is a Redis; it ends after the aggregator.
    redis: Option<Redis>,
}

impl Meter {
    /// Starts the aggregator of an edge that will listen there, and makes the project and its key. With the program of a
    /// Redis, the homes are in one of those.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
        edge: SocketAddr,
        redis: Option<&Path>,
    ) -> Result<Self> {
        let address = kit::ports::free()?;
        // These secrets protect nothing: both ends are on loopback, for as long as the benchmark runs.
        let secret = |byte: &str| byte.repeat(32);
        let signing =
            format!("edge:e1:{},policy:p1:{},upstream:u1:{}", secret("a1"), secret("b2"), secret("c3"));
        let redis = redis.map(|file| Redis::start_lasting(file, folder)).transpose()?;
        let mut environment = vec![
            ("METER_KEY_SECRETS", format!("1:{}", secret("d4"))),
            ("METER_SIGNING_KEYS", signing),
            ("METER_LISTEN", address.to_string()),
            ("DATABASE_URL", format!("sqlite://{}", folder.join("meter.db").display())),
            ("EDGE_URL", format!("http://{edge}")),
            // The receiver of the case that times deliveries.
            ("METER_WEBHOOKS_ALLOW_LOOPBACK", "1".to_owned()),
            // What is measured is the lease; without it each request asks its home.
            ("METER_DECISIONS", "lease".to_owned()),
        ];
        if let Some(redis) = &redis {
            environment.push(("COUNTERS", "redis".to_owned()));
            environment.push(("REDIS_URL", format!("redis://{}", redis.address())));
        }
        let mut command = Command::new(program);
        command.arg("serve").envs(environment.iter().map(|(name, value)| (name, value)));
        let mut server = Program::start(command, &folder.join("aggregator.log"))?;
        server.wait_until("the aggregator", || is_ready(address))?;
        let program = program.to_path_buf();
        let (key, crowded_key) = (String::new(), String::new());
        let mut meter = Self { server, program, environment, address, key, crowded_key, redis };
        meter.key = meter.create_project(PROJECT, "enterprise")?;
        meter.crowded_key = meter.create_project(CROWDED, "community")?;
        Ok(meter)
    }

    /// The key of the project that a variant is asked for.
    pub(super) fn key_for(&self, crowd: bool) -> &str {
        if crowd { &self.crowded_key } else { &self.key }
    }

    /// The process behind the edge: the aggregator, or what the homes are in.
    pub(super) fn pid(&self) -> u32 {
        self.redis.as_ref().map_or_else(|| self.server.pid(), Redis::pid)
    }

    /// Starts workerd with a copy of the bundle.
    pub(super) fn edge(
        &self,
        places: &Places,
        [bundle, folder]: [&Path; 2],
        address: SocketAddr,
        home_delay_ms: u32,
    ) -> Result<Program> {
        workerd::write_files(folder)?;
        copy_bundle(bundle, &folder.join("edge"))?;
        let mut command = workerd::command(places, &folder.join("meter.capnp"), "meter", address);
        command.arg("--external-addr").arg(format!("aggregator={}", self.address));
        workerd::directory(&mut command, "homes", folder)?;
        command.env_remove("METER_ROUTES").env(HOME_DELAY, home_delay_ms.to_string());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Program::start(command, &folder.join("workerd.log"))
    }

    /// Makes a project that no load exhausts, and its key.
    fn create_project(&self, project: &str, plan: &str) -> Result<String> {
        self.command(&["project", "create", project, "--plan", plan, "--rpm", RPM, "--included", INCLUDED])?;
        let told: Value =
            serde_json::from_str(&self.command(&["key", "create", "--project", project, "--json"])?)?;
        let key = told.get("key").and_then(Value::as_str);
        Ok(key.context("`meter key create --json` told no key")?.to_owned())
    }

    /// Runs a `meter` command on its books, and returns what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().with_context(|| format!("cannot start {}", self.program.display()))?;
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.success(), "meter {}: {}: {told}", arguments.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Copies the bundle, with the homes below it.
fn copy_bundle(bundle: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(bundle)? {
        let entry = entry?;
        let copy = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_bundle(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

fn is_ready(address: SocketAddr) -> Result<()> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let status = Line::connect(address)?.send(request.as_bytes(), |response| response.status)?;
    ensure!(status == 200, "/readyz answers {status}");
    Ok(())
}
