//! Each server that homes may be in, by what it can be asked: what `meter redis check` says of it, whether `meter serve`
//! starts on it, and that it is exact at a hard stop where it is killed under load.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::config;
use tests::stack::{Counters, Options, Part, Stack};

use super::redis::is_killed;

/// Settings beyond those that make it lasting => what is refused where it waits for its disk, and where it cannot;
/// nothing where it may have homes.
const CASES: [(&[&str], &str, &str); 6] = [
    (&[], "", ""),
    (&["--appendfsync", "everysec"], "", "set `appendfsync always`"),
    (&["--appendfsync", "no"], "set `appendfsync always`", "set `appendfsync always`"),
    (&["--appendonly", "no"], "set `appendonly yes`", "set `appendonly yes`"),
    (
        &["--no-appendfsync-on-rewrite", "yes"],
        "set `no-appendfsync-on-rewrite no`",
        "set `no-appendfsync-on-rewrite no`",
    ),
    (
        &["--maxmemory-policy", "allkeys-lru"],
        "set `maxmemory-policy noeviction`",
        "set `maxmemory-policy noeviction`",
    ),
];
/// What no message may repeat.
const PASSWORD: &str = "hunter2";

fn programs() -> Result<[PathBuf; 3]> {
    Ok([config::redis_7()?, config::redis_8()?, config::valkey()?])
}

/// A server with those settings, and nothing else yet.
async fn server(program: PathBuf, settings: &[&'static str]) -> Result<Stack> {
    let options = Options {
        counters: Counters::Redis,
        redis_program: Some(program),
        redis_settings: settings.to_vec(),
        later: vec![Part::Aggregator, Part::Edge, Part::Upstream],
        ..Options::default()
    };
    Stack::start_with(options).await
}

fn ask(stack: &Stack, words: &str) -> Result<String> {
    kit::redis::ask(stack.redis(), &words.split(' ').collect::<Vec<_>>())
}

fn waits(stack: &Stack) -> Result<bool> {
    Ok(ask(stack, "COMMAND INFO WAITAOF")?.contains("waitaof"))
}

/// What is said where that is refused: by the check, in words and for programs, and at the start.
fn refused(stack: &Stack, settings: &[(&str, &str)], expected: &str) -> Result<()> {
    let said = |words: &[&str]| {
        let error = stack.meter_with(words, settings).err().with_context(|| format!("{words:?} says yes"))?;
        let text = format!("{error:#}");
        ensure!(text.contains(expected) && !text.contains(PASSWORD), "{words:?} {settings:?}: {text}");
        anyhow::Ok(text)
    };
    said(&["redis", "check"])?;
    said(&["serve"])?;
    let text = said(&["redis", "check", "--json"])?;
    let Some(json) = text.lines().last().filter(|line| line.starts_with('[')) else { return Ok(()) };
    let promises: Vec<Value> = serde_json::from_str(json)?;
    let is_it = |promise: &&Value| promise["state"] == "refused";
    let broken: Vec<&Value> = promises.iter().filter(is_it).collect();
    ensure!(broken.len() == 1 && broken[0]["text"].to_string().contains(expected), "{json}");
    Ok(())
}

fn accepted(stack: &Stack, settings: &[(&str, &str)]) -> Result<String> {
    let json: Vec<Value> = serde_json::from_str(&stack.meter_with(&["redis", "check", "--json"], settings)?)?;
    ensure!(json.iter().all(|promise| promise["state"] != "refused"), "{json:?}");
    stack.meter_with(&["redis", "check"], settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused_with_the_line_to_change() -> Result<()> {
    for program in programs()? {
        for (settings, where_it_waits, where_it_cannot) in CASES {
            let mut stack = server(program.clone(), settings).await?;
            let expected = if waits(&stack)? { where_it_waits } else { where_it_cannot };
            let told = format!("{} {settings:?}", program.display());
            if expected.is_empty() {
                let said = accepted(&stack, &[]).context(told.clone())?;
                ensure!(said.contains("it is a primary"), "{told}: {said}");
                stack.begin(&[Part::Aggregator]).await.context(told)?;
            } else {
                refused(&stack, &[], expected).context(told)?;
                // Whoever accepts a loss is told what it is.
                let said = accepted(&stack, &[("REDIS_ACCEPT_LOSS", "200")])?;
                ensure!(said.contains("a loss of 200 units of each project is accepted"), "{said}");
            }
            stack.finish()?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_may_not_ask_or_asks_a_replica_is_told_what_to_change() -> Result<()> {
    for program in programs()? {
        let stack = server(program.clone(), &[]).await?;
        let (place, waits) = (stack.redis(), waits(&stack)?);
        let of = |user: &str| format!("redis://{user}@{place}");
        // CONFIG is hidden from one, as managed servers do it, and another may not wait.
        ask(&stack, &format!("ACL SETUSER managed on >{PASSWORD} ~meter:* +@all -config"))?;
        let url = of(&format!("managed:{PASSWORD}"));
        let hidden = [("REDIS_URL", url.as_str())];
        if waits {
            ensure!(accepted(&stack, &hidden)?.contains("CONFIG is not permitted"), "it is not said");
            ask(&stack, &format!("ACL SETUSER hasty on >{PASSWORD} ~meter:* +@all -waitaof"))?;
            let url = of(&format!("hasty:{PASSWORD}"));
            refused(&stack, &[("REDIS_URL", url.as_str())], "+waitaof")?;
        } else {
            refused(&stack, &hidden, "+config|get")?;
            refused(&stack, &[("REDIS_REPLICAS", "1")], "set REDIS_REPLICAS=0")?;
        }
        let url = of(&format!("managed:{PASSWORD}2"));
        refused(&stack, &[("REDIS_URL", url.as_str())], "user and password of REDIS_URL")?;
        let url = format!("http://{PASSWORD}@{place}");
        refused(&stack, &[("REDIS_URL", url.as_str())], "accepted is redis://")?;
        // Nobody is there: what matters is what it is.
        ask(&stack, "REPLICAOF 127.0.0.1 1")?;
        refused(&stack, &[], "let REDIS_URL name the primary")?;
        ask(&stack, "REPLICAOF NO ONE")?;
        ask(&stack, &format!("CONFIG SET requirepass {PASSWORD}"))?;
        refused(&stack, &[], "user and password of REDIS_URL")?;
        stack.finish()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_cannot_wait_for_its_disk_and_is_killed_costs_no_more_than_the_escrow() -> Result<()> {
    is_killed(Some(config::redis_7()?)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_redis_that_is_killed_costs_no_more_than_the_escrow() -> Result<()> {
    is_killed(Some(config::redis_8()?)).await
}
