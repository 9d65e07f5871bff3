//! Filters: `field[operand]value`, parsed into typed conditions.

use time::OffsetDateTime;

use super::error::{QueryError, QueryLimit};
use super::field::{Field, FieldKind, Hex};
use super::fold::fold;
use super::form::decode_component;
use super::instant::parse_instant;
use super::json_path::JsonPath;
use super::operand::Operand;
use crate::ids::SerialNumber;

/// Longest JSONPath expression, in characters.
const MAX_PATH_CHARS: usize = 4_096;

/// Whether letter case matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// It does.
    Exact,
    /// It does not; the condition's text is folded already.
    Folded,
}

/// Whether the condition holds for what matches or for what does not. `NULL` never matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// For what matches.
    In,
    /// For what does not match.
    NotIn,
}

/// How two numbers or instants compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a row must fulfil, typed and ready for the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every row does (a list of values that is empty).
    Anything,
    /// The text is one of these (or none of these).
    OneOf {
        /// One or none.
        membership: Membership,
        /// Whether case matters.
        case: Case,
        /// At least one.
        values: Vec<String>,
    },
    /// The text contains this, literally.
    Contains {
        /// Contains or does not.
        membership: Membership,
        /// Whether case matters.
        case: Case,
        /// What to look for.
        value: String,
    },
    /// Some element of the array equals this, or none does.
    Element {
        /// Some or none.
        membership: Membership,
        /// Whether case matters.
        case: Case,
        /// The element.
        value: String,
    },
    /// The instant compares so.
    Instant(Comparison, OffsetDateTime),
    /// The number compares so.
    Number(Comparison, i64),
    /// The truth value is one of these (or none of these).
    Flag(Membership, Vec<bool>),
    /// The SQL/JSON path predicate yields `true`.
    JsonPath(JsonPath),
    /// There is no value ([`Membership::In`]), or there is one.
    Null(Membership),
}

/// One filter of a request. All filters of a request must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The field.
    pub field: &'static Field,
    /// The operand.
    pub operand: Operand,
    /// The value as text, as bookmarks and stored criteria carry it.
    pub value: String,
    /// What it means.
    pub condition: Condition,
}

/// What `field[operand]value` consists of, before anything is known about the field.
pub(super) struct Parts<'a> {
    pub(super) field: &'a str,
    pub(super) operand: &'a str,
    pub(super) value: &'a str,
}

/// Splits a filter; `None` when there is no `[…]` pair. One leading `=` or `:` of the value is a
/// separator.
pub(super) fn split(text: &str) -> Option<Parts<'_>> {
    let (field, rest) = text.split_once('[')?;
    let (operand, value) = rest.split_once(']')?;
    if field.contains(']') {
        return None;
    }
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    Some(Parts {
        field,
        operand,
        value,
    })
}

impl Filter {
    /// A filter by operand name, as query parameters have it.
    ///
    /// # Errors
    ///
    /// [`QueryError::InvalidOperand`], [`QueryError::InvalidValue`],
    /// [`QueryError::InvalidJsonPath`], [`QueryError::LimitExceeded`].
    pub fn parse(field: &'static Field, operand: &str, value: &str) -> Result<Self, QueryError> {
        let known = Operand::from_name(field.kind, operand);
        let known = known.ok_or_else(|| QueryError::InvalidOperand {
            operand: operand.to_owned(),
            field: field.name.to_owned(),
            type_code: field.kind.code(),
        })?;
        Self::new(field, known, value)
    }

    /// A filter by operand, as bookmarks and stored criteria have it.
    ///
    /// # Errors
    ///
    /// As [`Filter::parse`].
    pub fn new(field: &'static Field, operand: Operand, value: &str) -> Result<Self, QueryError> {
        Ok(Self {
            field,
            operand,
            value: value.to_owned(),
            condition: condition(field, operand, value)?,
        })
    }

    /// Refuses a word that the field never has; what such a filter finds is nothing, and looks like an
    /// answer.
    ///
    /// # Errors
    ///
    /// [`QueryError::InvalidValue`], which names the words that there are.
    pub fn only_known_words(self) -> Result<Self, QueryError> {
        let choices = self.field.choices;
        let Condition::OneOf { case, values, .. } = &self.condition else {
            return Ok(self);
        };
        let is_known = |value: &&String| {
            choices.iter().any(|choice| match case {
                Case::Exact => choice == value,
                Case::Folded => fold(choice) == **value,
            })
        };
        match values.iter().find(|value| !is_known(value)) {
            Some(unknown) if !choices.is_empty() => Err(invalid(
                self.field,
                &format!("there is no {unknown:?}, only {}", choices.join(", ")),
            )),
            _ => Ok(self),
        }
    }

    /// The filter as a query parameter's value: `field[operand]value`.
    ///
    /// A value that starts with a separator gets one more, because one is stripped on reading.
    pub fn to_text(&self) -> String {
        let separator = if self.value.starts_with(['=', ':']) {
            "="
        } else {
            ""
        };
        format!(
            "{}[{}]{separator}{}",
            self.field.name,
            self.operand.name(),
            self.value
        )
    }
}

fn condition(field: &Field, operand: Operand, value: &str) -> Result<Condition, QueryError> {
    use Case::{Exact, Folded};
    use Membership::{In, NotIn};
    let plain = field.hex.map(|hex| as_stored(hex, operand, value));
    let value = plain.as_deref().unwrap_or(value);
    match operand {
        Operand::StringEqual => Ok(one_of(In, Exact, vec![value.to_owned()])),
        Operand::StringEqualIgnoreCase => Ok(one_of(In, Folded, vec![fold(value)])),
        Operand::StringNotEqual => Ok(one_of(NotIn, Exact, vec![value.to_owned()])),
        Operand::StringNotEqualIgnoreCase => Ok(one_of(NotIn, Folded, vec![fold(value)])),
        Operand::StringContains => Ok(contains(In, Exact, value)),
        Operand::StringContainsIgnoreCase => Ok(contains(In, Folded, value)),
        Operand::StringNotContains => Ok(contains(NotIn, Exact, value)),
        Operand::StringNotContainsIgnoreCase => Ok(contains(NotIn, Folded, value)),
        Operand::StringIn => Ok(one_of(In, Exact, elements(value)?)),
        Operand::StringInIgnoreCase => Ok(one_of(In, Folded, elements(&fold(value))?)),
        Operand::StringNotIn => Ok(one_of(NotIn, Exact, elements(value)?)),
        Operand::StringNotInIgnoreCase => Ok(one_of(NotIn, Folded, elements(&fold(value))?)),
        Operand::ArrayContains => Ok(element(In, Exact, value)),
        Operand::ArrayContainsIgnoreCase => Ok(element(In, Folded, value)),
        Operand::DateEqual => instant(field, Comparison::Equal, value),
        Operand::DateBefore => instant(field, Comparison::Less, value),
        Operand::DateAfter => instant(field, Comparison::Greater, value),
        Operand::NumberEqual => number(field, Comparison::Equal, value),
        Operand::NumberNotEqual => number(field, Comparison::NotEqual, value),
        Operand::NumberLessThan => number(field, Comparison::Less, value),
        Operand::NumberLessOrEqual => number(field, Comparison::LessOrEqual, value),
        Operand::NumberGreaterThan => number(field, Comparison::Greater, value),
        Operand::NumberGreaterOrEqual => number(field, Comparison::GreaterOrEqual, value),
        Operand::EnumEqual => words(field, In, vec![value.to_owned()]),
        Operand::EnumNotEqual => words(field, NotIn, vec![value.to_owned()]),
        Operand::EnumIn => words(field, In, elements(value)?),
        Operand::JsonPath => json_path(value),
        Operand::ArrayNotContains => Ok(element(NotIn, Exact, value)),
        Operand::IsNull => {
            let is_null = flag(value).ok_or_else(|| invalid(field, "not a boolean"))?;
            Ok(Condition::Null(if is_null { In } else { NotIn }))
        }
    }
}

/// Hexadecimal as it is stored, of each element of a comma list. What is none stays as it is, and finds
/// nothing.
fn as_stored(hex: Hex, operand: Operand, value: &str) -> String {
    // A part of a number may begin anywhere.
    let hex = match operand {
        Operand::StringContains
        | Operand::StringContainsIgnoreCase
        | Operand::StringNotContains
        | Operand::StringNotContainsIgnoreCase => Hex::Octets,
        _ => hex,
    };
    let elements = value.split(',').map(|element| {
        let is_separator = |c: char| matches!(c, ':' | '-') || c.is_whitespace();
        let digits = element.replace(is_separator, "").to_ascii_lowercase();
        match hex {
            // Separators alone must not become the empty text that everything contains.
            _ if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                element.to_owned()
            }
            Hex::Octets => digits,
            Hex::Number => {
                SerialNumber::parse(&digits).map_or(digits, |number| number.as_str().to_owned())
            }
        }
    });
    elements.collect::<Vec<_>>().join(",")
}

/// The elements of a comma list; empty ones are dropped.
fn elements(value: &str) -> Result<Vec<String>, QueryError> {
    let present = || value.split(',').filter(|element| !element.is_empty());
    QueryLimit::ListElements.check(present().count())?;
    Ok(present().map(str::to_owned).collect())
}

fn one_of(membership: Membership, case: Case, values: Vec<String>) -> Condition {
    if values.is_empty() {
        return Condition::Anything;
    }
    Condition::OneOf {
        membership,
        case,
        values,
    }
}

fn contains(membership: Membership, case: Case, value: &str) -> Condition {
    Condition::Contains {
        membership,
        case,
        value: folded_if(case, value),
    }
}

fn element(membership: Membership, case: Case, value: &str) -> Condition {
    Condition::Element {
        membership,
        case,
        value: folded_if(case, value),
    }
}

fn folded_if(case: Case, value: &str) -> String {
    match case {
        Case::Exact => value.to_owned(),
        Case::Folded => fold(value),
    }
}

fn instant(field: &Field, comparison: Comparison, value: &str) -> Result<Condition, QueryError> {
    parse_instant(value)
        .map(|at| Condition::Instant(comparison, at))
        .ok_or_else(|| invalid(field, "not a date"))
}

fn number(field: &Field, comparison: Comparison, value: &str) -> Result<Condition, QueryError> {
    value
        .trim()
        .parse()
        .map(|number| Condition::Number(comparison, number))
        .map_err(|_| invalid(field, "not an integer"))
}

/// An enum's words; those of truth values are PostgreSQL's.
fn words(
    field: &Field,
    membership: Membership,
    values: Vec<String>,
) -> Result<Condition, QueryError> {
    if field.kind == FieldKind::Boolean {
        let flags = values
            .iter()
            .map(|word| flag(word).ok_or_else(|| invalid(field, "not a boolean")))
            .collect::<Result<Vec<_>, _>>()?;
        if flags.is_empty() {
            return Ok(Condition::Anything);
        }
        return Ok(Condition::Flag(membership, flags));
    }
    let stored = values
        .into_iter()
        .map(|word| {
            let known = field.words.iter().find(|(other, _)| *other == word);
            known.map_or(word, |(_, stored)| (*stored).to_owned())
        })
        .collect();
    Ok(one_of(membership, Case::Exact, stored))
}

fn flag(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// Clients encode the expression once or twice: what is no expression is decoded once more.
fn json_path(value: &str) -> Result<Condition, QueryError> {
    if value.chars().count() > MAX_PATH_CHARS {
        return Err(QueryError::InvalidJsonPath(format!(
            "longer than {MAX_PATH_CHARS} characters"
        )));
    }
    let path = JsonPath::parse(value)
        .or_else(|error| {
            let decoded = decode_component(value).ok_or_else(|| error.clone())?;
            JsonPath::parse(&decoded).map_err(|_| error)
        })
        .map_err(|error| QueryError::InvalidJsonPath(error.to_string()))?;
    // The second decoding may bring it in.
    if path.text().contains('\0') {
        return Err(QueryError::InvalidJsonPath(
            "the character U+0000 is in no stored text".to_owned(),
        ));
    }
    Ok(Condition::JsonPath(path))
}

pub(super) fn invalid(field: &Field, reason: &str) -> QueryError {
    QueryError::InvalidValue {
        field: field.name.to_owned(),
        reason: reason.to_owned(),
    }
}
