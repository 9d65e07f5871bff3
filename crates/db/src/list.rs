//! List and statistics queries: a [`ListRequest`] and the route's own conditions, compiled to one
//! statement per page.
//!
//! Pages are found by key, not by offset: the bookmark names the last row that was shown, so a
//! page costs the same at any depth and no row is skipped or shown twice when others are inserted
//! or deleted meanwhile. A bookmark carries page size, filters and sort, authenticated with a key
//! that the installation keeps; what the route restricts comes from the request every time.
//!
//! Identifiers in statements come from [`ListTable`] and field tables only, which are constants of
//! the program; everything that a client sent is a parameter.

mod bookmark;
mod compile;
mod order;
mod search;

use lamassu_core::error::StorageFailure;
use lamassu_core::page::Page;
use lamassu_core::query::{ElementTable, Field, Filter, ListRequest, QueryError};

pub(crate) use self::bookmark::BookmarkKey;
pub use self::search::warn_without_search_index;
use crate::backend::Dialect;
use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::row::Row;
use crate::statement::{Statement, sql};
use crate::value::Value;

/// How a resource is listed.
///
/// A page costs the same at any depth where an index has the order's parts: `created`, an instant
/// that few rows share, and for a text field `(folded column, column, key)`. Behind columns that are
/// compared with one value come the parts of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListTable {
    /// Table or view.
    pub table: &'static str,
    /// The columns that a row gives.
    pub columns: &'static [&'static str],
    /// The primary key, one column, never `NULL`; ties of any order are broken by it.
    pub key: &'static str,
    /// The instant of creation, never `NULL`: the order when the request names none.
    pub created: &'static str,
    /// What clients can filter and sort by.
    pub fields: &'static [Field],
}

/// A condition of the route or of the caller's grants; never part of a bookmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The column has this value.
    Is(&'static str, Value),
    /// The column has one of these values; none means no row.
    OneOf(&'static str, Vec<Value>),
    /// The column has none of these values.
    NoneOf(&'static str, Vec<Value>),
    /// The column's value is smaller.
    Below(&'static str, Value),
    /// The column's value is larger.
    Above(&'static str, Value),
    /// The row is behind this one in the ascending order of two columns: where work goes on.
    Behind([(&'static str, Value); 2]),
    /// The column is among what another table has, where its columns have these values.
    Among {
        /// The column.
        column: &'static str,
        /// The other table, and which of its columns.
        of: ElementTable,
        /// What its rows have.
        having: Vec<(&'static str, Value)>,
    },
    /// A filter that is not the client's, for example a criterion of a device group.
    Filter(Filter),
}

/// Why a list was not given.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ListError {
    /// The request cannot be understood.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The key for bookmarks could not be made.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl ListError {
    /// The error of the service whose list it is: the client's mistake, or ours.
    pub fn into_error<E: From<QueryError> + From<StorageFailure>>(self) -> E {
        match self {
            Self::Query(error) => error.into(),
            Self::Db(error) => StorageFailure::from(error).into(),
            Self::Commit(error) => StorageFailure::from(error).into(),
        }
    }
}

/// One page of a table.
///
/// `scope` names the list for its bookmarks (`devices`, `device-groups/<id>`): a bookmark of
/// another scope is refused. One query, or two behind a bookmark; one more row than the page is read
/// to know whether there is a next one.
///
/// # Errors
///
/// [`ListError`].
pub async fn list(
    db: &Db,
    table: &ListTable,
    scope: &str,
    request: &ListRequest,
    restrictions: &[Restriction],
) -> Result<Page<Row>, ListError> {
    let asked = Asked::new(db, table, scope, request, restrictions).await?;
    let page_size = usize::try_from(asked.request.page_size).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    for statement in asked.statements {
        if rows.len() <= page_size {
            rows.extend(db.rows(statement).await?);
        }
    }
    let mut next = String::new();
    if rows.len() > page_size {
        rows.truncate(page_size);
        if let Some(last) = rows.last() {
            let key = bookmark::key(db).await?;
            next = key.seal(scope, &asked.request, &asked.order.position(last)?)?;
        }
    }
    Ok(Page { next, list: rows })
}

/// What a page is asked for: the request, or that of its bookmark.
///
/// # Errors
///
/// [`ListError`].
pub async fn asked(
    db: &Db,
    fields: &'static [Field],
    scope: &str,
    request: &ListRequest,
) -> Result<ListRequest, ListError> {
    match &request.bookmark {
        Some(text) => {
            let key = bookmark::key(db).await?;
            Ok(key.open(text, scope, fields)?.0)
        }
        None => Ok(request.clone()),
    }
}

/// A page as it is asked for.
struct Asked {
    /// The request, or that of its bookmark.
    request: ListRequest,
    order: order::Order,
    statements: Vec<Statement>,
}

impl Asked {
    async fn new(
        db: &Db,
        table: &ListTable,
        scope: &str,
        request: &ListRequest,
        restrictions: &[Restriction],
    ) -> Result<Self, ListError> {
        let (request, after) = match &request.bookmark {
            Some(text) => {
                let key = bookmark::key(db).await?;
                let (request, after) = key.open(text, scope, table.fields)?;
                (request, Some(after))
            }
            None => (request.clone(), None),
        };
        let order = order::Order::new(table, &request);
        let page = compile::Page {
            table,
            request: &request,
            restrictions,
            order: &order,
            preselect: &search::Preselect::for_page(db, table.table, &request.filters).await?,
        };
        let statements = page.statements(db.dialect(), after.as_deref())?;
        Ok(Self {
            request,
            order,
            statements,
        })
    }
}

/// How the database would look for a page, in its own words: for tests that want an index to be
/// used.
///
/// # Errors
///
/// [`ListError`].
pub async fn explain(
    db: &Db,
    table: &ListTable,
    scope: &str,
    request: &ListRequest,
    restrictions: &[Restriction],
) -> Result<String, ListError> {
    let asked = Asked::new(db, table, scope, request, restrictions).await?;
    let mut plans = Vec::new();
    for statement in &asked.statements {
        plans.push(explain_statement(db, statement).await?);
    }
    Ok(plans.join("\n"))
}

/// The same for a statement.
///
/// # Errors
///
/// [`DbError`].
pub async fn explain_statement(db: &Db, statement: &Statement) -> Result<String, DbError> {
    let (explain, column) = match db.dialect() {
        Dialect::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        Dialect::Postgres => ("EXPLAIN", "QUERY PLAN"),
    };
    let text = format!("{explain} {}", statement.text());
    let rows = db.rows(sql(text, statement.params().to_vec())).await?;
    let lines: Result<Vec<String>, DbError> = rows.iter().map(|row| row.get(column)).collect();
    Ok(lines?.join("\n"))
}

/// How many rows fulfil the filters and restrictions.
///
/// # Errors
///
/// [`ListError`].
pub async fn count(
    db: &Db,
    table: &ListTable,
    filters: &[Filter],
    restrictions: &[Restriction],
) -> Result<i64, ListError> {
    let statement = compile::count(db.dialect(), table, None, filters, restrictions)?;
    let row = db.row_opt(statement).await?;
    Ok(row.map_or(Ok(0), |row| row.get("n"))?)
}

/// Columns of the rows that fulfil the filters and restrictions, as a statement to build on: it numbers its
/// parameters from the first.
///
/// # Errors
///
/// [`ListError`].
pub fn selection(
    db: &Db,
    table: &ListTable,
    columns: &[&'static str],
    filters: &[Filter],
    restrictions: &[Restriction],
) -> Result<Statement, ListError> {
    compile::selection(db.dialect(), table, columns, filters, restrictions)
}

/// How many rows fulfil the filters and restrictions, per value of a column; values without rows
/// are absent. One query, so all counts are of the same moment.
///
/// # Errors
///
/// [`ListError`].
pub async fn count_by(
    db: &Db,
    table: &ListTable,
    column: &'static str,
    filters: &[Filter],
    restrictions: &[Restriction],
) -> Result<Vec<(Value, i64)>, ListError> {
    let statement = compile::count(db.dialect(), table, Some(column), filters, restrictions)?;
    let rows = db.rows(statement).await?;
    rows.iter()
        .map(|row| Ok((row.get("value")?, row.get("n")?)))
        .collect()
}
