//! Servers that have the same rows, and sentinels that make one of them the primary where it is gone.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::redis::{LASTING, Redis};
use crate::together::{Folder, wait};

/// How many servers there are, and how many sentinels.
const COUNT: u32 = 3;
/// What the sentinels call the primary.
const NAME: &str = "meter";
const LOOKS_MAX: u32 = 1_000;

/// A primary with two replicas, and three sentinels. They end with their owner.
#[derive(Debug)]
pub struct Watched {
    sentinels: Vec<Redis>,
    /// The first one was the primary at first.
    servers: Vec<Redis>,
    /// Goes when they have ended.
    _folder: Folder,
}

impl Watched {
    /// Starts all of them, and waits until they know each other.
    ///
    /// # Errors
    /// When they do not.
    pub fn start(program: &Path, down_after: Duration) -> Result<Self> {
        let folder = Folder::new("watched");
        let primary = Redis::start(program, &folder.join("server-0"), &LASTING)?;
        let place = primary.address();
        let (ip, port) = (place.ip().to_string(), place.port().to_string());
        let mut settings = LASTING.to_vec();
        let of = format!("{ip} {port}");
        settings.extend(["--replicaof", &of]);
        let mut servers = vec![primary];
        for number in 1..COUNT {
            servers.push(Redis::start(program, &folder.join(format!("server-{number}")), &settings)?);
        }
        let watch = |number| {
            Redis::watch(program, &folder.join(format!("sentinel-{number}")), (NAME, place), (2, down_after))
        };
        let sentinels = (0..COUNT).map(watch).collect::<Result<_>>()?;
        let watched = Self { servers, sentinels, _folder: folder };
        watched.wait("they know each other", |watched| watched.know_each_other())?;
        Ok(watched)
    }

    /// What `REDIS_URL` says of them.
    #[must_use]
    pub fn url(&self) -> String {
        let places: Vec<String> = self.sentinels.iter().map(|one| one.address().to_string()).collect();
        format!("sentinel://{}/{NAME}", places.join(","))
    }

    /// The server at that place.
    ///
    /// # Errors
    /// When there is none.
    pub fn at(&mut self, place: SocketAddr) -> Result<&mut Redis> {
        let all = self.servers.iter_mut().chain(&mut self.sentinels);
        all.into_iter().find(|server| server.address() == place).context("there is no such server")
    }

    /// The sentinels, in the order of the address.
    #[must_use]
    pub fn sentinels(&mut self) -> &mut [Redis] {
        &mut self.sentinels
    }

    /// Whom the last of the sentinels calls the primary.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn primary(&self) -> Result<SocketAddr> {
        let sentinel = self.sentinels.last().context("there are sentinels")?;
        let said = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        let words: Vec<&str> = said.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
        let [host, port] = words.as_slice() else { bail!("the sentinel has said {said:?}") };
        Ok(format!("{host}:{port}").parse()?)
    }

    /// Has the sentinels make another server the primary, though there is one, and waits until all of them say so.
    ///
    /// # Errors
    /// When they do not.
    pub fn fail_over(&self) -> Result<()> {
        let before = self.primary()?;
        let sentinel = self.sentinels.first().context("there are sentinels")?;
        sentinel.ask(&["SENTINEL", "FAILOVER", NAME])?;
        self.wait_for_another(before)
    }

    /// Waits until another server is the primary.
    ///
    /// # Errors
    /// When none is made one.
    pub fn wait_for_another(&self, before: SocketAddr) -> Result<()> {
        self.wait("another one is the primary", |watched| Ok(watched.primary()? != before))
    }

    /// Waits until the others follow whom the sentinels call the primary instead of `before`, which may stand still.
    ///
    /// # Errors
    /// When they do not.
    pub fn wait_until_left(&self, before: SocketAddr) -> Result<()> {
        let primary = self.primary()?;
        let follows = format!("master_port:{}", primary.port());
        let others =
            || self.servers.iter().filter(|server| server.address() != before && server.address() != primary);
        self.wait("the others follow the primary", |_| {
            for server in others() {
                let said = server.ask(&["INFO", "replication"])?;
                if !said.contains(&follows) || !said.contains("master_link_status:up") {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    fn know_each_other(&self) -> Result<bool> {
        for sentinel in &self.sentinels {
            let said = sentinel.ask(&["INFO", "sentinel"])?;
            if !said.contains("status=ok") || !said.contains("slaves=2,sentinels=3") {
                return Ok(false);
            }
        }
        let primary = self.servers.first().context("there are servers")?;
        Ok(primary.ask(&["INFO", "replication"])?.matches("state=online").count() == 2)
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        wait(LOOKS_MAX, what, || is_so(self))
    }
}
