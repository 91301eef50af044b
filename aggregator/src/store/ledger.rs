//! Entries, crossings and period sums on disk. Entries and crossings are only ever inserted.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::{Mode, ProjectId};
use shared::time::{Period, Timestamp};
use shared::units::Units;
use sqlx::Row;

use super::rows::{day, instant, int, ms, name, number, small, units};
use super::{
    Connection, DbRow, Store, StoreError, Work, catalogues, events, payers, payments, projects, turns,
};
use crate::ledger::crossing::Crossing;
use crate::ledger::entry::{Entry, EntryNumber, Usage};
use crate::ledger::state::Ledger;
use crate::projects::book::{Book, Crossed, opening};
use crate::projects::project::Project;
use crate::webhooks::event::Event;

impl Store {
    /// The book of a project, `None` if there is no such project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn book(&self, id: &ProjectId) -> Result<Option<Book>, StoreError> {
        load(&mut *self.read().await?, id).await
    }

    /// What was seen when the levels of a period were crossed, in the order of the levels.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn crossed(
        &self,
        id: &ProjectId,
        period: Period,
    ) -> Result<Vec<(Crossed, Timestamp)>, StoreError> {
        crossed(&mut *self.readers.acquire().await?, id, period).await
    }

    /// Opens the ledgers of projects that were made by a release without one, as of their making.
    pub(super) async fn open_missing_ledgers(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for project in projects::without_ledger(&mut tx).await? {
            let catalogue = catalogues::of_version(&mut tx, project.catalogue).await?;
            let ledger = opening(&project, &catalogue).map_err(StoreError::Refused)?;
            append(&mut tx, &project.id, &ledger, EntryNumber(1)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Entries, crossings and sums of a project as one line of text each, in order: the ledger's exact
    /// state, for audits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ledger_as_text(&self, id: &ProjectId) -> Result<Vec<String>, StoreError> {
        let mut tx = self.read().await?;
        let text = |row: &DbRow, column| row.try_get::<String, _>(column);
        let mut lines = Vec::new();
        for row in entry_rows(&mut tx, id).await? {
            let (fact, movements) = (text(&row, "fact")?, text(&row, "movements")?);
            lines.push(format!(
                "entry {} {} {fact} {movements}",
                number(&row, "number")?,
                instant(&row, "at_ms")?
            ));
        }
        for Crossing { period, quota_version, percent } in fired(&mut tx, id).await? {
            lines.push(format!("crossing {period} v{quota_version} {percent}"));
        }
        for mode in [Mode::Live, Mode::Test] {
            for (period, Usage { units, anchors }) in totals(&mut tx, id, mode).await? {
                lines.push(format!("usage {mode} {period} units={units} anchors={anchors}"));
            }
        }
        Ok(lines)
    }
}

impl Work {
    /// As [`Store::crossed`], this change included.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn crossed(
        &mut self,
        id: &ProjectId,
        period: Period,
    ) -> Result<Vec<(Crossed, Timestamp)>, StoreError> {
        crossed(&mut self.tx, id, period).await
    }
}

async fn crossed(
    connection: &mut Connection,
    id: &ProjectId,
    period: Period,
) -> Result<Vec<(Crossed, Timestamp)>, StoreError> {
    let rows = sqlx::query(
        "SELECT period, quota_version, percent, quota, used, at_ms FROM crossing_event
             WHERE project = $1 AND period = $2 ORDER BY quota_version, percent",
    )
    .bind(id.as_str())
    .bind(period.to_string())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let (quota, used) = (units(row, "quota")?, units(row, "used")?);
            Ok((Crossed { crossing: crossing(row)?, quota, used }, instant(row, "at_ms")?))
        })
        .collect()
}

pub(super) async fn load(connection: &mut Connection, id: &ProjectId) -> Result<Option<Book>, StoreError> {
    match projects::find(connection, id).await? {
        Some(project) => load_of(connection, project).await.map(Some),
        None => Ok(None),
    }
}

/// The book of a project whose row was read in the same transaction.
pub(super) async fn load_of(connection: &mut Connection, project: Project) -> Result<Book, StoreError> {
    let id = &project.id;
    let entries = entry_rows(connection, id).await?.iter().map(entry).collect::<Result<_, _>>()?;
    let ledger = Ledger::replay(entries).map_err(StoreError::Refused)?;
    let totals = totals(connection, id, Mode::Live).await?;
    let fired = fired(connection, id).await?;
    Ok(Book { project, ledger, totals, fired })
}

/// Which periods are looked at for crossings, and under which quota a home denied a request in them, if one
/// did.
pub(super) type Looks = BTreeMap<Period, Option<Units>>;

/// Writes what a book has beyond `stored`, the entry number that was next when it was read, and the
/// crossings of the periods in `looks` that are due, each with the event that tells of it. Says how many fired.
pub(super) async fn keep(
    tx: &mut Connection,
    book: Book,
    stored: EntryNumber,
    looks: &Looks,
    now: Timestamp,
) -> Result<(Book, usize), StoreError> {
    let mut book = book.settled(now).map_err(StoreError::Refused)?;
    let id = book.project.id.clone();
    append(tx, &id, &book.ledger, stored).await?;
    let due: Vec<Crossed> =
        looks.iter().flat_map(|(period, denied)| book.due(*period, *denied, now)).collect();
    for crossed in &due {
        insert_crossing(tx, &id, crossed, now).await?;
        events::announce(tx, &id, &Event::of_crossing(*crossed), now).await?;
        book.fired.insert(crossed.crossing);
    }
    payers::tell(tx, &book, now).await?;
    if looks.contains_key(&now.period())
        && let Some(end) = Event::of_exhaustion(&book, now).map_err(StoreError::Refused)?
    {
        events::announce(tx, &id, &end, now).await?;
    }
    Ok((book, due.len()))
}

/// Writes the entries from `from` on, and in the same transaction everything that follows from an entry: the event that
/// tells of it, the intent to invoice what it bills, when the edge has to be told anew, and which month is open now.
/// Another writer's entry of that number makes it fail.
pub(super) async fn append(
    tx: &mut Connection,
    id: &ProjectId,
    ledger: &Ledger,
    from: EntryNumber,
) -> Result<(), StoreError> {
    let new: Vec<&Entry> = ledger.entries().iter().filter(|entry| entry.number >= from).collect();
    let Some(last) = new.last() else { return Ok(()) };
    insert_entries(tx, id, &new).await?;
    announce_entries(tx, id, &new).await?;
    payments::intents::intend_invoices(tx, id, ledger, &new).await?;
    turns::note(tx, id, ledger, last.at).await?;
    note_first_open(tx, id, ledger).await
}

async fn insert_entries(tx: &mut Connection, id: &ProjectId, new: &[&Entry]) -> Result<(), StoreError> {
    for Entry { number, at, fact, movements } in new {
        let json = |error: serde_json::Error| StoreError::Unwritable(error.to_string());
        sqlx::query(
            "INSERT INTO entry (project, number, at_ms, fact, movements) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id.as_str())
        .bind(int(number.0))
        .bind(ms(*at))
        .bind(serde_json::to_string(fact).map_err(json)?)
        .bind(serde_json::to_string(movements).map_err(json)?)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn announce_entries(tx: &mut Connection, id: &ProjectId, new: &[&Entry]) -> Result<(), StoreError> {
    for entry in new {
        if let Some(event) = Event::of_entry(entry) {
            events::announce(tx, id, &event, entry.at).await?;
        }
    }
    Ok(())
}

/// Notes the first month that is not closed, which the job that closes months looks for.
async fn note_first_open(tx: &mut Connection, id: &ProjectId, ledger: &Ledger) -> Result<(), StoreError> {
    sqlx::query("UPDATE project SET first_open = $1 WHERE id = $2 AND first_open IS DISTINCT FROM $3")
        .bind(ledger.first_open().to_string())
        .bind(id.as_str())
        .bind(ledger.first_open().to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// Moves a period's sums by what a merge added to its cells.
pub(super) async fn add_usage(
    tx: &mut Connection,
    id: &ProjectId,
    mode: Mode,
    period: Period,
    added: Usage,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO usage (project, mode, period, units, anchors) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (project, mode, period) DO UPDATE SET
             units = usage.units + excluded.units, anchors = usage.anchors + excluded.anchors",
    )
    .bind(id.as_str())
    .bind(mode.as_str())
    .bind(period.to_string())
    .bind(int(added.units.get()))
    .bind(int(added.anchors.get()))
    .execute(tx)
    .await?;
    Ok(())
}

async fn entry_rows(connection: &mut Connection, id: &ProjectId) -> Result<Vec<DbRow>, StoreError> {
    let rows =
        sqlx::query("SELECT number, at_ms, fact, movements FROM entry WHERE project = $1 ORDER BY number")
            .bind(id.as_str())
            .fetch_all(connection)
            .await?;
    Ok(rows)
}

fn entry(row: &DbRow) -> Result<Entry, StoreError> {
    Ok(Entry {
        number: EntryNumber(number(row, "number")?),
        at: instant(row, "at_ms")?,
        fact: json(row, "fact")?,
        movements: json(row, "movements")?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &DbRow, column: &'static str) -> Result<T, StoreError> {
    let stored: String = row.try_get(column)?;
    serde_json::from_str(&stored).map_err(|_| StoreError::Unreadable { column, got: stored })
}

pub(super) async fn totals(
    connection: &mut Connection,
    id: &ProjectId,
    mode: Mode,
) -> Result<BTreeMap<Period, Usage>, StoreError> {
    let rows = sqlx::query("SELECT period, units, anchors FROM usage WHERE project = $1 AND mode = $2")
        .bind(id.as_str())
        .bind(mode.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().map(period_sum).collect()
}

/// The sums of the live cells themselves, which `totals` must equal.
pub(super) async fn sums_of_cells(
    connection: &mut Connection,
    id: &ProjectId,
) -> Result<BTreeMap<Period, Usage>, StoreError> {
    let rows = sqlx::query(
        "SELECT day, CAST(SUM(units) AS BIGINT) AS units, CAST(SUM(anchors) AS BIGINT) AS anchors
         FROM cell WHERE project = $1 AND mode = 'live'
         -- A day on which requests were only refused or observed has nothing to add.
         GROUP BY day HAVING SUM(units) > 0 OR SUM(anchors) > 0",
    )
    .bind(id.as_str())
    .fetch_all(connection)
    .await?;
    let mut sums: BTreeMap<Period, Usage> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(day(&row, "day")?.period()).or_default();
        sum.units = sum.units.saturating_add(units(&row, "units")?);
        sum.anchors = sum.anchors.saturating_add(units(&row, "anchors")?);
    }
    Ok(sums)
}

fn period_sum(row: &DbRow) -> Result<(Period, Usage), StoreError> {
    let usage = Usage { units: units(row, "units")?, anchors: units(row, "anchors")? };
    Ok((name(row, "period", Period::parse)?, usage))
}

async fn fired(connection: &mut Connection, id: &ProjectId) -> Result<BTreeSet<Crossing>, StoreError> {
    let rows = sqlx::query("SELECT period, quota_version, percent FROM crossing WHERE project = $1")
        .bind(id.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().map(crossing).collect()
}

fn crossing(row: &DbRow) -> Result<Crossing, StoreError> {
    let percent = small(row, "percent")?;
    Ok(Crossing {
        period: name(row, "period", Period::parse)?,
        quota_version: small(row, "quota_version")?,
        percent: u8::try_from(percent)
            .map_err(|_| StoreError::Unreadable { column: "percent", got: percent.to_string() })?,
    })
}

async fn insert_crossing(
    tx: &mut Connection,
    id: &ProjectId,
    Crossed { crossing, quota, used }: &Crossed,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO crossing (project, period, quota_version, percent) VALUES ($1, $2, $3, $4)")
        .bind(id.as_str())
        .bind(crossing.period.to_string())
        .bind(i64::from(crossing.quota_version))
        .bind(i64::from(crossing.percent))
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO crossing_event (project, period, quota_version, percent, at_ms, quota, used)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.as_str())
    .bind(crossing.period.to_string())
    .bind(i64::from(crossing.quota_version))
    .bind(i64::from(crossing.percent))
    .bind(ms(now))
    .bind(int(quota.get()))
    .bind(int(used.get()))
    .execute(tx)
    .await?;
    Ok(())
}
