//! A whole list request.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::error::{QueryError, QueryLimit};
use super::field::{Field, find_field};
use super::filter::{Filter, split};
use super::form::{append, decode_form};
use super::sort::{Sort, SortMode};

/// Page size when the client names none or no number.
pub(super) const DEFAULT_PAGE_SIZE: u32 = 25;

/// Page size when the client names one below 1.
const FALLBACK_PAGE_SIZE: u32 = 15;

/// How much of an unknown field's name is shown.
const MAX_SHOWN_CHARS: usize = 64;

/// Bounds of lists and statistics: the configuration block `query`, the same for every service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryLimits {
    /// Largest page; larger wishes are cut to it silently. At least 1. Default 10000.
    pub max_page_size: NonZeroU32,
    /// Whether filters and sorts that the resource does not have, and words that a field does not
    /// have, are refused (`strict_query: true`). Default `false`: the former are ignored, the latter
    /// find nothing.
    #[serde(rename = "strict_query")]
    pub unknown_fields: UnknownFields,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            max_page_size: NonZeroU32::MIN.saturating_add(9_999),
            unknown_fields: UnknownFields::Ignore,
        }
    }
}

/// What happens to filters and sorts on unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum UnknownFields {
    /// They are ignored, as v1 clients expect.
    Ignore,
    /// They are refused.
    Refuse,
}

impl From<bool> for UnknownFields {
    fn from(strict: bool) -> Self {
        if strict { Self::Refuse } else { Self::Ignore }
    }
}

impl From<UnknownFields> for bool {
    fn from(unknown: UnknownFields) -> Self {
        unknown == UnknownFields::Refuse
    }
}

/// What a client wants to see of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Items per page, at least 1.
    pub page_size: u32,
    /// Where the page starts. Page size, filters and sort then come from the bookmark.
    pub bookmark: Option<String>,
    /// The order; `None` is the order of creation.
    pub sort: Option<Sort>,
    /// How ties of `sort` are ordered; v2 only.
    pub then: Vec<Sort>,
    /// What every item must fulfil.
    pub filters: Vec<Filter>,
}

impl Default for ListRequest {
    /// The first page of everything.
    fn default() -> Self {
        Self {
            page_size: DEFAULT_PAGE_SIZE,
            bookmark: None,
            sort: None,
            then: Vec::new(),
            filters: Vec::new(),
        }
    }
}

impl ListRequest {
    /// Reads the query string of a list (without the `?`), as [`from_pairs`](Self::from_pairs).
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn parse(
        query: &str,
        fields: &'static [Field],
        limits: QueryLimits,
    ) -> Result<Self, QueryError> {
        Self::from_pairs(&decode_form(query)?, fields, limits)
    }

    /// Reads the decoded query of a list. Unknown parameters are ignored, of repeated ones the
    /// last counts, filters accumulate.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn from_pairs(
        pairs: &[(String, String)],
        fields: &'static [Field],
        limits: QueryLimits,
    ) -> Result<Self, QueryError> {
        let mut request = Self {
            filters: filters(pairs, fields, limits.unknown_fields)?,
            ..Self::default()
        };
        let mut mode = SortMode::Ascending;
        let mut sort_by = "";
        for (name, value) in pairs {
            match name.as_str() {
                "page_size" => request.page_size = page_size(value),
                "bookmark" => request.bookmark = Some(value.clone()),
                "sort_by" => sort_by = value,
                "sort_mode" => mode = SortMode::from_text(value),
                _ => {}
            }
        }
        request.page_size = request.page_size.min(limits.max_page_size.get());
        request.bookmark = request.bookmark.filter(|bookmark| !bookmark.is_empty());
        request.sort = Sort::parse(fields, sort_by, mode);
        let refused = request.sort.is_none() && !sort_by.trim().is_empty();
        if refused && limits.unknown_fields == UnknownFields::Refuse {
            return Err(QueryError::InvalidSort(sort_by.to_owned()));
        }
        Ok(request)
    }

    /// The request as a query string (without the `?`), `""` for the first page of everything.
    pub fn to_query(&self) -> String {
        let mut query = String::new();
        if let Some(bookmark) = &self.bookmark {
            append(&mut query, "bookmark", bookmark);
            return query;
        }
        if self.page_size != DEFAULT_PAGE_SIZE {
            append(&mut query, "page_size", &self.page_size.to_string());
        }
        for sort in self.sort.iter().chain(&self.then) {
            append(&mut query, "sort_by", &sort.to_text());
            append(&mut query, "sort_mode", sort.mode.as_str());
        }
        for filter in &self.filters {
            append(&mut query, "filter", &filter.to_text());
        }
        query
    }
}

/// The filters among decoded pairs. Those that the resource does not have are an error only where
/// [`UnknownFields::Refuse`] says so, but they count towards [`QueryLimit`].
fn filters(
    pairs: &[(String, String)],
    fields: &'static [Field],
    unknown: UnknownFields,
) -> Result<Vec<Filter>, QueryError> {
    let texts = || pairs.iter().filter(|(name, _)| name == "filter");
    QueryLimit::Filters.check(texts().count())?;
    QueryLimit::FilterBytes.check(texts().map(|(_, text)| text.len()).sum())?;
    let mut filters = Vec::new();
    for (_, text) in texts() {
        let known = match split(text) {
            None => Err(QueryError::MalformedFilter(text.clone())),
            Some(parts) => match find_field(fields, parts.field) {
                None => Err(QueryError::UnknownField(parts.field.to_owned())),
                Some(field) => Ok((field, parts)),
            },
        };
        match known {
            Ok((field, parts)) => {
                let filter = Filter::parse(field, parts.operand, parts.value)?;
                filters.push(match unknown {
                    UnknownFields::Ignore => filter,
                    UnknownFields::Refuse => filter.only_known_words()?,
                });
            }
            Err(_) if unknown == UnknownFields::Ignore => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filters)
}

/// What a list that ignores unknown fields passes over: the names before the brackets, or the
/// first characters where there are none, each once, in the order sent.
pub fn ignored_filters<'p>(
    pairs: &'p [(String, String)],
    fields: &'static [Field],
) -> Vec<&'p str> {
    let mut ignored = Vec::new();
    for (_, text) in pairs.iter().filter(|(name, _)| name == "filter") {
        let name = text.split('[').next().unwrap_or_default();
        let is_known = split(text).is_some_and(|parts| find_field(fields, parts.field).is_some());
        let end = name
            .char_indices()
            .nth(MAX_SHOWN_CHARS)
            .map_or(name.len(), |(end, _)| end);
        let shown = name.get(..end).unwrap_or_default();
        if !is_known && !ignored.contains(&shown) {
            ignored.push(shown);
        }
    }
    ignored
}

/// No integer gives the default, one below 1 the fallback.
fn page_size(text: &str) -> u32 {
    match text.parse::<i64>() {
        Ok(size) if size <= 0 => FALLBACK_PAGE_SIZE,
        Ok(size) => u32::try_from(size).unwrap_or(u32::MAX),
        Err(_) => DEFAULT_PAGE_SIZE,
    }
}
