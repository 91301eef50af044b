//! The gate: from a request's line and headers to the question for the home, or to a refusal.
//!
//! Forged and unknown keys end here: they never create a home and never reach the aggregator.

use shared::cell::Observed;
use shared::decision::{Ask, unauthorized};
use shared::excerpt::beginning;
use shared::home::HomeName;
use shared::home::call::Observing;
use shared::ids::{AgentId, Mode, ProjectId};
use shared::kind::{Bill, Kind, Route};
use shared::problem::{ErrorCode, Problem};
use shared::units::Units;
use shared::whole::whole;
use shared::wire::{LEASES_PATH, POLICY_PATH};

use crate::agent;
use crate::config::Config;
use crate::fields;
use crate::step::{Answer, Caller, CheckBody, Deciding, ObserveBody, Reading, Step, Then, pair};

/// All header names and values together, as common servers limit them.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Path and query.
const PATH_BYTES_MAX: usize = 8 * 1024;
/// A forwarded body is streamed, not held; this bounds what one request may move.
pub(crate) const FORWARD_BYTES_MAX: u32 = 100 * 1024 * 1024;
/// The body of `/v1/check`: a handful of short fields.
const CHECK_BYTES_MAX: u32 = 4 * 1024;
/// A signed policy: its list of keys is the longest part.
const POLICY_BYTES_MAX: u32 = 256 * 1024;
/// A question of the aggregator names a project.
const LEASES_BYTES_MAX: u32 = 4 * 1024;

/// What is accepted in the fields of questions and observations.
pub(crate) const KIND: &str = "verify, mcp_tool_call or extension_event";
pub(crate) const AGENT: &str =
    "1 to 128 visible ASCII characters, the first not ~ (other text is percent-encoded)";
pub(crate) const COST: &str = "a whole number from 1 to 1000";
const DRY_RUN: &str = "true or false";
pub(crate) const TOKENS: &str = "a whole number from 0 to 1000000000";
pub(crate) const ANCHORS: &str = "a whole number from 0 to 1000";
const CHECK: [(&str, &str); 4] = [("kind", KIND), ("agent", AGENT), ("cost", COST), ("dry_run", DRY_RUN)];
const OBSERVATION: [(&str, &str); 5] =
    [("kind", KIND), ("agent", AGENT), ("tokens_in", TOKENS), ("tokens_out", TOKENS), ("anchors", ANCHORS)];

/// What the gate looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// The method, in capitals.
    pub(crate) method: &'a str,
    /// The absolute URL, or what follows its authority.
    pub(crate) url: &'a str,
    /// The `Authorization` header; empty where there is none.
    pub(crate) authorization: &'a str,
    /// The `Palveron-Agent` header; empty where there is none.
    pub(crate) agent: &'a str,
    /// Bytes of all header names and values.
    pub(crate) header_bytes: u32,
    /// What `Content-Length` announces.
    pub(crate) body_bytes: u32,
    /// The `Host` header; empty where there is none.
    pub(crate) host: &'a str,
    /// Whether the connection is to become something other than HTTP.
    pub(crate) upgrades: bool,
}

impl<'a> Head<'a> {
    /// A request whose line was looked at before; its body goes on from here.
    pub(crate) fn continued(authorization: &'a str, agent: &'a str) -> Self {
        Self {
            method: "POST",
            url: "",
            authorization,
            agent,
            header_bytes: 0,
            body_bytes: 0,
            host: "",
            upgrades: false,
        }
    }
}

/// The answer that refuses a request.
pub(crate) type Refused = Box<Answer>;

/// Decides what a request is.
pub(crate) fn gate(config: &Config, head: &Head<'_>) -> Step {
    passed(enter(config, head))
}

/// What a request leads to, refused or not.
fn passed(step: Result<Step, Refused>) -> Step {
    step.unwrap_or_else(|answer| Step::Answer(*answer))
}

fn refused(problem: &Problem) -> Refused {
    Box::new(Answer::problem(problem))
}

fn enter(config: &Config, head: &Head<'_>) -> Result<Step, Refused> {
    // The platform puts the address together from this header, so that what is in it could pass for a path.
    if !is_authority(head.host) {
        return Err(unread(&format!("the Host header is no authority: {:?}", beginning(head.host, 40))));
    }
    let target = path_and_query(head.url);
    if target.is_empty() {
        return Err(unread("the address has no path"));
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let route = config.routes.route_of(path);
    match path {
        "/healthz" | "/v1/quota" => only("GET", head)?,
        "/v1/check" | POLICY_PATH | LEASES_PATH | "/v1/observe" => only("POST", head)?,
        _ if route.is_some() => only("POST", head)?,
        _ => {}
    }
    match (path, route) {
        ("/healthz", _) => Ok(Step::Answer(Answer::json(r#"{"status":"ok"}"#.to_owned()))),
        ("/metrics", _) if config.may_scrape(head.authorization) => {
            only("GET", head)?;
            Ok(Step::Metrics)
        }
        ("/v1/quota", _) => Ok(quota(caller(config, head)?)),
        ("/v1/check", _) => check(config, head, target),
        (POLICY_PATH, _) => {
            sized(head, POLICY_BYTES_MAX)?;
            Ok(Step::ReadPolicy { bytes_max: POLICY_BYTES_MAX })
        }
        (LEASES_PATH, _) => {
            sized(head, LEASES_BYTES_MAX)?;
            Ok(Step::ReadLeases { bytes_max: LEASES_BYTES_MAX })
        }
        ("/v1/observe", _) => {
            sized(head, CHECK_BYTES_MAX)?;
            let caller = caller(config, head)?;
            Ok(Step::ReadObservation(Reading { bytes_max: CHECK_BYTES_MAX, caller }))
        }
        (_, Some(route)) => forward(config, head, route, target),
        (_, None) => Err(refused(&Problem::new(
            ErrorCode::NotFound,
            "Accepted paths are /v1/verify, /v1/mcp/…, /v1/extension/…, /v1/check, /v1/observe and /v1/quota.",
        ))),
    }
}

/// Whether a request like one that was forwarded before may be as large as this one.
pub(crate) fn is_small(header_bytes: u32, body_bytes: u32) -> bool {
    header_bytes <= HEADER_BYTES_MAX && body_bytes <= FORWARD_BYTES_MAX
}

/// The homes that hold a project's policy.
pub(crate) fn homes_of(project: &ProjectId) -> Vec<String> {
    Mode::ALL.map(|mode| HomeName { project: project.clone(), mode }.to_string()).to_vec()
}

/// Continues `/v1/check` with its body.
pub(crate) fn check_body(config: &Config, head: &Head<'_>, body: &str) -> Step {
    match caller(config, head) {
        Ok(caller) => read_body(Reading { bytes_max: CHECK_BYTES_MAX, caller }, body),
        Err(answer) => Step::Answer(*answer),
    }
}

/// Continues `/v1/check`, whose caller is known, with its body.
pub(crate) fn read_body(reading: Reading, body: &str) -> Step {
    let ask = check_ask(&reading.caller, body);
    passed(ask.map(|ask| Step::Decide(Deciding::new(reading.caller.home, ask, Then::Check))))
}

fn check_ask(caller: &Caller, body: &str) -> Result<Ask, Refused> {
    let check: CheckBody = fields::read(body, &CHECK)?;
    let cost = cost_of(check.cost.unwrap_or(1))?;
    let agent = match check.agent.as_deref() {
        Some(text) => agent_of("agent", text)?,
        None => caller.agent.clone(),
    };
    let kind = check.kind.ok_or_else(|| refused(&Problem::missing("kind", KIND)))?;
    Ok(Ask { key: caller.key.clone(), kind, agent, cost, dry_run: check.dry_run, held: false })
}

/// The question of a check that is asked in the query, whose body is not read.
fn query_ask(caller: &Caller, query: &str) -> Result<Ask, Refused> {
    const NAMES: &str = "kind, agent, cost and dry_run, each once";
    let (mut kind, mut agent, mut cost, mut dry_run) = (None, None, None, None);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let field = match name {
            "kind" => &mut kind,
            "agent" => &mut agent,
            "cost" => &mut cost,
            "dry_run" => &mut dry_run,
            other => return Err(rejected("query", other, NAMES)),
        };
        if field.replace(value).is_some() {
            return Err(rejected(name, value, NAMES));
        }
    }
    let refused =
        |name: &str, value: Option<&str>, accepts: &str| rejected(name, value.unwrap_or_default(), accepts);
    let cost = match cost {
        Some(text) => whole(text).filter(|cost| (1..=Ask::COST_MAX).contains(cost)),
        None => Some(1),
    }
    .ok_or_else(|| refused("cost", cost, COST))?;
    let dry_run = match dry_run {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(refused("dry_run", dry_run, DRY_RUN)),
    };
    Ok(Ask {
        key: caller.key.clone(),
        kind: kind.and_then(Kind::parse).ok_or_else(|| refused("kind", kind, KIND))?,
        agent: agent.map_or_else(|| Ok(caller.agent.clone()), |text| agent_of("agent", text))?,
        cost,
        dry_run,
        held: false,
    })
}

pub(crate) fn rejected(field: &str, got: &str, accepts: &str) -> Refused {
    refused(&Problem::field(field, got, accepts))
}

fn forward(config: &Config, head: &Head<'_>, route: &Route, target: &str) -> Result<Step, Refused> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if is_ambiguous(path) {
        return Err(unread(
            "the path holds an encoded dot, slash, backslash or control, or dots with parameters",
        ));
    }
    // The platform would ask the governance service for a GET.
    if head.upgrades {
        return Err(unread("accepted are requests without an Upgrade header"));
    }
    sized(head, FORWARD_BYTES_MAX)?;
    let caller = caller(config, head)?;
    let held = route.bill.unwrap_or(config.bill) == Bill::Answered;
    let ask = Ask { key: caller.key, kind: route.kind, agent: caller.agent, cost: 1, dry_run: false, held };
    let then = Then::Forward { method: head.method.to_owned(), path: target.to_owned() };
    Ok(Step::Decide(Deciding::new(caller.home, ask, then)))
}

/// Continues `/v1/observe` with its body.
pub(crate) fn observation(config: &Config, head: &Head<'_>, body: &str) -> Result<Observing, Refused> {
    read_observation(caller(config, head)?, body)
}

pub(crate) fn read_observation(caller: Caller, body: &str) -> Result<Observing, Refused> {
    let told: ObserveBody = fields::read(body, &OBSERVATION)?;
    let most = |field: &str, got: u64, max: u64, accepts: &str| match got <= max {
        true => Ok(Units::new(got)),
        false => Err(rejected(field, &got.to_string(), accepts)),
    };
    let observed = Observed {
        tokens_in: most("tokens_in", told.tokens_in, Observed::TOKENS_MAX, TOKENS)?,
        tokens_out: most("tokens_out", told.tokens_out, Observed::TOKENS_MAX, TOKENS)?,
        anchors: most("anchors", told.anchors, Observed::ANCHORS_MAX, ANCHORS)?,
    };
    let agent = match told.agent.as_deref() {
        Some(text) => agent_of("agent", text)?,
        None => caller.agent,
    };
    let kind = told.kind.unwrap_or(Kind::Verify);
    Ok(Observing { home: caller.home, key: caller.key, kind, agent, observed })
}

fn check(config: &Config, head: &Head<'_>, target: &str) -> Result<Step, Refused> {
    if let Some((_, query)) = target.split_once('?')
        && query.split('&').any(|pair| pair.starts_with("kind="))
    {
        let caller = caller(config, head)?;
        let ask = query_ask(&caller, query)?;
        return Ok(Step::Decide(Deciding::new(caller.home, ask, Then::Check)));
    }
    sized(head, CHECK_BYTES_MAX)?;
    Ok(Step::ReadBody(Reading { bytes_max: CHECK_BYTES_MAX, caller: caller(config, head)? }))
}

/// The numbers are read by a decision that counts nothing, so that a revoked key is refused alike.
fn quota(caller: Caller) -> Step {
    let agent = AgentId::none();
    let ask = Ask { key: caller.key, kind: Kind::Verify, agent, cost: 1, dry_run: true, held: false };
    Step::Decide(Deciding::new(caller.home, ask, Then::Quota))
}

fn only(method: &'static str, head: &Head<'_>) -> Result<(), Refused> {
    // What is shown can be asked for without its body.
    let (accepted, shows) = if method == "GET" { ("GET, HEAD", true) } else { (method, false) };
    if head.method != method && !(shows && head.method == "HEAD") {
        let detail = format!("got {}, accepted is {accepted}", beginning(head.method, 16));
        let mut answer = refused(&Problem::new(ErrorCode::MethodNotAllowed, detail));
        answer.headers.push(pair(("Allow", accepted.to_owned())));
        return Err(answer);
    }
    if head.header_bytes > HEADER_BYTES_MAX {
        let detail = format!("got {} bytes of headers, accepted are {HEADER_BYTES_MAX}", head.header_bytes);
        return Err(refused(&Problem::new(ErrorCode::HeadersTooLarge, detail)));
    }
    if path_and_query(head.url).len() > PATH_BYTES_MAX {
        let detail = format!("accepted are {PATH_BYTES_MAX} bytes of path and query");
        return Err(refused(&Problem::new(ErrorCode::UriTooLong, detail)));
    }
    Ok(())
}

fn sized(head: &Head<'_>, bytes_max: u32) -> Result<(), Refused> {
    if head.body_bytes > bytes_max {
        let detail = format!("got {} bytes, accepted are {bytes_max}", head.body_bytes);
        return Err(refused(&Problem::new(ErrorCode::BodyTooLarge, detail)));
    }
    Ok(())
}

/// A request that no two readers would read alike.
fn unread(detail: &str) -> Refused {
    refused(&Problem::new(ErrorCode::BadRequest, detail))
}

/// Whether somebody behind us could take the path for another than the one that is counted: servers decode it before
/// or after they resolve its dots, and some forget what follows a semicolon. What is encoded twice is text to all.
fn is_ambiguous(path: &str) -> bool {
    let encoded = path.split('%').skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
    let mut strange = encoded.filter(|byte| byte.is_ascii_control() || matches!(byte, b'.' | b'/' | b'\\'));
    let is_dots = |segment: &str| matches!(segment.split_once(';'), Some(("." | "..", _)));
    strange.next().is_some() || path.split('/').any(is_dots)
}

/// A name or an address, and perhaps a port. Nothing else, so that no address can be shifted by it.
fn is_authority(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte))
}

fn caller(config: &Config, head: &Head<'_>) -> Result<Caller, Refused> {
    let key = config.caller(head.authorization).ok_or_else(|| Box::new(unauthorized_answer()))?;
    let agent = agent_of_header(head.agent)?;
    Ok(Caller { home: HomeName { project: key.project, mode: key.mode }, key: key.id, agent })
}

/// The agent that a request's head names.
pub(crate) fn agent_of_header(text: &str) -> Result<AgentId, Refused> {
    if text.is_empty() { Ok(AgentId::none()) } else { agent_of("Palveron-Agent", text) }
}

/// The answer to every key that is missing, forged or revoked; RFC 9110 §15.5.2 asks for the challenge.
pub(crate) fn unauthorized_answer() -> Answer {
    Answer::problem(&unauthorized()).with([("WWW-Authenticate", "Bearer".to_owned())])
}

/// A cost that is given as a number.
pub(crate) fn cost_of(cost: u32) -> Result<u32, Refused> {
    if (1..=Ask::COST_MAX).contains(&cost) {
        Ok(cost)
    } else {
        Err(rejected("cost", &cost.to_string(), COST))
    }
}

pub(crate) fn agent_of(field: &str, text: &str) -> Result<AgentId, Refused> {
    agent::of_client(text).map_err(|_| rejected(field, text, AGENT))
}

/// What follows the authority of an absolute URL; the platform has normalised it. Empty where it could not.
fn path_and_query(url: &str) -> &str {
    if url.starts_with('/') || url.is_empty() {
        return url;
    }
    let after_scheme = url.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//")).unwrap_or(url);
    after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/")
}

#[cfg(test)]
pub(crate) mod tests;
