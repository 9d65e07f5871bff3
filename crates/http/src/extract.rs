//! What handlers take from the head of a request.

use std::net::SocketAddr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use lamassu_core::caller::Caller;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, HttpError};

/// Who asks, as the guard established it; never read from raw headers.
#[derive(Clone, Debug)]
pub struct AskedBy(pub Caller);

impl<S: Sync> FromRequestParts<S> for AskedBy {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Caller>().cloned();
        Ok(Self(caller.ok_or(HttpError::Unguarded)?))
    }
}

/// Path parameters, percent-decoded; like [`Path`], with our error reply.
#[derive(Clone, Copy, Debug)]
pub struct PathParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(HttpError::PathParameter)?;
        Ok(Self(value))
    }
}

/// Address of the client, put into the request's extensions by the listener: of the TCP peer, or
/// what a configured trusted proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);
