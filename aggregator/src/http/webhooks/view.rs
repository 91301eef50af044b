//! Endpoints and deliveries as their owners see them. Never a secret, and of a Slack URL, which is one, only where
//! it leads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Clock;
use crate::store::{Attempted, Delivery};
use crate::webhooks::endpoint::{Endpoint, Format};
use crate::webhooks::health::{DisabledBecause, Health};
use crate::webhooks::schedule::State;
use crate::webhooks::sign::{ID_HEADER, TIMESTAMP_HEADER};
use crate::webhooks::slack;

/// An endpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WebhookView {
    id: String,
    project: String,
    url: String,
    events: Vec<&'static str>,
    format: &'static str,
    description: String,
    status: &'static str,
    failing_since: Option<String>,
    disabled_at: Option<String>,
    disabled_reason: Option<DisabledBecause>,
    created_at: String,
}

impl From<Endpoint> for WebhookView {
    fn from(endpoint: Endpoint) -> Self {
        let (status, failing, disabled) = match endpoint.health {
            Health::Well => ("active", None, None),
            Health::Failing { since } => ("failing", Some(since), None),
            Health::Disabled { at, because } => ("disabled", None, Some((at, because))),
        };
        Self {
            url: endpoint.shown_url(),
            id: endpoint.id,
            project: endpoint.project.into(),
            events: endpoint.events.names(),
            format: endpoint.format.as_str(),
            description: endpoint.description,
            status,
            failing_since: failing.map(|at| at.to_string()),
            disabled_at: disabled.map(|(at, _)| at.to_string()),
            disabled_reason: disabled.map(|(_, because)| because),
            created_at: endpoint.created.to_string(),
        }
    }
}

/// A delivery.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeliveryView {
    id: String,
    event: String,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    state: &'static str,
    attempts: u32,
    next_attempt_at: Option<String>,
    last_attempt: Option<AttemptView>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AttemptView {
    number: u32,
    at: String,
    duration_ms: u64,
    outcome: String,
    status: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    response: String,
}

impl From<Attempted> for AttemptView {
    fn from(attempted: Attempted) -> Self {
        let Attempted { number, at, duration_ms, url: _, outcome, status, detail, response } = attempted;
        Self { number, at: at.to_string(), duration_ms, outcome, status, detail, response }
    }
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let next = match delivery.state {
            State::Waiting(waiting) => Some(waiting.due.to_string()),
            State::Delivered { .. } | State::GaveUp { .. } => None,
        };
        Self {
            id: delivery.id,
            event: delivery.message.id,
            kind: delivery.message.kind.as_str(),
            timestamp: delivery.message.at.to_string(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            next_attempt_at: next,
            last_attempt: delivery.last.map(AttemptView::from),
        }
    }
}

/// A delivery with what was sent, and every attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeliveryDetail {
    #[serde(flatten)]
    view: DeliveryView,
    request: RequestView,
    log: Vec<AttemptView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct RequestView {
    method: &'static str,
    url: String,
    headers: BTreeMap<&'static str, String>,
    #[schemars(with = "shared::openapi::AnyObject")]
    body: Box<RawValue>,
}

impl DeliveryDetail {
    /// What was sent to `endpoint`; the signature is left out, and its time where the clock was moved: attempts are
    /// kept by the moved clock, and signatures go by the machine's.
    pub(crate) fn new(
        endpoint: &Endpoint,
        (delivery, attempts): (Delivery, Vec<Attempted>),
        clock: &Clock,
    ) -> Result<Self, serde_json::Error> {
        let url = match (attempts.last(), endpoint.format) {
            (Some(attempt), Format::Standard) => attempt.url.clone(),
            (None, _) | (Some(_), Format::Slack) => endpoint.shown_url(),
        };
        let body = match endpoint.format {
            Format::Standard => delivery.message.body.clone(),
            Format::Slack => slack::body(&delivery.message),
        };
        let sent = attempts.last().filter(|_| clock.offset_ms() == 0);
        let sent_at = sent.map(|attempt| attempt.at.as_seconds().to_string());
        let mut headers = BTreeMap::from([
            ("content-type", "application/json".to_owned()),
            (ID_HEADER, delivery.message.id.clone()),
        ]);
        headers.extend(sent_at.map(|at| (TIMESTAMP_HEADER, at)));
        Ok(Self {
            request: RequestView { method: "POST", url, headers, body: RawValue::from_string(body)? },
            view: delivery.into(),
            log: attempts.into_iter().map(AttemptView::from).collect(),
        })
    }
}
