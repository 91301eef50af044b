//! Everything that the fake Stripe knows: its objects, its clock, what is due, and what is to be delivered.
//!
//! It is one JSON document, so that it can be kept in a file between runs. Nothing here waits or sends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::delivery::Queue;
use super::faults::Faults;
use super::idempotency::Kept;
use super::refused::Refused;

/// The version of the API whose shapes are answered.
pub(super) const API_VERSION: &str = "2026-09-30.endive";

/// Requests that the log keeps.
const LOG_MAX: usize = 10_000;

/// Something that happens by itself when its time has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Due {
    /// A Checkout session is no longer payable.
    ExpireSession(String),
    /// A direct debit arrives or comes back.
    SettleDebit { intent: String, arrives: bool },
    /// A subscription's paid time ends.
    EndOfPaidTime(String),
    /// An unpaid invoice is tried again.
    RetryInvoice { invoice: String, attempt: usize },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Planned {
    at_ms: u64,
    due: Due,
}

/// The whole state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct World {
    /// In every id, so that ids of different lives never meet.
    life: String,
    made: u64,
    /// The instant up to which everything due has happened, in milliseconds since the epoch.
    pub(super) now_ms: u64,
    /// How far the clock is ahead of the machine's.
    pub(super) offset_ms: u64,
    objects: BTreeMap<String, Value>,
    by_kind: BTreeMap<String, Vec<String>>,
    agenda: Vec<Planned>,
    pub(super) queue: Queue,
    pub(super) kept: BTreeMap<String, Kept>,
    /// Where the hosted pages are.
    #[serde(skip)]
    pub(super) public_url: String,
    #[serde(skip)]
    pub(super) faults: Faults,
    #[serde(skip)]
    log: Vec<Value>,
}

impl World {
    pub(super) fn new(life: &str, now_ms: u64) -> Self {
        Self {
            life: life.to_owned(),
            made: 0,
            now_ms,
            offset_ms: 0,
            objects: BTreeMap::new(),
            by_kind: BTreeMap::new(),
            agenda: Vec::new(),
            queue: Queue::default(),
            kept: BTreeMap::new(),
            public_url: String::new(),
            faults: Faults::default(),
            log: Vec::new(),
        }
    }

    /// Seconds since the epoch, as Stripe writes instants.
    pub(super) fn seconds(&self) -> u64 {
        self.now_ms.div_euclid(1_000)
    }

    /// A new id, such as `cus_…`.
    pub(super) fn new_id(&mut self, prefix: &str) -> String {
        self.made = self.made.saturating_add(1);
        format!("{prefix}_{}{:06}", self.life, self.made)
    }

    /// Keeps a new object of that kind; it gets an id where it has none, and when it was created.
    pub(super) fn add(&mut self, kind: &str, prefix: &str, mut object: Value) -> Value {
        if !object["id"].is_string() {
            object["id"] = json!(self.new_id(prefix));
        }
        object["object"] = json!(kind);
        object["created"] = json!(self.seconds());
        object["livemode"] = json!(false);
        let id = word(&object, "id");
        self.by_kind.entry(kind.to_owned()).or_default().push(id.clone());
        self.objects.insert(id, object.clone());
        object
    }

    /// The object of that kind and id.
    pub(super) fn get(&self, kind: &str, id: &str) -> Result<Value, Refused> {
        self.any(id).filter(|object| object["object"] == kind).ok_or_else(|| Refused::no_such(kind, id))
    }

    /// The object of that id, whatever it is.
    pub(super) fn any(&self, id: &str) -> Option<Value> {
        self.objects.get(id).cloned()
    }

    /// Puts a changed object back.
    pub(super) fn put(&mut self, object: &Value) {
        self.objects.insert(word(object, "id"), object.clone());
    }

    /// Forgets an object.
    pub(super) fn forget(&mut self, kind: &str, id: &str) {
        self.objects.remove(id);
        if let Some(ids) = self.by_kind.get_mut(kind) {
            ids.retain(|other| other != id);
        }
    }

    /// The objects of a kind, the newest first.
    pub(super) fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let ids = self.by_kind.get(kind).map(Vec::as_slice).unwrap_or_default();
        ids.iter().rev().filter_map(|id| self.objects.get(id))
    }

    /// Plans something.
    pub(super) fn plan(&mut self, at_ms: u64, due: Due) {
        self.agenda.push(Planned { at_ms, due });
    }

    /// Forgets what was planned and is no longer to happen.
    pub(super) fn unplan(&mut self, unwanted: impl Fn(&Due) -> bool) {
        self.agenda.retain(|planned| !unwanted(&planned.due));
    }

    /// Takes the first thing that is due until then, and moves the clock to its time.
    pub(super) fn take_due(&mut self, until_ms: u64) -> Option<Due> {
        let (place, at_ms) = self
            .agenda
            .iter()
            .enumerate()
            .filter(|(_, planned)| planned.at_ms <= until_ms)
            .min_by_key(|(place, planned)| (planned.at_ms, *place))
            .map(|(place, planned)| (place, planned.at_ms))?;
        self.now_ms = self.now_ms.max(at_ms);
        Some(self.agenda.remove(place).due)
    }

    /// Tells the world's endpoints that something happened to an object.
    pub(super) fn emit(&mut self, kind: &str, object: &Value) {
        self.emit_changed(kind, object, None);
    }

    /// As [`Self::emit`], with what the changed fields were before.
    pub(super) fn emit_changed(&mut self, kind: &str, object: &Value, before: Option<Value>) {
        let mut data = json!({ "object": object });
        if let Some(before) = before {
            data["previous_attributes"] = before;
        }
        let event = self.add(
            "event",
            "evt",
            json!({
                "type": kind, "api_version": API_VERSION, "data": data, "pending_webhooks": 1,
                "request": {"id": null, "idempotency_key": null}, "delivered": false,
            }),
        );
        self.queue.push(&word(&event, "id"), self.now_ms);
    }

    /// Notes a request.
    pub(super) fn note(&mut self, request: Value) {
        if self.log.len() < LOG_MAX {
            self.log.push(request);
        }
    }

    /// The requests so far, the oldest first.
    pub(super) fn log(&self) -> &[Value] {
        &self.log
    }
}

/// The text of a field; empty where there is none.
pub(super) fn word(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

/// The number of a field; zero where there is none.
pub(super) fn amount(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap_or_default()
}
