//! `meter mcp`: a server of the Model Context Protocol on standard input and output, by which a model asks what a person
//! asks with `meter usage`, `explain`, `what-if` and `plans`, with the rights of whoever runs it.
//!
//! Each tool is a question of the interface, described by that endpoint's own row. None may change anything.

use anyhow::Context as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::stdio;
use rmcp::{RoleServer, ServerHandler, ServiceExt as _};
use serde_json::Value;
use shared::ids::ProjectId;

use super::call::Call;
use super::place::Place;
use crate::http::{self, Field, object_schema};

/// What a model is told before it asks.
const INSTRUCTIONS: &str = "Palveron Meter counts, limits and bills governance requests of projects. These tools ask and \
    change nothing. Amounts are in minor units of their currency; months and days are UTC; a problem that is answered says \
    what to do. `projects` needs an operator's token; with a project's token its own project is meant where none is named.";

/// A tool: its name, the question that it asks, and what it is for.
#[derive(Debug, Clone, Copy)]
struct Asks {
    tool: &'static str,
    path: &'static str,
    says: &'static str,
}

const ALL: [Asks; 8] = [
    Asks {
        tool: "projects",
        path: "/api/v1/admin/projects",
        says: "List the projects with their plans and limits, a page at a time; `after` is the last one's id.",
    },
    Asks {
        tool: "usage",
        path: "/api/v1/usage",
        says: "What a project used, by day and by agent, or added up by day, agent, kind or key.",
    },
    Asks {
        tool: "overview",
        path: "/api/v1/overview",
        says: "A project at a glance: units today, this month and as it will end, refused requests by reason, which limit is \
            nearest.",
    },
    Asks {
        tool: "why_denied",
        path: "/api/v1/explain",
        says: "Why a project's next request is served or denied, by which limit and until when, and what each line of a \
            month's bill rests on.",
    },
    Asks {
        tool: "plans",
        path: "/api/v1/billing/offers",
        says: "The plans and packs that a project may have, with quotas, rates and prices.",
    },
    Asks {
        tool: "what_if",
        path: "/api/v1/billing/what-if",
        says: "What a month would have come to on each plan, with overage and without, for the units that were counted or \
            for others.",
    },
    Asks {
        tool: "contract_what_if",
        path: "/api/v1/admin/what-if",
        says: "What months would have cost under a draft of an enterprise contract, and for which numbers of units it is \
            cheaper, the same or dearer than what the projects have.",
    },
    Asks {
        tool: "invoices",
        path: "/api/v1/billing/invoices",
        says: "What each month of a project came to, and how far it is collected.",
    },
];

/// What a query may have that a tool must not: an answer that is no JSON.
const LEFT_OUT: &str = "format";

/// How many lines an answer has where it is not said: all of it is read by the model, and paid for.
const LINES: u32 = 100;

/// A tool with the question behind it.
struct Question {
    tool: Tool,
    path: &'static str,
    fields: Vec<Field>,
}

/// Who answers.
struct Server {
    place: Place,
    questions: Vec<Question>,
}

pub(super) async fn run(place: Place) -> anyhow::Result<()> {
    let server = Server { place, questions: questions() };
    let serving =
        server.serve(stdio()).await.context("whoever started this speaks no Model Context Protocol")?;
    serving.waiting().await?;
    Ok(())
}

/// Every tool, as far as its endpoint is there.
fn questions() -> Vec<Question> {
    let routes = http::routes();
    let question = |Asks { tool, path, says }: Asks| {
        let route = routes.iter().find(|route| route.method == "GET" && route.path == path)?;
        let fields: Vec<Field> = route.query.iter().copied().filter(|field| field.name != LEFT_OUT).collect();
        let annotations = ToolAnnotations::new().read_only(true).idempotent(true).open_world(false);
        let tool = Tool::new(tool, says, object_schema(&fields)).with_annotations(annotations);
        Some(Question { tool, path, fields })
    };
    ALL.into_iter().filter_map(question).collect()
}

impl Question {
    /// What is asked of the interface; `project` is the one that is meant where none is named.
    fn call(&self, arguments: &JsonObject, project: Option<&ProjectId>) -> Result<Call, String> {
        let segments: Vec<&str> = self.path.split('/').filter(|segment| !segment.is_empty()).collect();
        let mut call = Call::get(&segments);
        if let Some(unknown) =
            arguments.keys().find(|name| !self.fields.iter().any(|field| field.name == *name))
        {
            let known: Vec<&str> = self.fields.iter().map(|field| field.name).collect();
            return Err(format!("{unknown}: an unknown argument; accepted are {}", known.join(", ")));
        }
        for field in &self.fields {
            match arguments.get(field.name) {
                Some(Value::String(text)) => call = call.with_query(field.name, text),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                    call = call.with_query(field.name, value)
                }
                Some(Value::Array(_) | Value::Object(_)) => {
                    return Err(format!("{}: accepted is {}", field.name, field.accepts));
                }
                Some(Value::Null) | None if field.name == "project" => {
                    call = call.maybe_query(field.name, project);
                }
                Some(Value::Null) | None if field.name == "limit" => {
                    call = call.with_query(field.name, &LINES);
                }
                Some(Value::Null) | None => {}
            }
        }
        Ok(call)
    }
}

impl Server {
    async fn answer(&self, question: &Question, arguments: &JsonObject) -> Result<String, String> {
        let call = question.call(arguments, self.place.default_project())?;
        self.place.ask(&call).await.map(|answer| answer.to_string()).map_err(|error| format!("{error:#}"))
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let meter = Implementation::new("meter", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(meter).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.questions.iter().map(|one| one.tool.clone()).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(question) = self.questions.iter().find(|one| one.tool.name == request.name) else {
            let known: Vec<&str> = ALL.iter().map(|one| one.tool).collect();
            let refused = format!("there is no tool {:?}; there are {}", request.name, known.join(", "));
            return Err(ErrorData::invalid_params(refused, None));
        };
        // A refusal is an answer: the model can mend its question by it.
        let result = match self.answer(question, &request.arguments.unwrap_or_default()).await {
            Ok(answer) => CallToolResult::success(vec![ContentBlock::text(answer)]),
            Err(refused) => CallToolResult::error(vec![ContentBlock::text(refused)]),
        };
        Ok(result.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_a_question_of_the_interface_that_changes_nothing() {
        let questions = questions();
        assert_eq!(questions.len(), ALL.len(), "each has its endpoint");
        for Question { tool, fields, .. } in &questions {
            let properties = tool.input_schema["properties"].as_object().unwrap();
            assert_eq!(properties.len(), fields.len(), "{}", tool.name);
            assert!(properties.values().all(|one| one["description"].is_string()), "{properties:?}");
            assert_eq!(tool.annotations.as_ref().and_then(|hints| hints.read_only_hint), Some(true));
        }
    }

    #[test]
    fn arguments_are_a_query_and_what_is_none_of_it_is_refused() {
        let all = questions();
        let usage = all.iter().find(|one| one.tool.name == "usage").unwrap();
        let arguments = |text: &str| serde_json::from_str::<JsonObject>(text).unwrap();
        let demo = ProjectId::parse("demo").unwrap();
        let target = |text: &str| usage.call(&arguments(text), Some(&demo)).map(|call| call.target());
        assert_eq!(
            target(r#"{"from":"2026-09-01","to":"2026-09-30","limit":5,"group_by":null}"#).unwrap(),
            "/api/v1/usage?from=2026-09-01&to=2026-09-30&project=demo&limit=5"
        );
        let other = target(r#"{"project":"a/../b"}"#).unwrap();
        assert_eq!(other, "/api/v1/usage?project=a%2F..%2Fb&limit=100", "few lines where it is not said");
        assert!(target(r#"{"format":"csv"}"#).unwrap_err().starts_with("format: an unknown argument"));
        assert!(target(r#"{"from":["2026-09-01"]}"#).unwrap_err().starts_with("from: accepted is "));
    }
}
