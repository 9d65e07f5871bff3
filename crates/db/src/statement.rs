//! SQL text and its parameters.

use std::borrow::Cow;

use crate::value::Value;

/// One SQL statement with its parameters.
///
/// Parameters are written `$1`, `$2`, … and may be used more than once. The text is constant or one
/// of few, so that it is prepared once per connection; it must be one that SQLite and PostgreSQL
/// both take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) params: Vec<Value>,
    pub(crate) texts: Texts,
}

/// How many texts of its kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Few enough to keep each prepared.
    Few,
    /// As many as clients think of.
    Many,
}

impl Statement {
    /// The text.
    pub fn text(&self) -> &str {
        &self.sql
    }

    /// The parameters, `$1` first.
    pub fn params(&self) -> &[Value] {
        &self.params
    }
}

/// A statement: `sql("DELETE FROM ca WHERE id = $1", params![id])`.
pub fn sql(text: impl Into<Cow<'static, str>>, params: Vec<Value>) -> Statement {
    let sql = text.into();
    let texts = match &sql {
        Cow::Borrowed(_constant) => Texts::Few,
        Cow::Owned(_made) => Texts::Many,
    };
    Statement { sql, params, texts }
}

/// A statement with a text that was made, one of few: [`in_list`] keeps them so.
pub fn sql_of_few(text: String, params: Vec<Value>) -> Statement {
    Statement {
        sql: text.into(),
        params,
        texts: Texts::Few,
    }
}

/// The placeholders of an `IN` list over `values`, the first parameters of a statement, which must
/// not be empty.
///
/// The list is filled up with its last value to a power of two, so that there are few texts.
pub fn in_list(values: &mut Vec<Value>) -> String {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    let placeholders: Vec<String> = (1..=values.len())
        .map(|number| format!("${number}"))
        .collect();
    placeholders.join(", ")
}

/// Parameters of a statement, each converted by `Value::from`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::Value::from($value)),*]
    };
}
