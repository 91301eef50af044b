//! Sums of cells by day and by agent's month, so that a report reads few rows. They are moved by the
//! transaction that merges the cells and must always equal their sums, which audits check.

use std::collections::BTreeMap;

use shared::cell::Counts;
use shared::ids::{AgentId, ProjectId};
use shared::kind::Kind;
use shared::time::{Day, Period};
use shared::units::Units;
use shared::wire::Flush;
use sqlx::{AssertSqlSafe, Row};

use super::dialect::{Dialect, Type};
use super::rows::{day, id, int, json_rows, name, units};
use super::{Connection, StoreError};

const DAY: [(&str, Type); 6] = [
    ("day", Type::Int),
    ("kind", Type::Text),
    ("units", Type::Int),
    ("tokens_in", Type::Int),
    ("tokens_out", Type::Int),
    ("anchors", Type::Int),
];

const AGENT: [(&str, Type); 3] = [("period", Type::Text), ("agent", Type::Text), ("units", Type::Int)];

/// Moves the sums of days by what was added to their cells.
pub(super) async fn add_days(
    tx: &mut Connection,
    flush: &Flush,
    added: &BTreeMap<(Day, Kind), Counts>,
) -> Result<(), StoreError> {
    let given = json_rows(added.iter().map(|((day, kind), counts)| {
        (
            day.number(),
            kind.as_str(),
            int(counts.units.get()),
            int(counts.tokens_in.get()),
            int(counts.tokens_out.get()),
            int(counts.anchors.get()),
        )
    }))?;
    let sql = format!(
        "INSERT INTO usage_day (project, mode, day, kind, units, tokens_in, tokens_out, anchors)
         SELECT $1, $2, day, kind, units, tokens_in, tokens_out, anchors FROM {} AS given WHERE true
         ON CONFLICT (project, mode, day, kind) DO UPDATE SET
             units = usage_day.units + excluded.units,
             tokens_in = usage_day.tokens_in + excluded.tokens_in,
             tokens_out = usage_day.tokens_out + excluded.tokens_out,
             anchors = usage_day.anchors + excluded.anchors",
        Dialect::of(tx).rows("$3", &DAY)
    );
    add(tx, flush, (sql, given)).await
}

/// Moves the sums of agents' months by what was added to their cells.
pub(super) async fn add_agents(
    tx: &mut Connection,
    flush: &Flush,
    added: &BTreeMap<(Period, AgentId), Units>,
) -> Result<(), StoreError> {
    let given = json_rows(
        added.iter().map(|((period, agent), units)| (period.to_string(), agent.as_str(), int(units.get()))),
    )?;
    let sql = format!(
        "INSERT INTO usage_agent (project, mode, period, agent, units)
         SELECT $1, $2, period, agent, units FROM {} AS given WHERE true
         ON CONFLICT (project, mode, period, agent) DO UPDATE SET units = usage_agent.units + excluded.units",
        Dialect::of(tx).rows("$3", &AGENT)
    );
    add(tx, flush, (sql, given)).await
}

async fn add(tx: &mut Connection, flush: &Flush, (sql, given): (String, String)) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(sql))
        .bind(flush.project.as_str())
        .bind(flush.mode.as_str())
        .bind(given)
        .execute(tx)
        .await?;
    Ok(())
}

/// What does not equal the sums of the cells, in words; nothing is as it must be.
pub(super) async fn findings(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Vec<String>, StoreError> {
    let mut findings = Vec::new();
    for (what, sql) in [
        (
            "the sums of a day and kind are not those of its cells",
            "SELECT mode || ' ' || CAST(day AS TEXT) || ' ' || kind AS place FROM (
                 SELECT mode, day, kind, units, tokens_in, tokens_out, anchors FROM cell WHERE project = $1
                 UNION ALL
                 SELECT mode, day, kind, -units, -tokens_in, -tokens_out, -anchors FROM usage_day WHERE project = $1
             ) AS both_sides
             GROUP BY mode, day, kind
             HAVING SUM(units) <> 0 OR SUM(tokens_in) <> 0 OR SUM(tokens_out) <> 0 OR SUM(anchors) <> 0
             ORDER BY 1",
        ),
        (
            "the sums of an agent are not those of its cells",
            "SELECT mode || ' ' || agent AS place FROM (
                 SELECT mode, agent, units FROM cell WHERE project = $1
                 UNION ALL
                 SELECT mode, agent, -units FROM usage_agent WHERE project = $1
             ) AS both_sides
             GROUP BY mode, agent HAVING SUM(units) <> 0 ORDER BY 1",
        ),
        (
            "the sums of agents are not those of their period",
            "SELECT mode || ' ' || period AS place FROM (
                 SELECT mode, period, units FROM usage WHERE project = $1
                 UNION ALL
                 SELECT mode, period, -units FROM usage_agent WHERE project = $1
             ) AS both_sides
             GROUP BY mode, period HAVING SUM(units) <> 0 ORDER BY 1",
        ),
    ] {
        for row in sqlx::query(sql).bind(project.as_str()).fetch_all(&mut *connection).await? {
            findings.push(format!("{what}: {}", row.try_get::<String, _>("place")?));
        }
    }
    Ok(findings)
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

/// Units of each agent: whole months from their sums, the days of others from the cells.
pub(super) async fn by_agent(
    tx: &mut Connection,
    range: Range<'_>,
) -> Result<Vec<(AgentId, Units)>, StoreError> {
    let Parts { months: (first, last), head, tail } = parts(range.from, range.to);
    let rows = sqlx::query(
        "SELECT agent, CAST(SUM(units) AS BIGINT) AS units FROM (
             SELECT agent, units FROM usage_agent
             WHERE project = $1 AND mode = $2 AND period >= $3 AND period < $4
             UNION ALL
             SELECT agent, units FROM cell WHERE project = $1 AND mode = $2 AND day >= $5 AND day < $6
             UNION ALL
             SELECT agent, units FROM cell WHERE project = $1 AND mode = $2 AND day >= $7 AND day < $8
         ) AS parts GROUP BY agent",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(first.to_string())
    .bind(last.to_string())
    .bind(i64::from(head.0))
    .bind(i64::from(head.1))
    .bind(i64::from(tail.0))
    .bind(i64::from(tail.1))
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((id(row, "agent", AgentId::parse)?, units(row, "units")?))).collect()
}

/// A span as whole months and the days before and after them; of each the end is not included.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    months: (Period, Period),
    head: (u32, u32),
    tail: (u32, u32),
}

fn parts(from: Day, to: Day) -> Parts {
    let (start, end) = (from.number(), to.number().saturating_add(1));
    let first = if from == from.period().first_day() { from.period() } else { from.period().next() };
    // The period of the day after the span begins within the span only if all before it is whole.
    let last = to.next().period();
    if first >= last {
        return Parts { months: (first, first), head: (start, end), tail: (end, end) };
    }
    let (months_start, months_end) = (first.first_day().number(), last.first_day().number());
    Parts { months: (first, last), head: (start, months_start), tail: (months_end, end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_whole_months_and_the_days_around_them() {
        let day = |text| Day::parse(text).unwrap();
        for (from, to, months, head, tail) in [
            ("2026-01-01", "2026-12-31", "2026-01 2027-01", 0, 0),
            ("2026-01-02", "2026-12-30", "2026-02 2026-12", 30, 30),
            ("2026-02-01", "2026-02-28", "2026-02 2026-03", 0, 0),
            ("2028-02-01", "2028-02-28", "2028-02 2028-02", 28, 0),
            ("2026-02-02", "2026-03-01", "2026-03 2026-03", 28, 0),
            ("2026-02-02", "2026-03-31", "2026-03 2026-04", 27, 0),
            ("2026-02-01", "2026-03-01", "2026-02 2026-03", 0, 1),
            ("2026-05-05", "2026-05-05", "2026-06 2026-06", 1, 0),
            ("2026-12-31", "2027-01-01", "2027-01 2027-01", 2, 0),
        ] {
            let Parts { months: (first, last), head: (a, b), tail: (c, d) } = parts(day(from), day(to));
            let got = (format!("{first} {last}"), b - a, d - c);
            assert_eq!(got, (months.to_owned(), head, tail), "{from} to {to}");
            let days_of_months = last.first_day().number() - first.first_day().number();
            let all = day(to).number() - day(from).number() + 1;
            assert_eq!(head + tail + days_of_months, all, "{from} to {to}: every day once");
        }
    }
}
