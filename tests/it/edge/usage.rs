//! From the answered request to the usage report: exact, soon, and apart for each tenant.

use anyhow::Result;
use shared::kind::Kind;
use tests::client::Call;
use tests::clock;
use tests::project::{Limits, Project, governed};
use tests::stack::Stack;
use tests::usage::Totals;

/// How many requests of which kind each agent makes; the empty agent sends no name.
const MIX: [(&str, [u32; 3]); 4] =
    [("support-bot", [7, 0, 2]), ("crm", [1, 5, 0]), ("größe 1", [0, 1, 1]), ("", [3, 0, 0])];

fn totals(pairs: &[(&str, u64)]) -> Totals {
    pairs.iter().map(|(name, units)| ((*name).to_owned(), *units)).collect()
}

async fn send_mix(stack: &Stack, key: &str) -> Result<()> {
    for (agent, counts) in MIX {
        for (kind, count) in Kind::ALL.into_iter().zip(counts) {
            for _ in 0..count {
                let path = match kind {
                    Kind::Verify => "/v1/verify",
                    Kind::McpToolCall => "/v1/mcp/tools/search?q=1",
                    Kind::ExtensionEvent => "/v1/extension/events",
                };
                let call = Call::post(path, "{}").bearer(key);
                let call = if agent.is_empty() { call } else { call.agent(agent) };
                let answer = call.send(stack.edge()).await?;
                assert_eq!(answer.status, 200, "{agent} {kind}: {}", answer.text());
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn kinds_and_agents_are_reported_exactly_and_empty_days_are_zeros() -> Result<()> {
    let stack = Stack::start().await?;
    let today = clock::now().day().to_string();
    let project = Project::ready(&stack, "mix", Limits::WIDE).await?;
    send_mix(&stack, &project.key).await?;
    let usage = project.reports(&stack, 20).await?;
    let kinds = [("verify", 11), ("mcp_tool_call", 6), ("extension_event", 3)];
    assert_eq!(usage.by_kind(), totals(&kinds));
    let agents = [("support-bot", 9), ("crm", 6), ("gr%C3%B6%C3%9Fe%201", 2), ("~none", 3)];
    assert_eq!(usage.by_agent(), totals(&agents));
    let none = totals(&[("verify", 0), ("mcp_tool_call", 0), ("extension_event", 0)]);
    assert_eq!(usage.days.len(), 4, "the day before yesterday to tomorrow");
    for day in &usage.days {
        let expected = if day.date == today { totals(&kinds) } else { none.clone() };
        assert_eq!(day.kinds, expected, "{}", day.date);
    }
    assert_eq!(usage.project, "mix");
    assert_eq!(usage.next, None);
    stack.finish()
}

#[tokio::test]
async fn two_projects_never_mix_and_test_keys_are_counted_apart() -> Result<()> {
    let stack = Stack::start().await?;
    let limits = Limits { included: Some(5), ..Limits::COMMUNITY_FAST };
    let one = Project::ready(&stack, "one", limits).await?;
    let other = Project::ready(&stack, "other", Limits::WIDE).await?;
    let test_key = one.test_key(&stack).await?;
    for round in 0..5 {
        for (key, kind, agent) in [
            (&one.key, Kind::Verify, "shared-name"),
            (&other.key, Kind::McpToolCall, "shared-name"),
            (&test_key, Kind::ExtensionEvent, "tester"),
        ] {
            let answer = governed(key, kind, agent).send(stack.edge()).await?;
            assert_eq!(answer.status, 200, "round {round}, {agent}: {}", answer.text());
        }
    }
    // Each has spent its own five; only the large project has more.
    for (key, expected) in [(&one.key, 402), (&test_key, 402), (&other.key, 200)] {
        assert_eq!(governed(key, Kind::Verify, "late").send(stack.edge()).await?.status, expected);
    }
    assert_eq!(one.reports(&stack, 5).await?.by_kind(), totals(&[("verify", 5)]));
    assert_eq!(one.reports(&stack, 5).await?.by_agent(), totals(&[("shared-name", 5)]));
    let usage = other.reports(&stack, 6).await?;
    assert_eq!(usage.by_agent(), totals(&[("shared-name", 5), ("late", 1)]));
    let tested = one.usage_of(&stack, "test").await?;
    assert_eq!(tested.by_agent(), totals(&[("tester", 5)]));
    assert_eq!(other.usage_of(&stack, "test").await?.total, 0);
    stack.finish()
}

#[tokio::test]
async fn an_agent_is_the_same_however_its_name_is_composed_and_written() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "names", Limits::WIDE).await?;
    let agents = ["gr\u{f6}\u{df}e", "gro\u{308}\u{df}e", r"gr\u00f6\u00DFe", r"gro\u0308\u00dfe"];
    for agent in agents {
        let body = format!(r#"{{"kind":"verify","agent":"{agent}"}}"#);
        for path in ["/v1/check", "/v1/observe"] {
            let call = Call::post(path, body.clone()).json().bearer(&project.key);
            assert_eq!(call.send(stack.edge()).await?.status, 200, "{path} {body}");
        }
    }
    for agent in &agents[..2] {
        let call = Call::post("/v1/verify", "{}").bearer(&project.key).agent(agent);
        assert_eq!(call.send(stack.edge()).await?.status, 200);
    }
    for agent in ["gr%C3%B6%C3%9Fe", "gro%CC%88%C3%9Fe"] {
        let path = format!("/v1/check?kind=verify&agent={agent}");
        assert_eq!(Call::post(&path, "").bearer(&project.key).send(stack.edge()).await?.status, 200);
    }
    // An escaped backslash begins no escape.
    let body = r#"{"kind":"verify","agent":"gr\\u00f6"}"#;
    let call = Call::post("/v1/check", body).json().bearer(&project.key);
    assert_eq!(call.send(stack.edge()).await?.status, 200);
    let expected = totals(&[("gr%C3%B6%C3%9Fe", 8), (r"gr\u00f6", 1)]);
    assert_eq!(project.reports(&stack, 9).await?.by_agent(), expected);
    stack.finish()
}
