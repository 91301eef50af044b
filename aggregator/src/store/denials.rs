//! Denials in the books: cumulative counts beside the cells, merged by `max`, and their sums by day. They are in tables
//! of their own, so that nothing that bills can read them. What shadow mode let through has a column of its own there.

use std::collections::BTreeMap;

use shared::cell::{Cell, CellKey};
use shared::denials::{DenialReason, Denials};
use shared::ids::ProjectId;
use shared::kind::Kind;
use shared::time::Day;
use shared::wire::Flush;
use sqlx::{AssertSqlSafe, Row};

use super::bind_rows::BoundRows;
use super::dialect::Dialect;
use super::export::Exported;
use super::merge;
use super::rollups::Range;
use super::rows::{day, int, name, number, of_life};
use super::{Connection, DbRow, Store, StoreError};

/// What was refused on a day, of one kind.
pub(super) type Days = BTreeMap<(Day, Kind), Denials>;

/// The cells of a flush that tell of denials.
pub(super) fn told(cells: &[Cell]) -> Vec<(CellKey, Denials)> {
    let refused = cells.iter().filter(|cell| !cell.denials.is_empty());
    refused.map(|cell| (cell.key.clone(), cell.denials)).collect()
}

/// Merges what a flush tells of, and says what was new of each day.
pub(super) async fn merge(
    tx: &mut Connection,
    flush: &Flush,
    told: &[(CellKey, Denials)],
) -> Result<Days, StoreError> {
    let mut days = Days::new();
    if told.is_empty() {
        return Ok(days);
    }
    let stored = stored(tx, flush, told).await?;
    let mut rows: Vec<(&CellKey, Counted)> = Vec::new();
    for ((key, denials), stored) in told.iter().zip(stored) {
        let added = denials.beyond(stored);
        let of = |(reason, _, _)| (reason, denials.get(reason), denials.let_through().get(reason));
        rows.extend(counted(added).map(|counted| (key, of(counted))));
        if !added.is_empty() {
            let sum = days.entry((key.day, key.kind)).or_default();
            *sum = sum.plus(added);
        }
    }
    write(tx, flush, &rows).await?;
    add_days(tx, flush, &days).await?;
    Ok(days)
}

/// A reason, how many were refused for it, and how many let through.
type Counted = (DenialReason, u64, u64);

/// Every reason that has any.
fn counted(denials: Denials) -> impl Iterator<Item = Counted> {
    let let_through = denials.let_through();
    let of = move |reason| (reason, denials.get(reason), let_through.get(reason));
    DenialReason::ALL.into_iter().map(of).filter(|(_, denied, would_deny)| *denied > 0 || *would_deny > 0)
}

/// What a row says, which has the columns `reason`, `denied` and `would_deny`.
fn of_row(row: &DbRow) -> Result<Denials, StoreError> {
    let reason = name(row, "reason", DenialReason::parse)?;
    let let_through = Denials::shadowed(reason, number(row, "would_deny")?);
    Ok(Denials::of(reason, number(row, "denied")?).plus(let_through))
}

/// What is stored of these cells, in their order.
async fn stored(
    tx: &mut Connection,
    flush: &Flush,
    told: &[(CellKey, Denials)],
) -> Result<Vec<Denials>, StoreError> {
    let keys: Vec<&CellKey> = told.iter().map(|(key, _)| key).collect();
    let mut found = vec![Denials::NONE; told.len()];
    for row in merge::rows_of(tx, flush, &keys, ("denial", "reason, denied, would_deny")).await? {
        if let Some(slot) = found.get_mut(merge::place(&row)?) {
            *slot = slot.plus(of_row(&row)?);
        }
    }
    Ok(found)
}

async fn write(tx: &mut Connection, flush: &Flush, rows: &[(&CellKey, Counted)]) -> Result<(), StoreError> {
    let dialect = Dialect::of(tx);
    let given = BoundRows::default()
        .ints("day", rows.iter().map(|(key, _)| i64::from(key.day.number())))
        .texts("kind", rows.iter().map(|(key, _)| key.kind.as_str()))
        .texts("agent", rows.iter().map(|(key, _)| key.agent.as_str()))
        .texts("reason", rows.iter().map(|(_, (reason, _, _))| reason.as_str()))
        .ints("denied", rows.iter().map(|(_, (_, denied, _))| int(*denied)))
        .ints("would_deny", rows.iter().map(|(_, (_, _, would_deny))| int(*would_deny)));
    for piece in given.pieces(dialect) {
        let parameters = [1, 2, 3, 4].map(|number| dialect.parameter(number)).join(", ");
        let sql = format!(
            "INSERT INTO denial (project, mode, source, incarnation, day, kind, agent, reason, denied, would_deny)
             SELECT {parameters}, day, kind, agent, reason, denied, would_deny FROM {rows} AS given WHERE true
             ON CONFLICT (project, mode, day, agent, kind, source, incarnation, reason) DO UPDATE SET
                 denied = {greatest}(denial.denied, excluded.denied),
                 would_deny = {greatest}(denial.would_deny, excluded.would_deny)",
            rows = given.table(dialect, piece.len(), 4),
            greatest = dialect.greatest(),
        );
        let query = of_life(sqlx::query(AssertSqlSafe(sql)), flush);
        given.bind(query, dialect, &piece).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Moves the sums of days by what was added.
async fn add_days(tx: &mut Connection, flush: &Flush, days: &Days) -> Result<(), StoreError> {
    let dialect = Dialect::of(tx);
    let rows: Vec<_> =
        days.iter().flat_map(|(of, denials)| counted(*denials).map(move |counted| (of, counted))).collect();
    let given = BoundRows::default()
        .ints("day", rows.iter().map(|((day, _), _)| i64::from(day.number())))
        .texts("kind", rows.iter().map(|((_, kind), _)| kind.as_str()))
        .texts("reason", rows.iter().map(|(_, (reason, _, _))| reason.as_str()))
        .ints("denied", rows.iter().map(|(_, (_, denied, _))| int(*denied)))
        .ints("would_deny", rows.iter().map(|(_, (_, _, would_deny))| int(*would_deny)));
    for piece in given.pieces(dialect) {
        let sql = format!(
            "INSERT INTO denial_day (project, mode, day, kind, reason, denied, would_deny)
             SELECT {project}, {mode}, day, kind, reason, denied, would_deny FROM {rows} AS given WHERE true
             ON CONFLICT (project, mode, day, kind, reason) DO UPDATE SET
                 denied = denial_day.denied + excluded.denied,
                 would_deny = denial_day.would_deny + excluded.would_deny",
            project = dialect.parameter(1),
            mode = dialect.parameter(2),
            rows = given.table(dialect, piece.len(), 2),
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(flush.project.as_str()).bind(flush.mode.as_str());
        given.bind(query, dialect, &piece).execute(&mut *tx).await?;
    }
    Ok(())
}

/// What was refused on each day, of each kind.
pub(super) async fn by_day(tx: &mut Connection, range: Range<'_>) -> Result<Days, StoreError> {
    let rows = sqlx::query(
        "SELECT day, kind, reason, denied, would_deny FROM denial_day
         WHERE project = $1 AND mode = $2 AND day BETWEEN $3 AND $4",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(i64::from(range.from.number()))
    .bind(i64::from(range.to.number()))
    .fetch_all(tx)
    .await?;
    let mut days = Days::new();
    for row in rows {
        let of = (day(&row, "day")?, name(&row, "kind", Kind::parse)?);
        let sum = days.entry(of).or_default();
        *sum = sum.plus(of_row(&row)?);
    }
    Ok(days)
}

/// What was refused and let through as [`LINES`](super::rollups) tells it of one line: `rate_limited=3=0,agent_limit=1=2`, a
/// reason for each source; nothing is `None`.
pub(super) fn of_line(text: Option<&str>) -> Result<Denials, StoreError> {
    let mut denials = Denials::NONE;
    for part in text.unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
        let read = part
            .split_once('=')
            .and_then(|(reason, counts)| Some((DenialReason::parse(reason)?, counts.split_once('=')?)))
            .and_then(|(reason, (denied, would_deny))| {
                Some((reason, denied.parse().ok()?, would_deny.parse().ok()?))
            });
        let (reason, denied, would_deny) =
            read.ok_or_else(|| StoreError::Unreadable { column: "denied", got: part.to_owned() })?;
        denials = denials.plus(Denials::of(reason, denied)).plus(Denials::shadowed(reason, would_deny));
    }
    Ok(denials)
}

/// What does not equal the sums of the denials, in words; nothing is as it must be.
pub(super) async fn findings(tx: &mut Connection, project: &ProjectId) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "SELECT mode || ' ' || CAST(day AS TEXT) || ' ' || kind || ' ' || reason AS place FROM (
             SELECT mode, day, kind, reason, denied, would_deny FROM denial WHERE project = $1
             UNION ALL
             SELECT mode, day, kind, reason, -denied, -would_deny FROM denial_day WHERE project = $1
         ) AS both_sides
         GROUP BY mode, day, kind, reason HAVING SUM(denied) <> 0 OR SUM(would_deny) <> 0 ORDER BY 1",
    )
    .bind(project.as_str())
    .fetch_all(tx)
    .await?;
    let finding = |row: &DbRow| -> Result<String, StoreError> {
        Ok(format!(
            "the denials of a day are not those of its agents: {}",
            row.try_get::<String, _>("place")?
        ))
    };
    rows.iter().map(finding).collect()
}

impl Store {
    /// What was refused in a span of days.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn denials(&self, of: &Exported) -> Result<Denials, StoreError> {
        let mut tx = self.read().await?;
        let days = by_day(&mut tx, of.range()).await?;
        Ok(days.into_values().fold(Denials::NONE, Denials::plus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_adds_up_what_its_sources_tell() {
        let of = |text| of_line(Some(text)).unwrap();
        let expected =
            Denials::of(DenialReason::RateLimited, 5).plus(Denials::of(DenialReason::AgentLimit, 1));
        assert_eq!(of("rate_limited=3=0,agent_limit=1=0,rate_limited=2=0"), expected);
        let let_through = Denials::shadowed(DenialReason::RateLimited, 9);
        assert_eq!(of("rate_limited=3=4,agent_limit=1=0,rate_limited=2=5"), expected.plus(let_through));
        assert_eq!(of_line(None).unwrap(), Denials::NONE);
        for bad in ["rate_limited", "rate_limited=1", "rate_limited=1=x", "other=1=1"] {
            assert!(of_line(Some(bad)).is_err(), "{bad}");
        }
    }
}
