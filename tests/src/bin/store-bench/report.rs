//! The report of one year and 1,000 agents, over HTTP.

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

const DAYS: u32 = 365;
const AGENTS: usize = 1_000;
const ROUNDS: usize = 51;

/// How long a report took.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) what: &'static str,
    pub(crate) median: Duration,
    pub(crate) slowest: Duration,
}

/// Fills a year and says how long its report takes: as whole months, and with both ends within a month.
pub(crate) async fn measure(name: &str, servers: &Servers, address: SocketAddr) -> Result<Vec<Timed>> {
    let token = servers.project("year", 1_000_000_000)?;
    let signer = servers.signer()?;
    let mut connection = Connection::open(address).await?;
    let last = clock::now().day();
    let first = Day::from_number(last.number().saturating_sub(DAYS - 1)).context("a day")?;
    for number in first.number()..=last.number() {
        let day = Day::from_number(number).context("a day")?;
        let answer = connection.send(&signer.flush(&body(day, number))?).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    }
    let whole = first.period().next().first_day();
    let before_last =
        Day::from_number(last.period().first_day().number().saturating_sub(1)).context("a day")?;
    // The worst that two ends can be: half of a month each is read cell by cell.
    let middle = |day: Day| Day::from_number(day.number().saturating_add(14)).context("a day");
    let (from_middle, to_middle) = (middle(whole)?, middle(before_last.period().first_day())?);
    let mut reports = Vec::new();
    for (what, from, to) in [
        ("one year", first, last),
        ("whole months of it", whole, before_last),
        ("from the middle of a month to the middle of another", from_middle, to_middle),
    ] {
        let call = Call::get(&format!("/api/v1/usage?project=year&from={from}&to={to}")).bearer(&token);
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let answer = connection.send(&call).await?;
            times.push(start.elapsed());
            let report: Value = answer.ok()?;
            ensure!(
                report
                    .get("agents")
                    .and_then(serde_json::Value::as_array)
                    .is_some_and(|agents| agents.len() == AGENTS),
                "not 1,000 agents"
            );
        }
        times.sort();
        let median = times.get(ROUNDS.div_euclid(2)).context("a median")?;
        let slowest = times.last().context("a slowest")?;
        println!(
            "{name:9} usage of {what} x 1,000 agents: median {median:.1?}, slowest of {ROUNDS} {slowest:.1?}"
        );
        reports.push(Timed { what, median: *median, slowest: *slowest });
    }
    Ok(reports)
}

fn body(day: Day, seq: u32) -> String {
    let mut body = format!(
        r#"{{"project":"year","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":["#
    );
    for agent in 0..AGENTS {
        let comma = if agent == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"day":"{day}","kind":"verify","agent":"agent-{agent:04}","units":{}}}"#,
            agent + 1
        )
        .unwrap_or_default();
    }
    body.push_str("]}");
    body
}
