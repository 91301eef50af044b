//! What months would cost under a draft of a contract, beside what they cost at present.

use serde_json::{Value, json};
use shared::plan::Plan;
use shared::time::Day;

use super::support::{CONTRACTS, Desk, terms};
use crate::cli::{run, stderr, stdout};
use crate::support::Folder;

const DRAFT: &str = "volume=25000&tiers=300&minimum=5000&base_fee=6000&from=2026-11&to=2026-11";

/// Ten days into December: `shop` is on pro and used 12,000 units in November, and 1,000 a day since the third.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.meter.project("shop", Plan::Pro).await;
    desk.meter.app.clock.set(Day::parse("2026-12-10").unwrap().start().plus_ms(3_600_000));
    let days = (3..=9).map(|day| (format!("2026-12-{day:02}"), 1_000));
    let days = days.chain([("2026-11-23".to_owned(), 12_000), ("2026-12-01".to_owned(), 1_000)]);
    let cells: Vec<Value> = days
        .map(|(day, units)| json!({ "day": day, "kind": "verify", "agent": "a", "units": units }))
        .collect();
    let flush = json!({ "project": "shop", "mode": "live", "source": "home", "incarnation": "aaaaaaaa", "seq": 1, "cells": cells });
    assert_eq!(desk.meter.flush(&flush.to_string()).await.status, 200);
    desk
}

async fn asked(desk: &Desk, projects: &str) -> Value {
    desk.get(&format!("/api/v1/admin/what-if?projects={projects}&{DRAFT}")).await
}

#[tokio::test]
async fn a_draft_is_compared_with_the_present_plan_over_history_and_the_present_month() {
    let desk = desk().await;
    let told = asked(&desk, "shop").await;
    let month = |of: &Value| {
        let minor = |name: &str| of.pointer(name).unwrap()["minor"].clone();
        (of["figures"]["counted"].clone(), minor("/figures/total"), minor("/if_silent"), minor("/at_present"))
    };
    // 60.00 as drafted; on pro 49.00 and 2,000 at 6.00 per 1,000.
    assert_eq!(month(&told["months"][0]), (json!(12_000), json!("6000"), json!("6000"), json!("6100")));
    // 8,000 units before today and 1,000 on each of 22 days: 5,000 beyond at 3.00, and on pro 20,000 at 6.00 per 1,000.
    assert_eq!(month(&told["forecast"]), (json!(30_000), json!("7500"), json!("7500"), json!("16900")));
    assert_eq!(told["forecast"]["period"], "2026-12");
    assert_eq!(told["total_at_present"]["minor"], "6100");
    assert_eq!(told["volume_used_up_at"], 25_000);
    // 11.00 more are 1,833.3 units of overage on pro.
    let ranges = json!([
        { "from": 0, "to": 11_833, "draft": "dearer" },
        { "from": 11_834, "to": null, "draft": "cheaper" },
    ]);
    assert_eq!(told["break_even"]["ranges"], ranges);
    let present = &told["break_even"]["present"];
    assert_eq!((&present["base_fee"], &present["included"]), (&json!(4_900), &json!(10_000)));
}

#[tokio::test]
async fn what_a_plan_does_not_serve_has_no_price_and_several_plans_no_break_even() {
    let desk = desk().await;
    let both = asked(&desk, "acme,shop").await;
    assert_eq!((&both["break_even"], &both["total_at_present"]["minor"]), (&Value::Null, &json!("6100")));
    let community = asked(&desk, "acme").await;
    let ranges = json!([
        { "from": 0, "to": 1_000, "draft": "dearer" },
        { "from": 1_001, "to": null, "draft": "alone" },
    ]);
    assert_eq!(community["break_even"]["ranges"], ranges, "beyond its quota there is nothing else");
    // Under a contract the draft is compared with that.
    let mut body = terms("acme");
    body["first_day"] = "2026-12-01".into();
    body["base_fee"] = json!({ "minor": 100, "per": "month" });
    desk.make(CONTRACTS, &body).await;
    let renewed = &asked(&desk, "acme").await["break_even"];
    assert_eq!(
        (&renewed["present"]["base_fee"], &renewed["present"]["included"]),
        (&json!(100), &json!(1_000))
    );
    // 59.00 more: 500 units of overage are 10.00, and 4,900 at 10.00 per 1,000 the rest.
    let ranges = json!([
        { "from": 0, "to": 6_399, "draft": "dearer" },
        { "from": 6_400, "to": 6_400, "draft": "same" },
        { "from": 6_401, "to": null, "draft": "cheaper" },
    ]);
    assert_eq!(renewed["ranges"], ranges);
    // Nothing is fixed, and everything costs twice as much: it is cheaper for few units only, which is no way to sell it.
    let few = "volume=0&tiers=2000&minimum=0&from=2026-11&to=2026-11";
    let few = desk.get(&format!("/api/v1/admin/what-if?projects=shop&{few}")).await;
    let ranges = json!([
        { "from": 0, "to": 2_449, "draft": "cheaper" },
        { "from": 2_450, "to": 2_450, "draft": "same" },
        { "from": 2_451, "to": null, "draft": "dearer" },
    ]);
    assert_eq!(few["break_even"]["ranges"], ranges);
    for (wrong, field) in [("base_fee=-1", "base_fee"), ("base_fee=1.5", "base_fee"), ("fee=1", "fee")] {
        let path =
            format!("/api/v1/admin/what-if?projects=acme&{}&{wrong}", DRAFT.replace("&base_fee=6000", ""));
        desk.meter.get(&path, &desk.operator).await.refuses(field, wrong);
    }
}

#[test]
fn the_command_says_it_in_sentences() {
    let folder = Folder::new();
    stdout(&folder, "project create shop --plan pro");
    let command = "contract what-if --project shop --from 2026-10 --to 2026-11 --volume 25000 --minimum 5000 --base-fee 6000";
    let told = run(&folder, &format!("{command} --tiers 500:400,300"));
    let (table, remarks) = (String::from_utf8_lossy(&told.stdout).into_owned(), stderr_of(&told.stderr));
    assert!(table.contains("AT PRESENT") && table.contains("2026-10") && table.contains("49.00"), "{table}");
    let compared = "it is dearer up to 11833 units a month, cheaper from 11834 on.";
    assert!(remarks.contains(compared), "{remarks}");
    assert!(remarks.contains("used up at 25000 units"), "{remarks}");
    let refused = stderr(&run(&folder, &format!("{command} --tier 5:x")));
    assert!(refused.contains("500000:100"), "{refused}");
}

fn stderr_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
