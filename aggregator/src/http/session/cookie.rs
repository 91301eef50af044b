//! The session's cookie, and whether a page of ours sent a call.
//!
//! Everywhere but on this machine the cookie is one that no other host and no plain connection can set (`__Host-`,
//! RFC 6265bis §4.1.3.2). Browsers take no such cookie over plain http, and people try a meter on their own machine:
//! there, and only there, it goes without.

use std::net::IpAddr;

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue};
use shared::problem::ErrorCode;

use crate::access::errand::ERRAND_MS_MAX;
use crate::access::session::{Purpose, SESSION_MS_MAX, SecretText};
use crate::http::failure::Failure;

/// One of our cookies.
struct Cookie {
    /// Its name over https.
    name: &'static str,
    /// Its name over plain http on this machine.
    local_name: &'static str,
    /// What its secret is for.
    purpose: Purpose,
    age_ms: u64,
}

/// The cookie over https.
pub(crate) const COOKIE_NAME: &str = "__Host-meter_session";

const SESSION: Cookie = Cookie {
    name: COOKIE_NAME,
    local_name: "meter_session",
    purpose: Purpose::Session,
    age_ms: SESSION_MS_MAX,
};

const ERRAND: Cookie = Cookie {
    name: "__Host-meter_errand",
    local_name: "meter_errand",
    purpose: Purpose::Errand,
    age_ms: ERRAND_MS_MAX,
};

/// What a page of ours sends with every call that changes something.
pub(crate) const CSRF_HEADER: &str = "palveron-csrf";

const MS_PER_S: u64 = 1_000;

/// How a browser reaches us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Over https, or by a proxy that does.
    Secure,
    /// Over plain http on this machine.
    Local,
}

impl Way {
    fn of(headers: &HeaderMap) -> Self {
        let is_plain = origin(headers).is_none_or(|origin| origin.starts_with("http://"));
        let is_local = host(headers).is_some_and(|host| is_loopback(host.host()));
        if is_local && is_plain { Self::Local } else { Self::Secure }
    }
}

/// The session's secret in a call's cookies, if there is one that looks like ours.
pub(crate) fn secret(headers: &HeaderMap) -> Option<SecretText> {
    read(&SESSION, headers)
}

/// What gives a browser the session, or takes it away.
pub(super) fn set(headers: &HeaderMap, secret: Option<&SecretText>) -> Result<HeaderValue, Failure> {
    write(&SESSION, headers, secret)
}

/// The secret of a sign-in that is on its way.
pub(super) fn errand(headers: &HeaderMap) -> Option<SecretText> {
    read(&ERRAND, headers)
}

/// What gives a browser such a secret, or takes it away.
pub(super) fn set_errand(headers: &HeaderMap, secret: Option<&SecretText>) -> Result<HeaderValue, Failure> {
    write(&ERRAND, headers, secret)
}

fn read(cookie: &Cookie, headers: &HeaderMap) -> Option<SecretText> {
    let named = |wanted: &str| {
        let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let local = || named(cookie.local_name).filter(|_| Way::of(headers) == Way::Local);
    named(cookie.name).or_else(local).and_then(|text| SecretText::parse(cookie.purpose, text))
}

fn write(cookie: &Cookie, headers: &HeaderMap, secret: Option<&SecretText>) -> Result<HeaderValue, Failure> {
    let (name, more) = match Way::of(headers) {
        Way::Secure => (cookie.name, "; Secure"),
        Way::Local => (cookie.local_name, ""),
    };
    let (value, age) = match secret {
        Some(secret) => (secret.expose(), cookie.age_ms.div_euclid(MS_PER_S)),
        None => ("", 0),
    };
    let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{more}");
    let mut header = HeaderValue::from_str(&text).map_err(|error| Failure::internal(&error))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Refuses a call that another site has somebody's browser make, and one that cannot be told from it.
pub(super) fn require_own_page(headers: &HeaderMap, secret: &SecretText) -> Result<(), Failure> {
    let mut sent = headers.get_all(CSRF_HEADER).iter();
    let sent = sent.next().filter(|_| sent.next().is_none()).and_then(|value| value.to_str().ok());
    if !sent.is_some_and(|sent| secret.is_csrf(sent)) {
        let detail = "The header Palveron-Csrf is missing or not this session's. Send what GET /api/v1/session shows as csrf.";
        return Err(Failure::new(ErrorCode::CsrfRejected, detail));
    }
    match origin(headers) {
        Some(_) => require_own_origin(headers),
        None => Err(foreign()),
    }
}

/// The address at which the page has us, which sent this call.
pub(super) fn own_address(headers: &HeaderMap) -> Result<&str, Failure> {
    require_own_origin(headers)?;
    origin(headers).ok_or_else(foreign)
}

/// Refuses a call that says it comes from another site. Programs say nothing of that.
pub(super) fn require_own_origin(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.get_all(ORIGIN).iter().count() == 0 {
        return Ok(());
    }
    let scheme = match Way::of(headers) {
        Way::Secure => "https://",
        Way::Local => "http://",
    };
    let own = origin(headers).and_then(|origin| origin.strip_prefix(scheme)).zip(host(headers));
    let is_own = own.is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host.as_str()));
    if is_own { Ok(()) } else { Err(foreign()) }
}

fn foreign() -> Failure {
    Failure::new(
        ErrorCode::CsrfRejected,
        "The header Origin is not this server's address, which is https:// and the Host, or http:// on this machine. Open the page at its own address; a proxy has to hand on the Host.",
    )
}

/// The page's site; `None` where there is none or several.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(ORIGIN).iter();
    let origin = all.next().filter(|_| all.next().is_none())?;
    origin.to_str().ok()
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    Authority::try_from(headers.get(HOST)?.as_bytes()).ok()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_this_machine_has_a_cookie_without_secure() {
        let secret = SecretText::generate(Purpose::Session).unwrap();
        for (host, origin, expected) in [
            ("meter.example.com", Some("https://meter.example.com"), "__Host-meter_session="),
            ("meter.example.com", None, "__Host-meter_session="),
            ("127.0.0.1:8080", Some("https://127.0.0.1:8080"), "__Host-meter_session="),
            ("192.0.2.1", Some("http://192.0.2.1"), "__Host-meter_session="),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), "meter_session="),
            ("[::1]:8080", None, "meter_session="),
            ("localhost", None, "meter_session="),
            ("localhost.example.com", None, "__Host-meter_session="),
        ] {
            let mut lines = vec![("host", host)];
            lines.extend(origin.map(|origin| ("origin", origin)));
            let set = set(&headers(&lines), Some(&secret)).unwrap();
            let set = set.to_str().unwrap();
            assert!(set.starts_with(expected), "{host} {origin:?}: {set}");
            assert!(set.contains("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{set}");
            assert_eq!(set.ends_with("; Secure"), expected.starts_with("__Host-"), "{set}");
            // It is found again as it was set.
            let pair = format!("other=1; {}; b=2", set.split(';').next().unwrap());
            lines.push(("cookie", &pair));
            assert_eq!(super::secret(&headers(&lines)), Some(secret.clone()), "{host} {origin:?}");
        }
        let plain = format!("meter_session={}", secret.expose());
        let elsewhere = headers(&[("host", "meter.example.com"), ("cookie", &plain)]);
        assert_eq!(super::secret(&elsewhere), None, "a cookie that a neighbour can set");
        assert!(
            super::set(&elsewhere, None).unwrap().to_str().unwrap().contains("session=; Path=/; Max-Age=0")
        );
    }

    #[test]
    fn a_change_is_sent_by_our_own_page() {
        let (secret, other) = (
            SecretText::generate(Purpose::Session).unwrap(),
            SecretText::generate(Purpose::Session).unwrap(),
        );
        let (own, foreign) = (secret.csrf(), other.csrf());
        for (host, csrf, origin, accepted) in [
            ("meter.example.com", Some(&own), Some("https://meter.example.com"), true),
            ("meter.example.com:444", Some(&own), Some("https://meter.example.com:444"), true),
            ("127.0.0.1:8080", Some(&own), Some("http://127.0.0.1:8080"), true),
            ("meter.example.com", None, Some("https://meter.example.com"), false),
            ("meter.example.com", Some(&foreign), Some("https://meter.example.com"), false),
            ("meter.example.com", Some(&own), None, false),
            ("meter.example.com", Some(&own), Some("null"), false),
            ("meter.example.com", Some(&own), Some("http://meter.example.com"), false),
            ("meter.example.com", Some(&own), Some("https://evil.example.com"), false),
            ("meter.example.com", Some(&own), Some("https://meter.example.com.evil.com"), false),
            ("127.0.0.1:8080", Some(&own), Some("http://127.0.0.1:8081"), false),
            ("127.0.0.1:8080", Some(&own), Some("https://meter.example.com"), false),
        ] {
            let mut lines = vec![("host", host)];
            lines.extend(csrf.map(|csrf| (CSRF_HEADER, csrf.as_str())));
            lines.extend(origin.map(|origin| ("origin", origin)));
            let got = require_own_page(&headers(&lines), &secret);
            assert_eq!(got.is_ok(), accepted, "{host} {csrf:?} {origin:?}");
        }
        assert!(require_own_origin(&headers(&[("host", "meter.example.com")])).is_ok(), "a program");
        let two = [
            ("host", "a.example.com"),
            ("origin", "https://a.example.com"),
            ("origin", "https://b.example.com"),
        ];
        assert!(require_own_origin(&headers(&two)).is_err());
    }
}
