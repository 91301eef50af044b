//! From the home's verdict to the client's answer, or to the forwarded request.

use serde::Serialize;
use shared::decision::{Ask, Denial, Header, Numbers, Verdict};
use shared::denials::DenialReason;
use shared::home::call::HomeReply;
use shared::home::{HomeName, MOVED};
use shared::ids::ProjectId;
use shared::json;
use shared::problem::{ErrorCode, Problem};
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed};
use shared::source::{Paid, Source};
use shared::time::Timestamp;
use shared::units::Units;

use crate::config::Config;
use crate::contract::Ticket;
use crate::gate::unauthorized_answer;
use crate::internal::wall;
use crate::step::{Answer, CheckAnswer, Deciding, Failure, Pair, Step, Then, pair};

/// Who decided, as `Server-Timing` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    /// This isolate, with what was in its hand.
    Lease,
    /// The home, asked for this request.
    Home,
}

impl Decided {
    pub(crate) fn timing(self) -> &'static str {
        match self {
            Self::Lease => "meter;desc=lease",
            Self::Home => "meter;desc=home",
        }
    }
}

/// Concludes a question with the home's reply to it. `complete` hears what the home decided, if it did; it completes the
/// numbers, and says whether that may still be told.
pub(crate) fn conclude(
    config: &Config,
    mut deciding: Deciding,
    reply: &str,
    now: Timestamp,
    complete: impl FnOnce(&mut Deciding, Option<&mut Verdict>) -> bool,
) -> Step {
    let code = match json::read(reply) {
        Ok(HomeReply::Verdict(mut verdict)) => {
            if complete(&mut deciding, Some(&mut verdict)) {
                return decided(config, deciding, &verdict, now, Decided::Home);
            }
            return refused(config, deciding, ErrorCode::HomeUnavailable.as_str(), now);
        }
        Ok(HomeReply::Failed(code)) => told(code),
        Ok(HomeReply::Observed(_)) | Err(_) => ErrorCode::HomeUnavailable.as_str().to_owned(),
    };
    complete(&mut deciding, None);
    refused(config, deciding, &code, now)
}

/// A home that cannot be asked; the code of why. In shadow mode nobody is denied for that.
pub(crate) fn refused(config: &Config, deciding: Deciding, code: &str, now: Timestamp) -> Step {
    let Deciding { home, ask, then, .. } = deciding;
    match then {
        Then::Forward { method, path } if config.shadow && code == ErrorCode::HomeUnavailable.as_str() => {
            let [policy, limit] = [("RateLimit-Policy", String::new()), ("RateLimit", String::new())];
            let timing = ("Server-Timing", Decided::Home.timing().to_owned());
            Step::Forward {
                headers: [policy, limit, timing].into_iter().map(pair).collect(),
                identity: identity(config, &home.project, &ask, [&method, &path], now),
                ticket: ticket(&home, &ask, 0),
                would_deny: code.to_owned(),
                source: "",
            }
        }
        Then::Forward { .. } | Then::Check | Then::Quota => {
            let mut answer = failed(code);
            if code == ErrorCode::HomeUnavailable.as_str() && !ask.dry_run {
                answer = answer.denying((home, ask.kind, ask.agent), DenialReason::HomeUnavailable);
            }
            Step::Answer(answer)
        }
    }
}

/// What becomes of a request that waited in an instance which was lost; the step that it began with.
pub(crate) fn lost(config: &Config, begun: Step, now: Timestamp) -> Step {
    let code = ErrorCode::HomeUnavailable.as_str();
    if let Step::Decide(deciding) = begun {
        refused(config, deciding, code, now)
    } else {
        Step::Answer(failed(code))
    }
}

/// What `answered` will be told of a forwarded request.
fn ticket(home: &HomeName, ask: &Ask, token: u32) -> Ticket {
    Ticket { home: home.clone(), kind: ask.kind, agent: ask.agent.clone(), key: ask.key.clone(), token }
}

/// Whether shadow mode tells of this denial instead of denying: limits are shadowed, keys and what an
/// operator has stopped are not.
fn is_limit(denial: Denial) -> bool {
    match denial {
        Denial::AgentLimit
        | Denial::AgentQuota
        | Denial::RateLimited
        | Denial::QuotaExhausted
        | Denial::QuotaContended => true,
        Denial::KeyRevoked | Denial::Suspended => false,
    }
}

/// What a verdict means for the request.
pub(crate) fn decided(
    config: &Config,
    deciding: Deciding,
    verdict: &Verdict,
    now: Timestamp,
    decided: Decided,
) -> Step {
    let Deciding { home, ask, then, token, .. } = deciding;
    if verdict.denial == Some(Denial::KeyRevoked) {
        // A key that should not be in use any more is worth knowing of, whatever it asks.
        let asked = (home, ask.kind, ask.agent);
        return Step::Answer(unauthorized_answer().denying(asked, DenialReason::Unauthorized));
    }
    let shadowed = verdict.denial.filter(|denial| config.shadow && is_limit(*denial));
    let would_deny = shadowed.map(|denial| denial.code().as_str());
    match then {
        Then::Forward { method, path } => match verdict.problem().filter(|_| would_deny.is_none()) {
            Some(problem) => {
                let headers = verdict.retry_after().into_iter().chain(meter_headers(verdict, decided));
                let answer = Answer::problem(&problem).with(headers);
                Step::Answer(counted(answer, (home, ask), verdict))
            }
            None => Step::Forward {
                headers: meter_headers(verdict, decided).into_iter().map(pair).collect(),
                identity: identity(config, &home.project, &ask, [&method, &path], now),
                ticket: ticket(&home, &ask, token),
                would_deny: would_deny.unwrap_or_default().to_owned(),
                source: source_of(verdict).map_or("", Source::as_str),
            },
        },
        Then::Check => {
            let numbers = &verdict.numbers;
            if let Some(problem) = too_costly(ask.cost, verdict).filter(|_| would_deny.is_none()) {
                return Step::Answer(Answer::problem(&problem).with(meter_headers(verdict, decided)));
            }
            let answer = CheckAnswer {
                allowed: verdict.denial.is_none() || would_deny.is_some(),
                code: match would_deny {
                    Some(_) => "ok",
                    None => verdict.denial.map_or("ok", |denial| denial.code().as_str()),
                },
                kind: ask.kind,
                cost: ask.cost,
                remaining: numbers.remaining(),
                limit: numbers.allowance,
                resets_at: numbers.period.end().to_string(),
                retry_after_ms: verdict.retry_after_ms(),
                would_deny,
                source: source_of(verdict),
                paid_by: verdict.paid.filter(|paid| paid.is_mixed()),
            };
            let answer = json(&answer, verdict, decided).with(source_header(verdict));
            let answer = counted(answer, (home, ask), verdict);
            Step::Answer(if shadowed.is_some() { answer.let_through() } else { answer })
        }
        Then::Quota => Step::Answer(json(&verdict.numbers.quota(), verdict, decided)),
    }
}

/// Counts an answer that refuses for what the verdict says; a dry run is no request.
fn counted(answer: Answer, (home, ask): (HomeName, Ask), verdict: &Verdict) -> Answer {
    match verdict.denial.filter(|_| !ask.dry_run) {
        Some(denial) => answer.denying((home, ask.kind, ask.agent), denial.reason()),
        None => answer,
    }
}

/// What is wrong with a request that was refused for a limit which it can never be within: waiting does not help it.
fn too_costly(cost: u32, verdict: &Verdict) -> Option<Problem> {
    let Numbers { rpm, allowance, .. } = verdict.numbers;
    let refused = verdict.denial.filter(|denial| *denial == Denial::RateLimited || denial.is_spent());
    refused.filter(|_| cost > 1)?;
    let accepts = if cost > rpm {
        format!("at most {rpm}, the project's requests per minute")
    } else {
        let allowance = allowance.filter(|allowance| *allowance < Units::from(cost))?;
        format!("at most {allowance}, all that the project may spend in a month")
    };
    Some(Problem::field("cost", &cost.to_string(), &accepts))
}

/// The headers that tell the governance service who asks, signed.
fn identity(
    config: &Config,
    project: &ProjectId,
    ask: &Ask,
    [method, path]: [&str; 2],
    now: Timestamp,
) -> Vec<Pair> {
    // The body streams through, so what is signed in its place is who asks.
    let who = format!("{project}\n{}\n{}", ask.agent, ask.key);
    let signed = Signed { method, path, body: who.as_bytes() };
    let key = config.signing_keys.current(Purpose::Upstream);
    let named = [
        ("Palveron-Project", project.as_str().to_owned()),
        ("Palveron-Agent", ask.agent.as_str().to_owned()),
        ("Palveron-Key-Id", ask.key.as_str().to_owned()),
    ];
    named
        .into_iter()
        .chain(key.map(|key| (SIGNATURE_HEADER, signed.sign(key, wall(now)))))
        .map(pair)
        .collect()
}

fn json(body: &impl Serialize, verdict: &Verdict, decided: Decided) -> Answer {
    Answer::json(json::write(body)).with(meter_headers(verdict, decided))
}

/// The header that says what pays for what was served.
const SOURCE_HEADER: &str = "Palveron-Source";

/// What pays for it; of several the dearest.
fn source_of(verdict: &Verdict) -> Option<Source> {
    verdict.paid.and_then(Paid::source)
}

/// A forwarded request's headers with that one, for whoever answers it in Rust; an empty source is none.
pub(crate) fn with_source(mut headers: Vec<Pair>, source: &str) -> Vec<Pair> {
    if !source.is_empty() {
        headers.push(pair((SOURCE_HEADER, source.to_owned())));
    }
    headers
}

/// All headers of the answer to a request that was forwarded: with what pays for it, and with the code that it would have
/// been denied with, where there is one.
pub(crate) fn answer_headers(headers: Vec<Pair>, source: &str, would_deny: &str) -> Vec<Pair> {
    let mut headers = with_source(headers, source);
    headers.push(pair(("Palveron-Would-Deny", would_deny.to_owned())));
    // What is empty is not there: of a home that has not answered there are no numbers either.
    headers.retain(|(_, value)| !value.is_empty());
    headers
}

fn source_header(verdict: &Verdict) -> Option<Header> {
    source_of(verdict).map(|source| (SOURCE_HEADER, source.as_str().to_owned()))
}

/// What every decided answer carries.
fn meter_headers(verdict: &Verdict, decided: Decided) -> [Header; 3] {
    let [policy, limit] = verdict.numbers.headers();
    [policy, limit, ("Server-Timing", decided.timing().to_owned())]
}

/// The code that a client is told: where a home has moved to, and cannot be asked there, it is away like any other.
pub(crate) fn told(code: String) -> String {
    if code == MOVED { ErrorCode::HomeUnavailable.as_str().to_owned() } else { code }
}

/// A project that the aggregator does not know is answered like any key that is not known.
pub(crate) fn failed(code: &str) -> Answer {
    if code == ErrorCode::ProjectUnknown.as_str() {
        unauthorized_answer()
    } else {
        Failure::parse(code).answer()
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::{AgentId, KeyId};
    use shared::kind::Kind;
    use shared::sign::{SignatureError, SigningKeys};

    use super::*;
    use crate::step::Answer;

    const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

    fn config() -> Config {
        let key = |purpose: &str, byte: &str| format!("{purpose}:k1:{}", byte.repeat(32));
        let keys = [key("edge", "11"), key("policy", "22"), key("upstream", "33")].join(",");
        Config::read(&format!("1:{}", "44".repeat(32)), &keys, "").unwrap()
    }

    fn deciding(then: Then) -> Deciding {
        let agent = AgentId::parse("bot").unwrap();
        let ask = Ask {
            key: KeyId::parse("k001").unwrap(),
            kind: Kind::Verify,
            agent,
            cost: 1,
            dry_run: false,
            held: false,
        };
        Deciding::new(HomeName::parse("demo/live").unwrap(), ask, then)
    }

    fn forwarding() -> Then {
        Then::Forward { method: "POST".to_owned(), path: "/v1/verify?x=1".to_owned() }
    }

    fn reply(denial: &str) -> String {
        format!(
            r#"{{"verdict":{{"denial":{denial},"numbers":{{"now":{},"period":"2026-11","plan":"community",
            "included":1000,"allowance":1000,"used":1000,"rpm":60,"rpm_remaining":7,"agents_max":5,
            "upgrade_url":"https://palveron.com/pricing"}}}}}}"#,
            NOW.as_ms()
        )
    }

    fn answered(then: Then, reply: &str) -> Answer {
        let step = conclude(&config(), deciding(then), reply, NOW, |_, _| true);
        let Step::Answer(answer) = step else { panic!("{step:?}") };
        answer
    }

    fn value<'a>(headers: &'a [Pair], name: &str) -> Option<&'a str> {
        headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn an_allowed_request_is_forwarded_with_a_signed_identity() {
        let step = conclude(&config(), deciding(forwarding()), &reply("null"), NOW, |_, _| true);
        let Step::Forward { headers, identity, ticket, would_deny, source } = step else {
            panic!("{step:?}")
        };
        assert_eq!(
            (ticket.home.to_string().as_str(), ticket.kind, ticket.token),
            ("demo/live", Kind::Verify, 0)
        );
        assert_eq!((would_deny.as_str(), source), ("", ""));
        assert_eq!(value(&headers, "Server-Timing"), Some("meter;desc=home"));
        assert_eq!(value(&headers, "RateLimit"), Some("\"rpm\";r=7;t=60, \"month\";r=0;t=648000"));
        assert_eq!(value(&identity, "Palveron-Agent"), Some("bot"));
        let signature = value(&identity, SIGNATURE_HEADER).unwrap();
        let keys = SigningKeys::parse(&format!("upstream:k1:{}", "33".repeat(32))).unwrap();
        let verify = |who: &[u8]| {
            let signed = Signed { method: "POST", path: "/v1/verify?x=1", body: who };
            signed.verify(signature, &keys, Purpose::Upstream, NOW).map(|_| ())
        };
        assert_eq!(verify(b"demo\nbot\nk001"), Ok(()));
        assert_eq!(verify(b"demo\nother\nk001"), Err(SignatureError::Rejected));
    }

    #[test]
    fn each_denial_has_its_status_code_and_time_to_come_back() {
        let cases = [
            (r#""rate_limited""#, 429, "rate_limited", Some("60")),
            (r#""quota_exhausted""#, 402, "quota_exhausted", Some("648000")),
            (r#""agent_limit""#, 403, "agent_limit", Some("648000")),
            (r#""suspended""#, 403, "project_suspended", None),
        ];
        for (denial, status, code, retry_after) in cases {
            let answer = answered(forwarding(), &reply(denial));
            assert_eq!(
                (answer.status, value(&answer.headers, "Retry-After")),
                (status, retry_after),
                "{denial}"
            );
            assert!(answer.body.contains(&format!(r#""code":"{code}""#)), "{}", answer.body);
            assert!(value(&answer.headers, "RateLimit").is_some());
        }
    }

    #[test]
    fn a_revoked_key_and_an_unknown_project_read_like_a_forged_key() {
        for reply in [reply(r#""key_revoked""#), r#"{"failed":"project_unknown"}"#.to_owned()] {
            for then in [forwarding(), Then::Check, Then::Quota] {
                let answer = answered(then, &reply);
                assert_eq!(answer.denied.is_some(), reply.starts_with(r#"{"verdict"#), "whose it is");
                assert_eq!(Answer { denied: None, ..answer }, unauthorized_answer(), "{reply}");
            }
        }
    }

    /// Every denial is counted as the code of its answer, whichever way it was asked; looking counts nothing.
    #[test]
    fn each_denial_is_counted_by_its_reason() {
        for (word, reason) in [
            ("key_revoked", DenialReason::Unauthorized),
            ("suspended", DenialReason::ProjectSuspended),
            ("agent_limit", DenialReason::AgentLimit),
            ("agent_quota", DenialReason::AgentLimit),
            ("rate_limited", DenialReason::RateLimited),
            ("quota_exhausted", DenialReason::QuotaExhausted),
            ("quota_contended", DenialReason::QuotaContended),
            ("", DenialReason::HomeUnavailable),
        ] {
            let reply = if word.is_empty() { String::new() } else { reply(&format!("{word:?}")) };
            for (then, dry_run) in
                [(forwarding(), false), (Then::Check, false), (Then::Check, true), (Then::Quota, true)]
            {
                let mut deciding = deciding(then);
                deciding.ask.dry_run = dry_run;
                let step = conclude(&config(), deciding, &reply, NOW, |_, _| true);
                let Step::Answer(answer) = step else { panic!("{step:?}") };
                let counted = answer
                    .denied
                    .map(|denied| (denied.reason, denied.kind, denied.agent.as_str().to_owned()));
                let expected =
                    (!dry_run || word == "key_revoked").then(|| (reason, Kind::Verify, "bot".to_owned()));
                assert_eq!(counted, expected, "{word}, dry run: {dry_run}");
            }
        }
        let Step::Answer(allowed) =
            conclude(&config(), deciding(Then::Check), &reply("null"), NOW, |_, _| true)
        else {
            panic!("it is allowed")
        };
        assert_eq!(allowed.denied, None);
    }

    #[test]
    fn a_home_that_cannot_decide_is_unavailable() {
        for reply in [r#"{"failed":"home_unavailable"}"#, "", "{}"] {
            let answer = answered(forwarding(), reply);
            assert_eq!((answer.status, value(&answer.headers, "Retry-After")), (503, Some("1")), "{reply}");
        }
    }

    #[test]
    fn a_check_is_answered_with_200_and_the_decision() {
        let body = |denial: &str| answered(Then::Check, &reply(denial)).body;
        assert_eq!(
            body("null"),
            r#"{"allowed":true,"code":"ok","kind":"verify","cost":1,"remaining":0,"limit":1000,"resets_at":"2026-12-01T00:00:00Z","retry_after_ms":null}"#
        );
        assert!(body(r#""rate_limited""#).contains(r#""allowed":false,"code":"rate_limited""#));
        assert!(body(r#""rate_limited""#).contains(r#""retry_after_ms":60000"#));
    }

    #[test]
    fn a_cost_that_no_minute_or_month_can_hold_is_refused_by_its_field() {
        let checked_of = |cost: u32, reply: &str| {
            let mut deciding = deciding(Then::Check);
            deciding.ask.cost = cost;
            let step = conclude(&config(), deciding, reply, NOW, |_, _| true);
            let Step::Answer(answer) = step else { panic!("{step:?}") };
            (answer.status, answer.body)
        };
        let checked = |cost: u32, denial: &str| checked_of(cost, &reply(denial));
        for (cost, denial, says) in [
            (61, "rate_limited", "accepted is at most 60, the project's requests per minute"),
            (1_000, "quota_exhausted", "accepted is at most 60, the project's requests per minute"),
        ] {
            let (status, body) = checked(cost, &format!("{denial:?}"));
            assert_eq!(status, 422, "{body}");
            assert!(body.contains(says) && body.contains(r#""field":"cost""#), "{body}");
        }
        for cost in [1, 60] {
            assert_eq!(checked(cost, r#""rate_limited""#).0, 200, "it fits in the next minute");
        }
        let (_, body) = checked(60, r#""quota_exhausted""#);
        assert!(body.contains(r#""code":"quota_exhausted""#), "{body}");
        let small = |denial: &str| reply(denial).replace(r#""allowance":1000"#, r#""allowance":40"#);
        for denial in [r#""quota_exhausted""#, r#""quota_contended""#] {
            let (status, body) = checked_of(41, &small(denial));
            let says = "accepted is at most 40, all that the project may spend in a month";
            assert!(status == 422 && body.contains(says), "{body}");
            assert!(
                checked_of(40, &small(denial)).1.contains(r#""allowed":false"#),
                "it fits in the next month"
            );
        }
    }

    #[test]
    fn in_shadow_mode_limits_are_told_of_and_keys_and_suspensions_still_refused() {
        let config = config().with_rules("", "1").unwrap();
        let step = |then, reply: &str| conclude(&config, deciding(then), reply, NOW, |_, _| true);
        for (denial, code) in [("rate_limited", "rate_limited"), ("quota_exhausted", "quota_exhausted")] {
            let reply = reply(&format!("{denial:?}"));
            let Step::Forward { would_deny, .. } = step(forwarding(), &reply) else { panic!("{denial}") };
            assert_eq!(would_deny, code);
            let Step::Answer(answer) = step(Then::Check, &reply) else { panic!("{denial}") };
            assert!(answer.body.starts_with(r#"{"allowed":true,"code":"ok""#), "{}", answer.body);
            assert!(answer.body.ends_with(&format!(r#""would_deny":"{code}"}}"#)), "{}", answer.body);
            let counted = answer.denied.unwrap();
            assert_eq!((counted.reason.as_str(), counted.is_let_through), (code, true));
            let dry_run = |mut deciding: Deciding| {
                deciding.ask.dry_run = true;
                deciding
            };
            let step = conclude(&config, dry_run(deciding(Then::Check)), &reply, NOW, |_, _| true);
            let Step::Answer(answer) = step else { panic!("{denial}") };
            assert_eq!(answer.denied, None, "a dry run is no request");
        }
        let Step::Forward { would_deny, .. } = step(forwarding(), r#"{"failed":"home_unavailable"}"#) else {
            panic!("a home that is away denies nobody")
        };
        assert_eq!(would_deny, "home_unavailable");
        let Step::Forward { would_deny, .. } = lost(&config, Step::Decide(deciding(forwarding())), NOW)
        else {
            panic!("nor does an instance that is lost")
        };
        assert_eq!(would_deny, "home_unavailable");
        for (denial, status) in [(r#""key_revoked""#, 401), (r#""suspended""#, 403)] {
            let Step::Answer(answer) = step(forwarding(), &reply(denial)) else { panic!("{denial}") };
            assert_eq!(answer.status, status);
        }
    }
}
