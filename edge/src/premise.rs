//! The meter in one process with its home beside it, as an on-premise reporter runs it: the same gate, the same
//! questions, the same answers.
//!
//! Nothing here does I/O, and nothing here verifies a key: whoever can connect is served, so that whoever uses this
//! must not listen to strangers.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::cell::Observed;
use shared::decision::{Ask, Denial, Verdict};
use shared::denials::DenialReason;
use shared::home::HomeName;
use shared::home::call::Observing;
use shared::ids::{AgentId, KeyId};
use shared::json;
use shared::key::ProjectKey;
use shared::kind::{Kind, Routes};
use shared::problem::{ErrorCode, Problem};
use shared::sign::SigningKeys;
use shared::time::Timestamp;
use shared::units::Units;

use crate::conclude::{self, Decided};
use crate::config::Config;
use crate::fields;
use crate::gate::{self, Head};
use crate::observe;
use crate::step::{self, Deciding, Reading, Step, Then};

/// The most counts in one body: a second of a busy endpoint, and no more than a commit can hold.
pub const COUNTS_MAX: usize = 10_000;
/// The most units that one count may name; whoever has served more says so in several.
pub const UNITS_MAX: u64 = 1_000_000;

const UNITS: &str = "a whole number from 0 to 1000000";

/// A gate whose callers are all one: those of the machine.
#[derive(Debug)]
pub struct Premise {
    config: Config,
    forwards: bool,
}

/// What its operator has settled.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Which paths are forwarded; those of the edge where it is not said.
    pub routes: Option<Routes>,
    /// What forwarded requests are signed with.
    pub signing_keys: SigningKeys,
    /// Whether there is somebody to forward to.
    pub forwards: bool,
    /// Whether limits are told of, but nobody is denied for them.
    pub shadow: bool,
}

/// A request's line and headers.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The `Host` header.
    pub host: &'a str,
    /// The `Palveron-Agent` header.
    pub agent: &'a str,
    /// Bytes of all header names and values.
    pub header_bytes: u32,
    /// What `Content-Length` announces.
    pub body_bytes: u32,
    /// Whether the connection is to become something other than HTTP.
    pub upgrades: bool,
}

/// What is to be done next with a request.
#[derive(Debug)]
pub enum Next {
    /// Answer it.
    Answer(Answer),
    /// Read its body and hand it to [`Premise::read`].
    Read(Body),
    /// Ask the home and hand its verdict to [`Premise::conclude`].
    Decide(Question),
    /// Have the home note it and hand what it says to [`Premise::noted`].
    Observe(Observing),
    /// Forward it.
    Forward(Forward),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names and values of its headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// What is to be counted as refused.
    pub refused: Option<(Kind, AgentId, DenialReason)>,
    /// What is to be counted as let through by shadow mode.
    pub let_through: Option<(Kind, AgentId, DenialReason)>,
}

/// A body that is still to be read.
#[derive(Debug)]
pub struct Body {
    reading: Reading,
    observes: bool,
}

impl Body {
    /// A longer one is refused.
    #[must_use]
    pub fn bytes_max(&self) -> u32 {
        self.reading.bytes_max
    }
}

/// A question for the home.
#[derive(Debug)]
pub struct Question(Deciding);

impl Question {
    /// What is asked.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        &self.0.ask
    }

    /// Asks for another agent, where names must not be kept.
    #[must_use]
    pub fn for_agent(mut self, agent: AgentId) -> Self {
        self.0.ask.agent = agent;
        self
    }
}

/// How to forward an allowed request.
#[derive(Debug)]
pub struct Forward {
    /// Headers of the answer.
    pub headers: Vec<(String, String)>,
    /// Headers of the forwarded request, which tell who asks.
    pub identity: Vec<(String, String)>,
    /// What it was counted as.
    pub kind: Kind,
    /// For whom.
    pub agent: AgentId,
    /// Why it would have been refused, where shadow mode lets it through; that is to be counted.
    pub let_through: Option<DenialReason>,
}

/// Something that was served, by somebody who did not ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// What was governed.
    pub kind: Kind,
    /// For which agent.
    pub agent: AgentId,
    /// How many requests.
    pub units: Units,
    /// What was observed of them.
    pub observed: Observed,
}

/// A count as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountBody {
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    agent: Option<String>,
    #[serde(default)]
    units: Option<u64>,
    #[serde(default)]
    tokens_in: u64,
    #[serde(default)]
    tokens_out: u64,
    #[serde(default)]
    anchors: u64,
}

const COUNT: [(&str, &str); 6] = [
    ("kind", gate::KIND),
    ("agent", gate::AGENT),
    ("units", UNITS),
    ("tokens_in", gate::TOKENS),
    ("tokens_out", gate::TOKENS),
    ("anchors", gate::ANCHORS),
];

impl Premise {
    /// A gate in front of that home, under whose key all questions are asked.
    #[must_use]
    pub fn new(home: HomeName, key: KeyId, rules: Rules) -> Self {
        let resident = ProjectKey { project: home.project, mode: home.mode, id: key };
        let Rules { routes, signing_keys, forwards, shadow } = rules;
        let routes = routes.unwrap_or_default();
        Self { config: Config::for_resident(resident, routes, signing_keys, shadow), forwards }
    }

    /// Looks at a request's line and headers.
    #[must_use]
    pub fn enter(&self, request: &Request<'_>) -> Next {
        let head = Head {
            method: request.method,
            url: request.target,
            authorization: "",
            agent: request.agent,
            header_bytes: request.header_bytes,
            body_bytes: request.body_bytes,
            host: request.host,
            upgrades: request.upgrades,
        };
        self.next(gate::gate(&self.config, &head))
    }

    /// Continues with a body.
    #[must_use]
    pub fn read(&self, body: Body, text: &str) -> Next {
        let Body { reading, observes } = body;
        if !observes {
            return self.next(gate::read_body(reading, text));
        }
        match gate::read_observation(reading.caller, text) {
            Ok(observing) => Next::Observe(observing),
            Err(answer) => Next::Answer((*answer).into()),
        }
    }

    /// Turns the home's verdict into the answer, or into how to forward the request.
    #[must_use]
    pub fn conclude(&self, question: Question, verdict: &Verdict, now: Timestamp) -> Next {
        self.next_of(question.0, |deciding| {
            conclude::decided(&self.config, deciding, verdict, now, Decided::Home)
        })
    }

    /// What becomes of a question that the home cannot decide, because nothing can be written: it is refused, unless in
    /// shadow mode, where nobody is denied for that.
    #[must_use]
    pub fn undecided(&self, question: Question, now: Timestamp) -> Next {
        let code = ErrorCode::HomeUnavailable.as_str();
        match self.next_of(question.0, |deciding| conclude::refused(&self.config, deciding, code, now)) {
            forward @ Next::Forward(_) => forward,
            // Nor can it be noted that it was denied.
            Next::Answer(_) | Next::Read(_) | Next::Decide(_) | Next::Observe(_) => {
                Next::Answer(Self::unavailable())
            }
        }
    }

    /// The answer to an observation that the home has noted, or why not.
    #[must_use]
    pub fn noted(&self, observing: &Observing, denial: Option<Denial>) -> Next {
        self.next(observe::noted(observing, denial))
    }

    /// The answer where the home cannot decide, because nothing can be written.
    #[must_use]
    pub fn unavailable() -> Answer {
        step::Failure::Home.answer().into()
    }

    /// Reads the body of counts: one object, or a list of them. `agent` is the one of the `Palveron-Agent` header.
    ///
    /// # Errors
    /// The answer that refuses it; then none of them counts.
    pub fn counts(&self, agent: &str, body: &str) -> Result<Vec<Count>, Answer> {
        let caller = gate::agent_of_header(agent).map_err(|answer| Answer::from(*answer))?;
        if !body.trim_start().starts_with('[') {
            return Ok(vec![count(body, &caller)?]);
        }
        let texts: Vec<&RawValue> = json::read(body).map_err(|_| {
            Answer::of(&Problem::new(
                ErrorCode::MalformedJson,
                "The body must be a JSON object such as {\"kind\":\"verify\"}, or a list of such objects.",
            ))
        })?;
        if texts.is_empty() || texts.len() > COUNTS_MAX {
            let accepts = format!("1 to {COUNTS_MAX} counts in a list");
            return Err(Answer::of(&Problem::field("body", &texts.len().to_string(), &accepts)));
        }
        texts.into_iter().map(|text| count(text.get(), &caller)).collect()
    }

    fn next(&self, step: Step) -> Next {
        match step {
            Step::Answer(answer) => Next::Answer(answer.into()),
            Step::ReadBody(reading) => Next::Read(Body { reading, observes: false }),
            Step::ReadObservation(reading) => Next::Read(Body { reading, observes: true }),
            Step::Observe(observing) => Next::Observe(observing),
            Step::Decide(deciding) => {
                if !self.forwards && matches!(deciding.then, Then::Forward { .. }) {
                    let detail = "Nobody is set to forward to, and nothing was counted. Set METER_REPORTER_UPSTREAM, or ask /v1/check.";
                    return Next::Answer(Answer::of(&Problem::new(ErrorCode::UpstreamUnavailable, detail)));
                }
                Next::Decide(Question(deciding))
            }
            // Policies come with receipts, and numbers have a page of their own.
            Step::Forward { .. }
            | Step::ReadPolicy { .. }
            | Step::ReadLeases { .. }
            | Step::Leases { .. }
            | Step::Metrics
            | Step::Install { .. } => {
                Next::Answer(Answer::of(&Problem::new(ErrorCode::NotFound, "There is nothing at this path.")))
            }
        }
    }

    fn next_of(&self, deciding: Deciding, conclude: impl FnOnce(Deciding) -> Step) -> Next {
        let (kind, agent) = (deciding.ask.kind, deciding.ask.agent.clone());
        match conclude(deciding) {
            Step::Forward { headers, identity, source, would_deny, .. } => {
                let let_through = DenialReason::parse(&would_deny);
                let headers = conclude::answer_headers(headers, source, &would_deny);
                Next::Forward(Forward { headers, identity, kind, agent, let_through })
            }
            step @ (Step::Answer(_)
            | Step::ReadBody(_)
            | Step::ReadObservation(_)
            | Step::Observe(_)
            | Step::Decide(_)
            | Step::ReadPolicy { .. }
            | Step::ReadLeases { .. }
            | Step::Leases { .. }
            | Step::Metrics
            | Step::Install { .. }) => self.next(step),
        }
    }
}

/// Reads one count.
fn count(text: &str, caller: &AgentId) -> Result<Count, Answer> {
    let body: CountBody = fields::read(text, &COUNT).map_err(|answer| Answer::from(*answer))?;
    let refused =
        |field: &str, got: u64, accepts: &str| Answer::of(&Problem::field(field, &got.to_string(), accepts));
    let most = |field: &str, got: u64, max: u64, accepts: &str| {
        if got <= max { Ok(Units::new(got)) } else { Err(refused(field, got, accepts)) }
    };
    let agent = match body.agent.as_deref() {
        Some(text) => gate::agent_of("agent", text).map_err(|answer| Answer::from(*answer))?,
        None => caller.clone(),
    };
    let observed = Observed {
        tokens_in: most("tokens_in", body.tokens_in, Observed::TOKENS_MAX, gate::TOKENS)?,
        tokens_out: most("tokens_out", body.tokens_out, Observed::TOKENS_MAX, gate::TOKENS)?,
        anchors: most("anchors", body.anchors, Observed::ANCHORS_MAX, gate::ANCHORS)?,
    };
    let units = most("units", body.units.unwrap_or(1), UNITS_MAX, UNITS)?;
    let kind = body.kind.ok_or_else(|| Answer::of(&Problem::missing("kind", gate::KIND)))?;
    Ok(Count { kind, agent, units, observed })
}

/// What an upstream's headers say was observed; one that cannot be meant says nothing.
#[must_use]
pub fn observed_of(tokens_in: &str, tokens_out: &str, anchors: &str) -> Observed {
    observe::observed_of(tokens_in, tokens_out, anchors)
}

impl Answer {
    /// A problem's answer.
    #[must_use]
    pub fn of(problem: &Problem) -> Self {
        step::Answer::problem(problem).into()
    }

    /// JSON with status 200.
    #[must_use]
    pub fn json(body: String) -> Self {
        step::Answer::json(body).into()
    }
}

impl From<step::Answer> for Answer {
    fn from(answer: step::Answer) -> Self {
        let step::Answer { status, headers, body, denied } = answer;
        let (is_let_through, told) = denied.map_or((false, None), |denied| {
            (denied.is_let_through, Some((denied.kind, denied.agent, denied.reason)))
        });
        let (refused, let_through) = if is_let_through { (None, told) } else { (told, None) };
        Self { status, headers, body, refused, let_through }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

#[cfg(test)]
mod tests;
