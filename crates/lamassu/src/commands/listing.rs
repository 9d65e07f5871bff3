//! Lists: the conditions of the command line, and page after page until there are enough.

use anyhow::{Error, Result};
use clap::Args;
use lamassu_core::page::Page;
use lamassu_core::query::{
    Field, ListRequest, Operand, QueryError, QueryLimits, UnknownFields, find_field,
};
use serde::Serialize;

use super::Session;
use super::output::{ListPrinter, Shape, note};
use crate::nearest::nearest;

/// Rows of a request: what is asked for at once, never how many there are.
const PAGE: u32 = 500;

/// Which rows of a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what fulfils this, for example 'name[contains]line' or 'valid_to[before]2027-01-01';
    /// repeatable, all must hold.
    #[arg(long, value_name = "FIELD[OPERAND]VALUE")]
    filter: Vec<String>,
    /// Sort by this field; in the order of creation when not said.
    #[arg(long, value_name = "FIELD")]
    sort: Option<String>,
    /// The last first.
    #[arg(long, requires = "sort")]
    descending: bool,
    /// So many rows at most.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    limit: u32,
    /// All rows, printed as they arrive.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Conditions that flags of a command stand for.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<String>);

impl Conditions {
    /// Adds one where its flag was given.
    #[must_use]
    pub(super) fn with(mut self, condition: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            // One separator in front of the value is none of it.
            self.0.push(format!("{condition}={value}"));
        }
        self
    }
}

impl Conditions {
    /// Them and further ones, for what takes conditions and is no list.
    ///
    /// # Errors
    /// One of them is none of this list.
    pub(super) fn filters(
        self,
        further: &[String],
        fields: &'static [Field],
    ) -> Result<Vec<lamassu_core::query::Filter>> {
        let Self(mut texts) = self;
        texts.extend_from_slice(further);
        filters(&texts, fields)
    }
}

impl ListArgs {
    /// The same, by this field with the last first, unless something else was said.
    pub(super) fn newest_first(&self, field: &str) -> Self {
        let mut list = self.clone();
        if list.sort.is_none() {
            (list.sort, list.descending) = (Some(field.to_owned()), true);
        }
        list
    }

    /// The first request.
    ///
    /// # Errors
    /// A filter or the sort is none of this list.
    pub(super) fn request(
        &self,
        fields: &'static [Field],
        Conditions(conditions): Conditions,
    ) -> Result<ListRequest> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let size = if self.all { PAGE } else { self.limit.min(PAGE) };
        let mut pairs = vec![pair("page_size", &size.to_string())];
        for filter in self.filter.iter().chain(&conditions) {
            pairs.push(pair("filter", filter));
        }
        if let Some(field) = &self.sort {
            let mode = if self.descending { "desc" } else { "asc" };
            pairs.extend([pair("sort_by", field), pair("sort_mode", mode)]);
        }
        read(&pairs, fields)
    }

    /// Whether all rows are asked for.
    pub(super) const fn is_all(&self) -> bool {
        self.all
    }

    fn limit(&self) -> Option<usize> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        (!self.all).then_some(limit)
    }
}

/// Filters as the list syntax has them, for what takes filters and is no list.
///
/// # Errors
/// As [`ListArgs::request`].
pub(super) fn filters(
    texts: &[String],
    fields: &'static [Field],
) -> Result<Vec<lamassu_core::query::Filter>> {
    let pairs: Vec<_> = texts
        .iter()
        .map(|text| ("filter".to_owned(), text.clone()))
        .collect();
    Ok(read(&pairs, fields)?.filters)
}

/// Other than a server's, this reading refuses what the list does not have: a mistyped filter would
/// show everything.
fn read(pairs: &[(String, String)], fields: &'static [Field]) -> Result<ListRequest> {
    let limits = QueryLimits {
        unknown_fields: UnknownFields::Refuse,
        ..QueryLimits::default()
    };
    ListRequest::from_pairs(pairs, fields, limits).map_err(|error| explained(error, fields))
}

fn explained(error: QueryError, fields: &'static [Field]) -> Error {
    let names = || fields.iter().map(|field| field.name);
    match &error {
        QueryError::UnknownField(given) | QueryError::InvalidSort(given) => {
            let known = names().collect::<Vec<_>>().join(", ");
            let meant = nearest(given, names());
            let meant = meant.map(|name| format!(" (did you mean {name}?)"));
            let meant = meant.unwrap_or_default();
            Error::msg(format!(
                "this list has no field {given:?}{meant}; there are {known}"
            ))
        }
        QueryError::MalformedFilter(given) => Error::msg(format!(
            "{given:?} is no filter: they are written FIELD[OPERAND]VALUE, for example \
             'status[equal]ACTIVE'"
        )),
        QueryError::InvalidOperand { operand, field, .. } => {
            let kind = find_field(fields, field).map(|field| field.kind);
            let known = kind.into_iter().flat_map(Operand::names);
            Error::msg(format!(
                "invalid filter operand '{operand}' for field '{field}': there are {}",
                known.collect::<Vec<_>>().join(", ")
            ))
        }
        QueryError::InvalidValue { .. }
        | QueryError::InvalidJsonPath(_)
        | QueryError::InvalidBookmark
        | QueryError::UnknownParameter(_)
        | QueryError::InvalidParameter { .. }
        | QueryError::LimitExceeded(_) => error.into(),
    }
}

/// Fetches and prints page after page; one at a time is in memory.
///
/// # Errors
/// A page is not given, or cannot be printed.
pub(super) async fn print<T: Serialize>(
    session: &Session,
    arguments: &ListArgs,
    mut request: ListRequest,
    shape: &Shape<T>,
    fetch: impl AsyncFn(&ListRequest) -> Result<Page<T>>,
) -> Result<()> {
    let mut printer = ListPrinter::new(session, shape);
    let mut left = arguments.limit();
    let more = loop {
        let mut page = fetch(&request).await?;
        let cut = left.is_some_and(|left| page.list.len() > left);
        if let Some(left) = &mut left {
            page.list.truncate(*left);
            *left -= page.list.len();
        }
        printer.page(&page.list)?;
        let more = cut || !page.next.is_empty();
        if !more || left == Some(0) {
            break more;
        }
        request.bookmark = Some(page.next);
    };
    printer.end()?;
    if more {
        note("there are more: --limit N shows N of them, --all all");
    }
    Ok(())
}

/// The first rows of a list, for a look-up by name.
///
/// # Errors
/// They are not given.
pub(super) async fn first<T>(
    conditions: Conditions,
    fields: &'static [Field],
    fetch: impl AsyncFn(&ListRequest) -> Result<Page<T>>,
) -> Result<Vec<T>> {
    let Conditions(texts) = conditions;
    let request = ListRequest {
        page_size: PAGE,
        filters: filters(&texts, fields)?,
        ..ListRequest::default()
    };
    let page = fetch(&request).await?;
    Ok(page.list)
}
