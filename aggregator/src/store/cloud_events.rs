//! CloudEvents in the books: each source and id once, and what they count, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use shared::cell::{Cell, CellKey, Counts};
use shared::denials::Denials;
use shared::ids::{AgentId, Incarnation, Mode, ProjectId, SourceId};
use shared::time::{Day, Timestamp};
use shared::units::Units;
use shared::wire::Flush;

use super::merge::{self, Added};
use super::rows::{id, ms};
use super::{Connection, Store, StoreError, again, ledger};
use crate::metering::cloud_event::{AGENTS_MAX, Event, REMEMBERED_MS, Refused};

/// Whose cells those of events are. No reporter can be of this incarnation, whatever it is called.
const SOURCE: &str = "events";
const INCARNATION: &str = "cloudevents";

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// All of it is durable.
    Counted(Counted),
    /// Nothing of it was counted, because of the event at that place.
    Refused(usize, Refused),
    /// Nothing of it was counted: with the event at that place an agent's day has more units than the project's requests
    /// per minute permit.
    AboveRate(usize),
    /// There is no such project.
    ProjectUnknown,
}

/// What a batch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Events that were new.
    pub events: u64,
    /// Events that were known, which change nothing.
    pub duplicates: u64,
    /// The units of those that were new.
    pub units: Units,
    /// Crossings that fired.
    pub crossings: usize,
}

/// What events add to a cell, and which of them was the first to.
type Additions = BTreeMap<CellKey, (Units, usize)>;

impl Store {
    /// Counts every event that is not known yet, or nothing.
    ///
    /// # Errors
    /// When the store fails; then nothing was counted.
    pub async fn report_events(
        &self,
        to: (&ProjectId, Mode),
        events: &[Event],
        now: Timestamp,
    ) -> Result<Reported, StoreError> {
        again(|| self.report_events_once(to, events, now)).await
    }

    async fn report_events_once(
        &self,
        (project, mode): (&ProjectId, Mode),
        events: &[Event],
        now: Timestamp,
    ) -> Result<Reported, StoreError> {
        let mut tx = self.write_project(project).await?;
        let Some(book) = ledger::load(&mut tx, project).await? else { return Ok(Reported::ProjectUnknown) };
        let mut counted = Counted::default();
        let mut additions = Additions::new();
        for (place, event) in events.iter().enumerate() {
            // What is known is good, whatever has become of its month.
            if !take(&mut tx, (project, mode), event, now).await? {
                counted.duplicates = counted.duplicates.saturating_add(1);
                continue;
            }
            let key = match event.cell(now, book.ledger.first_open()) {
                Ok(key) => key,
                // The transaction is dropped, and with it what was taken before.
                Err(refused) => return Ok(Reported::Refused(place, refused)),
            };
            counted.events = counted.events.saturating_add(1);
            counted.units = counted.units.saturating_add(event.units);
            add(&mut additions, key, (event.units, place));
        }
        if additions.is_empty() {
            tx.commit().await?;
            return Ok(Reported::Counted(counted));
        }
        let mut flush = empty_flush(project, mode)?;
        let days = additions.keys().map(|key| key.day).collect();
        let additions = folded(additions, agents(&mut tx, &flush, &days).await?);
        flush.cells = additions.iter().map(|(key, (units, _))| cell(key, *units)).collect();
        match merge::merge_added(&mut tx, &flush, book.project.rpm_max, now).await? {
            Added::AboveRate(key) => {
                let place = additions.get(&key).map_or(0, |(_, place)| *place);
                return Ok(Reported::AboveRate(place));
            }
            Added::Merged { crossings, raised } => {
                counted.crossings = crossings;
                if raised {
                    self.commit_policy_change(tx).await?;
                } else {
                    tx.commit().await?;
                    self.deliveries_due.notify_one();
                }
            }
        }
        Ok(Reported::Counted(counted))
    }

    /// Forgets events that nobody repeats any more, and says how many those were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_cloud_events(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = Timestamp::from_ms(now.as_ms().saturating_sub(REMEMBERED_MS));
        let done = sqlx::query("DELETE FROM cloud_event WHERE taken_ms < $1")
            .bind(ms(before))
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected())
    }
}

fn add(additions: &mut Additions, key: CellKey, (units, place): (Units, usize)) {
    let (sum, _) = additions.entry(key).or_insert((Units::ZERO, place));
    *sum = sum.saturating_add(units);
}

fn cell(key: &CellKey, units: Units) -> Cell {
    Cell { key: key.clone(), counts: Counts { units, ..Counts::default() }, denials: Denials::NONE }
}

/// Agents beyond the most that one day has, folded into one with the exact total. `known` are those that it has.
fn folded(additions: Additions, mut known: BTreeMap<Day, BTreeSet<AgentId>>) -> Additions {
    let mut folded = Additions::new();
    for (mut key, addition) in additions {
        let agents = known.entry(key.day).or_default();
        if agents.contains(&key.agent) || agents.len() < AGENTS_MAX {
            agents.insert(key.agent.clone());
        } else {
            key.agent = AgentId::other();
        }
        add(&mut folded, key, addition);
    }
    folded
}

fn empty_flush(project: &ProjectId, mode: Mode) -> Result<Flush, StoreError> {
    let unreadable = |column| StoreError::Unreadable { column, got: "a name of our own".to_owned() };
    let source = SourceId::parse(SOURCE).map_err(|_| unreadable("source"))?;
    let incarnation = Incarnation::parse(INCARNATION).map_err(|_| unreadable("incarnation"))?;
    Ok(Flush::new((project.clone(), mode), (source, incarnation), 0))
}

/// Whether an event was not known; it is now.
async fn take(
    tx: &mut Connection,
    (project, mode): (&ProjectId, Mode),
    event: &Event,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // Texts of any length make a key of one.
    let name = Sha256::new().chain_update(&event.source).chain_update([0]).chain_update(&event.id).finalize();
    let done = sqlx::query(
        "INSERT INTO cloud_event (project, mode, event, taken_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (project, mode, event) DO NOTHING",
    )
    .bind(project.as_str())
    .bind(mode.as_str())
    .bind(name.as_slice())
    .bind(ms(now))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The agents that events were counted for, of each of these days.
async fn agents(
    tx: &mut Connection,
    flush: &Flush,
    days: &BTreeSet<Day>,
) -> Result<BTreeMap<Day, BTreeSet<AgentId>>, StoreError> {
    let mut agents: BTreeMap<Day, BTreeSet<AgentId>> = BTreeMap::new();
    for day in days {
        let rows = sqlx::query(
            "SELECT DISTINCT agent FROM cell
             WHERE project = $1 AND mode = $2 AND day = $3 AND source = $4 AND incarnation = $5",
        )
        .bind(flush.project.as_str())
        .bind(flush.mode.as_str())
        .bind(i64::from(day.number()))
        .bind(flush.source.as_str())
        .bind(flush.incarnation.as_str())
        .fetch_all(&mut *tx)
        .await?;
        let of_day = agents.entry(*day).or_default();
        for row in rows {
            of_day.insert(id(&row, "agent", AgentId::parse)?);
        }
    }
    Ok(agents)
}
