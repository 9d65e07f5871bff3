//! Query strings, decoded as leniently as v1 clients rely on.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use http::request::Parts;
use lamassu_core::query::{
    Field, ListRequest, QueryError, QueryLimits, decode_form, ignored_filters,
};
use schemars::JsonSchema;
use tracing::warn;

use crate::failure::{Failure, HttpError};
use crate::operation::{QueryPart, inline_schema_of};

/// The query string as decoded pairs, in the order sent. None of them holds U+0000: no text of a
/// database does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryPairs(pub Vec<(String, String)>);

impl QueryPairs {
    /// What a list or statistics of a resource with these fields is asked for. Where filters on
    /// unknown fields are ignored, a warning names them: whoever misspells a filter sees more than
    /// asked for.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn list_request(
        &self,
        fields: &'static [Field],
        limits: QueryLimits,
    ) -> Result<ListRequest, QueryError> {
        let request = ListRequest::from_pairs(&self.0, fields, limits)?;
        let ignored = ignored_filters(&self.0, fields);
        if !ignored.is_empty() {
            warn!(fields = ?ignored, "filters on unknown fields ignored");
        }
        Ok(request)
    }

    /// The first value of a parameter.
    pub fn first(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let pair = pairs.find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let pairs = decode_form(parts.uri.query().unwrap_or_default())?;
        let mut with_nul = pairs
            .iter()
            .filter(|(name, value)| name.contains('\0') || value.contains('\0'));
        match with_nul.next() {
            Some((name, _)) => Err(HttpError::NulInQuery(name.replace('\0', "%00")).into()),
            None => Ok(Self(pairs)),
        }
    }
}

/// The query string of an operation whose parameters `P` names; read as [`QueryPairs`].
pub struct Query<P> {
    pairs: QueryPairs,
    parts: PhantomData<fn() -> P>,
}

impl<P> Deref for Query<P> {
    type Target = QueryPairs;

    fn deref(&self) -> &QueryPairs {
        &self.pairs
    }
}

impl<P> fmt::Debug for Query<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pairs.fmt(f)
    }
}

impl<S: Sync, P: 'static> FromRequestParts<S> for Query<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Ok(Self {
            pairs: QueryPairs::from_request_parts(parts, state).await?,
            parts: PhantomData,
        })
    }
}

impl<P: ListParts> Query<P> {
    /// What the list or the statistics are asked for.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn request(&self, limits: QueryLimits) -> Result<ListRequest, QueryError> {
        self.pairs.list_request(P::Resource::FIELDS, limits)
    }
}

/// The parameters of a list of v2.
#[derive(Clone, Copy, Debug)]
pub struct ListedInV2<R>(PhantomData<fn() -> R>);

/// The filters of a list of v2, where only numbers are given.
#[derive(Clone, Copy, Debug)]
pub struct CountedInV2<R>(PhantomData<fn() -> R>);

impl<R: Listing> QueryParts for ListedInV2<R> {
    fn describe(parts: &mut Vec<QueryPart>) {
        parts.push(QueryPart::ListInV2(R::FIELDS));
    }
}

impl<R: Listing> QueryParts for CountedInV2<R> {
    fn describe(parts: &mut Vec<QueryPart>) {
        parts.push(QueryPart::FilterInV2(R::FIELDS));
    }
}

/// Names the parameters of a query string.
pub trait QueryParts: 'static {
    /// Adds them.
    fn describe(parts: &mut Vec<QueryPart>);
}

/// Query strings that ask for a list of a resource, or for its statistics.
pub trait ListParts: QueryParts {
    /// The resource.
    type Resource: Listing;
}

/// A resource that has lists. Implemented by empty types.
pub trait Listing: 'static {
    /// What it can be filtered and sorted by.
    const FIELDS: &'static [Field];
}

/// The parameters of a list.
#[derive(Clone, Copy, Debug)]
pub struct Listed<R>(PhantomData<fn() -> R>);

/// The filters of a list, where only numbers are given.
#[derive(Clone, Copy, Debug)]
pub struct Counted<R>(PhantomData<fn() -> R>);

/// The members of an object as parameters.
#[derive(Clone, Copy, Debug)]
pub struct Members<T>(PhantomData<fn() -> T>);

impl<R: Listing> QueryParts for Listed<R> {
    fn describe(parts: &mut Vec<QueryPart>) {
        parts.push(QueryPart::List(R::FIELDS));
    }
}

impl<R: Listing> ListParts for Listed<R> {
    type Resource = R;
}

impl<R: Listing> QueryParts for Counted<R> {
    fn describe(parts: &mut Vec<QueryPart>) {
        parts.push(QueryPart::Filter("filter", R::FIELDS));
    }
}

impl<R: Listing> ListParts for Counted<R> {
    type Resource = R;
}

impl<T: JsonSchema + 'static> QueryParts for Members<T> {
    fn describe(parts: &mut Vec<QueryPart>) {
        parts.push(QueryPart::Members(inline_schema_of::<T>));
    }
}

impl<A: QueryParts, B: QueryParts> QueryParts for (A, B) {
    fn describe(parts: &mut Vec<QueryPart>) {
        A::describe(parts);
        B::describe(parts);
    }
}

impl<A: ListParts, B: QueryParts> ListParts for (A, B) {
    type Resource = A::Resource;
}
