//! A delivery's envelope: which event, of what type, about which object.
//!
//! Nothing of the object is believed: it is fetched when the event is processed, so that order, repetition
//! and the API version of an endpoint do not matter. Both forms of event are read, those that carry the
//! object and the thin ones that name it.

use serde::Deserialize;

/// The longest id and type that are stored; Stripe's are below 60.
const TEXT_CHARS_MAX: usize = 255;

/// What of a delivery is looked at before it is processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The event's id, unique for ever.
    pub id: String,
    /// Its type, without the `v1.` of thin events.
    pub kind: String,
    /// The id of the object that it is about.
    pub object: Option<String>,
    /// Whether real money moved; `None` where the event does not say.
    pub livemode: Option<bool>,
}

/// The body is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not an event with an id and a type")]
pub struct NoEvent;

#[derive(Deserialize)]
struct Raw {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    livemode: Option<bool>,
    data: Option<Data>,
    related_object: Option<Named>,
}

#[derive(Deserialize)]
struct Data {
    object: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

impl Envelope {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON, or names neither event nor type.
    pub fn parse(body: &[u8]) -> Result<Self, NoEvent> {
        let raw: Raw = serde_json::from_slice(body).map_err(|_| NoEvent)?;
        let is_text = |text: &str| !text.is_empty() && text.len() <= TEXT_CHARS_MAX && text.is_ascii();
        if !is_text(&raw.id) || !is_text(&raw.kind) {
            return Err(NoEvent);
        }
        let named = raw.related_object.or_else(|| raw.data.and_then(|data| data.object));
        Ok(Self {
            kind: raw.kind.strip_prefix("v1.").unwrap_or(&raw.kind).to_owned(),
            id: raw.id,
            object: named.and_then(|named| named.id).filter(|id| is_text(id)),
            livemode: raw.livemode,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_with_their_object_and_thin_ones_are_read_alike() {
        let snapshot = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":false,
            "api_version":"2026-04-22.dahlia","data":{"object":{"id":"in_1","surprise":[1.5]}}}"#;
        let thin = br#"{"id":"evt_1","object":"v2.core.event","type":"v1.invoice.paid","livemode":false,
            "created":"2026-11-25T00:00:00Z","related_object":{"id":"in_1","type":"invoice","url":"/v1/x"}}"#;
        let expected = Envelope {
            id: "evt_1".to_owned(),
            kind: "invoice.paid".to_owned(),
            object: Some("in_1".to_owned()),
            livemode: Some(false),
        };
        assert_eq!(Envelope::parse(snapshot), Ok(expected.clone()));
        assert_eq!(Envelope::parse(thin), Ok(expected));
    }

    #[test]
    fn what_names_no_event_is_none() {
        for bad in [
            &b""[..],
            b"[]",
            b"null",
            b"\xff\xfe",
            br#"{"id":"","type":"x"}"#,
            br#"{"id":"evt_1"}"#,
            br#"{"id":1,"type":"x"}"#,
        ] {
            assert_eq!(Envelope::parse(bad), Err(NoEvent));
        }
        let odd = br#"{"id":"evt_1","type":"new.thing","data":{"object":{"object":"balance"}}}"#;
        assert_eq!(Envelope::parse(odd).map(|event| event.object), Ok(None));
    }
}
