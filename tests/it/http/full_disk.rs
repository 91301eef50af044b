//! A disk that is full: whoever writes is told to come back, and nobody has to start anything again.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use shared::problem::ErrorCode;
use tests::client::{Answer, Call};
use tests::poll::eventually;
use tests::postgres::Postgres;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

/// What room on the disk may take to be noticed.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// Enough refusals to have seen several ways in which there is no room.
const REFUSED: usize = 20;

/// Writes that a log may still have room for.
const WRITES_MAX: usize = 2_000;

async fn ready(stack: &Stack) -> Result<Answer> {
    Call::get("/readyz").send(stack.aggregator()).await
}

/// Makes a project, which must be answered with 201, or with a refusal for the time being.
async fn create(stack: &Stack, token: &str, id: &str) -> Result<u16> {
    let body = json!({"id": id, "plan": "pro"}).to_string();
    let call = Call::post("/api/v1/admin/projects", body).json().bearer(token);
    let answer = call.send(stack.aggregator()).await?;
    if answer.status != 201 {
        answer.problem(ErrorCode::NotReady)?;
        ensure!(answer.header("retry-after").is_some(), "no Retry-After");
    }
    Ok(answer.status)
}

#[tokio::test]
async fn the_books_on_a_full_disk_refuse_for_the_time_being_and_go_on_by_themselves() -> Result<()> {
    let stack = books(Options { small_disk: Some(Part::Aggregator), ..Options::default() }).await?;
    full_and_free(&stack, true, || stack.fill(), || stack.make_room()).await?;
    stack.finish()
}

#[tokio::test]
async fn the_books_in_a_postgres_on_a_full_disk_do_the_same() -> Result<()> {
    let postgres = Postgres::start_on_small_disk().await?;
    let stack = books(Options { database: Some(postgres.create("books")?), ..Options::default() }).await?;
    // Of a database in many files some can be written when others cannot: then the store is ready, and not for all.
    full_and_free(&stack, false, || postgres.fill(), || postgres.make_room()).await?;
    stack.finish()
}

/// An aggregator alone.
async fn books(options: Options) -> Result<Stack> {
    Stack::start_with(Options { later: vec![Part::Edge, Part::Upstream], ..options }).await
}

/// Three times there is no room, and then there is. `tells` says whether nothing at all can be written then.
async fn full_and_free(
    stack: &Stack,
    tells: bool,
    fill: impl Fn() -> Result<()>,
    make_room: impl Fn() -> Result<()>,
) -> Result<()> {
    let said = stack.meter(&["token", "create", "--operator", "--json"])?;
    let token = serde_json::from_str::<serde_json::Value>(&said)?;
    let token = token.get("token").and_then(|token| token.as_str()).unwrap_or_default().to_owned();
    assert_eq!(create(stack, &token, "before").await?, 201);
    for round in 0..3 {
        fill()?;
        let mut refused = 0;
        for number in 0..WRITES_MAX {
            if create(stack, &token, &format!("full-{round}-{number}")).await? == 503 {
                refused += 1;
                if ready(stack).await?.status == 503 || (!tells && refused >= REFUSED) {
                    break;
                }
            }
            // What the database itself gives back is taken again.
            fill()?;
        }
        assert!(refused > 0, "the disk is not full");
        if tells {
            ready(stack).await?.problem(ErrorCode::NotReady)?;
        }
        make_room()?;
        eventually("the store takes writes again", RECOVERY_MAX, async || {
            Ok((ready(stack).await?.status == 200).then_some(()))
        })
        .await?;
        eventually("a project is made again", RECOVERY_MAX, async || {
            Ok((create(stack, &token, &format!("after-{round}")).await? == 201).then_some(()))
        })
        .await?;
    }
    let log = stack.log(Part::Aggregator)?;
    assert!(!log.contains("a request failed"), "{log}");
    Ok(())
}

#[tokio::test]
async fn homes_on_a_full_disk_refuse_for_the_time_being_and_count_what_they_allowed() -> Result<()> {
    let stack = Stack::start_with(Options { small_disk: Some(Part::Edge), ..Options::default() }).await?;
    let project = Project::ready(&stack, "full", Limits::WIDE).await?;
    let mut allowed = 0;
    for _ in 0..2 {
        stack.fill()?;
        let mut refused = 0;
        for _ in 0..WRITES_MAX {
            let answer = project.verify().await?;
            if answer.status == 200 {
                allowed += 1;
            } else {
                answer.problem(ErrorCode::HomeUnavailable)?;
                ensure!(answer.header("retry-after").is_some(), "no Retry-After");
                refused += 1;
            }
            if refused >= 5 {
                break;
            }
            stack.fill()?;
        }
        assert!(refused > 0, "the disk is not full");
        stack.make_room()?;
        eventually("the home decides again", RECOVERY_MAX, async || {
            let served = project.verify().await?.status == 200;
            allowed += u64::from(served);
            Ok(served.then_some(()))
        })
        .await?;
    }
    project.reports(&stack, allowed).await?;
    stack.finish()
}
