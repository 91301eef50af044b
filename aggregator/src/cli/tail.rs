//! `meter tail`: what happens in a project, line by line, as it happens.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use shared::ids::ProjectId;

use super::call::Call;
use super::events::Frames;
use super::options::Project;
use super::place::{Place, Remote};
use super::print::{self, Format};
use super::project;
use crate::store::Shown;

/// How soon an event is shown.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A server that shows nothing for this long has shown everything there is.
const SILENCE: Duration = Duration::from_secs(2);

/// How soon a stream that ended is opened again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Events that are read at once.
const PAGE: u32 = 500;

#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    project: Project,
    /// Begin after the event of this number; without it, with what happens from now on
    #[arg(long)]
    after: Option<u64>,
    /// End when everything there is has been shown
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(tail: Tail, place: Place) -> anyhow::Result<()> {
    let project = place.project(&tail.project).await?;
    match &place {
        Place::Server(remote) => at_server(&tail, &project, remote).await,
        Place::Books(books) => {
            let store = &books.context.store;
            // Whether there is such a project.
            place.ask(&Call::get(&project::path(&project))).await?;
            let mut after = match tail.after {
                Some(after) => after,
                None => store.newest_shown(&project).await?,
            };
            loop {
                let shown = store.shown(&project, after, PAGE).await?;
                for event in &shown {
                    after = event.number;
                    print::result(tail.format, &as_json(event), line)?;
                }
                if shown.is_empty() {
                    if tail.once {
                        return Ok(());
                    }
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
        }
    }
}

/// As a server streams them; it ends streams now and then, and they are opened again where they ended.
async fn at_server(tail: &Tail, project: &ProjectId, remote: &Remote) -> anyhow::Result<()> {
    let mut after = tail.after;
    loop {
        let call =
            Call::get(&["api", "v1", "events"]).with_query("project", &project).maybe_query("after", after);
        let mut body = remote.stream(&call).await?;
        let mut frames = Frames::default();
        loop {
            let read = if tail.once {
                let Ok(read) = tokio::time::timeout(SILENCE, body.frame()).await else { return Ok(()) };
                read
            } else {
                body.frame().await
            };
            let Some(Ok(frame)) = read else { break };
            let Ok(bytes) = frame.into_data() else { continue };
            for (id, data) in frames.take(&bytes) {
                after = id.or(after);
                let mut event: Value = serde_json::from_str(&data).context("the stream has no JSON")?;
                if let Value::Object(fields) = &mut event {
                    fields.insert("id".to_owned(), id.into());
                }
                print::result(tail.format, &event, line)?;
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn as_json(event: &Shown) -> Value {
    let data: Value = serde_json::from_str(&event.data).unwrap_or(Value::Null);
    json!({ "id": event.number, "type": event.kind, "timestamp": event.at.to_string(), "data": data })
}

/// `12 2026-11-23T12:00:00Z usage.counted added=3 used=815`
pub(super) fn line(event: &Value) -> String {
    let none = Map::new();
    let get = |name: &str| print::cell(event.get(name).unwrap_or(&Value::Null));
    let fields = event.get("data").and_then(Value::as_object).unwrap_or(&none);
    let fields = fields.iter().map(|(name, value)| format!(" {name}={}", print::cell(value)));
    format!("{} {} {}{}", get("id"), get("timestamp"), get("type"), fields.collect::<String>())
}
