//! Predicates: three-valued logic over the items of their operands.

use super::{Scope, Wanted};
use crate::query::json_path::ast::{Expr, Mode, Predicate};
use crate::query::json_path::compare::{Truth, compare};
use crate::query::json_path::item::{Failure, Item};

impl<'d> Scope<'_, 'd> {
    pub(super) fn truth(self, predicate: &Predicate) -> Truth {
        match predicate {
            Predicate::And(all) => self.joined(all, Truth::False, Truth::True),
            Predicate::Or(all) => self.joined(all, Truth::True, Truth::False),
            Predicate::Not(inner) => match self.truth(inner) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Unknown => Truth::Unknown,
            },
            Predicate::IsUnknown(inner) => Truth::from(self.truth(inner) == Truth::Unknown),
            Predicate::Exists(expr) => self.exists(expr),
            Predicate::Compare(operator, left, right) => match self.unwrapped(right) {
                Ok(right) => self.any(left, &right, |left, right| compare(*operator, left, right)),
                Err(Failure) => Truth::Unknown,
            },
            Predicate::StartsWith(expr, prefix) => self.any(expr, &[prefix], |item, prefix| {
                let text = item.text();
                text.map_or(Truth::Unknown, |text| text.starts_with(*prefix).into())
            }),
            Predicate::LikeRegex(expr, regex) => self.any(expr, &[regex], |item, regex| {
                let text = item.text();
                text.map_or(Truth::Unknown, |text| regex.is_match(text).into())
            }),
        }
    }

    /// The first predicate that `decides` does; else unknown if one is, else what is `left`.
    fn joined(self, predicates: &[Predicate], decides: Truth, left: Truth) -> Truth {
        let mut joined = left;
        for predicate in predicates {
            match self.truth(predicate) {
                truth if truth == decides => return decides,
                Truth::Unknown => joined = Truth::Unknown,
                Truth::True | Truth::False => {}
            }
        }
        joined
    }

    /// Whether there is an item. Lax mode looks for one only, so what fails behind it does not
    /// matter; strict mode evaluates all.
    fn exists(self, expr: &Expr) -> Truth {
        let wanted = match self.mode {
            Mode::Lax => Wanted::First,
            Mode::Strict => Wanted::All,
        };
        let mut items = Vec::new();
        match self.wanting(wanted).eval_into(expr, &mut items) {
            Err(Failure) if self.mode == Mode::Strict || items.is_empty() => Truth::Unknown,
            Ok(()) | Err(Failure) => Truth::from(!items.is_empty()),
        }
    }

    /// Whether the test holds for some item against some operand. An item that cannot be tested
    /// makes the answer unknown: always in strict mode, in lax mode only when no other item
    /// passes.
    fn any<T>(self, expr: &Expr, operands: &[T], test: impl Fn(&Item<'d>, &T) -> Truth) -> Truth {
        let Ok(items) = self.unwrapped(expr) else {
            return Truth::Unknown;
        };
        let (mut found, mut unknown) = (false, false);
        for item in &items {
            for operand in operands {
                if self.fuel.spend(1 + item.text_cost()).is_err() {
                    return Truth::Unknown;
                }
                match test(item, operand) {
                    Truth::True if self.mode == Mode::Lax => return Truth::True,
                    Truth::True => found = true,
                    Truth::Unknown if self.mode == Mode::Strict => return Truth::Unknown,
                    Truth::Unknown => unknown = true,
                    Truth::False => {}
                }
            }
        }
        match (found, unknown) {
            (true, _) => Truth::True,
            (false, true) => Truth::Unknown,
            (false, false) => Truth::False,
        }
    }
}
