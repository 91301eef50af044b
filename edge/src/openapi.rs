//! `docs/openapi-edge.json`: the edge's interface as OpenAPI 3.1, made from the types that it reads and answers with.
//!
//! Only tests make it: the worker never carries it, and the aggregator serves it. What machines say to each other
//! (`/internal/…`, pushed policies) is in docs/protocol.md instead.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use shared::decision::{Ask, Quota};
use shared::ids::{AgentId, Mode};
use shared::kind::{Kind, Routes};
use shared::openapi::{AnyObject, Schemas, VERSION, refuse};
use shared::problem::ErrorCode;
use shared::source::Source;

use crate::config::Config;
use crate::gate::gate;
use crate::gate::tests::{bearer_of, config, head};
use crate::step::{Answer, CheckAnswer, CheckBody, ObserveAnswer, ObserveBody, Step};

/// What a row is refused with beside what every call with a key is.
const LIMITS: [ErrorCode; 5] = [
    ErrorCode::QuotaExhausted,
    ErrorCode::ProjectSuspended,
    ErrorCode::AgentLimit,
    ErrorCode::RateLimited,
    ErrorCode::QuotaContended,
];
const BODY: [ErrorCode; 3] = [ErrorCode::MalformedJson, ErrorCode::BodyTooLarge, ErrorCode::RequestTimeout];

/// Whether the process lives.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it only describes")]
struct Health {
    /// `ok`.
    status: String,
}

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    /// Makers of clients name functions after it, so it never changes.
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Value,
    refusals: Vec<ErrorCode>,
}

fn json_of(schema: impl Into<Value>) -> Value {
    json!({ "application/json": { "schema": schema.into() } })
}

fn parameter(place: &str, name: &str, says: &str, schema: impl Into<Value>) -> Value {
    json!({
        "name": name, "in": place, "required": place == "path", "description": says, "schema": schema.into()
    })
}

/// What is asked, and answered without the governance service.
fn questions(schemas: &mut Schemas) -> Vec<Operation> {
    let agent = parameter("header", "Palveron-Agent", "the agent that asks", schemas.of::<AgentId>());
    let cost = json!({ "type": "integer", "minimum": 1, "maximum": Ask::COST_MAX });
    let check = vec![
        agent.clone(),
        parameter("query", "kind", "what is to be done; with it the body is not read", schemas.of::<Kind>()),
        parameter("query", "agent", "who is to do it; only with kind", schemas.of::<AgentId>()),
        parameter("query", "cost", "units that it costs; only with kind", cost),
        parameter(
            "query",
            "dry_run",
            "whether to count nothing; only with kind",
            json!({ "type": "boolean" }),
        ),
    ];
    let field = [ErrorCode::FieldRejected];
    vec![
        Operation {
            method: "get",
            path: "/healthz",
            id: "show_health",
            summary: "Say whether the process lives",
            description: "It needs no key.",
            parameters: Vec::new(),
            body: None,
            answer: json!({ "description": "It does", "content": json_of(schemas.of::<Health>()) }),
            refusals: Vec::new(),
        },
        Operation {
            method: "post",
            path: "/v1/check",
            id: "check",
            summary: "Decide a request that is served elsewhere",
            description: "A denial is an answer with 200, too: `allowed` is false and `code` says why. The question is \
                in the body, or else in the address.",
            parameters: check,
            body: Some(json!({ "required": false, "content": json_of(schemas.sent::<CheckBody>()) })),
            answer: served("The decision", &json_of(schemas.of::<CheckAnswer>())),
            refusals: [&BODY[..], &field[..]].concat(),
        },
        Operation {
            method: "get",
            path: "/v1/quota",
            id: "show_quota",
            summary: "Show the project's numbers",
            description: "It counts nothing.",
            parameters: Vec::new(),
            body: None,
            answer: decided("What may be spent and what is left", &json_of(schemas.of::<Quota>())),
            refusals: Vec::new(),
        },
        Operation {
            method: "post",
            path: "/v1/observe",
            id: "observe",
            summary: "Note LLM tokens and anchors of a request",
            description: "For requests that were decided by `/v1/check`; what the governance service says of those \
                that are forwarded is noted by itself.",
            parameters: vec![agent],
            body: Some(json!({ "required": true, "content": json_of(schemas.sent::<ObserveBody>()) })),
            answer: json!({
                "description": "What was noted", "content": json_of(schemas.of::<ObserveAnswer<'static>>())
            }),
            refusals: [&BODY[..], &field[..]].concat(),
        },
    ]
}

/// What is forwarded to the governance service if it is allowed, by the usual table of paths.
fn forwarded(schemas: &mut Schemas) -> Vec<Operation> {
    let rows = [
        ("/v1/verify", "verify", "Have a request verified"),
        ("/v1/mcp/{path}", "call_mcp_tool", "Call a tool over MCP"),
        ("/v1/extension/{path}", "tell_extension_event", "Tell an event of an extension"),
    ];
    let operation = |(path, id, summary): (&'static str, _, _)| {
        let agent = parameter("header", "Palveron-Agent", "the agent that asks", schemas.of::<AgentId>());
        let rest = parameter(
            "path",
            "path",
            "the rest of the path, which may have slashes or be left out with the one before it",
            json!({ "type": "string" }),
        );
        let anything = json_of(schemas.of::<AnyObject>());
        Operation {
            method: "post",
            path,
            id,
            summary,
            description: "Forwarded as it is, with who asks, signed, if the limits allow it; the answer is that of the \
                governance service. A deployment may forward other paths (METER_ROUTES).",
            parameters: path.contains('{').then_some(rest).into_iter().chain([agent]).collect(),
            body: Some(json!({
                "required": false, "description": "Whatever the governance service reads", "content": anything
            })),
            answer: served("The governance service's answer, whatever its status is", &anything_of(schemas)),
            refusals: [
                &LIMITS[..],
                &[ErrorCode::BodyTooLarge, ErrorCode::FieldRejected, ErrorCode::UpstreamUnavailable],
            ]
            .concat(),
        }
    };
    rows.map(operation).into()
}

fn anything_of(schemas: &mut Schemas) -> Value {
    json_of(schemas.of::<AnyObject>())
}

/// An answer with the headers that tell of the limits.
fn decided(says: &str, content: &Value) -> Value {
    let header = |name: &str| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    let headers: Map<String, Value> =
        ["RateLimit-Policy", "RateLimit", "Server-Timing"].map(header).into_iter().collect();
    json!({ "description": says, "headers": headers, "content": content })
}

/// The same, with the one that tells what pays for what was served.
fn served(says: &str, content: &Value) -> Value {
    let mut answer = decided(says, content);
    answer["headers"]["Palveron-Source"] = json!({ "$ref": "#/components/headers/Palveron-Source" });
    answer
}

fn operation(operation: &Operation) -> Value {
    let has_key = operation.path != "/healthz";
    let mut codes = vec![
        ErrorCode::BadRequest,
        ErrorCode::UriTooLong,
        ErrorCode::HeadersTooLarge,
        ErrorCode::Internal,
        ErrorCode::NotReady,
    ];
    if has_key {
        codes.extend([ErrorCode::Unauthorized, ErrorCode::HomeUnavailable]);
    }
    codes.extend(&operation.refusals);
    codes.sort_unstable();
    let mut responses = Map::from_iter([("200".to_owned(), operation.answer.clone())]);
    refuse(&mut responses, &codes);
    let mut described = json!({
        "operationId": operation.id, "summary": operation.summary, "description": operation.description,
        "tags": ["edge"], "parameters": operation.parameters, "responses": responses,
        "security": if has_key { json!([{ "key": [] }]) } else { json!([]) },
    });
    if let (Value::Object(described), Some(body)) = (&mut described, &operation.body) {
        described.insert("requestBody".to_owned(), body.clone());
    }
    described
}

fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut operations = questions(&mut schemas);
    operations.extend(forwarded(&mut schemas));
    let mut paths: Map<String, Value> = Map::new();
    for row in &operations {
        paths.insert(row.path.to_owned(), json!({ row.method: operation(row) }));
    }
    let text = json!({ "type": "string" });
    json!({
        "openapi": VERSION,
        "info": {
            "title": "Palveron Meter: the edge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What decides governance requests by the limits of their projects. Every refusal is a \
                problem (RFC 9457) with a code; /errors/{code} of the aggregator says when it happens and what to do.",
            "license": { "name": "Proprietary", "identifier": "LicenseRef-Palveron" }
        },
        "servers": [{ "url": "/" }],
        "tags": [{ "name": "edge", "description": "Requests and what is known of their limits" }],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "headers": {
                "RateLimit-Policy": { "description": "The limits, as the IETF's draft has it", "schema": text },
                "RateLimit": { "description": "What is left of each limit, and until when", "schema": text },
                "Server-Timing": {
                    "description": "Who decided: meter;desc=lease or meter;desc=home", "schema": text
                },
                "Palveron-Source": {
                    "description": "What pays for it, the dearest of several; absent where nothing is counted",
                    "schema": { "type": "string", "enum": Source::ALL.map(Source::as_str) }
                },
            },
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "A project key (pk_live_… or pk_test_…)" }
            }
        }
    })
}

fn as_text() -> String {
    serde_json::to_string_pretty(&document()).unwrap() + "\n"
}

fn file() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi-edge.json")
}

#[test]
fn the_document_is_the_one_in_the_repository() {
    let kept = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(
        kept == as_text(),
        "the edge's interface differs from docs/openapi-edge.json; if that is meant: cargo test -p meter-edge \
         write_the_document -- --ignored"
    );
}

#[test]
#[ignore = "it writes into the repository; run it when the interface has changed"]
fn write_the_document() {
    std::fs::write(file(), as_text()).unwrap();
}

#[test]
fn the_operations_are_called_as_they_always_were() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let mut found = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            found.push(format!("{method} {path} {}", operation["operationId"].as_str().unwrap()));
        }
    }
    assert_eq!(
        found,
        [
            "get /healthz show_health",
            "post /v1/check check",
            "post /v1/extension/{path} tell_extension_event",
            "post /v1/mcp/{path} call_mcp_tool",
            "post /v1/observe observe",
            "get /v1/quota show_quota",
            "post /v1/verify verify",
        ]
    );
}

/// What the gate says to a call without and with a key, and by another method.
fn status(method: &str, path: &str, authorization: &str) -> Option<u16> {
    let config: Config = config();
    match gate(&config, &head(method, &format!("http://h{path}"), authorization)) {
        Step::Answer(Answer { status, .. }) => Some(status),
        Step::ReadBody(_)
        | Step::ReadObservation(_)
        | Step::Observe(_)
        | Step::Decide(_)
        | Step::Forward { .. }
        | Step::ReadPolicy { .. }
        | Step::ReadLeases { .. }
        | Step::Leases { .. }
        | Step::Install { .. }
        | Step::Metrics => None,
    }
}

#[test]
fn every_operation_is_there_by_its_method_and_asks_for_a_key_where_it_says_so() {
    let live = bearer_of(&config(), Mode::Live);
    let mut schemas = Schemas::default();
    let (mut operations, routes) = (questions(&mut schemas), Routes::default());
    operations.extend(forwarded(&mut schemas));
    for Operation { method, path, .. } in &operations {
        let (method, path) = (method.to_uppercase(), path.replace("{path}", "a/b"));
        let open = path == "/healthz";
        assert_eq!(status(&method, &path, &live), open.then_some(200), "{method} {path}");
        assert_eq!(status(&method, &path, ""), Some(if open { 200 } else { 401 }), "{method} {path}");
        assert_eq!(status("PUT", &path, &live), Some(405), "PUT {path}");
        if method == "GET" {
            assert_eq!(status("HEAD", &path, &live), open.then_some(200), "HEAD {path}");
        }
    }
    let forwarded: Vec<&str> = forwarded(&mut schemas).iter().map(|row| row.path).collect();
    for path in forwarded {
        assert!(routes.kind_of(&path.replace("{path}", "a")).is_some(), "{path} is not forwarded");
    }
}
