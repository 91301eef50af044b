//! What is measured: our worker, and what one would write instead.
//!
//! Where it is open how a baseline does its work, it does less: only `js-body` and ours read what they are asked.
//! Variants that are compared get the same request.

/// One way to answer the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Its name in tables and for `--only`.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) what: &'static str,
    /// Which program answers.
    pub(crate) serve: Serve,
    /// Which path is asked.
    pub(crate) path: &'static str,
    /// The request's body; empty where the question is in the query.
    pub(crate) body: &'static str,
    /// What each good answer's body contains.
    pub(crate) expected: &'static str,
    /// The simulated round trip to the home; zero where the home is as near as it is.
    pub(crate) home_delay_ms: u32,
    /// Whether each request has an agent of its own, in a project whose plan has room for a few.
    pub(crate) crowd: bool,
}

/// What answers a variant's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serve {
    /// A worker of `baselines/baselines.capnp`, by the name of its configuration.
    Baseline(&'static str),
    /// The same, with a Redis behind it.
    BaselineWithRedis(&'static str),
    /// Our bundle, with the aggregator behind it.
    Meter,
    /// The same, whose homes are in a Redis that keeps every write.
    MeterOnRedis,
}

impl Serve {
    /// Whether it is ours.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Meter | Self::MeterOnRedis)
    }

    /// Whether a Redis stands behind it.
    pub(crate) fn wants_redis(self) -> bool {
        matches!(self, Self::BaselineWithRedis(_) | Self::MeterOnRedis)
    }
}

const DECISION: &str = r#""allowed":true"#;
const UPSTREAM: &str = r#"{"ok":true}"#;
/// The simulated round trip to a home in another place.
const FAR_MS: u32 = 20;

/// The question as JSON.
const QUESTION: &str = r#"{"kind":"verify"}"#;

const fn check(name: &'static str, serve: Serve, what: &'static str) -> Variant {
    Variant {
        name,
        what,
        serve,
        path: "/v1/check?kind=verify",
        body: "",
        expected: DECISION,
        home_delay_ms: 0,
        crowd: false,
    }
}

const fn with_body(name: &'static str, serve: Serve, what: &'static str) -> Variant {
    Variant { path: "/v1/check", body: QUESTION, ..check(name, serve, what) }
}

const fn forwarding(name: &'static str, serve: Serve, what: &'static str) -> Variant {
    Variant { path: "/v1/verify", body: QUESTION, expected: UPSTREAM, ..check(name, serve, what) }
}

const fn far(name: &'static str, serve: Serve, what: &'static str) -> Variant {
    Variant { home_delay_ms: FAR_MS, ..check(name, serve, what) }
}

/// All of them, in the order of the tables.
pub(crate) const ALL: [Variant; 16] = [
    Variant {
        expected: "ok",
        ..check("js-ok", Serve::Baseline("ok"), "a JavaScript worker that answers `ok`: the floor")
    },
    check(
        "js-headers",
        Serve::Baseline("headers"),
        "a JavaScript worker that reads the key and answers our headers and body; it limits nothing",
    ),
    check("meter", Serve::Meter, "ours: `POST /v1/check?kind=verify`, with a real aggregator behind it"),
    Variant {
        expected: r#""kind":"verify""#,
        crowd: true,
        ..check(
            "meter-crowd",
            Serve::Meter,
            "ours, each request by another agent, on a plan with five: five are allowed, all others refused",
        )
    },
    check(
        "meter-redis",
        Serve::MeterOnRedis,
        "ours, with the homes in a Redis that logs every write to the disk before it answers",
    ),
    with_body("js-body", Serve::Baseline("body"), "as `js-headers`, asked by a JSON body, which it reads"),
    with_body("meter-body", Serve::Meter, "ours, asked by a JSON body"),
    check(
        "object-sql",
        Serve::Baseline("objectSql"),
        "a JavaScript Durable Object asked by RPC for each request, which writes its count with one SQL statement",
    ),
    check("object-memory", Serve::Baseline("objectMemory"), "the same, which keeps its count in memory only"),
    check(
        "redis-connect",
        Serve::BaselineWithRedis("redisConnect"),
        "Redis `INCR` for each request over a socket of its own: a worker may not keep one for the next request",
    ),
    check(
        "redis-object",
        Serve::BaselineWithRedis("redisObject"),
        "Redis `INCR` for each request, pipelined over one connection that a Durable Object keeps",
    ),
    forwarding(
        "js-forward",
        Serve::Baseline("forward"),
        "a JavaScript worker that forwards and adds our headers",
    ),
    forwarding(
        "meter-forward",
        Serve::Meter,
        "ours: `POST /v1/verify`, decided and forwarded to the same upstream",
    ),
    far("meter-20ms", Serve::Meter, "`meter` with 20 ms to the home"),
    far("object-sql-20ms", Serve::Baseline("objectSql"), "`object-sql` with 20 ms to the object"),
    far("object-memory-20ms", Serve::Baseline("objectMemory"), "`object-memory` with 20 ms to the object"),
];

/// Ours, and what it is compared with.
pub(crate) const COMPARED: [(&str, &str); 14] = [
    ("meter", "js-ok"),
    ("meter", "js-headers"),
    ("meter-crowd", "js-headers"),
    ("meter-redis", "meter"),
    ("meter-redis", "redis-connect"),
    ("meter-body", "js-body"),
    ("meter", "object-sql"),
    ("meter", "object-memory"),
    ("meter", "redis-connect"),
    ("meter", "redis-object"),
    ("meter-forward", "js-forward"),
    ("meter-20ms", "meter"),
    ("meter-20ms", "object-sql-20ms"),
    ("meter-20ms", "object-memory-20ms"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_what_is_compared_exists() {
        let names: BTreeSet<_> = ALL.iter().map(|variant| variant.name).collect();
        assert_eq!(names.len(), ALL.len());
        for (ours, theirs) in COMPARED {
            assert!(names.contains(ours) && names.contains(theirs), "{ours} {theirs}");
        }
    }
}
