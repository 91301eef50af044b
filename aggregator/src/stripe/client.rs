//! The client towards Stripe: the only place that knows the library for it.
//!
//! The library carries the connection, the pinned version of the API and its errors. What is sent are our
//! own forms, because they are stored before they are sent and have to be the same bytes each time; what
//! comes back is read by our own types, because the library's refuse an answer for one missing field after
//! the money has moved. It never retries by itself: it would do so without a key.

use std::fmt;
use std::time::Duration;

use ::stripe::{Client, ClientBuilder, StripeError};
use miniserde::json::Value;
use serde::de::DeserializeOwned;
use stripe_client_core::{IdempotencyKey, RequestBuilder, RequestStrategy, StripeMethod};
use tracing::Instrument as _;

use crate::payments::order::Form;
use crate::payments::seen::Page;
use crate::stripe::readings::{Reading, Readings};
use crate::traces;

/// How long Stripe may take; its own libraries wait longer, but a customer waits for us.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many objects a page of a list has; Stripe gives no more.
const PAGE: &str = "100";

/// How many pages of a list are read at most: what a project or an hour can bring.
const PAGES_MAX: usize = 50;

/// Why a call gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Stripe will not do it, and nothing was done.
    #[error("Stripe refuses ({status}, {code}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Stripe's word for it.
        code: String,
        /// For people.
        message: String,
    },
    /// Stripe is busy with this key or with us; nothing was done under this call.
    #[error("Stripe is busy ({status})")]
    Busy {
        /// The HTTP status.
        status: u16,
    },
    /// Stripe failed and may have remembered that under the key, so that the key never recovers.
    #[error("Stripe failed ({status})")]
    Broken {
        /// The HTTP status.
        status: u16,
    },
    /// Nobody knows whether it was done: no answer, or none that can be read.
    #[error("no outcome is known: {0}")]
    Unknown(String),
}

impl CallError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::Busy { .. } | Self::Broken { .. } | Self::Unknown(_) => true,
        }
    }

    /// Whether there is no such object.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A secret key of Stripe; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", if self.is_live() { "live, hidden" } else { "test, hidden" })
    }
}

impl SecretKey {
    /// Reads `sk_live_…`, `sk_test_…`, `rk_live_…` or `rk_test_…`.
    ///
    /// # Errors
    /// Says what is accepted, without repeating what might be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = ["sk_live_", "sk_test_", "rk_live_", "rk_test_"];
        let is_key = known.iter().any(|begin| text.strip_prefix(begin).is_some_and(|rest| !rest.is_empty()))
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key {
            Ok(Self(text.to_owned()))
        } else {
            Err("accepted is a secret key such as sk_test_… or rk_live_…".to_owned())
        }
    }

    /// Whether it moves real money.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.starts_with("sk_live_") || self.0.starts_with("rk_live_")
    }
}

/// A client for one account.
#[derive(Debug, Clone)]
pub struct Stripe {
    client: Client,
    livemode: bool,
    /// Answers to be content with; then nothing is asked and nothing made.
    readings: Option<Readings>,
}

impl Stripe {
    /// A client with that key; `base` is where Stripe is, where that is not Stripe itself.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(key: &SecretKey, base: Option<&str>) -> Result<Self, String> {
        let builder = ClientBuilder::new(key.0.clone())
            .timeout(REQUEST_TIMEOUT)
            .request_strategy(RequestStrategy::Once)
            .app_info("palveron-meter", Some(env!("CARGO_PKG_VERSION").to_owned()), None);
        let builder = match base {
            Some(base) => builder.url(format!("{}/", base.trim_end_matches('/'))),
            None => builder,
        };
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client, livemode: key.is_live(), readings: None })
    }

    /// Whether real money moves.
    #[must_use]
    pub fn livemode(&self) -> bool {
        self.livemode
    }

    /// Reads an object or a page.
    ///
    /// # Errors
    /// When there is no answer that can be used.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, CallError> {
        let query = (!query.is_empty()).then(|| encoded(query.iter().copied()));
        let reading = Reading { path: path.to_owned(), query };
        let answer = match &self.readings {
            Some(readings) => readings.of(reading)?,
            None => self.read(&reading).await?,
        };
        serde_json::from_value(answer).map_err(|error| unreadable(&error))
    }

    /// Reads, whatever the answer is.
    ///
    /// # Errors
    /// When there is no answer that can be used.
    pub(super) async fn read(&self, reading: &Reading) -> Result<serde_json::Value, CallError> {
        let mut request = RequestBuilder::new(StripeMethod::Get, &reading.path);
        request.query.clone_from(&reading.query);
        self.send(request, RequestStrategy::Once).await
    }

    /// The same account, of which only these answers are known.
    pub(super) fn with(&self, readings: Readings) -> Self {
        Self { readings: Some(readings), ..self.clone() }
    }

    /// Reads all pages of a list, up to [`PAGES_MAX`].
    ///
    /// # Errors
    /// When a page cannot be read.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, CallError> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            query.push(("limit", PAGE));
            query.extend(after.as_deref().map(|after| ("starting_after", after)));
            let page: Page<serde_json::Value> = self.get(path, &query).await?;
            after = page.data.last().and_then(|last| last.get("id")?.as_str()).map(str::to_owned);
            for object in page.data {
                all.push(serde_json::from_value(object).map_err(|error| unreadable(&error))?);
            }
            if !page.has_more || after.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Changes something that may be changed again: without a key.
    ///
    /// # Errors
    /// When there is no answer that can be used.
    pub async fn set<T: DeserializeOwned>(&self, path: &str, form: &Form) -> Result<T, CallError> {
        self.send(posting(path, form), RequestStrategy::Once).await
    }

    /// Makes something once: the same key makes nothing more.
    ///
    /// # Errors
    /// When there is no answer that can be used; see [`CallError`] for what may have happened.
    pub async fn make<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form,
        key: &str,
    ) -> Result<T, CallError> {
        let key = IdempotencyKey::new(key).map_err(|error| CallError::Unknown(error.to_string()))?;
        self.send(posting(path, form), RequestStrategy::Idempotent(key)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        strategy: RequestStrategy,
    ) -> Result<T, CallError> {
        if self.readings.is_some() {
            return Err(CallError::Unknown("a rehearsal makes nothing at Stripe".to_owned()));
        }
        // Neither the query nor the form: they name customers.
        let span = tracing::info_span!(
            target: traces::TARGET, "stripe", otel.name = "call Stripe", otel.kind = "client",
            http.request.method = ?request.method, url.path = request.path.as_str(),
            otel.status_code = tracing::field::Empty,
        );
        let request = request.customize::<Value>().request_strategy(strategy);
        let answer = request.send(&self.client).instrument(span.clone()).await.map_err(|error| {
            span.record("otel.status_code", "ERROR");
            failure(error)
        })?;
        serde_json::from_str(&miniserde::json::to_string(&answer)).map_err(|error| unreadable(&error))
    }
}

fn posting(path: &str, form: &Form) -> RequestBuilder {
    let mut request = RequestBuilder::new(StripeMethod::Post, path);
    request.body = Some(encoded(form.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    request
}

fn encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// An answer that is not what it has to be: it may have been done all the same.
fn unreadable(error: &serde_json::Error) -> CallError {
    CallError::Unknown(format!("the answer cannot be read: {error}"))
}

fn failure(error: StripeError) -> CallError {
    match error {
        StripeError::Stripe(error, status @ (409 | 429)) => {
            drop(error);
            CallError::Busy { status }
        }
        StripeError::Stripe(_, status @ 500..) => CallError::Broken { status },
        StripeError::Stripe(error, status) => CallError::Refused {
            status,
            code: error.code.as_ref().map_or_else(|| error.type_.to_string(), ToString::to_string),
            message: error.message.unwrap_or_default(),
        },
        // A proxy's page, no connection, no answer in time: Stripe may have acted.
        StripeError::JSONDeserialize(text) | StripeError::ClientError(text) => CallError::Unknown(text),
        StripeError::Timeout => CallError::Unknown("no answer in time".to_owned()),
        StripeError::ConfigError(text) => CallError::Unknown(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_and_never_shown() {
        for bad in ["", "hunter2", "pk_live_hunter2", "sk_live_", "sk_test_hunter2 x"] {
            assert!(!SecretKey::parse(bad).unwrap_err().contains("hunter2"));
        }
        let live = SecretKey::parse("rk_live_hunter2").unwrap();
        let test = SecretKey::parse("sk_test_hunter2").unwrap();
        assert!(live.is_live() && !test.is_live());
        assert!(!format!("{live:?} {test:?}").contains("hunter2"));
        let client = Stripe::new(&live, Some("http://127.0.0.1:1")).unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
    }

    #[test]
    fn forms_keep_their_order() {
        let form = vec![("b[0][x]".to_owned(), "ä &".to_owned()), ("a".to_owned(), "1".to_owned())];
        let request = posting("/x", &form);
        assert_eq!(request.body.as_deref(), Some("b%5B0%5D%5Bx%5D=%C3%A4+%26&a=1"));
    }
}
