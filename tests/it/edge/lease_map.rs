//! The map of leases that operators look at: who holds what, who of them is dead, and that all of it adds up.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};
use shared::lease_question::LeaseQuestion;
use shared::problem::ErrorCode;
use shared::sign::SigningKeys;
use shared::time::Timestamp;
use shared::wire::LEASES_PATH;
use tests::client::Call;
use tests::clock;
use tests::fleet::Fleet;
use tests::load::{Load, total};
use tests::operator::Operator;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

const CLIENTS: usize = 16;
const INCLUDED: u64 = 1_000_000;
/// A holder is dead to its home after ten seconds.
const DEAD_MAX: Duration = Duration::from_secs(60);

async fn start(sub_homes: u32) -> Result<(Stack, Fleet, Project, Operator)> {
    let edge_settings = vec![("METER_HOMES", "serve".to_owned())];
    let stack =
        Stack::start_with(Options { leases: true, sub_homes, edge_settings, ..Options::default() }).await?;
    let fleet = Fleet::start(&stack, 2).await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::WIDE };
    let project = Project::ready(&stack, "mapped", limits).await?;
    let operator = Operator::of(&stack)?;
    Ok((stack, fleet, project, operator))
}

/// What the map says of live keys.
async fn live(operator: &Operator) -> Result<Value> {
    let map = operator.call(Method::GET, "/mapped/leases", &json!({})).await?;
    assert_eq!(map["unreachable"], Value::Null, "{map}");
    let modes = map["modes"].as_array().context("modes")?;
    let live = modes.iter().find(|mode| mode["mode"] == "live").context("live keys")?;
    Ok(live.clone())
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of}"))
}

/// The holders, as what each has and whether it lives.
fn held(of: &Value) -> Vec<(String, u64, bool)> {
    let told = of["holders"]["told"].as_array().unwrap();
    let held = told
        .iter()
        .map(|held| (held["holder"].as_str().unwrap().to_owned(), number(held, "out"), held["live"] == true));
    held.collect()
}

/// Every unit that was issued is somewhere, and no more than the limit is served or out.
fn adds_up(home: &Value) {
    let of = |name| number(home, name);
    let places = ["returned", "settled", "answering", "out", "void"].map(of).into_iter().sum::<u64>();
    assert_eq!(places, of("issued"), "{home}");
    assert_eq!(of("left") + of("issued") - of("returned"), INCLUDED, "{home}");
    assert_eq!(of("overshoot"), 0, "{home}");
    let out: u64 = held(home).iter().map(|(_, out, _)| out).sum();
    assert_eq!(out, of("out") + of("answering"), "{home}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_map_shows_what_two_isolates_hold_and_what_a_killed_one_keeps() -> Result<()> {
    let (stack, mut fleet, project, operator) = start(0).await?;
    let load = Load::start(fleet.address(), &project.key, CLIENTS);
    eventually("two isolates hold leases", DEAD_MAX, async || {
        let home = live(&operator).await?["home"].clone();
        if home == Value::Null {
            return Ok(None);
        }
        adds_up(&home);
        let both = held(&home).iter().filter(|(_, out, live)| *live && *out > 0).count() >= 2;
        Ok(both.then_some(()))
    })
    .await?;
    fleet.kill(0)?;
    eventually("the dead one keeps what it had", DEAD_MAX, async || {
        let home = live(&operator).await?["home"].clone();
        adds_up(&home);
        let dead = held(&home).iter().any(|(_, out, live)| !live && *out > 0);
        Ok((dead && number(&home, "stranded") > 0).then_some(()))
    })
    .await?;
    let journal = load.stop().await?;
    // The living one gives back what it does not need, and reports the rest.
    let home = eventually("only the dead one has units", DEAD_MAX, async || {
        let home = live(&operator).await?["home"].clone();
        adds_up(&home);
        let rest = number(&home, "out") == number(&home, "stranded") && number(&home, "answering") == 0;
        Ok(rest.then_some(home))
    })
    .await?;
    let (served, unanswered) = (total(&journal.acked), total(&journal.unanswered));
    let settled = number(&home, "settled");
    assert!(settled <= served + unanswered, "{settled} settled, {served} served, {unanswered} unanswered");
    assert!(settled + number(&home, "stranded") >= served, "{served} served: {home}");
    // The command tells the same.
    let said: Value = serde_json::from_str(&stack.meter(&["leases", "mapped", "--json"])?)?;
    assert_eq!(said["modes"][0]["home"]["stranded"], home["stranded"]);
    let table = stack.meter(&["leases", "mapped"])?;
    let dead = held(&home).into_iter().find(|(_, out, _)| *out > 0).context("a dead one")?.0;
    assert!(table.lines().any(|line| line.starts_with(&dead) && line.contains(" no")), "{table}");
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_map_shows_sub_homes_with_the_isolates_behind_them() -> Result<()> {
    let (stack, fleet, project, operator) = start(2).await?;
    if stack.counts_in_redis() {
        // Nothing stands between a Redis and isolates.
        fleet.finish(&stack)?;
        return stack.finish();
    }
    let load = Load::start(fleet.address(), &project.key, CLIENTS);
    eventually("isolates hold leases of a sub-home", DEAD_MAX, async || {
        let told = live(&operator).await?;
        if told["home"] == Value::Null {
            return Ok(None);
        }
        adds_up(&told["home"]);
        let above: Vec<String> = held(&told["home"]).into_iter().map(|(id, _, _)| id).collect();
        let subs = told["sub_homes"].as_array().context("sub-homes")?;
        let mut isolates = 0;
        for sub in subs {
            assert!(sub["name"].as_str().context("a name")?.starts_with("mapped/live/"), "{sub}");
            assert!(above.contains(&sub["holder"].as_str().context("a holder")?.to_owned()), "{told}");
            isolates += held(sub).iter().filter(|(_, out, live)| *live && *out > 0).count();
        }
        Ok((isolates >= 2).then_some(()))
    })
    .await?;
    load.stop().await?;
    fleet.finish(&stack)?;
    stack.finish()
}

#[tokio::test]
async fn homes_that_cannot_be_asked_are_said_to_be_so_and_only_the_aggregator_may_ask() -> Result<()> {
    let mut stack = Stack::start_leasing().await?;
    let project = Project::ready(&stack, "mapped", Limits::COMMUNITY).await?;
    assert_eq!(project.verify().await?.status, 200);
    let operator = Operator::of(&stack)?;
    let long_ago = Timestamp::from_ms(clock::now().as_ms().saturating_sub(301_000));
    let edge = stack.edge();
    let ask = async |body: &str| Call::post(LEASES_PATH, body.to_owned()).send(edge).await;
    let stranger =
        SigningKeys::parse(&format!("policy:p1:{}", "ab".repeat(32))).map_err(anyhow::Error::msg)?;
    let question = |asked, keys: &SigningKeys| -> Result<String> {
        let signed = LeaseQuestion { leases_of: project.id.clone(), asked }.sign(keys);
        Ok(serde_json::to_string(&signed.map_err(anyhow::Error::msg)?)?)
    };
    ask("{}").await?.problem(ErrorCode::MalformedJson)?;
    for refused in [question(clock::now(), &stranger)?, question(long_ago, &stack.signing_keys()?)?] {
        ask(&refused).await?.problem(ErrorCode::SignatureRejected)?;
    }
    Call::get(LEASES_PATH).send(stack.edge()).await?.problem(ErrorCode::MethodNotAllowed)?;
    let part = if stack.counts_in_redis() { Part::Redis } else { Part::Edge };
    stack.kill(part)?;
    let map = operator.call(Method::GET, "/mapped/leases", &json!({})).await?;
    assert!(map["unreachable"].as_str().context("why")?.len() > 5, "{map}");
    assert_eq!(map["modes"][0]["home"], Value::Null);
    stack.begin(&[part]).await?;
    let told = eventually("the homes tell again", DEAD_MAX, async || {
        let map = operator.call(Method::GET, "/mapped/leases", &json!({})).await?;
        Ok((map["unreachable"] == Value::Null).then_some(map))
    })
    .await?;
    assert_eq!(told["modes"][0]["home"]["limit"], 1_000, "{told}");
    stack.finish()
}
