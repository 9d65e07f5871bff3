//! The total order of a list, and the position of a row in it.

use lamassu_core::query::{FieldKind, ListRequest, Nulls, Sort, SortMode, SortPath};

use super::ListTable;
use crate::error::DbError;
use crate::row::Row;
use crate::value::Value;

/// What one part of the order compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// A column as it is.
    Column(&'static str),
    /// The case-folded text of a column that has no shadow column.
    Folded(&'static str),
    /// The sort key of a value inside a JSON column; an empty path is the document itself.
    JsonKey(&'static str, String),
}

/// One part of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) term: Term,
    pub(super) mode: SortMode,
    pub(super) nulls: Nulls,
}

/// Parts in their order; the last one is the primary key, so no two rows are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) keys: Vec<Key>,
}

impl Order {
    pub(super) fn new(table: &ListTable, request: &ListRequest) -> Self {
        let mut keys: Vec<Key> = request
            .sort
            .iter()
            .chain(&request.then)
            .flat_map(sort_keys)
            .collect();
        if keys.is_empty() {
            keys.push(Key {
                term: Term::Column(table.created),
                mode: SortMode::Ascending,
                nulls: Nulls::Never,
            });
        }
        keys.push(Key {
            term: Term::Column(table.key),
            mode: SortMode::Ascending,
            nulls: Nulls::Never,
        });
        Self { keys }
    }

    /// The name under which a part of the order is selected.
    pub(super) fn alias(index: usize) -> String {
        format!("order_{index}")
    }

    /// Where a row of the page stands.
    pub(super) fn position(&self, row: &Row) -> Result<Vec<Value>, DbError> {
        (0..self.keys.len())
            .map(|index| row.get(Self::alias(index).as_str()))
            .collect()
    }
}

fn sort_keys(sort: &Sort) -> Vec<Key> {
    let field = sort.field;
    let key = |term, nulls| Key {
        term,
        mode: sort.mode,
        nulls,
    };
    let column = key(Term::Column(field.column), field.nulls);
    match field.kind {
        // Arrays too: on PostgreSQL their columns compare with no text that a bookmark could hold.
        FieldKind::Json | FieldKind::StringArray => {
            let path = sort.path.as_ref().map(SortPath::to_sql_json);
            // The key of a missing value is smaller than any other, never NULL.
            let term = Term::JsonKey(field.column, path.unwrap_or_default());
            vec![key(term, Nulls::Never)]
        }
        FieldKind::String => {
            let folded = field
                .folded_column
                .map_or(Term::Folded(field.column), Term::Column);
            vec![key(folded, field.nulls), column]
        }
        FieldKind::Date | FieldKind::Number | FieldKind::Enum | FieldKind::Boolean => vec![column],
    }
}
