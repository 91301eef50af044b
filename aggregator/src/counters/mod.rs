//! Homes whose rows are in a Redis: its connections, who is to be looked after, and reading and writing one home.
//!
//! Nothing here decides, and no SQL is here. A connection is used by one at a time, because waiting for a disk holds up
//! everybody behind it.

pub mod promise;
pub mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value};
use redis_rows::{Snapshot, Told, Wrong, disk, due_key, load_script, mark, read, wait, write};
use shared::home::HomeName;
use shared::home::storage::Commit;
use shared::time::Timestamp;

use self::promise::Facts;
use self::settings::RedisSettings;
use crate::random;

/// How long the server may take to bring a write to the disk.
const DISK_MS: u64 = 2_500;
/// How long any answer may take: longer than the disk.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(3);
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
    client: Client,
    settings: RedisSettings,
    idle: Mutex<Vec<MultiplexedConnection>>,
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
        let client = Client::open(settings.address.url())?;
        Ok(Self(Arc::new(Parts { client, settings: settings.clone(), idle: Mutex::default() })))
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
        let kept = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answers = said(&mut connection, &commands).await.inspect_err(|_| {
            // Those that are kept are most likely as dead.
            self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        })?;
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(answers)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, CountersError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(ANSWER_MAX));
        Ok(self.0.client.get_multiplexed_async_connection_with_config(&config).await?)
    }
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
