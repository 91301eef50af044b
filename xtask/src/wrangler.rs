//! Checks that wrangler takes the bundle: `deploy --dry-run` of the edge and of the homes, then `dev` of both together,
//! which must answer.
//!
//! It must never deploy, and never use the network or an account.

use std::fs;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::{Stopwatch, pause};
use crate::dev::probe;
use crate::process::{STOP_GRACE, run, spawn_in_group, stop};
use crate::progress::Progress;
use crate::{config, edge, tools};

/// The configurations, the homes' first: the edge's names it.
const CONFIGS: [&str; 2] = ["homes/wrangler.toml", "wrangler.toml"];
/// `wrangler dev` that has not answered by then will not.
const READY_MAX: Duration = Duration::from_secs(60);

/// wrangler, and the Node that it accepts.
#[derive(Debug)]
struct Wrangler {
    node: PathBuf,
    program: PathBuf,
    /// It keeps settings and logs in the home folder: it gets one of its own.
    home: PathBuf,
}

/// Builds the bundle and lets wrangler check it.
#[expect(clippy::print_stdout, reason = "wrangler's answers are this command's result")]
pub(crate) fn run_dry() -> Result<()> {
    edge::build()?;
    let folder = tools::ensure("wrangler")?;
    let home = config::target().join("tools").join("home");
    fs::create_dir_all(&home)?;
    let program = folder.join("node_modules").join("wrangler").join("bin").join("wrangler.js");
    let wrangler = Wrangler { node: tools::node(&folder)?, program, home };
    for name in CONFIGS {
        let mut command = wrangler.command(&["deploy", "--dry-run", "--config", name]);
        command.arg("--outdir").arg(config::target().join("wrangler"));
        println!("{}", run(&format!("wrangler deploy --dry-run --config {name}"), &mut command)?.trim());
    }
    answers(&wrangler)
}

impl Wrangler {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(&self.program).args(arguments).current_dir(config::root());
        command
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", &self.home)
            .env("CI", "1")
            .env("NO_COLOR", "1");
        command.env("WRANGLER_SEND_METRICS", "false").env("WRANGLER_SEND_ERROR_REPORTS", "false");
        command
    }
}

/// Starts both workers with `wrangler dev`, until they answer.
fn answers(wrangler: &Wrangler) -> Result<()> {
    let mut progress = Progress::start("wrangler dev");
    // Free until it is taken: whoever takes it in between is told of by wrangler.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let [homes, edge] = CONFIGS;
    let mut command = wrangler.command(&["dev", "--config", edge, "--config", homes]);
    command.args(["--ip", "127.0.0.1", "--port", &address.port().to_string(), "--inspector-port", "0"]);
    command.arg("--persist-to").arg(config::target().join("wrangler").join("state"));
    // They protect nothing: it answers on loopback, for a moment.
    let secret = "5e".repeat(32);
    let keys = ["edge", "policy", "upstream"].map(|purpose| format!("{purpose}:k1:{secret}")).join(",");
    // So both workers take them; what `--var` says is for the first alone.
    command.env("CLOUDFLARE_INCLUDE_PROCESS_ENV", "true");
    command.env("METER_KEY_SECRETS", format!("1:{secret}")).env("METER_SIGNING_KEYS", keys);
    let log = config::target().join("wrangler").join("dev.log");
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = spawn_in_group(&mut command)?;
    let result = wait(address, &mut progress, || Ok(child.try_wait()?.is_some()), &log);
    stop(&mut child, STOP_GRACE)?;
    if result.is_ok() {
        progress.done()
    } else {
        progress.failed()
    }
    result
}

fn wait(
    address: SocketAddr,
    progress: &mut Progress,
    mut has_ended: impl FnMut() -> Result<bool>,
    log: &Path,
) -> Result<()> {
    let watch = Stopwatch::start();
    while probe::get(address, "/healthz", None).is_none_or(|answer| answer.status != 200) {
        if has_ended()? || watch.passed(READY_MAX) {
            bail!("`wrangler dev` does not answer on {address}: see {}", log.display());
        }
        progress.tick("waiting for an answer");
        pause();
    }
    Ok(())
}
