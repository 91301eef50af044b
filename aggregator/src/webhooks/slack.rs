//! Events as one sentence for a Slack channel: Slack takes a text, not our bodies.

use serde_json::{Value, json};

use super::event::{EventType, Message};

/// The body that Slack's incoming webhooks take.
#[must_use]
pub fn body(message: &Message) -> String {
    json!({ "text": escaped(&sentence(message.kind, &message.data())) }).to_string()
}

fn sentence(kind: EventType, data: &Value) -> String {
    let say = |field: &str| match data.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let project = say("project");
    match kind {
        EventType::ThresholdReached => format!(
            "{project}: {} % of {}'s quota is reached ({} of {} requests).",
            say("threshold"),
            say("period"),
            say("used"),
            say("quota")
        ),
        EventType::QuotaExhausted => format!(
            "{project}: nothing is left of {} ({} requests used). Requests are denied until {}.",
            say("period"),
            say("used"),
            say("resets_at")
        ),
        EventType::SourceChanged => format!(
            "{project}: since {} requests of {} they are paid by {}, before by {}.",
            say("units"),
            say("period"),
            say("after"),
            say("before")
        ),
        EventType::TopupCredited => format!("{project}: {} requests were added.", say("units")),
        EventType::TopupFailed => format!(
            "{project}: {} requests could not be bought by themselves ({}).",
            say("units"),
            say("reason")
        ),
        EventType::PlanChanged => format!(
            "{project}: the plan is {} with {} requests a month from {} on.",
            say("plan"),
            say("included"),
            say("effective")
        ),
        EventType::PeriodClosed => {
            let units = data.pointer("/counted/units").map_or_else(|| "?".to_owned(), Value::to_string);
            format!("{project}: {} is closed with {units} requests.", say("period"))
        }
        EventType::KeyRevoked => format!("{project}: the {} key {} was revoked.", say("mode"), say("key")),
        EventType::ReporterSilent => {
            format!("{project}: the reporter {} was last heard {}.", say("reporter"), say("last_heard"))
        }
        EventType::InvoiceReady => {
            format!("{project}: the invoice {} of {} is ready.", say("invoice"), say("period"))
        }
        EventType::WebhookDisabled => {
            format!("{project}: the webhook endpoint {} was disabled ({}).", say("endpoint"), say("reason"))
        }
        EventType::WebhookTest => format!("{project}: this is a test of {}.", say("endpoint")),
    }
}

/// Slack reads these three characters as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use shared::ids::ProjectId;
    use shared::time::Timestamp;
    use shared::units::Units;

    use super::*;
    use crate::ledger::entry::{EntryNumber, LotId};
    use crate::webhooks::event::{Event, ReporterSilent, TopupCredited};

    #[test]
    fn an_event_is_a_sentence_with_slacks_characters_escaped() {
        let at = Timestamp::from_ms(1_795_435_200_000);
        let project = ProjectId::parse("demo").unwrap();
        let say = |event: &Event| body(&Message::new(&project, event, at).unwrap());
        let topup = Event::TopupCredited(TopupCredited {
            lot: LotId(EntryNumber(4)),
            units: Units::new(5),
            order: None,
            paid: None,
            reason: None,
        });
        assert_eq!(say(&topup), r#"{"text":"demo: 5 requests were added."}"#);
        let silent = Event::ReporterSilent(ReporterSilent {
            reporter: "<!channel> & co".to_owned(),
            last_heard: at,
            hours: 24,
            falls_at: at,
        });
        assert_eq!(
            say(&silent),
            r#"{"text":"demo: the reporter &lt;!channel&gt; &amp; co was last heard 2026-11-23T12:00:00Z."}"#
        );
    }
}
