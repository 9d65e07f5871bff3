//! The values that go into statements and come out of rows, the same for both databases.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::instant::{from_micros, to_micros};

/// One value of a statement's parameter or of a row's column.
///
/// Instants are [`Value::I64`]: microseconds since 1970-01-01T00:00:00Z, negative before it.
/// `Debug` shows lengths instead of contents, because parameters may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// SQL `NULL`.
    Null,
    /// A truth value; SQLite stores and returns it as the integer 0 or 1.
    Bool(bool),
    /// An integer or an instant.
    I64(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
    /// The text of a JSON document; `jsonb` in PostgreSQL, text in SQLite.
    Json(String),
}

impl Value {
    /// The type's name, for error texts.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Bool(_) => "a boolean",
            Self::I64(_) => "an integer",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Json(_) => "JSON",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(value) => write!(f, "Bool({value})"),
            Self::I64(value) => write!(f, "I64({value})"),
            Self::Text(value) => write!(f, "Text({} bytes)", value.len()),
            Self::Bytes(value) => write!(f, "Bytes({} bytes)", value.len()),
            Self::Json(value) => write!(f, "Json({} bytes)", value.len()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I64(i64::from(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::I64(i64::from(value))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Arc<str>> for Value {
    fn from(value: Arc<str>) -> Self {
        Self::Text(value.as_ref().to_owned())
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Bytes(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value.into())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(value))
    }
}

impl From<OffsetDateTime> for Value {
    fn from(value: OffsetDateTime) -> Self {
        Self::I64(to_micros(value))
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

impl From<Box<serde_json::value::RawValue>> for Value {
    fn from(value: Box<serde_json::value::RawValue>) -> Self {
        Self::Json(String::from(Box::<str>::from(value)))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Why a stored value is not what the program expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch(pub(crate) String);

impl Mismatch {
    /// A mismatch in the reader's own words, for example "unknown status".
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    fn expected(wanted: &str, found: &Value) -> Self {
        Self(format!("expected {wanted}, found {}", found.type_name()))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// What can be read out of a column.
pub trait FromValue: Sized {
    /// Reads the value.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] when the value has another type or is out of range.
    fn from_value(value: &Value) -> Result<Self, Mismatch>;
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        Ok(value.clone())
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Bool(value) => Ok(*value),
            Value::I64(0) => Ok(false),
            Value::I64(1) => Ok(true),
            other => Err(Mismatch::expected("a boolean", other)),
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::I64(value) => Ok(*value),
            other => Err(Mismatch::expected("an integer", other)),
        }
    }
}

impl FromValue for i32 {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        narrow(value)
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        narrow(value)
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        narrow(value)
    }
}

fn narrow<T: TryFrom<i64>>(value: &Value) -> Result<T, Mismatch> {
    let wide = i64::from_value(value)?;
    T::try_from(wide).map_err(|_| Mismatch::new(format!("{wide} is out of range")))
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Text(text) | Value::Json(text) => Ok(text.clone()),
            other => Err(Mismatch::expected("text", other)),
        }
    }
}

impl FromValue for Bytes {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            other => Err(Mismatch::expected("bytes", other)),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        Bytes::from_value(value).map(Into::into)
    }
}

impl FromValue for Uuid {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        let text = String::from_value(value)?;
        Self::try_parse(&text).map_err(|_| Mismatch::new("not a UUID"))
    }
}

impl FromValue for OffsetDateTime {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        let micros = i64::from_value(value)?;
        from_micros(micros).ok_or_else(|| Mismatch::new("instant outside the years 1 to 9999"))
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        match value {
            Value::Null => Ok(None),
            Value::Bool(_) | Value::I64(_) | Value::Text(_) | Value::Bytes(_) | Value::Json(_) => {
                T::from_value(value).map(Some)
            }
        }
    }
}

/// A JSON column as a Rust type: `row.get::<Json<Settings>>("settings")?.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromValue for Json<T> {
    fn from_value(value: &Value) -> Result<Self, Mismatch> {
        let text = match value {
            Value::Text(text) | Value::Json(text) => text,
            other => return Err(Mismatch::expected("JSON", other)),
        };
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| Mismatch::new(error.to_string()))
    }
}

impl<T: serde::Serialize> Json<T> {
    /// The document as a parameter.
    ///
    /// # Errors
    ///
    /// When the value does not serialise, for example a map with keys that are no text.
    pub fn to_value(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_string(&self.0).map(Value::Json)
    }
}
