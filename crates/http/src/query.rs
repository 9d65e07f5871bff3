//! Query strings, decoded as leniently as v1 clients rely on.

use axum::extract::FromRequestParts;
use http::request::Parts;
use lamassu_core::query::{
    Field, ListRequest, QueryError, QueryLimits, decode_form, ignored_filters,
};
use tracing::warn;

use crate::failure::{Failure, HttpError};

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
        let pairs = decode_form(parts.uri.query().unwrap_or_default());
        let mut with_nul = pairs
            .iter()
            .filter(|(name, value)| name.contains('\0') || value.contains('\0'));
        match with_nul.next() {
            Some((name, _)) => Err(HttpError::NulInQuery(name.replace('\0', "%00")).into()),
            None => Ok(Self(pairs)),
        }
    }
}
