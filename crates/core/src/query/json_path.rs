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

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
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
