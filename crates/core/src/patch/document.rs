//! What one change does to a document.

use serde_json::{Map, Value};

use super::operation::{Change, Refusal};
use super::pointer::{Index, Pointer};
use super::{MAX_DEPTH, MAX_DOCUMENT_BYTES};

/// A `null` and its comma.
const NULL_BYTES: usize = 5;

/// What the operations of a patch made out of nothing so far: copies, and nulls that fill arrays.
/// Values of the body count for nothing here, their number is bounded by the body.
#[derive(Debug, Default)]
pub(super) struct Growth(usize);

impl Growth {
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 > MAX_DOCUMENT_BYTES {
            return Err(Refusal::TooMuchGrowth);
        }
        Ok(())
    }
}

/// Bytes of the value as JSON.
pub(super) fn size(value: &Value) -> usize {
    // A value tree can always be written.
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

/// Applies one change, or refuses it and leaves a document that is not to be used.
pub(super) fn apply_one(
    document: &mut Value,
    change: Change<'_>,
    growth: &mut Growth,
) -> Result<(), Refusal> {
    match change {
        Change::Add(at, value) => add(document, &at, value.clone(), growth),
        Change::Remove(at) => remove(document, &at).map(drop),
        Change::Replace(at, value) => replace(document, &at, value),
        Change::Test(at, value) => {
            let found = find(document, &at).ok_or(Refusal::NoValue)?;
            is_same(found, value)
                .then_some(())
                .ok_or(Refusal::TestFailed)
        }
        Change::Move { from, to } => {
            if from.holds(&to) {
                return Err(Refusal::IntoItself);
            }
            let value = remove(document, &from)?.ok_or(Refusal::NoValue)?;
            add(document, &to, value, growth)
        }
        Change::Copy { from, to } => {
            let value = find(document, &from).ok_or(Refusal::NoValue)?;
            growth.spend(size(value))?;
            let value = value.clone();
            add(document, &to, value, growth)
        }
    }
}

/// Puts the value there and creates the parents that are missing.
fn add(
    document: &mut Value,
    at: &Pointer,
    value: Value,
    growth: &mut Growth,
) -> Result<(), Refusal> {
    check_depth(at, &value)?;
    let Some((last, _)) = at.tokens().split_last() else {
        *document = value;
        return Ok(());
    };
    let mut place = document;
    for (token, next) in at.tokens().iter().zip(at.tokens().iter().skip(1)) {
        place = enter(place, token, empty_parent_of(next), growth)?;
    }
    match place {
        Value::Object(members) => {
            members.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(items) => {
            let index = Index::parse(last).ok_or(Refusal::NoIndex)?;
            let index = index.of_insertion(items.len());
            items.insert(index.ok_or(Refusal::IndexOutOfRange)?, value);
            Ok(())
        }
        _ => Err(Refusal::NoContainer),
    }
}

fn check_depth(at: &Pointer, value: &Value) -> Result<(), Refusal> {
    if at.tokens().len().saturating_add(depth(value)) > MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    Ok(())
}

pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// What is created where `token` is to be put and nothing is there yet.
pub(super) fn empty_parent_of(token: &str) -> Value {
    match Index::parse(token) {
        Some(_) => Value::Array(Vec::new()),
        None => Value::Object(Map::new()),
    }
}

/// One step down, into what is there or else into `missing`. A `null` is as good as nothing, so
/// that arrays which were filled up with nulls can get their elements later.
fn enter<'a>(
    parent: &'a mut Value,
    token: &str,
    missing: Value,
    growth: &mut Growth,
) -> Result<&'a mut Value, Refusal> {
    let child = match parent {
        Value::Object(members) => members.entry(token).or_insert(Value::Null),
        Value::Array(items) => {
            let index = Index::parse(token).ok_or(Refusal::NoIndex)?;
            element_or_null(items, index, growth)?
        }
        _ => return Err(Refusal::NoContainer),
    };
    if child.is_null() {
        *child = missing;
    }
    Ok(child)
}

/// The element; behind the end of the array it is filled up with nulls.
fn element_or_null<'a>(
    items: &'a mut Vec<Value>,
    index: Index,
    growth: &mut Growth,
) -> Result<&'a mut Value, Refusal> {
    let index = match index {
        Index::End => items.len(),
        Index::FromStart(index) => index,
        Index::FromEnd(_) => index
            .of_element(items.len())
            .ok_or(Refusal::IndexOutOfRange)?,
    };
    let length = index.saturating_add(1);
    if let Some(added) = length.checked_sub(items.len()) {
        growth.spend(added.saturating_mul(NULL_BYTES))?;
        items.resize(length, Value::Null);
    }
    items.get_mut(index).ok_or(Refusal::IndexOutOfRange)
}

/// Takes the value out; `None` where there is none.
fn remove(document: &mut Value, at: &Pointer) -> Result<Option<Value>, Refusal> {
    let (last, parents) = at.tokens().split_last().ok_or(Refusal::WholeDocument)?;
    let Some(parent) = find_mut(document, parents) else {
        return Ok(None);
    };
    match parent {
        Value::Object(members) => Ok(members.remove(last)),
        Value::Array(items) => {
            let index = Index::parse(last).filter(|index| *index != Index::End);
            let index = index.ok_or(Refusal::NoIndex)?;
            Ok(index
                .of_element(items.len())
                .map(|index| items.remove(index)))
        }
        _ => Ok(None),
    }
}

fn replace(document: &mut Value, at: &Pointer, value: &Value) -> Result<(), Refusal> {
    check_depth(at, value)?;
    let place = find_mut(document, at.tokens()).ok_or(Refusal::NoValue)?;
    *place = value.clone();
    Ok(())
}

fn find<'a>(document: &'a Value, at: &Pointer) -> Option<&'a Value> {
    at.tokens()
        .iter()
        .try_fold(document, |place, token| match place {
            Value::Object(members) => members.get(token),
            Value::Array(items) => items.get(Index::parse(token)?.of_element(items.len())?),
            _ => None,
        })
}

fn find_mut<'a>(document: &'a mut Value, tokens: &[String]) -> Option<&'a mut Value> {
    tokens
        .iter()
        .try_fold(document, |place, token| match place {
            Value::Object(members) => members.get_mut(token),
            Value::Array(items) => {
                let index = Index::parse(token)?.of_element(items.len())?;
                items.get_mut(index)
            }
            _ => None,
        })
}

/// Equality of RFC 6902 §4.6: numbers by their value, members in any order.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let has_fraction_part = one.is_f64() || other.is_f64();
            one == other || has_fraction_part && one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, a)| other.get(name).is_some_and(|b| is_same(a, b)))
        }
        _ => one == other,
    }
}
