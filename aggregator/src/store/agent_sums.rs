//! Sums of agents' units by quarter, month and part of a month, so that a report reads few rows of each agent. They are moved
//! by the transaction that merges the cells and must always equal their sums, which audits check.

use std::collections::BTreeMap;

use shared::ids::{AgentId, ProjectId};
use shared::time::{Day, Period};
use shared::units::Units;
use shared::wire::Flush;
use sqlx::{AssertSqlSafe, Row};

use super::bind_rows::BoundRows;
use super::dialect::Dialect;
use super::rollups::{self, Range};
use super::rows::{day, id, int, name, optional, units};
use super::{Connection, DbQuery, DbRow, Store, StoreError, again};
use crate::metering::usage::UsageAgent;
use crate::metering::usage::page::{Order, Place};
use crate::metering::usage::parts::{
    self, Days, Known, MONTHS, PARTS, Part, Plan, Quarter, days_of, months_of, place_of,
};

/// The column of a month's sum, by its place in the quarter.
fn month_column(month: u32) -> String {
    format!("units_{month}")
}

/// The column of a part's sum; the last part of a month has none, because it is what is left of the month's.
fn part_column(month: u32, part: u32) -> Option<String> {
    (part < PARTS).then(|| format!("part_{month}_{part}"))
}

/// Moves the sums of agents by what was added to their cells.
pub(super) async fn add(
    tx: &mut Connection,
    flush: &Flush,
    added: &BTreeMap<(Part, AgentId), Units>,
) -> Result<(), StoreError> {
    let mut by_part: BTreeMap<Part, Vec<(&AgentId, Units)>> = BTreeMap::new();
    for ((part, agent), units) in added {
        by_part.entry(*part).or_default().push((agent, *units));
    }
    for (part, agents) in by_part {
        let (quarter, month) = place_of(part.period());
        let given = BoundRows::default()
            .texts("quarter", agents.iter().map(|_| quarter.to_string()))
            .texts("agent", agents.iter().map(|(agent, _)| agent.as_str()))
            .ints("units", agents.iter().map(|(_, units)| int(units.get())));
        let columns: Vec<String> =
            [Some(month_column(month)), part_column(month, part.number())].into_iter().flatten().collect();
        let values = vec!["units"; columns.len()].join(", ");
        let sets =
            columns.iter().map(|column| format!("{column} = usage_quarter.{column} + excluded.{column}"));
        let (sets, columns) = (sets.collect::<Vec<_>>().join(", "), columns.join(", "));
        let sql = |project: &str, mode: &str, rows: &str| {
            format!(
                "INSERT INTO usage_quarter (project, mode, quarter, agent, {columns})
                 SELECT {project}, {mode}, quarter, agent, {values} FROM {rows} AS given WHERE true
                 ON CONFLICT (project, mode, quarter, agent) DO UPDATE SET {sets}"
            )
        };
        rollups::add(tx, flush, &given, sql).await?;
    }
    Ok(())
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
    let known = known(&mut *tx, range).await?;
    // One text for the whole page: of each row of ten thousand the driver would make columns and names anew, which takes longer
    // than all sums. Neither names nor numbers have spaces.
    let whole = |page: String| {
        format!("SELECT string_agg(agent || ' ' || CAST(units AS TEXT), ' ') AS agents FROM ({page}) AS page")
    };
    let row = agents_query(range, &known, (order, page), whole).fetch_one(tx).await?;
    let text: Option<String> = row.try_get("agents")?;
    let mut agents = page_of(text.as_deref().unwrap_or_default())?;
    // In which order a text is put together, no database promises.
    agents.sort_unstable_by(|one, other| match order {
        Order::Units => other.units.cmp(&one.units).then_with(|| one.agent.cmp(&other.agent)),
        Order::Agent => one.agent.cmp(&other.agent),
    });
    Ok(agents)
}

/// Agents and their units, parted by spaces.
fn page_of(text: &str) -> Result<Vec<UsageAgent>, StoreError> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let mut agents = Vec::new();
    while let Some(agent) = words.next() {
        let units = words.next().and_then(|units| units.parse().ok());
        let read = AgentId::parse(agent).ok().zip(units);
        let (agent, units) =
            read.ok_or_else(|| StoreError::Unreadable { column: "agents", got: agent.to_owned() })?;
        agents.push(UsageAgent { agent, units: Units::new(units) });
    }
    Ok(agents)
}

/// An agent of [`agents_query`].
pub(super) fn agent(row: &DbRow) -> Result<UsageAgent, StoreError> {
    Ok(UsageAgent { agent: id(row, "agent", AgentId::parse)?, units: units(row, "units")? })
}

/// The first and the last day on which anything was counted.
async fn counted_days(
    connection: &mut Connection,
    (project, mode): (&str, &str),
) -> Result<Option<(Day, Day)>, StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT MIN(day) FROM usage_day WHERE project = $1 AND mode = $2) AS first,
                (SELECT MAX(day) FROM usage_day WHERE project = $1 AND mode = $2) AS last",
    )
    .bind(project)
    .bind(mode)
    .fetch_one(connection)
    .await?;
    Ok(optional(&row, "first", day)?.zip(optional(&row, "last", day)?))
}

/// What is to be known before a report is read.
pub(super) async fn known(connection: &mut Connection, range: Range<'_>) -> Result<Known, StoreError> {
    let counted = counted_days(&mut *connection, (range.project, range.mode)).await?;
    let counted = counted.map_or((0, 0), |(first, last)| (first.number(), last.number().saturating_add(1)));
    let rows = sqlx::query(
        "SELECT period FROM usage_coarse WHERE project = $1 AND mode = $2 AND period IN ($3, $4)",
    )
    .bind(range.project)
    .bind(range.mode)
    .bind(range.from.period().to_string())
    .bind(range.to.period().to_string())
    .fetch_all(connection)
    .await?;
    let coarse = rows.iter().map(|row| name(row, "period", Period::parse)).collect::<Result<_, _>>()?;
    Ok(Known { counted, coarse })
}

/// Which sums of a quarter's row are added up, by column: those before a part's beginning.
fn before(at: Part) -> BTreeMap<String, i8> {
    let (_, month) = place_of(at.period());
    let months = (1..month).map(month_column);
    let parts = (1..at.number()).filter_map(|part| part_column(month, part));
    months.chain(parts).map(|column| (column, 1)).collect()
}

/// Those of a whole quarter.
fn whole() -> BTreeMap<String, i8> {
    (1..=MONTHS).map(|month| (month_column(month), 1)).collect()
}

/// The sum of columns without others, as SQL; nothing where there are none.
fn terms(mut added: BTreeMap<String, i8>, without: BTreeMap<String, i8>) -> Option<String> {
    for (column, times) in without {
        let sum = added.entry(column).or_default();
        *sum = sum.saturating_sub(times);
    }
    let term = |(column, times): (&String, &i8)| match times {
        0 => None,
        1.. => Some(format!("+ {column}")),
        _ => Some(format!("- {column}")),
    };
    let terms: Vec<String> = added.iter().filter_map(term).collect();
    (!terms.is_empty()).then(|| format!("0 {}", terms.join(" ")))
}

/// What is read of the quarters' rows: of the first, of those between, and of the last.
#[derive(Debug)]
struct Sums {
    columns: [String; 3],
    first: String,
    last: String,
    /// Empty where nothing of the last is read.
    last_read: String,
}

fn sums((start, end): (u32, u32)) -> Sums {
    let part = |number| Part::of(Day::from_number(number).unwrap_or(Day::MAX));
    let (from, until) = (part(start), part(end));
    let (first, last) = (place_of(from.period()).0, place_of(until.period()).0);
    let (of_first, of_last) = if start >= end {
        (None, None)
    } else if first == last {
        (terms(before(until), before(from)), None)
    } else {
        (terms(whole(), before(from)), terms(before(until), BTreeMap::new()))
    };
    let quarter =
        |of: &Option<String>, quarter: Quarter| of.as_ref().map_or_else(String::new, |_| quarter.to_string());
    let between = if of_first.is_some() { last.to_string() } else { String::new() };
    let (first_read, last_read) = (quarter(&of_first, first), quarter(&of_last, last));
    let columns = [of_first, terms(whole(), BTreeMap::new()), of_last];
    Sums {
        columns: columns.map(|sql| sql.unwrap_or_else(|| "0".to_owned())),
        first: first_read,
        last: between,
        last_read,
    }
}

/// Units of each agent that has any: from the sums of parts, and of the days at both ends from the cells.
fn agents_sql(order: Order, columns: &[String; 3], ends: [Days; 2]) -> String {
    let (after, order) = match order {
        Order::Units => ("SUM(units) < $10 OR (SUM(units) = $10 AND agent > $11)", "units DESC, agent"),
        Order::Agent => ("$10 > 0 AND agent > $11", "agent"),
    };
    let [first, between, last] = columns;
    let [of_first, of_last] = ends.map(|days| if days.taken { "-units" } else { "units" });
    format!(
        "SELECT agent, CAST(SUM(units) AS BIGINT) AS units FROM (
             SELECT agent, {first} AS units FROM usage_quarter
             WHERE project = $1 AND mode = $2 AND quarter = $3
             UNION ALL
             SELECT agent, {between} FROM usage_quarter
             WHERE project = $1 AND mode = $2 AND quarter > $3 AND quarter < $4
             UNION ALL
             SELECT agent, {last} FROM usage_quarter
             WHERE project = $1 AND mode = $2 AND quarter = $5
             UNION ALL
             SELECT agent, {of_first} FROM cell
             WHERE project = $1 AND mode = $2 AND day >= $6 AND day < $7
             UNION ALL
             SELECT agent, {of_last} FROM cell
             WHERE project = $1 AND mode = $2 AND day >= $8 AND day < $9
         ) AS parts GROUP BY agent HAVING SUM(units) > 0 AND ({after})
         ORDER BY {order} LIMIT $12"
    )
}

/// Asks for the units of agents, a row for each, in whatever shape the caller puts that statement.
pub(super) fn agents_query<'q>(
    range: Range<'_>,
    known: &Known,
    (order, page): (Order, &AgentsPage),
    shape: impl FnOnce(String) -> String,
) -> DbQuery<'q> {
    let Plan { sums, ends } = parts::plan(range.from, range.to, known);
    let Sums { columns, first, last, last_read } = self::sums(sums);
    let mut query = sqlx::query(AssertSqlSafe(shape(agents_sql(order, &columns, ends))))
        .bind(range.project)
        .bind(range.mode)
        .bind(first)
        .bind(last)
        .bind(last_read);
    for Days { start, end, .. } in ends {
        query = query.bind(i64::from(start)).bind(i64::from(end));
    }
    query.bind(page.after.0).bind(page.after.1.as_str()).bind(page.limit)
}

/// How many agents that a customer named have units in a month.
pub(super) async fn named_agents(
    tx: &mut Connection,
    project: &ProjectId,
    period: Period,
) -> Result<DbRow, StoreError> {
    let (quarter, month) = place_of(period);
    // Names that begin with a tilde are the meter's own (`AgentId::is_named`).
    let sql = format!(
        "SELECT COUNT(*) AS agents FROM usage_quarter
         WHERE project = $1 AND mode = 'live' AND quarter = $2 AND {} > 0 AND agent NOT LIKE '~%'",
        month_column(month)
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(project.as_str()).bind(quarter.to_string());
    Ok(query.fetch_one(tx).await?)
}

/// The units of each agent in each month from `first` on that has any, by agent.
pub(super) async fn by_month(
    tx: &mut Connection,
    (project, mode): (&str, &str),
    first: Period,
) -> Result<Vec<(Period, AgentId, Units)>, StoreError> {
    let rows = sqlx::query(
        "SELECT quarter, agent, units_1, units_2, units_3 FROM usage_quarter
         WHERE project = $1 AND mode = $2 AND quarter >= $3 ORDER BY agent, quarter",
    )
    .bind(project)
    .bind(mode)
    .bind(place_of(first).0.to_string())
    .fetch_all(tx)
    .await?;
    let mut found = Vec::new();
    for row in &rows {
        let agent = id(row, "agent", AgentId::parse)?;
        let quarter = place_of(name(row, "quarter", Period::parse)?).0;
        for (period, column) in months_of(quarter).into_iter().zip(["units_1", "units_2", "units_3"]) {
            let units = units(row, column)?;
            if period >= first && units > Units::ZERO {
                found.push((period, agent.clone(), units));
            }
        }
    }
    Ok(found)
}

/// What does not equal the sums of the cells, in words; nothing is as it must be.
pub(super) async fn findings(tx: &mut Connection, project: &ProjectId) -> Result<Vec<String>, StoreError> {
    let mut findings = Vec::new();
    for mode in ["live", "test"] {
        for place in parts_that_differ(tx, project, mode).await? {
            findings.push(format!("the sums of an agent are not those of its cells: {mode} {place}"));
        }
    }
    // Whatever is summed is in a month that has a sum, and whatever is counted on a day that has one.
    let rows = sqlx::query(
        "SELECT mode || ' ' || quarter AS place FROM (
             SELECT mode, substr(period, 1, 5) || CASE
                        WHEN substr(period, 6, 2) <= '03' THEN '01' WHEN substr(period, 6, 2) <= '06' THEN '04'
                        WHEN substr(period, 6, 2) <= '09' THEN '07' ELSE '10' END AS quarter,
                    CASE WHEN substr(period, 6, 2) IN ('01', '04', '07', '10') THEN units ELSE 0 END AS units_1,
                    CASE WHEN substr(period, 6, 2) IN ('02', '05', '08', '11') THEN units ELSE 0 END AS units_2,
                    CASE WHEN substr(period, 6, 2) IN ('03', '06', '09', '12') THEN units ELSE 0 END AS units_3
             FROM usage WHERE project = $1
             UNION ALL
             SELECT mode, quarter, -units_1, -units_2, -units_3 FROM usage_quarter WHERE project = $1
         ) AS both_sides
         GROUP BY mode, quarter HAVING SUM(units_1) <> 0 OR SUM(units_2) <> 0 OR SUM(units_3) <> 0 ORDER BY 1",
    )
    .bind(project.as_str())
    .fetch_all(tx)
    .await?;
    for row in rows {
        let place: String = row.try_get("place")?;
        findings.push(format!("the sums of agents are not those of their months: {place}"));
    }
    Ok(findings)
}

/// The quarters, months, parts and agents whose sums are not those of their cells.
async fn parts_that_differ(
    tx: &mut Connection,
    project: &ProjectId,
    mode: &str,
) -> Result<Vec<String>, StoreError> {
    let Some((first, last)) = counted_days(&mut *tx, (project.as_str(), mode)).await? else {
        return Ok(Vec::new());
    };
    let rows = sqlx::query("SELECT period FROM usage_coarse WHERE project = $1 AND mode = $2")
        .bind(project.as_str())
        .bind(mode)
        .fetch_all(&mut *tx)
        .await?;
    let coarse: Vec<Period> =
        rows.iter().map(|row| name(row, "period", Period::parse)).collect::<Result<_, _>>()?;
    // What is compared: the quarter, the month's place in it, the part (none is the whole month), its days.
    let mut compared: Vec<(Quarter, u32, u32, (u32, u32))> = Vec::new();
    let mut period = first.period();
    while period <= last.period() {
        let (quarter, month) = place_of(period);
        if coarse.contains(&period) {
            compared.push((quarter, month, 0, days_of(period)));
        } else {
            compared.extend(Part::of_month(period).map(|part| (quarter, month, part.number(), part.days())));
        }
        if period.next() <= period {
            break;
        }
        period = period.next();
    }
    let number = |month: &u32, part: &u32| i64::from(month.saturating_mul(10).saturating_add(*part));
    let given = BoundRows::default()
        .texts("quarter", compared.iter().map(|(quarter, ..)| quarter.to_string()))
        .ints("piece", compared.iter().map(|(_, month, part, _)| number(month, part)))
        .ints("start", compared.iter().map(|(.., days)| i64::from(days.0)))
        .ints("after", compared.iter().map(|(.., days)| i64::from(days.1)));
    let dialect = Dialect::of(tx);
    let mut differ = Vec::new();
    for piece in given.pieces(dialect) {
        let before = given.parameters(dialect, piece.len());
        let parameter = |number: usize| dialect.parameter(before.saturating_add(number));
        // CROSS JOIN makes SQLite read the days of one part after the other.
        let sql = format!(
            "WITH part AS (SELECT * FROM {} AS given)
             SELECT quarter || ' ' || CAST(piece AS TEXT) || ' ' || agent AS place FROM (
                 SELECT part.quarter, part.piece, cell.agent, cell.units FROM part CROSS JOIN cell
                 WHERE cell.project = {} AND cell.mode = {} AND cell.day >= part.start AND cell.day < part.after
                 UNION ALL
                 SELECT part.quarter, part.piece, stored.agent, -({}) FROM part CROSS JOIN usage_quarter AS stored
                 WHERE stored.project = {} AND stored.mode = {} AND stored.quarter = part.quarter
             ) AS both_sides
             GROUP BY quarter, piece, agent HAVING SUM(units) <> 0 ORDER BY 1",
            given.table(dialect, piece.len(), 0),
            parameter(1),
            parameter(2),
            place_sql(),
            parameter(3),
            parameter(4),
        );
        let query = given.bind(sqlx::query(AssertSqlSafe(sql)), dialect, &piece);
        let query = query.bind(project.as_str()).bind(mode).bind(project.as_str()).bind(mode);
        for row in query.fetch_all(&mut *tx).await? {
            differ.push(row.try_get("place")?);
        }
    }
    Ok(differ)
}

/// What is stored of a part, by the number of its month and its own.
fn place_sql() -> String {
    let mut cases = Vec::new();
    for month in 1..=MONTHS {
        let parts: Vec<String> = (1..PARTS).filter_map(|part| part_column(month, part)).collect();
        for (part, column) in (1_u32..).zip(&parts) {
            cases.push(format!("WHEN {month}{part} THEN {column}"));
        }
        let sum = month_column(month);
        cases.push(format!("WHEN {month}{PARTS} THEN {sum} - {}", parts.join(" - ")));
        cases.push(format!("WHEN {month}0 THEN {sum}"));
    }
    format!("CASE part.piece {} END", cases.join(" "))
}

impl Store {
    /// Sums the parts of one month of a project that are not known yet, from its cells. Says whether there was one.
    ///
    /// # Errors
    /// When the store fails; then they are as they were.
    pub async fn sum_parts(&self) -> Result<bool, StoreError> {
        again(|| self.sum_parts_once()).await
    }

    async fn sum_parts_once(&self) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT project, mode, period FROM usage_coarse ORDER BY period DESC, project, mode LIMIT 1",
        )
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let project = id(&row, "project", ProjectId::parse)?;
        let mode: String = row.try_get("mode")?;
        let period = name(&row, "period", Period::parse)?;
        let mut tx = self.write_project(&project).await?;
        let found = sqlx::query("DELETE FROM usage_coarse WHERE project = $1 AND mode = $2 AND period = $3")
            .bind(project.as_str())
            .bind(&mode)
            .bind(period.to_string())
            .execute(&mut *tx)
            .await?;
        // Another server may just have done it.
        if found.rows_affected() > 0 {
            let (quarter, month) = place_of(period);
            let parts: Vec<(Part, String)> = Part::of_month(period)
                .filter_map(|part| Some((part, part_column(month, part.number())?)))
                .collect();
            let sum = |(part, _): &(Part, String)| {
                let (start, end) = part.days();
                format!("CAST(SUM(CASE WHEN day >= {start} AND day < {end} THEN units ELSE 0 END) AS BIGINT)")
            };
            let sums: Vec<String> = parts.iter().map(sum).collect();
            let columns: Vec<&str> = parts.iter().map(|(_, column)| column.as_str()).collect();
            let sets: Vec<String> =
                columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
            let nothing: Vec<String> = columns.iter().map(|column| format!("{column} = 0")).collect();
            let sql = format!(
                "UPDATE usage_quarter SET {} WHERE project = $1 AND mode = $2 AND quarter = $3",
                nothing.join(", ")
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(project.as_str())
                .bind(&mode)
                .bind(quarter.to_string())
                .execute(&mut *tx)
                .await?;
            let sql = format!(
                "INSERT INTO usage_quarter (project, mode, quarter, agent, {})
                 SELECT $1, $2, $3, agent, {} FROM cell
                 WHERE project = $1 AND mode = $2 AND day >= $4 AND day < $5 AND units > 0 GROUP BY agent
                 ON CONFLICT (project, mode, quarter, agent) DO UPDATE SET {}",
                columns.join(", "),
                sums.join(", "),
                sets.join(", ")
            );
            let (start, end) = days_of(period);
            sqlx::query(AssertSqlSafe(sql))
                .bind(project.as_str())
                .bind(&mode)
                .bind(quarter.to_string())
                .bind(i64::from(start))
                .bind(i64::from(end))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums_of(from: &str, until: &str) -> ([String; 3], [String; 3]) {
        let number = |text| Day::parse(text).unwrap().number();
        let Sums { columns, first, last, last_read } = sums((number(from), number(until)));
        (columns, [first, last, last_read])
    }

    #[test]
    fn each_quarter_is_read_by_the_columns_of_its_part_of_a_span() {
        let whole = "0 + units_1 + units_2 + units_3";
        for (from, until, columns, quarters) in [
            // From the beginning of one to that of another.
            ("2026-01-01", "2026-10-01", [whole, whole, "0"], ["2026-01", "2026-10", ""]),
            (
                "2025-11-11",
                "2026-05-06",
                ["0 - part_2_1 - part_2_2 + units_2 + units_3", whole, "0 + part_2_1 + units_1"],
                ["2025-10", "2026-04", "2026-04"],
            ),
            // Within one quarter, and within one month.
            (
                "2026-04-26",
                "2026-06-01",
                ["0 - part_1_1 - part_1_2 - part_1_3 - part_1_4 - part_1_5 + units_1 + units_2", whole, "0"],
                ["2026-04", "2026-04", ""],
            ),
            ("2026-02-06", "2026-02-16", ["0 + part_2_2 + part_2_3", whole, "0"], ["2026-01", "2026-01", ""]),
            ("2026-02-06", "2026-02-06", ["0", whole, "0"], ["", "", ""]),
        ] {
            let got = sums_of(from, until);
            assert_eq!(got, (columns.map(str::to_owned), quarters.map(str::to_owned)), "{from} to {until}");
        }
    }

    /// On SQLite, whose plans depend on nothing but the statement and the schema.
    #[tokio::test]
    async fn rows_of_other_quarters_and_days_are_not_read() {
        let mut tx = crate::store::migrations::in_memory().await;
        let days = Days { taken: false, start: 0, end: 0 };
        let sql = agents_sql(Order::Units, &sums((20_000, 20_400)).columns, [days; 2]);
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let rows = rows.fetch_all(&mut tx).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
        for plan in [
            "SEARCH usage_quarter USING PRIMARY KEY (project=? AND mode=? AND quarter=?)",
            "SEARCH usage_quarter USING PRIMARY KEY (project=? AND mode=? AND quarter>? AND quarter<?)",
            "SEARCH cell USING PRIMARY KEY (project=? AND mode=? AND day>? AND day<?)",
        ] {
            assert!(steps.iter().any(|step| step == plan), "{steps:#?}");
        }
        assert!(
            !steps.iter().any(|step| step.starts_with("SCAN cell") || step.starts_with("SCAN usage")),
            "{steps:#?}"
        );
    }
}
