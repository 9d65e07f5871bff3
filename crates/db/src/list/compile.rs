//! From typed conditions to SQL.

use std::iter;

use lamassu_core::query::{
    Case, Comparison, Condition as Wanted, ElementTable, Field, FieldKind, Filter, ListRequest,
    Membership, Nulls, QueryError, SortMode, fold as fold_text,
};
use sea_query::{
    Alias, Asterisk, BinOper, Condition, Expr, ExprTrait, Func, NullOrdering, Order as Direction,
    PostgresQueryBuilder, Query, SelectStatement, SqliteQueryBuilder,
};

use super::order::{Key, Order, Term};
use super::search::{Preselect, contained};
use super::{ListError, ListTable, Restriction};
use crate::backend::Dialect;
use crate::error::DbError;
use crate::statement::{Statement, sql};
use crate::value::Value;

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    pub(super) table: &'a ListTable,
    pub(super) request: &'a ListRequest,
    pub(super) restrictions: &'a [Restriction],
    pub(super) order: &'a Order,
    pub(super) preselect: &'a Preselect,
}

impl Page<'_> {
    /// The statements of the page, behind a position if one is given: the table's columns, then the
    /// parts of the order. The rows of the first statement come first; of all of them the page is
    /// the beginning.
    pub(super) fn statements(
        &self,
        dialect: Dialect,
        after: Option<&[Value]>,
    ) -> Result<Vec<Statement>, ListError> {
        let keys = &self.order.keys;
        let mut select = Query::select();
        select.from(Alias::new(self.table.table));
        select.columns(self.table.columns.iter().map(|column| Alias::new(*column)));
        for (index, key) in keys.iter().enumerate() {
            select.expr_as(term(&key.term), Alias::new(Order::alias(index)));
            match key.nulls {
                Nulls::Never => select.order_by_expr(term(&key.term), direction(key.mode)),
                Nulls::Possible => select.order_by_expr_with_nulls(
                    term(&key.term),
                    direction(key.mode),
                    nulls_at(key.mode),
                ),
            };
        }
        let filters = &self.request.filters;
        select.cond_where(conditions(
            dialect,
            filters,
            self.restrictions,
            self.preselect,
        ));
        select.limit(u64::from(self.request.page_size).saturating_add(1));
        let Some(position) = after else {
            return Ok(vec![build(dialect, &select)?]);
        };
        if position.len() != keys.len() {
            return Err(QueryError::InvalidBookmark.into());
        }
        let part = |range| build(dialect, select.clone().cond_where(range));
        behind(keys, position).into_iter().map(part).collect()
    }
}

/// Counts rows, per value of a column where one is given.
pub(super) fn count(
    dialect: Dialect,
    table: &ListTable,
    column: Option<&'static str>,
    filters: &[Filter],
    restrictions: &[Restriction],
) -> Result<Statement, ListError> {
    let mut select = Query::select();
    select.from(Alias::new(table.table));
    // Not of the key: an index without it could then not answer alone.
    select.expr_as(Func::count(Expr::col(Asterisk)), Alias::new("n"));
    if let Some(column) = column {
        select.expr_as(col(column), Alias::new("value"));
        select.group_by_col(Alias::new(column));
    }
    select.cond_where(conditions(dialect, filters, restrictions, &Preselect::Yes));
    build(dialect, &select)
}

/// Columns of rows.
pub(super) fn selection(
    dialect: Dialect,
    table: &ListTable,
    columns: &[&'static str],
    filters: &[Filter],
    restrictions: &[Restriction],
) -> Result<Statement, ListError> {
    let mut select = Query::select();
    select.from(Alias::new(table.table));
    select.columns(columns.iter().map(|column| Alias::new(*column)));
    select.cond_where(conditions(dialect, filters, restrictions, &Preselect::Yes));
    build(dialect, &select)
}

fn conditions(
    dialect: Dialect,
    filters: &[Filter],
    restrictions: &[Restriction],
    preselect: &Preselect,
) -> Condition {
    let mut all = Condition::all();
    for restriction in restrictions {
        let expr = match restriction {
            Restriction::Is(column, value) => col(column).eq(parameter(value)),
            Restriction::OneOf(column, values) => col(column).is_in(values.iter().map(parameter)),
            Restriction::NoneOf(column, values) => {
                col(column).is_not_in(values.iter().map(parameter))
            }
            Restriction::Below(column, value) => col(column).lt(parameter(value)),
            Restriction::Above(column, value) => col(column).gt(parameter(value)),
            Restriction::Among { column, of, having } => {
                let mut found = Query::select();
                found.column(Alias::new(of.owner));
                found.from(Alias::new(of.table));
                for (column, value) in having {
                    found.and_where(col(column).eq(parameter(value)));
                }
                col(column).in_subquery(found)
            }
            Restriction::Behind([(first, above), (second, after)]) => {
                let later = col(first).gt(parameter(above));
                let behind = later.or(col(second).gt(parameter(after)));
                col(first).gte(parameter(above)).and(behind)
            }
            Restriction::Filter(filter) => {
                all = all.add(filter_expr(dialect, filter, preselect));
                continue;
            }
        };
        all = all.add(expr);
    }
    for filter in filters {
        all = all.add(filter_expr(dialect, filter, preselect));
    }
    all
}

fn filter_expr(dialect: Dialect, filter: &Filter, preselect: &Preselect) -> Condition {
    let field = filter.field;
    let hit = Condition::all().add(hit(dialect, filter));
    if let Some(text) = contained(&filter.condition) {
        return hit.add_option(preselect.condition(dialect, field, text));
    }
    match &filter.condition {
        Wanted::OneOf {
            membership: Membership::In,
            case,
            values,
        } => hit
            .add_option(by_folded(field, *case, values))
            .add_option(unusual(dialect, field, values)),
        _ => hit,
    }
}

/// What values say of the folded column, which is what the index begins with.
fn by_folded(field: &Field, case: Case, values: &[String]) -> Option<Expr> {
    let folded = field
        .folded_column
        .filter(|folded| case == Case::Exact && *folded != field.column)?;
    Some(col(folded).is_in(values.iter().map(|value| Expr::val(fold_text(value)))))
}

/// What the values say of the word that nearly every row has: the text of the index's condition,
/// which PostgreSQL finds out by itself.
fn unusual(dialect: Dialect, field: &Field, values: &[String]) -> Option<Expr> {
    if dialect == Dialect::Postgres {
        return None;
    }
    let usual = field
        .usual
        .filter(|usual| !values.iter().any(|value| value == usual))?;
    Some(Expr::cust(format!("{} <> '{usual}'", field.column)))
}

/// The row fulfils the condition.
fn hit(dialect: Dialect, filter: &Filter) -> Expr {
    let field = filter.field;
    if let Some(elements) = field.elements.filter(|_| field.kind == FieldKind::String) {
        return some_element(dialect, filter, elements);
    }
    match &filter.condition {
        Wanted::Anything => Expr::cust("1 = 1"),
        Wanted::OneOf {
            membership,
            case,
            values,
        } => {
            let values = values.iter().map(|value| Expr::val(value.clone()));
            match membership {
                Membership::In => text(field, *case).is_in(values),
                Membership::NotIn => text(field, *case).is_not_in(values),
            }
        }
        Wanted::Contains {
            membership,
            case,
            value,
        } => {
            let position = Func::cust(Alias::new(match dialect {
                Dialect::Sqlite => "instr",
                Dialect::Postgres => "strpos",
            }))
            .arg(text(field, *case))
            .arg(Expr::val(value.clone()));
            match membership {
                Membership::In => Expr::from(position).gt(0_i64),
                Membership::NotIn => Expr::from(position).eq(0_i64),
            }
        }
        Wanted::Element {
            membership,
            case,
            value,
        } => {
            let has = match field.elements {
                Some(elements) => owner_of(field.column, elements, *case, value),
                None => element(dialect, field.column, *case, value),
            };
            match membership {
                Membership::In => has,
                Membership::NotIn => has.not(),
            }
        }
        Wanted::Null(Membership::In) => col(field.column).is_null(),
        Wanted::Null(Membership::NotIn) => col(field.column).is_not_null(),
        Wanted::Instant(comparison, at) => compare(field.column, *comparison, &Value::from(*at)),
        Wanted::Number(comparison, number) => {
            compare(field.column, *comparison, &Value::I64(*number))
        }
        Wanted::Flag(membership, flags) => flag(field.column, *membership, flags),
        Wanted::JsonPath(path) => json_path(dialect, field.column, path.text()),
    }
}

/// One truth value is written as the conditions of indexes are, so that those are used.
fn flag(column: &'static str, membership: Membership, flags: &[bool]) -> Expr {
    let wanted = membership == Membership::In;
    match flags {
        [flag] if *flag == wanted => col(column),
        [_] => col(column).not(),
        flags => {
            let flags = flags.iter().map(|flag| Expr::val(*flag));
            if wanted {
                col(column).is_in(flags)
            } else {
                col(column).is_not_in(flags)
            }
        }
    }
}

/// The column's text as the condition compares it.
fn text(field: &Field, case: Case) -> Expr {
    match (case, field.folded_column) {
        (Case::Exact, _) => col(field.column),
        (Case::Folded, Some(folded)) => col(folded),
        (Case::Folded, None) => fold(col(field.column)),
    }
}

/// The text has several values, each in a row of its own; one of them fulfils the condition.
fn some_element(dialect: Dialect, filter: &Filter, elements: ElementTable) -> Expr {
    static VALUE: Field = Field::string("value", "value").folded("value_folded");
    // None of them is, where the condition says what must not be.
    let (condition, membership) = match &filter.condition {
        Wanted::OneOf {
            membership,
            case,
            values,
        } => {
            let condition = Wanted::OneOf {
                membership: Membership::In,
                case: *case,
                values: values.clone(),
            };
            (condition, *membership)
        }
        Wanted::Contains {
            membership,
            case,
            value,
        } => {
            let condition = Wanted::Contains {
                membership: Membership::In,
                case: *case,
                value: value.clone(),
            };
            (condition, *membership)
        }
        other => (other.clone(), Membership::In),
    };
    let of_one = Filter {
        field: &VALUE,
        operand: filter.operand,
        value: filter.value.clone(),
        condition,
    };
    let mut owners = Query::select();
    owners.column(Alias::new(elements.owner));
    owners.from(Alias::new(elements.table));
    owners.and_where(hit(dialect, &of_one));
    let found = col(filter.field.column).in_subquery(owners);
    match membership {
        Membership::In => found,
        Membership::NotIn => found.not(),
    }
}

/// The row is among those that the elements with this value belong to.
fn owner_of(column: &'static str, elements: ElementTable, case: Case, value: &str) -> Expr {
    let compared = match case {
        Case::Exact => "value",
        Case::Folded => "value_folded",
    };
    let mut owners = Query::select();
    owners.column(Alias::new(elements.owner));
    owners.from(Alias::new(elements.table));
    owners.and_where(col(compared).eq(Expr::val(value.to_owned())));
    col(column).in_subquery(owners)
}

/// Some element of a JSON array equals the value.
fn element(dialect: Dialect, column: &'static str, case: Case, value: &str) -> Expr {
    let elements = match (dialect, case) {
        (Dialect::Sqlite, Case::Exact) => {
            "EXISTS (SELECT 1 FROM json_each(?) AS e WHERE e.value = ?)"
        }
        (Dialect::Sqlite, Case::Folded) => {
            "EXISTS (SELECT 1 FROM json_each(?) AS e WHERE lamassu_fold(e.value) = ?)"
        }
        (Dialect::Postgres, Case::Exact) => {
            "EXISTS (SELECT 1 FROM jsonb_array_elements_text($1) AS e(value) WHERE e.value = $2)"
        }
        (Dialect::Postgres, Case::Folded) => {
            "EXISTS (SELECT 1 FROM jsonb_array_elements_text($1) AS e(value) \
             WHERE lamassu_fold(e.value) = $2)"
        }
    };
    Expr::cust_with_exprs(elements, [col(column), Expr::val(value.to_owned())])
}

/// The predicate yields `true`.
fn json_path(dialect: Dialect, column: &'static str, path: &str) -> Expr {
    let matches = match dialect {
        Dialect::Sqlite => "lamassu_json_match(?, ?)",
        Dialect::Postgres => "$1 @@ CAST($2 AS jsonpath)",
    };
    Expr::cust_with_exprs(matches, [col(column), Expr::val(path.to_owned())])
}

fn compare(column: &'static str, comparison: Comparison, value: &Value) -> Expr {
    let operator = match comparison {
        Comparison::Equal => BinOper::Equal,
        Comparison::NotEqual => BinOper::NotEqual,
        Comparison::Less => BinOper::SmallerThan,
        Comparison::LessOrEqual => BinOper::SmallerThanOrEqual,
        Comparison::Greater => BinOper::GreaterThan,
        Comparison::GreaterOrEqual => BinOper::GreaterThanOrEqual,
    };
    col(column).binary(operator, parameter(value))
}

/// All rows behind a position, as ranges one behind the other: those that are equal in the first
/// part, then the others. Each is one range of an index, however many rows are equal.
fn behind(keys: &[Key], position: &[Value]) -> Vec<Condition> {
    let (Some((key, keys_left)), Some((value, left))) =
        (keys.split_first(), position.split_first())
    else {
        return Vec::new();
    };
    if keys_left.is_empty() {
        return vec![behind_parts(keys, position)];
    }
    let ties = Condition::all()
        .add(equal(key, value))
        .add(behind_parts(keys_left, left));
    iter::once(ties).chain(ranges_behind(key, value)).collect()
}

/// The part is behind the value, as ranges one behind the other: nulls are one of their own.
fn ranges_behind(key: &Key, value: &Value) -> Vec<Condition> {
    let part = || term(&key.term);
    match (key.mode, key.nulls, value) {
        (SortMode::Ascending, Nulls::Possible, Value::Null) => Vec::new(),
        (SortMode::Ascending, Nulls::Possible, value) => vec![
            Condition::all().add(part().gt(parameter(value))),
            Condition::all().add(part().is_null()),
        ],
        (SortMode::Ascending | SortMode::Descending, _, value) => {
            later(key, value).into_iter().collect()
        }
    }
}

fn equal(key: &Key, value: &Value) -> Expr {
    match value {
        Value::Null => term(&key.term).is_null(),
        other => term(&key.term).eq(parameter(other)),
    }
}

fn behind_parts(keys: &[Key], position: &[Value]) -> Condition {
    let mut any = Condition::any();
    let mut before: Vec<Expr> = Vec::new();
    for (key, value) in keys.iter().zip(position) {
        if let Some(later) = later(key, value) {
            let mut all = Condition::all();
            for expr in &before {
                all = all.add(expr.clone());
            }
            any = any.add(all.add(later));
        }
        before.push(equal(key, value));
    }
    any
}

/// The part is behind the value; `None` when nothing is.
fn later(key: &Key, value: &Value) -> Option<Condition> {
    let part = || term(&key.term);
    match (key.mode, value) {
        // Nulls come last.
        (SortMode::Ascending, Value::Null) => None,
        (SortMode::Ascending, value) => Some(match key.nulls {
            Nulls::Never => Condition::all().add(part().gt(parameter(value))),
            Nulls::Possible => Condition::any()
                .add(part().gt(parameter(value)))
                .add(part().is_null()),
        }),
        // Nulls come first.
        (SortMode::Descending, Value::Null) => Some(Condition::all().add(part().is_not_null())),
        (SortMode::Descending, value) => Some(Condition::all().add(part().lt(parameter(value)))),
    }
}

fn term(term: &Term) -> Expr {
    match term {
        Term::Column(column) => col(column),
        Term::Folded(column) => fold(col(column)),
        Term::JsonKey(column, path) => {
            let key = Func::cust(Alias::new("lamassu_json_sort_key"))
                .arg(col(column))
                .arg(Expr::val(path.clone()));
            // As many octets as a bookmark has room for; what begins with the same ones comes by its
            // primary key.
            Func::cust(Alias::new("substr"))
                .arg(key)
                .arg(Expr::cust("1"))
                .arg(Expr::cust("4096"))
                .into()
        }
    }
}

fn fold(expr: Expr) -> Expr {
    Func::cust(Alias::new("lamassu_fold")).arg(expr).into()
}

fn col(column: &'static str) -> Expr {
    Expr::col(Alias::new(column))
}

const fn direction(mode: SortMode) -> Direction {
    match mode {
        SortMode::Ascending => Direction::Asc,
        SortMode::Descending => Direction::Desc,
    }
}

const fn nulls_at(mode: SortMode) -> NullOrdering {
    match mode {
        SortMode::Ascending => NullOrdering::Last,
        SortMode::Descending => NullOrdering::First,
    }
}

fn parameter(value: &Value) -> Expr {
    match value {
        Value::Null => Expr::null(),
        Value::Bool(value) => Expr::val(*value),
        Value::I64(value) => Expr::val(*value),
        Value::Text(text) | Value::Json(text) => Expr::val(text.clone()),
        Value::Bytes(bytes) => Expr::val(bytes.to_vec()),
    }
}

fn build(dialect: Dialect, select: &SelectStatement) -> Result<Statement, ListError> {
    let (text, values) = match dialect {
        Dialect::Sqlite => select.build(SqliteQueryBuilder),
        Dialect::Postgres => select.build(PostgresQueryBuilder),
    };
    let params = values
        .into_iter()
        .map(from_builder)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| DbError::corrupt("list query", "a parameter has no type of ours"))?;
    Ok(sql(text, params))
}

/// The builder's values; it is only given those that [`parameter`] and limits make.
fn from_builder(value: sea_query::Value) -> Option<Value> {
    match value {
        sea_query::Value::Bool(value) => Some(value.into()),
        // The builder's own way to say that nothing is in an empty list.
        sea_query::Value::Int(value) => Some(value.into()),
        sea_query::Value::BigInt(value) => Some(value.into()),
        sea_query::Value::BigUnsigned(value) => {
            Some(value.and_then(|value| i64::try_from(value).ok()).into())
        }
        sea_query::Value::String(value) => Some(value.into()),
        sea_query::Value::Bytes(value) => Some(value.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::query::QueryLimits;
    use rusqlite::Connection;

    use super::*;

    static FIELDS: &[Field] = &[Field::string("name", "name").folded("name_folded")];

    const TABLE: ListTable = ListTable {
        table: "thing",
        columns: &["id"],
        key: "id",
        created: "created_at",
        fields: FIELDS,
    };

    fn page_plan(query: &str, after: &[Value]) -> String {
        let request = ListRequest::parse(query, FIELDS, QueryLimits::default()).expect("request");
        let order = Order::new(&TABLE, &request);
        let page = Page {
            table: &TABLE,
            request: &request,
            restrictions: &[],
            order: &order,
            preselect: &Preselect::No,
        };
        let statements = page.statements(Dialect::Sqlite, Some(after));
        let plans = statements.expect("statements");
        plans.iter().map(plan).collect::<Vec<_>>().join("; ")
    }

    fn plan(statement: &Statement) -> String {
        let database = Connection::open_in_memory().expect("database");
        database
            .execute_batch(
                "CREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT, name_folded TEXT, \
                 owner TEXT, created_at BIGINT); \
                 CREATE INDEX by_owner ON thing (owner); \
                 CREATE INDEX by_creation ON thing (created_at, id); \
                 CREATE INDEX by_name ON thing (name_folded, name, id);",
            )
            .expect("tables");
        let text = format!("EXPLAIN QUERY PLAN {}", statement.text());
        let mut explain = database.prepare(&text).expect("explain");
        let mut rows = explain.raw_query();
        let mut plan = Vec::new();
        while let Some(row) = rows.next().expect("row") {
            plan.push(row.get::<_, String>(3).expect("text"));
        }
        plan.join("; ")
    }

    #[test]
    fn later_pages_start_in_the_middle_of_an_index() {
        assert_eq!(
            page_plan("", &[Value::I64(1), "a".into()]),
            "SEARCH thing USING COVERING INDEX by_creation (created_at=? AND id>?); \
             SEARCH thing USING COVERING INDEX by_creation (created_at>?)"
        );
        assert_eq!(
            page_plan("sort_by=name", &["a".into(), "A".into(), "a".into()]),
            "SEARCH thing USING COVERING INDEX by_name (name_folded=?); \
             SEARCH thing USING COVERING INDEX by_name (name_folded>?)"
        );
    }

    #[test]
    fn a_restricted_count_reads_an_index_only() {
        let restrictions = [Restriction::Is("owner", "a".into())];
        let statement = count(Dialect::Sqlite, &TABLE, None, &[], &restrictions);
        assert_eq!(
            plan(&statement.expect("statement")),
            "SEARCH thing USING COVERING INDEX by_owner (owner=?)"
        );
    }
}
