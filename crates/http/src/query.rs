//! Query strings, decoded as leniently as v1 clients rely on.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use lamassu_core::query::{Field, ListRequest, QueryError, QueryLimits, decode_form};

/// The query string as decoded pairs, in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryPairs(pub Vec<(String, String)>);

impl QueryPairs {
    /// What a list or statistics of a resource with these fields is asked for.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn list_request(
        &self,
        fields: &'static [Field],
        limits: QueryLimits,
    ) -> Result<ListRequest, QueryError> {
        ListRequest::from_pairs(&self.0, fields, limits)
    }

    /// The first value of a parameter.
    pub fn first(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let pair = pairs.find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(decode_form(parts.uri.query().unwrap_or_default())))
    }
}
