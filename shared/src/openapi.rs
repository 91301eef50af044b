//! What the OpenAPI documents of the aggregator and of the edge have in common: types as schemas that common makers of
//! clients understand, and refusals by the codes that they carry.
//!
//! It must only describe: nothing here decides what is accepted.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::problem::{CONTENT_TYPE, ErrorCode, Problem};

/// The version of the format that documents are written in.
pub const VERSION: &str = "3.1.0";

/// An object about which nothing more is said.
#[derive(Debug)]
pub enum AnyObject {}

impl JsonSchema for AnyObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "AnyObject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object", "additionalProperties": {} })
    }
}

/// The schemas of a document.
#[derive(Debug)]
pub struct Schemas {
    answered: SchemaGenerator,
    sent: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
            .with_transform(RecursiveTransform(plain));
        Self {
            answered: settings.clone().for_serialize().into_generator(),
            sent: settings.for_deserialize().into_generator(),
        }
    }
}

impl Schemas {
    /// The schema of a type, or the reference to it.
    pub fn of<T: JsonSchema>(&mut self) -> Schema {
        self.made(SchemaGenerator::subschema_for::<T>)
    }

    /// As [`Self::of`] for what is sent to us, where fields that have defaults may be absent.
    pub fn sent<T: JsonSchema>(&mut self) -> Schema {
        self.sent.subschema_for::<T>()
    }

    /// The schema that `make` makes.
    pub fn made(&mut self, make: impl FnOnce(&mut SchemaGenerator) -> Schema) -> Schema {
        let mut schema = make(&mut self.answered);
        RecursiveTransform(plain).transform(&mut schema);
        schema
    }

    /// Every schema that something refers to, with those of refusals.
    #[must_use]
    pub fn finish(mut self) -> Map<String, Value> {
        self.of::<Problem>();
        let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        let mut schemas = self.sent.take_definitions(true);
        schemas.append(&mut self.answered.take_definitions(true));
        schemas.insert(
            "ErrorCode".to_owned(),
            json!({
                "type": "string", "enum": codes,
                "description": "What went wrong, in one word that programs can branch on; there may be more of them \
                    one day. /errors/{code} is about it"
            }),
        );
        schemas
    }
}

/// Adds a response for each status that these codes are answered with, described by what they say.
pub fn refuse(responses: &mut Map<String, Value>, codes: &[ErrorCode]) {
    let mut statuses: Vec<u16> = codes.iter().map(|code| code.status()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let of_status: Vec<&ErrorCode> = codes.iter().filter(|code| code.status() == status).collect();
        let says: Vec<String> =
            of_status.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title())).collect();
        let names: Vec<&str> = of_status.iter().map(|code| code.as_str()).collect();
        responses.insert(
            status.to_string(),
            json!({
                "description": says.join("; "),
                "content": { CONTENT_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
                "x-codes": names,
            }),
        );
    }
}

/// Writes what JSON Schema says in two ways in the one that makers of clients understand: a schema that takes anything
/// as an object, and a choice between words as an enumeration. Of fields with a default, some makers think that they must be
/// there; descriptions say what is meant where one is absent.
fn plain(schema: &mut Schema) {
    if schema.as_bool() == Some(true) {
        *schema = Schema::default();
    }
    schema.remove("default");
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let is_word =
        |choice: &&Value| choice.get("type").is_some_and(|kind| kind == "string") && words(choice).is_some();
    let worded: Vec<&Value> = choices.iter().filter(is_word).collect();
    let others: Vec<Value> = choices.iter().filter(|choice| !is_word(choice)).cloned().collect();
    if worded.is_empty() {
        return;
    }
    let all: Vec<Value> = worded.iter().filter_map(|choice| words(choice)).flatten().collect();
    let said: Vec<String> = worded.iter().filter_map(|choice| saying(choice)).collect();
    if others.is_empty() {
        let before = schema.get("description").and_then(Value::as_str).map(str::to_owned);
        let description: Vec<String> = before.into_iter().chain(said).collect();
        schema.remove("oneOf");
        schema.insert("type".to_owned(), "string".into());
        schema.insert("enum".to_owned(), all.into());
        schema.insert("description".to_owned(), description.join("\n\n").into());
    } else {
        let mut choices = others;
        choices.push(json!({ "type": "string", "enum": all, "description": said.join("\n\n") }));
        schema.remove("oneOf");
        // A text is none of the objects, and of these each has a name of its own.
        schema.insert("anyOf".to_owned(), choices.into());
    }
}

/// The words that a schema takes, if it takes words only.
fn words(choice: &Value) -> Option<Vec<Value>> {
    match (choice.get("const"), choice.get("enum")) {
        (Some(word), _) => Some(Vec::from([word.clone()])),
        (None, Some(Value::Array(words))) => Some(words.clone()),
        (None, _) => None,
    }
}

/// A word with what it means.
fn saying(choice: &Value) -> Option<String> {
    let word = choice.get("const")?.as_str()?;
    let description = choice.get("description")?.as_str()?;
    Some(format!("`{word}`: {description}"))
}

#[cfg(test)]
mod tests {
    use schemars::json_schema;

    use super::*;

    fn plained(mut schema: Schema) -> Value {
        RecursiveTransform(plain).transform(&mut schema);
        schema.to_value()
    }

    #[test]
    fn words_with_meanings_are_an_enumeration_and_anything_is_an_object() {
        let words = json_schema!({
            "description": "Why.",
            "oneOf": [
                { "type": "string", "const": "gone", "description": "It is gone." },
                { "type": "string", "enum": ["a", "b"] },
            ]
        });
        let read = json!({
            "type": "string", "enum": ["gone", "a", "b"], "description": "Why.\n\n`gone`: It is gone."
        });
        assert_eq!(plained(words), read);
        let inner = json_schema!({
            "type": "object", "additionalProperties": false,
            "properties": { "body": true, "other": { "type": "null", "default": null } }
        });
        let read = json!({
            "type": "object", "additionalProperties": false, "properties": { "body": {}, "other": { "type": "null" } }
        });
        assert_eq!(plained(inner), read);
    }

    #[test]
    fn a_choice_between_words_and_objects_stays_one() {
        let mixed = json_schema!({ "oneOf": [
            { "type": "string", "const": "used", "description": "Used." },
            { "type": "object", "properties": { "lot": { "type": "integer" } } },
        ]});
        let read = json!({ "anyOf": [
            { "type": "object", "properties": { "lot": { "type": "integer" } } },
            { "type": "string", "enum": ["used"], "description": "`used`: Used." },
        ]});
        assert_eq!(plained(mixed), read);
    }

    #[test]
    fn a_refusal_is_described_by_the_codes_that_it_can_carry() {
        let mut responses = Map::new();
        refuse(&mut responses, &[ErrorCode::Forbidden, ErrorCode::NotFound, ErrorCode::KeyUnknown]);
        let says = |status: &str| responses[status]["description"].as_str().unwrap().to_owned();
        assert_eq!(says("403"), "`forbidden`: This role may not do that");
        assert_eq!(says("404"), "`not_found`: There is nothing here; `key_unknown`: There is no such key");
        assert_eq!(responses["404"]["x-codes"], json!(["not_found", "key_unknown"]));
    }
}
