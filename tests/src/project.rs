//! Projects, keys and tokens of a stack, made with the `meter` command as an operator would.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::ids::{KeyId, Mode, ProjectId};
use shared::kind::Kind;
use shared::plan::Plan;

use crate::client::{Answer, Call};
use crate::poll::eventually;
use crate::stack::Stack;

/// New keys and raised limits are usable within two seconds; starting parts may need longer.
const KEY_MAX: Duration = Duration::from_secs(10);

/// The limits of a new project; what is not named is the plan's.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The plan.
    pub plan: Plan,
    /// Requests per minute.
    pub rpm: Option<u32>,
    /// Units a month.
    pub included: Option<u64>,
}

impl Limits {
    /// The community plan's own limits.
    pub const COMMUNITY: Self = Self { plan: Plan::Community, rpm: None, included: None };
    /// Limits that no test reaches, and as many agents as wanted.
    pub const WIDE: Self =
        Self { plan: Plan::Enterprise, rpm: Some(1_000_000), included: Some(1_000_000_000) };
    /// The community plan without its limit of requests per minute.
    pub const COMMUNITY_FAST: Self = Self { rpm: Some(100_000), ..Self::COMMUNITY };
}

/// A project of a stack, with one live key and the token of an admin.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// A live key.
    pub key: String,
    /// The live key's id.
    pub key_id: KeyId,
    /// An admin's token.
    pub token: String,
    edge: SocketAddr,
}

impl Project {
    /// Makes a project with a key and a token. The edge may not know them yet.
    ///
    /// # Errors
    /// When a command fails.
    pub fn create(stack: &Stack, id: &str, limits: Limits) -> Result<Self> {
        let (rpm, included) = (limits.rpm.map(|n| n.to_string()), limits.included.map(|n| n.to_string()));
        let mut arguments = vec!["project", "create", id, "--plan", limits.plan.as_str(), "--json"];
        for (flag, value) in [("--rpm", &rpm), ("--included", &included)] {
            arguments.extend(value.iter().flat_map(|value| [flag, value.as_str()]));
        }
        stack.meter(&arguments)?;
        let (key_id, key) = create_key(stack, id, Mode::Live)?;
        let token = field(
            &stack.meter(&["token", "create", "--project", id, "--role", "admin", "--json"])?,
            "token",
        )?;
        Ok(Self { id: ProjectId::parse(id)?, key, key_id, token, edge: stack.edge() })
    }

    /// Makes a project and waits until the edge accepts its key.
    ///
    /// # Errors
    /// When a command fails or the key is not accepted.
    pub async fn ready(stack: &Stack, id: &str, limits: Limits) -> Result<Self> {
        let project = Self::create(stack, id, limits)?;
        project.accepts(&project.key).await?;
        Ok(project)
    }

    /// Makes a test key and waits until the edge accepts it.
    ///
    /// # Errors
    /// When the command fails or the key is not accepted.
    pub async fn test_key(&self, stack: &Stack) -> Result<String> {
        let (_, key) = create_key(stack, self.id.as_str(), Mode::Test)?;
        self.accepts(&key).await?;
        Ok(key)
    }

    /// A governed request of that kind for that agent.
    #[must_use]
    pub fn call(&self, kind: Kind, agent: &str) -> Call {
        governed(&self.key, kind, agent)
    }

    /// Sends a verify call.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn verify(&self) -> Result<Answer> {
        self.call(Kind::Verify, "bot").send(self.edge).await
    }

    /// The project's numbers, as `GET /v1/quota` tells them.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn quota(&self) -> Result<Answer> {
        Call::get("/v1/quota").bearer(&self.key).send(self.edge).await
    }

    /// Runs `meter project set`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn set(&self, stack: &Stack, flag: &str, value: &str) -> Result<()> {
        stack.meter(&["project", "set", self.id.as_str(), flag, value]).map(|_| ())
    }

    async fn accepts(&self, key: &str) -> Result<()> {
        let asked = Call::get("/v1/quota").bearer(key);
        eventually("the edge accepts a new key", KEY_MAX, async || {
            let answer = asked.send(self.edge).await?;
            ensure!(answer.status == 200, "got {}: {}", answer.status, answer.text());
            Ok(Some(()))
        })
        .await
    }
}

/// A governed request of that kind for that agent.
#[must_use]
pub fn governed(key: &str, kind: Kind, agent: &str) -> Call {
    let path = match kind {
        Kind::Verify => "/v1/verify",
        Kind::McpToolCall => "/v1/mcp/tools/search",
        Kind::ExtensionEvent => "/v1/extension/events",
    };
    Call::post(path, "{\"prompt\":\"hello\"}").json().bearer(key).agent(agent)
}

/// Makes a key; returns its id and text.
///
/// # Errors
/// When the command fails.
pub fn create_key(stack: &Stack, project: &str, mode: Mode) -> Result<(KeyId, String)> {
    let mut arguments = vec!["key", "create", "--project", project, "--json"];
    if mode == Mode::Test {
        arguments.push("--test");
    }
    let key = field(&stack.meter(&arguments)?, "key")?;
    let read =
        stack.key_secrets()?.verify(&key).context("the new key is not made under the stack's secret")?;
    ensure!(read.mode == mode && read.project.as_str() == project, "the new key is {read:?}");
    Ok((read.id, key))
}

/// A text field of what a command said in JSON.
fn field(said: &str, name: &str) -> Result<String> {
    let said: Value = serde_json::from_str(said).with_context(|| format!("not JSON: {said}"))?;
    let text = said.get(name).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("no {name} in what the command said"))
}
