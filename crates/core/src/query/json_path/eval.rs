//! Evaluation, lax and strict.
//!
//! An expression yields a sequence of items. In lax mode what the document lacks yields nothing,
//! arrays are unwrapped where single values are wanted, and single values count as arrays of one;
//! in strict mode these are errors. Any error makes a predicate unknown and the whole not match.
//!
//! Whatever visits, makes or copies items pays for them first, so an evaluation ends soon whatever
//! the expression.
//!
//! Where next: `eval/truth.rs` for predicates.

mod truth;

use std::borrow::Cow;

use serde_json::Value;

use super::ast::{Expr, Method, Mode, Number, Step, Subscript, Tree};
use super::compare::Truth;
use super::fuel::Fuel;
use super::item::{Failure, Item, apply, descend, item};
use super::number::{arithmetic, signed, truncated};

type Items<'d> = Result<Vec<Item<'d>>, Failure>;

/// How many of an expression's items somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// Those after the first one do not matter.
    First,
}

/// What an expression is evaluated against.
#[derive(Clone, Copy)]
struct Scope<'s, 'd> {
    root: &'d Value,
    mode: Mode,
    current: Option<&'s Item<'d>>,
    /// Length of the array whose subscripts are evaluated.
    array_len: Option<usize>,
    /// Behind `.**` missing members are no errors even in strict mode.
    forgiving: bool,
    wanted: Wanted,
    fuel: &'s Fuel,
}

pub(super) fn matches(tree: &Tree, document: &Value) -> bool {
    let fuel = Fuel::full();
    let scope = Scope {
        root: document,
        mode: tree.mode,
        current: None,
        array_len: None,
        forgiving: tree.mode == Mode::Lax,
        wanted: Wanted::All,
        fuel: &fuel,
    };
    match scope.eval(&tree.root).as_deref() {
        // A predicate that was cut short is unknown, and `is unknown` would make it true.
        Ok([Item::Json(value)]) => **value == Value::Bool(true) && !fuel.is_spent(),
        Ok(_) | Err(Failure) => false,
    }
}

impl<'d> Scope<'_, 'd> {
    /// All items of an expression.
    fn eval(self, expr: &Expr) -> Items<'d> {
        let mut items = Vec::new();
        self.wanting(Wanted::All).eval_into(expr, &mut items)?;
        Ok(items)
    }

    fn wanting(self, wanted: Wanted) -> Self {
        Self { wanted, ..self }
    }

    fn is_satisfied(self, found: &[Item<'d>]) -> bool {
        self.wanted == Wanted::First && !found.is_empty()
    }

    /// Appends the items of an expression; before a failure those that were found until then.
    fn eval_into(self, expr: &Expr, out: &mut Vec<Item<'d>>) -> Result<(), Failure> {
        self.fuel.spend(1)?;
        match expr {
            Expr::Literal(literal) => out.push(item(literal)),
            Expr::Root => out.push(Item::Json(Cow::Borrowed(self.root))),
            Expr::Current => {
                let current = self.current.ok_or(Failure)?;
                self.fuel.spend(current.copy_cost())?;
                out.push(current.clone());
            }
            Expr::Last => {
                let last = self.array_len.ok_or(Failure)?;
                let last = i128::try_from(last).map_err(|_| Failure)? - 1;
                out.push(Item::Number(Number::Integer(last)));
            }
            Expr::Signed(sign, operand) => {
                for item in self.unwrapped(operand)? {
                    let number = signed(*sign, item.number().ok_or(Failure)?)?;
                    out.push(Item::Number(number));
                }
            }
            Expr::Arithmetic(first, others) => {
                let mut result = self.single_number(first)?;
                for (operator, operand) in others {
                    result = arithmetic(*operator, result, self.single_number(operand)?)?;
                }
                out.push(Item::Number(result));
            }
            Expr::Path(start, steps) => {
                let mut items = Vec::new();
                let outcome = self.wanting(Wanted::All).eval_into(start, &mut items);
                return self.walk_each(items, steps, out).and(outcome);
            }
            Expr::Predicate(predicate) => out.push(Item::json(match self.truth(predicate) {
                Truth::True => Value::Bool(true),
                Truth::False => Value::Bool(false),
                Truth::Unknown => Value::Null,
            })),
        }
        Ok(())
    }

    /// Follows the steps from one item to the end before the next item's turn, so that what is
    /// found before a failure is known.
    fn walk(
        mut self,
        item: Item<'d>,
        steps: &[Step],
        out: &mut Vec<Item<'d>>,
    ) -> Result<(), Failure> {
        let Some((step, rest)) = steps.split_first() else {
            out.push(item);
            return Ok(());
        };
        let mut found = Vec::new();
        let outcome = self.step(item, step, &mut found);
        self.forgiving |= matches!(step, Step::Descend(..));
        self.walk_each(found, rest, out).and(outcome)
    }

    fn walk_each(
        self,
        items: Vec<Item<'d>>,
        steps: &[Step],
        out: &mut Vec<Item<'d>>,
    ) -> Result<(), Failure> {
        for item in items {
            if self.is_satisfied(out) {
                break;
            }
            self.walk(item, steps, out)?;
        }
        Ok(())
    }

    /// Applies one step to one item.
    fn step(self, item: Item<'d>, step: &Step, out: &mut Vec<Item<'d>>) -> Result<(), Failure> {
        self.fuel.spend(1 + item.copy_cost())?;
        match step {
            Step::Key(_) | Step::AnyKey | Step::Filter(_) => {
                for element in self.unwrap(item)? {
                    self.member(element, step, out)?;
                }
                Ok(())
            }
            Step::Method(Method::Type) => {
                out.push(Item::json(Value::from(item.type_name())));
                Ok(())
            }
            Step::Method(Method::Size) => self.size(&item, out),
            Step::Method(method) => {
                for element in self.unwrap(item)? {
                    apply(*method, &element, self.fuel, out)?;
                }
                Ok(())
            }
            Step::Descend(from, to) => descend(item, 0, (*from, *to), self.fuel, out),
            Step::AnyElement => match self.into_elements(item)? {
                Ok(elements) => {
                    out.extend(elements);
                    Ok(())
                }
                Err(single) if self.mode == Mode::Lax => {
                    out.push(single);
                    Ok(())
                }
                Err(_) => self.missing(),
            },
            Step::Elements(subscripts) => match self.into_elements(item)? {
                Ok(elements) => self.elements(&elements, subscripts, out),
                Err(single) if self.mode == Mode::Lax => self.elements(&[single], subscripts, out),
                Err(_) => self.missing(),
            },
        }
    }

    /// `.key`, `.*` or a filter on one item that is not unwrapped further.
    fn member(self, item: Item<'d>, step: &Step, out: &mut Vec<Item<'d>>) -> Result<(), Failure> {
        match step {
            Step::Key(key) => match item.member(key) {
                Some(value) => out.push(value),
                None => self.missing()?,
            },
            Step::AnyKey => {
                self.fuel.spend(item.n_members())?;
                match item.members() {
                    Some(values) => out.extend(values),
                    None => self.missing()?,
                }
            }
            Step::Filter(predicate) => {
                let inner = Scope {
                    current: Some(&item),
                    ..self
                };
                if inner.truth(predicate) == Truth::True {
                    out.push(item);
                }
            }
            Step::Descend(..) | Step::AnyElement | Step::Elements(_) | Step::Method(_) => {}
        }
        Ok(())
    }

    fn elements(
        self,
        elements: &[Item<'d>],
        subscripts: &[Subscript],
        out: &mut Vec<Item<'d>>,
    ) -> Result<(), Failure> {
        let inner = Scope {
            array_len: Some(elements.len()),
            ..self
        };
        let len = i128::try_from(elements.len()).map_err(|_| Failure)?;
        for subscript in subscripts {
            let from = inner.index(&subscript.from)?;
            let to = match &subscript.to {
                Some(to) => inner.index(to)?,
                None => from,
            };
            if from < 0 || from > to || to >= len {
                self.missing()?;
            }
            let from = usize::try_from(from.max(0)).map_err(|_| Failure)?;
            let Ok(to) = usize::try_from(to.min(len - 1)) else {
                continue;
            };
            for element in elements.get(from..=to).unwrap_or_default() {
                self.fuel.spend(1 + element.copy_cost())?;
                out.push(element.clone());
            }
        }
        Ok(())
    }

    fn index(self, expr: &Expr) -> Result<i128, Failure> {
        match self.eval(expr)?.as_slice() {
            [item] => item.number().and_then(truncated).ok_or(Failure),
            _ => Err(Failure),
        }
    }

    fn size(self, item: &Item<'d>, out: &mut Vec<Item<'d>>) -> Result<(), Failure> {
        let len = match item {
            Item::Json(value) => value.as_array().map(Vec::len),
            Item::Number(_) | Item::Instant(..) => None,
        };
        let size = match (len, self.mode) {
            (Some(len), _) => i128::try_from(len).map_err(|_| Failure)?,
            // A single value counts as an array of one.
            (None, Mode::Lax) => 1,
            (None, Mode::Strict) => return self.missing(),
        };
        out.push(Item::Number(Number::Integer(size)));
        Ok(())
    }

    /// In lax mode the elements of an array, else the item itself.
    fn unwrap(self, item: Item<'d>) -> Items<'d> {
        if self.mode == Mode::Strict {
            return Ok(vec![item]);
        }
        let elements = self.into_elements(item)?;
        Ok(elements.unwrap_or_else(|single| vec![single]))
    }

    /// The elements of an array, or the item back.
    fn into_elements(self, item: Item<'d>) -> Result<Result<Vec<Item<'d>>, Item<'d>>, Failure> {
        self.fuel.spend(item.n_elements())?;
        Ok(item.into_elements())
    }

    fn missing(self) -> Result<(), Failure> {
        if self.forgiving { Ok(()) } else { Err(Failure) }
    }

    fn unwrapped(self, expr: &Expr) -> Items<'d> {
        let mut all = Vec::new();
        for item in self.eval(expr)? {
            all.extend(self.unwrap(item)?);
        }
        Ok(all)
    }

    fn single_number(self, expr: &Expr) -> Result<Number, Failure> {
        match self.unwrapped(expr)?.as_slice() {
            [item] => item.number().ok_or(Failure),
            _ => Err(Failure),
        }
    }
}
