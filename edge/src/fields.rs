//! A body's fields: read, or refused by the first of them that is not as accepted.
//!
//! A body is read at once, and again only to say what is wrong with it. Every field may be missing here.

use shared::json::{self, Error, Read, Reader};
use shared::problem::{ErrorCode, Problem};

use crate::step::Answer;

/// The fields that a body may have, and what is accepted in each.
pub(crate) type Accepted = [(&'static str, &'static str)];

/// The names and values of an object, as they are written.
struct Written(Vec<(String, String)>);

/// A value as it is written.
struct Value(String);

/// Reads an object of these fields, or says how the body is refused.
pub(crate) fn read<T: Read>(body: &str, accepted: &Accepted) -> Result<T, Box<Answer>> {
    let fits = |field: &str| json::read::<T>(field).is_ok();
    json::read(body).map_err(|_| Box::new(Answer::problem(&refusal(body, accepted, fits))))
}

/// Why a body is refused; `fits` says whether an object of one field is accepted.
fn refusal(body: &str, accepted: &Accepted, fits: fn(&str) -> bool) -> Problem {
    let fields = json::read(body).map_or_else(|_| Vec::new(), |Written(fields)| fields);
    let mut before: Vec<&str> = Vec::new();
    for (name, value) in &fields {
        let known = accepted.iter().find(|(known, _)| known == name);
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

impl Read for Written {
    fn blank() -> Self {
        Self(Vec::new())
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        reader.entries(|name, Value(value)| self.0.push((name, value)))
    }
}

impl Read for Value {
    fn blank() -> Self {
        Self(String::new())
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.0 = reader.written()?.to_owned();
        Ok(())
    }
}
