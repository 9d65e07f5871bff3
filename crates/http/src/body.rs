//! Reading request bodies: bounded in length, in time and, all together, in memory.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lamassu_core::error::ErrorDetail;
use lamassu_core::json::{StrictError, object_from_slice_strict};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::admission::BodyBudget;
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

/// The request with its whole body in memory, for whoever reads it then and there, and the part of
/// the budget that it takes.
pub(crate) async fn with_body_read(
    request: Request,
    limits: BodyLimits,
    budget: &BodyBudget,
) -> Result<(Request, Option<OwnedSemaphorePermit>), HttpError> {
    let (parts, body) = request.into_parts();
    let reading = read_within(body, limits.max_bytes, budget);
    let (body, held) = in_time(&parts.headers, limits, reading).await?;
    Ok((Request::from_parts(parts, Body::from(body)), held))
}

async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, HttpError> {
    in_time(headers, limits, read_limited(body, limits.max_bytes)).await
}

async fn in_time<T>(
    headers: &HeaderMap,
    limits: BodyLimits,
    reading: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    if announced_length(headers).is_some_and(|length| length > limits.max_bytes) {
        return Err(HttpError::TooLarge);
    }
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
        Err(error) => Err(broken(error)),
    }
}

/// Reads a body into memory of its own, piece by piece as far as the budget goes: a piece as it
/// comes from the connection, however short, keeps the whole buffer that it was received into.
async fn read_within(
    body: Body,
    max_bytes: usize,
    budget: &BodyBudget,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), HttpError> {
    let mut body = Limited::new(body, max_bytes);
    let mut bytes = BytesMut::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        let taken = budget.take(piece.len())?;
        match &mut held {
            Some(held) => held.merge(taken),
            None => held = Some(taken),
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes.freeze(), held))
}

fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    if error.is::<LengthLimitError>() {
        HttpError::TooLarge
    } else {
        HttpError::BrokenBody(axum::Error::new(error))
    }
}

/// A JSON body, read strictly: names by case, members that there are not refused by name.
#[derive(Clone, Copy, Debug)]
pub struct StrictJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for StrictJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let BodyBytes(bytes) = BodyBytes::from_request(request, state).await?;
        Ok(Self(strict_json(&bytes)?))
    }
}

/// A JSON body, or nothing at all, which is the default.
#[derive(Clone, Copy, Debug)]
pub struct StrictJsonOrNothing<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for StrictJsonOrNothing<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let BodyBytes(bytes) = BodyBytes::from_request(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        Ok(Self(strict_json(&bytes)?))
    }
}

/// Reads a JSON object strictly.
///
/// # Errors
/// [`HttpError::StrictJson`], [`HttpError::UnknownMembers`].
pub fn strict_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    object_from_slice_strict(bytes).map_err(HttpError::from)
}

impl From<StrictError> for HttpError {
    fn from(error: StrictError) -> Self {
        match error {
            StrictError::Json(error) => Self::StrictJson(error, Vec::new()),
            StrictError::Member(place, error) => {
                let text = error.to_string();
                let reason = text.strip_prefix("json: ").unwrap_or(&text).to_owned();
                Self::StrictJson(error, vec![ErrorDetail::new(place, reason)])
            }
            StrictError::UnknownMembers(places) => {
                let first = places.first().cloned().unwrap_or_default();
                let details = places
                    .into_iter()
                    .map(|place| ErrorDetail::new(place, "unknown"));
                Self::UnknownMembers(first, details.collect())
            }
        }
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
