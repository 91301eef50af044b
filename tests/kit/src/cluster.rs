//! Servers that are a cluster: each primary has a part of the slots, and a replica that takes its place where it is gone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ports;
use crate::redis::{LASTING, Redis};
use crate::together::{Folder, wait};

/// How many primaries there are, and replicas.
const COUNT: usize = 3;
const SLOTS: usize = 16_384;
const LOOKS_MAX: u32 = 1_500;

/// Who the servers of a cluster are to others, who speak to them over TLS.
#[derive(Debug, Clone)]
pub struct Secure {
    /// The name that all of them announce, and that their certificate is of.
    pub name: String,
    /// The certificate, its key, and the authority that vouches for it.
    pub files: [PathBuf; 3],
}

/// Three primaries with a replica each. They end with their owner.
#[derive(Debug)]
pub struct Cluster {
    /// The first three were the primaries at first.
    servers: Vec<Redis>,
    /// Under which name, and each on which port, they are spoken to over TLS; by each other, too.
    secure: Option<(String, Vec<u16>)>,
    /// Goes when they have ended.
    _folder: Folder,
}

/// A server, as another one tells of it.
struct Node {
    id: String,
    place: SocketAddr,
    is_primary: bool,
    slots: Vec<(u16, u16)>,
}

impl Cluster {
    /// Starts all of them, and waits until they know each other.
    ///
    /// # Errors
    /// When they do not.
    pub fn start(program: &Path, node_timeout: Duration) -> Result<Self> {
        Self::start_with(program, node_timeout, None)
    }

    /// The same over TLS: they announce a name instead of their address. Whoever runs the test asks them in the clear until
    /// [`Cluster::close_clear`].
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_over_tls(program: &Path, node_timeout: Duration, secure: &Secure) -> Result<Self> {
        Self::start_with(program, node_timeout, Some(secure))
    }

    fn start_with(program: &Path, node_timeout: Duration, secure: Option<&Secure>) -> Result<Self> {
        let folder = Folder::new("cluster");
        let node_timeout = node_timeout.as_millis().to_string();
        let start = |number: usize| {
            let [between, over_tls] = [ports::free()?.port(), ports::free()?.port()];
            let port = between.to_string();
            let mut settings = LASTING.to_vec();
            settings.extend(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
            settings.extend(["--cluster-node-timeout", &node_timeout, "--cluster-port", &port]);
            let of_tls = secure.map(|secure| settings_of(secure, over_tls)).transpose()?.unwrap_or_default();
            settings.extend(of_tls.iter().map(String::as_str));
            let server = Redis::start(program, &folder.join(format!("server-{number}")), &settings)?;
            server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &number.saturating_add(1).to_string()])?;
            Ok((server, (port, over_tls)))
        };
        let started = (0..COUNT.saturating_mul(2)).map(start).collect::<Result<Vec<_>>>()?;
        let (servers, ports): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        let (between, over_tls): (Vec<_>, Vec<_>) = ports.into_iter().unzip();
        let secure = secure.map(|secure| (secure.name.clone(), over_tls));
        let cluster = Self { servers, secure, _folder: folder };
        cluster.join(&between)?;
        Ok(cluster)
    }

    /// What `REDIS_URL` says of them: the first three servers.
    #[must_use]
    pub fn url(&self) -> String {
        let first = self.servers.iter().take(COUNT);
        let scheme = if self.secure.is_some() { "rediss" } else { "redis" };
        let places: Vec<String> = first.map(|server| self.called(server.address())).collect();
        format!("{scheme}://{}", places.join(","))
    }

    /// What clients call the server at that place.
    fn called(&self, place: SocketAddr) -> String {
        match &self.secure {
            Some((name, _)) => format!("{name}:{}", self.port(place)),
            None => place.to_string(),
        }
    }

    /// On which port clients and the other servers speak to the one at that place.
    fn port(&self, place: SocketAddr) -> u16 {
        let mut servers = self.servers.iter().zip(self.secure.iter().flat_map(|(_, ports)| ports));
        let over_tls = servers.find(|(server, _)| server.address() == place).map(|(_, port)| *port);
        over_tls.unwrap_or(place.port())
    }

    /// Takes no connection in the clear any more, also none of the test's.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn close_clear(&self) -> Result<()> {
        self.servers.iter().try_for_each(|server| server.ask(&["CONFIG", "SET", "port", "0"]).map(|_| ()))
    }

    /// The server at that place.
    ///
    /// # Errors
    /// When there is none.
    pub fn at(&mut self, place: SocketAddr) -> Result<&mut Redis> {
        self.servers.iter_mut().find(|server| server.address() == place).context("there is no such server")
    }

    /// The first key of that form, and its slot.
    ///
    /// # Errors
    /// When no primary has one.
    pub fn key(&self, pattern: &str) -> Result<(String, u16)> {
        for server in &self.servers {
            // One may be gone, and another has its keys then.
            let Ok(said) = server.ask(&["KEYS", pattern]) else { continue };
            if let Some(key) = said.lines().find(|line| !line.starts_with(['*', '$'])) {
                let slot = server.ask(&["CLUSTER", "KEYSLOT", key])?;
                return Ok((key.to_owned(), slot.trim().trim_start_matches(':').parse()?));
            }
        }
        bail!("no server has {pattern}")
    }

    /// The primary that has a slot, as a server says that is not `except`.
    ///
    /// # Errors
    /// When nobody has it.
    pub fn owner(&self, slot: u16, except: Option<SocketAddr>) -> Result<SocketAddr> {
        let has = |node: &Node| {
            node.is_primary && node.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
        };
        let owner = self.nodes(except)?.into_iter().find(has);
        Ok(owner.context("nobody has that slot")?.place)
    }

    /// Waits until another server has a slot.
    ///
    /// # Errors
    /// When none takes it.
    pub fn wait_for_another(&self, slot: u16, before: SocketAddr) -> Result<()> {
        self.wait("another one has the slot", |cluster| {
            Ok(cluster.owner(slot, Some(before)).is_ok_and(|owner| owner != before))
        })
    }

    /// Waits until every server says that the cluster serves every slot.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_until_whole(&self) -> Result<()> {
        self.wait("the cluster is whole", |cluster| cluster.all_say(&["CLUSTER", "INFO"], "cluster_state:ok"))
    }

    /// A slot that the primary at that place has.
    ///
    /// # Errors
    /// When it has none.
    pub fn slot_of(&self, place: SocketAddr) -> Result<u16> {
        let node = self.nodes(None)?.into_iter().find(|node| node.place == place);
        let first = node.and_then(|node| node.slots.first().map(|(first, _)| *first));
        first.context("it has no slot")
    }

    /// Makes a replica of the primary at that place the primary, though there is one.
    ///
    /// # Errors
    /// When there is no replica.
    pub fn fail_over(&self, slot: u16) -> Result<()> {
        let before = self.owner(slot, None)?;
        let of = format!("master_port:{}", self.port(before));
        for server in &self.servers {
            if server.ask(&["INFO", "replication"])?.contains(&of) {
                server.ask(&["CLUSTER", "FAILOVER"])?;
                return self.wait_for_another(slot, before);
            }
        }
        bail!("{before} has no replica")
    }

    /// Begins to move a slot: its keys stay until they are [carried](Cluster::carry).
    ///
    /// # Errors
    /// When a server refuses.
    pub fn begin_move(&self, slot: u16, to: SocketAddr) -> Result<()> {
        let from = self.owner(slot, None)?;
        let slot = slot.to_string();
        self.server(to)?.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)?])?;
        self.server(from)?.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)?])?;
        Ok(())
    }

    /// Carries every key of a slot to where it is moved; says how many there were.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn carry(&self, slot: u16, to: SocketAddr) -> Result<usize> {
        let from = self.server(self.owner(slot, None)?)?;
        let (ip, port, mut count) = (to.ip().to_string(), self.port(to).to_string(), 0_usize);
        loop {
            let said = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "10"])?;
            let keys: Vec<&str> = said.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
            if keys.is_empty() {
                return Ok(count);
            }
            count = count.saturating_add(keys.len());
            let mut words = vec!["MIGRATE", &ip, &port, "\"\"", "0", "5000", "KEYS"];
            words.extend(keys);
            from.ask(&words)?;
        }
    }

    /// Ends a move: from now on the slot is there, for everybody.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn end_move(&self, slot: u16, to: SocketAddr) -> Result<()> {
        let (id, from) = (self.id(to)?, self.owner(slot, None)?);
        let slot = slot.to_string();
        // Who gives it away comes after who has it, so that nobody ever has none.
        for place in [to, from] {
            self.server(place)?.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id])?;
        }
        Ok(())
    }

    /// Takes a slot from everybody.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn drop_slot(&self, slot: u16) -> Result<()> {
        for server in &self.servers {
            server.ask(&["CLUSTER", "DELSLOTS", &slot.to_string()])?;
        }
        Ok(())
    }

    /// Gives a slot that nobody has to a primary.
    ///
    /// # Errors
    /// When it refuses.
    pub fn give_slot(&self, slot: u16, to: SocketAddr) -> Result<()> {
        self.server(to)?.ask(&["CLUSTER", "ADDSLOTS", &slot.to_string()])?;
        self.wait_until_whole()
    }

    /// A primary that has not that slot.
    ///
    /// # Errors
    /// When there is none.
    pub fn another(&self, slot: u16) -> Result<SocketAddr> {
        let owner = self.owner(slot, None)?;
        let other = self.nodes(None)?.into_iter().find(|node| node.is_primary && node.place != owner);
        Ok(other.context("there is one primary")?.place)
    }

    fn join(&self, between: &[String]) -> Result<()> {
        let (first, others) = self.servers.split_first().context("there are servers")?;
        for (server, between) in others.iter().zip(between.iter().skip(1)) {
            let place = server.address();
            let (ip, port) = (place.ip().to_string(), self.port(place).to_string());
            first.ask(&["CLUSTER", "MEET", &ip, &port, between])?;
        }
        let all = format!("cluster_known_nodes:{}", COUNT.saturating_mul(2));
        self.wait("they know each other", |cluster| cluster.all_say(&["CLUSTER", "INFO"], &all))?;
        let (primaries, replicas) = self.servers.split_at(COUNT);
        for (number, (primary, replica)) in primaries.iter().zip(replicas).enumerate() {
            let edge = |number: usize| number.saturating_mul(SLOTS).div_euclid(COUNT);
            let (first, next) = (edge(number), edge(number.saturating_add(1)));
            let last = next.saturating_sub(1).to_string();
            primary.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last])?;
            replica.ask(&["CLUSTER", "REPLICATE", &self.id(primary.address())?])?;
        }
        self.wait("each primary has a replica", |cluster| {
            for primary in primaries {
                if !primary.ask(&["INFO", "replication"])?.contains("state=online") {
                    return Ok(false);
                }
            }
            for server in &cluster.servers {
                if server.ask(&["CLUSTER", "NODES"])?.matches("slave").count() != COUNT {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        self.wait_until_whole()
    }

    fn all_say(&self, words: &[&str], told: &str) -> Result<bool> {
        for server in &self.servers {
            if !server.ask(words)?.contains(told) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn server(&self, place: SocketAddr) -> Result<&Redis> {
        self.servers.iter().find(|server| server.address() == place).context("there is no such server")
    }

    fn id(&self, place: SocketAddr) -> Result<String> {
        let node = self.nodes(None)?.into_iter().find(|node| node.place == place);
        Ok(node.context("nobody knows that server")?.id)
    }

    /// All servers, as the first one tells that answers and is not `except`.
    fn nodes(&self, except: Option<SocketAddr>) -> Result<Vec<Node>> {
        let others = self.servers.iter().filter(|server| Some(server.address()) != except);
        let said = others.filter_map(|server| server.ask(&["CLUSTER", "NODES"]).ok()).next();
        let said = said.context("no server answers")?;
        Ok(said.lines().filter_map(node).collect())
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        wait(LOOKS_MAX, what, || is_so(self))
    }
}

/// What makes a server one that is spoken to over TLS.
fn settings_of(secure: &Secure, port: u16) -> Result<Vec<String>> {
    let [certificate, key, authority] = secure.files.each_ref().map(|file| file.to_str());
    let file = |file: Option<&str>| file.map(str::to_owned).context("a file's name is no text");
    let (certificate, key, authority) = (file(certificate)?, file(key)?, file(authority)?);
    let mut words =
        vec!["--tls-port".to_owned(), port.to_string(), "--tls-cert-file".to_owned(), certificate];
    words.extend(["--tls-key-file".to_owned(), key, "--tls-ca-cert-file".to_owned(), authority]);
    words.extend(
        ["--tls-auth-clients", "no", "--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned),
    );
    words.extend(["--cluster-announce-hostname".to_owned(), secure.name.clone()]);
    words.extend(["--cluster-preferred-endpoint-type", "hostname"].map(str::to_owned));
    Ok(words)
}

/// Reads `<id> <ip>:<port>@<port between servers> <flags> <primary> <ping> <pong> <epoch> <link> <slots>…`.
fn node(line: &str) -> Option<Node> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, place, flags, _, _, _, _, _, slots @ ..] = words.as_slice() else { return None };
    let place = place.split('@').next()?.parse().ok()?;
    let is_primary = flags.contains("master") && !flags.split(',').any(|flag| flag == "fail");
    let range = |text: &&str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    Some(Node { id: (*id).to_owned(), place, is_primary, slots: slots.iter().filter_map(range).collect() })
}
