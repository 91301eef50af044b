//! `meter tail`: what happens in a project, line by line, as it happens.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use shared::ids::ProjectId;

use super::Context;
use super::print::{self, Format};
use super::project::unknown;
use crate::store::Shown;

/// How soon an event is shown.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Events that are read at once.
const PAGE: u32 = 500;

#[derive(Debug, Args)]
pub(super) struct Tail {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// Begin after the event of this number; without it, with what happens from now on
    #[arg(long)]
    after: Option<u64>,
    /// End when everything there is has been shown
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(tail: Tail, context: Context) -> anyhow::Result<()> {
    let Tail { project, after, once, format } = tail;
    context.store.project(&project).await?.ok_or_else(|| unknown(&project))?;
    let mut after = match after {
        Some(after) => after,
        None => context.store.newest_shown(&project).await?,
    };
    loop {
        let shown = context.store.shown(&project, after, PAGE).await?;
        for event in &shown {
            after = event.number;
            print::result(format, &as_json(event), |_| line(event))?;
        }
        if shown.is_empty() {
            if once {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn data(event: &Shown) -> Value {
    serde_json::from_str(&event.data).unwrap_or(Value::Null)
}

fn as_json(event: &Shown) -> Value {
    json!({ "id": event.number, "type": event.kind, "timestamp": event.at.to_string(), "data": data(event) })
}

/// `12 2026-11-23T12:00:00Z usage.counted added=3 used=815`
fn line(event: &Shown) -> String {
    let fields = match data(event) {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            serde_json::Map::new()
        }
    };
    let fields = fields.iter().map(|(name, value)| match value {
        Value::String(text) => format!(" {name}={text}"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            format!(" {name}={value}")
        }
    });
    format!("{} {} {}{}", event.number, event.at, event.kind, fields.collect::<String>())
}
