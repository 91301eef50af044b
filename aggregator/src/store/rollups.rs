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

use super::bind_rows::BoundRows;
use super::denials;
use super::dialect::Dialect;
use super::rows::{day, id, int, name, optional, units};
use super::{Connection, DbQuery, DbRow, StoreError};
use crate::metering::usage::UsageAgent;
use crate::metering::usage::page::{LinePlace, Order, Place, UsageLine};

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

/// Moves the sums of agents' months by what was added to their cells.
pub(super) async fn add_agents(
    tx: &mut Connection,
    flush: &Flush,
    added: &BTreeMap<(Period, AgentId), Units>,
) -> Result<(), StoreError> {
    let given = BoundRows::default()
        .texts("period", added.keys().map(|(period, _)| period.to_string()))
        .texts("agent", added.keys().map(|(_, agent)| agent.as_str()))
        .ints("units", added.values().map(|units| int(units.get())));
    let sql = |project: &str, mode: &str, rows: &str| {
        format!(
            "INSERT INTO usage_agent (project, mode, period, agent, units)
             SELECT {project}, {mode}, period, agent, units FROM {rows} AS given WHERE true
             ON CONFLICT (project, mode, period, agent) DO UPDATE SET units = usage_agent.units + excluded.units"
        )
    };
    add(tx, flush, &given, sql).await
}

async fn add(
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

/// Which agents of a report are wanted.
#[derive(Debug, Clone)]
pub(super) struct AgentsPage {
    /// Those with fewer units than these, or as many and a later name; all of them in the order of names.
    after: (i64, String),
    limit: i64,
}

impl AgentsPage {
    /// At most `limit` of those after a place.
    pub(super) fn new(after: Option<&Place>, limit: usize) -> Self {
        let (units, agent) = match after {
            None => (i64::MAX, String::new()),
            Some(Place::Units(units, agent)) => (int(units.get()), agent.as_str().to_owned()),
            Some(Place::Agent(agent)) => (i64::MAX, agent.as_str().to_owned()),
        };
        Self { after: (units, agent), limit: i64::try_from(limit).unwrap_or(i64::MAX) }
    }

    /// All of them.
    pub(super) fn whole() -> Self {
        Self::new(None, usize::MAX)
    }
}

/// Units of each agent that has any, at most those of a page.
pub(super) async fn by_agent(
    tx: &mut Connection,
    range: Range<'_>,
    (order, page): (Order, &AgentsPage),
) -> Result<Vec<UsageAgent>, StoreError> {
    let sql = agents_sql(order);
    let counted = counted(&mut *tx, range).await?;
    let rows = agents_query(sql, range, counted, page).fetch_all(tx).await?;
    rows.iter().map(agent).collect()
}

/// An agent of [`agents_query`].
pub(super) fn agent(row: &DbRow) -> Result<UsageAgent, StoreError> {
    Ok(UsageAgent { agent: id(row, "agent", AgentId::parse)?, units: units(row, "units")? })
}

/// Units of each agent that has any: whole months from their sums; of a month in which the span begins or ends the
/// days from the cells, or the month's sum without its other days where those are fewer.
pub(super) fn agents_sql(order: Order) -> String {
    let (after, order) = match order {
        Order::Units => ("SUM(units) < $13 OR (SUM(units) = $13 AND agent > $14)", "units DESC, agent"),
        Order::Agent => ("$13 > 0 AND agent > $14", "agent"),
    };
    format!(
        "SELECT agent, CAST(SUM(units) AS BIGINT) AS units FROM (
             SELECT agent, units FROM usage_agent
             WHERE project = $1 AND mode = $2 AND period >= $3 AND period < $4
             UNION ALL
             SELECT agent, units FROM cell
             WHERE project = $1 AND mode = $2 AND day >= $5 AND day < $6
             UNION ALL
             SELECT agent, units FROM cell
             WHERE project = $1 AND mode = $2 AND day >= $7 AND day < $8
             UNION ALL
             SELECT agent, -units FROM cell
             WHERE project = $1 AND mode = $2 AND day >= $9 AND day < $10
             UNION ALL
             SELECT agent, -units FROM cell
             WHERE project = $1 AND mode = $2 AND day >= $11 AND day < $12
         ) AS parts GROUP BY agent HAVING SUM(units) > 0 AND ({after})
         ORDER BY {order} LIMIT $15"
    )
}

/// Binds what [`agents_sql`] asks for. `counted` says in which way it is read and never what comes of it, so that it may be
/// somewhat old.
pub(super) fn agents_query<'q>(
    sql: String,
    range: Range<'_>,
    counted: Counted,
    page: &AgentsPage,
) -> DbQuery<'q> {
    let Parts { months, days, without } = parts(range.from, range.to, counted);
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(range.project)
        .bind(range.mode)
        .bind(months.0.to_string())
        .bind(months.1.to_string());
    for (start, end) in days.into_iter().chain(without) {
        query = query.bind(i64::from(start)).bind(i64::from(end));
    }
    query.bind(page.after.0).bind(page.after.1.as_str()).bind(page.limit)
}

/// The first and the last day of a project that anything was counted on; the end is not included.
pub(super) type Counted = (u32, u32);

/// Between which days there are any cells.
pub(super) async fn counted(connection: &mut Connection, range: Range<'_>) -> Result<Counted, StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT MIN(day) FROM usage_day WHERE project = $1 AND mode = $2) AS first,
                (SELECT MAX(day) FROM usage_day WHERE project = $1 AND mode = $2) AS last",
    )
    .bind(range.project)
    .bind(range.mode)
    .fetch_one(connection)
    .await?;
    let (first, last) = (optional(&row, "first", day)?, optional(&row, "last", day)?);
    Ok(first.zip(last).map_or((0, 0), |(first, last)| (first.number(), last.number().saturating_add(1))))
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
        (SELECT string_agg(denial.reason || '=' || CAST(denial.denied AS TEXT), ',') FROM denial
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
    Ok(UsageLine {
        day: day(row, "day")?,
        agent: id(row, "agent", AgentId::parse)?,
        kind: name(row, "kind", Kind::parse)?,
        units: units(row, "units")?,
        tokens_in: units(row, "tokens_in")?,
        tokens_out: units(row, "tokens_out")?,
        anchors: units(row, "anchors")?,
        denied: denials::of_line(row.try_get::<Option<String>, _>("denied")?.as_deref())?,
    })
}

/// A span as whole months, and days to add to and to take from them; of each the end is not included.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    months: (Period, Period),
    days: [(u32, u32); 2],
    without: [(u32, u32); 2],
}

/// Which of the two ways reads fewer days is judged by those that have any cells: of the present month the days to come
/// have none, so that its sum alone is read.
fn parts(from: Day, to: Day, counted: Counted) -> Parts {
    let (start, end) = (from.number(), to.number().saturating_add(1));
    let first = (from.period().first_day().number(), from.period().next().first_day().number());
    let last = (to.period().first_day().number(), to.period().next().first_day().number());
    let length = |(start, end): (u32, u32)| end.min(counted.1).saturating_sub(start.max(counted.0));
    let none = (end, end);
    if first == last {
        let outside = [(first.0, start), (end, first.1)];
        let whole = length((start, end)) > outside.into_iter().map(length).sum();
        let month = (from.period(), from.period().next());
        return if whole {
            Parts { months: month, days: [none; 2], without: outside }
        } else {
            Parts { months: (month.0, month.0), days: [(start, end), none], without: [none; 2] }
        };
    }
    let (head, before) = ((start, first.1), (first.0, start));
    let (tail, after) = ((last.0, end), (end, last.1));
    let (first_whole, last_whole) = (length(head) > length(before), length(tail) > length(after));
    let months = (
        if first_whole { from.period() } else { from.period().next() },
        if last_whole { to.period().next() } else { to.period() },
    );
    let either = |whole: bool, inside, outside| if whole { (none, outside) } else { (inside, none) };
    let (head, before) = either(first_whole, head, before);
    let (tail, after) = either(last_whole, tail, after);
    Parts { months, days: [head, tail], without: [before, after] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Counted = (0, u32::MAX);

    #[test]
    fn a_span_is_whole_months_with_days_added_or_taken() {
        let day = |text| Day::parse(text).unwrap();
        for (from, to, months, added, taken) in [
            ("2026-01-01", "2026-12-31", "2026-01 2027-01", 0, 0),
            ("2026-01-02", "2026-12-30", "2026-01 2027-01", 0, 2),
            ("2026-01-20", "2026-12-10", "2026-02 2026-12", 22, 0),
            ("2026-01-20", "2026-12-25", "2026-02 2027-01", 12, 6),
            ("2026-02-01", "2026-02-28", "2026-02 2026-03", 0, 0),
            ("2028-02-01", "2028-02-28", "2028-02 2028-03", 0, 1),
            ("2026-02-02", "2026-03-01", "2026-02 2026-03", 1, 1),
            ("2026-02-02", "2026-03-31", "2026-02 2026-04", 0, 1),
            ("2026-02-01", "2026-03-01", "2026-02 2026-03", 1, 0),
            ("2026-05-05", "2026-05-05", "2026-05 2026-05", 1, 0),
            ("2026-05-10", "2026-05-20", "2026-05 2026-05", 11, 0),
            ("2026-05-02", "2026-05-30", "2026-05 2026-06", 0, 2),
            ("2026-12-31", "2027-01-01", "2027-01 2027-01", 2, 0),
        ] {
            let Parts { months: (first, last), days, without } = parts(day(from), day(to), ALWAYS);
            let sum = |ranges: [(u32, u32); 2]| ranges.iter().map(|(start, end)| end - start).sum::<u32>();
            let got = (format!("{first} {last}"), sum(days), sum(without));
            assert_eq!(got, (months.to_owned(), added, taken), "{from} to {to}");
            // Every day of the span once, and no other.
            let mut counted = std::collections::BTreeMap::new();
            for number in first.first_day().number()..last.first_day().number() {
                *counted.entry(number).or_insert(0) += 1;
            }
            for (ranges, by) in [(days, 1), (without, -1)] {
                for number in ranges.into_iter().flat_map(|(start, end)| start..end) {
                    *counted.entry(number).or_insert(0) += by;
                }
            }
            counted.retain(|_, times| *times != 0);
            let span = day(from).number()..=day(to).number();
            assert!(counted.values().all(|times| *times == 1), "{from} to {to}");
            assert_eq!(counted.into_keys().collect::<Vec<_>>(), span.collect::<Vec<_>>(), "{from} to {to}");
        }
    }

    #[test]
    fn days_without_cells_cost_nothing_and_change_nothing() {
        let day = |text| Day::parse(text).unwrap();
        let counted = (day("2026-03-10").number(), day("2026-11-09").number());
        for (from, to, months, added, taken) in [
            // Nothing is there of the days to come, so that the month's sum is that of its first eight.
            ("2026-11-01", "2026-11-08", "2026-11 2026-12", 0, 22),
            ("2026-11-01", "2026-11-09", "2026-11 2026-12", 0, 21),
            // Where there are no cells at all, it costs nothing either way.
            ("2025-12-01", "2026-11-08", "2026-01 2026-12", 31, 22),
            ("2026-11-03", "2026-11-08", "2026-11 2026-12", 0, 24),
            ("2026-11-07", "2026-11-08", "2026-11 2026-11", 2, 0),
            // The first days of the first month neither.
            ("2026-03-09", "2026-06-30", "2026-03 2026-07", 0, 8),
            ("2026-03-22", "2026-06-30", "2026-04 2026-07", 10, 0),
            ("2024-01-10", "2024-01-12", "2024-01 2024-01", 3, 0),
        ] {
            let Parts { months: (first, last), days, without } = parts(day(from), day(to), counted);
            let sum = |ranges: [(u32, u32); 2]| ranges.iter().map(|(start, end)| end - start).sum::<u32>();
            let got = (format!("{first} {last}"), sum(days), sum(without));
            assert_eq!(got, (months.to_owned(), added, taken), "{from} to {to}");
        }
    }

    /// On SQLite, whose plans depend on nothing but the statement and the schema.
    #[tokio::test]
    async fn rows_of_other_agents_and_days_are_not_read() {
        let mut tx = crate::store::migrations::in_memory().await;
        for (sql, plan) in [
            (agent_days_sql(3), "SEARCH cell USING PRIMARY KEY (project=? AND mode=? AND day=? AND agent=?)"),
            (LINES.to_owned(), "SEARCH cell USING PRIMARY KEY (project=? AND mode=? AND day>? AND day<?)"),
            (
                agents_sql(Order::Units),
                "SEARCH usage_agent USING PRIMARY KEY (project=? AND mode=? AND period>? AND period<?)",
            ),
        ] {
            let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
            let rows = rows.fetch_all(&mut tx).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
            assert!(steps.iter().any(|step| step == plan), "{steps:#?}");
            let whole =
                |step: &&String| step.starts_with("SCAN cell") || step.starts_with("SCAN usage_agent");
            assert_eq!(steps.iter().find(whole), None, "{steps:#?}");
        }
    }
}
