//! Merges flushes into the books: cells by `max`, so that no message can be counted twice or take anything
//! back, and everything that is summed from them in the same transaction.

use shared::cell::{Cell, Counts};
use shared::ids::{KeyId, Mode};
use shared::time::Timestamp;
use shared::wire::Flush;
use sqlx::AssertSqlSafe;

use super::dialect::{Dialect, Type};
use super::ledger::Looks;
use super::rows::{int, json_rows, ms, number, units};
use super::{Connection, Store, StoreError, again, keys, ledger, projects, rollups, stream};
use crate::batch::{Batch, Doubt};
use crate::book::Book;
use crate::growth::Growth;

/// A cell's columns as they are handed over.
const CELL: [(&str, Type); 8] = [
    ("place", Type::Int),
    ("day", Type::Int),
    ("kind", Type::Text),
    ("agent", Type::Text),
    ("units", Type::Int),
    ("tokens_in", Type::Int),
    ("tokens_out", Type::Int),
    ("anchors", Type::Int),
];

/// What a merged flush came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The highest `seq` of the incarnation whose cells are durable.
    pub watermark: u64,
    /// The project's book, for its policy.
    pub book: Book,
    /// Its keys that are not revoked.
    pub keys: Vec<KeyId>,
    /// Cells that were merged.
    pub cells: usize,
    /// Cells that were set aside.
    pub doubted: usize,
    /// Crossings that fired.
    pub crossings: usize,
    /// Whether the policy has a new version.
    pub raised: bool,
}

impl Store {
    /// Merges flushes in one transaction; the answers are durable and in the order of the flushes.
    /// `None` is a flush of a project that does not exist, which leaves no trace.
    ///
    /// # Errors
    /// When the store fails; then nothing of any of them was merged.
    pub async fn merge(&self, flushes: &[&Flush], now: Timestamp) -> Result<Vec<Option<Merged>>, StoreError> {
        again(|| self.merge_once(flushes, now)).await
    }

    async fn merge_once(
        &self,
        flushes: &[&Flush],
        now: Timestamp,
    ) -> Result<Vec<Option<Merged>>, StoreError> {
        let mut tx = self.write_projects(flushes.iter().map(|flush| &flush.project)).await?;
        let mut answers = Vec::with_capacity(flushes.len());
        for flush in flushes {
            answers.push(merge_one(&mut tx, flush, now).await?);
        }
        if answers.iter().flatten().any(|merged: &Merged| merged.raised) {
            self.commit_policy_change(tx).await?;
        } else {
            tx.commit().await?;
        }
        if answers.iter().flatten().any(|merged| merged.crossings > 0) {
            self.deliveries_due.notify_one();
        }
        Ok(answers)
    }
}

async fn merge_one(tx: &mut Connection, flush: &Flush, now: Timestamp) -> Result<Option<Merged>, StoreError> {
    let Some(project) = projects::find(tx, &flush.project).await? else { return Ok(None) };
    let Batch { cells, doubted } = Batch::prepare(&flush.cells, project.rpm_max, now.day());
    let (count, doubted_count) = (cells.len(), doubted.len());
    let growth = grow(tx, flush, cells).await?;
    write(tx, flush, &growth).await?;
    for (cell, reason) in &doubted {
        set_aside(tx, flush, cell, (*reason, now)).await?;
    }
    let watermark = touch_source(tx, flush, now).await?;
    let Some(book) = ledger::load(tx, &flush.project).await? else { return Ok(None) };
    stream::tell_flush(tx, flush, &growth.periods, &book, now).await?;
    let mut looks: Looks = growth.periods.into_keys().map(|period| (period, None)).collect();
    for denied in &flush.denied {
        let under = looks.entry(denied.period).or_default();
        *under = (*under).max(Some(denied.quota));
    }
    let before = book.project.policy_version;
    let (book, crossings) = match flush.mode {
        Mode::Live if !looks.is_empty() => tell_ledger(tx, book, &looks, now).await?,
        Mode::Live | Mode::Test => (book, 0),
    };
    let keys = keys::active(tx, &flush.project).await?;
    let raised = book.project.policy_version > before;
    Ok(Some(Merged { watermark, book, keys, cells: count, doubted: doubted_count, crossings, raised }))
}

/// Merges cells that a person believes. Says how many crossings fired, and whether the policy has a new version.
pub(super) async fn merge_believed(
    tx: &mut Connection,
    flush: &Flush,
    now: Timestamp,
) -> Result<(usize, bool), StoreError> {
    let growth = grow(tx, flush, flush.cells.clone()).await?;
    write(tx, flush, &growth).await?;
    let Some(book) = ledger::load(tx, &flush.project).await? else { return Ok((0, false)) };
    stream::tell_flush(tx, flush, &growth.periods, &book, now).await?;
    let looks: Looks = growth.periods.into_keys().map(|period| (period, None)).collect();
    let before = book.project.policy_version;
    match flush.mode {
        Mode::Live if !looks.is_empty() => {
            let (book, crossings) = tell_ledger(tx, book, &looks, now).await?;
            Ok((crossings, book.project.policy_version > before))
        }
        Mode::Live | Mode::Test => Ok((0, false)),
    }
}

/// Cells of closed periods become adjustments; levels that open ones have reached are crossed.
async fn tell_ledger(
    tx: &mut Connection,
    mut book: Book,
    looks: &Looks,
    now: Timestamp,
) -> Result<(Book, usize), StoreError> {
    let stored = book.next_number();
    for period in looks.keys() {
        book = book.adjusted(*period, now).map_err(StoreError::Refused)?;
    }
    let (mut book, crossings) = ledger::keep(tx, book, stored, looks, now).await?;
    if book.next_number() > stored {
        // An adjustment may have taken from lots, which homes are told of.
        book.project.policy_version = projects::raise_policy(tx, &book.project.id, now).await?;
    }
    Ok((book, crossings))
}

/// What these cells are beyond those that are stored.
async fn grow(tx: &mut Connection, flush: &Flush, cells: Vec<Cell>) -> Result<Growth, StoreError> {
    let mut growth = Growth::default();
    if cells.is_empty() {
        return Ok(growth);
    }
    let mut stored = stored(tx, flush, &cells).await?.into_iter().peekable();
    for (place, cell) in (0_u64..).zip(cells) {
        let counts = stored.next_if(|(stored, _)| *stored == place).map(|(_, counts)| counts);
        growth.add(cell, counts);
    }
    Ok(growth)
}

/// What is stored of these cells, with the place of each among them, in that order.
async fn stored(
    tx: &mut Connection,
    flush: &Flush,
    cells: &[Cell],
) -> Result<Vec<(u64, Counts)>, StoreError> {
    // CROSS JOIN makes SQLite keep this order: one look-up by primary key for each given cell.
    let sql = format!(
        "SELECT given.place, cell.units, cell.tokens_in, cell.tokens_out, cell.anchors
         FROM {} AS given CROSS JOIN cell
         WHERE cell.project = $1 AND cell.mode = $2 AND cell.source = $3 AND cell.incarnation = $4
           AND cell.day = given.day AND cell.agent = given.agent AND cell.kind = given.kind
         ORDER BY given.place",
        Dialect::of(tx).rows("$5", &CELL)
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(flush.project.as_str())
        .bind(flush.mode.as_str())
        .bind(flush.source.as_str())
        .bind(flush.incarnation.as_str())
        .bind(given(cells)?)
        .fetch_all(tx)
        .await?;
    rows.iter()
        .map(|row| {
            let counts = Counts {
                units: units(row, "units")?,
                tokens_in: units(row, "tokens_in")?,
                tokens_out: units(row, "tokens_out")?,
                anchors: units(row, "anchors")?,
            };
            Ok((number(row, "place")?, counts))
        })
        .collect()
}

/// Cells as [`CELL`] names their columns.
fn given(cells: &[Cell]) -> Result<String, StoreError> {
    json_rows((0_u64..).zip(cells).map(|(place, Cell { key, counts })| {
        (
            place,
            key.day.number(),
            key.kind.as_str(),
            key.agent.as_str(),
            int(counts.units.get()),
            int(counts.tokens_in.get()),
            int(counts.tokens_out.get()),
            int(counts.anchors.get()),
        )
    }))
}

/// Writes what grew, and moves every sum of it.
async fn write(tx: &mut Connection, flush: &Flush, growth: &Growth) -> Result<(), StoreError> {
    if growth.cells.is_empty() {
        return Ok(());
    }
    write_cells(tx, flush, &growth.cells).await?;
    rollups::add_days(tx, flush, &growth.days).await?;
    rollups::add_agents(tx, flush, &growth.agents).await?;
    for (period, added) in &growth.periods {
        ledger::add_usage(tx, &flush.project, flush.mode, *period, *added).await?;
    }
    Ok(())
}

async fn write_cells(tx: &mut Connection, flush: &Flush, cells: &[Cell]) -> Result<(), StoreError> {
    let dialect = Dialect::of(tx);
    let sql = format!(
        "INSERT INTO cell (project, mode, source, incarnation, day, kind, agent, units, tokens_in, tokens_out, anchors)
         SELECT $1, $2, $3, $4, day, kind, agent, units, tokens_in, tokens_out, anchors FROM {rows} AS given WHERE true
         ON CONFLICT (project, mode, day, agent, kind, source, incarnation) DO UPDATE SET
             units = {greatest}(cell.units, excluded.units),
             tokens_in = {greatest}(cell.tokens_in, excluded.tokens_in),
             tokens_out = {greatest}(cell.tokens_out, excluded.tokens_out),
             anchors = {greatest}(cell.anchors, excluded.anchors)",
        rows = dialect.rows("$5", &CELL),
        greatest = dialect.greatest(),
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(flush.project.as_str())
        .bind(flush.mode.as_str())
        .bind(flush.source.as_str())
        .bind(flush.incarnation.as_str())
        .bind(given(cells)?)
        .execute(tx)
        .await?;
    Ok(())
}

async fn set_aside(
    tx: &mut Connection,
    flush: &Flush,
    cell: &Cell,
    (reason, now): (Doubt, Timestamp),
) -> Result<(), StoreError> {
    let greatest = Dialect::of(tx).greatest();
    let sql = format!(
        "INSERT INTO quarantine (project, mode, source, incarnation, day, kind, agent, reason,
                                 units, tokens_in, tokens_out, anchors, first_seen_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (project, mode, day, agent, kind, source, incarnation, reason) DO UPDATE SET
             units = {greatest}(quarantine.units, excluded.units),
             tokens_in = {greatest}(quarantine.tokens_in, excluded.tokens_in),
             tokens_out = {greatest}(quarantine.tokens_out, excluded.tokens_out),
             anchors = {greatest}(quarantine.anchors, excluded.anchors)"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(flush.project.as_str())
        .bind(flush.mode.as_str())
        .bind(flush.source.as_str())
        .bind(flush.incarnation.as_str())
        .bind(i64::from(cell.key.day.number()))
        .bind(cell.key.kind.as_str())
        .bind(cell.key.agent.as_str())
        .bind(reason.as_str())
        .bind(int(cell.counts.units.get()))
        .bind(int(cell.counts.tokens_in.get()))
        .bind(int(cell.counts.tokens_out.get()))
        .bind(int(cell.counts.anchors.get()))
        .bind(ms(now))
        .execute(tx)
        .await?;
    Ok(())
}

/// Notes that the source flushed, and says how far its incarnation has come.
async fn touch_source(tx: &mut Connection, flush: &Flush, now: Timestamp) -> Result<u64, StoreError> {
    let greatest = Dialect::of(tx).greatest();
    let sql = format!(
        "INSERT INTO source (project, mode, source, incarnation, watermark, last_seen_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (project, mode, source, incarnation) DO UPDATE SET
             watermark = {greatest}(source.watermark, excluded.watermark),
             last_seen_ms = {greatest}(source.last_seen_ms, excluded.last_seen_ms)
         RETURNING watermark"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(flush.project.as_str())
        .bind(flush.mode.as_str())
        .bind(flush.source.as_str())
        .bind(flush.incarnation.as_str())
        .bind(int(flush.seq))
        .bind(ms(now))
        .fetch_one(tx)
        .await?;
    number(&row, "watermark")
}
