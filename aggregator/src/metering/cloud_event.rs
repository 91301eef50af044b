//! CloudEvents as units that happened elsewhere: read from JSON, refused by the attribute that is not accepted.
//!
//! Pure. It must never decide by the order of events, and never count less or more than an event says.

use serde_json::{Map, Value};
use shared::cell::CellKey;
use shared::ids::AgentId;
use shared::kind::Kind;
use shared::time::{Period, Timestamp};
use shared::units::Units;
use unicode_normalization::UnicodeNormalization as _;

/// The longest `source` and `id`: room for any URL and any UUID.
pub const NAME_CHARS_MAX: usize = 256;

/// The most units of one event. Whoever has more sends several.
pub const EVENT_UNITS_MAX: u64 = 1_000_000;

/// The most agents that one day has, as at the edge; others are folded into one, with the exact total.
pub const AGENTS_MAX: usize = 1_000;

/// How far back an event may have happened; its month must be open besides.
pub const PAST_MS: u64 = 60 * 24 * 60 * 60 * 1_000;

/// How far ahead of ours a sender's clock may be, as for signatures.
pub const AHEAD_MS: u64 = 300 * 1_000;

/// How long an event's `source` and `id` are remembered: longer than one that says its `time` is accepted.
pub const REMEMBERED_MS: u64 = 90 * 24 * 60 * 60 * 1_000;

const NAME: &str = "a text of 1 to 256 characters";
const TYPE: &str = "verify, mcp_tool_call or extension_event, or a name that ends so after a dot";
const SUBJECT: &str = "an agent, 1 to 128 characters, the first not ~";
const TIME: &str = "an instant of RFC 3339 such as 2026-05-01T12:00:00Z";
const UNITS: &str = "1 to 1000000 units as `value` or `units`, or no data, which is one unit";

/// Which attribute of an event is refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The attribute.
    pub attribute: &'static str,
    /// What it was.
    pub got: String,
    /// What it may be.
    pub accepts: &'static str,
}

/// What is read of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who sent it; an `id` is unique within it.
    pub source: String,
    /// Names it.
    pub id: String,
    /// When it happened; `None` is when it arrives.
    pub time: Option<Timestamp>,
    /// What was served.
    pub kind: Kind,
    /// For which agent.
    pub agent: AgentId,
    /// How many units that was.
    pub units: Units,
}

impl Event {
    /// Reads an event in the JSON format of CloudEvents 1.0. Attributes that we do not know are extensions.
    ///
    /// # Errors
    /// Names the attribute that is not accepted.
    pub fn read(event: &Map<String, Value>) -> Result<Self, Refused> {
        let version = text(event, "specversion", "1.0")?.unwrap_or_default();
        if version != "1.0" {
            return Err(refused("specversion", version, "1.0"));
        }
        let name = |attribute| {
            let name = text(event, attribute, NAME)?.unwrap_or_default();
            let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
            if fits { Ok(name.to_owned()) } else { Err(refused(attribute, name, NAME)) }
        };
        let (id, source) = (name("id")?, name("source")?);
        let what = text(event, "type", TYPE)?.unwrap_or_default();
        let kind =
            what.rsplit('.').next().and_then(Kind::parse).ok_or_else(|| refused("type", what, TYPE))?;
        let agent = match text(event, "subject", SUBJECT)? {
            None => AgentId::none(),
            // A letter and its accent are one sign or two, and the same agent.
            Some(subject) => AgentId::from_client(&subject.nfc().collect::<String>())
                .map_err(|_| refused("subject", subject, SUBJECT))?,
        };
        let time = text(event, "time", TIME)?;
        let time = time
            .map(|text| {
                Timestamp::parse(text)
                    .filter(|_| text.contains(['T', 't']))
                    .ok_or_else(|| refused("time", text, TIME))
            })
            .transpose()?;
        Ok(Self { source, id, time, kind, agent, units: units(event)? })
    }

    /// The cell that it counts in, when it arrives at `now` and no month before `first_open` is open.
    ///
    /// # Errors
    /// When it happened in a month that is closed, too long ago, or is yet to happen.
    pub fn cell(&self, now: Timestamp, first_open: Period) -> Result<CellKey, Refused> {
        let at = self.time.unwrap_or(now);
        let is_old = at.period() < first_open || now.ms_since(at) > PAST_MS;
        if is_old || at.ms_since(now) > AHEAD_MS {
            let accepts = "an instant of a month that is open, at most 60 days ago and 5 minutes ahead";
            return Err(refused("time", &at.to_string(), accepts));
        }
        Ok(CellKey { day: at.day(), kind: self.kind, agent: self.agent.clone() })
    }
}

/// A text attribute, where it is there; null is as good as absent.
fn text<'a>(
    event: &'a Map<String, Value>,
    attribute: &'static str,
    accepts: &'static str,
) -> Result<Option<&'a str>, Refused> {
    match event.get(attribute) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(refused(attribute, &other.to_string(), accepts)),
    }
}

/// How many units an event's data say: a number, or a text of digits, as meters of others have them.
fn units(event: &Map<String, Value>) -> Result<Units, Refused> {
    if let Some(encoded) = event.get("data_base64") {
        return Err(refused("data_base64", &encoded.to_string(), "`data` in JSON"));
    }
    let data = match event.get("data") {
        None | Some(Value::Null) => return Ok(Units::new(1)),
        Some(Value::Object(data)) => data,
        Some(other) => return Err(refused("data", &other.to_string(), UNITS)),
    };
    let (value, more) = (data.get("value"), data.get("units"));
    let said = match (value, more) {
        (None, None) => return Ok(Units::new(1)),
        (Some(said), None) | (None, Some(said)) => said,
        (Some(_), Some(_)) => return Err(refused("data", "both `value` and `units`", UNITS)),
    };
    let number = match said {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => shared::whole::whole(digits),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let accepted = number.filter(|units| (1..=EVENT_UNITS_MAX).contains(units));
    accepted.map(Units::new).ok_or_else(|| refused("data", &said.to_string(), UNITS))
}

fn refused(attribute: &'static str, got: &str, accepts: &'static str) -> Refused {
    Refused { attribute, got: got.to_owned(), accepts }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::time::Day;

    use super::*;

    fn read(change: &Value) -> Result<Event, Refused> {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/app", "type": "verify"});
        for (name, value) in change.as_object().unwrap() {
            event[name] = value.clone();
        }
        Event::read(event.as_object().unwrap())
    }

    #[test]
    fn an_event_says_what_was_served_for_whom_and_how_much() {
        for (change, expected) in [
            (json!({}), "verify ~none 1 -"),
            (json!({"type": "com.example.mcp_tool_call"}), "mcp_tool_call ~none 1 -"),
            (json!({"subject": "support-bot", "data": {"value": 7}}), "verify support-bot 7 -"),
            (json!({"data": {"value": "12", "model": "x"}, "traceparent": "00-1"}), "verify ~none 12 -"),
            (json!({"data": {"units": 1_000_000}}), "verify ~none 1000000 -"),
            (json!({"data": {"model": "x"}, "subject": null}), "verify ~none 1 -"),
            (json!({"subject": "u\u{308}"}), "verify %C3%BC 1 -"),
            (json!({"time": "2026-05-01T00:30:00+02:00"}), "verify ~none 1 2026-04-30T22:30:00Z"),
        ] {
            let event = read(&change).unwrap();
            let time = event.time.map_or_else(|| "-".to_owned(), |time| time.to_string());
            assert_eq!(
                format!("{} {} {} {time}", event.kind, event.agent, event.units),
                expected,
                "{change}"
            );
        }
    }

    #[test]
    fn what_is_not_accepted_is_named() {
        for (change, attribute) in [
            (json!({"specversion": "0.3"}), "specversion"),
            (json!({"specversion": 1}), "specversion"),
            (json!({"id": ""}), "id"),
            (json!({"id": 7}), "id"),
            (json!({"source": "s".repeat(257)}), "source"),
            (json!({"type": "prompt"}), "type"),
            (json!({"type": "verify.prompt"}), "type"),
            (json!({"subject": "~other"}), "subject"),
            (json!({"subject": ""}), "subject"),
            (json!({"time": "yesterday"}), "time"),
            (json!({"time": "2026-05-01"}), "time"),
            (json!({"data": {"value": 0}}), "data"),
            (json!({"data": {"value": 1_000_001}}), "data"),
            (json!({"data": {"value": 1.5}}), "data"),
            (json!({"data": {"value": -1}}), "data"),
            (json!({"data": {"value": "1e3"}}), "data"),
            (json!({"data": {"value": 1, "units": 1}}), "data"),
            (json!({"data": "7"}), "data"),
            (json!({"data_base64": "eyJ2YWx1ZSI6MX0="}), "data_base64"),
        ] {
            assert_eq!(read(&change).unwrap_err().attribute, attribute, "{change}");
        }
    }

    #[test]
    fn the_month_must_be_open_and_the_instant_neither_old_nor_ahead() {
        let now = Timestamp::parse("2026-12-02T12:00:00Z").unwrap();
        let open = Day::parse("2026-11-01").unwrap().period();
        for (time, day) in [
            (None, Some("2026-12-02")),
            (Some("2026-11-01T00:00:00Z"), Some("2026-11-01")),
            (Some("2026-10-31T23:59:59.999Z"), None),
            (Some("2026-12-02T12:05:00Z"), Some("2026-12-02")),
            (Some("2026-12-02T12:05:00.001Z"), None),
        ] {
            let event = read(&time.map_or_else(|| json!({}), |time| json!({"time": time}))).unwrap();
            let cell = event.cell(now, open).ok().map(|cell| cell.day.to_string());
            assert_eq!(cell.as_deref(), day, "{time:?}");
        }
        // A month that cannot be closed does not make events count that are forgotten.
        let old = read(&json!({"time": "2026-10-03T11:59:59Z"})).unwrap();
        assert!(old.cell(now, Day::parse("2026-01-01").unwrap().period()).is_err());
        const { assert!(REMEMBERED_MS > PAST_MS + AHEAD_MS) };
    }
}
