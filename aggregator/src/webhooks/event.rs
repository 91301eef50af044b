//! Events: what happened in a project, as receivers are told of it.
//!
//! An event's id follows from what happened, so that the same fact written again, also after the books were
//! restored from a backup, has the same id, and a receiver that keeps ids takes it once.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use shared::ids::{KeyId, Mode, ProjectId};
use shared::plan::Plan;
use shared::source::Source;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::health::DisabledBecause;
use crate::ledger::bill::Bill;
use crate::ledger::crossing::{Crossing, Levels};
use crate::ledger::entry::{Entry, EntryNumber, Fact, LotId, Usage};
use crate::ledger::explain::Verdict;
use crate::ledger::money::Money;
use crate::ledger::month::month;
use crate::ledger::refusal::Refusal;
use crate::projects::book::{Book, Crossed};

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident => $text:literal;)*) => {
        /// The types of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventType {
            $($(#[$doc])* $name,)*
        }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The type as it is written in bodies and filters.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

types! {
    /// A percentage of the quota was reached.
    ThresholdReached => "usage.threshold_reached";
    /// Nothing is left to spend in the period.
    QuotaExhausted => "quota.exhausted";
    /// Something else pays for units than before.
    SourceChanged => "usage.source_changed";
    /// A lot was bought or given.
    TopupCredited => "topup.credited";
    /// The payment of an automatic top-up failed.
    TopupFailed => "topup.failed";
    /// The plan or its quota changes.
    PlanChanged => "plan.changed";
    /// A period was closed and rated.
    PeriodClosed => "period.closed";
    /// A project key was revoked.
    KeyRevoked => "key.revoked";
    /// A reporter has not been heard for a day, two or three.
    ReporterSilent => "reporter.silent";
    /// An invoice can be paid.
    InvoiceReady => "invoice.ready";
    /// Another endpoint of the project was disabled.
    WebhookDisabled => "webhook.disabled";
    /// Somebody asked for a test; it goes to one endpoint, whatever that endpoint's filter says.
    WebhookTest => "webhook.test";
}

impl EventType {
    /// The type of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// Whether an endpoint's filter may name it.
    #[must_use]
    pub fn is_subscribable(self) -> bool {
        self != Self::WebhookTest
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened; the fields are the `data` of the body, beside the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A percentage of the quota was reached.
    ThresholdReached(ThresholdReached),
    /// Nothing is left to spend in the period.
    QuotaExhausted(QuotaExhausted),
    /// Something else pays for units than before.
    SourceChanged(SourceChanged),
    /// A lot was bought or given.
    TopupCredited(TopupCredited),
    /// The payment of an automatic top-up failed.
    TopupFailed(TopupFailed),
    /// The plan or its quota changes.
    PlanChanged(PlanChanged),
    /// A period was closed and rated.
    PeriodClosed(PeriodClosed),
    /// A project key was revoked.
    KeyRevoked(KeyRevoked),
    /// A reporter has not been heard for a day, two or three.
    ReporterSilent(ReporterSilent),
    /// An invoice can be paid.
    InvoiceReady(InvoiceReady),
    /// Another endpoint of the project was disabled.
    WebhookDisabled(WebhookDisabled),
    /// Somebody asked for a test.
    WebhookTest(WebhookTest),
}

/// A percentage of the quota was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ThresholdReached {
    /// The month.
    pub period: Period,
    /// Which percentage.
    pub threshold: u8,
    /// The quota that it is a percentage of.
    pub quota: Units,
    /// The units that reached it.
    pub used: Units,
    /// Rises when the quota does within the month; each version has its own crossings.
    pub quota_version: u32,
}

/// Nothing is left to spend in the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QuotaExhausted {
    /// The month.
    pub period: Period,
    /// The month's quota.
    pub quota: Units,
    /// The units that used everything up.
    pub used: Units,
    /// All that could be spent in the month: the quota and what lots and overage added.
    pub allowance: Units,
    /// When the quota begins anew.
    #[serde(serialize_with = "rfc_3339")]
    #[schemars(with = "String")]
    pub resets_at: Timestamp,
}

/// Something else pays for units than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SourceChanged {
    /// Counts these events of the project, from 1: their order.
    pub number: u64,
    /// The month whose units are paid for.
    pub period: Period,
    /// What paid before: the plan, a lot, or overage.
    pub before: Source,
    /// What pays now.
    pub after: Source,
    /// How many units of the month were counted when it changed.
    pub units: Units,
    /// The lot that pays, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot: Option<LotId>,
}

/// A lot was bought or given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TopupCredited {
    /// The lot.
    pub lot: LotId,
    /// How many units.
    pub units: Units,
    /// The paid order; absent for units that were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// What was paid; absent for units that were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<Money>,
    /// Why units were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The payment of an automatic top-up failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TopupFailed {
    /// The order.
    pub order: String,
    /// The units that were to be bought.
    pub units: Units,
    /// Why, in Stripe's word for it, such as `card_declined`.
    pub reason: String,
    /// How many payments failed one after the other.
    pub failures: u32,
    /// Whether nothing more is bought until they are set again or there is another payment method.
    pub stopped: bool,
}

/// The plan or its quota changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlanChanged {
    /// The entry of the ledger.
    pub entry: EntryNumber,
    /// The new plan.
    pub plan: Plan,
    /// Its units a month.
    pub included: Units,
    /// From when on.
    #[serde(serialize_with = "rfc_3339")]
    #[schemars(with = "String")]
    pub effective: Timestamp,
}

/// A period was closed and rated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PeriodClosed {
    /// The month.
    pub period: Period,
    /// What it counted.
    pub counted: Usage,
    /// What it costs beside the plan's price.
    pub bill: Bill,
}

/// A project key was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyRevoked {
    /// The key's id.
    pub key: KeyId,
    /// Live or test.
    pub mode: Mode,
}

/// A reporter has not been heard for a day, two or three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReporterSilent {
    /// Which.
    pub reporter: String,
    /// When it was last heard, or had to begin reporting.
    #[serde(serialize_with = "rfc_3339")]
    #[schemars(with = "String")]
    pub last_heard: Timestamp,
    /// For how many hours it has been silent: 24, 48 or 72.
    pub hours: u32,
    /// When the contracted minimum is billed, unless it is heard before.
    #[serde(serialize_with = "rfc_3339")]
    #[schemars(with = "String")]
    pub falls_at: Timestamp,
}

/// An invoice can be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InvoiceReady {
    /// The invoice's id where it is paid.
    pub invoice: String,
    /// The month that it is for.
    pub period: Period,
    /// What it comes to.
    pub total: Money,
    /// Where it is shown and paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Another endpoint of the project was disabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WebhookDisabled {
    /// Which.
    pub endpoint: String,
    /// Why.
    pub reason: DisabledBecause,
    /// Since when nothing arrived there.
    #[serde(serialize_with = "rfc_3339")]
    #[schemars(with = "String")]
    pub failing_since: Timestamp,
}

/// Somebody asked for a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WebhookTest {
    /// The endpoint that is tested.
    pub endpoint: String,
    /// What makes this test another than the last.
    pub nonce: String,
}

impl Event {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> EventType {
        match self {
            Self::ThresholdReached(_) => EventType::ThresholdReached,
            Self::QuotaExhausted(_) => EventType::QuotaExhausted,
            Self::SourceChanged(_) => EventType::SourceChanged,
            Self::TopupCredited(_) => EventType::TopupCredited,
            Self::TopupFailed(_) => EventType::TopupFailed,
            Self::PlanChanged(_) => EventType::PlanChanged,
            Self::PeriodClosed(_) => EventType::PeriodClosed,
            Self::KeyRevoked(_) => EventType::KeyRevoked,
            Self::ReporterSilent(_) => EventType::ReporterSilent,
            Self::InvoiceReady(_) => EventType::InvoiceReady,
            Self::WebhookDisabled(_) => EventType::WebhookDisabled,
            Self::WebhookTest(_) => EventType::WebhookTest,
        }
    }

    /// The crossing as an event.
    #[must_use]
    pub fn of_crossing(Crossed { crossing, quota, used }: Crossed) -> Self {
        let (period, threshold, quota_version) = (crossing.period, crossing.percent, crossing.quota_version);
        Self::ThresholdReached(ThresholdReached { period, threshold, quota, used, quota_version })
    }

    /// That nothing is left to spend in the present period, if that is so.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn of_exhaustion(book: &Book, now: Timestamp) -> Result<Option<Self>, Refusal> {
        let full = |crossing: &Crossing| crossing.period == now.period() && crossing.percent == Levels::FULL;
        // Before the quota is used up nothing is; that spares most flushes the question.
        if !book.fired.iter().any(full) {
            return Ok(None);
        }
        let (seen, stands) = (book.seen(now), book.standing(now)?);
        match stands.verdict {
            Verdict::QuotaExhausted(_) => {
                let allocated = month(&book.ledger, seen, stands.period)?.allocation;
                let of_lots =
                    allocated.lots.iter().fold(Units::ZERO, |sum, (_, units)| sum.saturating_add(*units));
                Ok(Some(Self::QuotaExhausted(QuotaExhausted {
                    period: stands.period,
                    quota: stands.quota,
                    used: stands.used,
                    allowance: stands.quota.saturating_add(of_lots).saturating_add(allocated.overage),
                    resets_at: stands.resets_at,
                })))
            }
            Verdict::Served(_) | Verdict::Suspended => Ok(None),
        }
    }

    /// What an entry of the ledger tells customers, if anything.
    #[must_use]
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        let lot = LotId(entry.number);
        match &entry.fact {
            Fact::LotBought { order, units, paid, .. } => Some(Self::TopupCredited(TopupCredited {
                lot,
                units: *units,
                order: Some(order.clone()),
                paid: Some(*paid),
                reason: None,
            })),
            Fact::CreditGiven { units, reason } => Some(Self::TopupCredited(TopupCredited {
                lot,
                units: *units,
                order: None,
                paid: None,
                reason: Some(reason.clone()),
            })),
            Fact::PlanChanged { terms, effective } => Some(Self::PlanChanged(PlanChanged {
                entry: entry.number,
                plan: terms.plan,
                included: terms.included,
                effective: *effective,
            })),
            Fact::PeriodClosed { period, counted, bill, .. } => Some(Self::PeriodClosed(PeriodClosed {
                period: *period,
                counted: *counted,
                bill: bill.clone(),
            })),
            Fact::Opened(_)
            | Fact::OverageChanged(_)
            | Fact::PastDue { .. }
            | Fact::Recovered
            | Fact::RecoveredAt { .. }
            | Fact::Suspended { .. }
            | Fact::Resumed
            | Fact::LotRefunded { .. }
            | Fact::LotDisputed { .. }
            | Fact::Shortfall { .. }
            | Fact::ShortfallCovered { .. }
            | Fact::Adjustment { .. }
            | Fact::ForfeitReleased { .. }
            | Fact::Corrected { .. } => None,
        }
    }

    /// What makes it this event and no other of its type in the project.
    fn identity(&self, at: Timestamp) -> String {
        match self {
            Self::ThresholdReached(ThresholdReached { period, threshold, quota_version, .. }) => {
                format!("{period} {quota_version} {threshold}")
            }
            // A lot that was bought meanwhile makes another end of another allowance.
            Self::QuotaExhausted(QuotaExhausted { period, allowance, .. }) => format!("{period} {allowance}"),
            // After a restored backup the same number may be of another change.
            Self::SourceChanged(SourceChanged { number, period, before, after, units, .. }) => {
                format!("{number} {period} {before} {after} {units}")
            }
            // After a restored backup the same number may be another entry.
            Self::TopupCredited(TopupCredited { lot, .. }) => format!("{lot} {at}"),
            Self::TopupFailed(TopupFailed { order, .. }) => order.clone(),
            Self::PlanChanged(PlanChanged { entry, .. }) => format!("{entry} {at}"),
            Self::PeriodClosed(PeriodClosed { period, .. }) => period.to_string(),
            Self::KeyRevoked(KeyRevoked { key, .. }) => key.to_string(),
            Self::ReporterSilent(ReporterSilent { reporter, last_heard, hours, .. }) => {
                format!("{reporter} {last_heard} {hours}")
            }
            Self::InvoiceReady(InvoiceReady { invoice, .. }) => invoice.clone(),
            Self::WebhookDisabled(WebhookDisabled { endpoint, .. }) => format!("{endpoint} {at}"),
            Self::WebhookTest(WebhookTest { endpoint, nonce }) => format!("{endpoint} {nonce}"),
        }
    }
}

/// An event as it is stored and sent: the same bytes at every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The `webhook-id`, the same at every attempt and for every endpoint.
    pub id: String,
    /// Its type.
    pub kind: EventType,
    /// When it happened.
    pub at: Timestamp,
    /// The body.
    pub body: String,
}

/// The body, in the order in which it is written.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "rfc_3339")]
    timestamp: Timestamp,
    data: Data<&'a Event>,
}

/// The `data` of a body.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Data<T> {
    project: ProjectId,
    #[serde(flatten)]
    event: T,
}

impl Message {
    /// The event of a project as a message.
    ///
    /// # Errors
    /// Never with the types above; JSON has no way to say so.
    pub fn new(project: &ProjectId, event: &Event, at: Timestamp) -> Result<Self, serde_json::Error> {
        /// 128 bits in hex.
        const ID_DIGITS: usize = 32;
        let kind = event.kind();
        let named = format!("{project}\n{kind}\n{}", event.identity(at));
        let digest = base16ct::lower::encode_string(&Sha256::digest(named));
        let digits = digest.get(..ID_DIGITS).unwrap_or(&digest);
        let body =
            Body { kind: kind.as_str(), timestamp: at, data: Data { project: project.clone(), event } };
        Ok(Self { id: format!("evt_{digits}"), kind, at, body: serde_json::to_string(&body)? })
    }
}

impl Message {
    /// The `data` of the body.
    #[must_use]
    pub fn data(&self) -> serde_json::Value {
        let mut body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body.get_mut("data").map(serde_json::Value::take).unwrap_or_default()
    }
}

fn rfc_3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[cfg(test)]
mod tests {
    use shared::time::Day;

    use super::*;
    use crate::ledger::money::Currency;

    fn noon() -> Timestamp {
        Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000)
    }

    fn demo() -> ProjectId {
        ProjectId::parse("demo").unwrap()
    }

    fn message(event: &Event) -> Message {
        Message::new(&demo(), event, noon()).unwrap()
    }

    #[test]
    fn types_are_distinct_and_read_back() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(*kind));
        }
    }

    #[test]
    fn bodies_are_these() {
        for (event, expected) in bodies_of_units().into_iter().chain(bodies_of_projects()) {
            assert_eq!(message(&event).body, expected);
        }
    }

    fn november() -> Period {
        Period::parse("2026-11").unwrap()
    }

    fn bodies_of_units() -> Vec<(Event, &'static str)> {
        let period = november();
        vec![
            (
                Event::of_crossing(Crossed {
                    crossing: Crossing { period, quota_version: 1, percent: 80 },
                    quota: Units::new(1_000),
                    used: Units::new(1_300),
                }),
                r#"{"type":"usage.threshold_reached","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","period":"2026-11","threshold":80,"quota":1000,"used":1300,"quota_version":1}}"#,
            ),
            (
                Event::QuotaExhausted(QuotaExhausted {
                    period,
                    quota: Units::new(10),
                    used: Units::new(12),
                    allowance: Units::new(12),
                    resets_at: period.end(),
                }),
                r#"{"type":"quota.exhausted","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","period":"2026-11","quota":10,"used":12,"allowance":12,"resets_at":"2026-12-01T00:00:00Z"}}"#,
            ),
            (
                Event::SourceChanged(SourceChanged {
                    number: 3,
                    period,
                    before: Source::Included,
                    after: Source::Lot,
                    units: Units::new(1_000),
                    lot: Some(LotId(EntryNumber(4))),
                }),
                r#"{"type":"usage.source_changed","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","number":3,"period":"2026-11","before":"included","after":"lot","units":1000,"lot":4}}"#,
            ),
            (
                Event::TopupCredited(TopupCredited {
                    lot: LotId(EntryNumber(4)),
                    units: Units::new(5_000),
                    order: None,
                    paid: None,
                    reason: Some("a gift".to_owned()),
                }),
                r#"{"type":"topup.credited","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","lot":4,"units":5000,"reason":"a gift"}}"#,
            ),
            (
                Event::TopupFailed(TopupFailed {
                    order: "ord_1".to_owned(),
                    units: Units::new(5_000),
                    reason: "card_declined".to_owned(),
                    failures: 3,
                    stopped: true,
                }),
                r#"{"type":"topup.failed","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","order":"ord_1","units":5000,"reason":"card_declined","failures":3,"stopped":true}}"#,
            ),
        ]
    }

    fn bodies_of_projects() -> Vec<(Event, &'static str)> {
        let period = november();
        let eur = |minor| Money::new(minor, Currency::parse("eur").unwrap());
        vec![
            (
                Event::PlanChanged(PlanChanged {
                    entry: EntryNumber(2),
                    plan: Plan::Pro,
                    included: Units::new(10_000),
                    effective: noon(),
                }),
                r#"{"type":"plan.changed","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","entry":2,"plan":"pro","included":10000,"effective":"2026-11-23T12:00:00Z"}}"#,
            ),
            (
                Event::PeriodClosed(PeriodClosed {
                    period,
                    counted: Usage::default(),
                    bill: Bill::default(),
                }),
                r#"{"type":"period.closed","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","period":"2026-11","counted":{"units":0,"anchors":0},"bill":[]}}"#,
            ),
            (
                Event::KeyRevoked(KeyRevoked { key: KeyId::parse("abcd").unwrap(), mode: Mode::Live }),
                r#"{"type":"key.revoked","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","key":"abcd","mode":"live"}}"#,
            ),
            (
                Event::ReporterSilent(ReporterSilent {
                    reporter: "berlin".to_owned(),
                    last_heard: period.start(),
                    hours: 24,
                    falls_at: period.start().plus_ms(259_200_001),
                }),
                r#"{"type":"reporter.silent","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","reporter":"berlin","last_heard":"2026-11-01T00:00:00Z","hours":24,"falls_at":"2026-11-04T00:00:00.001Z"}}"#,
            ),
            (
                Event::InvoiceReady(InvoiceReady {
                    invoice: "in_1".to_owned(),
                    period,
                    total: eur(1_200),
                    url: None,
                }),
                r#"{"type":"invoice.ready","timestamp":"2026-11-23T12:00:00Z","data":{"project":"demo","invoice":"in_1","period":"2026-11","total":{"minor":"1200","currency":"eur"}}}"#,
            ),
        ]
    }

    #[test]
    fn an_id_follows_from_what_happened() {
        let crossing = |percent, used| {
            let crossing = Crossing { period: Period::parse("2026-11").unwrap(), quota_version: 1, percent };
            Event::of_crossing(Crossed { crossing, quota: Units::new(1_000), used: Units::new(used) })
        };
        let first = message(&crossing(80, 800));
        let later = Message::new(&demo(), &crossing(80, 900), noon().plus_ms(5)).unwrap();
        assert_eq!(first.id, later.id, "the same crossing, seen later");
        assert_ne!(first.id, message(&crossing(100, 800)).id);
        let other = ProjectId::parse("other").unwrap();
        assert_ne!(first.id, Message::new(&other, &crossing(80, 800), noon()).unwrap().id);
        assert!(first.id.len() == 36 && first.id.starts_with("evt_"), "{}", first.id);
    }
}
