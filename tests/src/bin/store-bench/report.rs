//! The reports of one year: of 1,000 agents, and of 10,000, over HTTP.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::time::Day;
use tests::client::{Call, Connection};
use tests::clock;
use tests::servers::Servers;
use tokio::time::Instant;

const DAYS: u32 = 366;
const ROUNDS: usize = 51;

/// The most cells of a flush here; it is what homes send.
const FLUSH_CELLS_MAX: usize = 1_000;

/// How long a report took.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) agents: usize,
    pub(crate) what: &'static str,
    pub(crate) median: Duration,
    pub(crate) slowest: Duration,
}

/// Fills a year and says how long its reports take: as whole months, with both ends within a month, and what a heat map asks.
pub(crate) async fn measure(
    name: &str,
    agents: usize,
    servers: &Servers,
    address: SocketAddr,
) -> Result<Vec<Timed>> {
    let project = format!("year{agents}");
    let token = servers.project(&project, 1_000_000_000_000)?;
    let last = clock::now().day();
    let first = Day::from_number(last.number().saturating_sub(DAYS - 1)).context("a day")?;
    let mut connection = Connection::open(address).await?;
    fill((servers, &mut connection), (&project, agents), (first, last)).await?;
    let whole = first.period().next().first_day();
    let before_last =
        Day::from_number(last.period().first_day().number().saturating_sub(1)).context("a day")?;
    // The worst that two ends can be: the middle of a part each, of which days are read cell by cell.
    let middle = |day: Day| Day::from_number(day.number().saturating_add(12)).context("a day");
    let (from_middle, to_middle) = (middle(whole)?, middle(before_last.period().first_day())?);
    let (month, twelve) = (last.period().first_day(), before_last.period().first_day());
    let shown: Vec<String> = (0..12).map(|rank| agent(agents.saturating_sub(1 + rank))).collect();
    let heat = format!("&group_by=day,agent&agents={}", shown.join("+"));
    let mut reports = Vec::new();
    for (what, from, to, more) in [
        ("one year", first, last, ""),
        ("whole months of it", whole, before_last, ""),
        ("from the middle of a month to the middle of another", from_middle, to_middle, ""),
        ("this month", month, last, ""),
        ("two months", twelve, last, ""),
        ("the heat map of one year", first, last, heat.as_str()),
    ] {
        let call =
            Call::get(&format!("/api/v1/usage?project={project}&from={from}&to={to}{more}")).bearer(&token);
        let expected = if more.is_empty() { agents } else { shown.len() };
        let process = servers.pid(0).context("it runs")?;
        let before = processor_ms(process)?;
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let answer = connection.send(&call).await?;
            times.push(start.elapsed());
            let report: Value = answer.ok()?;
            let told = report.get("agents").and_then(Value::as_array).map(Vec::len);
            ensure!(told == Some(expected), "{told:?} agents and not {expected}");
        }
        times.sort();
        let median = times.get(ROUNDS.div_euclid(2)).context("a median")?;
        let slowest = times.last().context("a slowest")?;
        // What else the machine does makes the first two longer, and not this one; Postgres' own work is not in it.
        let processor = (processor_ms(process)? - before) / ROUNDS as f64;
        println!(
            "{name:9} usage of {what} x {agents} agents: median {median:.1?}, slowest of {ROUNDS} {slowest:.1?}, {processor:.1} ms of the server's processor time each"
        );
        reports.push(Timed { agents, what, median: *median, slowest: *slowest });
    }
    Ok(reports)
}

/// Processor time that a process has taken so far.
fn processor_ms(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks: Vec<u32> = ticks.collect::<Result<_, _>>()?;
    // A hundred to a second, on every Linux.
    Ok(ticks.iter().map(|ticks| f64::from(*ticks)).sum::<f64>() * 10.0)
}

/// Every agent has units on every day.
async fn fill(
    (servers, connection): (&Servers, &mut Connection),
    (project, agents): (&str, usize),
    (first, last): (Day, Day),
) -> Result<()> {
    let signer = servers.signer()?;
    let mut seq = 0_u32;
    for number in first.number()..=last.number() {
        let day = Day::from_number(number).context("a day")?;
        for begin in (0..agents).step_by(FLUSH_CELLS_MAX) {
            seq = seq.saturating_add(1);
            let end = agents.min(begin.saturating_add(FLUSH_CELLS_MAX));
            let answer = connection.send(&signer.flush(&body(project, (day, seq), begin..end))?).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        }
    }
    Ok(())
}

fn agent(number: usize) -> String {
    format!("agent-{number:05}")
}

fn body(project: &str, (day, seq): (Day, u32), agents: std::ops::Range<usize>) -> String {
    let mut body = format!(
        r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":["#
    );
    let begin = agents.start;
    for number in agents {
        let comma = if number == begin { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"day":"{day}","kind":"verify","agent":"{}","units":{}}}"#,
            agent(number),
            number + 1
        )
        .unwrap_or_default();
    }
    body.push_str("]}");
    body
}
