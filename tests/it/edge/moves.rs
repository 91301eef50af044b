//! Homes that move to a Redis and back within a month, under load: exactly what is included is served and billed, nobody is
//! told before that it is used up, and isolates that have died take with them what they held, and no more.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tests::load::{Journal, Load, total};
use tests::operator::Operator;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Counters, Options, Part, Stack};

use super::redis::goes_on;

const CLIENTS: usize = 8;
/// More than isolates hold or are given while homes move there and back, so that the hard stop comes after that.
const INCLUDED: u64 = 12_000;
/// A move takes as long as isolates that are alive may be silent, and as much again on a busy machine. Where a strict project
/// leaves a Redis again at once, calls that were on their way when it came are concluded first, within a hundred seconds.
const MOVED_MAX: Duration = Duration::from_secs(180);
/// Time enough for a hard stop on a busy machine.
const STOP_MAX: Duration = Duration::from_secs(420);

async fn start((leases, sub_homes): (bool, u32), included: u64) -> Result<(Stack, Project)> {
    let options = Options { leases, sub_homes, counters: Counters::Both, ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let limits = Limits { included: Some(included), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "wanders", limits).await?;
    Ok((stack, project))
}

fn homes(project: &Project) -> String {
    format!("/{}/homes", project.id)
}

/// A home that has just come begins its life from the books, which takes a moment.
async fn serves(project: &Project) -> Result<()> {
    eventually("it is served", MOVED_MAX, async || {
        let answer = project.verify().await?;
        ensure!([200, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
        Ok((answer.status == 200).then_some(()))
    })
    .await
}

/// Where the homes are, once they are not on their way.
async fn settled(operator: &Operator, project: &Project) -> Result<Option<String>> {
    let told = operator.call(Method::GET, &homes(project), &Value::Null).await?;
    Ok(told["place"].as_str().filter(|_| told["moving_to"].is_null()).map(str::to_owned))
}

/// Moves by the command, and says how many requests were answered with 200 meanwhile.
async fn move_to(stack: &Stack, project: &Project, load: &Load, to: &str) -> Result<u64> {
    let before = load.acked();
    let operator = Operator::of(stack)?;
    operator.call(Method::POST, &homes(project), &json!({ "to": to })).await?;
    eventually("the homes are there", MOVED_MAX, async || {
        Ok(settled(&operator, project).await?.filter(|place| place == to))
    })
    .await?;
    // The same again changes nothing, and the command says where they are.
    let said: Value =
        serde_json::from_str(&stack.meter(&["home", "move", project.id.as_str(), "--to", to, "--json"])?)?;
    ensure!(said[0]["place"] == to && said[0]["moving_to"].is_null(), "{said}");
    Ok(load.acked() - before)
}

/// Serves until the hard stop. Nobody is told of it before all is served that isolates which live can serve.
async fn stops(load: Load, least: u64) -> Result<Journal> {
    eventually("the hard stop", STOP_MAX, async || Ok((load.stopped_hard() > 0).then_some(()))).await?;
    let (served, clients) = (load.acked(), u64::try_from(CLIENTS)?);
    ensure!(served + clients >= least, "somebody was told of the hard stop after {served} of {least}");
    // What is on its way to a client is served, too.
    let all = async || Ok((load.acked() >= least).then_some(()));
    eventually("all of it is served", MOVED_MAX, all).await?;
    load.stop().await
}

fn told(journal: &Journal) -> BTreeMap<u16, u64> {
    journal.others.clone()
}

async fn billed(stack: &Stack, project: &Project, wanted: u64) -> Result<()> {
    eventually("all of it is billed", MOVED_MAX, async || {
        let total = project.usage(stack).await?.total;
        ensure!(total <= wanted, "{total} billed of {wanted}");
        Ok((total == wanted).then_some(()))
    })
    .await
}

async fn there_and_back(place: (bool, u32), included: u64) -> Result<()> {
    let (stack, project) = start(place, included).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    let meanwhile = move_to(&stack, &project, &load, "redis").await?;
    goes_on(&load).await?;
    let back = move_to(&stack, &project, &load, "durable_object").await?;
    let after = load.acked();
    ensure!(
        after < included,
        "{after} served before the homes were back: {meanwhile} and {back} while they moved"
    );
    goes_on(&load).await?;
    let journal = stops(load, included).await?;
    assert_eq!((total(&journal.acked), total(&journal.unanswered)), (included, 0), "{:?}", told(&journal));
    assert!(journal.others.keys().all(|status| [402, 429, 503].contains(status)), "{:?}", told(&journal));
    billed(&stack, &project, included).await?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_that_move_to_a_redis_and_back_lose_nothing_and_count_nothing_twice() -> Result<()> {
    there_and_back((true, 0), INCLUDED).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_that_move_from_behind_sub_homes_and_back_lose_nothing() -> Result<()> {
    there_and_back((true, 2), INCLUDED).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_that_decide_each_request_move_and_lose_nothing() -> Result<()> {
    there_and_back((false, 0), INCLUDED.div_euclid(3)).await
}

/// The aggregator dies soon after a move was begun, at another moment each time, and a few times more before it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_that_is_killed_while_homes_move_loses_nothing() -> Result<()> {
    let (mut stack, project) = start((true, 0), INCLUDED).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    let operator = Operator::of(&stack)?;
    for (to, pauses_ms) in [("redis", [5, 150, 900]), ("durable_object", [60, 400, 1_500])] {
        operator.call(Method::POST, &homes(&project), &json!({ "to": to })).await?;
        for pause in pauses_ms {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            stack.kill(Part::Aggregator)?;
            stack.begin(&[Part::Aggregator]).await?;
        }
        let said = stack.meter(&["home", "move", project.id.as_str(), "--to", to, "--json"])?;
        let said: Value = serde_json::from_str(&said)?;
        ensure!(said[0]["place"] == to, "{said}");
        goes_on(&load).await?;
    }
    let journal = stops(load, INCLUDED).await?;
    assert_eq!((total(&journal.acked), total(&journal.unanswered)), (INCLUDED, 0), "{:?}", told(&journal));
    billed(&stack, &project, INCLUDED).await?;
    let trail = stack.meter(&["audit", "--project", project.id.as_str(), "--json"])?;
    for action in ["homes.leave", "homes.arrived"] {
        assert_eq!(trail.matches(&format!("\"{action}\"")).count(), 2, "{trail}");
    }
    stack.finish()
}

/// What isolates that have died held is spent, at the other place too, and is not billed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dead_isolates_held_is_spent_wherever_the_homes_are() -> Result<()> {
    let (mut stack, project) = start((true, 0), INCLUDED).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    stack.kill(Part::Edge)?;
    stack.begin(&[Part::Edge]).await?;
    let leases: Value = serde_json::from_str(&stack.meter(&["leases", project.id.as_str(), "--json"])?)?;
    let out = leases["modes"][0]["home"]["out"].as_u64().with_context(|| leases.to_string())?;
    move_to(&stack, &project, &load, "redis").await?;
    goes_on(&load).await?;
    move_to(&stack, &project, &load, "durable_object").await?;
    let least = INCLUDED - out.max(INCLUDED.div_euclid(50));
    let journal = stops(load, least).await?;
    let (served, unanswered) = (total(&journal.acked), total(&journal.unanswered));
    assert!((least..=INCLUDED).contains(&served), "{served} served, {out} were out: {:?}", told(&journal));
    eventually("all of it is told", MOVED_MAX, async || {
        let billed = project.usage(&stack).await?.total;
        ensure!(billed <= served + unanswered, "{billed} billed of {served} and {unanswered}");
        let home: Value = serde_json::from_str(&stack.meter(&["leases", project.id.as_str(), "--json"])?)?;
        let home = home["modes"][0]["home"].clone();
        let void = home["void"].as_u64().with_context(|| home.to_string())?;
        // Whatever is not billed is held back for the dead.
        Ok((billed + void == INCLUDED && home["out"] == 0).then_some(()))
    })
    .await?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_move_only_where_everybody_can_find_them() -> Result<()> {
    // Nobody has a Redis.
    let stack = Stack::start_with(Options { counters: Counters::Objects, ..Options::default() }).await?;
    let project = Project::ready(&stack, "stays", Limits::COMMUNITY).await?;
    let to_redis = ["home", "move", project.id.as_str(), "--to", "redis"];
    let refused = stack.meter(&to_redis).unwrap_err().to_string();
    ensure!(refused.contains("REDIS_URL"), "{refused}");
    // The edge has none.
    let unknown = [("REDIS_URL", "redis://127.0.0.1:9"), ("COUNTERS", "durable_object")];
    let refused = stack.meter_with(&to_redis, &unknown).unwrap_err().to_string();
    ensure!(refused.contains("the Redis:"), "{refused}");
    serves(&project).await?;
    stack.finish()?;
    // It is away for the moment.
    let (mut stack, project) = start((true, 0), INCLUDED).await?;
    stack.kill(Part::Redis)?;
    let refused = stack.meter(&["home", "move", "--all", "--to", "redis"]).unwrap_err().to_string();
    ensure!(refused.contains("exit status: 3") && refused.contains("Nothing was changed"), "{refused}");
    serves(&project).await?;
    stack.begin(&[Part::Redis]).await?;
    stack.meter(&["home", "move", "--all", "--to", "redis"])?;
    serves(&project).await?;
    stack.finish()
}

/// Projects that never moved must not begin anew elsewhere because a setting has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_refuses_to_begin_homes_where_they_are_not() -> Result<()> {
    let (mut stack, project) = start((true, 0), INCLUDED).await?;
    stack.kill(Part::Aggregator)?;
    let elsewhere = [("COUNTERS", "redis")];
    let refused = stack.meter_with(&["serve"], &elsewhere).unwrap_err().to_string();
    ensure!(refused.contains("meter home move --all --to redis"), "{refused}");
    stack.begin(&[Part::Aggregator]).await?;
    // A command in a terminal with that setting does not believe it: the books know better.
    let shown = stack.meter_with(&["home", "show", project.id.as_str()], &elsewhere)?;
    ensure!(shown.contains("durable_object"), "{shown}");
    stack.meter_with(&["home", "move", project.id.as_str(), "--to", "redis"], &elsewhere)?;
    let operator = Operator::of(&stack)?;
    ensure!(settled(&operator, &project).await? == Some("redis".to_owned()), "the command has not moved it");
    serves(&project).await?;
    stack.finish()
}
