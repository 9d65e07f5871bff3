//! Numbers: exact as integers, otherwise IEEE 754 doubles.

use super::ast::{Arithmetic, Number, Sign};
use super::item::Failure;

pub(super) fn signed(sign: Sign, number: Number) -> Result<Number, Failure> {
    Ok(match (sign, number) {
        (Sign::Plus, number) => number,
        (Sign::Minus, Number::Integer(value)) => {
            Number::Integer(value.checked_neg().ok_or(Failure)?)
        }
        (Sign::Minus, Number::Float(value)) => Number::Float(-value),
    })
}

pub(super) fn arithmetic(
    operator: Arithmetic,
    left: Number,
    right: Number,
) -> Result<Number, Failure> {
    if let (Number::Integer(a), Number::Integer(b)) = (left, right) {
        let exact = match operator {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide => a
                .checked_rem(b)
                .filter(|rest| *rest == 0)
                .and_then(|_| a.checked_div(b)),
            Arithmetic::Remainder => a.checked_rem(b),
        };
        if let Some(exact) = exact {
            return Ok(Number::Integer(exact));
        }
    }
    let (a, b) = (float(left), float(right));
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder);
    if divides && b == 0.0 {
        return Err(Failure);
    }
    finite(match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    })
}

pub(super) fn finite(value: f64) -> Result<Number, Failure> {
    value
        .is_finite()
        .then_some(Number::Float(value))
        .ok_or(Failure)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "PostgreSQL's numeric has more digits; documented"
)]
pub(super) const fn float(number: Number) -> f64 {
    match number {
        Number::Integer(value) => value as f64,
        Number::Float(value) => value,
    }
}

pub(super) fn map_float(number: Number, map: impl Fn(f64) -> f64) -> Number {
    match number {
        Number::Integer(_) => number,
        Number::Float(value) => Number::Float(map(value)),
    }
}

/// Towards zero, as subscripts are.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the check")]
pub(super) fn truncated(number: Number) -> Option<i128> {
    match number {
        Number::Integer(value) => Some(value),
        Number::Float(value) => (value.abs() < 1e18).then_some(value.trunc() as i128),
    }
}
