//! Criteria as they are on the wire.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::ids::DeviceGroupId;

/// One condition on a device: a list filter in three parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Criterion {
    /// A field that devices can be filtered by.
    #[schemars(example = &"tags")]
    pub field: String,
    /// An operand of that field's type. Written as its usual name.
    pub operand: OperandName,
    /// What the field is compared with.
    #[schemars(example = &"production")]
    pub value: String,
}

/// A criterion of an ancestor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InheritedCriterion {
    /// A field that devices can be filtered by.
    #[schemars(example = &"tags")]
    pub field: String,
    /// An operand of that field's type.
    pub operand: OperandName,
    /// What the field is compared with.
    #[schemars(example = &"production")]
    pub value: String,
    /// Whose criterion it is.
    pub group_id: DeviceGroupId,
}

/// An operand as clients name it: any of its names, or its number as decimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OperandName(pub String);

impl From<&str> for OperandName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl<'de> Deserialize<'de> for OperandName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = OperandName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an operand")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<OperandName, E> {
                Ok(OperandName(name.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, code: u64) -> Result<OperandName, E> {
                Ok(OperandName(code.to_string()))
            }
            fn visit_unit<E: de::Error>(self) -> Result<OperandName, E> {
                Ok(OperandName::default())
            }
        }
        deserializer.deserialize_any(NameVisitor)
    }
}

impl JsonSchema for OperandName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OperandName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An operand's name, or its number. Answers have the name.",
            "type": ["string", "integer"],
            "examples": ["contains"],
        })
    }
}
