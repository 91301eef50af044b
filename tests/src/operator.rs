//! The aggregator as an operator's program calls it, over HTTP.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Call};
use crate::stack::Stack;

/// An operator with a token.
#[derive(Debug)]
pub struct Operator {
    aggregator: SocketAddr,
    token: String,
}

impl Operator {
    /// A new one of that stack.
    ///
    /// # Errors
    /// When the command that makes the token fails.
    pub fn of(stack: &Stack) -> Result<Self> {
        let said: Value =
            serde_json::from_str(&stack.meter(&["token", "create", "--operator", "--json"])?)?;
        Ok(Self { aggregator: stack.aggregator(), token: text(&said, "token")? })
    }

    /// Sends a call as this operator.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, call: Call) -> Result<Answer> {
        call.bearer(&self.token).send(self.aggregator).await
    }

    /// Calls what is below the projects.
    ///
    /// # Errors
    /// When the answer is no success.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let call = Call::new(method, &format!("/api/v1/admin/projects{path}")).with_body(body.to_string());
        let answer = self.send(call.json()).await?;
        ensure!(answer.status < 300, "{path}: {} {}", answer.status, answer.text());
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Changes a project.
    ///
    /// # Errors
    /// As [`Operator::call`].
    pub async fn change(&self, project: &str, body: Value) -> Result<()> {
        self.call(Method::PATCH, &format!("/{project}"), &body).await.map(|_| ())
    }

    /// Makes a key, or one in the place of `old`; returns its id and text.
    ///
    /// # Errors
    /// As [`Operator::call`].
    pub async fn key(&self, project: &str, old: Option<&str>) -> Result<(String, String)> {
        let rotate = old.map_or_else(String::new, |id| format!("/{id}/rotate"));
        let made = self.call(Method::POST, &format!("/{project}/keys{rotate}"), &json!({})).await?;
        Ok((text(&made, "id")?, text(&made, "key")?))
    }
}

fn text(said: &Value, name: &str) -> Result<String> {
    said[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {said}"))
}
