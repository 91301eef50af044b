//! From the meter's answer to Envoy's.

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::google::protobuf::Duration;
use meter_edge::remote::Answer;
use shared::decision::Numbers;
use shared::problem::{CONTENT_TYPE, ErrorCode, Problem};
use shared::units::Units;

/// Why a request was denied: Envoy has one status for every denial, so that the code needs a place of its own.
pub const DENIED_HEADER: &str = "Palveron-Denied";
/// What it would have been denied for, in shadow mode.
const WOULD_DENY_HEADER: &str = "Palveron-Would-Deny";

/// The answer to a request with that many descriptors.
#[must_use]
pub fn response(answer: Answer, descriptors: usize) -> RateLimitResponse {
    let Answer { allowed, code, headers, body, numbers, would_deny, .. } = answer;
    let verdict = if allowed { Code::Ok } else { Code::OverLimit };
    let status = status(verdict, &code, numbers.as_ref());
    let mut headers: Vec<HeaderValue> =
        headers.into_iter().map(|(name, value)| header(&name, value)).collect();
    if !allowed {
        headers.push(header(DENIED_HEADER, code));
    }
    if !would_deny.is_empty() {
        headers.push(header(WOULD_DENY_HEADER, would_deny));
    }
    RateLimitResponse {
        overall_code: verdict.into(),
        statuses: vec![status; descriptors],
        response_headers_to_add: headers,
        raw_body: body.into_bytes(),
        ..RateLimitResponse::default()
    }
}

/// What descriptors are refused with that make no question.
#[must_use]
pub fn refusal(problem: &Problem) -> Answer {
    Answer {
        allowed: false,
        code: problem.code.clone(),
        headers: vec![("Content-Type".to_owned(), CONTENT_TYPE.to_owned())],
        body: problem.to_json(),
        numbers: None,
        would_deny: String::new(),
        home: None,
        reserved: None,
    }
}

/// Whether an answer says only that nobody could decide.
#[must_use]
pub fn is_undecided(answer: &Answer) -> bool {
    !answer.allowed && answer.code == ErrorCode::HomeUnavailable.as_str()
}

fn header(name: &str, value: String) -> HeaderValue {
    HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }
}

/// The limit that binds: that which denies, else the one of which less is left.
fn status(verdict: Code, code: &str, numbers: Option<&Numbers>) -> DescriptorStatus {
    let code_of = |limit: Limit| DescriptorStatus {
        code: verdict.into(),
        current_limit: Some(RateLimit {
            name: limit.name.to_owned(),
            requests_per_unit: limit.most,
            unit: limit.unit.into(),
        }),
        limit_remaining: limit.left,
        duration_until_reset: Some(Duration { seconds: limit.reset_s, nanos: 0 }),
        ..DescriptorStatus::default()
    };
    let none = DescriptorStatus { code: verdict.into(), ..DescriptorStatus::default() };
    let Some(numbers) = numbers else { return none };
    let minute = Limit::minute(numbers);
    let Some(month) = Limit::month(numbers) else { return code_of(minute) };
    if code == ErrorCode::RateLimited.as_str() {
        return code_of(minute);
    }
    let is_spent =
        [ErrorCode::QuotaExhausted, ErrorCode::QuotaContended].map(ErrorCode::as_str).contains(&code);
    code_of(if is_spent || month.left <= minute.left { month } else { minute })
}

struct Limit {
    name: &'static str,
    most: u32,
    unit: Unit,
    left: u32,
    reset_s: i64,
}

impl Limit {
    fn minute(numbers: &Numbers) -> Self {
        let reset_s = numbers.now.seconds_until(numbers.now.minute().end());
        let (most, left) = (numbers.rpm, numbers.rpm_remaining);
        Self {
            name: "rpm",
            most,
            unit: Unit::Minute,
            left,
            reset_s: i64::try_from(reset_s).unwrap_or(i64::MAX),
        }
    }

    fn month(numbers: &Numbers) -> Option<Self> {
        let most = told(numbers.allowance?);
        let left = told(numbers.remaining()?);
        let reset_s = numbers.now.seconds_until(numbers.period.end());
        Some(Self {
            name: "month",
            most,
            unit: Unit::Month,
            left,
            reset_s: i64::try_from(reset_s).unwrap_or(i64::MAX),
        })
    }
}

/// Envoy's numbers end where these begin to be of no interest.
fn told(units: Units) -> u32 {
    u32::try_from(units.get()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use shared::plan::Plan;
    use shared::time::Timestamp;

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

    fn numbers(allowance: Option<u64>, used: u64, rpm_remaining: u32) -> Numbers {
        Numbers {
            now: NOW,
            period: NOW.period(),
            plan: Plan::Pro,
            included: Units::new(10_000),
            allowance: allowance.map(Units::new),
            used: Units::new(used),
            forfeited: Units::ZERO,
            rpm: 600,
            rpm_remaining,
            agents_max: None,
            upgrade_url: String::new(),
        }
    }

    fn check(code: &str, numbers: Option<Numbers>, expected: &str) {
        let answer = Answer {
            allowed: code == "ok",
            code: code.to_owned(),
            numbers,
            headers: vec![("RateLimit".to_owned(), "x".to_owned())],
            body: String::new(),
            would_deny: String::new(),
            home: None,
            reserved: None,
        };
        let response = response(answer, 2);
        assert_eq!(response.statuses.len(), 2);
        assert_eq!(response.statuses.first(), response.statuses.last());
        let DescriptorStatus { current_limit, limit_remaining, duration_until_reset, .. } =
            &response.statuses[0];
        let told =
            current_limit.as_ref().map(|limit| format!("{}/{:?}", limit.requests_per_unit, limit.unit()));
        let reset = duration_until_reset.as_ref().map_or(0, |duration| duration.seconds);
        let headers: Vec<&str> =
            response.response_headers_to_add.iter().map(|header| header.key.as_str()).collect();
        let told = format!(
            "{:?} {} {limit_remaining} {reset} {}",
            response.overall_code(),
            told.unwrap_or_default(),
            headers.join(",")
        );
        assert_eq!(told, expected, "{code}");
    }

    #[test]
    fn the_limit_that_binds_is_told_for_every_descriptor() {
        check("ok", Some(numbers(Some(10_000), 10, 599)), "Ok 600/Minute 599 60 RateLimit");
        check("ok", Some(numbers(Some(10_000), 9_990, 599)), "Ok 10000/Month 10 648000 RateLimit");
        check("ok", Some(numbers(None, 10, 5)), "Ok 600/Minute 5 60 RateLimit");
        check("ok", Some(numbers(Some(u64::MAX), 0, 0)), "Ok 600/Minute 0 60 RateLimit");
        check(
            "rate_limited",
            Some(numbers(Some(10), 10, 0)),
            "OverLimit 600/Minute 0 60 RateLimit,Palveron-Denied",
        );
        check(
            "quota_exhausted",
            Some(numbers(Some(10), 10, 7)),
            "OverLimit 10/Month 0 648000 RateLimit,Palveron-Denied",
        );
        check("unauthorized", None, "OverLimit  0 0 RateLimit,Palveron-Denied");
    }
}
