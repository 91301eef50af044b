//! Homes whose rows are in a Redis: who is to be looked after, and reading and writing one home.
//!
//! Nothing here decides, and no SQL is here.

pub mod behind;
pub mod promise;
pub mod settings;
mod way;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, ServerErrorKind, Value};
use redis_rows::{
    Address, AddressError, Group, Proof, Route, Servers, Snapshot, Stop, Told, Wrong, is_unknown, mark,
    not_refused, read, write,
};
use shared::home::HomeName;
use shared::home::storage::Commit;
use shared::time::Timestamp;

use self::promise::{Facts, Waits, Wanted};
use self::settings::RedisSettings;
use crate::clock::Stopwatch;
use crate::metrics::Metrics;
use crate::random;

/// How long the server may take to bring a write to the disk.
const DISK_MS: u64 = 2_500;

/// Takes homes that are due, and notes when they are next: a sweep finds what was never marked. Several groups may be
/// asked at once where one server has all of them, but not in a cluster, whatever of them it has on one server.
const CLAIM: &str = "
local taken, left = {}, tonumber(ARGV[3])
for _, group in ipairs(KEYS) do
  if left <= 0 then break end
  local due = redis.call('ZRANGEBYSCORE', group, '-inf', ARGV[1], 'LIMIT', 0, left)
  for _, home in ipairs(due) do
    redis.call('ZADD', group, ARGV[2], home)
    taken[#taken + 1] = home
  end
  left = left - #due
end
return taken
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
pub struct Counters {
    parts: Arc<Parts>,
    metrics: Metrics,
}

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

/// Why the Redis has not done what was asked. What one says has all of what was said below it.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// It could not be reached, or has refused.
    #[error("the Redis: {0}")]
    Redis(redis::RedisError),
    /// It has answered something else.
    #[error("the Redis: {0}")]
    Wrong(Wrong),
    /// A place is none that a connection can be made to.
    #[error("the Redis: {0}")]
    Address(AddressError),
    /// There is no randomness to number commands with.
    #[error("{0}")]
    Random(#[from] random::NoRandomness),
}

impl From<redis::RedisError> for CountersError {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Wrong> for CountersError {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<AddressError> for CountersError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl CountersError {
    /// Whether it may be otherwise in a while without anybody's doing: a server that starts, or a fail-over.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Redis(error) => may_pass(error),
            Self::Wrong(wrong) => match wrong {
                Wrong::Elsewhere(_)
                | Wrong::Moved(_)
                | Wrong::Asked(_)
                | Wrong::Down(_)
                | Wrong::NoOwner(_)
                | Wrong::Late(_) => true,
                Wrong::Refused(_)
                | Wrong::Form
                | Wrong::OfCluster
                | Wrong::NoCluster(_)
                | Wrong::NoPrimary(_)
                | Wrong::NoWait
                | Wrong::NotSynced(_)
                | Wrong::NoReplicas
                | Wrong::NotOnDisk { .. } => false,
            },
            Self::Address(_) | Self::Random(_) => false,
        }
    }

    /// What the reader can do about it, where it does not say so itself.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        /// What servers call it if they do not know who asks.
        const STRANGER: [&str; 3] = ["NOAUTH", "WRONGPASS", "AUTH <password>"];
        let is_stranger = |said: &str| STRANGER.iter().any(|word| said.contains(word));
        match self {
            Self::Wrong(Wrong::Refused(said)) if is_stranger(said) => Some(KNOWN),
            Self::Redis(error) if is_stranger(&error.to_string()) => Some(KNOWN),
            Self::Redis(error) if is_disbelieved(error) => Some(BELIEVED),
            Self::Redis(error) if may_pass(error) => Some(THERE),
            Self::Wrong(Wrong::Late(_)) => Some(THERE),
            Self::Redis(_) | Self::Wrong(_) | Self::Address(_) | Self::Random(_) => None,
        }
    }
}

/// What to do where it is not known who asks.
const KNOWN: &str = "set the user and password of REDIS_URL to those of the server";
/// What to do where it is not believed who the server is.
const BELIEVED: &str =
    "have this machine trust the authority of the server's certificate, or let SSL_CERT_FILE name it";
/// What to do where nobody answers.
const THERE: &str = "start the server, or let REDIS_URL name where it listens";

fn may_pass(error: &redis::RedisError) -> bool {
    let redis::ErrorKind::Server(kind) = error.kind() else {
        return error.is_io_error() && !is_disbelieved(error);
    };
    matches!(
        kind,
        ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
    )
}

/// Whether it is about a certificate that is not believed, which is an error of a connection, too.
fn is_disbelieved(error: &redis::RedisError) -> bool {
    // The crate tells of a cause as it keeps it.
    let kept = std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>());
    let cause = kept.and_then(|kept| kept.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidData)
}

impl Judged {
    /// What may be otherwise in a while without anybody's doing.
    #[must_use]
    pub fn unsettled(&self, wanted: Wanted) -> Option<String> {
        let of = |server: &str, why: String| {
            if server.is_empty() { why } else { format!("{server}: {why}") }
        };
        let missing =
            (!self.missing.is_empty()).then(|| "no server has some slots of the cluster".to_owned());
        let of_server = |(server, facts): &(String, Result<Facts, CountersError>)| match facts {
            Ok(facts) => facts.unsettled(wanted).map(|why| of(server, why)),
            Err(error) => error.may_pass().then(|| of(server, error.to_string())),
        };
        self.servers.iter().find_map(of_server).or(missing)
    }
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
        let parts = Arc::new(Parts { settings, route, began, idle });
        Ok(Self { parts, metrics: Metrics::default() })
    }

    /// The same, whose work these numbers count.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// The moment by which this process measures how long something takes.
    #[must_use]
    pub fn moment(&self) -> Timestamp {
        self.now()
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
        let RedisSettings { replicas, accepted_loss, .. } = &self.parts.settings;
        let group = Group::of(home);
        let server = self.server(group).await?;
        let proof = self.route().proof(&server);
        let mut commands = vec![write(home, life, commit, &nonce()?)];
        if accepted_loss.is_none() {
            commands.push(proof.question(*replicas, DISK_MS));
        }
        let watch = Stopwatch::start();
        let (server, answers) = self.ask_where(group, &commands).await?;
        let mut answers = answers.into_iter();
        let told = Told::read(answers.next().unwrap_or(Value::Nil))?;
        if let Told::Rows(_) = told {
            self.metrics.outrun();
        }
        if let (Told::Written(_), Some(answer)) = (&told, answers.next()) {
            let lasts = match proof.read(&answer, *replicas) {
                Err(Wrong::NoWait) => self.synced(&server, *replicas).await,
                lasts => lasts.map_err(CountersError::from),
            };
            lasts.inspect_err(|_| self.route().failed(&server))?;
        }
        if let Told::Written(_) = told {
            self.metrics.wrote(watch.elapsed());
        }
        Ok(told)
    }

    /// Whether a server that cannot be asked to wait for its disk syncs what it was told before it answers.
    async fn synced(&self, server: &Stop, replicas: u32) -> Result<(), CountersError> {
        self.route().cannot_wait(server);
        let answers = self.visit(server, &[Proof::Settings.question(replicas, DISK_MS)]).await?;
        Ok(Proof::Settings.read(answers.first().unwrap_or(&Value::Nil), replicas)?)
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
        // Whoever comes late in one round comes early in another.
        let mut groups = share.groups.clone();
        let turn = usize::try_from(self.now().as_ms()).unwrap_or_default().checked_rem(groups.len());
        groups.rotate_left(turn.unwrap_or_default());
        let stop = Stop::Server(server.clone());
        if !matches!(self.parts.settings.address.servers(), Servers::Cluster { .. }) {
            let taken = self.visit(&stop, &[take(&groups, (now, next), count)]).await;
            let taken = taken.and_then(|answers| names(answers.into_iter().next().unwrap_or(Value::Nil)));
            return taken.inspect_err(|_| self.route().failed(&stop));
        }
        // Most have none, and a look costs less than a script.
        let looks: Vec<Cmd> = groups.iter().map(|group| look(*group, now)).collect();
        let answers = self.visit(&stop, &looks).await.inspect_err(|_| self.route().failed(&stop))?;
        let groups = groups.into_iter().zip(answers);
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
                match self.taken(group, (now, next), left).await {
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

    async fn taken(
        &self,
        group: Group,
        when: (Timestamp, Timestamp),
        count: usize,
    ) -> Result<Vec<HomeName>, CountersError> {
        names(self.ask(group, &[take(&[group], when, count)]).await?.remove(0))
    }

    /// What each server that has homes says of itself.
    ///
    /// # Errors
    /// When nobody can be asked which those are.
    pub async fn facts(&self) -> Result<Judged, CountersError> {
        let group = Group::all().next().ok_or(Wrong::Form)?;
        if !matches!(self.parts.settings.address.servers(), Servers::Cluster { .. }) {
            let server = self.server(group).await?;
            let facts = self.facts_of(&server).await.inspect_err(|_| self.route().failed(&server))?;
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
        let questions = [info, Proof::Settings.question(0, 1), Proof::Waits.question(0, 1)];
        let mut answers = self.visit(server, &questions).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let info: String = redis::from_redis_value(next()).map_err(redis::RedisError::from)?;
        // Managed servers refuse it.
        let settings: BTreeMap<String, String> = redis::from_redis_value(next()).unwrap_or_default();
        let waits_for_disk = waits(&next());
        Ok(Facts { info: Facts::of_info(&info), settings, waits_for_disk })
    }
}

/// Takes so many homes of these groups that are due.
fn take(groups: &[Group], (now, next): (Timestamp, Timestamp), count: usize) -> Cmd {
    let mut take = redis::cmd("EVAL");
    take.arg(CLAIM).arg(groups.len());
    for group in groups {
        take.arg(group.due());
    }
    take.arg(now.as_ms()).arg(next.as_ms()).arg(count);
    take
}

/// The homes that were taken.
fn names(answer: Value) -> Result<Vec<HomeName>, CountersError> {
    not_refused(&answer)?;
    let names: Vec<String> = redis::from_redis_value(answer).map_err(redis::RedisError::from)?;
    Ok(names.iter().filter_map(|name| HomeName::parse(name).ok()).collect())
}

/// Whether a server waits for its disk, by its answer; one that cannot do it now knows of it.
fn waits(answer: &Value) -> Waits {
    let is_forbidden =
        matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoPerm));
    if is_unknown(answer) {
        Waits::Unknown
    } else if is_forbidden {
        Waits::Forbidden
    } else {
        Waits::Asked
    }
}

/// Whether a group of homes has a home that is due.
fn look(group: Group, now: Timestamp) -> Cmd {
    let mut look = redis::cmd("ZRANGEBYSCORE");
    look.arg(group.due()).arg("-inf").arg(now.as_ms()).arg("LIMIT").arg(0).arg(1);
    look
}

fn nonce() -> Result<String, CountersError> {
    Ok(base16ct::lower::encode_string(&random::bytes::<16>()?))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_certificate_that_is_not_believed_is_not_waited_for() {
        let of = |kind| CountersError::from(redis::RedisError::from(io::Error::new(kind, "a cause")));
        for kind in
            [io::ErrorKind::ConnectionRefused, io::ErrorKind::UnexpectedEof, io::ErrorKind::HostUnreachable]
        {
            assert!(of(kind).may_pass(), "{kind}");
        }
        let disbelieved = of(io::ErrorKind::InvalidData);
        assert!(!disbelieved.may_pass() && disbelieved.advice() == Some(BELIEVED), "{disbelieved}");
    }
}
