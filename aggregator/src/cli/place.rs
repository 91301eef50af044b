//! Where commands work: on the books themselves, or at a server over HTTP. Either way what is asked is the one
//! interface of `http`, so that a command says and refuses the same in both places.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use shared::ids::ProjectId;
use shared::problem::{ErrorCode, Problem};

use super::call::Call;
use super::options::Project;
use super::{Context, serve};
use crate::access::trail::Actor;
use crate::config::{Config, Server};
use crate::edge::outbound::Outbound;
use crate::http::{Commanded, Site, Timeouts, router};

/// How long a server may take: its slowest calls ask Stripe.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// No answer is longer; a page of 10,000 agents is a few megabytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a request of our own says about whom it is for and from; neither is looked at.
const OURSELVES: &str = "command-line";

/// Where commands work.
pub(super) enum Place {
    /// On the books themselves.
    Books(Box<Books>),
    /// At a server.
    Server(Box<Remote>),
}

/// The books, and the interface over them.
pub(super) struct Books {
    pub(super) context: Context,
    router: Router,
}

/// A server, and the client towards it.
pub(super) struct Remote {
    server: Server,
    client: Outbound,
    pub(super) project: Option<ProjectId>,
    plans: Option<PathBuf>,
}

/// What was answered instead of what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The interface refused.
    #[error("{}", told(.0, .1))]
    Refused(Box<Problem>, String),
    /// There was no answer, or none of ours.
    #[error("{0}")]
    Unreachable(String),
}

impl Unanswered {
    /// Whether that field was refused.
    pub(super) fn refuses(&self, field: &str) -> bool {
        matches!(self, Self::Refused(problem, _) if problem.field.as_deref() == Some(field))
    }

    /// Whether it was refused for that.
    pub(super) fn says(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Refused(problem, _) if ErrorCode::parse(&problem.code) == Some(code))
    }

    /// Whether the same again may be answered later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(problem, _) => problem.status >= 500 || matches!(problem.status, 408 | 429),
            Self::Unreachable(_) => true,
        }
    }
}

/// What was refused and what to do, as a person reads it: where this command line knows a way, what the interface says
/// of its own ways is left out.
fn told(problem: &Problem, next: &str) -> String {
    let whole = problem.detail.trim_end_matches('.');
    if next.is_empty() {
        return whole.to_owned();
    }
    let first = whole.split_once(". ").map_or(whole, |(first, _)| first);
    format!("{first}; {next}")
}

/// What to do about a refusal, in words of this command line.
fn next(problem: &Problem, call: &Call) -> String {
    let Some(code) = ErrorCode::parse(&problem.code) else { return String::new() };
    let next = if code == ErrorCode::ProjectUnknown {
        "`meter project list` shows those there are"
    } else if code == ErrorCode::ProjectExists {
        "change it with `meter project set <id>`"
    } else if code == ErrorCode::KeyUnknown {
        "`meter key list` shows those the project has"
    } else if code == ErrorCode::NotFound {
        call.unknown
    } else if code == ErrorCode::Unauthorized {
        "METER_TOKEN is unknown there or revoked; an operator makes another with `meter token create`"
    } else if code == ErrorCode::Internal {
        "the reason is in the server's log, or above where the command worked on the books themselves"
    } else {
        ""
    };
    next.to_owned()
}

impl Place {
    /// The books.
    pub(super) fn books(context: Context) -> anyhow::Result<Self> {
        let Context { config, store, clock, basis, first } = &context;
        let app = serve::app(config, store, clock, basis, *first)?;
        Ok(Self::Books(Box::new(Books { context, router: router(Site::new(app, Timeouts::default())) })))
    }

    /// A server, with what the settings mean where a command names no project or no catalogue file.
    pub(super) fn server(server: Server, config: Config) -> anyhow::Result<Self> {
        let Config { project, plans, .. } = config;
        let client = Outbound::to(&server.url).map_err(|why| anyhow!("METER_URL is https, but {why}"))?;
        Ok(Self::Server(Box::new(Remote { server, client, project, plans })))
    }

    /// Where people open the dashboard, as far as it is known here.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Books(books) => format!("http://{}", reachable(books.context.config.listen)),
            Self::Server(remote) => remote.server.url.to_string(),
        }
    }

    /// The catalogue file that is meant where a command names none.
    pub(super) fn plans(&self) -> Option<&Path> {
        match self {
            Self::Books(books) => books.context.config.plans.as_deref(),
            Self::Server(remote) => remote.plans.as_deref(),
        }
    }

    /// What `work` does on the books alone, or a refusal where they are a server's.
    pub(super) fn only_books(&self, what: &str) -> anyhow::Result<&Context> {
        match self {
            Self::Books(books) => Ok(&books.context),
            Self::Server(_) => bail!(
                "{what} works on the books themselves, not over HTTP: run it where they are, with DATABASE_URL and \
                 without METER_URL"
            ),
        }
    }

    /// The project that is meant where none is named, as METER_PROJECT says.
    pub(super) fn default_project(&self) -> Option<&ProjectId> {
        match self {
            Self::Books(books) => books.context.config.project.as_ref(),
            Self::Server(remote) => remote.project.as_ref(),
        }
    }

    /// The project that a command is about.
    pub(super) async fn project(&self, named: &Project) -> anyhow::Result<ProjectId> {
        if let Some(project) = named.project.as_ref().or(self.default_project()) {
            return Ok(project.clone());
        }
        let which = "which project? Name it with --project <id>, or once with METER_PROJECT";
        if let Self::Server(remote) = self
            && !remote.server.token().starts_with("pot_")
        {
            // The token's own.
            let plan = self.ask(&Call::get(&["api", "v1", "billing", "plan"])).await?;
            let own = plan.get("project").and_then(Value::as_str).and_then(|id| ProjectId::parse(id).ok());
            return own.context(which);
        }
        bail!("{which}; `meter project list` shows those there are")
    }

    /// Asks, and gives what is answered.
    pub(super) async fn ask(&self, call: &Call) -> anyhow::Result<Value> {
        let (status, body) = match self {
            Self::Books(books) => books.send(call).await?,
            Self::Server(remote) => remote.send(call).await?,
        };
        if status.is_success() {
            return serde_json::from_slice(&body).with_context(|| {
                format!("{} {} was answered with {status} and no JSON", call.method, call.path)
            });
        }
        Err(refused(call, status, &body).into())
    }

    /// Asks for one page after the other, and gives the lines of all, at most so many.
    pub(super) async fn pages(
        &self,
        call: &Call,
        (lines, cursor): (&str, &'static str),
        max: usize,
    ) -> anyhow::Result<Value> {
        let mut all = Vec::new();
        let mut next = call.clone();
        loop {
            let mut page = self.ask(&next).await?;
            if let Some(Value::Array(some)) = page.get_mut(lines) {
                all.append(some);
            }
            let cursor_value = match page.get("next") {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => break,
            };
            if all.len() >= max {
                break;
            }
            next = call.clone().with_query(cursor, &cursor_value);
        }
        all.truncate(max);
        Ok(Value::Array(all))
    }
}

/// An address of this machine where a server listens on all of them.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// What an answer that is no success says.
fn refused(call: &Call, status: StatusCode, body: &[u8]) -> Unanswered {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => {
            let next = next(&problem, call);
            Unanswered::Refused(Box::new(problem), next)
        }
        Err(_) => Unanswered::Unreachable(format!(
            "{} {} was answered with {status} and no problem of ours; METER_URL may name something else than a meter",
            call.method, call.path
        )),
    }
}

/// An answer's body, read to its end, or why it cannot be.
async fn read(answer: Response<Incoming>) -> Result<(StatusCode, Bytes), String> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
    match tokio::time::timeout(ANSWER_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok((status, body.to_bytes())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the answer did not end".to_owned()),
    }
}

fn request(call: &Call) -> axum::http::request::Builder {
    let request = Request::builder().method(call.method.clone());
    let request = match &call.idempotency_key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    };
    let request = match call.signature() {
        Some(signature) => request.header(shared::sign::SIGNATURE_HEADER, signature),
        None => request,
    };
    if call.body().is_some() { request.header(header::CONTENT_TYPE, "application/json") } else { request }
}

impl Books {
    async fn send(&self, call: &Call) -> anyhow::Result<(StatusCode, Bytes)> {
        let body = Full::from(call.body().unwrap_or_default());
        let mut request = request(call)
            .uri(call.target())
            .header(header::HOST, OURSELVES)
            .header(header::AUTHORIZATION, OURSELVES)
            .body(body)?;
        let user = self.context.config.user.clone();
        request.extensions_mut().insert(Commanded(Actor::Command { user }));
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| anyhow!("{error}"))?;
        Ok((status, body.to_bytes()))
    }
}

impl Remote {
    /// Sends a request, and gives the answer with its body still to be read.
    async fn open(&self, call: &Call) -> anyhow::Result<Response<Incoming>> {
        let request = request(call)
            .uri(self.server.url.join(&call.target())?)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.server.token()))
            .body(Full::from(call.body().unwrap_or_default()))?;
        let sent = tokio::time::timeout(ANSWER_TIMEOUT, self.client.send(request)).await;
        let late = || self.unreachable(&format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()));
        let sent = sent.map_err(|_| late())?;
        Ok(sent.map_err(|error| self.unreachable(&format!("{:#}", anyhow::Error::from(error))))?)
    }

    /// Opens a stream, and gives its body.
    pub(super) async fn stream(&self, call: &Call) -> anyhow::Result<Incoming> {
        let answer = self.open(call).await?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let (status, body) = read(answer).await.map_err(|why| self.unreachable(&why))?;
        Err(refused(call, status, &body).into())
    }

    async fn send(&self, call: &Call) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.open(call).await?;
        Ok(read(answer).await.map_err(|why| self.unreachable(&why))?)
    }

    fn unreachable(&self, why: &str) -> Unanswered {
        let url = &self.server.url;
        Unanswered::Unreachable(format!(
            "the server at {url} cannot be reached: {why}; start it, or set METER_URL to where it is"
        ))
    }
}
