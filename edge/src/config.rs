//! What the worker knows before any request: key secrets, signing keys, the prefix table.

use std::cell::RefCell;
use std::collections::BTreeMap;

use shared::key::{KeySecrets, METRICS_TOKEN_CHARS_MIN, ProjectKey, bearer, shows};
use shared::kind::{Bill, Routes};
use shared::sign::{Purpose, SigningKeys};

use crate::trip::Server;

/// Keys whose verification is remembered; some hundred bytes each.
const VERIFIED_MAX: usize = 10_000;

/// The worker's settings.
#[derive(Debug)]
pub(crate) struct Config {
    /// Under which project keys are verified.
    pub(crate) key_secrets: KeySecrets,
    /// With which flushes and forwarded requests are signed and policies verified.
    pub(crate) signing_keys: SigningKeys,
    /// Which paths are forwarded and what they are counted as.
    pub(crate) routes: Routes,
    /// When requests are counted whose route does not say it.
    pub(crate) bill: Bill,
    /// Whether limits are told of, but nobody is denied for them.
    pub(crate) shadow: bool,
    /// Where homes are, where they are in Redis.
    pub(crate) redis: Option<Server>,
    /// With which `/metrics` is read; without one there is no such path.
    metrics_token: Option<String>,
    /// As whom everybody asks, where nobody shows a key: on premise.
    resident: Option<ProjectKey>,
    /// Texts that were verified before. Only right ones are kept, so that nobody can fill it.
    verified: RefCell<BTreeMap<String, ProjectKey>>,
}

impl Config {
    /// Reads the bindings' texts.
    pub(crate) fn read(key_secrets: &str, signing_keys: &str, routes: &str) -> Result<Self, String> {
        let key_secrets =
            KeySecrets::parse(key_secrets).map_err(|error| format!("METER_KEY_SECRETS: {error}"))?;
        let needed = [Purpose::Edge, Purpose::Policy, Purpose::Upstream];
        let signing_keys = SigningKeys::required(signing_keys, &needed)?;
        Self { key_secrets, signing_keys, ..Self::default() }.with_routes(routes)
    }

    /// Takes which paths are counted, and as what; an empty text is the usual ones.
    pub(crate) fn with_routes(mut self, routes: &str) -> Result<Self, String> {
        if !routes.is_empty() {
            self.routes = Routes::from_json(routes).map_err(|error| format!("METER_ROUTES: {error}"))?;
        }
        Ok(self)
    }

    /// The settings of a worker that only verifies keys and asks: it flushes, forwards and installs nothing.
    pub(crate) fn for_keys(key_secrets: KeySecrets) -> Self {
        Self { key_secrets, ..Self::default() }
    }

    /// The settings where everybody asks under one key and shows none.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn for_resident(
        resident: ProjectKey,
        routes: Routes,
        signing_keys: SigningKeys,
        shadow: bool,
    ) -> Self {
        Self { resident: Some(resident), routes, signing_keys, shadow, ..Self::default() }
    }

    /// Takes when requests are counted, and whether anybody is denied.
    pub(crate) fn with_rules(mut self, bill: &str, shadow: &str) -> Result<Self, String> {
        self.bill = match bill {
            "" | "allowed" => Bill::Allowed,
            "answered" => Bill::Answered,
            _ => return Err(format!("METER_BILL: got {bill:?}, accepted are allowed and answered")),
        };
        self.shadow = match shadow {
            "" | "0" => false,
            "1" => true,
            _ => return Err(format!("METER_SHADOW: got {shadow:?}, accepted are 0 and 1")),
        };
        Ok(self)
    }

    /// Takes the token with which `/metrics` is read.
    pub(crate) fn with_metrics(mut self, token: &str) -> Result<Self, String> {
        if !token.is_empty() && token.len() < METRICS_TOKEN_CHARS_MIN {
            return Err(format!(
                "METER_METRICS_TOKEN: accepted are {METRICS_TOKEN_CHARS_MIN} characters or more"
            ));
        }
        self.metrics_token = Some(token.to_owned()).filter(|token| !token.is_empty());
        Ok(self)
    }

    /// Takes where homes are.
    pub(crate) fn with_counters(mut self, redis: Option<Server>) -> Self {
        self.redis = redis;
        self
    }

    /// Whether an `Authorization` header shows that token.
    pub(crate) fn may_scrape(&self, authorization: &str) -> bool {
        self.metrics_token.as_deref().is_some_and(|token| shows(authorization, token))
    }

    /// The project key in an `Authorization` header. Computing a MAC takes longer than all the rest of
    /// a decision, so each key is verified once.
    pub(crate) fn caller(&self, authorization: &str) -> Option<ProjectKey> {
        if self.resident.is_some() {
            return self.resident.clone();
        }
        if let Some(known) = self.verified.borrow().get(authorization) {
            return Some(known.clone());
        }
        let key = bearer(authorization).and_then(|text| self.key_secrets.verify(text))?;
        let mut verified = self.verified.borrow_mut();
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(authorization.to_owned(), key.clone());
        Some(key)
    }
}

impl Default for Config {
    /// Without secrets every key is refused.
    fn default() -> Self {
        Self {
            key_secrets: KeySecrets::none(),
            signing_keys: SigningKeys::default(),
            routes: Routes::default(),
            bill: Bill::default(),
            shadow: false,
            redis: None,
            metrics_token: None,
            resident: None,
            verified: RefCell::default(),
        }
    }
}

/// How many sub-homes to expect before a policy has said it.
pub(crate) fn sub_homes(text: &str) -> Result<u32, String> {
    match text {
        "" => Ok(0),
        text => {
            text.parse().map_err(|_| format!("METER_SUB_HOMES: got {text:?}, accepted is a whole number"))
        }
    }
}

thread_local! {
    static CONFIG: RefCell<Config> = RefCell::default();
}

/// Puts the settings in place.
pub(crate) fn set(config: Config) {
    CONFIG.set(config);
}

/// Reads the settings. `f` must not call [`set`].
pub(crate) fn with<T>(f: impl FnOnce(&Config) -> T) -> T {
    CONFIG.with_borrow(f)
}
