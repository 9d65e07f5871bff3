//! The items of a sequence and what can be taken from one of them.

use std::borrow::Cow;

use serde_json::Value;
use time::OffsetDateTime;

use super::ast::{Level, Literal, Method, Number};
use super::fuel::{Fuel, text_cost};
use super::number::{finite, map_float};
use crate::query::instant::parse_instant;

/// The expression cannot be evaluated on this document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure;

/// One item of a sequence.
#[derive(Clone, Debug)]
pub(super) enum Item<'d> {
    Json(Cow<'d, Value>),
    Number(Number),
    /// What `.datetime()` gives, with the name of its type.
    Instant(OffsetDateTime, &'static str),
}

impl<'d> Item<'d> {
    pub(super) fn json(value: Value) -> Self {
        Self::Json(Cow::Owned(value))
    }

    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Json(value) => {
                let number = value.as_number()?;
                let integer = number
                    .as_i64()
                    .map(i128::from)
                    .or_else(|| number.as_u64().map(i128::from));
                integer
                    .map(Number::Integer)
                    .or_else(|| number.as_f64().map(Number::Float))
            }
            Self::Instant(..) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Json(value) => value.as_str(),
            Self::Number(_) | Self::Instant(..) => None,
        }
    }

    /// What reading its text costs beyond the item.
    pub(super) fn text_cost(&self) -> usize {
        self.text().map_or(0, text_cost)
    }

    /// What a copy costs beyond the item: what belongs to the document is not copied.
    pub(super) fn copy_cost(&self) -> usize {
        match self {
            Self::Json(Cow::Owned(value)) => weight(value),
            Self::Json(Cow::Borrowed(_)) | Self::Number(_) | Self::Instant(..) => 0,
        }
    }

    /// How many elements it has as an array.
    pub(super) fn n_elements(&self) -> usize {
        match self {
            Self::Json(value) => value.as_array().map_or(0, Vec::len),
            Self::Number(_) | Self::Instant(..) => 0,
        }
    }

    /// How many members it has as an object.
    pub(super) fn n_members(&self) -> usize {
        match self {
            Self::Json(value) => value.as_object().map_or(0, serde_json::Map::len),
            Self::Number(_) | Self::Instant(..) => 0,
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Instant(_, name) => name,
            Self::Json(value) => match value.as_ref() {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            },
        }
    }

    /// The elements of an array, or the item back.
    pub(super) fn into_elements(self) -> Result<Vec<Self>, Self> {
        match self {
            Self::Json(Cow::Borrowed(Value::Array(elements))) => Ok(elements
                .iter()
                .map(|value| Self::Json(Cow::Borrowed(value)))
                .collect()),
            Self::Json(Cow::Owned(Value::Array(elements))) => {
                Ok(elements.into_iter().map(Self::json).collect())
            }
            other => Err(other),
        }
    }

    pub(super) fn member(&self, key: &str) -> Option<Self> {
        match self {
            Self::Json(Cow::Borrowed(Value::Object(members))) => members
                .get(key)
                .map(|value| Self::Json(Cow::Borrowed(value))),
            Self::Json(Cow::Owned(Value::Object(members))) => {
                members.get(key).cloned().map(Self::json)
            }
            Self::Json(_) | Self::Number(_) | Self::Instant(..) => None,
        }
    }

    pub(super) fn members(&self) -> Option<Vec<Self>> {
        match self {
            Self::Json(Cow::Borrowed(Value::Object(members))) => Some(
                members
                    .values()
                    .map(|value| Self::Json(Cow::Borrowed(value)))
                    .collect(),
            ),
            Self::Json(Cow::Owned(Value::Object(members))) => {
                Some(members.values().cloned().map(Self::json).collect())
            }
            Self::Json(_) | Self::Number(_) | Self::Instant(..) => None,
        }
    }
}

pub(super) fn item(literal: &Literal) -> Item<'static> {
    match literal {
        Literal::Null => Item::json(Value::Null),
        Literal::Bool(value) => Item::json(Value::Bool(*value)),
        Literal::Number(number) => Item::Number(*number),
        Literal::String(text) => Item::json(Value::String(text.clone())),
    }
}

/// The items that a value consists of, long texts counted by their length.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => 1 + text_cost(text),
        Value::Array(elements) => 1 + elements.iter().map(weight).sum::<usize>(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| text_cost(key) + weight(value))
            .fold(1, usize::saturating_add),
    }
}

/// The item and everything below it, within the levels.
pub(super) fn descend<'d>(
    item: Item<'d>,
    level: u32,
    range: (Level, Level),
    fuel: &Fuel,
    out: &mut Vec<Item<'d>>,
) -> Result<(), Failure> {
    fuel.spend(1 + item.copy_cost())?;
    let children = match item.members() {
        Some(members) => members,
        None => item.clone().into_elements().unwrap_or_default(),
    };
    let is_leaf = !matches!(&item, Item::Json(value) if value.is_object() || value.is_array());
    let wanted = match range {
        (Level::Depth(from), _) => level >= from,
        (Level::Last, Level::Last) => is_leaf && level > 0,
        (Level::Last, Level::Depth(_)) => false,
    };
    if wanted {
        out.push(item);
    }
    let deeper = match range.1 {
        Level::Depth(to) => level < to,
        Level::Last => true,
    };
    if deeper {
        for child in children {
            descend(child, level.saturating_add(1), range, fuel, out)?;
        }
    }
    Ok(())
}

/// A method on an item that is not unwrapped further.
pub(super) fn apply<'d>(
    method: Method,
    item: &Item<'d>,
    fuel: &Fuel,
    out: &mut Vec<Item<'d>>,
) -> Result<(), Failure> {
    fuel.spend(1 + item.text_cost())?;
    let number = || item.number().ok_or(Failure);
    let result = match method {
        Method::Double => match item.text() {
            Some(text) => {
                let float: f64 = text.trim().parse().map_err(|_| Failure)?;
                finite(float)?
            }
            None => number()?,
        },
        Method::Ceiling => map_float(number()?, f64::ceil),
        Method::Floor => map_float(number()?, f64::floor),
        Method::Abs => match number()? {
            Number::Integer(value) => Number::Integer(value.abs()),
            Number::Float(value) => Number::Float(value.abs()),
        },
        Method::Datetime => {
            let text = item.text().ok_or(Failure)?;
            let instant = parse_instant(text).ok_or(Failure)?;
            out.push(Item::Instant(instant, datetime_type(text.trim())));
            return Ok(());
        }
        Method::KeyValue => {
            let Item::Json(value) = item else {
                return Err(Failure);
            };
            let members = value.as_object().ok_or(Failure)?;
            fuel.spend(weight(value))?;
            out.extend(members.iter().map(|(key, value)| {
                Item::json(serde_json::json!({ "key": key, "value": value, "id": 0 }))
            }));
            return Ok(());
        }
        Method::Type | Method::Size => return Err(Failure),
    };
    out.push(Item::Number(result));
    Ok(())
}

/// PostgreSQL's name of the type that the text's form has.
fn datetime_type(text: &str) -> &'static str {
    let (day, clock) = text.split_at_checked(10).unwrap_or((text, ""));
    if clock.is_empty() || day.len() < 10 {
        "date"
    } else if clock.contains(['+', '-', 'Z', 'z']) {
        "timestamp with time zone"
    } else {
        "timestamp without time zone"
    }
}
