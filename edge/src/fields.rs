//! A body's fields: read, or refused by the first of them that is not as accepted.
//!
//! A body is read at once, and again only to say what is wrong with it. Every field may be missing here.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use shared::json;
use shared::problem::{ErrorCode, Problem};

use crate::step::Answer;

/// The fields that a body may have, and what is accepted in each.
pub(crate) type Accepted = [(&'static str, &'static str)];

/// The names and values of an object, as they are written.
struct Written(Vec<(String, Box<RawValue>)>);

/// Reads an object of these fields, or says how the body is refused.
pub(crate) fn read<T: DeserializeOwned>(body: &str, accepted: &Accepted) -> Result<T, Box<Answer>> {
    // serde would also take a list of the fields in their order.
    let object = body.trim_start().starts_with('{').then(|| json::read(body).ok()).flatten();
    let fits = |field: &str| json::read::<T>(field).is_ok();
    object.ok_or_else(|| Box::new(Answer::problem(&refusal(body, accepted, fits))))
}

/// Why a body is refused; `fits` says whether an object of one field is accepted.
fn refusal(body: &str, accepted: &Accepted, fits: fn(&str) -> bool) -> Problem {
    let fields = json::read(body).map_or_else(|_| Vec::new(), |Written(fields)| fields);
    let mut before: Vec<&str> = Vec::new();
    for (name, value) in &fields {
        let (value, known) = (value.get(), accepted.iter().find(|(known, _)| known == name));
        let Some((_, accepts)) = known.filter(|_| !before.contains(&name.as_str())) else {
            let names: Vec<&str> = accepted.iter().map(|(name, _)| *name).collect();
            return Problem::field("body", name, &format!("{}, each once", names.join(", ")));
        };
        if !fits(&format!("{{\"{name}\":{value}}}")) {
            let text: Option<String> = json::read(value).ok();
            return Problem::field(name, text.as_deref().unwrap_or(value), accepts);
        }
        before.push(name);
    }
    Problem::new(ErrorCode::MalformedJson, "The body must be a JSON object such as {\"kind\":\"verify\"}.")
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Written, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = object.next_entry()? {
                    fields.push(field);
                }
                Ok(Written(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
