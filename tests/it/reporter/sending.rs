//! How reports leave: the same bytes until they are acknowledged, in order, however often, and never anything else.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::books::{Books, Mood, policy};
use tests::client::Call;
use tests::on_premise::{OnPremise, key};

use super::both;

/// A minute, and an hour.
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

const ONE: &str = r#"{"kind":"verify","agent":"bot"}"#;

#[tokio::test]
async fn a_report_whose_receipt_is_lost_is_sent_again_byte_for_byte() {
    let (books, reporter) = both().await.unwrap();
    books.mood(Mood::Deaf);
    for _ in 0..3 {
        reporter.count(ONE).await.unwrap();
        let outcome = reporter.send().await.unwrap();
        assert_eq!(outcome["failure"]["cause"], "unreachable", "{outcome}");
    }
    let late = reporter.is("late").await.unwrap();
    assert!(late["advice"].as_str().unwrap().contains("meter-reporter test"), "{late}");
    books.mood(Mood::Good);
    reporter.send().await.unwrap();
    reporter.is("ok").await.unwrap();
    let bodies = books.taken(|taken| taken.bodies.clone());
    let distinct: BTreeSet<&String> = bodies.iter().collect();
    assert!(bodies.len() >= distinct.len() + 2, "it was sent again");
    assert_eq!(books.taken(|taken| taken.units()), 3);
}

#[tokio::test]
async fn a_restart_sends_what_was_frozen_before_as_it_was() {
    let (books, mut reporter) = both().await.unwrap();
    books.mood(Mood::Broken);
    reporter.count(ONE).await.unwrap();
    reporter.send().await.unwrap();
    let (_, frozen, told) = reporter.run(&["show"]).await.unwrap();
    let frozen = frozen.lines().next().unwrap().to_owned();
    assert!(told.contains("1 frozen reports wait"), "{told}");
    reporter.kill().unwrap();
    books.mood(Mood::Good);
    reporter.start().await.unwrap();
    reporter.count(ONE).await.unwrap();
    reporter.send().await.unwrap();
    assert!(books.taken(|taken| taken.bodies.contains(&frozen)), "{frozen}");
    assert_eq!(books.taken(|taken| taken.units()), 2);
}

#[tokio::test]
async fn a_backlog_of_thousands_of_cells_comes_in_bounded_reports_and_is_exact() {
    let (books, reporter) = both().await.unwrap();
    books.mood(Mood::Broken);
    for kind in ["verify", "mcp_tool_call", "extension_event"] {
        let counts: Vec<String> =
            (0..900).map(|n| format!(r#"{{"kind":"{kind}","agent":"bot-{n}","units":{n}}}"#)).collect();
        reporter.count(&format!("[{}]", counts.join(","))).await.unwrap();
    }
    reporter.send().await.unwrap();
    books.mood(Mood::Good);
    let outcome = reporter.send().await.unwrap();
    assert!(outcome["acknowledged"].as_u64().unwrap() >= 4, "{outcome}");
    assert_eq!(books.taken(|taken| taken.units()), 3 * (0..900).sum::<u64>());
    let most = books.taken(|taken| {
        let cells =
            |body: &String| serde_json::from_str::<Value>(body).unwrap()["cells"].as_array().unwrap().len();
        taken.bodies.iter().map(cells).max()
    });
    assert!(most <= Some(1_000), "{most:?}");
}

#[tokio::test]
async fn each_refusal_is_a_state_with_its_cause_and_ends_when_it_does() {
    let (books, reporter) = both().await.unwrap();
    for (status, code, state) in [
        (401, "signature_rejected", "refused_key"),
        (401, "signature_expired", "refused_clock"),
        (403, "contract_ended", "contract_ended"),
        (409, "reporter_forked", "forked"),
        (422, "field_rejected", "refused_report"),
    ] {
        books.mood(Mood::Refusing(status, code));
        reporter.count(ONE).await.unwrap();
        reporter.send().await.unwrap();
        let told = reporter.status().await.unwrap();
        assert_eq!(told["state"], state, "{told}");
        let metrics = Call::get("/metrics").send(reporter.address()).await.unwrap().text();
        assert!(metrics.contains(&format!(r#"meter_reporter_state{{state="{state}"}} 1"#)), "{metrics}");
        books.mood(Mood::Good);
        reporter.send().await.unwrap();
        assert_eq!(reporter.status().await.unwrap()["state"], "ok");
    }
    assert_eq!(books.taken(|taken| taken.units()), 5);
}

#[tokio::test]
async fn a_receipt_that_the_aggregator_has_not_signed_acknowledges_nothing() {
    let (books, reporter) = both().await.unwrap();
    books.mood(Mood::Forged);
    reporter.count(ONE).await.unwrap();
    let outcome = reporter.send().await.unwrap();
    assert!(
        outcome["failure"]["detail"].as_str().unwrap().contains("not signed by the aggregator"),
        "{outcome}"
    );
    let status = reporter.status().await.unwrap();
    assert!(status["seq"].as_u64() > status["acknowledged"].as_u64(), "{status}");
}

#[tokio::test]
async fn keys_rotate_without_a_refused_report() -> Result<()> {
    let (books, mut reporter) = both().await?;
    let (old, new) = (key("k1", "ab"), key("k2", "cd"));
    let both = format!("{new},{old}");
    books.keys(&both)?;
    reporter.count(ONE).await?;
    assert_eq!(reporter.send().await?["failure"], Value::Null);
    reporter.stop().await?;
    reporter.set("TELEMETRY_HMAC_KEY", &both);
    reporter.start().await?;
    reporter.count(ONE).await?;
    assert_eq!(reporter.send().await?["failure"], Value::Null);
    books.keys(&new)?;
    assert_eq!(reporter.send().await?["failure"], Value::Null);
    books.keys(&old)?;
    assert_eq!(reporter.send().await?["failure"]["cause"], "refused_key");
    assert_eq!(books.taken(|taken| taken.units()), 2);
    Ok(())
}

#[tokio::test]
async fn a_restored_folder_is_told_and_begins_no_life_by_itself() -> Result<()> {
    let (books, mut reporter) = both().await?;
    reporter.count(ONE).await?;
    reporter.send().await?;
    reporter.stop().await?;
    let copy = reporter.folder().join("copy");
    let backup = |from: &std::path::Path, to: &std::path::Path| -> Result<()> {
        std::fs::remove_dir_all(to).ok();
        std::fs::create_dir_all(to)?;
        for file in std::fs::read_dir(from)? {
            let file = file?;
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
        Ok(())
    };
    backup(&reporter.data(), &copy)?;
    reporter.start().await?;
    for _ in 0..3 {
        reporter.count(ONE).await?;
        reporter.send().await?;
    }
    reporter.stop().await?;
    backup(&copy, &reporter.data())?;
    reporter.start().await?;
    reporter.count(ONE).await?;
    reporter.send().await?;
    let told = reporter.is("forked").await?;
    assert!(told["advice"].as_str().unwrap_or_default().contains("meter-reporter renew"), "{told}");
    assert_eq!(books.taken(|taken| (taken.units(), taken.lives())), (4, 1), "and nothing of it was taken");
    let (well, _, told) = reporter.run(&["renew", "--yes"]).await?;
    assert!(!well && told.contains("stop it first"), "{told}");
    reporter.stop().await?;
    let (well, told, _) = reporter.run(&["renew"]).await?;
    assert!(well && told.contains("Nothing was done"), "{told}");
    let (well, told, _) = reporter.run(&["renew", "--yes"]).await?;
    assert!(well && told.contains("The new life is"), "{told}");
    reporter.start().await?;
    reporter.count(ONE).await?;
    reporter.send().await?;
    reporter.is("ok").await?;
    assert_eq!(books.taken(|taken| (taken.units(), taken.lives())), (5, 2));
    Ok(())
}

#[tokio::test]
async fn reports_come_each_interval_and_the_countdown_is_the_aggregators() -> Result<()> {
    let (books, reporter) = both().await?;
    let seq = reporter.status().await?["seq"].as_u64().unwrap_or_default();
    reporter.count(ONE).await?;
    reporter.move_clock(HOUR_MS + MINUTE_MS).await?;
    tests::poll::eventually("the next report", std::time::Duration::from_secs(10), async || {
        Ok((books.taken(|taken| taken.units()) == 1).then_some(()))
    })
    .await?;
    assert!(reporter.status().await?["seq"].as_u64() > Some(seq));
    books.mood(Mood::Broken);
    reporter.move_clock(31 * HOUR_MS).await?;
    let late = reporter.is("late").await?;
    let left = late["left_ms"].as_u64().unwrap_or_default();
    assert!((41 * HOUR_MS..=43 * HOUR_MS).contains(&left), "{late}");
    reporter.move_clock(80 * HOUR_MS).await?;
    let silent = reporter.is("silent").await?;
    assert_eq!(silent["left_ms"], 0);
    reporter.count(ONE).await?;
    books.mood(Mood::Good);
    reporter.send().await?;
    reporter.is("ok").await?;
    assert_eq!(books.taken(|taken| taken.units()), 2, "late cells still merge");
    Ok(())
}

#[tokio::test]
async fn the_policy_of_the_last_receipt_outlives_the_process() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    books.policy(policy(7, 5, 60)?);
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    reporter.start().await?;
    reporter.is("ok").await?;
    tests::poll::eventually("its first receipt", std::time::Duration::from_secs(10), async || {
        Ok((reporter.status().await?["policy_version"] == 7).then_some(()))
    })
    .await?;
    // What is answered is on the disk, and all that came before it.
    ensure!(reporter.count(r#"{"kind":"verify"}"#).await?.status == 200, "a count");
    reporter.kill()?;
    books.mood(Mood::Broken);
    reporter.start().await?;
    let status = reporter.status().await?;
    assert_eq!((&status["policy_version"], &status["project"]), (&Value::from(7), &Value::from("acme")));
    Ok(())
}
