//! `GET /openapi.json`: the interface as OpenAPI 3.1, made from the rows that the router is made from.

use std::borrow::Cow;
use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use shared::problem::{self, ErrorCode, Problem};

use super::field::Field;
use super::route::{Answer, Content, Route, Who};
use super::routes::routes;
use super::told::{TOLD, Told};

/// The version of the format that the document is written in.
const OPENAPI: &str = "3.1.0";

/// The document as text, the same for every process of a release.
#[must_use]
pub fn document() -> String {
    let value = Document::new().write(&routes());
    // Two spaces and an end of line, as in a file that people read.
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

/// Shows the document.
pub(super) async fn show() -> impl IntoResponse {
    // It is the same as long as the process lives, takes long to write, and anybody may ask.
    static WRITTEN: OnceLock<String> = OnceLock::new();
    ([(header::CONTENT_TYPE, "application/json")], WRITTEN.get_or_init(document).as_str())
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

struct Document {
    schemas: SchemaGenerator,
}

impl Document {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
            .for_serialize();
        Self { schemas: settings.into_generator() }
    }

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
            TOLD.iter().map(|told| (told.name.to_owned(), self.webhook(told))).collect();
        let problem = self.schemas.subschema_for::<Problem>();
        let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        let mut schemas = self.schemas.take_definitions(true);
        schemas.insert("ErrorCode".to_owned(), json!({
            "type": "string", "enum": codes,
            "description": "What went wrong, in one word that programs can branch on; /errors/{code} is about it"
        }));
        json!({
            "openapi": OPENAPI,
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
                "schemas": schemas,
                "securitySchemes": {
                    "token": {
                        "type": "http", "scheme": "bearer",
                        "description": "A token of a project (pat_…) or of an operator (pot_…)"
                    },
                    "stripe": {
                        "type": "apiKey", "in": "header", "name": "Stripe-Signature",
                        "description": "As Stripe signs its deliveries: t=<unix>,v1=<hex HMAC-SHA256>"
                    },
                    "signature": {
                        "type": "apiKey", "in": "header", "name": shared::sign::SIGNATURE_HEADER,
                        "description": "t=<unix>,k=<key id>,v1=<hex HMAC-SHA256> over time, method, path and body"
                    }
                },
                "responses": {
                    "Problem": { "description": "A refusal", "content": { problem::CONTENT_TYPE: { "schema": problem } } }
                }
            }
        })
    }

    fn operation(&mut self, route: &Route) -> Value {
        let mut operation = json!({
            "operationId": operation_id(route.summary),
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
                    "project" => self.schemas.subschema_for::<shared::ids::ProjectId>().to_value(),
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
                "description": field.accepts, "schema": field.schema(&mut self.schemas),
            });
            if let (Value::Object(parameter), Some(example)) = (&mut parameter, example(field)) {
                parameter.insert("example".to_owned(), example);
            }
            parameters.push(parameter);
        }
        parameters
    }

    /// The schema of a body: these fields and no others.
    fn object(&mut self, fields: &[Field]) -> Value {
        let required: Vec<&str> =
            fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        let properties: Map<String, Value> = fields
            .iter()
            .map(|field| {
                let mut schema = field.schema(&mut self.schemas);
                schema.insert("description".to_owned(), field.accepts.into());
                if let Some(example) = example(field) {
                    schema.insert("examples".to_owned(), json!([example]));
                }
                (field.name.to_owned(), schema.to_value())
            })
            .collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
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
        for code in route.codes() {
            let response =
                responses.entry(code.status().to_string()).or_insert_with(|| refusal(code.status()));
            if let Some(Value::Array(codes)) = response.get_mut("x-codes") {
                codes.push(code.as_str().into());
            }
        }
        responses
    }

    fn content(&mut self, answer: &Answer) -> Option<(&'static str, Value)> {
        match answer.content {
            Content::Json(schema) => {
                Some(("application/json", json!({ "schema": schema(&mut self.schemas) })))
            }
            Content::Text(media_type) => Some((media_type, json!({ "schema": { "type": "string" } }))),
            Content::Empty => None,
        }
    }

    fn webhook(&mut self, told: &Told) -> Value {
        let schema = json!({
            "type": "object",
            "properties": {
                "type": { "const": told.name },
                "timestamp": { "type": "string", "format": "date-time" },
                "data": told.schema(&mut self.schemas),
            },
            "required": ["type", "timestamp", "data"],
        });
        json!({ "post": {
            "operationId": format!("told_{}", told.name.replace('.', "_")),
            "summary": told.says,
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

/// The answer of all refusals of one status; the codes are added one by one.
fn refusal(status: u16) -> Value {
    let title = ErrorCode::ALL.iter().find(|code| code.status() == status).map_or("", |code| code.title());
    json!({
        "description": title,
        "content": { problem::CONTENT_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
        "x-codes": [],
    })
}

fn example(field: &Field) -> Option<Value> {
    serde_json::from_str(field.example).ok()
}

/// `List projects` is `list_projects`.
fn operation_id(summary: &str) -> String {
    summary.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).collect::<Vec<_>>().join("_")
}

/// What an operation is listed under: the thing that its path is about.
fn tag(path: &str) -> &str {
    let path = path.strip_prefix("/api/v1/").unwrap_or(path.trim_start_matches('/'));
    let path = path.strip_prefix("admin/projects/{project}/").unwrap_or(path);
    let path = path.strip_prefix("admin/").unwrap_or(path);
    path.split(['/', '.']).next().unwrap_or_default()
}

fn security(who: Who) -> Value {
    match who {
        Who::Anyone => json!([]),
        Who::Signed => json!([{ "signature": [] }]),
        Who::Stripe => json!([{ "stripe": [] }]),
        Who::Operator | Who::InProject(_) => json!([{ "token": [] }]),
    }
}
