//! What pays for units is told when it changes: once, in order, and from where to where.

use serde_json::{Value, json};
use shared::plan::Plan;
use shared::time::Day;

use super::receiver::Receiver;
use super::{deliver, got, subscribe};
use crate::support::{Meter, noon, project_id};

const CHANGED: &str = "usage.source_changed";
const QUOTA: u64 = 10_000;

struct World {
    meter: Meter,
    receiver: Receiver,
    operator: String,
}

impl World {
    async fn new() -> Self {
        let meter = Meter::start().await;
        meter.project("demo", Plan::Pro).await;
        deliver(&meter);
        let operator = meter.operator().await;
        let own = json!({ "included": QUOTA }).to_string();
        assert_eq!(meter.json("PATCH", "/api/v1/admin/projects/demo", &operator, &own).await.status, 200);
        let receiver = Receiver::start().await;
        subscribe(&meter, "demo", &receiver, json!({ "events": [CHANGED] })).await;
        Self { meter, receiver, operator }
    }

    async fn overage(&self) {
        let path = "/api/v1/billing/plan?project=demo";
        let answer = self.meter.json("PUT", path, &self.operator, r#"{"auto_overage":true}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn give(&self, units: u64) -> u64 {
        let body = json!({ "units": units, "reason": "a gift" }).to_string();
        let path = "/api/v1/admin/projects/demo/credits";
        let answer = self.meter.json("POST", path, &self.operator, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.value()["lot"].as_u64().unwrap()
    }

    async fn count(&self, seq: u64, day: &str, units: u64) {
        let body = json!({"project": "demo", "mode": "live", "source": "home", "incarnation": "aaaaaaaa", "seq": seq,
            "cells": [{"day": day, "kind": "verify", "agent": "a", "units": units}]});
        let answer = self.meter.flush(&body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// All that was told so far, which is so much.
    async fn told(&self, count: usize) -> Vec<Value> {
        let all = got(&self.receiver, count).await;
        assert_eq!(all.len(), count, "{all:?}");
        all.iter().map(|got| got.value()["data"].clone()).collect()
    }
}

fn turn(number: u64, period: &str, (before, after): (&str, &str), units: u64) -> Value {
    json!({"project": "demo", "number": number, "period": period, "before": before, "after": after, "units": units})
}

fn by_lot(mut told: Value, lot: u64) -> Value {
    told["lot"] = lot.into();
    told
}

#[tokio::test]
async fn each_payer_is_told_once_and_in_order_through_lots_overage_and_a_new_month() {
    let world = World::new().await;
    world.overage().await;
    let first = world.give(500).await;
    world.count(1, "2026-11-23", QUOTA).await;
    // A jump over all of the lot, and the same once more.
    for _ in 0..2 {
        world.count(2, "2026-11-23", QUOTA + 700).await;
    }
    let mut expected = vec![
        by_lot(turn(1, "2026-11", ("included", "lot"), QUOTA), first),
        turn(2, "2026-11", ("lot", "overage"), QUOTA + 500),
    ];
    assert_eq!(world.told(2).await, expected);
    // A lot pays for what was overage, until it is used up as well.
    let second = world.give(300).await;
    expected.push(by_lot(turn(3, "2026-11", ("overage", "lot"), QUOTA + 700), second));
    assert_eq!(world.told(3).await, expected);
    world.count(3, "2026-11-23", QUOTA + 801).await;
    expected.push(turn(4, "2026-11", ("lot", "overage"), QUOTA + 800));
    assert_eq!(world.told(4).await, expected);
    // The next month is paid for by the plan again; what comes late of the last one changes nothing more.
    world.meter.app.clock.set(Day::parse("2026-12-01").unwrap().start().plus_ms(1_000));
    world.count(4, "2026-12-01", 1).await;
    world.count(5, "2026-11-23", QUOTA + 900).await;
    world.count(6, "2026-12-01", 5).await;
    expected.push(turn(5, "2026-12", ("overage", "included"), 0));
    assert_eq!(world.told(5).await, expected);
    // Whoever watches is told the same.
    let shown = world.meter.app.store.shown(&project_id("demo"), 0, 1_000).await.unwrap();
    let shown = shown.iter().filter(|shown| shown.kind == CHANGED);
    let shown: Vec<Value> = shown.map(|shown| serde_json::from_str(&shown.data).unwrap()).collect();
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn where_nothing_else_may_pay_nothing_is_told() {
    let world = World::new().await;
    world.count(1, "2026-11-23", QUOTA + 10).await;
    assert_eq!(world.meter.app.clock.now(), noon());
    // A lot that comes later pays for what was served beyond the plan.
    let lot = world.give(100).await;
    let expected = [by_lot(turn(1, "2026-11", ("included", "lot"), QUOTA), lot)];
    assert_eq!(world.told(1).await, expected);
}
