//! `GET /openapi.json`: the interface as OpenAPI 3.1, made from the rows that the router is made from; and
//! `GET /openapi-edge.json`, the edge's, which the edge's own tests keep.

mod ids;

use std::borrow::Cow;
use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use shared::openapi::{Schemas, VERSION, refuse};

use super::event_docs::{EVENT_DOCS, EventDoc};
use super::field::Field;
use super::route::{Answer, Content, Route, Who};
use super::routes::routes;
use super::session::cookie;

/// The edge's document, as the repository has it. The edge does not carry it: what it weighs is loaded for each isolate.
const EDGE: &str = include_str!("../../../../docs/openapi-edge.json");

/// JSON, which documents are.
const JSON: &str = "application/json";

/// The document as text, the same for every process of a release.
#[must_use]
pub fn document() -> String {
    let value = Document::default().write(&routes());
    // Two spaces and an end of line, as in a file that people read.
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

/// Shows the document.
pub(super) async fn show() -> impl IntoResponse {
    // It is the same as long as the process lives, takes long to write, and anybody may ask.
    static WRITTEN: OnceLock<String> = OnceLock::new();
    ([(header::CONTENT_TYPE, JSON)], WRITTEN.get_or_init(document).as_str())
}

/// Shows the edge's document.
pub(super) async fn show_edge() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], EDGE)
}

/// What may be said in the head of a call that changes something.
const HEADERS: &[Field] = &[Field::optional::<CallName>(
    "Idempotency-Key",
    "a name for the call: repeated within 30 days it is answered the same and changes nothing",
)];

/// 1 to 255 visible ASCII characters, for descriptions.
struct CallName;

impl JsonSchema for CallName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CallName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[!-~]{1,255}$" })
    }
}

#[derive(Default)]
struct Document {
    schemas: Schemas,
}

impl Document {
    fn write(mut self, routes: &[Route]) -> Value {
        let mut paths: Map<String, Value> = Map::new();
        for route in routes {
            let operation = self.operation(route);
            let path = paths.entry(route.path).or_insert_with(|| json!({}));
            if let Value::Object(path) = path {
                path.insert(route.method.as_str().to_lowercase(), operation);
            }
        }
        let webhooks: Map<String, Value> =
            EVENT_DOCS.iter().map(|told| (told.name.to_owned(), self.webhook(told))).collect();
        json!({
            "openapi": VERSION,
            "info": {
                "title": "Palveron Meter",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Usage, quotas, billing and their administration. Every refusal is a problem \
                    (RFC 9457) with a code; /errors/{code} says when it happens and what to do.",
                "license": { "name": "Proprietary", "identifier": "LicenseRef-Palveron" }
            },
            "servers": [{ "url": "/" }],
            "paths": paths,
            "webhooks": webhooks,
            "components": {
                "schemas": self.schemas.finish(),
                "securitySchemes": {
                    "token": {
                        "type": "http", "scheme": "bearer",
                        "description": "A token of a project (pat_…), of an operator (pot_…), or one that only reports units (pet_…)"
                    },
                    "session": {
                        "type": "apiKey", "in": "cookie", "name": cookie::COOKIE_NAME,
                        "description": "Of a person who signed in, in a browser; what changes something is sent by our own page, with its `Palveron-Csrf` and `Origin`"
                    },
                    "stripe": {
                        "type": "apiKey", "in": "header", "name": "Stripe-Signature",
                        "description": "As Stripe signs its deliveries: t=<unix>,v1=<hex HMAC-SHA256>"
                    },
                    "signature": {
                        "type": "apiKey", "in": "header", "name": shared::sign::SIGNATURE_HEADER,
                        "description": "t=<unix>,k=<key id>,v1=<hex HMAC-SHA256> over time, method, path and body"
                    }
                }
            }
        })
    }

    fn operation(&mut self, route: &Route) -> Value {
        let mut operation = json!({
            "operationId": ids::of(&route.method, route.path),
            "summary": route.summary,
            "tags": [tag(route.path)],
            "parameters": self.parameters(route),
            "responses": self.responses(route),
            "security": security(route.who),
        });
        if let Value::Object(operation) = &mut operation {
            if route.who.needs_token() {
                let roles = route.who.roles().iter().map(|role| role.as_str()).chain(["operator"]);
                operation.insert("x-roles".to_owned(), roles.collect());
            }
            if let Some(fields) = route.body {
                let schema = self.object(fields);
                // A body may be left out where nothing in it must be there? No: it is always read.
                let content = json!({ "application/json": { "schema": schema } });
                operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
            }
        }
        operation
    }

    fn parameters(&mut self, route: &Route) -> Vec<Value> {
        let mut parameters: Vec<Value> = route
            .names()
            .map(|name| {
                let schema = match name {
                    "project" => self.schemas.of::<shared::ids::ProjectId>().to_value(),
                    _ => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
                };
                json!({ "name": name, "in": "path", "required": true, "schema": schema })
            })
            .collect();
        let headers = if route.changes() { HEADERS } else { &[] };
        let groups = [("query", route.query), ("header", headers)];
        for (place, field) in groups.iter().flat_map(|(place, fields)| fields.iter().map(move |f| (place, f)))
        {
            let mut parameter = json!({
                "name": field.name, "in": place, "required": field.required,
                "description": field.accepts, "schema": self.schemas.made(|schemas| field.schema(schemas)),
            });
            if let (Value::Object(parameter), Some(example)) = (&mut parameter, example(field)) {
                parameter.insert("example".to_owned(), example);
            }
            parameters.push(parameter);
        }
        parameters
    }

    /// The schema of a body: these fields, and others only where the table says so.
    fn object(&mut self, fields: &[Field]) -> Value {
        let required: Vec<&str> =
            fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        let is_open = fields.iter().any(Field::is_others);
        let properties: Map<String, Value> = fields
            .iter()
            .filter(|field| !field.is_others())
            .map(|field| {
                let mut schema = self.schemas.made(|schemas| field.schema(schemas));
                schema.insert("description".to_owned(), field.accepts.into());
                if let Some(example) = example(field) {
                    schema.insert("examples".to_owned(), json!([example]));
                }
                (field.name.to_owned(), schema.to_value())
            })
            .collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": is_open })
    }

    fn responses(&mut self, route: &Route) -> Map<String, Value> {
        let mut responses = Map::new();
        for answer in &route.answers {
            let response = responses
                .entry(answer.status.to_string())
                .or_insert_with(|| json!({ "description": answer.says, "content": {} }));
            if let Some((media_type, content)) = self.content(answer)
                && let Some(Value::Object(contents)) = response.get_mut("content")
            {
                merge(contents, media_type, content);
            }
        }
        refuse(&mut responses, &route.codes());
        responses
    }

    fn content(&mut self, answer: &Answer) -> Option<(&'static str, Value)> {
        match answer.content {
            Content::Json(schema) => {
                Some(("application/json", json!({ "schema": self.schemas.made(schema) })))
            }
            Content::Text(media_type) => Some((media_type, json!({ "schema": { "type": "string" } }))),
            Content::Empty => None,
        }
    }

    fn webhook(&mut self, told: &EventDoc) -> Value {
        let schema = json!({
            "type": "object",
            "properties": {
                "type": { "type": "string", "const": told.name },
                "timestamp": { "type": "string", "format": "date-time" },
                "data": self.schemas.made(|schemas| told.schema(schemas)),
            },
            "required": ["type", "timestamp", "data"],
        });
        json!({ "post": {
            "operationId": format!("told_{}", told.name.replace('.', "_")),
            "summary": told.says,
            // Receivers verify the signature in its headers; nobody logs in.
            "security": [],
            "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
            "responses": { "2XX": { "description": "Taken; anything else is tried again" } },
        }})
    }
}

/// Two schemas of one media type are a choice between them.
fn merge(contents: &mut Map<String, Value>, media_type: &str, content: Value) {
    match contents.get_mut(media_type).and_then(|before| before.get_mut("schema")) {
        None => {
            contents.insert(media_type.to_owned(), content);
        }
        Some(schema) => {
            let added = content.get("schema").cloned().unwrap_or_default();
            *schema = json!({ "anyOf": [schema.take(), added] });
        }
    }
}

fn example(field: &Field) -> Option<Value> {
    serde_json::from_str(field.example).ok()
}

/// What an operation is listed under: the thing that its path is about.
fn tag(path: &str) -> &str {
    let path = path.strip_prefix("/api/v1/").unwrap_or(path.trim_start_matches('/'));
    let path = path.strip_prefix("admin/projects/{project}/").unwrap_or(path);
    let path = path.strip_prefix("admin/").unwrap_or(path);
    match path.split(['/', '.', '-']).next() {
        Some("") | None => "start",
        Some(tag) => tag,
    }
}

fn security(who: Who) -> Value {
    match who {
        Who::Anyone | Who::SigningIn => json!([]),
        Who::Person => json!([{ "session": [] }]),
        Who::Signed => json!([{ "signature": [] }]),
        Who::Stripe => json!([{ "stripe": [] }]),
        Who::Emitter => json!([{ "token": [] }]),
        Who::Operator | Who::InProject(_) => json!([{ "token": [] }, { "session": [] }]),
    }
}
