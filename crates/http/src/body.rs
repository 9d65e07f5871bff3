//! Reading request bodies: bounded in length and in time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::failure::{Failure, HttpError};

/// How long a body may be and how long it may take to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Longest body, in bytes.
    pub max_bytes: usize,
    /// From the start of reading to the last byte.
    pub deadline: Duration,
}

impl Default for BodyLimits {
    /// 10 MiB within 30 seconds.
    fn default() -> Self {
        Self {
            max_bytes: 10 * 1024 * 1024,
            deadline: Duration::from_secs(30),
        }
    }
}

/// The whole body as bytes.
#[derive(Clone, Debug)]
pub struct BodyBytes(pub Bytes);

impl<S: Sync> FromRequest<S> for BodyBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let limits = request
            .extensions()
            .get::<BodyLimits>()
            .copied()
            .unwrap_or_default();
        let (parts, body) = request.into_parts();
        Ok(Self(read(&parts.headers, body, limits).await?))
    }
}

/// The request with its whole body in memory, for whoever reads it then and there.
pub(crate) async fn with_body_read(
    request: Request,
    limits: BodyLimits,
) -> Result<Request, HttpError> {
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body, limits).await?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, HttpError> {
    if announced_length(headers).is_some_and(|length| length > limits.max_bytes) {
        return Err(HttpError::TooLarge);
    }
    let reading = read_limited(body, limits.max_bytes);
    tokio::time::timeout(limits.deadline, reading)
        .await
        .map_err(|_elapsed| HttpError::TooSlow)?
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    let value = headers.get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

async fn read_limited(body: Body, max_bytes: usize) -> Result<Bytes, HttpError> {
    match Limited::new(body, max_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::TooLarge),
        Err(error) => Err(HttpError::BrokenBody(axum::Error::new(error))),
    }
}

/// A JSON body, read with the habits of the v1 API: member names in any case, unknown members
/// ignored, the last duplicate wins, `null` leaves the default, whatever the content type says.
#[derive(Clone, Copy, Debug)]
pub struct GoJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for GoJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let BodyBytes(bytes) = BodyBytes::from_request(request, state).await?;
        let value = lamassu_core::json::from_slice(&bytes).map_err(HttpError::Json)?;
        Ok(Self(value))
    }
}
