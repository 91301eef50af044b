//! Parked events: what processing one again would do is what it then does, and asking changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::problem::ErrorCode;
use sqlx::{AnyConnection, AssertSqlSafe, Column as _, Connection as _, Row as _};
use tests::client::Call;
use tests::poll::eventually;
use tests::postgres::Postgres;

use super::shop::Shop;

const SOON: std::time::Duration = std::time::Duration::from_secs(90);

/// Which table the rows are in that a rehearsal speaks of.
const TABLES: [(&str, &str); 12] = [
    ("ledger entry", "entry"),
    ("lot", "lot_order"),
    ("order", "stripe_order"),
    ("subscription", "stripe_subscription"),
    ("bill", "stripe_bill"),
    ("overdue invoice", "stripe_overdue"),
    ("customer", "stripe_customer"),
    ("automatic top-up", "auto_top_up"),
    ("project", "project"),
    ("crossing", "crossing_event"),
    ("event to webhooks", "event"),
    ("audit line", "trail"),
];

/// What follows from those rows, and what says that a person asked and what came of it.
const BESIDE: [&str; 9] = [
    "call",
    "crossing",
    "payer",
    "policy_outbox",
    "policy_turn",
    "setting",
    "stream",
    "stripe_event",
    "webhook_delivery",
];

/// Columns that say when something was done, or how often, and are otherwise whenever it is done.
const OF_THE_DOING: [&str; 8] =
    ["at_ms", "attempt", "attempts", "created_ms", "due_ms", "id", "number", "settled"];

type Row = BTreeMap<String, Value>;

/// Every row of the books.
async fn books(url: &str) -> Result<BTreeMap<String, Vec<Row>>> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await?;
    let names = if url.starts_with("sqlite") {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    } else {
        "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()"
    };
    let mut all = BTreeMap::new();
    for name in sqlx::query(AssertSqlSafe(names)).fetch_all(&mut connection).await? {
        let name: String = name.try_get(0)?;
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM \"{name}\"")))
            .fetch_all(&mut connection)
            .await?;
        let read = |row: &sqlx::any::AnyRow| -> Result<Row> {
            let value = |at: usize| -> Result<Value> {
                if let Ok(number) = row.try_get::<Option<i64>, _>(at) {
                    return Ok(json!(number));
                }
                if let Ok(text) = row.try_get::<Option<String>, _>(at) {
                    let json = text.as_ref().filter(|text| text.starts_with(['{', '[']));
                    return Ok(json.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(json!(text)));
                }
                Ok(json!(row.try_get::<Option<Vec<u8>>, _>(at)?))
            };
            row.columns()
                .iter()
                .enumerate()
                .map(|(at, column)| Ok((column.name().to_owned(), value(at)?)))
                .collect()
        };
        let mut rows = rows.iter().map(read).collect::<Result<Vec<Row>>>()?;
        rows.sort_by_key(|row| json!(row).to_string());
        all.insert(name, rows);
    }
    connection.close().await?;
    Ok(all)
}

fn parked(shop: &Shop) -> Result<Vec<Value>> {
    Ok(shop.parked()?["events"].as_array().cloned().unwrap_or_default())
}

/// Pays at Stripe while nothing can be read there, so that a person has to look at what is told of it.
async fn park(shop: &Shop, session: &str) -> Result<()> {
    shop.fault(&json!({ "matches": "GET /v1/", "status": 400, "times": 10_000 })).await?;
    shop.pay(session, "card").await?;
    eventually("parked events", SOON, async || {
        let told = shop.control("GET", "deliveries", &Value::Null).await?["waiting"] == 0;
        let waiting = shop.parked()?["waiting"] != 0;
        Ok((told && !waiting && !parked(shop)?.is_empty()).then_some(()))
    })
    .await?;
    shop.control("DELETE", "faults", &Value::Null).await.map(drop)
}

fn named(event: &Value) -> Result<&str> {
    event["id"].as_str().context("an event without an id")
}

fn rehearse(shop: &Shop, event: &str) -> Result<Value> {
    Ok(serde_json::from_str(&shop.stack.meter(&["stripe", "retry", event, "--dry-run", "--json"])?)?)
}

/// What jobs write by themselves: that the server lives, and how often the edge was told, which is not there.
const BY_ITSELF: [&str; 2] = ["policy_outbox", "setting"];

/// That nothing changed.
fn unmoved(before: &BTreeMap<String, Vec<Row>>, after: &BTreeMap<String, Vec<Row>>) -> Result<()> {
    for (table, rows) in after {
        let was = before.get(table).context("a new table")?;
        let differs = rows.iter().filter(|row| !was.contains(row)).collect::<Vec<_>>();
        let same = was == rows || BY_ITSELF.contains(&table.as_str());
        ensure!(same, "{table} had {} rows and has {}, of them otherwise {differs:?}", was.len(), rows.len());
    }
    Ok(())
}

/// The books, once a job has told Stripe what each customer is to be charged by, which follows a payment within seconds,
/// and Stripe has told of that.
async fn at_rest(shop: &Shop, url: &str) -> Result<BTreeMap<String, Vec<Row>>> {
    eventually("customers charged as they paid", SOON, async || {
        let books = books(url).await?;
        let told = |row: &Row| row["paid_with"].is_null() || row["charged"] == row["paid_with"];
        Ok(books["stripe_customer"].iter().all(told).then_some(()))
    })
    .await?;
    shop.is_quiet().await?;
    books(url).await
}

/// A row without what depends on when it is written.
fn lasting(row: &Row) -> Row {
    let lasts = |(name, _): &(&String, &Value)| !OF_THE_DOING.contains(&name.as_str());
    let mut row: Row = row.iter().filter(lasts).map(|(name, value)| (name.clone(), value.clone())).collect();
    // A plan counts from when it is settled.
    if let Some(changed) = row.get_mut("fact").and_then(|fact| fact.get_mut("plan_changed")) {
        changed["effective"] = Value::Null;
    }
    row
}

/// Rehearses an event and processes it again; says of which rows both spoke.
async fn foretold_and_done(shop: &Shop, url: &str, event: &Value) -> Result<BTreeSet<String>> {
    let id = named(event)?;
    let before = at_rest(shop, url).await?;
    let foretold = rehearse(shop, id)?;
    unmoved(&before, &books(url).await?)?;
    assert_eq!(foretold["state"], "applied", "{foretold}");
    shop.stack.meter(&["stripe", "retry", id])?;
    eventually("the event applied", SOON, async || {
        let rows = books(url).await?;
        let mut events = rows["stripe_event"].iter();
        let row = events.find(|row| row["id"] == id).context("the event is gone")?;
        Ok((row["state"] == "applied").then_some(()))
    })
    .await?;
    let after = books(url).await?;
    let changes = foretold["changes"].as_array().context("no changes")?;
    let mut spoken = BTreeSet::new();
    for (what, table) in TABLES {
        let was: Vec<Row> = before[table].iter().map(lasting).collect();
        let is: Vec<Row> = after[table].iter().map(lasting).collect();
        // The retry itself is in the audit log too.
        let came = is.iter().filter(|row| !was.contains(row));
        let came: Vec<&Row> =
            came.filter(|row| row.get("action").is_none_or(|action| action != "payment.retried")).collect();
        let of_it = |change: &&Value| {
            change["what"] == what
                && change["becomes"]
                    .as_object()
                    .is_some_and(|columns| columns.keys().any(|name| !OF_THE_DOING.contains(&name.as_str())))
        };
        let told: Vec<&Value> = changes.iter().filter(of_it).collect();
        assert_eq!(told.len(), came.len(), "{what}: {told:?} were foretold, {came:?} came");
        for change in told {
            spoken.insert(what.to_owned());
            let becomes: Row = serde_json::from_value(change["becomes"].clone())?;
            let becomes = lasting(&becomes);
            let fits = |row: &&&Row| becomes.iter().all(|(name, value)| row.get(name) == Some(value));
            assert_eq!(came.iter().filter(fits).count(), 1, "{change} was foretold, {came:?} came");
        }
    }
    let known = |name: &str| TABLES.iter().any(|(_, table)| *table == name) || BESIDE.contains(&name);
    for (table, rows) in &after {
        assert!(before.get(table) == Some(rows) || known(table), "{table} changed, and nobody foretold it");
    }
    Ok(spoken)
}

/// A plan and a pack, paid while Stripe could not be read.
async fn check(shop: Shop, url: &str) -> Result<()> {
    let all = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<BTreeSet<String>>();
    let (_, session) = shop.buy(&json!({ "plan": "pro", "interval": "month" }), None).await?;
    park(&shop, &session).await?;
    let event = parked(&shop)?.into_iter().find(|event| event["kind"] == "customer.subscription.created");
    let spoken = foretold_and_done(&shop, url, &event.context("no subscription")?).await?;
    assert!(
        spoken.is_superset(&all(&["ledger entry", "subscription", "project", "audit line"])),
        "{spoken:?}"
    );
    shop.has_plan("pro").await?;
    // Whatever else told of it finds nothing more to bring into the ledger.
    for event in parked(&shop)? {
        let rehearsed = rehearse(&shop, named(&event)?)?;
        let entries = rehearsed["changes"].as_array().context("no changes")?.iter();
        assert_eq!(entries.filter(|change| change["what"] == "ledger entry").count(), 0, "{rehearsed}");
        shop.stack.meter(&["stripe", "retry", named(&event)?])?;
    }
    shop.is_quiet().await?;
    assert_eq!(parked(&shop)?, Vec::<Value>::new());

    let (order, session) = shop.buy_pack("small").await?;
    park(&shop, &session).await?;
    let events = parked(&shop)?;
    let event = events.iter().find(|event| event["kind"] == "checkout.session.completed");
    let event = event.context("no session")?;
    let list = shop.stack.meter(&["stripe", "parked", "--dry-run"])?;
    assert!(list.contains(&format!("order {order}:")) && list.contains("state open → paid"), "{list}");
    let list: Value =
        serde_json::from_str(&shop.stack.meter(&["stripe", "parked", "--dry-run", "--json"])?)?;
    let states = list["events"].as_array().context("no list")?.iter().map(|event| {
        let would = if event["kind"] == "invoice.paid" { "ignored" } else { "applied" };
        event["would"]["state"] == would
    });
    // The invoice is only the pack's receipt.
    assert!(states.eq(vec![true; events.len()]), "{list}");
    assert_eq!(shop.lots().await?, Vec::<(u64, u64)>::new());
    let spoken = foretold_and_done(&shop, url, event).await?;
    assert!(spoken.is_superset(&all(&["ledger entry", "lot", "order"])), "{spoken:?}");
    shop.has_lots(&[(5_000, 5_000)]).await?;
    for event in parked(&shop)? {
        shop.stack.meter(&["stripe", "retry", named(&event)?])?;
    }
    shop.is_quiet().await?;
    shop.finish().await
}

#[tokio::test]
async fn what_a_parked_event_would_do_is_what_it_does_then() -> Result<()> {
    let shop = Shop::open(Plan::Community).await?;
    let file = shop.stack.scratch().join("books").join("meter.db");
    check(shop, &format!("sqlite://{}", file.display())).await
}

#[tokio::test]
async fn on_postgres_what_a_parked_event_would_do_is_what_it_does_then() -> Result<()> {
    let postgres = Postgres::start().await?;
    let url = postgres.create("parked")?;
    check(Shop::open_on(Plan::Community, Some(url.clone())).await?, &url).await
}

#[tokio::test]
async fn what_an_event_would_stop_on_again_is_said() -> Result<()> {
    let shop = Shop::open(Plan::Pro).await?;
    let url = format!("sqlite://{}", shop.stack.scratch().join("books").join("meter.db").display());
    super::deliveries::ghost(&shop).await?;
    eventually("one parked event", SOON, async || Ok((parked(&shop)?.len() == 1).then_some(()))).await?;
    shop.is_quiet().await?;
    let event = parked(&shop)?.remove(0);
    let alarms = shop.metric("meter_stripe_alarms_total").await?;
    let before = at_rest(&shop, &url).await?;
    let rehearsed = rehearse(&shop, named(&event)?)?;
    assert_eq!((&rehearsed["state"], &rehearsed["note"]), (&json!("parked"), &event["note"]));
    assert_eq!(rehearsed["changes"], json!([]));
    // Stripe that does not answer is what an event would wait for.
    shop.fault(&json!({ "matches": "GET /v1/", "status": 503, "times": 1 })).await?;
    let waits = rehearse(&shop, named(&event)?)?;
    assert_eq!(waits["state"], "pending", "{waits}");
    assert!(waits["note"].as_str().is_some_and(|note| note.contains("Stripe failed (503)")), "{waits}");
    unmoved(&before, &books(&url).await?)?;
    assert_eq!(shop.metric("meter_stripe_alarms_total").await?, alarms, "nobody is told of a rehearsal");
    // Those who may not operate may not ask, and nothing is said of what is not there.
    let ask = async |event: &str, token: &str| {
        let path = format!("/api/v1/admin/stripe/parked/{event}/dry-run");
        Call::get(&path).bearer(token).send(shop.stack.aggregator()).await
    };
    let token = shop.project.token.clone();
    ask(named(&event)?, &token).await?.problem(ErrorCode::Forbidden)?;
    let operator: Value =
        serde_json::from_str(&shop.stack.meter(&["token", "create", "--operator", "--json"])?)?;
    let operator = operator["token"].as_str().context("no token")?;
    ask("evt_nobody", operator).await?.problem(ErrorCode::NotFound)?;
    assert_eq!(ask(named(&event)?, operator).await?.status, 200);
    shop.finish().await
}
