//! What the load generators send, and how they judge what comes back. Whatever is not exactly a good answer is a
//! failure; a judgement must never be kinder to one variant than to another.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::response::{Response, find};

/// Who asks.
const AGENT: &str = "bench-agent";
/// How a home's answer is told from one that was decided without a hop.
const HOP: &[u8] = b"desc=home";
/// How much of an unexpected body is told.
const TOLD_CHARS_MAX: usize = 100;

/// A variant's address, and the one request that is sent to it again and again.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The request as it goes over the wire.
    pub(crate) request: Vec<u8>,
    /// Where each request names an agent of its own: how many there were, for all connections.
    pub(crate) crowd: Option<Arc<AtomicU64>>,
    /// What the body of each good answer contains.
    pub(crate) expected: &'static str,
    /// Whether to look for who decided.
    pub(crate) tells_hops: bool,
}

impl Target {
    /// The same request for every variant: only host, path and key may differ, and the key not in length by much.
    pub(crate) fn new(
        address: SocketAddr,
        [path, body]: [&str; 2],
        key: &str,
        expected: &'static str,
    ) -> Self {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: bench\r\nAccept: */*\r\n\
             Authorization: Bearer {key}\r\nPalveron-Agent: {AGENT}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { address, request: request.into_bytes(), crowd: None, expected, tells_hops: false }
    }

    /// The same, but each request has an agent of its own.
    pub(crate) fn by_a_crowd(self) -> Self {
        Self { crowd: Some(Arc::default()), ..self }
    }

    /// The next request.
    pub(crate) fn request(&self) -> Cow<'_, [u8]> {
        let place =
            self.crowd.as_ref().and_then(|crowd| Some((crowd, find(&self.request, AGENT.as_bytes())?)));
        let Some((crowd, place)) = place else { return Cow::Borrowed(&self.request) };
        let mut request = self.request.clone();
        let number = crowd.fetch_add(1, Ordering::Relaxed);
        let agent = format!("{number:0width$}", width = AGENT.len());
        for (to, digit) in request.iter_mut().skip(place).zip(agent.bytes()) {
            *to = digit;
        }
        Cow::Owned(request)
    }

    /// Counts one answer; returns whether it was good.
    pub(crate) fn judge(&self, response: &Response<'_>, tally: &mut Tally) -> bool {
        let good =
            (200..300).contains(&response.status) && find(&response.body, self.expected.as_bytes()).is_some();
        if !good {
            let told: String = String::from_utf8_lossy(&response.body).chars().take(TOLD_CHARS_MAX).collect();
            tally.fail(|| format!("{} {told}", response.status));
            return false;
        }
        tally.good = tally.good.saturating_add(1);
        if self.tells_hops && find(response.head.as_bytes(), HOP).is_some() {
            tally.hops = tally.hops.saturating_add(1);
        }
        true
    }
}

/// What came of a load.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Microseconds of each good answer.
    pub(crate) latencies_us: Vec<u64>,
    /// Good answers.
    pub(crate) good: u64,
    /// Good answers that came before the window's end.
    pub(crate) in_time: u64,
    /// Good answers that the home had been asked for.
    pub(crate) hops: u64,
    /// Everything else.
    pub(crate) failures: u64,
    /// What the first failure was.
    pub(crate) first_failure: Option<String>,
}

impl Tally {
    /// Counts a failure.
    pub(crate) fn fail(&mut self, what: impl FnOnce() -> String) {
        self.failures = self.failures.saturating_add(1);
        self.first_failure.get_or_insert_with(what);
    }

    /// Adds what another connection has counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.good = self.good.saturating_add(other.good);
        self.in_time = self.in_time.saturating_add(other.in_time);
        self.hops = self.hops.saturating_add(other.hops);
        self.failures = self.failures.saturating_add(other.failures);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::parse;

    #[test]
    fn a_crowd_has_a_new_agent_with_each_request_and_else_there_is_one() {
        let one = Target::new(SocketAddr::from(([127, 0, 0, 1], 9)), ["/", "{}"], "k", "ok");
        assert_eq!(one.request(), one.request());
        let crowd = one.by_a_crowd();
        let (first, second) = (crowd.request().into_owned(), crowd.clone().request().into_owned());
        assert!(find(&first, b"Palveron-Agent: 00000000000\r").is_some());
        assert!(find(&second, b"Palveron-Agent: 00000000001\r").is_some(), "whichever connection it is");
    }

    #[test]
    fn only_what_is_expected_is_good() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let target =
            Target { tells_hops: true, ..Target::new(address, ["/", "{}"], "k", "\"allowed\":true") };
        let mut tally = Tally::default();
        for (answer, good) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"allowed\":true}", true),
            (
                "HTTP/1.1 200 OK\r\nServer-Timing: meter;desc=home\r\nContent-Length: 16\r\n\r\n{\"allowed\":true}",
                true,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"allowed\":false}", false),
            ("HTTP/1.1 503 Busy\r\nContent-Length: 16\r\n\r\n{\"allowed\":true}", false),
        ] {
            let response = parse(answer.as_bytes()).unwrap().unwrap();
            assert_eq!(target.judge(&response, &mut tally), good, "{answer}");
        }
        assert_eq!((tally.good, tally.hops, tally.failures), (2, 1, 2));
        assert_eq!(tally.first_failure.as_deref(), Some("200 {\"allowed\":false}"));
        let mut sum = Tally::default();
        sum.add(tally.clone());
        sum.add(tally);
        assert_eq!((sum.good, sum.hops, sum.failures), (4, 2, 4));
    }
}
