//! Filters on one row that is in memory, with the meaning that they have in a database.

use serde_json::Value;
use time::OffsetDateTime;

use super::filter::{Case, Comparison, Condition, Filter, Membership};
use super::fold::fold;

/// What a row has in the column of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// `NULL`, of a field of any type.
    Null,
    /// A text, or one of a few words.
    Text(String),
    /// Several texts in rows of their own; one of them, or none, must fulfil what is asked.
    AnyOf(Vec<String>),
    /// A JSON array of strings.
    Texts(Vec<String>),
    /// An instant.
    Instant(OffsetDateTime),
    /// An integer.
    Number(i64),
    /// A truth value.
    Flag(bool),
    /// A JSON document.
    Json(Value),
}

impl Filter {
    /// Whether a row with this value in the filter's field fulfils it. A value of another type than the
    /// field's fulfils nothing.
    pub fn holds(&self, value: &FieldValue) -> bool {
        match (&self.condition, value) {
            (Condition::Anything, _) => true,
            (Condition::Null(membership), value) => is_in(*membership, *value == FieldValue::Null),
            (
                Condition::OneOf {
                    membership,
                    case,
                    values,
                },
                FieldValue::AnyOf(texts),
            ) => {
                let has = texts
                    .iter()
                    .any(|text| values.contains(&cased(*case, text)));
                is_in(*membership, has)
            }
            (
                Condition::Contains {
                    membership,
                    case,
                    value,
                },
                FieldValue::AnyOf(texts),
            ) => {
                let mut texts = texts.iter().map(|text| cased(*case, text));
                is_in(*membership, texts.any(|text| text.contains(value.as_str())))
            }
            (
                Condition::OneOf {
                    membership,
                    case,
                    values,
                },
                FieldValue::Text(text),
            ) => is_in(*membership, values.contains(&cased(*case, text))),
            (
                Condition::Contains {
                    membership,
                    case,
                    value,
                },
                FieldValue::Text(text),
            ) => is_in(*membership, cased(*case, text).contains(value.as_str())),
            (
                Condition::Element {
                    membership,
                    case,
                    value,
                },
                FieldValue::Texts(elements),
            ) => {
                let mut elements = elements.iter();
                let has = elements.any(|element| cased(*case, element) == *value);
                is_in(*membership, has)
            }
            (Condition::Instant(comparison, wanted), FieldValue::Instant(at)) => {
                let micros = |at: OffsetDateTime| at.unix_timestamp_nanos().div_euclid(1_000);
                compares(*comparison, &micros(*at), &micros(*wanted))
            }
            (Condition::Number(comparison, wanted), FieldValue::Number(number)) => {
                compares(*comparison, number, wanted)
            }
            (Condition::Flag(membership, flags), FieldValue::Flag(flag)) => {
                is_in(*membership, flags.contains(flag))
            }
            (Condition::JsonPath(path), FieldValue::Json(document)) => path.matches(document),
            _ => false,
        }
    }
}

const fn is_in(membership: Membership, is_in: bool) -> bool {
    match membership {
        Membership::In => is_in,
        Membership::NotIn => !is_in,
    }
}

fn cased(case: Case, text: &str) -> String {
    match case {
        Case::Exact => text.to_owned(),
        Case::Folded => fold(text),
    }
}

fn compares<T: Ord>(comparison: Comparison, found: &T, wanted: &T) -> bool {
    match comparison {
        Comparison::Equal => found == wanted,
        Comparison::NotEqual => found != wanted,
        Comparison::Less => found < wanted,
        Comparison::LessOrEqual => found <= wanted,
        Comparison::Greater => found > wanted,
        Comparison::GreaterOrEqual => found >= wanted,
    }
}
