//! Envoy and `meter-envoy` as somebody runs them beside a stack: the real programs on free ports, by the configuration of
//! `deploy/envoy/`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::client::Call;
use crate::config;
use crate::poll::eventually;
use crate::program::Program;
use crate::scratch::Scratch;
use crate::stack::Stack;

/// How long a program may take to do what it is told; generous, because the machine is shared.
const PATIENCE: Duration = Duration::from_secs(30);

/// The way from Envoy to the meter, which can be cut: whoever is on it loses the connection, and may come again.
#[derive(Debug)]
struct Way {
    address: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Way {
    async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, connections) = (listener.local_addr()?, Arc::new(Mutex::new(JoinSet::new())));
        let all = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                all.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
                    if let Ok(mut there) = TcpStream::connect(target).await {
                        copy_bidirectional(&mut here, &mut there).await.ok();
                    }
                });
            }
        });
        Ok(Self { address, connections })
    }
}

/// Envoy and the meter that it asks, beside a stack whose edge serves its homes (`METER_HOMES=serve`).
#[derive(Debug)]
pub struct Envoy {
    // Programs come before the folder that they write to.
    meter: Option<Program>,
    envoy: Program,
    scratch: Scratch,
    address: SocketAddr,
    meter_address: SocketAddr,
    shown: SocketAddr,
    settings: Vec<(&'static str, String)>,
    way: Way,
}

impl Envoy {
    /// Starts both, Envoy by one of the configurations of `deploy/envoy/`, in front of that service.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(stack: &Stack, file: &str, service: SocketAddr) -> Result<Self> {
        let scratch = Scratch::new()?;
        let [address, meter_address, shown] = [kit::ports::free()?, kit::ports::free()?, kit::ports::free()?];
        let way = Way::to(meter_address).await?;
        let settings = vec![
            ("METER_ENVOY_LISTEN", meter_address.to_string()),
            ("METER_ENVOY_METRICS_LISTEN", shown.to_string()),
            ("METER_ENVOY_HOMES", format!("http://{}", stack.edge())),
            ("METER_KEY_SECRETS", stack.key_secrets_text().to_owned()),
            ("METER_SIGNING_KEYS", stack.signing_text().to_owned()),
        ];
        let mut text = std::fs::read_to_string(example(file))?;
        for (port, of) in [("10000", address), ("8081", way.address), ("8090", service)] {
            text = text.replace(&format!("port_value: {port}"), &format!("port_value: {}", of.port()));
        }
        let file = scratch.path().join("envoy.yaml");
        std::fs::write(&file, text)?;
        let mut command = Command::new(config::envoy()?);
        command.args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"]);
        let envoy =
            Program::start(command.arg("--config-path").arg(&file), &scratch.path().join("envoy.log"))?;
        let mut all = Self { meter: None, envoy, scratch, address, meter_address, shown, settings, way };
        all.begin().await?;
        let (envoy, address) = (&mut all.envoy, all.address);
        eventually("Envoy", PATIENCE, async || {
            envoy.check_alive()?;
            // Without a key nobody is served, but everybody is answered once the meter is known to be there.
            Ok((Call::get("/").send(address).await?.status == 429).then_some(()))
        })
        .await?;
        Ok(all)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the meter listens for Envoy.
    #[must_use]
    pub fn meter_address(&self) -> SocketAddr {
        self.meter_address
    }

    /// Starts the meter, and waits until it answers.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn begin(&mut self) -> Result<()> {
        let mut command = Command::new(config::meter_envoy()?);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let mut program = Program::start(&mut command, &self.scratch.path().join("meter-envoy.log"))?;
        let shown = self.shown;
        eventually("meter-envoy", PATIENCE, async || {
            program.check_alive()?;
            Ok((Call::get("/healthz").send(shown).await?.status == 200).then_some(()))
        })
        .await?;
        self.meter = Some(program);
        Ok(())
    }

    /// `kill -9` of the meter.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.meter.take().context("the meter does not run")?.kill()
    }

    /// `kill -9` of Envoy itself, which is not started again.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill_envoy(&mut self) -> Result<()> {
        self.envoy.kill()
    }

    /// Cuts Envoy's connections to the meter. It comes back on new ones.
    pub fn cut(&self) {
        self.way.connections.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Envoy stands still for that long, with all that it was sent meanwhile waiting.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub async fn stand_still(&self, pause: Duration) -> Result<()> {
        self.envoy.stop()?;
        tokio::time::sleep(pause).await;
        self.envoy.go_on()
    }

    /// Asks the meter to stop with SIGTERM, and says how it ended.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.meter.take().context("the meter does not run")?.terminate(PATIENCE).await
    }

    /// The meter's numbers.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metrics(&self) -> Result<String> {
        Ok(Call::get("/metrics").send(self.shown).await?.text())
    }

    /// What the meter has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("meter-envoy.log")).unwrap_or_default()
    }

    /// Ends a passed test: nothing may have panicked, and Envoy still runs.
    ///
    /// # Errors
    /// When something has.
    pub fn finish(mut self) -> Result<()> {
        self.envoy.check_alive()?;
        anyhow::ensure!(!self.log().contains("panicked"), "meter-envoy has panicked: {}", self.log());
        Ok(())
    }
}

/// A file of `deploy/envoy/`.
#[must_use]
pub fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy").join(file)
}
