//! Merges flushes into the books: cells by `max`, so that no message can be counted twice or take anything
//! back, and everything that is summed from them in the same transaction.

use shared::cell::{Cell, CellKey, Counts};
use shared::denials::Denials;
use shared::ids::{KeyId, Mode};
use shared::time::Timestamp;
use shared::units::Units;
use shared::wire::Flush;
use sqlx::{AssertSqlSafe, Row};

use super::bind_rows::BoundRows;
use super::dialect::Dialect;
use super::ledger::Looks;
use super::memory::{Cells, Life, Session, Stamp};
use super::rows::{int, ms, number, of_life, units};
use super::{
    Connection, DbRow, Store, StoreError, again, agent_sums, denials, homes, keys, ledger,
    other_incarnations, projects, rollups, stream,
};
use crate::metering::batch::{Batch, Doubt};
use crate::metering::growth::Growth;
use crate::projects::book::Book;
use crate::random;

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
    /// Requests that were refused or let through, and were not known to be.
    pub denials: Denials,
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
        let mut session = self.memory.session();
        let mut answers = Vec::with_capacity(flushes.len());
        for flush in flushes {
            answers.push(merge_one(&mut tx, flush, &mut session, now).await?);
        }
        if answers.iter().flatten().any(|merged: &Merged| merged.raised) {
            self.commit_policy_change(tx).await?;
        } else {
            tx.commit().await?;
        }
        session.keep();
        if answers.iter().flatten().any(|merged| merged.crossings > 0) {
            self.deliveries_due.notify_one();
        }
        Ok(answers)
    }
}

/// Merges one flush in a transaction of the caller's, which keeps the session once it is committed.
pub(super) async fn merge_one(
    tx: &mut Connection,
    flush: &Flush,
    session: &mut Session,
    now: Timestamp,
) -> Result<Option<Merged>, StoreError> {
    let Some(project) = projects::find(tx, &flush.project).await? else { return Ok(None) };
    let Batch { cells, doubted } = Batch::prepare(&flush.cells, project.rpm_max, now.day());
    let (count, doubted_count) = (cells.len(), doubted.len());
    let told = denials::told(&cells);
    let life = Life::of(flush);
    let mut known = known(tx, flush, session.take(&life)).await?;
    let growth = grow(tx, flush, cells, &mut known).await?;
    write(tx, flush, &growth).await?;
    let refused = denials::merge(tx, flush, &told).await?;
    for (cell, reason) in &doubted {
        set_aside(tx, flush, cell, (*reason, now)).await?;
    }
    other_incarnations::note_stranded(tx, flush).await?;
    homes::note_retired(tx, flush).await?;
    let stamp = touch_source(tx, flush, !growth.cells.is_empty(), now).await?;
    session.put(life, stamp, known);
    let watermark = stamp.watermark;
    let book = ledger::load_of(tx, project).await?;
    stream::tell_flush(tx, flush, &growth.periods, &book, now).await?;
    stream::tell_denials(tx, flush, &refused, now).await?;
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
    let denials = refused.into_values().fold(Denials::NONE, Denials::plus);
    let (cells, doubted) = (count, doubted_count);
    Ok(Some(Merged { watermark, book, keys, cells, doubted, denials, crossings, raised }))
}

/// Merges cells that a person believes. Says how many crossings fired, and whether the policy has a new version.
pub(super) async fn merge_believed(
    tx: &mut Connection,
    flush: &Flush,
    now: Timestamp,
) -> Result<(usize, bool), StoreError> {
    let growth = grow(tx, flush, flush.cells.clone(), &mut Cells::new()).await?;
    write(tx, flush, &growth).await?;
    stamp_source(tx, flush).await?;
    tell(tx, flush, growth, now).await
}

/// What became of what was to be added.
#[derive(Debug)]
pub(super) enum Added {
    /// It is in the books.
    Merged {
        /// How many crossings fired.
        crossings: usize,
        /// Whether the policy has a new version.
        raised: bool,
    },
    /// With it this cell would have more than the project's requests per minute permit; nothing was written.
    AboveRate(CellKey),
}

/// Adds to cells, for a source that tells what is new instead of what it has counted in all; whoever calls knows that it
/// is told for the first time.
pub(super) async fn merge_added(
    tx: &mut Connection,
    flush: &Flush,
    rpm_max: u32,
    now: Timestamp,
) -> Result<Added, StoreError> {
    let keys: Vec<&CellKey> = flush.cells.iter().map(|cell| &cell.key).collect();
    let found = stored(tx, flush, &keys).await?;
    let sum = |(cell, stored): (&Cell, Option<Counts>)| {
        let stored = stored.unwrap_or_default();
        let units = stored.units.saturating_add(cell.counts.units);
        Cell { counts: Counts { units, ..stored }, ..cell.clone() }
    };
    let cells: Vec<Cell> = flush.cells.iter().zip(found).map(sum).collect();
    let Batch { cells, doubted } = Batch::prepare(&cells, rpm_max, now.day());
    if let Some((cell, _)) = doubted.into_iter().next() {
        return Ok(Added::AboveRate(cell.key));
    }
    let growth = grow(tx, flush, cells, &mut Cells::new()).await?;
    write(tx, flush, &growth).await?;
    touch_source(tx, flush, true, now).await?;
    let (crossings, raised) = tell(tx, flush, growth, now).await?;
    Ok(Added::Merged { crossings, raised })
}

/// Tells the ledger and whoever watches of what grew. Says how many crossings fired, and whether the policy has a new
/// version.
async fn tell(
    tx: &mut Connection,
    flush: &Flush,
    growth: Growth,
    now: Timestamp,
) -> Result<(usize, bool), StoreError> {
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

/// What is known of a source's cells and still holds.
async fn known(
    tx: &mut Connection,
    flush: &Flush,
    known: Option<(Stamp, Cells)>,
) -> Result<Cells, StoreError> {
    let Some((known_under, cells)) = known else { return Ok(Cells::new()) };
    let row = of_life(
        sqlx::query(
            "SELECT cells_stamp, watermark, last_seen_ms FROM source
         WHERE project = $1 AND mode = $2 AND source = $3 AND incarnation = $4",
        ),
        flush,
    )
    .fetch_optional(tx)
    .await?;
    let stamp = row.as_ref().map(stamp).transpose()?;
    Ok(if stamp == Some(known_under) { cells } else { Cells::new() })
}

/// What these cells are beyond those that are stored; `known` is what is known of those, and follows.
async fn grow(
    tx: &mut Connection,
    flush: &Flush,
    cells: Vec<Cell>,
    known: &mut Cells,
) -> Result<Growth, StoreError> {
    let unknown: Vec<&CellKey> =
        cells.iter().map(|cell| &cell.key).filter(|key| !known.contains_key(key)).collect();
    let found = stored(tx, flush, &unknown).await?;
    known.extend(unknown.into_iter().cloned().zip(found));
    let mut growth = Growth::default();
    for cell in cells {
        let counts = known.get(&cell.key).copied().flatten();
        growth.add(cell, counts);
    }
    for Cell { key, counts, .. } in &growth.cells {
        if let Some(known) = known.get_mut(key) {
            *known = Some(*counts);
        }
    }
    Ok(growth)
}

/// What is stored of these cells, in their order.
async fn stored(
    tx: &mut Connection,
    flush: &Flush,
    keys: &[&CellKey],
) -> Result<Vec<Option<Counts>>, StoreError> {
    let mut found = vec![None; keys.len()];
    for row in rows_of(tx, flush, keys, ("cell", "units, tokens_in, tokens_out, anchors")).await? {
        if let Some(slot) = found.get_mut(place(&row)?) {
            *slot = Some(counts(&row)?);
        }
    }
    Ok(found)
}

/// Rows of a table that are of these cells of a flush, with some of its columns and the `place` of the cell.
pub(super) async fn rows_of(
    tx: &mut Connection,
    flush: &Flush,
    keys: &[&CellKey],
    (table, columns): (&str, &str),
) -> Result<Vec<DbRow>, StoreError> {
    let dialect = Dialect::of(tx);
    let mut rows = Vec::new();
    let given = BoundRows::default()
        .ints("place", (0_u32..).zip(keys).map(|(place, _)| i64::from(place)))
        .ints("day", keys.iter().map(|key| i64::from(key.day.number())))
        .texts("kind", keys.iter().map(|key| key.kind.as_str()))
        .texts("agent", keys.iter().map(|key| key.agent.as_str()));
    for piece in given.pieces(dialect) {
        let before = given.parameters(dialect, piece.len());
        let parameter = |number| dialect.parameter(before.saturating_add(number));
        // CROSS JOIN makes SQLite keep this order: one look-up by primary key for each given cell.
        let sql = format!(
            "SELECT given.place, {columns}
             FROM {} AS given CROSS JOIN {table} AS stored
             WHERE stored.project = {} AND stored.mode = {} AND stored.source = {} AND stored.incarnation = {}
               AND stored.day = given.day AND stored.agent = given.agent AND stored.kind = given.kind",
            given.table(dialect, piece.len(), 0),
            parameter(1),
            parameter(2),
            parameter(3),
            parameter(4),
        );
        let query = given.bind(sqlx::query(AssertSqlSafe(sql)), dialect, &piece);
        let query = of_life(query, flush);
        rows.extend(query.fetch_all(&mut *tx).await?);
    }
    Ok(rows)
}

/// Which of the given cells a row of [`rows_of`] is of.
pub(super) fn place(row: &DbRow) -> Result<usize, StoreError> {
    Ok(usize::try_from(number(row, "place")?).unwrap_or(usize::MAX))
}

fn counts(row: &DbRow) -> Result<Counts, StoreError> {
    Ok(Counts {
        units: units(row, "units")?,
        tokens_in: units(row, "tokens_in")?,
        tokens_out: units(row, "tokens_out")?,
        anchors: units(row, "anchors")?,
    })
}

/// Writes what grew, and moves every sum of it.
async fn write(tx: &mut Connection, flush: &Flush, growth: &Growth) -> Result<(), StoreError> {
    if growth.cells.is_empty() {
        return Ok(());
    }
    write_cells(tx, flush, &growth.cells).await?;
    rollups::add_days(tx, flush, &growth.days).await?;
    agent_sums::add(tx, flush, &growth.agents).await?;
    for (period, added) in &growth.periods {
        ledger::add_usage(tx, &flush.project, flush.mode, *period, *added).await?;
    }
    Ok(())
}

async fn write_cells(tx: &mut Connection, flush: &Flush, cells: &[Cell]) -> Result<(), StoreError> {
    let dialect = Dialect::of(tx);
    let of = |count: fn(&Counts) -> Units| cells.iter().map(move |cell| int(count(&cell.counts).get()));
    let given = BoundRows::default()
        .ints("day", cells.iter().map(|cell| i64::from(cell.key.day.number())))
        .texts("kind", cells.iter().map(|cell| cell.key.kind.as_str()))
        .texts("agent", cells.iter().map(|cell| cell.key.agent.as_str()))
        .ints("units", of(|counts| counts.units))
        .ints("tokens_in", of(|counts| counts.tokens_in))
        .ints("tokens_out", of(|counts| counts.tokens_out))
        .ints("anchors", of(|counts| counts.anchors));
    for piece in given.pieces(dialect) {
        let parameters = [1, 2, 3, 4].map(|number| dialect.parameter(number)).join(", ");
        let sql = format!(
            "INSERT INTO cell (project, mode, source, incarnation, day, kind, agent, units, tokens_in, tokens_out, anchors)
             SELECT {parameters}, day, kind, agent, units, tokens_in, tokens_out, anchors FROM {rows} AS given WHERE true
             ON CONFLICT (project, mode, day, agent, kind, source, incarnation) DO UPDATE SET
                 units = {greatest}(cell.units, excluded.units),
                 tokens_in = {greatest}(cell.tokens_in, excluded.tokens_in),
                 tokens_out = {greatest}(cell.tokens_out, excluded.tokens_out),
                 anchors = {greatest}(cell.anchors, excluded.anchors)",
            rows = given.table(dialect, piece.len(), 4),
            greatest = dialect.greatest(),
        );
        let query = of_life(sqlx::query(AssertSqlSafe(sql)), flush);
        given.bind(query, dialect, &piece).execute(&mut *tx).await?;
    }
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
    of_life(sqlx::query(AssertSqlSafe(sql)), flush)
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

/// Notes that the source flushed, and whether its cells changed; says how its row is left.
async fn touch_source(
    tx: &mut Connection,
    flush: &Flush,
    changed: bool,
    now: Timestamp,
) -> Result<Stamp, StoreError> {
    let greatest = Dialect::of(tx).greatest();
    let window = flush.window.as_ref().map(homes::written_window).transpose()?;
    let sql = format!(
        "INSERT INTO source (project, mode, source, incarnation, watermark, last_seen_ms, cells_stamp, permits)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (project, mode, source, incarnation) DO UPDATE SET
             permits = CASE WHEN excluded.permits IS NULL OR excluded.watermark < source.watermark
                            THEN source.permits ELSE excluded.permits END,
             watermark = {greatest}(source.watermark, excluded.watermark),
             last_seen_ms = {greatest}(source.last_seen_ms, excluded.last_seen_ms),
             cells_stamp = CASE WHEN excluded.cells_stamp = 0 THEN source.cells_stamp ELSE excluded.cells_stamp END
         RETURNING cells_stamp, watermark, last_seen_ms"
    );
    let row = of_life(sqlx::query(AssertSqlSafe(sql)), flush)
        .bind(int(flush.seq))
        .bind(ms(now))
        .bind(if changed { new_stamp()? } else { 0 })
        .bind(window)
        .fetch_one(tx)
        .await?;
    stamp(&row)
}

/// Notes that cells of a source were written by somebody else than itself.
async fn stamp_source(tx: &mut Connection, flush: &Flush) -> Result<(), StoreError> {
    of_life(
        sqlx::query(
            "UPDATE source SET cells_stamp = $1
         WHERE project = $2 AND mode = $3 AND source = $4 AND incarnation = $5",
        )
        .bind(new_stamp()?),
        flush,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// 62 random bits, never 0: two writers never draw the same.
fn new_stamp() -> Result<i64, StoreError> {
    Ok(i64::from_ne_bytes(random::bytes()?) & (i64::MAX >> 1) | 1)
}

fn stamp(row: &DbRow) -> Result<Stamp, StoreError> {
    Ok(Stamp {
        cells: row.try_get("cells_stamp")?,
        watermark: number(row, "watermark")?,
        last_seen_ms: number(row, "last_seen_ms")?,
    })
}
