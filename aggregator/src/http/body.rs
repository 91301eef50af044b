//! Bodies: read within limits of size and time, then as JSON objects whose fields are all known.
//!
//! Refusals name the field; they never repeat what the JSON library says.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use shared::problem::ErrorCode;

use super::failure::Failure;
use super::field::Field;
use super::server::Timeouts;
use super::site::Site;

/// The largest body of an administrator's call; they are a few hundred bytes.
pub(crate) const JSON_BYTES_MAX: usize = 64 * 1024;

/// Reads a body of at most `bytes_max` within the time that bodies may take.
pub(crate) async fn read(
    timeouts: Timeouts,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes, Failure> {
    let too_large = || {
        Failure::new(
            ErrorCode::BodyTooLarge,
            format!("The body has more than {bytes_max} bytes, which are accepted."),
        )
    };
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > bytes_max) {
        return Err(too_large());
    }
    match tokio::time::timeout(timeouts.body, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            Err(Failure::new(ErrorCode::BadRequest, "The body broke off or is not framed as HTTP wants it."))
        }
        Err(_) => {
            let detail =
                format!("The body did not arrive within {} s. Send it again.", timeouts.body.as_secs());
            Err(Failure::new(ErrorCode::RequestTimeout, detail))
        }
    }
}

/// Refuses a body that does not say it is JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) = media_type.split_once(';').unwrap_or((media_type, ""));
    let utf_8 = parameters.split(';').map(str::trim).all(|parameter| {
        parameter.split_once('=').is_none_or(|(name, charset)| {
            !name.eq_ignore_ascii_case("charset") || charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if essence.trim().eq_ignore_ascii_case("application/json")
        && utf_8
        && !headers.contains_key(header::CONTENT_ENCODING)
    {
        Ok(())
    } else {
        Err(Failure::new(
            ErrorCode::UnsupportedMediaType,
            "Send the body with `Content-Type: application/json`, not encoded.",
        ))
    }
}

/// A JSON object from a body. Taking its fields apart refuses whatever is not known.
#[derive(Debug)]
pub(crate) struct Fields(BTreeMap<String, Value>);

impl FromRequest<Site> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        require_json(&head.headers)?;
        Self::parse(&read(site.timeouts, &head.headers, body, JSON_BYTES_MAX).await?)
    }
}

impl Fields {
    /// Reads an object; doubled fields, arrays and other values are refused.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        // The first reading learns whether it is JSON at all, the second whether a field is doubled.
        let value: Value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        if !value.is_object() {
            let detail = format!("The body is {}, accepted is a JSON object.", kind_of(&value));
            return Err(Failure::new(ErrorCode::FieldRejected, detail));
        }
        let Entries(entries) = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        let mut fields = BTreeMap::new();
        for (name, value) in entries {
            if fields.contains_key(&name) {
                return Err(Failure::field(&name, "the field twice", "once"));
            }
            fields.insert(name, value);
        }
        Ok(Self(fields))
    }

    /// Refuses every field that is not in `known`.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, Failure> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                Err(Failure::field(name, "an unknown field", &format!("only {}", known.join(", "))))
            }
            None => Ok(self),
        }
    }

    /// Refuses every field that is not in the table.
    pub(crate) fn of(self, table: &[Field]) -> Result<Self, Failure> {
        let known: Vec<&str> = table.iter().map(|field| field.name).collect();
        self.only(&known)
    }

    /// A field that must be there.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, field: &Field) -> Result<T, Failure> {
        self.required(field.name, field.accepts)
    }

    /// As [`Fields::read`], of a field that is described where it is read.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &str, accepts: &str) -> Result<T, Failure> {
        self.optional(name, accepts)?.ok_or_else(|| Failure::missing(name, accepts))
    }

    /// A field that may be absent; null is not absent and is refused unless `T` takes it.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &str,
        accepts: &str,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let got = shown(&value);
        serde_json::from_value(value).map(Some).map_err(|_| Failure::field(name, &got, accepts))
    }
}

/// What is not JSON at all; where it stops being JSON helps, what stands there might be a secret.
pub(super) fn malformed(error: &serde_json::Error) -> Failure {
    let detail = format!("The body stops being JSON at line {} column {}.", error.line(), error.column());
    Failure::new(ErrorCode::MalformedJson, detail)
}

/// A value as a refusal shows it: numbers and texts as they are, others by what they are.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => kind_of(value).to_owned(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// An object's entries as they were written, doubled ones too.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
