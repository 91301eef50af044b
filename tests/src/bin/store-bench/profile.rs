//! What a run keeps busy: processor time by whose it is, and what the sessions of Postgres wait for.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row};
use tests::postgres::Postgres;
use tests::servers::Servers;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Between two looks at the sessions.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Whose processor time is told of, in that order; what is left is [`OTHERS`].
pub(crate) const WHOSE: [&str; 4] =
    ["aggregators", "sessions of Postgres", "other processes of Postgres", "load generator"];
/// The rest of what was busy, which is the system's own and what else it runs.
pub(crate) const OTHERS: &str = "all others";
/// What nobody used; of that the part in which something waited for the disk.
pub(crate) const IDLE: [&str; 2] = ["nobody", "nobody, while something waits for the disk"];

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    /// Hundredths of all processors' time, by whose it was.
    pub(crate) processors: BTreeMap<&'static str, f64>,
    /// How many sessions there were in the mean, by what they did.
    pub(crate) sessions: BTreeMap<String, f64>,
    /// The same of those that computed or waited within Postgres, by their statement.
    pub(crate) statements: BTreeMap<String, f64>,
}

/// [`Profile::sessions`] and [`Profile::statements`].
type Looks = [BTreeMap<String, f64>; 2];

/// One that has begun.
pub(crate) struct Running {
    before: Ticks,
    postgres: u32,
    servers: Vec<u32>,
    stop: oneshot::Sender<()>,
    looks: JoinHandle<Result<Looks>>,
}

/// Processor time so far.
struct Ticks {
    /// By process and whose it is.
    of: BTreeMap<(u32, &'static str), u64>,
    all: u64,
    idle: [u64; 2],
}

impl Running {
    pub(crate) fn begin(postgres: &Postgres, servers: &Servers, count: usize) -> Result<Self> {
        let url = servers.database().to_owned();
        let pids = (0..count).map(|index| servers.pid(index).context("it runs"));
        let (servers, postgres) = (pids.collect::<Result<Vec<_>>>()?, postgres.pid()?);
        let (stop, stopped) = oneshot::channel();
        let looks = tokio::spawn(look(url, stopped));
        Ok(Self { before: ticks(postgres, &servers)?, postgres, servers, stop, looks })
    }

    pub(crate) async fn end(self) -> Result<Profile> {
        let (before, after) = (self.before, ticks(self.postgres, &self.servers)?);
        self.stop.send(()).ok();
        let [sessions, statements] = self.looks.await??;
        let all = (after.all - before.all) as f64;
        let mut processors = BTreeMap::new();
        let mut share = |whose: &'static str, ticks: u64| {
            *processors.entry(whose).or_insert(0.0) += 100.0 * ticks as f64 / all;
        };
        let mut known = 0;
        for (of, ticks) in &after.of {
            let (_, whose) = of;
            let used = ticks.saturating_sub(before.of.get(of).copied().unwrap_or_default());
            share(whose, used);
            known += used;
        }
        let ([nobody, disk], [nobody_before, disk_before]) = (after.idle, before.idle);
        let idle = [nobody.saturating_sub(nobody_before), disk.saturating_sub(disk_before)];
        let [nobody, disk] = idle;
        share(OTHERS, (after.all - before.all).saturating_sub(known + nobody + disk));
        for (whose, ticks) in IDLE.into_iter().zip(idle) {
            share(whose, ticks);
        }
        Ok(Profile { processors, sessions, statements })
    }
}

fn ticks(postgres: u32, servers: &[u32]) -> Result<Ticks> {
    let mut of = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has ended meanwhile is nobody's.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit_once(')').context("a name")?.1.split_whitespace().collect();
        let field = |number: usize| anyhow::Ok(fields.get(number).context("a field")?.parse::<u64>()?);
        let is_of_postgres = process == postgres || field(1)? == u64::from(postgres);
        let whose = if servers.contains(&process) {
            WHOSE[0]
        } else if is_of_postgres {
            let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            // `postgres: <user> <database> <address>(<port>) <state>`.
            let is_session = String::from_utf8_lossy(&command).starts_with("postgres: postgres ");
            if is_session { WHOSE[1] } else { WHOSE[2] }
        } else if process == std::process::id() {
            WHOSE[3]
        } else {
            continue;
        };
        of.insert((process, whose), field(11)? + field(12)?);
        if process == postgres {
            // Sessions that have ended are told of by whom they were begun.
            of.insert((process, WHOSE[1]), field(13)? + field(14)?);
        }
    }
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("a line of all processors")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
    let all: Vec<u64> = line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
    let of_all = |number: usize| all.get(number).copied().context("a field");
    Ok(Ticks { of, all: all.iter().sum(), idle: [of_all(3)?, of_all(4)?] })
}

/// Looks at what the sessions do until it is stopped.
async fn look(url: String, mut stopped: oneshot::Receiver<()>) -> Result<Looks> {
    let mut connection = PgConnection::connect(&url).await?;
    let (mut seen, mut looks) = (Looks::default(), 0.0);
    while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        let rows = sqlx::query(
            "SELECT CASE WHEN state = 'idle in transaction' THEN 'wait for the aggregator'
                         WHEN wait_event IS NULL THEN 'compute'
                         ELSE 'wait for ' || wait_event_type || ': ' || wait_event END AS what,
                    CASE WHEN state = 'active' THEN
                         substring(query FROM '^\\s*(\\w+)')
                         || coalesce(' ' || substring(query FROM '(?:INTO|UPDATE|FROM)\\s+(\\w+)'), '') END AS statement
             FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND backend_type = 'client backend' AND state <> 'idle'",
        )
        .fetch_all(&mut connection)
        .await?;
        looks += 1.0;
        for row in rows {
            let [sessions, statements] = &mut seen;
            *sessions.entry(row.try_get("what")?).or_insert(0.0) += 1.0;
            if let Some(statement) = row.try_get::<Option<String>, _>("statement")? {
                *statements.entry(statement).or_insert(0.0) += 1.0;
            }
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    seen.iter_mut().flat_map(BTreeMap::values_mut).for_each(|count| *count /= looks);
    Ok(seen)
}
