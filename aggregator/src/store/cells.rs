//! Cells in the books: merged by `max`, so that no message can be counted twice or take anything back.

use std::collections::BTreeMap;

use shared::cell::{Cell, CellKey};
use shared::ids::{AgentId, KeyId, Mode, ProjectId};
use shared::kind::Kind;
use shared::time::{Period, Timestamp};
use shared::units::Units;
use shared::wire::Flush;
use sqlx::{QueryBuilder, Row};

use super::ledger::Looks;
use super::rows::{day, id, instant, int, ms, name, number, units};
use super::{Connection, Db, DbRow, Store, StoreError, keys, ledger, projects};
use crate::batch::{Batch, Doubt};
use crate::book::Book;
use crate::ledger::entry::Usage;

/// Cells in one statement: few enough that the statement stays far below SQLite's 32,766 values.
const MERGE_ROWS_MAX: usize = 500;

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

/// What is known of a source's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// The highest `seq` that was merged.
    pub watermark: u64,
    /// When it last flushed, by our clock.
    pub last_seen: Timestamp,
}

impl Store {
    /// Merges flushes in one transaction; the answers are durable and in the order of the flushes.
    /// `None` is a flush of a project that does not exist, which leaves no trace.
    ///
    /// # Errors
    /// When the store fails; then nothing of any of them was merged.
    pub async fn merge(&self, flushes: &[&Flush], now: Timestamp) -> Result<Vec<Option<Merged>>, StoreError> {
        let mut tx = self.write().await?;
        let mut answers = Vec::with_capacity(flushes.len());
        for flush in flushes {
            answers.push(merge_one(&mut tx, flush, now).await?);
        }
        if answers.iter().flatten().any(|merged: &Merged| merged.raised) {
            self.commit_policy_change(tx).await?;
        } else {
            tx.commit().await?;
        }
        Ok(answers)
    }

    /// What is known of the storage that a flush came from.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn source(&self, flush: &Flush) -> Result<Option<SourceState>, StoreError> {
        let row = sqlx::query(
            "SELECT watermark, last_seen_ms FROM source
             WHERE project = $1 AND mode = $2 AND source = $3 AND incarnation = $4",
        )
        .bind(flush.project.as_str())
        .bind(flush.mode.as_str())
        .bind(flush.source.as_str())
        .bind(flush.incarnation.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            Ok(SourceState {
                watermark: number(&row, "watermark")?,
                last_seen: instant(&row, "last_seen_ms")?,
            })
        })
        .transpose()
    }

    /// How many cells of the project are set aside.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn quarantined(&self, project: &ProjectId) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS cells FROM quarantine WHERE project = $1")
            .bind(project.as_str())
            .fetch_one(&self.readers)
            .await?;
        number(&row, "cells")
    }

    /// Every cell of a project as one line of text each, in order: the books' exact state, for audits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cells_as_text(&self, project: &ProjectId) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT mode, day, agent, kind, source, incarnation, units, tokens_in, tokens_out, anchors
             FROM cell WHERE project = $1
             ORDER BY mode, day, agent, kind, source, incarnation",
        )
        .bind(project.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(as_text).collect()
    }
}

fn as_text(row: &DbRow) -> Result<String, StoreError> {
    let text = |column| row.try_get::<String, _>(column);
    Ok(format!(
        "{} {} {} {} {} {} units={} tokens_in={} tokens_out={} anchors={}",
        text("mode")?,
        super::rows::day(row, "day")?,
        text("agent")?,
        text("kind")?,
        text("source")?,
        text("incarnation")?,
        number(row, "units")?,
        number(row, "tokens_in")?,
        number(row, "tokens_out")?,
        number(row, "anchors")?,
    ))
}

async fn merge_one(tx: &mut Connection, flush: &Flush, now: Timestamp) -> Result<Option<Merged>, StoreError> {
    let Some(project) = projects::find(tx, &flush.project).await? else { return Ok(None) };
    let Batch { cells, doubted } = Batch::prepare(&flush.cells, project.rpm_max, now.day());
    let mut moved = BTreeMap::new();
    for rows in cells.chunks(MERGE_ROWS_MAX) {
        add_growth(tx, flush, rows, &mut moved).await?;
        merge_cells(tx, flush, rows).await?;
    }
    for (period, added) in &moved {
        ledger::add_usage(tx, &flush.project, flush.mode, *period, *added).await?;
    }
    for (cell, reason) in &doubted {
        set_aside(tx, flush, cell, (*reason, now)).await?;
    }
    let watermark = touch_source(tx, flush, now).await?;
    let Some(book) = ledger::load(tx, &flush.project).await? else { return Ok(None) };
    let mut looks: Looks = moved.into_keys().map(|period| (period, None)).collect();
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
    let (cells, doubted) = (cells.len(), doubted.len());
    Ok(Some(Merged { watermark, book, keys, cells, doubted, crossings, raised }))
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

/// Adds what these cells are beyond those that are stored to the sums of their periods.
async fn add_growth(
    tx: &mut Connection,
    flush: &Flush,
    cells: &[Cell],
    moved: &mut BTreeMap<Period, Usage>,
) -> Result<(), StoreError> {
    let stored = stored(tx, flush, cells).await?;
    for cell in cells {
        let old = stored.get(&cell.key).copied().unwrap_or_default();
        let (units, anchors) =
            (cell.counts.units.saturating_sub(old.units), cell.counts.anchors.saturating_sub(old.anchors));
        if units > Units::ZERO || anchors > Units::ZERO {
            let sum = moved.entry(cell.key.day.period()).or_default();
            sum.units = sum.units.saturating_add(units);
            sum.anchors = sum.anchors.saturating_add(anchors);
        }
    }
    Ok(())
}

/// What is billed of these cells as they are stored; those that are not are absent.
async fn stored(
    tx: &mut Connection,
    flush: &Flush,
    cells: &[Cell],
) -> Result<BTreeMap<CellKey, Usage>, StoreError> {
    let mut statement = QueryBuilder::<Db>::new("WITH wanted (day, agent, kind) AS (");
    statement.push_values(cells, |mut row, cell| {
        row.push_bind(i64::from(cell.key.day.number()))
            .push_bind(cell.key.agent.as_str())
            .push_bind(cell.key.kind.as_str());
    });
    // CROSS JOIN keeps this order: one look-up by primary key for each wanted cell.
    statement
        .push(
            ") SELECT cell.day, cell.agent, cell.kind, cell.units, cell.anchors FROM wanted CROSS JOIN cell
               ON cell.day = wanted.day AND cell.agent = wanted.agent AND cell.kind = wanted.kind
             WHERE cell.project = ",
        )
        .push_bind(flush.project.as_str())
        .push(" AND cell.mode = ")
        .push_bind(flush.mode.as_str())
        .push(" AND cell.source = ")
        .push_bind(flush.source.as_str())
        .push(" AND cell.incarnation = ")
        .push_bind(flush.incarnation.as_str());
    let rows = statement.build().fetch_all(tx).await?;
    rows.iter()
        .map(|row| {
            let key = CellKey {
                day: day(row, "day")?,
                kind: name(row, "kind", Kind::parse)?,
                agent: id(row, "agent", AgentId::parse)?,
            };
            Ok((key, Usage { units: units(row, "units")?, anchors: units(row, "anchors")? }))
        })
        .collect()
}

async fn merge_cells(tx: &mut Connection, flush: &Flush, cells: &[Cell]) -> Result<(), StoreError> {
    let mut statement = QueryBuilder::<Db>::new(
        "INSERT INTO cell (project, mode, source, incarnation, day, kind, agent, units, tokens_in, tokens_out, anchors) ",
    );
    statement.push_values(cells, |mut row, cell| {
        row.push_bind(flush.project.as_str())
            .push_bind(flush.mode.as_str())
            .push_bind(flush.source.as_str())
            .push_bind(flush.incarnation.as_str())
            .push_bind(i64::from(cell.key.day.number()))
            .push_bind(cell.key.kind.as_str())
            .push_bind(cell.key.agent.as_str())
            .push_bind(int(cell.counts.units.get()))
            .push_bind(int(cell.counts.tokens_in.get()))
            .push_bind(int(cell.counts.tokens_out.get()))
            .push_bind(int(cell.counts.anchors.get()));
    });
    statement.push(
        " ON CONFLICT (project, mode, day, agent, kind, source, incarnation) DO UPDATE SET
             units = max(units, excluded.units),
             tokens_in = max(tokens_in, excluded.tokens_in),
             tokens_out = max(tokens_out, excluded.tokens_out),
             anchors = max(anchors, excluded.anchors)",
    );
    statement.build().execute(tx).await?;
    Ok(())
}

async fn set_aside(
    tx: &mut Connection,
    flush: &Flush,
    cell: &Cell,
    (reason, now): (Doubt, Timestamp),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO quarantine (project, mode, source, incarnation, day, kind, agent, reason,
                                 units, tokens_in, tokens_out, anchors, first_seen_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (project, mode, day, agent, kind, source, incarnation, reason) DO UPDATE SET
             units = max(units, excluded.units),
             tokens_in = max(tokens_in, excluded.tokens_in),
             tokens_out = max(tokens_out, excluded.tokens_out),
             anchors = max(anchors, excluded.anchors)",
    )
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
    let row = sqlx::query(
        "INSERT INTO source (project, mode, source, incarnation, watermark, last_seen_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (project, mode, source, incarnation) DO UPDATE SET
             watermark = max(watermark, excluded.watermark),
             last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)
         RETURNING watermark",
    )
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
