//! Webhooks of a running `meter serve`: signed as the standard's own library wants it, sent until they arrived, and
//! the same whenever the process is killed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::sign::{Purpose, SIGNATURE_HEADER};
use shared::time::Timestamp;
use shared::wire::INGEST_PATH;
use tests::chance;
use tests::client::Call;
use tests::clock;
use tests::ingest::{flush_at, flush_of, signature, signed};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::receiver::{Receiver, verify};
use tests::stack::{Options, Part, Stack};

/// Long enough for a machine that does much else at the same time.
const WITHIN: Duration = Duration::from_secs(30);

/// A claim of a process that was killed has ended after this long.
const CLAIM: &str = "31s";
const CLAIM_MS: u64 = 31_000;

/// Times that the aggregator is killed.
const KILLS: u64 = 10;

async fn start() -> Result<Stack> {
    let later = vec![Part::Edge, Part::Upstream];
    Stack::start_with(Options { later, moving_clock: true, ..Options::default() }).await
}

/// Subscribes to the thresholds of a project; the endpoint's id and secret.
async fn subscribe(stack: &Stack, project: &Project, receiver: &Receiver) -> Result<(String, String)> {
    let body = json!({ "url": receiver.url(), "events": ["usage.threshold_reached"] }).to_string();
    let call = Call::post("/api/v1/webhooks", body).json().bearer(&project.token);
    let answer = call.send(stack.aggregator()).await?;
    ensure!(answer.status == 201, "got {}: {}", answer.status, answer.text());
    let made: Value = serde_json::from_slice(&answer.body)?;
    let text = |field: &str| made[field].as_str().map(str::to_owned).context("a text");
    Ok((text("id")?, text("secret")?))
}

/// Attempts and states of an endpoint's deliveries, the oldest first.
async fn deliveries(stack: &Stack, project: &Project, id: &str) -> Result<Vec<(u64, String)>> {
    let call = Call::get(&format!("/api/v1/webhooks/{id}/deliveries")).bearer(&project.token);
    let page: Value = call.send(stack.aggregator()).await?.ok()?;
    let found = page["deliveries"].as_array().context("a list")?.iter().rev();
    let one = |one: &Value| Some((one["attempts"].as_u64()?, one["state"].as_str()?.to_owned()));
    found.map(|found| one(found).context("a delivery")).collect()
}

/// What a receiver that keeps ids knows of a project: its thresholds, in the order in which they came.
fn thresholds(receiver: &Receiver, project: &str) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for received in receiver.kept() {
        let value = received.value()?;
        if value["data"]["project"] == project {
            found.push(value["data"]["threshold"].as_u64().context("a threshold")?);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_jump_from_0_to_130_percent_is_told_as_80_then_100_and_verified_by_the_official_library()
-> Result<()> {
    let (stack, receiver) = (start().await?, Receiver::start().await?);
    let project = Project::create(&stack, "jump", Limits::COMMUNITY)?;
    let (id, secret) = subscribe(&stack, &project, &receiver).await?;
    let flush = signed(&stack, &flush_of("jump", 1, 1_300))?;
    for _ in 0..3 {
        ensure!(flush.send(stack.aggregator()).await?.status == 200, "the flush");
    }
    eventually("both deliveries are done", WITHIN, async || {
        let done = deliveries(&stack, &project, &id).await?;
        Ok((done == [(1, "delivered".to_owned()), (1, "delivered".to_owned())]).then_some(()))
    })
    .await?;
    let received = receiver.received();
    ensure!(received.len() == 2, "{received:?}");
    assert_eq!(thresholds(&receiver, "jump")?, [80, 100]);
    verify(&secret, &received)?;
    let wrong = format!("whsec_{}", "A".repeat(43) + "=");
    ensure!(verify(&wrong, &received).is_err(), "the library refuses another secret");
    stack.finish()
}

/// The library compares a message's time with the machine's, and our clock was moved by months.
#[tokio::test]
async fn what_is_sent_after_the_clock_was_moved_is_verified_at_the_machines_time() -> Result<()> {
    let (stack, receiver) = (start().await?, Receiver::start().await?);
    let project = Project::create(&stack, "later", Limits::COMMUNITY)?;
    let (id, secret) = subscribe(&stack, &project, &receiver).await?;
    stack.meter(&["clock", "advance", "70d"])?;
    let test = Call::post(&format!("/api/v1/webhooks/{id}/test"), "{}").json().bearer(&project.token);
    let asked = test.send(stack.aggregator()).await?;
    ensure!((200..300).contains(&asked.status), "{}: {}", asked.status, asked.text());
    let told = eventually("the test arrives", WITHIN, async || Ok(receiver.received().pop())).await?;
    verify(&secret, std::slice::from_ref(&told))?;
    let told_at = told.value()?["timestamp"].as_str().map(str::to_owned).context("a timestamp")?;
    let told_at = Timestamp::parse(&told_at).context("an instant")?;
    ensure!(told_at.ms_since(clock::now()) > 69 * 86_400_000, "the event itself goes by the moved clock");
    stack.finish()
}

#[tokio::test]
async fn a_receiver_that_is_down_for_an_hour_gets_everything_once_it_is_back() -> Result<()> {
    let (stack, mut receiver) = (start().await?, Receiver::start().await?);
    let project = Project::create(&stack, "down", Limits::COMMUNITY)?;
    let (id, secret) = subscribe(&stack, &project, &receiver).await?;
    receiver.goes_down().await;
    ensure!(
        signed(&stack, &flush_of("down", 1, 1_300))?.send(stack.aggregator()).await?.status == 200,
        "the flush"
    );
    let tried = async |attempts: u64| {
        eventually("both were tried", WITHIN, async || {
            let found = deliveries(&stack, &project, &id).await?;
            let done = found.len() == 2
                && found.iter().all(|(count, state)| *count >= attempts && state == "waiting");
            Ok(done.then_some(()))
        })
        .await
    };
    tried(1).await?;
    for (attempts, step) in [(2, "10s"), (3, "6m"), (4, "54m")] {
        stack.meter(&["clock", "advance", step])?;
        tried(attempts).await?;
    }
    assert!(receiver.received().is_empty());
    receiver.comes_back().await?;
    stack.meter(&["clock", "advance", "2h"])?;
    eventually("both arrived", WITHIN, async || {
        let found = deliveries(&stack, &project, &id).await?;
        Ok(found.iter().all(|(_, state)| state == "delivered").then_some(()))
    })
    .await?;
    assert_eq!(thresholds(&receiver, "down")?, [80, 100]);
    verify(&secret, &receiver.received())?;
    stack.finish()
}

#[tokio::test]
async fn kill_9_between_any_two_steps_changes_nothing_that_a_receiver_learns() -> Result<()> {
    let (mut stack, receiver) = (start().await?, Receiver::start().await?);
    let mut moved_ms = 0;
    for round in 0..KILLS {
        let id = format!("killed{round}");
        let project = Project::create(&stack, &id, Limits::COMMUNITY)?;
        let (webhook, secret) = subscribe(&stack, &project, &receiver).await?;
        let body = flush_at(&id, 1, 1_300, clock::now().plus_ms(moved_ms));
        let flush = |moved_ms: u64| -> Result<Call> {
            let at = clock::now().plus_ms(moved_ms);
            let signature = signature(&stack, Purpose::Edge, body.as_bytes(), at)?;
            Ok(Call::post(INGEST_PATH, body.clone()).json().header(SIGNATURE_HEADER, signature))
        };
        let (call, address) = (flush(moved_ms)?, stack.aggregator());
        let sending = tokio::spawn(async move { call.send(address).await.is_ok() });
        // From the arrival of the flush to the last thing that is written down takes some tens of milliseconds.
        let wait = chance::between_ms(0, 70)?;
        tokio::time::sleep(wait).await;
        stack.kill(Part::Aggregator)?;
        let acknowledged = sending.await?;
        stack.meter(&["clock", "advance", CLAIM])?;
        moved_ms += CLAIM_MS;
        stack.begin(&[Part::Aggregator]).await?;
        // A home sends a flush until it is acknowledged, and then perhaps once more.
        let again = Call::post(INGEST_PATH, body.clone()).json();
        let at = clock::now().plus_ms(moved_ms);
        let again = again.header(SIGNATURE_HEADER, signature(&stack, Purpose::Edge, body.as_bytes(), at)?);
        ensure!(again.send(stack.aggregator()).await?.status == 200, "the flush again");
        eventually("everything arrived", WITHIN, async || {
            let found = deliveries(&stack, &project, &webhook).await?;
            Ok((found.len() == 2 && found.iter().all(|(_, state)| state == "delivered")).then_some(()))
        })
        .await
        .with_context(|| format!("round {round}: killed after {wait:?}, acknowledged: {acknowledged}"))?;
        assert_eq!(thresholds(&receiver, &id)?, [80, 100], "round {round}: killed after {wait:?}");
        let of_round: Vec<_> = receiver
            .received()
            .into_iter()
            .filter(|received| received.body.contains(&format!("\"{id}\"")))
            .collect();
        for received in &of_round {
            let first = of_round.iter().find(|first| first.id == received.id).context("itself")?;
            ensure!(first.body == received.body, "{first:?} came again as {received:?}");
        }
        verify(&secret, &of_round)?;
    }
    stack.finish()
}
