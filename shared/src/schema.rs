//! How the identifiers, numbers and dates of public interfaces are described as JSON Schema.
//!
//! It must only describe: what is accepted is decided where the types are parsed.

use alloc::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::denials::Denials;
use crate::ids::{AgentId, ContractId, Incarnation, KeyId, ProjectId, SourceId};
use crate::time::{Day, Period, Timestamp};
use crate::units::Units;

macro_rules! described {
    ($($type:ty, $name:literal => $schema:tt;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

described! {
    ProjectId, "ProjectId" => {
        "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$",
        "description": "1 to 48 of a-z, 0-9 and inner hyphens"
    };
    ContractId, "ContractId" => {
        "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$",
        "description": "1 to 48 of a-z, 0-9 and inner hyphens"
    };
    KeyId, "KeyId" => {
        "type": "string", "pattern": "^[a-z0-9]{4,16}$", "description": "4 to 16 of a-z and 0-9"
    };
    SourceId, "SourceId" => {
        "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$",
        "description": "What sends cells: a home or a reporter"
    };
    Incarnation, "Incarnation" => {
        "type": "string", "pattern": "^[a-z0-9]{8,32}$", "description": "One life of a source's storage"
    };
    AgentId, "AgentId" => {
        "type": "string", "pattern": "^[!-~]{1,128}$",
        "description": "1 to 128 visible ASCII characters; other text is percent-encoded. Names that begin with ~ are the meter's own"
    };
    Units, "Units" => {
        "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64,
        "description": "Billable governance requests"
    };
    Denials, "Denials" => {
        "type": "object", "additionalProperties": { "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64 },
        "description": "Requests that were refused, by the code of the answer"
    };
    Day, "Day" => {
        "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        "description": "A day of UTC, from 1970 on"
    };
    Period, "Period" => {
        "type": "string", "pattern": "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])$",
        "description": "A calendar month of UTC, from 1970 on"
    };
    Timestamp, "Timestamp" => {
        "type": "integer", "minimum": 0, "description": "Milliseconds since 1970-01-01T00:00:00Z"
    };
}
