//! What the script and the server have answered.

use std::fmt;

use redis::{ServerErrorKind, Value};
use shared::home::storage::Stored;

/// The row that counts writes.
const VERSION: &str = "version";
/// The row that says in which life of the server the home was written last.
const LIFE: &str = "life";
/// The row that says what the first write of all these rows was called.
const BIRTH: &str = "birth";
/// The row that has the number of the last write.
const SAID: &str = "said";
/// The row that counts how often the aggregator has looked after the home.
const LOOKS: &str = "looks";
/// The row that says when the aggregator had no such project.
const UNKNOWN: &str = "unknown";

/// What is stored, of one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The life of the server that was asked.
    pub life: String,
    /// The first write of all these rows; empty where there are none.
    birth: String,
    /// In which life the rows were written; none where there are no rows.
    pub written_in: Option<String>,
    /// How often the aggregator has looked after the home.
    pub looks: u64,
    /// When the aggregator had no such project, in milliseconds since the epoch.
    pub unknown_ms: Option<u64>,
    /// The home's own rows.
    pub stored: Stored,
}

impl Snapshot {
    /// Whether the rows are of another life of the server: it was restarted, restored or has failed over, and what was
    /// acknowledged since may be missing.
    #[must_use]
    pub fn is_of_another_life(&self) -> bool {
        self.written_in.as_ref().is_some_and(|life| *life != self.life)
    }

    /// The life that a write from here must find: that of the server and that of the rows.
    #[must_use]
    pub fn seen(&self) -> String {
        format!("{}{}", self.life, self.birth)
    }

    /// The row that counts how often the aggregator has looked after the home.
    #[must_use]
    pub fn looks_row() -> &'static str {
        LOOKS
    }

    /// The row that says when the aggregator had no such project.
    #[must_use]
    pub fn unknown_row() -> &'static str {
        UNKNOWN
    }
}

/// What the script has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was written, and this is its version.
    Written(u64),
    /// Nothing was written; this is what is stored.
    Rows(Snapshot),
    /// The server does not know the script.
    NoScript,
}

/// A server of a cluster, as another one names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The slot that is spoken of.
    pub slot: u16,
    /// Empty where it is that of whoever says so.
    pub host: String,
    /// The port there.
    pub port: u16,
}

impl Place {
    /// Reads `3999 10.0.0.1:6379`.
    fn parse(text: &str) -> Option<Self> {
        let (slot, place) = text.trim().split_once(' ')?;
        let (host, port) = place.rsplit_once(':')?;
        Some(Self { slot: slot.parse().ok()?, host: host.to_owned(), port: port.parse().ok()? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}: {}:{}", self.slot, self.host, self.port)
    }
}

/// An answer that is none of the script's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The server has refused a command.
    #[error("the server has said: {0}")]
    Refused(String),
    /// The reply has another form.
    #[error("the server has answered what nobody asked for")]
    Form,
    /// It is no primary, or no longer: another server is.
    #[error("it is no primary, and says: {0}")]
    Elsewhere(String),
    /// A cluster has given the keys to another of its servers.
    #[error("it says that another server of its cluster has the keys of {0}")]
    Moved(Place),
    /// A cluster is giving the keys to another of its servers, which has these already.
    #[error("it says that another server of its cluster is given the keys of {0}")]
    Asked(Place),
    /// The cluster does not serve those keys, for now.
    #[error("its cluster does not serve these keys now, and says: {0}")]
    Down(String),
    /// No server of the cluster has those keys.
    #[error(
        "no server of the cluster has slot {0}: `meter redis check` says which are missing, and \
         `redis-cli --cluster fix` gives them to one"
    )]
    NoOwner(u16),
    /// One server was named that is one of a cluster's.
    #[error(
        "it is a server of a cluster: let REDIS_URL name several of its servers, separated by commas (or that one twice)"
    )]
    OfCluster,
    /// Several servers were named that are no cluster.
    #[error(
        "{0} is in no cluster: REDIS_URL names several servers, separated by commas, only where they are one"
    )]
    NoCluster(String),
    /// Nothing was heard of whoever was asked.
    #[error("{0} does not answer")]
    Late(String),
    /// A sentinel knows no such primary.
    #[error("the sentinel knows no primary called {0}: the name is what follows the last / of REDIS_URL")]
    NoPrimary(String),
    /// It knows no command that waits for its disk.
    #[error("it cannot be asked to wait for its disk (WAITAOF): use Redis 7.2 or newer, or Valkey")]
    NoWait,
    /// It cannot be asked to wait, and what it says of its log is not enough.
    #[error(
        "it cannot be asked to wait for its disk (WAITAOF), so that its settings must say that it syncs its log before \
         it answers: {0}, or use Redis 7.2 or newer, or Valkey"
    )]
    NotSynced(&'static str),
    /// It cannot be asked to wait, and no setting says what is on a replica's disk.
    #[error(
        "it cannot be asked to wait for replicas' disks (WAITAOF): set REDIS_REPLICAS=0, or use Redis 7.2 or newer, or \
         Valkey"
    )]
    NoReplicas,
    /// It is written, but not where it survives.
    #[error(
        "what was written is not on the disk of the server and {wanted} replicas, but {local} and {replicas}"
    )]
    NotOnDisk {
        /// The server itself: 1 or 0.
        local: i64,
        /// How many replicas have it.
        replicas: i64,
        /// How many must.
        wanted: u32,
    },
}

impl Told {
    /// Reads the script's answer.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(reply: Value) -> Result<Self, Wrong> {
        if let Value::ServerError(error) = &reply {
            let is_unknown = error.kind() == Some(ServerErrorKind::NoScript);
            return if is_unknown { Ok(Self::NoScript) } else { Err(refused(&reply)) };
        }
        let Value::Array(parts) = reply else { return Err(Wrong::Form) };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Value::Int(1)), Some(version), None) => Ok(Self::Written(number(&text(version)?)?)),
            (Some(Value::Int(0)), Some(life), Some(Value::Array(rows))) => {
                snapshot(text(life)?, rows).map(Self::Rows)
            }
            _ => Err(Wrong::Form),
        }
    }
}

/// Whether it was waited for long enough.
///
/// # Errors
/// When it is not on that many disks.
pub(crate) fn disk(reply: &Value, wanted: u32) -> Result<(), Wrong> {
    not_refused(reply)?;
    let Value::Array(counts) = reply else { return Err(Wrong::Form) };
    let [Value::Int(local), Value::Int(replicas)] = counts.as_slice() else { return Err(Wrong::Form) };
    let is_enough = *local >= 1 && *replicas >= i64::from(wanted);
    if is_enough { Ok(()) } else { Err(Wrong::NotOnDisk { local: *local, replicas: *replicas, wanted }) }
}

/// Whether the server has done what it was told.
///
/// # Errors
/// When it has not, and whether that is because another one is the primary.
pub fn not_refused(reply: &Value) -> Result<(), Wrong> {
    if matches!(reply, Value::ServerError(_)) { Err(refused(reply)) } else { Ok(()) }
}

fn refused(reply: &Value) -> Wrong {
    let Value::ServerError(error) = reply else { return Wrong::Form };
    let said = error.to_string();
    let place = || error.details().and_then(Place::parse);
    match error.kind() {
        Some(ServerErrorKind::Moved) => place().map_or(Wrong::Form, Wrong::Moved),
        Some(ServerErrorKind::Ask) => place().map_or(Wrong::Form, Wrong::Asked),
        Some(ServerErrorKind::ClusterDown | ServerErrorKind::TryAgain) => Wrong::Down(said),
        Some(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => Wrong::Elsewhere(said),
        // Whoever waits for a disk when the server is made a replica is told so.
        _ if error.code() == "UNBLOCKED" => Wrong::Elsewhere(said),
        _ => Wrong::Refused(said),
    }
}

fn snapshot(life: String, rows: Vec<Value>) -> Result<Snapshot, Wrong> {
    let mut snapshot = Snapshot { life, ..Snapshot::default() };
    let mut rows = rows.into_iter();
    while let (Some(name), Some(value)) = (rows.next(), rows.next()) {
        let (name, value) = (text(name)?, text(value)?);
        match name.as_str() {
            VERSION => snapshot.stored.version = number(&value)?,
            BIRTH => snapshot.birth = value,
            SAID => {}
            LIFE => snapshot.written_in = Some(value),
            LOOKS => snapshot.looks = number(&value)?,
            UNKNOWN => snapshot.unknown_ms = Some(number(&value)?),
            _ => snapshot.stored.rows.push((name, value)),
        }
    }
    Ok(snapshot)
}

fn text(value: Value) -> Result<String, Wrong> {
    let Value::BulkString(bytes) = value else { return Err(Wrong::Form) };
    String::from_utf8(bytes).map_err(|_| Wrong::Form)
}

fn number(text: &str) -> Result<u64, Wrong> {
    text.parse().map_err(|_| Wrong::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(said: &str) -> Wrong {
        let reply = redis::parse_redis_value(format!("-{said}\r\n").as_bytes()).unwrap();
        not_refused(&reply).unwrap_err()
    }

    #[test]
    fn where_keys_have_gone_is_read_whatever_the_name_of_the_host_is() {
        let place = |host: &str| Place { slot: 3999, host: host.to_owned(), port: 6381 };
        assert_eq!(wrong("MOVED 3999 10.0.0.1:6381"), Wrong::Moved(place("10.0.0.1")));
        assert_eq!(wrong("MOVED 3999 ::1:6381"), Wrong::Moved(place("::1")));
        assert_eq!(wrong("ASK 3999 :6381"), Wrong::Asked(place("")));
        assert_eq!(wrong("MOVED 3999"), Wrong::Form);
        assert!(matches!(wrong("CLUSTERDOWN Hash slot not served"), Wrong::Down(_)));
        assert!(matches!(wrong("TRYAGAIN Multiple keys request"), Wrong::Down(_)));
        assert!(matches!(wrong("UNBLOCKED force unblock"), Wrong::Elsewhere(_)));
        assert!(matches!(wrong("ERR wrong"), Wrong::Refused(_)));
    }
}
