//! Fields of bodies and parameters of queries, as data: the same table says what is known, what the OpenAPI
//! document describes, and what tests send.

use std::borrow::Cow;
use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// A field of a body, a parameter of a query, or a header.
#[derive(Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What is accepted, in words.
    pub accepts: &'static str,
    /// A value that is accepted, as JSON; empty where there is none to show.
    pub example: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.accepts)
    }
}

impl Field {
    /// A field that must be there.
    pub(crate) const fn required<T: JsonSchema>(name: &'static str, accepts: &'static str) -> Self {
        Self { name, accepts, required: true, example: "", schema: |schemas| schemas.subschema_for::<T>() }
    }

    /// A field that may be absent.
    pub(crate) const fn optional<T: JsonSchema>(name: &'static str, accepts: &'static str) -> Self {
        Self { name, accepts, required: false, example: "", schema: |schemas| schemas.subschema_for::<T>() }
    }

    /// Any fields besides those that are named: a body that has this one in its table is open.
    pub(crate) const fn others(accepts: &'static str) -> Self {
        Self::optional::<serde_json::Value>("", accepts)
    }

    /// Whether this stands for all that are not named.
    pub(super) fn is_others(&self) -> bool {
        self.name.is_empty()
    }

    /// Shows a value that is accepted, as JSON.
    pub(crate) const fn such_as(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// What is accepted, as a schema.
    pub(super) fn schema(&self, schemas: &mut SchemaGenerator) -> Schema {
        (self.schema)(schemas)
    }
}

/// The project that a call is about, for endpoints that do not name it in their path.
pub(crate) const PROJECT: Field = Field::optional::<shared::ids::ProjectId>(
    "project",
    "a project id; a project's token has its own, operators and members of several have to name one",
)
.such_as("\"demo\"");

/// A whole number from `MIN` to `MAX`, for descriptions.
#[derive(Debug)]
pub(crate) enum Number<const MIN: u64, const MAX: u64> {}

impl<const MIN: u64, const MAX: u64> JsonSchema for Number<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("NumberFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A text of `MIN` to `MAX` characters that are not only spaces and have no control among them.
#[derive(Debug)]
pub(crate) enum Text<const MIN: usize, const MAX: usize> {}

impl<const MIN: usize, const MAX: usize> JsonSchema for Text<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("TextOf{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Printable ASCII is always accepted; what else is depends on Unicode's tables.
        json_schema!({ "type": "string", "minLength": MIN, "maxLength": MAX, "pattern": "^[!-~]([ -~]*[!-~])?$" })
    }
}

/// A text of `MIN` to `MAX` characters, whichever they are.
#[derive(Debug)]
pub(crate) enum Length<const MIN: usize, const MAX: usize> {}

impl<const MIN: usize, const MAX: usize> JsonSchema for Length<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("LengthFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": MIN, "maxLength": MAX })
    }
}

/// An e-mail address, for descriptions: others than these are accepted too.
#[derive(Debug)]
pub(crate) enum EmailText {}

impl JsonSchema for EmailText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EmailText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = "^[a-z0-9._+-]{1,64}@[a-z0-9-]{1,60}(\\.[a-z0-9-]{1,60}){1,2}$";
        json_schema!({ "type": "string", "pattern": pattern })
    }
}

/// `MIN` to `MAX` values, for descriptions.
#[derive(Debug)]
pub(crate) struct List<T, const MIN: usize, const MAX: usize>(std::marker::PhantomData<T>);

impl<T: JsonSchema, const MIN: usize, const MAX: usize> JsonSchema for List<T, MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        let items = schemas.subschema_for::<T>();
        json_schema!({ "type": "array", "items": items, "minItems": MIN, "maxItems": MAX })
    }
}

/// One of a few words, for descriptions.
pub(crate) trait Words {
    /// The words.
    const WORDS: &'static [&'static str];
}

/// One of the words of `W`.
#[derive(Debug)]
pub(crate) struct OneOf<W>(std::marker::PhantomData<W>);

impl<W: Words> JsonSchema for OneOf<W> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOf{}", W::WORDS.join("Or")).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": W::WORDS })
    }
}

/// These fields as the schema of one object, which needs no other.
pub(crate) fn object_schema(fields: &[Field]) -> Map<String, Value> {
    let mut schemas =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut property = |field: &Field| {
        let mut schema = field.schema(&mut schemas);
        schema.insert("description".to_owned(), field.accepts.into());
        (field.name.to_owned(), schema.to_value())
    };
    let properties: Map<String, Value> = fields.iter().map(&mut property).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let of_object = [
        ("type", Value::from("object")),
        ("properties", properties.into()),
        ("required", required.into()),
        ("additionalProperties", false.into()),
    ];
    of_object.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}
