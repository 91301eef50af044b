//! What a command asks of the interface: method, path, query and body. Pure; `place` sends it.

use axum::http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};

/// What a segment of a path keeps as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A call of the aggregator's interface.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Map<String, Value>>,
    pub(super) idempotency_key: Option<String>,
    /// What was signed elsewhere: the signature, and the body exactly as it was signed.
    signed: Option<(String, String)>,
    /// What to say where nothing is found.
    pub(super) unknown: &'static str,
}

impl Call {
    fn new(method: Method, path: &[&str]) -> Self {
        let segment = |segment: &&str| utf8_percent_encode(segment, KEPT).to_string();
        let path = format!("/{}", path.iter().map(segment).collect::<Vec<_>>().join("/"));
        Self { method, path, query: Vec::new(), body: None, idempotency_key: None, signed: None, unknown: "" }
    }

    pub(super) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: &[&str]) -> Self {
        Self { body: Some(Map::new()), ..Self::new(Method::POST, path) }
    }

    pub(super) fn put(path: &[&str]) -> Self {
        Self { body: Some(Map::new()), ..Self::new(Method::PUT, path) }
    }

    pub(super) fn patch(path: &[&str]) -> Self {
        Self { body: Some(Map::new()), ..Self::new(Method::PATCH, path) }
    }

    pub(super) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// With a parameter in the query, instead of what it had by that name.
    pub(super) fn with_query(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.retain(|(other, _)| *other != name);
        self.query.push((name, value.to_string()));
        self
    }

    /// With a parameter in the query, where there is one.
    pub(super) fn maybe_query(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with_query(name, &value),
            None => self,
        }
    }

    /// With a field in the body.
    pub(super) fn field(mut self, name: &str, value: impl Serialize) -> Self {
        // What commands send are texts, numbers and lists of them, each of which is JSON.
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.body.get_or_insert_default().insert(name.to_owned(), value);
        self
    }

    /// With a field in the body, where there is one; a field that is absent stays as it is.
    pub(super) fn maybe_field(self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// With a name of the caller's own for the call, where there is one.
    pub(super) fn named(self, idempotency_key: Option<String>) -> Self {
        Self { idempotency_key, ..self }
    }

    /// With a body that was signed elsewhere.
    pub(super) fn signed(self, signature: String, body: String) -> Self {
        Self { signed: Some((signature, body)), ..self }
    }

    /// The signature of what was signed elsewhere.
    pub(super) fn signature(&self) -> Option<&str> {
        self.signed.as_ref().map(|(signature, _)| signature.as_str())
    }

    /// With what to say where nothing is found.
    pub(super) fn or_say(self, unknown: &'static str) -> Self {
        Self { unknown, ..self }
    }

    /// The path with its query.
    pub(super) fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.query {
            query.append_pair(name, value);
        }
        format!("{}?{}", self.path, query.finish())
    }

    /// The body, as JSON.
    pub(super) fn body(&self) -> Option<String> {
        let signed = self.signed.as_ref().map(|(_, body)| body.clone());
        signed.or_else(|| self.body.as_ref().map(|fields| Value::Object(fields.clone()).to_string()))
    }

    /// Whether nothing would be changed.
    pub(super) fn is_empty(&self) -> bool {
        self.body.as_ref().is_none_or(Map::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_cannot_leave_its_place() {
        let call = Call::delete(&["api", "v1", "webhooks", "../x?y"]).with_query("project", &"a&b=c d");
        assert_eq!(call.target(), "/api/v1/webhooks/..%2Fx%3Fy?project=a%26b%3Dc+d");
        assert_eq!(call.body(), None);
        let call = Call::patch(&["x"]).field("rpm", None::<u32>).maybe_field("plan", None::<u32>);
        assert_eq!(call.body().as_deref(), Some(r#"{"rpm":null}"#), "null and absent are two things");
        assert!(Call::post(&["x"]).is_empty());
    }
}
