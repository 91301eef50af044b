//! What operators run beside the servers: `meter doctor`, which says what to put right, and `meter demo-load`, which gives a
//! dashboard something to show.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::project::{Limits, Project};
use tests::stack::{Options, Stack};

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_a_meter_that_works_and_says_what_to_do_about_each_thing_that_is()
-> Result<()> {
    let stack = Stack::start_with(Options { stripe: true, ..Options::default() }).await?;
    Project::ready(&stack, "healthy", Limits::WIDE).await?;
    let sick = |name: &str, value: &str, found: &str| -> Result<()> {
        let told = stack.meter_with(&["doctor"], &[(name, value)]);
        let told = told.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(told.contains(found) && told.contains("exit status: 1"), "{name}={value} is {found}: {told}");
        Ok(())
    };
    sick("METER_LOG_FORMAT", "text", "✗ stripe: ")?;
    sick("METER_LOG_FORMAT", "text", "`meter stripe sync` shows and mends them")?;
    stack.meter(&["stripe", "sync"])?;
    let well = stack.meter(&["doctor"])?;
    for thing in ["settings", "keys", "database", "edge", "clock", "policies", "stripe"] {
        ensure!(well.contains(&format!("✓ {thing}: ")), "{thing}: {well}");
    }
    ensure!(!well.contains('✗'), "{well}");
    sick("METER_LISTEN", "everywhere", "✗ settings: METER_LISTEN: got \"everywhere\"")?;
    sick("METER_SIGNING_KEYS", "", "✗ keys: METER_SIGNING_KEYS")?;
    sick("DATABASE_URL", "sqlite:///nowhere/books.db", "✗ database: ")?;
    sick(
        "EDGE_URL",
        "http://127.0.0.1:9",
        "policies and new keys do not reach it. Start it, or set EDGE_URL",
    )?;
    sick("EDGE_URL", &format!("http://{}/nothing", stack.aggregator()), "EDGE_URL")?;
    sick("STRIPE_API_BASE", "http://127.0.0.1:9", "✗ stripe: it cannot be asked with this key")?;
    stack.finish()
}

#[tokio::test]
async fn a_day_of_demonstration_is_a_minute_of_requests_that_are_answered_counted_and_shown() -> Result<()> {
    let stack = Stack::start_leasing().await?;
    let project = Project::ready(&stack, "shown", Limits::WIDE).await?;
    let words = ["demo-load", "--key", &project.key, "--rate", "20", "--minutes", "1", "--json"];
    let outcome: Value = serde_json::from_str(&stack.meter(&words)?)?;
    assert_eq!(outcome["sent"], 1_200, "20 a second on average: {outcome}");
    assert_eq!(outcome["answers"]["ok"], 1_200, "{outcome}");
    let observed = outcome["answers"]["observed"].as_u64().unwrap_or_default();
    ensure!((60..600).contains(&observed), "about a fifth are observed: {outcome}");
    let usage = project.reports_within(&stack, 1_200, WITHIN).await?;
    ensure!(usage.by_agent().len() == 8 && usage.by_kind().len() == 3, "{usage:?}");
    stack.finish()
}
