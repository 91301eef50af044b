//! How the books grow: ingest through several aggregators on one Postgres, reports over ten million cells, and what a
//! cell and a project weigh on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::section;
use serde_json::Value;
use shared::time::Day;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row};
use tests::client::{Call, Connection};
use tests::clock;
use tests::postgres::Postgres;
use tests::servers::Servers;
use tokio::time::Instant;

use crate::ours::{self, Load};
use crate::profile::{self, Profile, Running};

/// How many aggregators share the books.
const AGGREGATORS: [usize; 3] = [1, 2, 4];
/// Ten million cells: so many agents, each of so many days, in batches of one day.
const AGENTS: usize = 14_000;
const DAYS: u32 = 715;
/// How often each report is asked for.
const ASKED: usize = 21;
/// Projects that are made, for what one of them weighs.
const PROJECTS: usize = 200;

/// What sessions did less often than this, in the mean, is not told of.
const SELDOM: f64 = 0.05;

/// What was measured.
#[derive(Debug, Default)]
struct Figures {
    /// Cells a second, by the number of aggregators, and what was busy meanwhile.
    ingest: Vec<(usize, f64, Profile)>,
    /// By database: how long each report took.
    reports: Vec<(&'static str, &'static str, Duration)>,
    /// By database: bytes of a cell with all that is derived from it, and of a project.
    weights: Vec<(&'static str, f64, f64)>,
}

/// Measures, and writes the page's section.
pub(crate) async fn run(seconds: u64, page: &Path) -> Result<()> {
    let mut figures = Figures::default();
    for count in AGGREGATORS {
        let (rate, profile) = ingest(count, seconds).await?;
        println!("{count} aggregators on one Postgres: {rate:.0} cells/s, {profile:.1?}");
        figures.ingest.push((count, rate, profile));
    }
    books("SQLite", None, &mut figures).await?;
    let postgres = Postgres::start_on_disk().await?;
    books("Postgres", Some(postgres.create("books")?), &mut figures).await?;
    section::write(page, "scale", &figures.report()?)
}

/// Cells per second through so many aggregators, which share one database.
async fn ingest(count: usize, seconds: u64) -> Result<(f64, Profile)> {
    let postgres = Postgres::start_on_disk().await?;
    let mut servers = Servers::on(Some(postgres.create("books")?), None)?;
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        addresses.push(servers.add().await?);
    }
    let load = Load::prepare(&servers, &addresses).await?;
    let profile = Running::begin(&postgres, &servers, count)?;
    let rate = load.run(seconds).await?;
    Ok((rate, profile.end().await?))
}

/// Fills books, weighs them, and asks for reports.
async fn books(name: &'static str, database: Option<String>, figures: &mut Figures) -> Result<()> {
    let mut servers = Servers::on(database, None)?;
    let address = servers.add().await?;
    let empty = size(&servers).await?;
    for number in 0..PROJECTS {
        servers.project(&format!("small-{number}"), 10_000)?;
    }
    let with_projects = size(&servers).await?;
    let token = servers.project("large", 1_000_000_000)?;
    let signer = servers.signer()?;
    let mut connection = Connection::open(address).await?;
    let last = clock::now().day();
    let first = Day::from_number(last.number().saturating_sub(DAYS - 1)).context("a day")?;
    let (start, mut seq) = (Instant::now(), 0_u64);
    for number in first.number()..=last.number() {
        let day = Day::from_number(number).context("a day")?;
        for from in (0..AGENTS).step_by(ours::CELLS) {
            seq += 1;
            let answer = connection.send(&signer.flush(&batch(day, from, seq))?).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        }
    }
    let cells = f64::from(DAYS) * AGENTS as f64;
    let full = size(&servers).await?;
    let weight = |from: u64, to: u64, count: f64| to.saturating_sub(from) as f64 / count;
    let (cell, project) = (weight(with_projects, full, cells), weight(empty, with_projects, PROJECTS as f64));
    println!(
        "{name}: {cells:.0} cells in {:.0} s, {cell:.0} bytes each; {project:.0} bytes a project",
        start.elapsed().as_secs_f64()
    );
    figures.weights.push((name, cell, project));
    let month = last.period();
    let year = Day::from_number(last.number().saturating_sub(364)).context("a day")?;
    for (what, from, by) in [
        ("this month by day", month.first_day(), "group_by=day"),
        ("a year by day", year, "group_by=day"),
        ("a year by kind", year, "group_by=kind"),
        ("this month by agent, the 100 largest", month.first_day(), "group_by=agent&limit=100"),
        ("a year by agent, the 100 largest", year, "group_by=agent&limit=100"),
    ] {
        let call =
            Call::get(&format!("/api/v1/usage?project=large&from={from}&to={last}&{by}")).bearer(&token);
        let mut times = Vec::with_capacity(ASKED);
        for _ in 0..ASKED {
            let start = Instant::now();
            let answer = connection.send(&call).await?;
            times.push(start.elapsed());
            let report: Value = answer.ok()?;
            ensure!(report.is_object(), "{report}");
        }
        times.sort();
        let median = *times.get(ASKED.div_euclid(2)).context("a median")?;
        println!("{name}: {what}: {median:.1?}");
        figures.reports.push((name, what, median));
    }
    Ok(())
}

/// Bytes of the books on the disk.
async fn size(servers: &Servers) -> Result<u64> {
    let url = servers.database();
    if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query("CHECKPOINT").execute(&mut connection).await?;
        let row =
            sqlx::query("SELECT pg_database_size(current_database())").fetch_one(&mut connection).await?;
        return Ok(row.try_get::<i64, _>(0)?.unsigned_abs());
    }
    let file = url.strip_prefix("sqlite://").context("an SQLite file")?;
    Ok(std::fs::metadata(file)?.len())
}

fn batch(day: Day, from: usize, seq: u64) -> String {
    let mut body = format!(
        r#"{{"project":"large","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":["#
    );
    for agent in from..(from + ours::CELLS) {
        let comma = if agent == from { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"day":"{day}","kind":"verify","agent":"agent-{agent:05}","units":{}}}"#,
            agent + 1
        )
        .unwrap_or_default();
    }
    body.push_str("]}");
    body
}

impl Figures {
    /// What was busy while cells were taken in, a column for each number of aggregators.
    fn profiles(&self) -> Result<String> {
        let mut text = String::new();
        let mut table = |title: &str, names: &[&str], of: &dyn Fn(&Profile, &str) -> String| {
            write!(text, "\n| {title}")?;
            self.ingest.iter().try_for_each(|(count, ..)| write!(text, " | {count}"))?;
            write!(text, " |\n| ---")?;
            self.ingest.iter().try_for_each(|_| write!(text, " | ---:"))?;
            writeln!(text, " |")?;
            for name in names {
                write!(text, "| {name}")?;
                self.ingest.iter().try_for_each(|(.., profile)| write!(text, " | {}", of(profile, name)))?;
                writeln!(text, " |")?;
            }
            anyhow::Ok(())
        };
        let whose = [profile::WHOSE.as_slice(), &[profile::OTHERS], &profile::IDLE].concat();
        table("processor time, % of all there is, by aggregators", &whose, &|profile, name| {
            format!("{:.0}", profile.processors.get(name).copied().unwrap_or_default())
        })?;
        let mean = |of: &BTreeMap<String, f64>, name: &str| {
            format!("{:.2}", of.get(name).copied().unwrap_or_default())
        };
        let names = |of: &dyn Fn(&Profile) -> &BTreeMap<String, f64>| {
            let seen = self.ingest.iter().flat_map(|(.., profile)| of(profile));
            let often = seen.filter(|(_, count)| **count >= SELDOM);
            often.map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        table("sessions of Postgres that, in the mean", &names(&|of| &of.sessions), &|of, name| {
            mean(&of.sessions, name)
        })?;
        table("of them in a statement, in the mean", &names(&|of| &of.statements), &|of, name| {
            mean(&of.statements, name)
        })?;
        Ok(text)
    }

    fn report(&self) -> Result<String> {
        let (day, processors) = (clock::now().day(), std::thread::available_parallelism()?);
        let mut text =
            format!("- {day}, {processors} processors, which the load generator and the databases share\n");
        text.push_str("- `cargo xtask bench --scale`\n\n| aggregators on one Postgres | cells/s | of one |\n| ---: | ---: | ---: |\n");
        let alone = self.ingest.first().context("one aggregator")?.1;
        for (count, rate, _) in &self.ingest {
            writeln!(text, "| {count} | {rate:.0} | {:.2} |", rate / alone)?;
        }
        text.push_str(&self.profiles()?);
        let cells = f64::from(DAYS) * AGENTS as f64;
        writeln!(
            text,
            "\n| report over {cells:.0} cells of one project | database | median ms |\n| --- | --- | ---: |"
        )?;
        for (name, what, median) in &self.reports {
            writeln!(text, "| {what} | {name} | {:.1} |", median.as_secs_f64() * 1_000.0)?;
        }
        text.push_str("\n| database | bytes a cell, with all that is derived from it | bytes a project |\n| --- | ---: | ---: |\n");
        for (name, cell, project) in &self.weights {
            writeln!(text, "| {name} | {cell:.0} | {project:.0} |")?;
        }
        text.push_str("\n| two years of 100,000 projects, by these bytes | cells | SQLite | Postgres |\n| --- | ---: | ---: | ---: |\n");
        for agents in [1.0_f64, 10.0] {
            // One kind a day for each agent; who uses several has as many cells.
            let cells = 100_000.0 * 730.0 * agents;
            let gigabytes = |name: &str| {
                let weight = self.weights.iter().find(|(of, ..)| *of == name);
                weight.map_or(0.0, |(_, cell, project)| (cells * cell + 100_000.0 * project) / 1e9)
            };
            let (sqlite, postgres) = (gigabytes("SQLite"), gigabytes("Postgres"));
            writeln!(
                text,
                "| {agents:.0} agents of one kind in each, every day | {cells:.0} | {sqlite:.0} GB | {postgres:.0} GB |"
            )?;
        }
        Ok(text)
    }
}
