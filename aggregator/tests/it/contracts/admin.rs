//! Making, ending and showing contracts and reporters.

use aggregator::jobs::{contract_turn, month_close};
use serde_json::{Value, json};
use shared::plan::Plan;
use shared::report::ReporterKey;
use shared::time::Day;

use super::support::{CONTRACTS, Desk, REPORTERS, terms};
use crate::cli::{json as told, run, stderr, stdout};
use crate::support::{Folder, project_id};

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[tokio::test]
async fn a_contracted_project_is_on_enterprise_with_its_terms_and_overage() {
    let desk = Desk::new().await;
    let version = desk.meter.version("acme").await;
    let made = desk.make(CONTRACTS, &terms("acme-2026")).await;
    assert_eq!(
        (&made["phase"], &made["volume"], &made["last_day"]),
        (&"running".into(), &1_000.into(), &Value::Null)
    );
    assert_eq!(made["tiers"][1]["per_1000"], 1_000);
    assert!(desk.meter.version("acme").await > version, "the edge is told");
    let plan = desk.get("/api/v1/billing/plan?project=acme").await;
    assert_eq!((&plan["plan"], &plan["quota"]), (&"enterprise".into(), &1_000.into()), "{plan}");
    assert_eq!(plan["overage"]["state"], "on", "{plan}");
    assert_eq!(desk.get(&format!("{CONTRACTS}/acme-2026")).await, made);
    assert_eq!(desk.get(CONTRACTS).await["contracts"], json!([made]));
    let audit = desk.get("/api/v1/admin/audit").await;
    let actions: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..2], ["contract.began", "contract.created"]);
}

#[tokio::test]
async fn a_contract_that_overlaps_is_back_dated_or_cannot_be_meant_is_refused() {
    let desk = Desk::new().await;
    desk.meter.project("other", Plan::Pro).await;
    desk.make(CONTRACTS, &with(terms("acme-2026"), "last_day", "2026-12-31".into())).await;
    let body = || terms("next");
    let refused = [
        (terms("acme-2026"), "contract_exists"),
        (body(), "contract_refused"),
        (with(body(), "first_day", "2026-12-31".into()), "contract_refused"),
        (with(body(), "projects", json!(["nobody"])), "project_unknown"),
        (with(with(body(), "projects", json!(["other"])), "currency", "usd".into()), "contract_refused"),
    ];
    for (body, code) in refused {
        desk.post(CONTRACTS, &body).await.is_problem(code, &body.to_string());
    }
    for (field, value) in [
        ("id", json!("No")),
        ("customer", json!("  ")),
        ("tiers", json!([])),
        ("tiers", json!([{ "up_to": 5, "per_1000": 1 }])),
        ("volume", json!(-1)),
        ("base_fee", json!({ "minor": 1, "per": "year" })),
        ("base_fee", json!({ "minor": 9_007_199_254_740_992_u64, "per": "month" })),
        ("last_day", json!("2026-10-31")),
        ("notice_days", json!(367)),
        ("currency", json!("EUR")),
        ("projects", json!("acme")),
        ("nonsense", json!(1)),
    ] {
        desk.post(CONTRACTS, &with(body(), field, value.clone())).await.refuses(field, &value.to_string());
    }
    assert_eq!(desk.get(CONTRACTS).await["contracts"].as_array().unwrap().len(), 1);
    // The day after the term is free, and so is another project.
    desk.make(CONTRACTS, &with(body(), "first_day", "2027-01-01".into())).await;
    desk.make(CONTRACTS, &with(terms("theirs"), "projects", json!(["other"]))).await;
    // November is closed in December: nothing begins in it any more.
    desk.meter.project("late", Plan::Pro).await;
    desk.meter.app.clock.set(Day::parse("2026-12-05").unwrap().start());
    assert!(month_close::close_due(&desk.meter.app).await.unwrap() > 0);
    let late = with(terms("late"), "projects", json!(["late"]));
    let answer = desk.post(CONTRACTS, &late).await;
    answer.is_problem("contract_refused", "November is closed");
    assert!(answer.body.contains("2026-12-01"), "{answer:?}");
    desk.make(CONTRACTS, &with(late, "first_day", "2026-12-01".into())).await;
}

#[tokio::test]
async fn a_planned_contract_begins_on_its_first_day_and_ends_with_its_last() {
    let desk = Desk::new().await;
    let app = &desk.meter.app;
    let at = |day: &str| app.clock.set(Day::parse(day).unwrap().start());
    let body = with(with(terms("acme"), "first_day", "2026-12-10".into()), "last_day", "2026-12-20".into());
    assert_eq!(desk.make(CONTRACTS, &body).await["phase"], "planned");
    let plan = async || app.store.book(&project_id("acme")).await.unwrap().unwrap().project.plan;
    assert_eq!((contract_turn::turn_due(app).await.unwrap(), plan().await), (0, Plan::Community));
    at("2026-12-10");
    assert_eq!((contract_turn::turn_due(app).await.unwrap(), plan().await), (1, Plan::Enterprise));
    assert_eq!(contract_turn::turn_due(app).await.unwrap(), 0, "again nothing");
    // A contract of the next day begins where this one ends.
    desk.make(CONTRACTS, &with(terms("more"), "first_day", "2026-12-21".into())).await;
    at("2026-12-21");
    assert_eq!(contract_turn::turn_due(app).await.unwrap(), 2, "one ends, one begins");
    assert_eq!(plan().await, Plan::Enterprise);
    let end = format!("{CONTRACTS}/more/end");
    desk.post(&end, &json!({ "last_day": "2026-12-20" })).await.is_problem("contract_refused", "the past");
    let ended = desk.post(&end, &json!({ "last_day": "2026-12-31" })).await;
    assert_eq!((ended.status, &ended.value()["last_day"]), (200, &"2026-12-31".into()));
    desk.post(&end, &json!({ "last_day": "2027-01-31" })).await.is_problem("contract_refused", "longer");
    desk.post(&format!("{CONTRACTS}/none/end"), &json!({ "last_day": "2027-01-31" }))
        .await
        .is_problem("not_found", "no such contract");
    at("2027-01-01");
    assert_eq!(contract_turn::turn_due(app).await.unwrap(), 1);
    assert_eq!(app.store.audit(&project_id("acme")).await.unwrap(), Some(vec![]));
    assert_eq!(desk.get("/api/v1/billing/plan?project=acme").await["plan"], "community");
}

#[tokio::test]
async fn a_reporter_has_at_most_two_keys_which_are_shown_once() {
    let desk = Desk::new().await;
    desk.make(CONTRACTS, &terms("acme")).await;
    let first = ReporterKey::parse(&desk.reporter("acme", "berlin").await).unwrap();
    assert_eq!(first.source().as_str(), "berlin");
    let second = ReporterKey::parse(&desk.key("berlin").await).unwrap();
    let keys = format!("{REPORTERS}/berlin/keys");
    desk.post(&keys, &json!({})).await.refuses("keys", "a third key");
    let one = format!("{keys}/{}", first.signing().id());
    let revoked = desk.delete(&one).await.value();
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    assert_eq!(desk.delete(&one).await.value(), revoked, "again changes nothing");
    desk.delete(&format!("{keys}/nokey")).await.is_problem("key_unknown", "no such key");
    desk.key("berlin").await;
    let listed = desk.get(&keys).await;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 3);
    assert!(!listed.to_string().contains("pvr_"), "{listed}");
    let found = desk.meter.app.store.reporter_key(second.signing().id(), &desk.meter.app.webhooks.keys);
    let found = found.await.unwrap().unwrap();
    assert_eq!((found.reporter.as_str(), found.is_revoked, &found.key), ("berlin", false, second.signing()));
    let retired = desk.delete(&format!("{REPORTERS}/berlin")).await.value();
    assert!(retired["retired_at"].is_string());
    let keys_left = desk.get(&keys).await;
    assert!(keys_left["keys"].as_array().unwrap().iter().all(|key| key["revoked_at"].is_string()));
    desk.post(&keys, &json!({})).await.is_problem("not_found", "a retired reporter gets no key");
}

#[tokio::test]
async fn a_reporter_is_of_one_project_of_its_contract() {
    let desk = Desk::new().await;
    desk.meter.project("second", Plan::Pro).await;
    let both = with(terms("both"), "projects", json!(["acme", "second"]));
    desk.make(CONTRACTS, &both).await;
    let path = format!("{CONTRACTS}/both/reporters");
    let new = |project: Value| json!({ "id": "paris", "rpm": 100, "project": project });
    desk.post(&path, &json!({ "id": "paris", "rpm": 100 })).await.refuses("project", "which of two");
    desk.post(&path, &new("nobody".into())).await.refuses("project", "not covered");
    let made = desk.make(&path, &new("second".into())).await;
    assert_eq!((&made["project"], &made["environment"]), (&"second".into(), &"production".into()));
    desk.post(&path, &new("acme".into())).await.is_problem("reporter_exists", "the same id");
    let home = json!({ "id": "home", "rpm": 1, "project": "acme" });
    desk.post(&path, &home).await.is_problem("reporter_exists", "the name of edge homes");
    for (field, value) in [("rpm", json!(0)), ("rpm", json!(1_000_001)), ("environment", json!("staging"))] {
        let body = with(json!({ "id": "rome", "rpm": 1, "project": "acme" }), field, value);
        desk.post(&path, &body).await.refuses(field, &body.to_string());
    }
    desk.post(&format!("{CONTRACTS}/none/reporters"), &new("acme".into()))
        .await
        .is_problem("not_found", "no such contract");
    assert_eq!(desk.get(&format!("{REPORTERS}?contract=both")).await["reporters"], json!([made]));
    assert_eq!(desk.get(&format!("{REPORTERS}?contract=none")).await["reporters"], json!([]));
}

#[test]
fn contracts_and_reporters_are_made_by_commands_alone() {
    let folder = Folder::new();
    stdout(&folder, "project create acme --plan pro");
    let create = "contract create acme-2026 --customer Acme --project acme --volume 1000 --tier 500:2000 \
                  --tier 1000 --minimum 1200 --base-fee 490000 --from 2099-01-01 --until 2099-12-31 --sla none";
    let made = told(&folder, &format!("{create} --json"));
    assert_eq!((&made["phase"], &made["tiers"][0]["up_to"]), (&"planned".into(), &500.into()));
    assert_eq!(made["base_fee"], json!({ "minor": 490_000, "per": "month" }));
    assert!(stderr(&run(&folder, create)).contains("already a contract"));
    let table = stdout(&folder, "contract list");
    assert!(table.contains("2099-12-31  2099-10-02"), "{table}");
    let made = told(&folder, "reporter create berlin --contract acme-2026 --rpm 6000 --units-max 9 --json");
    assert_eq!((&made["project"], &made["units_max"]), (&"acme".into(), &9.into()));
    let key = stdout(&folder, "reporter key create berlin");
    let key = ReporterKey::parse(&key).unwrap();
    let list = stdout(&folder, "reporter key list berlin");
    assert!(list.contains(key.signing().id().as_str()) && !list.contains("pvr_"), "{list}");
    stdout(&folder, &format!("reporter key revoke berlin --key {}", key.signing().id()));
    let ended = told(&folder, "contract end acme-2026 --on 2099-06-30 --json");
    assert_eq!(ended["last_day"], "2099-06-30");
    assert!(told(&folder, "reporter retire berlin --json")["retired_at"].is_string());
    let refused = stderr(&run(&folder, &create.replace("--tier 1000", "--tier x")));
    assert!(refused.contains("500000:100"), "{refused}");
}
