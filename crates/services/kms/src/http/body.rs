//! Members of request bodies with a grammar of their own.

use std::borrow::Cow;
use std::fmt;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Bits of a key: an integer or, as published dashboards send it, a decimal text; 0 when missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySize(u32);

impl KeySize {
    pub(super) const fn bits(self) -> u32 {
        self.0
    }
}

impl JsonSchema for KeySize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "KeySize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": u32::MAX},
                {"type": "string", "pattern": "^[0-9]{1,9}$"},
            ],
            "examples": [256],
        })
    }
}

impl<'de> Deserialize<'de> for KeySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(SizeVisitor)? {
            Ok(bits) => Ok(Self(bits)),
            Err(got) => Err(de::Error::custom(format!(
                "json: cannot unmarshal {got} into field size of type int"
            ))),
        }
    }
}

/// Gives the size, or what stands there instead.
struct SizeVisitor;

impl<'de> Visitor<'de> for SizeVisitor {
    type Value = Result<u32, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in bits")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(0))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err("bool"))
    }

    fn visit_u64<E>(self, bits: u64) -> Result<Self::Value, E> {
        Ok(u32::try_from(bits).map_err(|_| "number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err("number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err("number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.parse().map_err(|_| "string"))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Err("array"))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members
            .next_entry::<de::IgnoredAny, de::IgnoredAny>()?
            .is_some()
        {}
        Ok(Err("object"))
    }
}

/// Bytes as standard base64 with padding; line ends are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base64(pub(super) Bytes);

impl JsonSchema for Base64 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        lamassu_core::internal::Base64::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        lamassu_core::internal::Base64::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::deserialize(deserializer)?;
        text.retain(|c| !matches!(c, '\r' | '\n'));
        match STANDARD.decode(&text) {
            Ok(bytes) => Ok(Self(bytes.into())),
            Err(error) => Err(de::Error::custom(format!(
                "illegal base64 data at input byte {}",
                position(&error, text.len())
            ))),
        }
    }
}

fn position(error: &DecodeError, len: usize) -> usize {
    match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => *at,
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => len,
    }
}
