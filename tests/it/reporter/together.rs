//! A reporter and the real books: what is counted is seen once, whatever the network does; what is not right is refused.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::problem::ErrorCode;
use shared::report::ReporterKey;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed};
use shared::time::Timestamp;
use tests::client::{Answer, Call};
use tests::clock;
use tests::on_premise::OnPremise;

use super::customer::{Customer, DAY_MS, HOUR_MS};

/// Every report that ever left, as it left: a signature and a body.
async fn sent(customer: &Customer) -> Result<Vec<(String, String)>> {
    let (_, lines, _) = customer.reporter.run(&["sent"]).await?;
    let text = |line: &Value, name: &str| -> Result<String> {
        Ok(line[name].as_str().context("a field is missing")?.to_owned())
    };
    lines
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line)?;
            anyhow::Ok((text(&line, "signature")?, text(&line, "body")?))
        })
        .collect()
}

async fn post(customer: &Customer, signature: &str, body: &str) -> Result<Answer> {
    let call = Call::post("/ingest", body.to_owned()).json().header(SIGNATURE_HEADER, signature);
    call.send(customer.stack.aggregator()).await
}

#[tokio::test]
async fn what_is_counted_and_decided_on_premise_is_usage_once_however_often_and_late_it_comes() -> Result<()>
{
    let mut customer = Customer::new().await?;
    let at = customer.reporter.address();
    for body in [
        r#"{"kind":"verify","agent":"bot","units":3}"#,
        r#"[{"kind":"verify","agent":"bot"},{"kind":"mcp_tool_call","agent":"line-3","units":5}]"#,
    ] {
        assert_eq!(customer.reporter.count(body).await?.status, 200);
        customer.report().await?;
    }
    for _ in 0..2 {
        let check = Call::post("/v1/check", r#"{"kind":"extension_event","agent":"bot"}"#).json();
        assert_eq!(check.send(at).await?.ok::<Value>()?["allowed"], true);
    }
    customer.report().await?;
    let usage = customer.usage().await?;
    assert_eq!(usage["total"], 11, "{usage}");
    assert_eq!(
        usage["agents"],
        json!([{ "agent": "bot", "units": 6 }, { "agent": "line-3", "units": 5 }]),
        "{usage}"
    );
    let file = customer.export("old.jsonl").await?;
    // Everything again: backwards, in pairs, and once more in order.
    let reports = sent(&customer).await?;
    assert!(reports.len() >= 4, "{reports:?}");
    let pairs = reports.chunks(2).rev().flatten();
    for (signature, body) in reports.iter().rev().chain(pairs).chain(&reports) {
        let answer = post(&customer, signature, body).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(customer.usage().await?, usage, "nothing has changed");
    // The same as a file, and once more when it is more than a year old.
    customer.ingest(&file)?;
    customer.report().await?;
    customer.advance(400 * DAY_MS)?;
    let before = customer.standing("berlin").await?["heard_at"].clone();
    customer.line.cut();
    customer.ingest(&file)?;
    let all: String = reports
        .iter()
        .map(|(signature, body)| {
            format!("{}\n", json!({ "path": "/ingest", "signature": signature, "body": body }))
        })
        .collect();
    fs::write(&file, all)?;
    customer.ingest(&file)?;
    assert_eq!(customer.usage().await?, usage);
    assert!(before.is_string());
    customer.stack.finish()
}

#[tokio::test]
async fn ten_days_without_a_network_are_caught_up_exactly_day_by_day_through_crashes() -> Result<()> {
    let mut customer = Customer::new().await?;
    customer.line.cut();
    let mut expected = BTreeMap::new();
    for day in 1..=10_u64 {
        // A process that dies counts on where it was.
        if day.is_multiple_of(4) {
            customer.reporter.kill()?;
            customer.start().await?;
        }
        for (agent, units) in [("bot", day), ("line-3", 100 * day)] {
            let body = format!(r#"{{"kind":"verify","agent":"{agent}","units":{units}}}"#);
            assert_eq!(customer.reporter.count(&body).await?.status, 200);
        }
        expected.insert(customer.now().day().to_string(), 101 * day);
        customer.reporter.send().await?;
        customer.advance(DAY_MS)?;
    }
    assert_eq!(customer.usage().await?["total"], 0);
    assert_eq!(customer.reporter.is("silent").await?["left_ms"], 0);
    assert_eq!(customer.standing("berlin").await?["state"], "silent");
    customer.line.heal();
    customer.report().await?;
    customer.reporter.is("ok").await?;
    let usage = customer.usage().await?;
    let days = usage["days"].as_array().context("no days")?.iter().filter(|day| day["units"] != 0);
    let told: BTreeMap<String, u64> = days
        .map(|day| (day["date"].as_str().unwrap_or_default().to_owned(), day["units"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(told, expected);
    assert_eq!(usage["total"], 101 * 55);
    assert_eq!(customer.standing("berlin").await?["state"], "ok");
    customer.stack.finish()
}

/// Signs as somebody who has that key.
fn signed(key: &str, body: &str, at: Timestamp) -> Result<String> {
    let (_, keys) = ReporterKey::list(key).map_err(anyhow::Error::msg)?;
    let signed = Signed { method: "POST", path: "/ingest", body: body.as_bytes() };
    let key = keys.current(Purpose::Reporter).context("no key")?;
    Ok(signed.sign(key, at))
}

#[tokio::test]
async fn wrong_keys_wrong_clocks_and_foreign_reporters_are_refused_with_a_reason_and_a_page() -> Result<()> {
    let mut customer = Customer::new().await?;
    customer.reporter.count(r#"{"kind":"verify","agent":"bot","units":7}"#).await?;
    customer.report().await?;
    let (_, body) = sent(&customer).await?.pop().context("nothing was sent")?;
    let stranger = customer.reporter_key("munich").await?;
    let made = customer.make("/api/v1/admin/reporters/berlin/keys", &json!({})).await?;
    let key = made["key"].as_str().context("no key")?.to_owned();
    let now = clock::now();
    let late = Timestamp::from_ms(now.as_ms() - 301_000);
    for (signature, code) in [
        (signed(&stranger, &body, now)?, ErrorCode::FieldRejected),
        (signed(&key, &body, late)?, ErrorCode::SignatureExpired),
        (signed(&key, &format!("{body} "), now)?, ErrorCode::SignatureRejected),
    ] {
        let answer = post(&customer, &signature, &body).await?;
        let foreign = answer.text().contains(r#""field":"source""#);
        answer.problem(code)?;
        assert_eq!(
            foreign,
            code == ErrorCode::FieldRejected,
            "a foreign reporter is told what is not its own"
        );
        customer.is_explained(code.as_str()).await?;
    }
    assert_eq!(customer.standing("berlin").await?["state"], "refused_clock");
    // A key that nobody made: the reporter says so, and what to do.
    customer.reporter.kill()?;
    let (id, secret) = key.rsplit_once('_').context("a key has parts")?;
    let wrong: String = secret.chars().rev().collect();
    customer.reporter.set("TELEMETRY_HMAC_KEY", &format!("{id}_{wrong}"));
    customer.start().await?;
    customer.reporter.count(r#"{"kind":"verify","agent":"bot","units":2}"#).await?;
    customer.reporter.send().await?;
    let told = customer.reporter.is("refused_key").await?;
    assert!(told["advice"].as_str().unwrap_or_default().contains("TELEMETRY_HMAC_KEY"), "{told}");
    assert!(told.to_string().contains("signature_rejected"), "{told}");
    assert_eq!(customer.usage().await?["total"], 7, "nothing of it was taken");
    customer.reporter.kill()?;
    customer.reporter.set("TELEMETRY_HMAC_KEY", &key);
    customer.start().await?;
    customer.report().await?;
    assert_eq!(customer.usage().await?["total"], 9, "and nothing was lost");
    customer.stack.finish()
}

#[tokio::test]
async fn a_cloned_folder_is_refused_until_it_is_promoted_and_a_cut_file_before_anything_of_it_is_taken()
-> Result<()> {
    let mut customer = Customer::new().await?;
    customer.reporter.count(r#"{"kind":"verify","agent":"bot","units":7}"#).await?;
    customer.report().await?;
    // Two that were one: the copy reports first.
    customer.reporter.stop().await?;
    let mut clone = OnPremise::new(&format!("http://{}", customer.line.address))?;
    fs::create_dir_all(clone.data())?;
    for file in fs::read_dir(customer.reporter.data())? {
        let file = file?;
        fs::copy(file.path(), clone.data().join(file.file_name()))?;
    }
    let made = customer.make("/api/v1/admin/reporters/berlin/keys", &json!({})).await?;
    let key = made["key"].as_str().context("no key")?.to_owned();
    clone.set("TELEMETRY_HMAC_KEY", &key);
    for (reporter, units) in [(&mut clone, 1), (&mut customer.reporter, 2)] {
        reporter.start().await?;
        reporter.count(&format!(r#"{{"kind":"verify","agent":"bot","units":{units}}}"#)).await?;
        reporter.send().await?;
    }
    let told = customer.reporter.is("forked").await?;
    assert_eq!(told["failure"]["cause"], "forked", "{told}");
    assert!(told["advice"].as_str().unwrap_or_default().contains("meter-reporter renew"), "{told}");
    customer.is_explained("reporter_forked").await?;
    assert_eq!(customer.usage().await?["total"], 8, "the refused one counts nothing");
    clone.kill()?;
    // A file that was cut off on its way is refused as a whole; the whole one is taken.
    customer.reporter.stop().await?;
    let (well, _, told) = customer.reporter.run(&["renew", "--yes"]).await?;
    assert!(well, "{told}");
    customer.start().await?;
    customer.line.cut();
    let life = customer.reporter.status().await?["incarnation"].as_str().context("no life")?.to_owned();
    let promote = json!({ "incarnation": life });
    customer.change("/api/v1/admin/reporters/berlin/promote", &promote).await?;
    customer.reporter.count(r#"{"kind":"verify","agent":"bot","units":30}"#).await?;
    let file = customer.export("whole.jsonl").await?;
    let whole = fs::read_to_string(&file)?;
    let cut = customer.reporter.folder().join("cut.jsonl");
    fs::write(&cut, whole.get(..whole.len() - 40).context("short")?)?;
    let refused = customer.ingest(&cut).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("cut.jsonl, line") && refused.contains("no report"), "{refused}");
    assert_eq!(customer.usage().await?["total"], 8);
    customer.ingest(&file)?;
    assert_eq!(customer.usage().await?["total"], 38);
    customer.advance(HOUR_MS)?;
    customer.stack.finish()
}
