//! A reader's terminal, in a folder that looks like the repository after `cargo xtask dev`, and what is left running there.
//!
//! It must never leave anything running that it has started, and never touch what is outside its folder.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::redis::{self, Redis};

use super::answer::plain;
use super::rows::{HERE, MADE, Row};
use crate::clock::{Stopwatch, pause};
use crate::native::Programs;
use crate::postgres::Server;
use crate::process::{STOP_GRACE, spawn_in_group, stop};
use crate::{apt, config, edge, python, tools};

/// How soon what was told elsewhere is there, and what was started answers.
pub(super) const TOLD_MAX: Duration = Duration::from_secs(30);

/// What the lines find of the repository, beside what was built.
const FOUND: [&str; 2] = ["shared", "deploy"];

/// What readers have that is not ours: their own rights, and the patience to ask again who is starting.
const HABITS: &str = "sudo() { \"$@\"; }
curl() {
  for _ in $(seq 150); do
    if command curl \"$@\"; then return; elif [ $? != 7 ]; then return 1; fi
    sleep 0.2
  done
  return 1
}
";

/// A name of an address, the port of examples that it stands for, and the address.
type Made = (&'static str, Option<&'static str>, SocketAddr);

/// Where lines are typed.
pub(super) struct Terminal {
    pub(super) folder: PathBuf,
    /// What comes before all lines.
    before: String,
    made: Vec<Made>,
    /// They end with the terminal.
    _servers: (Option<Redis>, Option<Server>),
}

impl Terminal {
    /// A new one, with what these lines ask for.
    pub(super) fn open(programs: &Programs, lines: &str) -> Result<Self> {
        let folder = config::target().join("readme");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let (built, others) = (folder.join("target"), folder.join("bin-of-others"));
        fs::create_dir_all(&built)?;
        fs::create_dir_all(&others)?;
        symlink(programs.folder_of("meter")?, built.join("debug"))?;
        symlink(edge::build()?.folder, built.join("edge"))?;
        symlink(tools::workerd()?, others.join("workerd"))?;
        for found in FOUND {
            symlink(config::root().join(found), folder.join(found))?;
        }
        let made = MADE.iter().map(|(name, port)| Ok((*name, *port, kit::ports::free()?)));
        let made: Vec<Made> = made.collect::<Result<_>>()?;
        let mut settings = "[ ! -f target/dev/env ] || . target/dev/env\n\
             PATH=$PWD/bin:$PWD/target/debug:$PWD/bin-of-others:$PATH; METER_LISTEN=${AGGREGATOR_URL#http://}\n"
            .to_owned();
        let mut habits = HABITS.to_owned();
        settings.extend(made.iter().map(|(name, _, address)| format!("{name}={address}\n")));
        let asks = |words: &[&str]| words.iter().any(|word| lines.contains(word));
        let redis = asks(&["redis-cli", "redis://"]).then(|| theirs(&folder.join("redis"))).transpose()?;
        if let Some(address) = redis.as_ref().map(Redis::address) {
            settings.push_str(&format!("HERE_REDIS=${{REDIS_URL:-redis://meter:secret@{address}/0}}\n"));
            let port = address.port();
            habits.push_str(&format!("redis-cli() {{ command redis-cli -p {port} \"$@\"; }}\n"));
        }
        let postgres = asks(&["postgres://"]).then(|| Server::start(programs)).transpose()?;
        if let Some(Server { url, .. }) = &postgres {
            settings.push_str(&format!("HERE_POSTGRES='{url}'\n"));
        }
        if asks(&["envoy --"]) {
            symlink(python::envoy()?, others.join("envoy"))?;
            copy_examples(&config::root().join("deploy/envoy"), &folder.join("envoy"), &made)?;
        }
        let before = format!("set -a\n{settings}set +a\n{habits}");
        Ok(Self { folder, before, made, _servers: (redis, postgres) })
    }

    /// The address that was made for a name.
    pub(super) fn made(&self, name: &str) -> Result<String> {
        let made = self.made.iter().find(|(made, ..)| *made == name);
        Ok(made.with_context(|| format!("no address is made for {name}"))?.2.to_string())
    }

    /// Does what readers have done before, which is of none of the pages' own settings.
    pub(super) fn prepare(&mut self, row: &Row) -> Result<()> {
        self.answers(row.before)?;
        self.before.push_str(row.settings);
        self.before.push('\n');
        Ok(())
    }

    /// A shell that stops at the first line that fails, with the settings that README has loaded once.
    fn shell(&self, lines: &str) -> Command {
        let lines = HERE.iter().fold(lines.to_owned(), |lines, (told, here)| lines.replace(told, here));
        let mut shell = Command::new("bash");
        shell.args(["-e", "-o", "pipefail", "-c"]);
        shell.arg(format!("{}{lines}", self.before));
        shell.current_dir(&self.folder);
        shell
    }

    pub(super) fn answers(&self, lines: &str) -> Result<String> {
        let answer = self.shell(lines).stdin(Stdio::null()).output()?;
        let text = String::from_utf8(answer.stdout)?.replace("\r\n", "\n");
        let said = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "{lines}\nend with {}\n{text}{said}", answer.status);
        Ok(text)
    }
}

/// The commands that stay, such as one that prints what comes.
#[derive(Default)]
pub(super) struct Listeners(Vec<Listener>);

/// One of them.
struct Listener {
    child: Child,
    path: PathBuf,
    holds: Vec<String>,
}

impl Listeners {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves something running as soon as it prints, in the place of what holds the same.
    pub(super) fn listen(&mut self, terminal: &Terminal, lines: &str, holds: Vec<String>) -> Result<()> {
        self.end(&holds);
        let path = terminal.folder.join(format!("listener-{}", kit::ports::free()?.port()));
        let file = File::create(&path)?;
        let mut shell = terminal.shell(lines);
        shell.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut listener = Listener { child: spawn_in_group(&mut shell)?, path, holds };
        let watch = Stopwatch::start();
        // Who serves may have nothing to say.
        while listener.holds.is_empty() && fs::read(&listener.path)?.is_empty() {
            ensure!(!watch.passed(TOLD_MAX), "{lines}\nprint nothing");
            pause();
        }
        let ended = listener.child.try_wait()?;
        ensure!(ended.is_none(), "{lines}\nend at once:\n{}", fs::read_to_string(&listener.path)?);
        self.0.push(listener);
        Ok(())
    }

    /// Ends what holds any of these.
    pub(super) fn end(&mut self, holds: &[String]) {
        self.0.retain(|listener| !listener.holds.iter().any(|held| holds.contains(held)));
    }

    /// Fails where one has ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        for listener in &mut self.0 {
            let ended = listener.child.try_wait()?;
            ensure!(
                ended.is_none(),
                "what was left running has ended:\n{}",
                fs::read_to_string(&listener.path)?
            );
        }
        Ok(())
    }

    pub(super) fn have_printed(&self, told: &str) -> Result<bool> {
        let printed = self.printed()?;
        Ok(told.lines().all(|told| printed.lines().any(|line| plain(line) == plain(told))))
    }

    pub(super) fn printed(&self) -> Result<String> {
        self.0.iter().map(|listener| Ok(fs::read_to_string(&listener.path)?)).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        stop(&mut self.child, STOP_GRACE).ok();
    }
}

/// A Redis as pages ask for one, with the user that they name.
fn theirs(folder: &Path) -> Result<Redis> {
    let server = apt::alias("redis-server", ("redis-check-rdb", "redis-tools"))?;
    let redis = Redis::start(&server, folder, &redis::LASTING)?;
    redis.ask(&["ACL", "SETUSER", "meter", "on", ">secret", "~meter:*", "&*", "+@all"])?;
    Ok(redis)
}

/// Envoy's examples, with the ports that are theirs here.
fn copy_examples(from: &Path, to: &Path, made: &[Made]) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let mut text = fs::read_to_string(entry.path())?;
        for (_, port, address) in made {
            let Some(port) = port else { continue };
            text = text.replace(&format!("port_value: {port}"), &format!("port_value: {}", address.port()));
        }
        fs::write(to.join(entry.file_name()), text)?;
    }
    Ok(())
}
