//! Reading JSON the way the reference's clients rely on, without a value tree.
//!
//! Member names match case-insensitively, unknown members are ignored, of duplicates the last
//! wins, `null` leaves the zero value, and bytes after the first value are ignored. U+0000 is
//! refused wherever it stands, also in what is ignored: PostgreSQL cannot store it, and one database
//! must not take what the other does not. So is what is nested deeper than 110 levels. [`from_slice`]
//! is a serde deserialiser with these habits over borrowed raw slices; free-form values
//! (`serde_json::Value`, metadata maps) are read by `serde_json` itself.
//!
//! Error texts carry no position: types with a grammar of their own (durations, key usages) put
//! their exact text on the wire through `serde::de::Error::custom`.

mod access;
mod depth;
mod nul;
mod strict;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use self::access::{FreeMembers, Items, KnownMembers, UnitVariant};
use self::depth::{MAX_DEPTH, is_too_deep};
use self::nul::{holds_nul, place_of_nul};
pub use self::strict::{StrictError, from_slice_strict, object_from_slice_strict};

/// Why a body could not be read; `Display` is the text on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(String);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

impl de::Error for JsonError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Reads the first JSON value of `bytes` into `T`.
///
/// # Errors
/// `EOF` for an empty body, `unexpected EOF` for a truncated one, `json: …` for what is no JSON or
/// has a member of the wrong type, holds U+0000 or is nested too deeply, and the texts of types with a grammar of their
/// own.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, JsonError> {
    let mut stream = serde_json::Deserializer::from_slice(bytes);
    let raw = <&'de RawValue>::deserialize(&mut stream).map_err(|error| syntax(&error, bytes))?;
    check_storable(raw.get())?;
    T::deserialize(Raw::new(raw))
}

/// Refuses what could not be kept and read back.
fn check_storable(json: &str) -> Result<(), JsonError> {
    if holds_nul(json) {
        return Err(JsonError(match place_of_nul(json) {
            Some(place) => {
                format!("json: field {place} holds the character U+0000, which cannot be stored")
            }
            None => "json: the character U+0000 cannot be stored".to_owned(),
        }));
    }
    if is_too_deep(json) {
        let text = format!("json: nested deeper than {MAX_DEPTH} levels");
        return Err(JsonError(text));
    }
    Ok(())
}

fn syntax(error: &serde_json::Error, bytes: &[u8]) -> JsonError {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        JsonError("EOF".to_owned())
    } else if error.is_eof() {
        JsonError("unexpected EOF".to_owned())
    } else {
        JsonError(format!("json: {error}"))
    }
}

/// Why a free-form value was refused: a type's own text as it is, without the position that
/// `serde_json` appends.
fn free_value_refused(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(text, _)| text);
    if error.is_data() {
        JsonError(text.to_owned())
    } else {
        JsonError(format!("json: {text}"))
    }
}

/// One JSON value, still text; syntactically valid.
#[derive(Clone, Copy)]
struct Raw<'de> {
    text: &'de str,
    field: &'static str,
}

impl<'de> Raw<'de> {
    fn new(raw: &'de RawValue) -> Self {
        Self {
            text: raw.get().trim_ascii(),
            field: "",
        }
    }

    fn kind(self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => Kind::Number,
        }
    }

    fn mismatch(self, wanted: &str) -> JsonError {
        let got = match self.kind() {
            Kind::Null => "null",
            Kind::Bool => "bool",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::Object => "object",
            Kind::Number => "number",
        };
        if self.field.is_empty() {
            JsonError(format!(
                "json: cannot unmarshal {got} into a value of type {wanted}"
            ))
        } else {
            JsonError(format!(
                "json: cannot unmarshal {got} into field {} of type {wanted}",
                self.field
            ))
        }
    }

    fn string(self) -> Result<Cow<'de, str>, JsonError> {
        match self.kind() {
            Kind::Null => Ok(Cow::Borrowed("")),
            Kind::String => self.parse_string(),
            _ => Err(self.mismatch("string")),
        }
    }

    fn parse_string(self) -> Result<Cow<'de, str>, JsonError> {
        let inner = self
            .text
            .get(1..self.text.len().saturating_sub(1))
            .unwrap_or("");
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        serde_json::from_str::<String>(self.text)
            .map(Cow::Owned)
            .map_err(|_| self.mismatch("string"))
    }

    fn integer<N: TryFrom<i128>>(self, wanted: &str) -> Result<N, JsonError> {
        let value = match self.kind() {
            Kind::Null => 0,
            Kind::Number => self
                .text
                .parse::<i128>()
                .map_err(|_| self.mismatch(wanted))?,
            _ => return Err(self.mismatch(wanted)),
        };
        N::try_from(value).map_err(|_| self.mismatch(wanted))
    }

    fn float(self) -> Result<f64, JsonError> {
        match self.kind() {
            Kind::Null => Ok(0.0),
            Kind::Number => self.text.parse().map_err(|_| self.mismatch("number")),
            _ => Err(self.mismatch("number")),
        }
    }

    /// The members of an object, in order; none for `null`.
    fn members(self, wanted: &str) -> Result<Vec<(Cow<'de, str>, &'de RawValue)>, JsonError> {
        match self.kind() {
            Kind::Null => Ok(Vec::new()),
            Kind::Object => serde_json::Deserializer::from_str(self.text)
                .deserialize_map(MembersVisitor)
                .map_err(|_| self.mismatch(wanted)),
            _ => Err(self.mismatch(wanted)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    String,
    Array,
    Object,
    Number,
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<BorrowedName<'de>>()? {
            members.push((name.0, map.next_value()?));
        }
        Ok(members)
    }
}

/// A member name, borrowed where it holds no escape.
struct BorrowedName<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for BorrowedName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = BorrowedName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(BorrowedName(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(BorrowedName(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            visitor.$visit(self.integer::<$type>("int")?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Raw<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool => visitor.visit_bool(self.text == "true"),
            Kind::String => match self.parse_string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            Kind::Array | Kind::Object | Kind::Number => {
                serde_json::Deserializer::from_str(self.text)
                    .deserialize_any(visitor)
                    .map_err(|error| free_value_refused(&error))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::Null => visitor.visit_bool(false),
            Kind::Bool => visitor.visit_bool(self.text == "true"),
            _ => Err(self.mismatch("bool")),
        }
    }

    integers!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    );

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        if name == "$serde_json::private::RawValue" {
            return serde_json::Deserializer::from_str(self.text)
                .deserialize_newtype_struct(name, visitor)
                .map_err(|error| JsonError(format!("json: {error}")));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let items: Vec<&'de RawValue> = match self.kind() {
            Kind::Null => Vec::new(),
            Kind::Array => serde_json::from_str(self.text).map_err(|_| self.mismatch("array"))?,
            _ => return Err(self.mismatch("array")),
        };
        visitor.visit_seq(Items {
            items: items.into_iter(),
            field: self.field,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let members = self.members("object")?;
        visitor.visit_map(FreeMembers {
            members: members.into_iter(),
            value: None,
            field: self.field,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let mut known: Vec<(&'static str, &'de RawValue)> = Vec::new();
        for (name, value) in self.members("object")? {
            let Some(field) = canonical(fields, &name) else {
                continue;
            };
            match known.iter_mut().find(|(seen, _)| *seen == field) {
                Some(entry) => entry.1 = value,
                None => known.push((field, value)),
            }
        }
        visitor.visit_map(KnownMembers {
            members: known.into_iter(),
            value: None,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_enum(UnitVariant(self.string()?))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }
}

fn canonical(fields: &'static [&'static str], name: &str) -> Option<&'static str> {
    fields
        .iter()
        .find(|field| **field == name)
        .or_else(|| fields.iter().find(|field| field.eq_ignore_ascii_case(name)))
        .copied()
}
