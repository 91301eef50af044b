//! `POST /api/v1/cloudevents`: units that happened elsewhere, as CloudEvents in JSON, singly, in batches, or by headers.
//!
//! A batch is counted whole or not at all, and an event once however often it is sent. Nothing is enforced by it.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::ids::Mode;
use shared::problem::ErrorCode;
use shared::units::Units;

use super::access::Caller;
use super::body;
use super::failure::Failure;
use super::field::{Field, Length, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use super::site::Site;
use crate::access::Permission;
use crate::metering::cloud_event::{Event, NAME_CHARS_MAX, Refused};
use crate::store::Reported;

/// The most events of a batch: they are counted in one transaction, and others wait for it.
const EVENTS_MAX: usize = 1_000;

/// The largest batch: events of a kilobyte each.
const EVENTS_BYTES_MAX: usize = 1024 * 1024;

const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const JSON: &str = "application/json";

/// The headers that an event consists of where its body is its data, and their attributes.
const HEADERS: [(&str, &str); 6] = [
    ("ce-specversion", "specversion"),
    ("ce-id", "id"),
    ("ce-source", "source"),
    ("ce-type", "type"),
    ("ce-subject", "subject"),
    ("ce-time", "time"),
];

const QUERY: &[Field] = &[PROJECT, Field::optional::<Mode>("mode", "live or test; live where it is absent")];

/// An event's attributes.
const EVENT: &[Field] = &[
    Field::required::<Length<3, 3>>("specversion", "1.0").such_as("\"1.0\""),
    Field::required::<Length<1, NAME_CHARS_MAX>>("id", "1 to 256 characters, unique within its source")
        .such_as("\"e-1\""),
    Field::required::<Length<1, NAME_CHARS_MAX>>("source", "1 to 256 characters").such_as("\"/app\""),
    Field::required::<String>(
        "type",
        "verify, mcp_tool_call or extension_event, or a name that ends so after a dot",
    )
    .such_as("\"verify\""),
    Field::optional::<Option<String>>("subject", "the agent").such_as("\"bot\""),
    Field::optional::<Option<String>>(
        "time",
        "when it happened, RFC 3339; when it arrives where it is absent",
    ),
    Field::optional::<Value>(
        "data",
        "an object with 1 to 1000000 units as `value` or `units`; one unit where it is absent",
    )
    .such_as("{\"value\":1}"),
    Field::others("extensions of CloudEvents, which are not read"),
];

/// The endpoint of this module.
pub(super) fn route() -> Route {
    Route::post("/api/v1/cloudevents", Who::Emitter, "Count what was served elsewhere", take)
        .query(QUERY)
        .body(EVENT)
        .answers::<CountedView>(200, "What was counted, durably")
}

/// What a batch came to.
#[derive(Debug, Serialize, JsonSchema)]
struct CountedView {
    project: String,
    mode: Mode,
    /// Events that were new.
    counted: u64,
    /// Events that were known by their `source` and `id`, and changed nothing.
    duplicates: u64,
    /// The units of those that were new.
    units: Units,
}

/// Counts events.
pub(super) async fn take(
    caller: Caller,
    State(site): State<Site>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let query = Query::of(&head.uri, QUERY)?;
    let project = caller.named_project(&site.app, &query, Permission::ReportUnits).await?;
    let mode = match query.get("mode") {
        None => Mode::Live,
        Some(text) => Mode::parse(text).map_err(|_| Failure::field("mode", text, "live or test"))?,
    };
    let body = body::read(site.timeouts, &head.headers, body, EVENTS_BYTES_MAX).await?;
    let sent = Sent::read(&head.headers, &body)?;
    let events = sent.events()?;
    let now = site.app.clock.now();
    let counted = match site.app.store.report_events((&project.id, mode), &events, now).await? {
        Reported::Counted(counted) => counted,
        Reported::Refused(place, refused) => return Err(sent.refuse(place, &refused)),
        Reported::AboveRate(place) => {
            let refused = Refused {
                attribute: "data",
                got: "more units of one agent and day".to_owned(),
                accepts: "at most the project's requests per minute for all of a day's minutes",
            };
            return Err(sent.refuse(place, &refused));
        }
        Reported::ProjectUnknown => return Err(Failure::project_unknown()),
    };
    site.app.metrics.crossed(counted.crossings);
    tracing::debug!(project.id = %project.id, token.id = caller.token.id, events = counted.events, "events were counted");
    let (project, events) = (project.id.into(), counted.events);
    let view =
        CountedView { project, mode, counted: events, duplicates: counted.duplicates, units: counted.units };
    Ok(Json(view).into_response())
}

/// Events as they were sent.
enum Sent {
    /// One, as a JSON object or by headers, whose attributes are named with this before them.
    One(Value, &'static str),
    Batch(Vec<Value>),
}

impl Sent {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Failure> {
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(unsupported());
        }
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence =
            media_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase());
        let json = || serde_json::from_slice(body).map_err(|error| body::malformed(&error));
        let by_headers = headers.contains_key("ce-specversion");
        match (essence.as_deref(), by_headers) {
            (Some(ONE), _) => Ok(Self::One(json()?, "")),
            (Some(BATCH), _) => Self::batch(json()?),
            (Some(JSON), false) => {
                let sent: Value = json()?;
                if sent.is_array() { Self::batch(sent) } else { Ok(Self::One(sent, "")) }
            }
            (None, true) if body.is_empty() => Ok(Self::One(from_headers(headers, None)?, "ce-")),
            (Some(JSON), true) => {
                let data = if body.is_empty() { None } else { Some(json()?) };
                Ok(Self::One(from_headers(headers, data)?, "ce-"))
            }
            (Some(_) | None, _) => Err(unsupported()),
        }
    }

    fn batch(value: Value) -> Result<Self, Failure> {
        let Value::Array(events) = value else {
            return Err(Failure::field("events", &value.to_string(), "an array of events"));
        };
        if events.len() > EVENTS_MAX {
            let accepts = format!("at most {EVENTS_MAX} of a batch");
            return Err(Failure::field("events", &events.len().to_string(), &accepts));
        }
        Ok(Self::Batch(events))
    }

    fn events(&self) -> Result<Vec<Event>, Failure> {
        let values = match self {
            Self::One(event, _) => std::slice::from_ref(event),
            Self::Batch(events) => events,
        };
        let read = |(place, value): (usize, &Value)| {
            let Value::Object(event) = value else {
                return Err(Failure::field(
                    &self.name(place, ""),
                    &value.to_string(),
                    "a JSON object that is an event",
                ));
            };
            Event::read(event).map_err(|refused| self.refuse(place, &refused))
        };
        values.iter().enumerate().map(read).collect()
    }

    fn refuse(&self, place: usize, refused: &Refused) -> Failure {
        Failure::field(&self.name(place, refused.attribute), &refused.got, refused.accepts)
    }

    /// What an attribute is called where it was sent: `[3].time`, `time`, or `ce-time`.
    fn name(&self, place: usize, attribute: &str) -> String {
        match self {
            Self::Batch(_) if attribute.is_empty() => format!("[{place}]"),
            Self::Batch(_) => format!("[{place}].{attribute}"),
            Self::One(_, _) if attribute.is_empty() => "event".to_owned(),
            // The data are the body, whatever the headers are called.
            Self::One(_, _) if attribute.starts_with("data") => attribute.to_owned(),
            Self::One(_, before) => format!("{before}{attribute}"),
        }
    }
}

/// An event whose attributes are headers, as the HTTP binding of CloudEvents has them: percent-encoded.
fn from_headers(headers: &HeaderMap, data: Option<Value>) -> Result<Value, Failure> {
    let mut event = Map::new();
    for (name, attribute) in HEADERS {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        let text = percent_decode_str(value.to_str().unwrap_or("\u{fffd}")).decode_utf8();
        match (text, values.next()) {
            (Ok(text), None) => {
                event.insert(attribute.to_owned(), Value::String(text.into_owned()));
            }
            (Ok(_) | Err(_), _) => {
                return Err(Failure::field(name, "something else", "one text in UTF-8, percent-encoded"));
            }
        }
    }
    if let Some(data) = data {
        event.insert("data".to_owned(), data);
    }
    Ok(Value::Object(event))
}

fn unsupported() -> Failure {
    Failure::new(
        ErrorCode::UnsupportedMediaType,
        format!(
            "Send one event as `{ONE}`, a batch as `{BATCH}`, or an event by its `ce-` headers with its data as `{JSON}`, not encoded."
        ),
    )
}
