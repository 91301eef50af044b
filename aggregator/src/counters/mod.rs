//! Homes whose rows are in a Redis: who is to be looked after, and reading and writing one home.
//!
//! Nothing here decides, and no SQL is here.

pub mod promise;
pub mod settings;
mod way;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Value};
use redis_rows::{
    Address, AddressError, Group, Route, Servers, Snapshot, Stop, Told, Wrong, disk, mark, not_refused, read,
    wait, write,
};
use shared::home::HomeName;
use shared::home::storage::Commit;
use shared::time::Timestamp;

use self::promise::Facts;
use self::settings::RedisSettings;
use crate::clock::Stopwatch;
use crate::random;

/// How long the server may take to bring a write to the disk.
const DISK_MS: u64 = 2_500;

/// Takes homes of a group that are due, and notes when they are next: a sweep finds what was never marked.
const CLAIM: &str = "
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, home in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], home) end
return due
";

/// The groups of homes that one server has, and which that is, if it is known.
#[derive(Debug, Clone)]
pub struct Share {
    server: Option<Address>,
    groups: Vec<Group>,
}

impl Share {
    /// What tells it from others.
    #[must_use]
    pub fn place(&self) -> String {
        self.server.as_ref().map(Address::host).unwrap_or_default()
    }
}

/// A Redis that has homes' rows; clones are the same.
#[derive(Debug, Clone)]
pub struct Counters(Arc<Parts>);

struct Parts {
    settings: RedisSettings,
    route: Mutex<Route>,
    /// What the way's moments are counted from.
    began: Stopwatch,
    /// Connections, and to whom.
    idle: Mutex<Vec<(Address, MultiplexedConnection)>>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.settings)
    }
}

/// What the servers say of themselves that have homes.
#[derive(Debug)]
pub struct Judged {
    /// Each with its place, which is empty where there is one alone.
    pub servers: Vec<(String, Result<Facts, CountersError>)>,
    /// The slots that no server of a cluster has.
    pub missing: Vec<RangeInclusive<u16>>,
}

/// Why the Redis has not done what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// It could not be reached, or has refused.
    #[error("the Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// It has answered something else.
    #[error("the Redis: {0}")]
    Wrong(#[from] Wrong),
    /// A place is none that a connection can be made to.
    #[error("the Redis: {0}")]
    Address(#[from] AddressError),
    /// There is no randomness to number commands with.
    #[error("{0}")]
    Random(#[from] random::NoRandomness),
}

impl Counters {
    /// The Redis at that address; nothing is connected yet.
    ///
    /// # Errors
    /// When the address needs what this build does not have.
    pub fn new(settings: &RedisSettings) -> Result<Self, CountersError> {
        let servers = settings.address.servers();
        let (Servers::One(first) | Servers::Watched { first, .. } | Servers::Cluster { first, .. }) = servers;
        Client::open(first.place()?)?;
        let route = Mutex::new(Route::new(settings.address.servers().clone()));
        let (settings, began, idle) = (settings.clone(), Stopwatch::start(), Mutex::default());
        Ok(Self(Arc::new(Parts { settings, route, began, idle })))
    }

    /// Reads a home.
    ///
    /// # Errors
    /// When the Redis fails.
    pub async fn read(&self, home: &HomeName) -> Result<Snapshot, CountersError> {
        match Told::read(self.ask(Group::of(home), &[read(home)]).await?.remove(0))? {
            Told::Rows(snapshot) => Ok(snapshot),
            Told::Written(_) | Told::NoScript => Err(Wrong::Form.into()),
        }
    }

    /// Writes what was decided from a snapshot; what is written is on the disk then.
    ///
    /// # Errors
    /// When the Redis fails: it is not known whether it was written.
    pub async fn write(&self, home: &HomeName, life: &str, commit: &Commit) -> Result<Told, CountersError> {
        let RedisSettings { replicas, accepted_loss, .. } = &self.0.settings;
        let mut commands = vec![write(home, life, commit, &nonce()?)];
        if accepted_loss.is_none() {
            commands.push(wait(*replicas, DISK_MS));
        }
        let mut answers = self.ask(Group::of(home), &commands).await?.into_iter();
        let told = Told::read(answers.next().unwrap_or(Value::Nil))?;
        if let (Told::Written(_), Some(waited)) = (&told, answers.next()) {
            disk(&waited, *replicas)?;
        }
        Ok(told)
    }

    /// Asks for a home to be looked after then.
    ///
    /// # Errors
    /// When the Redis fails.
    pub async fn mark(&self, home: &HomeName, at: Timestamp) -> Result<(), CountersError> {
        self.ask(Group::of(home), &[mark(home, at)]).await.map(|_| ())
    }

    /// The groups of homes by the servers that have them, each to be asked by itself: one that stands still shall not
    /// hold up the others.
    #[must_use]
    pub fn shares(&self) -> Vec<Share> {
        let shares = self.route().shares(self.now());
        shares.into_iter().map(|(server, groups)| Share { server, groups }).collect()
    }

    /// Takes homes of a share that are due; they are due again at `next`, whatever becomes of who takes them. Where it is
    /// not known who has the share, that is found out.
    ///
    /// # Errors
    /// When the Redis fails.
    pub async fn claim(
        &self,
        share: &Share,
        (now, next): (Timestamp, Timestamp),
        count: usize,
    ) -> Result<Vec<HomeName>, CountersError> {
        let Some(server) = &share.server else {
            for group in &share.groups {
                self.server(*group).await?;
            }
            return Ok(Vec::new());
        };
        // Most have none, and a look costs less than a script.
        let looks: Vec<Cmd> = share.groups.iter().map(|group| look(*group, now)).collect();
        let stop = Stop::Server(server.clone());
        let answers = self.visit(&stop, &looks).await.inspect_err(|_| self.route().failed(&stop))?;
        let mut groups: Vec<(Group, Value)> = share.groups.iter().copied().zip(answers).collect();
        // Whoever comes late in one round comes early in another.
        let turn = usize::try_from(self.now().as_ms()).unwrap_or_default().checked_rem(groups.len());
        groups.rotate_left(turn.unwrap_or_default());
        let (mut homes, mut failed) = (Vec::new(), None);
        for (group, answer) in groups {
            let left = count.saturating_sub(homes.len());
            let (is_due, wrong) = match not_refused(&answer) {
                // What was due there may be where it is being moved to.
                Err(Wrong::Asked(_) | Wrong::Moved(_)) => (true, None),
                Err(wrong) => {
                    // One that was cut off from the others may say so for ever; they know better.
                    self.route().failed(&stop);
                    (false, Some(wrong.into()))
                }
                Ok(()) => (matches!(&answer, Value::Array(due) if !due.is_empty()), None),
            };
            failed = failed.or(wrong);
            if is_due && left > 0 {
                match self.take(group, (now, next), left).await {
                    Ok(taken) => homes.extend(taken),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        // What was taken is looked after first; what has failed fails again.
        match failed {
            Some(error) if homes.is_empty() => Err(error),
            Some(_) | None => Ok(homes),
        }
    }

    async fn take(
        &self,
        group: Group,
        (now, next): (Timestamp, Timestamp),
        count: usize,
    ) -> Result<Vec<HomeName>, CountersError> {
        let mut command = redis::cmd("EVAL");
        command.arg(CLAIM).arg(1).arg(group.due()).arg(now.as_ms()).arg(next.as_ms()).arg(count);
        let answer = self.ask(group, &[command]).await?.remove(0);
        not_refused(&answer)?;
        let names: Vec<String> = redis::from_redis_value(answer).map_err(redis::RedisError::from)?;
        Ok(names.iter().filter_map(|name| HomeName::parse(name).ok()).collect())
    }

    /// What each server that has homes says of itself.
    ///
    /// # Errors
    /// When nobody can be asked which those are.
    pub async fn facts(&self) -> Result<Judged, CountersError> {
        let group = Group::all().next().ok_or(Wrong::Form)?;
        if !matches!(self.0.settings.address.servers(), Servers::Cluster { .. }) {
            let server = self.server(group).await?;
            let facts = self.facts_of(&server).await?;
            return Ok(Judged { servers: vec![(String::new(), Ok(facts))], missing: Vec::new() });
        }
        let learned = self.learn(group).await;
        let (primaries, missing) = {
            let route = self.route();
            (route.primaries(), route.missing())
        };
        if let (true, Err(error)) = (primaries.is_empty(), learned) {
            return Err(error);
        }
        let mut servers = Vec::with_capacity(primaries.len());
        for primary in primaries {
            let host = primary.host();
            servers.push((host, self.facts_of(&Stop::Server(primary)).await));
        }
        Ok(Judged { servers, missing })
    }

    async fn facts_of(&self, server: &Stop) -> Result<Facts, CountersError> {
        let mut info = redis::cmd("INFO");
        info.arg("everything");
        let mut settings = redis::cmd("CONFIG");
        settings.arg("GET").arg("*append*");
        let mut answers = self.visit(server, &[info, settings, wait(0, 1)]).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let info: String = redis::from_redis_value(next()).map_err(redis::RedisError::from)?;
        // Managed servers refuse it.
        let settings: BTreeMap<String, String> = redis::from_redis_value(next()).unwrap_or_default();
        let waits_for_disk = !is_unknown(&next());
        Ok(Facts { info: Facts::of_info(&info), settings, waits_for_disk })
    }
}

/// Whether a group of homes has a home that is due.
fn look(group: Group, now: Timestamp) -> Cmd {
    let mut look = redis::cmd("ZRANGEBYSCORE");
    look.arg(group.due()).arg("-inf").arg(now.as_ms()).arg("LIMIT").arg(0).arg(1);
    look
}

/// Whether a command is not known; one that cannot do what it is asked for is.
fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.to_string().contains("unknown command"))
}

fn nonce() -> Result<String, CountersError> {
    Ok(base16ct::lower::encode_string(&random::bytes::<16>()?))
}
