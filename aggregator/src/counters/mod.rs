//! Homes whose rows are in a Redis: its connections, who is to be looked after, and reading and writing one home.
//!
//! Nothing here decides, and no SQL is here. A connection is used by one at a time, because waiting for a disk holds up
//! everybody behind it.

pub mod promise;
pub mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value};
use redis_rows::{
    Address, AddressError, Route, Servers, Snapshot, Stop, Told, Wrong, disk, due_key, load_script, mark,
    not_refused, read, wait, write,
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
/// How long any answer may take: longer than the disk.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long a sentinel may take.
const SENTINEL_MAX: Duration = Duration::from_secs(1);
/// Connections that are kept for later.
const IDLE_MAX: usize = 16;

/// Takes homes that are due, and notes when they are next: a sweep finds what was never marked.
const CLAIM: &str = "
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, home in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], home) end
return due
";

/// A Redis that has homes' rows; clones are the same.
#[derive(Debug, Clone)]
pub struct Counters(Arc<Parts>);

struct Parts {
    settings: RedisSettings,
    route: Mutex<Route>,
    /// What the way's moments are counted from.
    began: Stopwatch,
    /// Connections, and to whom.
    idle: Mutex<Vec<(Stop, MultiplexedConnection)>>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.settings)
    }
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
        if let Servers::One(_) = settings.address.servers() {
            Client::open(settings.address.url())?;
        }
        let route = Mutex::new(Route::new(settings.address.servers().clone()));
        let (settings, began, idle) = (settings.clone(), Stopwatch::start(), Mutex::default());
        Ok(Self(Arc::new(Parts { settings, route, began, idle })))
    }

    /// Reads a home.
    ///
    /// # Errors
    /// When the Redis fails.
    pub async fn read(&self, home: &HomeName) -> Result<Snapshot, CountersError> {
        let command = read(home, &nonce()?);
        match Told::read(self.ask(vec![command]).await?.remove(0))? {
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
        let mut answers = self.ask(commands).await?.into_iter();
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
        self.ask(vec![mark(home, at)]).await.map(|_| ())
    }

    /// Takes homes that are due; they are due again at `next`, whatever becomes of who takes them.
    ///
    /// # Errors
    /// When the Redis fails.
    pub async fn claim(
        &self,
        now: Timestamp,
        next: Timestamp,
        count: usize,
    ) -> Result<Vec<HomeName>, CountersError> {
        let mut command = redis::cmd("EVAL");
        command.arg(CLAIM).arg(1).arg(due_key()).arg(now.as_ms()).arg(next.as_ms()).arg(count);
        let answer = self.ask(vec![command]).await?.remove(0);
        let names: Vec<String> = redis::from_redis_value(answer).map_err(redis::RedisError::from)?;
        Ok(names.iter().filter_map(|name| HomeName::parse(name).ok()).collect())
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn facts(&self) -> Result<Facts, CountersError> {
        let mut info = redis::cmd("INFO");
        info.arg("everything");
        let mut settings = redis::cmd("CONFIG");
        settings.arg("GET").arg("*append*");
        let mut answers = self.ask(vec![info, settings, wait(0, 1)]).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let info: String = redis::from_redis_value(next()).map_err(redis::RedisError::from)?;
        // Managed servers refuse it.
        let settings: BTreeMap<String, String> = redis::from_redis_value(next()).unwrap_or_default();
        let waits_for_disk = !is_unknown(&next());
        Ok(Facts { info: Facts::of_info(&info), settings, waits_for_disk })
    }

    /// Sends commands at once over a connection that nobody else uses meanwhile. Where the server does not know the
    /// script, none of them has written anything: it is told, and they are sent again.
    async fn ask(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, CountersError> {
        let primary = self.primary().await?;
        let kept = {
            let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
            // Those to a server that was the primary before are of no use any more.
            idle.retain(|(of, _)| *of == primary);
            idle.pop()
        };
        let asked = async {
            let mut connection = match kept {
                Some((_, connection)) => connection,
                None => self.connect(&primary).await?,
            };
            let answers = said(&mut connection, &commands).await?;
            let elsewhere =
                |answer| not_refused(answer).err().filter(|wrong| matches!(wrong, Wrong::Elsewhere(_)));
            match answers.iter().find_map(elsewhere) {
                Some(wrong) => Err(wrong.into()),
                None => Ok((connection, answers)),
            }
        };
        let (connection, answers) = asked.await.inspect_err(|_: &CountersError| {
            // Those that are kept are most likely as dead.
            self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.route().failed(&primary);
        })?;
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((primary, connection));
        }
        Ok(answers)
    }

    /// The server that has the homes, as a sentinel says where there are some.
    async fn primary(&self) -> Result<Stop, CountersError> {
        let mut why = None;
        loop {
            let (next, question, sentinels) = {
                let route = self.route();
                (route.next(self.now()), route.question(), route.sentinels())
            };
            let Stop::Sentinel(_) = next else { return Ok(next) };
            let (asked, last) = why.unwrap_or((0, None));
            if let (true, Some(error)) = (asked >= sentinels, last) {
                return Err(error);
            }
            let answered = match tokio::time::timeout(SENTINEL_MAX, self.question(&next, &question)).await {
                Ok(answered) => answered,
                Err(_) => Err(Wrong::Late(next.address().host()).into()),
            };
            let heard = match answered {
                Ok(answers) => self.route().heard(&answers, self.now()).map_err(CountersError::from),
                Err(error) => {
                    self.route().failed(&next);
                    Err(error)
                }
            };
            why = Some((asked.saturating_add(1), heard.err()));
        }
    }

    async fn question(&self, sentinel: &Stop, question: &[Cmd]) -> Result<Vec<Value>, CountersError> {
        let client = Client::open(sentinel.address().place()?)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&patience()).await?;
        send(&mut connection, question).await
    }

    async fn connect(&self, server: &Stop) -> Result<MultiplexedConnection, CountersError> {
        if let Servers::One(_) = self.0.settings.address.servers() {
            let client = Client::open(self.0.settings.address.url())?;
            return Ok(client.get_multiplexed_async_connection_with_config(&patience()).await?);
        }
        let address: &Address = server.address();
        let client = Client::open(address.place()?)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&patience()).await?;
        let greeting = address.greeting();
        if !greeting.is_empty() {
            send(&mut connection, &greeting).await?.iter().try_for_each(not_refused)?;
        }
        Ok(connection)
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.0.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moments of this process; nobody else hears of them.
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.began.elapsed_ms())
    }
}

fn patience() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(ANSWER_MAX))
}

async fn said(connection: &mut MultiplexedConnection, commands: &[Cmd]) -> Result<Vec<Value>, CountersError> {
    let answers = send(connection, commands).await?;
    if !answers.first().is_some_and(is_no_script) {
        return Ok(answers);
    }
    send(connection, &[load_script()]).await?;
    send(connection, commands).await
}

async fn send(connection: &mut MultiplexedConnection, commands: &[Cmd]) -> Result<Vec<Value>, CountersError> {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command.clone());
    }
    Ok(connection.send_packed_commands(&pipeline, 0, commands.len()).await?)
}

/// Whether a command is not known; one that cannot do what it is asked for is.
fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.to_string().contains("unknown command"))
}

fn is_no_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(redis::ServerErrorKind::NoScript))
}

fn nonce() -> Result<String, CountersError> {
    Ok(base16ct::lower::encode_string(&random::bytes::<16>()?))
}
