//! The glass box: what would be sent, what was, and the file that carries it where no connection goes.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;
use shared::report::{Report, ReporterKey};
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};
use tests::books::{Books, policy};
use tests::client::{Answer, Call};
use tests::on_premise::{OnPremise, key};

use super::both;

const ONE: &str = r#"{"kind":"verify","agent":"bot"}"#;

#[tokio::test]
async fn what_is_shown_is_what_is_sent_next_byte_for_byte() -> Result<()> {
    let (books, reporter) = both().await?;
    reporter.count(ONE).await?;
    let (well, shown, told) = reporter.run(&["show"]).await?;
    assert!(well && shown.lines().count() == 1, "{shown} {told}");
    assert!(!books.taken(|taken| taken.bodies.contains(&shown.trim().to_owned())), "it was not sent");
    reporter.send().await?;
    assert_eq!(books.taken(|taken| taken.bodies.last().cloned()).as_deref(), Some(shown.trim()));
    Ok(())
}

#[tokio::test]
async fn every_payload_that_was_sent_is_shown_and_a_changed_one_breaks_the_chain() -> Result<()> {
    let (books, mut reporter) = both().await?;
    for _ in 0..3 {
        reporter.count(ONE).await?;
        reporter.send().await?;
    }
    let (well, sent, told) = reporter.run(&["sent"]).await?;
    assert!(well && told.contains("the chain holds"), "{told}");
    let lines: Vec<Value> = sent.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let bodies: Vec<&str> = lines.iter().filter_map(|line| line["body"].as_str()).collect();
    assert_eq!(bodies, books.taken(|taken| taken.bodies.clone()));
    let (_, none, _) = reporter.run(&["sent", "--since", "2999-01-01"]).await?;
    assert_eq!(none, "");
    let (well, _, told) = reporter.run(&["sent", "--since", "yesterday"]).await?;
    assert!(!well && told.contains("2026-11-23"), "{told}");
    reporter.stop().await?;
    let mut folder =
        SqliteConnectOptions::new().filename(reporter.data().join("reporter.db")).connect().await?;
    folder
        .execute("UPDATE report SET body = replace(body, '\"units\":1,', '\"units\":9,') WHERE seq = 2")
        .await?;
    let (well, _, told) = reporter.run(&["sent"]).await?;
    assert!(!well && told.contains("report 3") && told.contains("changed the data folder"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_salt_keeps_names_of_agents_here() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?
        .with("METER_REPORTER_AGENT_SALT", "a salt of this company")
        .with("METER_REPORTER_ENVIRONMENT", "development");
    reporter.start().await?;
    for body in [ONE, r#"{"kind":"verify","agent":"secret-project-bot"}"#, r#"{"kind":"verify"}"#] {
        reporter.count(body).await?;
    }
    Call::post("/v1/check", r#"{"kind":"verify","agent":"bot"}"#).send(reporter.address()).await?;
    Call::post("/v1/observe", r#"{"agent":"bot","tokens_in":5}"#).send(reporter.address()).await?;
    reporter.send().await?;
    let body = books.taken(|taken| taken.bodies.last().cloned()).context("nothing was sent")?;
    let report: Report = serde_json::from_str(&body)?;
    let agents: BTreeSet<String> = report.cells.iter().map(|cell| cell.key.agent.to_string()).collect();
    assert!(agents.len() == 3 && agents.contains("~none"), "{agents:?}");
    assert!(!body.contains("bot") && body.contains(r#""environment":"development""#), "{body}");
    assert_eq!(books.taken(|taken| taken.units()), 4);
    Ok(())
}

#[tokio::test]
async fn settings_are_refused_with_what_was_meant_and_secrets_never_shown() -> Result<()> {
    let mut reporter = OnPremise::new("http://127.0.0.1:1")?;
    let (well, _, told) = reporter.command(&["status"]).and_then(|mut command| {
        let output = command.env("TELEMETRY_ENDPOIN", "x").output()?;
        Ok((output.status.success(), (), String::from_utf8_lossy(&output.stderr).into_owned()))
    })?;
    assert!(!well && told.contains("did you mean TELEMETRY_ENDPOINT?"), "{told}");
    reporter.start().await?;
    reporter.count(ONE).await?;
    reporter.send().await?;
    for arguments in [&["status"][..], &["status", "--json"], &["test"], &["show"], &["completions", "bash"]]
    {
        let (_, printed, told) = reporter.run(arguments).await?;
        assert!(!printed.is_empty() && !format!("{printed}{told}").contains("abab"), "{arguments:?}");
    }
    let (well, _, told) = reporter.run(&["run"]).await?;
    assert!(!well && told.contains("another reporter has the folder"), "{told}");
    reporter.stop().await?;
    let (well, printed, told) = reporter.run(&["status"]).await?;
    assert!(
        well && printed.starts_with("late (plant-7)") && told.contains("does not run"),
        "{printed} {told}"
    );
    assert!(!reporter.log().contains("abab"), "{}", reporter.log());
    Ok(())
}

/// Sockets of the internet that a process has, of any protocol.
fn sockets(pid: u32) -> Result<Vec<String>> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed meanwhile is none.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let name = target.to_string_lossy().into_owned();
        inodes
            .extend(name.strip_prefix("socket:[").and_then(|name| name.strip_suffix(']')).map(str::to_owned));
    }
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.get(9).is_some_and(|inode| inodes.contains(*inode)) {
                found.push(format!("{table} {} {}", words[1], words[3]));
            }
        }
    }
    Ok(found)
}

/// What a line of the file is to the aggregator.
async fn carry(books: &Books, line: &str) -> Result<Answer> {
    let line: Value = serde_json::from_str(line)?;
    let text = |name: &str| line[name].as_str().context("a line without a field").map(str::to_owned);
    let call = Call::post(&text("path")?, text("body")?).header(SIGNATURE_HEADER, text("signature")?);
    call.send(books.address()).await
}

#[tokio::test]
async fn across_an_air_gap_files_carry_the_same_and_no_socket_but_the_listener_is_opened() -> Result<()> {
    let books = Books::start(&key("k1", "ab")).await?;
    books.policy(policy(5, 3, 1_000)?);
    let mut reporter = OnPremise::new("")?.with("METER_REPORTER_AIR_GAP", "1");
    reporter.start().await?;
    let pid = reporter.pid().context("it does not run")?;
    assert_eq!(reporter.status().await?["state"], "air_gap");
    let (file, later) = (reporter.folder().join("one.jsonl"), reporter.folder().join("two.jsonl"));
    for (name, units) in [(&file, 2), (&later, 1)] {
        reporter.count(&format!(r#"{{"kind":"verify","agent":"bot","units":{units}}}"#)).await?;
        reporter.move_clock(units * 100 * 3_600_000).await?;
        let (well, _, told) = reporter.run(&["export", &name.display().to_string()]).await?;
        assert!(well, "{told}");
        let only_ours = |socket: &String| socket.starts_with("tcp ") && socket.ends_with(" 0A");
        let sockets =
            tests::poll::eventually("no connection of ours", std::time::Duration::from_secs(5), async || {
                let sockets = sockets(pid)?;
                Ok(sockets.iter().all(only_ours).then_some(sockets))
            });
        assert_eq!(sockets.await?.len(), 1, "the listener alone");
    }
    let (first, second) = (std::fs::read_to_string(&file)?, std::fs::read_to_string(&later)?);
    assert!(second.lines().count() > first.lines().count(), "nothing is known to have arrived");
    let (_, keys) = ReporterKey::list(&key("k1", "ab")).map_err(anyhow::Error::msg)?;
    let mut receipts = Vec::new();
    // Carried twice, the older one again after the newer one.
    for line in second.lines().chain(first.lines()).chain(second.lines()) {
        let answer = carry(&books, line).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let signature = answer.header(SIGNATURE_HEADER).unwrap_or_default().to_owned();
        let signed = Signed { method: "POST", path: "/ingest", body: &answer.body };
        assert!(signed.verify(&signature, &keys, Purpose::Reporter, tests::clock::now()).is_ok());
        receipts.push(serde_json::json!({"signature": signature, "body": answer.text()}).to_string());
    }
    assert_eq!(books.taken(|taken| (taken.units(), taken.lives())), (3, 1));
    let back = reporter.folder().join("receipts.jsonl");
    std::fs::write(&back, receipts.join("\n"))?;
    let (well, _, told) = reporter.run(&["receipt", &back.display().to_string()]).await?;
    assert!(well && told.contains("is safe at the aggregator"), "{told}");
    let status = reporter.status().await?;
    assert_eq!((&status["policy_version"], &status["acknowledged"]), (&5.into(), &status["seq"]), "{status}");
    // Its clock has been moved, perhaps into a month of which nothing is used.
    reporter.count(r#"{"kind":"verify","agent":"bot","units":3}"#).await?;
    let check = Call::post("/v1/check", ONE).send(reporter.address()).await?;
    assert_eq!(check.ok::<Value>()?["code"], "quota_exhausted", "limits are carried back, too");
    let (_, _, told) = reporter.run(&["export", &file.display().to_string()]).await?;
    assert!(told.starts_with("1 reports"), "what is safe is not carried again: {told}");
    let forged = receipts.join("\n").replace("\\\"watermark\\\":", "\\\"watermark\\\":9");
    std::fs::write(&back, forged)?;
    let (well, _, told) = reporter.run(&["receipt", &back.display().to_string()]).await?;
    assert!(!well && told.contains("not signed by the aggregator"), "{told}");
    Ok(())
}
