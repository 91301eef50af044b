//! What `entry.js` is told to do next.

use serde::{Deserialize, Serialize};
use shared::cell::Observed;
use shared::decision::{Ask, Header};
use shared::denials::DenialReason;
use shared::home::HomeName;
use shared::home::call::{CallId, Observing};
use shared::ids::AgentId;
use shared::json;
use shared::kind::Kind;
use shared::problem::{CONTENT_TYPE, ErrorCode, Problem};
use shared::source::{Paid, Source};

use crate::contract::Ticket;

/// One thing to do.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Answer the client.
    Answer(Answer),
    /// Read the body, at most `bytes_max`, and call `check`.
    ReadBody(Reading),
    /// Read the body, at most `bytes_max`, and call `observeBody`.
    ReadObservation(Reading),
    /// Tell the home and call `observed`.
    Observe(Observing),
    /// Ask the home and call `conclude`.
    Decide(Deciding),
    /// Forward the request and add `headers` to what comes back.
    Forward {
        /// Headers of the answer.
        headers: Vec<Pair>,
        /// Headers of the forwarded request.
        identity: Vec<Pair>,
        /// What to hand to `answered` with the upstream's answer.
        ticket: Ticket,
        /// The code that it would have been denied with, in shadow mode; else empty.
        would_deny: String,
        /// What pays for it; empty where nothing is counted or nobody knows.
        source: &'static str,
    },
    /// Read the body and call `policy_push`.
    ReadPolicy {
        /// A longer body is answered with `body_too_large`.
        bytes_max: u32,
    },
    /// Read the body and call `leasesAsked`.
    ReadLeases {
        /// A longer body is answered with `body_too_large`.
        bytes_max: u32,
    },
    /// Answer with what these homes and their sub-homes tell of their leases.
    Leases {
        /// Each home of the project.
        homes: Vec<String>,
    },
    /// Answer with what `metrics` says.
    Metrics,
    /// Hand the policy to these homes.
    Install {
        /// Each home of the project.
        homes: Vec<String>,
        /// The policy's version.
        version: u64,
    },
}

/// A question whose body is still to be read. `entry.js` hands it back as it got it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// A longer body is answered with `body_too_large`.
    pub(crate) bytes_max: u32,
    /// Whose key it was, for the ask that the body will make.
    pub(crate) caller: Caller,
}

/// A question for a home. `entry.js` hands it back as it got it, with the reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deciding {
    /// Which home.
    pub(crate) home: HomeName,
    /// The question.
    pub(crate) ask: Ask,
    /// What the verdict is for.
    pub(crate) then: Then,
    /// The call of the isolate's holder that asks, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<CallId>,
    /// Whether somebody should look after the holder, whatever becomes of the call.
    #[serde(skip)]
    pub(crate) restless: bool,
    /// Under what the isolate keeps the units of a request that is counted later; zero is nothing.
    #[serde(skip)]
    pub(crate) token: u32,
}

impl Deciding {
    pub(crate) fn new(home: HomeName, ask: Ask, then: Then) -> Self {
        Self { home, ask, then, call: None, restless: false, token: 0 }
    }
}

/// The body of `POST /v1/observe`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ObserveBody {
    /// What was governed; `verify` where it is absent.
    #[serde(default)]
    pub(crate) kind: Option<Kind>,
    /// Whose tokens these are; that of `Palveron-Agent` where it is absent.
    #[serde(default)]
    pub(crate) agent: Option<String>,
    /// LLM tokens read; never billed.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(max = 1_000_000_000)))]
    pub(crate) tokens_in: u64,
    /// LLM tokens written; never billed.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(max = 1_000_000_000)))]
    pub(crate) tokens_out: u64,
    /// Blockchain anchors; billed apart where the plan says so.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(max = 1_000)))]
    pub(crate) anchors: u64,
}

/// The answer to `POST /v1/observe`: what was noted.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ObserveAnswer<'a> {
    pub(crate) kind: Kind,
    pub(crate) agent: &'a shared::ids::AgentId,
    #[serde(flatten)]
    pub(crate) observed: Observed,
}

/// A header's name and value.
pub(crate) type Pair = (String, String);

/// An answer to the client.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<Pair>,
    pub(crate) body: String,
    /// What it is counted as, where it refuses a request of a project.
    #[serde(skip)]
    pub(crate) denied: Option<Box<Denied>>,
}

/// A request that is refused, or that shadow mode lets through, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) home: HomeName,
    pub(crate) kind: Kind,
    pub(crate) agent: AgentId,
    pub(crate) reason: DenialReason,
    /// That it is served all the same.
    pub(crate) is_let_through: bool,
}

/// Whose key a request carried and for which agent it asks.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) home: HomeName,
    pub(crate) key: shared::ids::KeyId,
    pub(crate) agent: shared::ids::AgentId,
}

/// What a verdict is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Then {
    /// Forward the request if it is allowed.
    Forward {
        /// The request's method.
        method: String,
        /// The request's path and query.
        path: String,
    },
    /// Tell the caller of `/v1/check`.
    Check,
    /// Tell the caller of `/v1/quota`.
    Quota,
}

/// The body of `POST /v1/check`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("required" = ["kind"])))]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody {
    /// What is to be done; it must be there.
    // Who reads the body says that it is missing.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Kind"))]
    pub(crate) kind: Option<Kind>,
    /// Who is to do it; that of `Palveron-Agent` where it is absent. What is not ASCII is percent-encoded.
    #[serde(default)]
    pub(crate) agent: Option<String>,
    /// Units that it costs; one where it is absent.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(min = 1, max = 1_000)))]
    pub(crate) cost: Option<u32>,
    /// Whether to say what would be decided, and count nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// The answer to `POST /v1/check`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckAnswer {
    /// Whether it may be done.
    pub(crate) allowed: bool,
    /// `ok`, or the code that the request is denied with.
    pub(crate) code: &'static str,
    /// What was asked for.
    pub(crate) kind: Kind,
    /// Units that it costs.
    pub(crate) cost: u32,
    /// Units left this month; `null` where only the requests per minute limit it.
    pub(crate) remaining: Option<shared::units::Units>,
    /// Units that may be spent this month; `null` where only the requests per minute limit it.
    pub(crate) limit: Option<shared::units::Units>,
    /// When the month's numbers begin anew, RFC 3339.
    pub(crate) resets_at: String,
    /// After how many milliseconds to ask again, where waiting helps.
    pub(crate) retry_after_ms: Option<u64>,
    /// In shadow mode, the code that it would have been denied with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) would_deny: Option<&'static str>,
    /// What pays for it: the plan, a lot, or overage; of several the dearest. Absent where nothing is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Source>,
    /// Units by what pays for them, where that is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paid_by: Option<Paid>,
}

impl Then {
    /// Of somebody who serves or forwards it by itself, and answers with the problem of a request that is not served.
    pub(crate) fn nothing_to_forward() -> Self {
        Self::Forward { method: String::new(), path: String::new() }
    }
}

impl Step {
    /// The step as JSON.
    pub(crate) fn to_json(&self) -> String {
        json::write(self)
    }

    /// An answer that is a problem.
    pub(crate) fn problem(problem: &Problem) -> Self {
        Self::Answer(Answer::problem(problem))
    }
}

impl Answer {
    /// JSON with status 200.
    pub(crate) fn json(body: String) -> Self {
        let headers = vec![pair(("Content-Type", "application/json".to_owned()))];
        Self { status: 200, headers, body, denied: None }
    }

    /// A problem's answer.
    pub(crate) fn problem(problem: &Problem) -> Self {
        let headers = vec![pair(("Content-Type", CONTENT_TYPE.to_owned()))];
        Self { status: problem.status, headers, body: problem.to_json(), denied: None }
    }

    /// Counts it as the refusal of a request.
    pub(crate) fn denying(
        mut self,
        (home, kind, agent): (HomeName, Kind, AgentId),
        reason: DenialReason,
    ) -> Self {
        self.denied = Some(Box::new(Denied { home, kind, agent, reason, is_let_through: false }));
        self
    }

    /// Notes that what was noted as refused is served all the same.
    pub(crate) fn let_through(mut self) -> Self {
        if let Some(denied) = &mut self.denied {
            denied.is_let_through = true;
        }
        self
    }

    /// Adds headers.
    pub(crate) fn with(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers.into_iter().map(pair));
        self
    }
}

/// What went wrong around the decision, as `entry.js` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The home did not answer, or could not read or write its rows.
    Home,
    /// The governance service did not answer.
    Upstream,
    /// The worker lacks a setting.
    NotReady,
    /// The body turned out longer than accepted.
    BodyTooLarge,
    /// The body did not come in time.
    RequestTimeout,
    /// The body is not HTTP.
    BadRequest,
    /// Anything else.
    Internal,
}

impl Failure {
    /// The failure of that code; one that is not ours is internal.
    pub(crate) fn parse(code: &str) -> Self {
        let ours = [Self::Home, Self::Upstream, Self::NotReady];
        let clients = [Self::BodyTooLarge, Self::RequestTimeout, Self::BadRequest];
        ours.into_iter()
            .chain(clients)
            .find(|failure| failure.code().as_str() == code)
            .unwrap_or(Self::Internal)
    }

    fn code(self) -> ErrorCode {
        match self {
            Self::Home => ErrorCode::HomeUnavailable,
            Self::Upstream => ErrorCode::UpstreamUnavailable,
            Self::NotReady => ErrorCode::NotReady,
            Self::BodyTooLarge => ErrorCode::BodyTooLarge,
            Self::RequestTimeout => ErrorCode::RequestTimeout,
            Self::BadRequest => ErrorCode::BadRequest,
            Self::Internal => ErrorCode::Internal,
        }
    }

    /// The answer that says so, and when to come back where waiting helps.
    pub(crate) fn answer(self) -> Answer {
        let (detail, retry_after) = match self {
            Self::Home => {
                ("The project's limits could not be checked in time. Send the request again.", Some("1"))
            }
            Self::Upstream => (
                "The request was allowed and counted, but the governance service did not answer. Send it again later.",
                None,
            ),
            Self::NotReady => {
                ("The worker is not configured. Its log says which setting is missing.", Some("1"))
            }
            Self::BodyTooLarge => ("The body is larger than this path accepts.", None),
            Self::RequestTimeout => ("The body did not arrive in time. Send the request again.", None),
            Self::BadRequest => ("The body could not be read to its end.", None),
            Self::Internal => {
                ("Send the request again; if it stays so, tell support the time of this answer.", None)
            }
        };
        let retry_after = retry_after.map(|seconds| ("Retry-After", seconds.to_owned()));
        Answer::problem(&Problem::new(self.code(), detail)).with(retry_after)
    }
}

/// A header with an owned name.
pub(crate) fn pair((name, value): Header) -> Pair {
    (name.to_owned(), value)
}
