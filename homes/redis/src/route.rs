//! Where to go for the primary: to itself where it is known, else to a sentinel that says where it is.
//!
//! What a sentinel says is believed for a moment, and no longer than the server there answers as a primary does. A
//! server that is none any more refuses by itself; see `home.lua`.

use redis::{Cmd, Value, cmd};
use shared::time::Timestamp;

use crate::address::{Address, Servers};
use crate::told::Wrong;

/// For how long a sentinel is believed: a primary that was given up and has not heard of it may answer meanwhile.
const BELIEVED_MS: u64 = 1_000;

/// Where to go next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// To the server that has the homes.
    Server(Address),
    /// To a sentinel, with [`Route::question`].
    Sentinel(Address),
}

impl Stop {
    /// Where that is.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::Server(address) | Self::Sentinel(address) => address,
        }
    }
}

/// The way to the primary, as far as it is known.
#[derive(Debug, Clone)]
pub struct Route {
    /// The first of the sentinels is the one to ask.
    servers: Servers,
    primary: Option<(Address, Timestamp)>,
}

impl Route {
    /// Nothing but that is known yet.
    #[must_use]
    pub fn new(servers: Servers) -> Self {
        Self { servers, primary: None }
    }

    /// How many sentinels there are to ask.
    #[must_use]
    pub fn sentinels(&self) -> usize {
        match &self.servers {
            Servers::One(_) => 0,
            Servers::Watched { others, .. } => others.len().saturating_add(1),
        }
    }

    /// Where to go now.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Stop {
        let sentinel = match &self.servers {
            Servers::One(address) => return Stop::Server(address.clone()),
            Servers::Watched { first, .. } => first,
        };
        match &self.primary {
            Some((primary, told_at)) if *told_at <= now && now.ms_since(*told_at) < BELIEVED_MS => {
                Stop::Server(primary.clone())
            }
            Some(_) | None => Stop::Sentinel(sentinel.clone()),
        }
    }

    /// What a sentinel is asked. One that knows no passwords refuses the greeting, and answers nevertheless.
    #[must_use]
    pub fn question(&self) -> Vec<Cmd> {
        let Servers::Watched { first, name, .. } = &self.servers else { return Vec::new() };
        let mut question = first.greeting();
        let mut where_is = cmd("SENTINEL");
        where_is.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        question.push(where_is);
        question
    }

    /// Takes what a sentinel has answered to [`Route::question`]. Where it knows no primary, another is asked next.
    ///
    /// # Errors
    /// When it knows none, or refuses.
    pub fn heard(&mut self, answers: &[Value], now: Timestamp) -> Result<(), Wrong> {
        let told = self.told(answers);
        match &told {
            Ok(primary) => self.primary = Some((primary.clone(), now)),
            Err(_) => self.ask_another(),
        }
        told.map(|_| ())
    }

    /// Notes that nobody has answered there, or nobody who is what was sought.
    pub fn failed(&mut self, stop: &Stop) {
        match stop {
            Stop::Sentinel(asked) => {
                if let Servers::Watched { first, .. } = &self.servers
                    && first == asked
                {
                    self.ask_another();
                }
            }
            // Somebody may have heard of another meanwhile.
            Stop::Server(address) => self.primary = self.primary.take().filter(|(known, _)| known != address),
        }
    }

    fn ask_another(&mut self) {
        if let Servers::Watched { first, others, .. } = &mut self.servers {
            others.push(first.clone());
            *first = others.remove(0);
        }
    }

    fn told(&self, answers: &[Value]) -> Result<Address, Wrong> {
        let Servers::Watched { first: asked, name, .. } = &self.servers else { return Err(Wrong::Form) };
        match answers.last() {
            Some(Value::Array(place)) => {
                let [Value::BulkString(host), Value::BulkString(port)] = place.as_slice() else {
                    return Err(Wrong::Form);
                };
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| Wrong::Form);
                Ok(asked.at(&text(host)?, text(port)?.parse().map_err(|_| Wrong::Form)?))
            }
            Some(Value::Nil) => Err(Wrong::NoPrimary(name.clone())),
            Some(Value::ServerError(error)) => Err(Wrong::Refused(error.to_string())),
            Some(_) | None => Err(Wrong::Form),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000_000);

    fn watched() -> Route {
        Route::new(Servers::parse("sentinel://u:pw@a,b/main").unwrap())
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn refusal() -> Value {
        redis::parse_redis_value(b"-ERR AUTH called without any password configured\r\n").unwrap()
    }

    fn place(host: &str, port: &str) -> Value {
        Value::Array(vec![text(host), text(port)])
    }

    fn host(route: &Route, at: Timestamp) -> String {
        route.next(at).address().host()
    }

    #[test]
    fn a_server_that_is_named_is_the_one_whatever_happens() {
        let mut route = Route::new(Servers::parse("redis://h").unwrap());
        let stop = route.next(NOW);
        route.failed(&stop);
        assert_eq!((route.next(NOW), host(&route, NOW).as_str()), (stop, "h:6379"));
        assert!(route.question().is_empty());
    }

    #[test]
    fn a_sentinel_is_believed_for_a_moment_and_until_the_server_fails() {
        let mut route = watched();
        assert_eq!(host(&route, NOW), "a:26379");
        // The greeting is refused by a sentinel without passwords.
        route.heard(&[refusal(), place("10.0.0.1", "7000")], NOW).unwrap();
        let server = route.next(NOW);
        assert_eq!(server.address().host(), "10.0.0.1:7000");
        assert_eq!(server.address().greeting().len(), 1, "the server hears the same password");
        assert!(matches!(route.next(NOW.plus_ms(BELIEVED_MS)), Stop::Sentinel(_)));
        assert!(matches!(route.next(Timestamp::from_ms(1)), Stop::Sentinel(_)), "of a clock that went back");
        route.failed(&Stop::Server(server.address().at("10.0.0.9", 7000)));
        assert_eq!(route.next(NOW), server, "another one failed");
        route.failed(&server);
        assert!(matches!(route.next(NOW), Stop::Sentinel(_)));
    }

    #[test]
    fn one_that_does_not_answer_or_does_not_know_is_not_asked_again_at_once() {
        let mut route = watched();
        route.failed(&route.next(NOW));
        assert_eq!(host(&route, NOW), "b:26379");
        let unknown = route.heard(&[refusal(), Value::Nil], NOW).unwrap_err().to_string();
        assert!(unknown.contains("main") && unknown.contains("REDIS_URL"), "{unknown}");
        assert_eq!(host(&route, NOW), "a:26379");
        assert!(matches!(route.heard(&[refusal(), refusal()], NOW), Err(Wrong::Refused(_))));
        assert!(matches!(route.heard(&[refusal(), place("h", "port")], NOW), Err(Wrong::Form)));
    }
}
