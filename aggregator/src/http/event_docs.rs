//! What the meter tells by itself: the events of webhooks and of the live stream, with what they carry.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::webhooks::event::{
    Data, EventType, InvoiceReady, KeyRevoked, PeriodClosed, PlanChanged, QuotaExhausted, ReporterSilent,
    SourceChanged, ThresholdReached, TopupCredited, TopupFailed, WebhookDisabled, WebhookTest,
};

/// One type of event.
#[derive(Clone, Copy)]
pub struct EventDoc {
    /// The type, such as `usage.threshold_reached`.
    pub name: &'static str,
    /// When it is told, in a sentence.
    pub says: &'static str,
    data: fn(&mut SchemaGenerator) -> Schema,
}

impl std::fmt::Debug for EventDoc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl EventDoc {
    const fn new<T: JsonSchema>(name: &'static str, says: &'static str) -> Self {
        Self { name, says, data: |schemas| schemas.subschema_for::<T>() }
    }

    /// What `data` is.
    pub(super) fn schema(&self, schemas: &mut SchemaGenerator) -> Schema {
        (self.data)(schemas)
    }
}

/// Every event that a webhook may be sent.
pub static EVENT_DOCS: &[EventDoc] = &[
    EventDoc::new::<Data<ThresholdReached>>(
        EventType::ThresholdReached.as_str(),
        "Usage reached 80 or 100 percent of the month's quota",
    ),
    EventDoc::new::<Data<QuotaExhausted>>(
        EventType::QuotaExhausted.as_str(),
        "Quota, lots and overage are used up: requests are denied",
    ),
    EventDoc::new::<Data<SourceChanged>>(
        EventType::SourceChanged.as_str(),
        "Something else pays for units than before: included, then lots, then overage; or back, in a new month or when a lot is bought",
    ),
    EventDoc::new::<Data<TopupCredited>>(EventType::TopupCredited.as_str(), "Units were bought or given"),
    EventDoc::new::<Data<TopupFailed>>(
        EventType::TopupFailed.as_str(),
        "The payment of an automatic top-up failed; after the third in a row nothing more is bought",
    ),
    EventDoc::new::<Data<PlanChanged>>(EventType::PlanChanged.as_str(), "The plan or its quota changes"),
    EventDoc::new::<Data<PeriodClosed>>(EventType::PeriodClosed.as_str(), "A month was closed and rated"),
    EventDoc::new::<Data<KeyRevoked>>(EventType::KeyRevoked.as_str(), "A project key was revoked"),
    EventDoc::new::<Data<ReporterSilent>>(
        EventType::ReporterSilent.as_str(),
        "A reporter has not been heard for 24, 48 or 72 hours; after 72 the contracted minimum is billed",
    ),
    EventDoc::new::<Data<InvoiceReady>>(EventType::InvoiceReady.as_str(), "An invoice can be paid"),
    EventDoc::new::<Data<WebhookDisabled>>(
        EventType::WebhookDisabled.as_str(),
        "Another webhook of the project was disabled, because it was gone or failed for days",
    ),
    EventDoc::new::<Data<WebhookTest>>(
        EventType::WebhookTest.as_str(),
        "Somebody asked for a test; it goes to the webhook that is tested only",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_described() {
        let told: Vec<&str> = EVENT_DOCS.iter().map(|told| told.name).collect();
        let events: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(told, events);
    }
}
