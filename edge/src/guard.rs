//! Guards the routes of a worker of your own, built on the crate `worker`: each request is decided in your isolate, by
//! leases of its own, and refused with the same answers as the edge gives.
//!
//! The homes are the deployed meter's Durable Objects, bound as `HOME` and `SUB_HOME`. The settings are variables of the
//! worker with the names that they have at the edge: `METER_KEY_SECRETS`, which must be there, and `METER_ROUTES`,
//! `METER_SHADOW`, `METER_REGION` and `METER_SUB_HOMES`. `examples/rust-worker` is such a worker.

mod platform;

use std::cell::Cell;

use worker::{Context, Env, Error, Headers, Request, Response, Result};

use crate::library::{self, Guarded, Kind, Received, Settings};
use platform::{HOME, Homes, random_words};

thread_local! {
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// The meter in a worker of your own.
#[derive(Debug)]
pub struct Meter {
    env: Env,
    kind: Kind,
    cost: u32,
}

/// What became of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It was counted: serve it.
    Passed(Passed),
    /// It was not: this answers it, and says why and when to come back.
    Refused(Response),
}

/// A request that was counted.
#[derive(Debug)]
pub struct Passed {
    headers: Vec<(String, String)>,
}

impl Meter {
    /// The meter, by the worker's variables and bindings. The settings are read once in the life of an isolate.
    ///
    /// # Errors
    /// When a binding or a setting is missing or wrong; says which, and what is accepted. Never repeats a secret.
    pub fn from_env(env: &Env) -> Result<Self> {
        if !CONFIGURED.get() {
            let bound = env.durable_object(HOME);
            bound.map_err(|_| {
                told("the worker has no binding HOME: bind it to the meter's class MeterHome")
            })?;
            let text = |name: &str| env.var(name).map(|value| value.to_string()).unwrap_or_default();
            let [key_secrets, routes, shadow, region, sub_homes] =
                ["METER_KEY_SECRETS", "METER_ROUTES", "METER_SHADOW", "METER_REGION", "METER_SUB_HOMES"]
                    .map(text);
            let settings = Settings {
                key_secrets: &key_secrets,
                routes: &routes,
                shadow: &shadow,
                region: &region,
                continent: "",
                sub_homes: &sub_homes,
            };
            library::configure(&settings, random_words()).map_err(told)?;
            CONFIGURED.set(true);
        }
        Ok(Self { env: env.clone(), kind: Kind::Verify, cost: 1 })
    }

    /// What a request is counted as whose path no route of `METER_ROUTES` names; a verify call where it is not said.
    #[must_use]
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// How many units a request stands for, 1 to 1,000; one where it is not said.
    #[must_use]
    pub fn cost(self, cost: u32) -> Self {
        Self { cost, ..self }
    }

    /// Decides a request, and counts it if it may be served. Its key is the one of its `Authorization: Bearer` header,
    /// its agent that of `Palveron-Agent`. What there is to report is reported when the answer has left.
    ///
    /// # Errors
    /// When the platform does not hand out the request's headers.
    pub async fn check(self, request: &Request, ctx: &Context) -> Result<Verdict> {
        let header = |name| request.headers().get(name).map(Option::unwrap_or_default);
        let (authorization, agent, path) =
            (header("authorization")?, header("palveron-agent")?, request.path());
        let received = Received {
            path: &path,
            kind: self.kind,
            authorization: &authorization,
            agent: &agent,
            cost: self.cost,
        };
        let homes = Homes::new(self.env);
        let (verdict, restless) = match library::guard(&homes, &received).await {
            Guarded::Passed { headers, restless } => (Verdict::Passed(Passed { headers }), restless),
            Guarded::Refused { status, headers, body, restless } => {
                let answer = Response::ok(body)?.with_status(status).with_headers(all(&headers)?);
                (Verdict::Refused(answer), restless)
            }
        };
        if let Some(home) = restless {
            ctx.wait_until(async move { library::background(&homes, &home).await });
        }
        Ok(verdict)
    }
}

impl Passed {
    /// Names and values of the headers that say what is left and what pays: `RateLimit`, `RateLimit-Policy`,
    /// `Palveron-Source` and `Server-Timing`.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Your answer with these headers.
    ///
    /// # Errors
    /// When the platform does not take them.
    pub fn onto(self, mut response: Response) -> Result<Response> {
        for (name, value) in &self.headers {
            response.headers_mut().set(name, value)?;
        }
        Ok(response)
    }
}

fn all(headers: &[(String, String)]) -> Result<Headers> {
    let all = Headers::new();
    for (name, value) in headers {
        all.set(name, value)?;
    }
    Ok(all)
}

fn told(what: impl Into<String>) -> Error {
    Error::RustError(what.into())
}
