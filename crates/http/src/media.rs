//! Bodies that are no JSON, with their media types in the handler's signature.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use crate::body::BodyBytes;
use crate::dispatch::not_found;
use crate::failure::Failure;
use crate::operation::Content;

/// Names the media types of a body. Implemented by empty types.
pub trait MediaTypes: 'static {
    /// The body.
    fn content() -> Content;
}

/// Declares types that stand for bodies of these media types:
/// `media_types! { /// A CRL, DER. PkixCrl = Octets("application/pkix-crl"); }`
#[macro_export]
macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $content:ident($($media_type:expr),+);)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name;

        impl $crate::MediaTypes for $name {
            fn content() -> $crate::Content {
                $crate::Content::$content(&[$($media_type),+])
            }
        }
    )+};
}

/// 200 with a body of these media types; the response carries which one.
pub struct Media<M>(Response, PhantomData<fn() -> M>);

/// As [`Media`], or 304 for a client that has it already.
pub struct CacheableMedia<M>(Response, PhantomData<fn() -> M>);

/// As [`Media`], or 202 with `Retry-After` and without body: not yet.
pub struct DeferrableMedia<M>(Response, PhantomData<fn() -> M>);

impl<M> DeferrableMedia<M> {
    /// 202; the client shall come again after this long.
    pub fn later(after: Duration) -> Self {
        let mut response = StatusCode::ACCEPTED.into_response();
        let seconds = HeaderValue::from(after.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, seconds);
        response.into()
    }
}

macro_rules! response {
    ($($name:ident),+) => {$(
        impl<M> From<Response> for $name<M> {
            fn from(response: Response) -> Self {
                Self(response, PhantomData)
            }
        }

        impl<M> IntoResponse for $name<M> {
            fn into_response(self) -> Response {
                self.0
            }
        }

        impl<M> fmt::Debug for $name<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0).finish()
            }
        }
    )+};
}

response!(Media, CacheableMedia, DeferrableMedia);

/// The whole body, of these media types; which one it is, is not looked at.
pub struct MediaBody<M>(pub Bytes, PhantomData<fn() -> M>);

impl<S: Sync, M: 'static> FromRequest<S> for MediaBody<M> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let BodyBytes(octets) = BodyBytes::from_request(request, state).await?;
        Ok(Self(octets, PhantomData))
    }
}

impl<M> fmt::Debug for MediaBody<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaBody({} octets)", self.0.len())
    }
}

/// What is declared only to be told apart from what there is: 404, as for an unknown path.
#[derive(Clone, Copy, Debug)]
pub struct NotOffered;

impl IntoResponse for NotOffered {
    fn into_response(self) -> Response {
        not_found()
    }
}
