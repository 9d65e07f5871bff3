//! Comparisons and three-valued logic.

use std::cmp::Ordering;

use serde_json::Value;

use super::ast::{Compare, Number};
use super::item::Item;
use super::number::float;

/// Three-valued logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Scalars of one type compare; `null` equals `null` only and differs from everything; arrays and
/// objects do not compare.
pub(super) fn compare(operator: Compare, left: &Item<'_>, right: &Item<'_>) -> Truth {
    let order = match (left, right) {
        (Item::Instant(a, _), Item::Instant(b, _)) => Some(a.cmp(b)),
        (Item::Instant(..), _) | (_, Item::Instant(..)) => None,
        _ => match (left.number(), right.number()) {
            (Some(Number::Integer(a)), Some(Number::Integer(b))) => Some(a.cmp(&b)),
            (Some(a), Some(b)) => float(a).partial_cmp(&float(b)),
            _ => match (left, right) {
                (Item::Json(a), Item::Json(b)) => return compare_json(operator, a, b),
                (Item::Json(a), _) => return compare_json(operator, a, &Value::from(0)),
                (_, Item::Json(b)) => return compare_json(operator, &Value::from(0), b),
                _ => None,
            },
        },
    };
    order.map_or(Truth::Unknown, |order| holds(operator, order))
}

/// At most one of them is a number.
fn compare_json(operator: Compare, left: &Value, right: &Value) -> Truth {
    match (left, right) {
        (Value::Null, Value::Null) => holds(operator, Ordering::Equal),
        (Value::Null, _) | (_, Value::Null) => Truth::from(operator == Compare::NotEqual),
        (Value::Bool(a), Value::Bool(b)) => holds(operator, a.cmp(b)),
        (Value::String(a), Value::String(b)) => holds(operator, a.cmp(b)),
        _ => Truth::Unknown,
    }
}

fn holds(operator: Compare, order: Ordering) -> Truth {
    Truth::from(match operator {
        Compare::Equal => order.is_eq(),
        Compare::NotEqual => order.is_ne(),
        Compare::Less => order.is_lt(),
        Compare::LessOrEqual => order.is_le(),
        Compare::Greater => order.is_gt(),
        Compare::GreaterOrEqual => order.is_ge(),
    })
}
