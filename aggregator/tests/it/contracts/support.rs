//! What these tests have in common: a customer with a contract, and its reporters.

use serde_json::{Value, json};
use shared::plan::Plan;

use crate::support::{Answer, Meter};

pub(super) const CONTRACTS: &str = "/api/v1/admin/contracts";
pub(super) const REPORTERS: &str = "/api/v1/admin/reporters";

/// A meter with the project `acme` and an operator.
pub(super) struct Desk {
    pub(super) meter: Meter,
    pub(super) operator: String,
}

/// The body of a contract over `acme` from 1 November on.
pub(super) fn terms(id: &str) -> Value {
    json!({
        "id": id, "customer": "Acme GmbH", "projects": ["acme"], "volume": 1_000,
        "tiers": [{ "up_to": 500, "per_1000": 2_000 }, { "up_to": null, "per_1000": 1_000 }],
        "minimum": 1_200, "first_day": "2026-11-01", "sla": "99.9 percent a month",
    })
}

impl Desk {
    pub(super) async fn new() -> Self {
        Self::at(Meter::start().await).await
    }

    pub(super) async fn at(meter: Meter) -> Self {
        meter.project("acme", Plan::Community).await;
        let operator = meter.operator().await;
        Self { meter, operator }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.meter.json("POST", path, &self.operator, &body.to_string()).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.meter.get(path, &self.operator).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.value()
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.meter.json("DELETE", path, &self.operator, "").await
    }

    /// Makes what the body says; it must be accepted.
    pub(super) async fn make(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.value()
    }

    /// A reporter of that id under the contract, and the text of a key of it.
    pub(super) async fn reporter(&self, contract: &str, id: &str) -> String {
        self.make(&format!("{CONTRACTS}/{contract}/reporters"), &json!({ "id": id, "rpm": 6_000 })).await;
        self.key(id).await
    }

    pub(super) async fn key(&self, reporter: &str) -> String {
        let made = self.make(&format!("{REPORTERS}/{reporter}/keys"), &json!({})).await;
        made["key"].as_str().unwrap().to_owned()
    }
}
