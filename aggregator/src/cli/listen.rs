//! `meter webhooks listen`: receives a project's events on this machine, verifies them as a receiver should, and
//! prints one after the other. What is not signed is answered with 401 and printed as such, never as an event.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use clap::Args;
use meter_settings::stop_signal;
use serde_json::{Map, Value, json};
use shared::ids::ProjectId;
use shared::whole::whole;
use tokio::net::TcpListener;

use super::call::Call;
use super::options::Project;
use super::place::{Place, Unanswered};
use super::print::{self, Format, cell};
use super::webhooks::{events, path, some};
use crate::clock::Clock;
use crate::webhooks::sign::{ID_HEADER, SIGNATURE_HEADER, Secret, TIMESTAMP_HEADER};

/// How far the time of a delivery may be from ours, as receivers check it.
const TOLERANCE_S: u64 = 300;

/// Where whoever made a webhook expects its receiver.
const PORT: u16 = 9000;

/// What the webhook that this command makes is described as: what a run that was killed left is known by it.
const OURS: &str = "meter webhooks listen";

#[derive(Debug, Args)]
pub(super) struct Listen {
    #[command(flatten)]
    project: Project,
    /// Where to listen, on this machine only; 9000 with --secret, else any that is free
    #[arg(long)]
    port: Option<u16>,
    /// Only events of this type; may be given several times
    #[arg(long, value_parser = events())]
    event: Vec<String>,
    /// The secret (whsec_…) of a webhook that you made: then none is made, and no project is needed
    #[arg(long, value_name = "WHSEC", value_parser = secret, conflicts_with_all = ["project", "event"])]
    secret: Option<Secret>,
    /// End after so many events
    #[arg(long)]
    count: Option<u64>,
    #[command(flatten)]
    format: Format,
}

/// What the receiver knows.
struct Receiver {
    secret: Secret,
    format: Format,
    clock: Clock,
    received: tokio::sync::mpsc::UnboundedSender<()>,
}

pub(super) async fn run(listen: Listen, place: &Place) -> anyhow::Result<()> {
    // A webhook that somebody made has one address; one that is made here has any.
    let port = listen.port.unwrap_or(if listen.secret.is_some() { PORT } else { 0 });
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    let listener = listener
        .map_err(|error| anyhow!("cannot listen on 127.0.0.1:{port}: {error}; choose another with --port"))?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (secret, made) = match listen.secret {
        Some(secret) => (secret, None),
        None => {
            let project = place.project(&listen.project).await?;
            let (secret, id) = register(place, &project, &url, some(listen.event)).await?;
            (secret, Some((project, id)))
        }
    };
    let what = match &made {
        Some((project, _)) => format!("Receiving the events of {project} on {url}, until Ctrl-C."),
        None => format!("Receiving on {url}, until Ctrl-C."),
    };
    print::remark(listen.format, &what);
    let (received, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let receiver = Receiver { secret, format: listen.format, clock: Clock::system(), received };
    let router = Router::new().fallback(receive).with_state(Arc::new(receiver));
    let (signal, count) = (stop_signal("requests")?, listen.count);
    let enough = async move {
        let mut left = count;
        while left != Some(0) {
            if arrivals.recv().await.is_none() {
                break;
            }
            left = left.map(|left| left.saturating_sub(1));
        }
    };
    let stop = async move {
        tokio::select! {
            () = signal => {}
            () = enough => {}
        }
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
    if let Some((project, id)) = made {
        place.ask(&Call::delete(&path(Some(&id))).with_query("project", &project)).await?;
        print::remark(listen.format, "The webhook is deleted again.");
    }
    Ok(served?)
}

/// Makes a webhook that leads here, in the place of one that a run which was killed has left.
async fn register(
    place: &Place,
    project: &ProjectId,
    url: &str,
    events: Option<Vec<String>>,
) -> anyhow::Result<(Secret, String)> {
    let listed = place.ask(&Call::get(&path(None)).with_query("project", &project)).await?;
    let get = |webhook: &Value, name: &str| webhook.get(name).map(cell).unwrap_or_default();
    for webhook in listed.get("webhooks").and_then(Value::as_array).into_iter().flatten() {
        if get(webhook, "url") == url && get(webhook, "description") == OURS {
            let id = get(webhook, "id");
            place.ask(&Call::delete(&path(Some(&id))).with_query("project", &project)).await?;
        }
    }
    let call = Call::post(&path(None))
        .with_query("project", &project)
        .field("url", url)
        .field("description", OURS)
        .maybe_field("events", events);
    let made = place.ask(&call).await.map_err(|error| {
        if error.downcast_ref().is_some_and(|refused: &Unanswered| refused.refuses("url")) {
            anyhow!("receivers on this machine have to be permitted where the meter runs: METER_WEBHOOKS_ALLOW_LOOPBACK=1")
        } else {
            error
        }
    })?;
    let secret = made.get("secret").and_then(Value::as_str).and_then(Secret::parse);
    Ok((secret.context("the answer has no secret")?, get(&made, "id")))
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now_s = receiver.clock.now().as_seconds();
    let (shown, status) = match checked(&receiver.secret, &headers, &body, now_s) {
        Ok(event) => (event, StatusCode::NO_CONTENT),
        Err(why) => (json!({ "refused": why.to_string() }), StatusCode::UNAUTHORIZED),
    };
    // Whoever closed our output is told by the next event that is printed nowhere.
    let printed = print::result(receiver.format, &shown, line);
    if status.is_success() && printed.is_ok() {
        // Nobody counts any more once enough have come.
        receiver.received.send(()).ok();
    }
    status
}

/// The event of a delivery, if it is signed and its time is near ours.
fn checked(secret: &Secret, headers: &HeaderMap, body: &[u8], now_s: u64) -> anyhow::Result<Value> {
    let header = |name: &'static str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.with_context(|| format!("it has no {name}"))
    };
    let (id, at, signatures) = (header(ID_HEADER)?, header(TIMESTAMP_HEADER)?, header(SIGNATURE_HEADER)?);
    if !secret.has_signed(signatures, id, at, body) {
        bail!("its signature is not by this webhook's secret");
    }
    let at_s: u64 = whole(at).with_context(|| format!("its time is {at:?}, accepted are seconds"))?;
    if at_s.abs_diff(now_s) > TOLERANCE_S {
        bail!("it is signed, but its time is {} s away from this machine's", at_s.abs_diff(now_s));
    }
    let mut event: Value = serde_json::from_slice(body).context("its body is not JSON")?;
    if let Value::Object(fields) = &mut event {
        fields.insert("id".to_owned(), id.into());
    }
    Ok(event)
}

/// `2026-11-23T12:00:00Z usage.threshold_reached threshold=80 used=815 (verified, msg_…)`
fn line(event: &Value) -> String {
    if let Some(why) = event.get("refused") {
        return format!("refused with 401: {}", cell(why));
    }
    let none = Map::new();
    let get = |name: &str| cell(event.get(name).unwrap_or(&Value::Null));
    let fields = event.get("data").and_then(Value::as_object).unwrap_or(&none);
    let fields = fields.iter().map(|(name, value)| format!(" {name}={}", cell(value)));
    format!("{} {}{} (verified, {})", get("timestamp"), get("type"), fields.collect::<String>(), get("id"))
}

fn secret(text: &str) -> Result<Secret, String> {
    Secret::parse(text).ok_or_else(|| "accepted is whsec_… as `meter webhooks create` printed it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::sign::signatures;

    #[test]
    fn only_what_is_signed_and_fresh_is_an_event() {
        let secret = Secret::new([7; 32]);
        let at = shared::time::Timestamp::from_ms(1_000_000_000);
        let body = r#"{"type":"webhook.test","timestamp":"2001-09-09T01:46:40Z","data":{"project":"demo"}}"#;
        let mut headers = HeaderMap::new();
        let signed = signatures(std::slice::from_ref(&secret), "msg_1", at, body);
        headers.insert(ID_HEADER, "msg_1".parse().unwrap());
        headers.insert(TIMESTAMP_HEADER, "1000000".parse().unwrap());
        assert!(
            checked(&secret, &headers, body.as_bytes(), 1_000_000)
                .unwrap_err()
                .to_string()
                .contains("signature")
        );
        headers.insert(SIGNATURE_HEADER, signed.parse().unwrap());
        let event = checked(&secret, &headers, body.as_bytes(), 1_000_300).unwrap();
        assert_eq!(line(&event), "2001-09-09T01:46:40Z webhook.test project=demo (verified, msg_1)");
        let late = checked(&secret, &headers, body.as_bytes(), 1_000_301).unwrap_err().to_string();
        assert!(late.contains("301 s away"), "{late}");
        let other = checked(&Secret::new([8; 32]), &headers, body.as_bytes(), 1_000_000).unwrap_err();
        assert!(other.to_string().contains("not by this webhook's secret"), "{other}");
        let changed = checked(&secret, &headers, body.replace("demo", "dem0").as_bytes(), 1_000_000);
        assert!(changed.is_err());
    }
}
