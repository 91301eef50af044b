//! Sums of cells by day and kind, so that a report reads few rows, and what it reads of the cells themselves. They are moved
//! by the transaction that merges the cells and must always equal their sums, which audits check.

use std::collections::BTreeMap;

use shared::cell::Counts;
use shared::ids::{AgentId, ProjectId};
use shared::kind::Kind;
use shared::time::Day;
use shared::units::Units;
use shared::wire::Flush;
use sqlx::{AssertSqlSafe, Row};

use super::bind_rows::BoundRows;
use super::denials;
use super::dialect::Dialect;
use super::rows::{day, id, int, name, units};
use super::{Connection, DbQuery, DbRow, StoreError};
use crate::metering::usage::page::{LinePlace, UsageLine};

/// Moves the sums of days by what was added to their cells.
pub(super) async fn add_days(
    tx: &mut Connection,
    flush: &Flush,
    added: &BTreeMap<(Day, Kind), Counts>,
) -> Result<(), StoreError> {
    let of = |count: fn(&Counts) -> Units| added.values().map(move |counts| int(count(counts).get()));
    let given = BoundRows::default()
        .ints("day", added.keys().map(|(day, _)| i64::from(day.number())))
        .texts("kind", added.keys().map(|(_, kind)| kind.as_str()))
        .ints("units", of(|counts| counts.units))
        .ints("tokens_in", of(|counts| counts.tokens_in))
        .ints("tokens_out", of(|counts| counts.tokens_out))
        .ints("anchors", of(|counts| counts.anchors));
    let sql = |project: &str, mode: &str, rows: &str| {
        format!(
            "INSERT INTO usage_day (project, mode, day, kind, units, tokens_in, tokens_out, anchors)
             SELECT {project}, {mode}, day, kind, units, tokens_in, tokens_out, anchors FROM {rows} AS given WHERE true
             ON CONFLICT (project, mode, day, kind) DO UPDATE SET
                 units = usage_day.units + excluded.units,
                 tokens_in = usage_day.tokens_in + excluded.tokens_in,
                 tokens_out = usage_day.tokens_out + excluded.tokens_out,
                 anchors = usage_day.anchors + excluded.anchors"
        )
    };
    add(tx, flush, &given, sql).await
}

/// Moves sums by given rows.
pub(super) async fn add(
    tx: &mut Connection,
    flush: &Flush,
    given: &BoundRows<'_>,
    sql: impl Fn(&str, &str, &str) -> String,
) -> Result<(), StoreError> {
    let dialect = Dialect::of(tx);
    for rows in given.pieces(dialect) {
        let table = given.table(dialect, rows.len(), 2);
        let sql = sql(&dialect.parameter(1), &dialect.parameter(2), &table);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(flush.project.as_str()).bind(flush.mode.as_str());
        given.bind(query, dialect, &rows).execute(&mut *tx).await?;
    }
    Ok(())
}

/// What does not equal the sums of the cells, in words; nothing is as it must be.
pub(super) async fn findings(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "SELECT mode || ' ' || CAST(day AS TEXT) || ' ' || kind AS place FROM (
             SELECT mode, day, kind, units, tokens_in, tokens_out, anchors FROM cell WHERE project = $1
             UNION ALL
             SELECT mode, day, kind, -units, -tokens_in, -tokens_out, -anchors FROM usage_day WHERE project = $1
         ) AS both_sides
         GROUP BY mode, day, kind
         HAVING SUM(units) <> 0 OR SUM(tokens_in) <> 0 OR SUM(tokens_out) <> 0 OR SUM(anchors) <> 0
         ORDER BY 1",
    )
    .bind(project.as_str())
    .fetch_all(connection)
    .await?;
    let finding = |row: &DbRow| -> Result<String, StoreError> {
        let place: String = row.try_get("place")?;
        Ok(format!("the sums of a day and kind are not those of its cells: {place}"))
    };
    rows.iter().map(finding).collect()
}

/// Which sums a report wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<'a> {
    pub(super) project: &'a str,
    pub(super) mode: &'a str,
    pub(super) from: Day,
    pub(super) to: Day,
}

/// Units of each day and kind that has any.
pub(super) async fn by_day(
    tx: &mut Connection,
    range: Range<'_>,
) -> Result<Vec<(Day, Kind, Units)>, StoreError> {
    let rows = sqlx::query(
        "SELECT day, kind, units FROM usage_day
         WHERE project = $1 AND mode = $2 AND day BETWEEN $3 AND $4",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(i64::from(range.from.number()))
    .bind(i64::from(range.to.number()))
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| Ok((day(row, "day")?, name(row, "kind", Kind::parse)?, units(row, "units")?)))
        .collect()
}

/// LLM tokens in and out.
pub(super) async fn observed(tx: &mut Connection, range: Range<'_>) -> Result<(Units, Units), StoreError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(tokens_in), 0) AS BIGINT) AS tokens_in,
                CAST(COALESCE(SUM(tokens_out), 0) AS BIGINT) AS tokens_out
         FROM usage_day WHERE project = $1 AND mode = $2 AND day BETWEEN $3 AND $4",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(i64::from(range.from.number()))
    .bind(i64::from(range.to.number()))
    .fetch_one(tx)
    .await?;
    Ok((units(&row, "tokens_in")?, units(&row, "tokens_out")?))
}

/// Units of each day of some agents, one lookup for each day and agent: what all others have is not read.
fn agent_days_sql(agents: usize) -> String {
    let agents: Vec<String> = (5..).take(agents).map(|number| format!("${number}")).collect();
    format!(
        "SELECT day, agent, CAST(SUM(units) AS BIGINT) AS units FROM cell
         WHERE project = $1 AND mode = $2 AND agent IN ({}) AND day IN (
             WITH RECURSIVE days (day) AS (
                 SELECT CAST($3 AS BIGINT) UNION ALL SELECT day + 1 FROM days WHERE day < $4)
             SELECT day FROM days)
         GROUP BY day, agent",
        agents.join(", ")
    )
}

/// Units of each day of these agents that has any, in no order.
pub(super) async fn by_agent_and_day(
    tx: &mut Connection,
    range: Range<'_>,
    agents: &[AgentId],
) -> Result<Vec<(Day, AgentId, Units)>, StoreError> {
    if agents.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = sqlx::query(AssertSqlSafe(agent_days_sql(agents.len())))
        .bind(range.project)
        .bind(range.mode)
        .bind(i64::from(range.from.number()))
        .bind(i64::from(range.to.number()));
    for agent in agents {
        query = query.bind(agent.as_str());
    }
    let rows = query.fetch_all(tx).await?;
    rows.iter()
        .map(|row| Ok((day(row, "day")?, id(row, "agent", AgentId::parse)?, units(row, "units")?)))
        .collect()
}

/// After which line a page begins, and how many it has.
pub(super) type LinesPage<'a> = (Option<&'a LinePlace>, usize);

/// What was counted by day, agent and kind, in the order of the cells' key, so that nothing has to be sorted.
const LINES: &str = "SELECT day, agent, kind, CAST(SUM(units) AS BIGINT) AS units,
        CAST(SUM(tokens_in) AS BIGINT) AS tokens_in, CAST(SUM(tokens_out) AS BIGINT) AS tokens_out,
        CAST(SUM(anchors) AS BIGINT) AS anchors,
        (SELECT string_agg(denial.reason || '=' || CAST(denial.denied AS TEXT) || '=' || CAST(denial.would_deny AS TEXT), ',')
         FROM denial
         WHERE denial.project = $1 AND denial.mode = $2 AND denial.day = cell.day AND denial.agent = cell.agent
           AND denial.kind = cell.kind) AS denied
    FROM cell WHERE project = $1 AND mode = $2 AND day BETWEEN $3 AND $4 AND (day, agent, kind) > ($3, $5, $6)
    GROUP BY day, agent, kind ORDER BY day, agent, kind LIMIT $7";

/// Binds what lines are asked for.
pub(super) fn lines_query<'q>(range: Range<'_>, (after, limit): LinesPage<'_>) -> DbQuery<'q> {
    let from = after.map_or(range.from, |place| place.day.max(range.from));
    let place = after.filter(|place| place.day == from);
    sqlx::query(LINES)
        .bind(range.project)
        .bind(range.mode)
        .bind(i64::from(from.number()))
        .bind(i64::from(range.to.number()))
        .bind(place.map_or("", |place| place.agent.as_str()))
        .bind(place.map_or("", |place| place.kind.as_str()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

/// A line of [`lines_query`].
pub(super) fn line(row: &DbRow) -> Result<UsageLine, StoreError> {
    let denials = denials::of_line(row.try_get::<Option<String>, _>("denied")?.as_deref())?;
    Ok(UsageLine {
        day: day(row, "day")?,
        agent: id(row, "agent", AgentId::parse)?,
        kind: name(row, "kind", Kind::parse)?,
        units: units(row, "units")?,
        tokens_in: units(row, "tokens_in")?,
        tokens_out: units(row, "tokens_out")?,
        anchors: units(row, "anchors")?,
        denied: denials.refused(),
        would_have_denied: denials.let_through(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On SQLite, whose plans depend on nothing but the statement and the schema.
    #[tokio::test]
    async fn rows_of_other_agents_and_days_are_not_read() {
        let mut tx = crate::store::migrations::in_memory().await;
        for (sql, plan) in [
            (agent_days_sql(3), "SEARCH cell USING PRIMARY KEY (project=? AND mode=? AND day=? AND agent=?)"),
            (LINES.to_owned(), "SEARCH cell USING PRIMARY KEY (project=? AND mode=? AND day>? AND day<?)"),
        ] {
            let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
            let rows = rows.fetch_all(&mut tx).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
            assert!(steps.iter().any(|step| step == plan), "{steps:#?}");
            let whole = |step: &&String| step.starts_with("SCAN cell");
            assert_eq!(steps.iter().find(whole), None, "{steps:#?}");
        }
    }
}
