//! What handlers take from the head of a request.

use std::net::SocketAddr;

use axum::extract::{FromRequestParts, Path, RawPathParams};
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

/// Path parameters, percent-decoded; like [`Path`], with our error reply. None of them holds
/// U+0000: no text of a database does.
#[derive(Clone, Copy, Debug)]
pub struct PathParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        refuse_nul_in_path(parts).await?;
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(HttpError::PathParameter)?;
        Ok(Self(value))
    }
}

/// Refuses path parameters that hold U+0000, for those who read them by other means than
/// [`PathParams`].
///
/// # Errors
/// [`HttpError::NulInPath`].
pub async fn refuse_nul_in_path(parts: &mut Parts) -> Result<(), HttpError> {
    // What cannot be decoded is for the reader of the parameter to judge.
    let Ok(params) = RawPathParams::from_request_parts(parts, &()).await else {
        return Ok(());
    };
    match params.iter().find(|(_, value)| value.contains('\0')) {
        Some((name, _)) => Err(HttpError::NulInPath(name.to_owned())),
        None => Ok(()),
    }
}

/// Address of the client, put into the request's extensions by the listener: of the TCP peer, or
/// what a configured trusted proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);
