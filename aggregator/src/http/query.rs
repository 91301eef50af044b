//! Query strings: each parameter known and given once.

use std::collections::BTreeMap;

use axum::http::Uri;

use super::failure::Failure;
use super::field::Field;

/// A query's parameters.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a query; unknown and doubled parameters are refused.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Failure> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let accepts = format!("only {}", known.join(", "));
                return Err(Failure::field(&name, "an unknown parameter", &accepts));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Failure::field(&name, "the parameter twice", "once"));
            }
        }
        Ok(Self(parameters))
    }

    /// Reads the query of a call whose row has this table.
    pub(super) fn of(uri: &Uri, table: &[Field]) -> Result<Self, Failure> {
        let known: Vec<&str> = table.iter().map(|field| field.name).collect();
        Self::parse(uri.query(), &known)
    }

    /// A parameter's value, if it was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that may be left out, and that `parse` accepts where it is given.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        accepts: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        self.get(name).map(|_| self.required(name, accepts, parse)).transpose()
    }

    /// A parameter that must be given and that `parse` accepts.
    pub(super) fn required<T>(
        &self,
        name: &str,
        accepts: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        let value = self.get(name).ok_or_else(|| Failure::missing(name, accepts))?;
        parse(value).ok_or_else(|| Failure::field(name, value, accepts))
    }
}
