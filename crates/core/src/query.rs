//! How lists are asked for: the query parameters of every list and statistics endpoint, parsed
//! and validated against the resource's field table.
//!
//! Nothing that a client sends becomes part of a statement: a filter or a sort names a [`Field`]
//! of a static table, whose columns are ours, and everything else is a typed value. The database
//! crate compiles a [`ListRequest`] to SQL; the HTTP client turns it back into a query string
//! ([`ListRequest::to_query`]).
//!
//! Where next: [`Field`] for a resource's table, [`ListRequest::parse`], [`Filter`].

mod error;
mod field;
mod filter;
mod fold;
mod form;
mod holds;
mod instant;
mod json_path;
mod operand;
mod request;
mod sort;
mod sort_key;
mod v2;

pub use error::{QueryError, QueryLimit};
pub use field::{ElementTable, Field, FieldKind, Hex, Nulls, find_field};
pub use filter::{Case, Comparison, Condition, Filter, Membership};
pub use fold::fold;
pub use form::decode_form;
pub use holds::FieldValue;
pub use instant::parse_instant;
pub use json_path::{JsonPath, JsonPathError, json_scalar_text};
pub use operand::Operand;
pub use request::{ListRequest, QueryLimits, UnknownFields, ignored_filters};
pub use sort::{PathStep, Sort, SortMode, SortPath};
pub use sort_key::json_sort_key;
pub use v2::{MAX_PAGE_SIZE as MAX_PAGE_SIZE_IN_V2, take_flag};

#[cfg(test)]
mod tests;
