//! Checks that wrangler takes the bundle: `deploy --dry-run` of the edge and of the homes, then `dev` of both together,
//! which must answer.
//!
//! It must never deploy, and never use the network or an account.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::dev::leftovers::Record;
use crate::dev::probe;
use crate::dev::services::Services;
use crate::process::run;
use crate::{config, edge, tools};

/// The configurations, the homes' first: the edge's names it.
const CONFIGS: [&str; 2] = ["homes/wrangler.toml", "wrangler.toml"];
/// Answered with 200 by a worker that is configured.
const HEALTH: &str = "/healthz";

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
    let folder = config::target().join("wrangler");
    let address = kit::ports::free()?;
    let [of_homes, of_edge] = CONFIGS;
    let mut command = wrangler.command(&["dev", "--config", of_edge, "--config", of_homes]);
    command.args(["--ip", "127.0.0.1", "--port", &address.port().to_string(), "--inspector-port", "0"]);
    command.arg("--persist-to").arg(folder.join("state"));
    // So both workers take them; what `--var` says is for the first alone.
    command.env("CLOUDFLARE_INCLUDE_PROCESS_ENV", "true");
    edge::give_secrets(&mut command);
    let mut services = Services::new(Record::begin(&folder)?);
    services.start("wrangler", &mut command, &folder)?;
    services.wait_for("wrangler", address, HEALTH)?;
    let status = probe::get(address, HEALTH, None).map(|answer| answer.status);
    ensure!(status == Some(200), "`wrangler dev` answers {status:?}: see {}/wrangler.log", folder.display());
    services.stop()
}
