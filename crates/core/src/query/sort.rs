//! Sorting: by a field, or by a simple path into a JSON field.

use std::fmt;

use serde_json::Value;

use super::field::{Field, FieldKind, find_field};

/// Longest sort path, in bytes.
const MAX_PATH_BYTES: usize = 500;

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortMode {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl SortMode {
    /// `desc` is descending; any other text counts as ascending.
    pub fn from_text(text: &str) -> Self {
        if text == "desc" {
            Self::Descending
        } else {
            Self::Ascending
        }
    }

    /// `asc` or `desc`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

/// The one sort key of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The field.
    pub field: &'static Field,
    /// Where in a JSON field.
    pub path: Option<SortPath>,
    /// Up or down.
    pub mode: SortMode,
}

impl Sort {
    /// Reads `field` or `field[jsonpath]path`; `None` when the resource has no such sort. Fields
    /// whose elements are in a table of their own have no value to sort by.
    pub fn parse(fields: &'static [Field], text: &str, mode: SortMode) -> Option<Self> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('[') else {
            return Some(Self {
                field: find_field(fields, text).filter(|field| field.elements.is_none())?,
                path: None,
                mode,
            });
        };
        let (operand, path) = rest.split_once(']')?;
        let field = find_field(fields, name)?;
        if field.kind != FieldKind::Json || !operand.eq_ignore_ascii_case("jsonpath") {
            return None;
        }
        Some(Self {
            field,
            path: Some(SortPath::parse(path)?),
            mode,
        })
    }

    /// The sort as the value of `sort_by`.
    pub fn to_text(&self) -> String {
        match &self.path {
            Some(path) => format!("{}[jsonpath]{path}", self.field.name),
            None => self.field.name.to_owned(),
        }
    }
}

/// One step of a [`SortPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// A member of an object.
    Key(String),
    /// An element of an array, from 0.
    Index(usize),
    /// The last element of an array.
    Last,
}

/// A path that addresses at most one value: `$` followed by `.key`, `."quoted key"`, `[n]` or
/// `[last]`, at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortPath {
    steps: Vec<PathStep>,
    text: String,
}

impl SortPath {
    /// Reads a path; `None` when it is not one of these.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_PATH_BYTES {
            return None;
        }
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.push(step);
            rest = after;
        }
        let text = text.to_owned();
        (!steps.is_empty()).then_some(Self { steps, text })
    }

    /// The steps, at least one.
    pub fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    /// The addressed value, if the document has it.
    pub fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.steps
            .iter()
            .try_fold(document, |value, step| match step {
                PathStep::Key(key) => value.get(key),
                PathStep::Index(index) => value.get(index),
                PathStep::Last => value.as_array()?.last(),
            })
    }
}

impl SortPath {
    /// The same path with every key in quotes, as SQL/JSON reads it, where `$.a-b` is a difference.
    pub fn to_sql_json(&self) -> String {
        let mut text = "$".to_owned();
        for step in &self.steps {
            match step {
                PathStep::Key(key) => text.extend([".\"", key, "\""]),
                PathStep::Index(index) => text.push_str(&format!("[{index}]")),
                PathStep::Last => text.push_str("[last]"),
            }
        }
        text
    }
}

impl fmt::Display for SortPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One step at the start of the text, and what follows it.
fn step(text: &str) -> Option<(PathStep, &str)> {
    if let Some(rest) = text.strip_prefix(".\"") {
        let (key, after) = rest.split_once('"')?;
        // Escapes would need JSON rules; such keys are not sorted by.
        return (is_key(key) && !key.contains('\\'))
            .then(|| (PathStep::Key(key.to_owned()), after));
    }
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(|c: char| !is_plain(c)).unwrap_or(rest.len());
        let (key, after) = rest.split_at_checked(end)?;
        return is_key(key).then(|| (PathStep::Key(key.to_owned()), after));
    }
    let (index, after) = text.strip_prefix('[')?.split_once(']')?;
    let step = match index.trim() {
        "last" => PathStep::Last,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            PathStep::Index(digits.parse().ok()?)
        }
        _ => return None,
    };
    Some((step, after))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '_' | '-')
        || (!character.is_ascii() && character.is_alphabetic())
}

/// `--` starts a comment in SQL. Paths are bound parameters, so it could do no harm; clients rely
/// on such probes to be ignored.
fn is_key(key: &str) -> bool {
    !key.is_empty() && !key.contains("--")
}
