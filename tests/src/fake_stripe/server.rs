//! The fake's sockets: who is let in, which page or call is meant, and the faults of the wire.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::checkout::Choice;
use super::refused::Refused;
use super::{Fake, Settings, api, checkout, control, delivery, form, pages, portal};

/// Longer bodies are refused; Stripe's own limit is of that order.
const BODY_BYTES_MAX: usize = 1024 * 1024;

type Answer = Response<Full<Bytes>>;

/// Serves until `stop` is ready.
///
/// # Errors
/// When the address is not of loopback or not free, or the state cannot be read.
pub async fn serve(settings: Settings, stop: impl Future<Output = ()>) -> Result<()> {
    ensure!(settings.listen.ip().is_loopback(), "the simulated Stripe listens on loopback only");
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {} (FAKE_STRIPE_LISTEN)", settings.listen))?;
    let fake = Fake::new(Settings { listen: listener.local_addr()?, ..settings })?;
    let deliveries = tokio::spawn(delivery::run(fake.clone()));
    tokio::select! {
        () = accept(listener, fake.clone()) => {}
        () = stop => {}
    }
    deliveries.abort();
    fake.change(|_| ());
    Ok(())
}

async fn accept(listener: TcpListener, fake: Fake) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let fake = fake.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| handle(fake.clone(), request));
            // A connection that a fault has cut ends with an error, as it should.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

/// A call as it came.
struct Call {
    method: String,
    path: String,
    query: String,
    body: Bytes,
    key: Option<String>,
    authorized: bool,
    agent: String,
}

async fn handle(fake: Fake, request: Request<Incoming>) -> io::Result<Answer> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let mut call = Call {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        body: Bytes::new(),
        key: header("idempotency-key").map(str::to_owned),
        agent: header(USER_AGENT.as_str()).unwrap_or_default().to_owned(),
        authorized: header(AUTHORIZATION.as_str()).is_some_and(is_test_key),
    };
    call.body = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| io::Error::other(error.to_string()))?
        .to_bytes();
    if call.path.starts_with("/v1/") {
        return stripe(&fake, &call).await;
    }
    let answered = if call.path.starts_with("/_fake/") {
        fake.change(|world| control::call(world, &call.method, &call.path, &call.body))
            .map(|body| json_answer(200, &body))
    } else {
        page(&fake, &call)
    };
    Ok(answered.unwrap_or_else(|refused| json_answer(refused.status, &refused.body())))
}

fn is_test_key(authorization: &str) -> bool {
    authorization
        .strip_prefix("Bearer ")
        .is_some_and(|key| key.starts_with("sk_test_") || key.starts_with("rk_test_"))
}

/// One of Stripe's calls, with the faults that were asked for.
async fn stripe(fake: &Fake, call: &Call) -> io::Result<Answer> {
    let cut = || io::Error::new(io::ErrorKind::ConnectionAborted, "a fault cut this connection");
    let name = format!("{} {}", call.method, call.path);
    let fault = fake.with(|world| world.faults.of(&name)).unwrap_or_default();
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    if fault.drop {
        return Err(cut());
    }
    if let Some(status) = fault.page {
        let mut answer = html("<html><body><h1>Bad gateway</h1></body></html>");
        *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        return Ok(answer);
    }
    let (status, body, replayed) = fake.change(|world| {
        let (status, body, replayed) = act(world, call, fault.status);
        world.note(json!({
            "call": name, "key": call.key, "body": String::from_utf8_lossy(&call.body), "query": call.query,
            "status": status, "replayed": replayed, "agent": call.agent,
        }));
        (status, body, replayed)
    });
    if fault.drop_after {
        return Err(cut());
    }
    let mut answer = json_answer(status, &body);
    if replayed {
        answer.headers_mut().insert("idempotent-replayed", hyper::header::HeaderValue::from_static("true"));
    }
    Ok(answer)
}

fn act(world: &mut super::World, call: &Call, failing: Option<u16>) -> (u16, Value, bool) {
    let refused = |refused: Refused| (refused.status, refused.body(), false);
    if !call.authorized {
        return refused(Refused::key());
    }
    let text = if call.method == "POST" {
        String::from_utf8_lossy(&call.body).into_owned()
    } else {
        call.query.clone()
    };
    let parameters = match form::parse(&text) {
        Ok(parameters) => parameters,
        Err(error) => return refused(error),
    };
    let key = call.key.as_deref().filter(|_| call.method == "POST");
    if let Some(key) = key {
        match world.recall(key, &format!("{} {}", call.method, call.path), &parameters) {
            Ok(Some((status, body))) => return (status, body, true),
            Ok(None) => {}
            Err(error) => return refused(error),
        }
    }
    let (status, body) = match failing {
        Some(status) => (status, json!({"error": {"type": "api_error", "message": "An injected failure."}})),
        None => match api::call(world, &call.method, &call.path, &parameters) {
            Ok(body) => (200, body),
            Err(refused) => (refused.status, refused.body()),
        },
    };
    if let Some(key) = key {
        world.remember(key, status, &body);
    }
    (status, body, false)
}

/// The hosted pages.
fn page(fake: &Fake, call: &Call) -> Result<Answer, Refused> {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    let given = form::parse(&String::from_utf8_lossy(&call.body))?;
    match (call.method.as_str(), parts.as_slice()) {
        ("GET", ["healthz"]) => Ok(json_answer(200, &json!({"status": "ok"}))),
        ("GET", ["pay", id]) => {
            let session = fake.with(|world| world.get("checkout.session", id))?;
            Ok(html(&pages::checkout(&session, "")))
        }
        ("POST", ["pay", id]) => {
            let choice = Choice::parse(form::required(&given, "method")?)
                .ok_or_else(|| Refused::parameter("method", "this page has no such button"))?;
            match fake.change(|world| checkout::pay(world, id, choice)) {
                Ok(session) => Ok(after_payment(id, &session)),
                Err(refused) => {
                    let session = fake.with(|world| world.get("checkout.session", id))?;
                    let told = refused.body()["error"]["message"].as_str().unwrap_or_default().to_owned();
                    Ok(html(&pages::checkout(&session, &told)))
                }
            }
        }
        ("GET", ["portal", id]) => fake.with(|world| {
            let session = world.get("billing_portal.session", id)?;
            Ok(html(&pages::portal(world, &session, "")))
        }),
        ("POST", ["portal", id]) => fake.change(|world| {
            let told = match portal::act(world, id, &given) {
                Ok(_) => "Done.".to_owned(),
                Err(refused) => refused.body()["error"]["message"].as_str().unwrap_or_default().to_owned(),
            };
            let session = world.get("billing_portal.session", id)?;
            Ok(html(&pages::portal(world, &session, &told)))
        }),
        ("GET", ["invoice", id]) => {
            let invoice = fake.with(|world| world.get("invoice", id))?;
            Ok(html(&pages::invoice(&invoice)))
        }
        _ => Err(Refused::route(&call.method, &call.path)),
    }
}

/// Back to where the session's maker wants the payer.
fn after_payment(id: &str, session: &Value) -> Answer {
    match session["success_url"].as_str() {
        Some(url) => {
            let url = url.replace("{CHECKOUT_SESSION_ID}", id);
            let answer = Response::builder().status(StatusCode::SEE_OTHER).header(LOCATION, url);
            answer.body(Full::default()).unwrap_or_else(|_| html("Paid."))
        }
        None => html(&pages::checkout(session, "Paid.")),
    }
}

fn json_answer(status: u16, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}

fn html(text: &str) -> Answer {
    let mut answer = Response::new(Full::from(text.to_owned()));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}
