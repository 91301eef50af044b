//! `GET /api/v1/usage`: dates, tokens, and whose numbers anybody sees.

use anyhow::{Context, Result};
use serde_json::Value;
use shared::problem::ErrorCode;
use tests::client::{Answer, Call};
use tests::ingest::{flush_of, signed};
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};
use tests::usage::Usage;

const MAY: &str = "from=2026-05-01&to=2026-05-31";

async fn prepared() -> Result<Stack> {
    Stack::start_with(Options { later: vec![Part::Edge, Part::Upstream], ..Options::default() }).await
}

async fn ask(stack: &Stack, token: &str, query: &str) -> Result<Answer> {
    Call::get(&format!("/api/v1/usage?{query}")).bearer(token).send(stack.aggregator()).await
}

fn token(stack: &Stack, arguments: &[&str]) -> Result<(String, String)> {
    let said: Value =
        serde_json::from_str(&stack.meter(&[&["token", "create", "--json"], arguments].concat())?)?;
    let text = |name: &str| said[name].as_str().map(str::to_owned).context(format!("no {name} in {said}"));
    Ok((text("id")?, text("token")?))
}

#[tokio::test]
async fn both_dates_are_included_and_bad_ones_are_named() -> Result<()> {
    let stack = prepared().await?;
    let project = Project::create(&stack, "dates", Limits::COMMUNITY)?;
    let good = [
        (MAY, 31),
        ("from=2026-05-31&to=2026-05-31", 1),
        ("from=2028-02-29&to=2028-03-01", 2),
        ("from=2028-01-01&to=2028-12-31", 366),
        ("to=2026-05-02&from=2026-05-01&mode=test", 2),
        ("from=2026-05-01&to=2026-05-02&project=dates", 2),
    ];
    for (query, days) in good {
        let usage: Usage = project.usage_answer(&stack, query).await?.ok().context(query)?;
        assert_eq!((usage.days.len(), usage.total), (days, 0), "{query}");
        assert_eq!(usage.days.first().map(|day| &day.date), Some(&usage.from));
        assert_eq!(usage.days.last().map(|day| &day.date), Some(&usage.to));
    }
    let bad = [
        ("from=2026-05-31&to=2026-05-01", "to"),
        ("from=2026-01-01&to=2027-01-03", "to"),
        ("from=2026-05-01", "to"),
        ("to=2026-05-01", "from"),
        ("", "from"),
        ("from=&to=2026-05-01", "from"),
        ("from=2026-02-30&to=2026-03-01", "from"),
        ("from=2027-02-29&to=2027-03-01", "from"),
        ("from=2026-13-01&to=2026-13-02", "from"),
        ("from=0000-01-01&to=2026-05-01", "from"),
        ("from=10000-01-01&to=10000-01-02", "from"),
        ("from=2026-5-1&to=2026-05-02", "from"),
        ("from=2026-05-01Z&to=2026-05-02", "from"),
        ("from=2026-05-01T00:00:00Z&to=2026-05-02", "from"),
        ("from=2026-05-01%2B02:00&to=2026-05-02", "from"),
        ("from=2026-05-01&from=2026-05-01&to=2026-05-02", "from"),
        ("from=2026-05-01&to=2026-05-02&mode=real", "mode"),
        ("from=2026-05-01&to=2026-05-02&group_by=hour", "group_by"),
        ("from=2026-05-01&to=2026-05-02&page=2", "page"),
    ];
    for (query, field) in bad {
        let problem =
            project.usage_answer(&stack, query).await?.problem(ErrorCode::FieldRejected).context(query)?;
        assert_eq!(problem.field.as_deref(), Some(field), "{query}");
    }
    stack.finish()
}

#[tokio::test]
async fn a_token_shows_its_own_project_and_nothing_of_any_other() -> Result<()> {
    let stack = prepared().await?;
    let one = Project::create(&stack, "one", Limits::COMMUNITY)?;
    let other = Project::create(&stack, "other", Limits::COMMUNITY)?;
    let before = ask(&stack, &one.token, MAY).await?.text();
    assert_eq!(signed(&stack, &flush_of("other", 1, 77))?.send(stack.aggregator()).await?.status, 200);
    assert_eq!(other.usage(&stack).await?.total, 77);
    assert_eq!(one.usage(&stack).await?.total, 0);
    assert_eq!(ask(&stack, &one.token, MAY).await?.text(), before);

    // Another's project and one that does not exist cannot be told apart.
    let others = ask(&stack, &one.token, &format!("{MAY}&project=other")).await?;
    let nobodys = ask(&stack, &one.token, &format!("{MAY}&project=nobodys")).await?;
    let garbled = ask(&stack, &one.token, &format!("{MAY}&project=Not%20An%20Id")).await?;
    for answer in [&others, &nobodys, &garbled] {
        answer.problem(ErrorCode::ProjectUnknown)?;
        assert_eq!(answer.body, others.body);
    }
    for path in [
        "/api/v1/admin/projects/other",
        "/api/v1/admin/projects/other/keys",
        "/api/v1/admin/projects/nobodys",
    ] {
        let answer = Call::get(path).bearer(&one.token).send(stack.aggregator()).await?;
        answer.problem(ErrorCode::ProjectUnknown)?;
        assert_eq!(answer.body, others.body);
    }
    let (_, operator) = token(&stack, &["--operator"])?;
    let seen: Usage = ask(&stack, &operator, &format!("{MAY}&project=other")).await?.ok()?;
    assert_eq!(seen.project, "other");
    ask(&stack, &operator, &format!("{MAY}&project=nobodys")).await?.problem(ErrorCode::ProjectUnknown)?;
    let problem = ask(&stack, &operator, MAY).await?.problem(ErrorCode::FieldRejected)?;
    assert_eq!(problem.field.as_deref(), Some("project"));
    stack.finish()
}

#[tokio::test]
async fn every_credential_that_is_none_gets_the_same_answer() -> Result<()> {
    let stack = prepared().await?;
    let project = Project::create(&stack, "mine", Limits::COMMUNITY)?;
    let (id, revoked) = token(&stack, &["--project", "mine", "--role", "viewer"])?;
    assert_eq!(ask(&stack, &revoked, MAY).await?.status, 200);
    stack.meter(&["token", "revoke", &id])?;
    let right = &project.token;
    let flipped = if right.ends_with('0') { "1" } else { "0" };
    let authorizations = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        right.clone(),
        format!("Basic {right}"),
        format!("Bearer {right} {right}"),
        format!("Bearer {}", &right[..right.len() - 1]),
        format!("Bearer {}{flipped}", &right[..right.len() - 1]),
        format!("Bearer {}", right.to_uppercase()),
        format!("Bearer {}", right.replace("pat_", "pot_")),
        format!("Bearer {revoked}"),
        format!("Bearer {}", project.key),
        format!("Bearer {}", "x".repeat(10_000)),
        "Bearer größe".to_owned(),
    ];
    let path = format!("/api/v1/usage?{MAY}");
    let expected = Call::get(&path).send(stack.aggregator()).await?;
    expected.problem(ErrorCode::Unauthorized)?;
    for authorization in authorizations {
        let call = Call::get(&path).header("authorization", authorization.clone());
        let answer = call.send(stack.aggregator()).await?;
        assert_eq!((answer.status, &answer.body), (401, &expected.body), "{authorization:.60}");
    }
    let twice = Call::get(&path).bearer(right).bearer(right).send(stack.aggregator()).await?;
    assert_eq!(twice.body, expected.body);
    let in_query = Call::get(&format!("{path}&token={right}")).send(stack.aggregator()).await?;
    assert_eq!(in_query.body, expected.body);
    assert_eq!(ask(&stack, right, MAY).await?.status, 200);
    stack.finish()
}
