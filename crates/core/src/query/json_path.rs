//! SQL/JSON path predicates over JSON fields, with PostgreSQL's semantics (versions 12 to 16).
//!
//! PostgreSQL evaluates the text itself; SQLite evaluates it here. Both accept exactly what
//! [`JsonPath::parse`] accepts, so a filter means the same on either. Deliberately absent:
//! variables (`$name`), the item methods that came with PostgreSQL 17, `datetime` templates, and
//! regular expressions beyond what both databases share (back references, look-around, flag `x`).
//! Numbers are compared exactly as integers and otherwise as IEEE 754 doubles.
//!
//! Expressions come from clients, so they are bounded: in depth (`parser.rs`), and in what one
//! evaluation may cost (`fuel.rs`).
//!
//! Where next: `parser.rs` for the grammar, `eval.rs` for lax and strict evaluation.

mod ast;
mod compare;
mod eval;
mod fuel;
mod item;
mod lexer;
mod number;
mod parser;
mod pattern;

use std::fmt;

use serde_json::Value;

/// Why a text is no expression, for example ``unexpected `==` at character 5``.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(pub(super) String);

/// A parsed expression.
#[derive(Clone)]
pub struct JsonPath {
    text: String,
    tree: ast::Tree,
}

impl JsonPath {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// [`JsonPathError`] when it is not one that both databases evaluate alike.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        let tree = parser::parse(text)?;
        Ok(Self {
            text: text.to_owned(),
            tree,
        })
    }

    /// Whether the expression yields exactly one item for this document and that item is `true`.
    /// Errors during evaluation do not match, nor does an evaluation that visits more than 100,000
    /// items of the document.
    pub fn matches(&self, document: &Value) -> bool {
        eval::matches(&self.tree, document)
    }

    /// What a document has that fulfils the expression: at a place, as member names from the root, or in
    /// an array there, this value. Empty where nothing can be told beforehand.
    pub fn demands(&self) -> Vec<(Vec<String>, Value)> {
        match (&self.tree.mode, &self.tree.root) {
            (ast::Mode::Lax, ast::Expr::Predicate(predicate)) => demands(predicate),
            _ => Vec::new(),
        }
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn demands(predicate: &ast::Predicate) -> Vec<(Vec<String>, Value)> {
    use ast::{Compare, Expr, Predicate};
    match predicate {
        Predicate::And(all) => all.iter().flat_map(demands).collect(),
        Predicate::Compare(Compare::Equal, Expr::Path(root, steps), Expr::Literal(literal))
        | Predicate::Compare(Compare::Equal, Expr::Literal(literal), Expr::Path(root, steps))
            if matches!(**root, Expr::Root) =>
        {
            let keys = steps.iter().map(|step| match step {
                ast::Step::Key(key) => Some(key.clone()),
                _ => None,
            });
            let keys = keys.collect::<Option<Vec<String>>>();
            keys.zip(scalar(literal)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// `null` is also what is not there.
fn scalar(literal: &ast::Literal) -> Option<Value> {
    match literal {
        ast::Literal::Null => None,
        ast::Literal::Bool(value) => Some(Value::Bool(*value)),
        ast::Literal::String(text) => Some(Value::String(text.clone())),
        ast::Literal::Number(ast::Number::Integer(number)) => {
            let number = i64::try_from(*number).ok()?;
            Some(Value::from(number))
        }
        ast::Literal::Number(ast::Number::Float(number)) => Some(Value::from(*number)),
    }
}

/// A text, number or truth value as one text, the same for all values that compare equal. Numbers that
/// differ beyond the precision of a double may have the same.
pub fn json_scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(format!("s{text}")),
        Value::Bool(value) => Some(format!("b{value}")),
        Value::Number(number) => {
            let number = number.as_f64()?;
            // There are two zeros, which are equal.
            let number = if number == 0.0 { 0.0 } else { number };
            Some(format!("n{number}"))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonPath").field(&self.text).finish()
    }
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for JsonPath {}

#[cfg(test)]
mod tests;
