//! What the fake Stripe answers to a call that it refuses: Stripe's error object.

use serde_json::{Value, json};

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    parameter: Option<String>,
    message: String,
}

impl Refused {
    fn new(status: u16, code: Option<&'static str>, message: String) -> Self {
        Self { status, kind: "invalid_request_error", code, parameter: None, message }
    }

    /// A parameter that is missing.
    pub(super) fn missing(path: &str) -> Self {
        let message = format!("Missing required param: {}.", bracketed(path));
        Self { parameter: Some(bracketed(path)), ..Self::new(400, Some("parameter_missing"), message) }
    }

    /// A parameter that cannot be taken.
    pub(super) fn parameter(path: &str, message: &str) -> Self {
        Self {
            parameter: Some(bracketed(path)),
            ..Self::new(400, Some("parameter_invalid"), message.to_owned())
        }
    }

    /// An object that is not there.
    pub(super) fn no_such(kind: &str, id: &str) -> Self {
        Self {
            parameter: Some("id".to_owned()),
            ..Self::new(404, Some("resource_missing"), format!("No such {kind}: '{id}'"))
        }
    }

    /// Something that the object's state does not allow.
    pub(super) fn state(message: &str) -> Self {
        Self::new(400, None, message.to_owned())
    }

    /// A path that there is not.
    pub(super) fn route(method: &str, path: &str) -> Self {
        Self::new(404, None, format!("Unrecognized request URL ({method}: {path})."))
    }

    /// A key that is not one of test mode.
    pub(super) fn key() -> Self {
        Self::new(401, None, "You did not provide an API key of test mode (sk_test_…).".to_owned())
    }

    /// The same idempotency key with other parameters.
    pub(super) fn idempotency() -> Self {
        Self {
            kind: "idempotency_error",
            ..Self::new(
                400,
                None,
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
                    .to_owned(),
            )
        }
    }

    /// The same idempotency key while the first call with it is still running.
    pub(super) fn in_progress() -> Self {
        Self {
            kind: "idempotency_error",
            ..Self::new(
                409,
                Some("idempotency_key_in_use"),
                "There is currently another in-progress request using this Idempotent Key.".to_owned(),
            )
        }
    }

    /// A payment that the card's bank declined.
    pub(super) fn declined() -> Self {
        Self {
            kind: "card_error",
            ..Self::new(402, Some("card_declined"), "Your card was declined.".to_owned())
        }
    }

    /// The answer's body.
    pub(super) fn body(&self) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(code) = self.code {
            error["code"] = json!(code);
        }
        if let Some(parameter) = &self.parameter {
            error["param"] = json!(parameter);
        }
        json!({ "error": error })
    }
}

/// `line_items.0.price` as Stripe writes it: `line_items[0][price]`.
fn bracketed(path: &str) -> String {
    let mut parts = path.split('.');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}[{part}]"))
}
