//! The body of a PATCH of v2: three forms, told apart by media type.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use lamassu_core::error::ErrorKind;
use lamassu_core::json::from_slice_strict;
use lamassu_core::patch::{DocumentPatch, PatchBody};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::body::{BodyBytes, strict_json};
use crate::failure::{Failure, HttpError};
use crate::operation::{Content, Operation, Reads, schema_of};

/// RFC 7396.
pub const MERGE_PATCH: &str = "application/merge-patch+json";

/// RFC 6902.
pub const JSON_PATCH: &str = "application/json-patch+json";

/// A patch of a resource with the members of `T`: a merge patch, a JSON Patch, or as plain JSON a merge
/// patch or the `{"patches": […]}` of v1.
pub struct PatchOf<T>(DocumentPatch, PhantomData<fn() -> T>);

impl<T> PatchOf<T> {
    /// The patch.
    pub fn into_inner(self) -> DocumentPatch {
        self.0
    }
}

impl<T> fmt::Debug for PatchOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Sync, T: 'static> FromRequest<S> for PatchOf<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let form = form(request.headers())?;
        let BodyBytes(bytes) = BodyBytes::from_request(request, state).await?;
        let patch = match form {
            Form::Merge => DocumentPatch::Merge(strict_json::<Map<String, Value>>(&bytes)?),
            Form::Strict => {
                let operations: Vec<Value> = from_slice_strict(&bytes).map_err(HttpError::from)?;
                DocumentPatch::Strict(operations)
            }
            Form::Plain => {
                let members: Map<String, Value> = strict_json(&bytes)?;
                if members.contains_key("patches") {
                    let PatchBody { patches } = strict_json(&bytes)?;
                    DocumentPatch::Metadata(patches.unwrap_or_default())
                } else {
                    DocumentPatch::Merge(members)
                }
            }
        };
        Ok(Self(patch, PhantomData))
    }
}

enum Form {
    Merge,
    Strict,
    Plain,
}

fn form(headers: &HeaderMap) -> Result<Form, HttpError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(Form::Plain);
    };
    let media_type = value.to_str().unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        MERGE_PATCH => Ok(Form::Merge),
        JSON_PATCH => Ok(Form::Strict),
        "application/json" => Ok(Form::Plain),
        _ => Err(HttpError::MediaType),
    }
}

impl<T: JsonSchema> Reads for PatchOf<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(Content::Patch(schema_of::<T>));
        operation.refuses(&[
            ErrorKind::Invalid,
            ErrorKind::RequestTimeout,
            ErrorKind::TooLarge,
            ErrorKind::UnsupportedMediaType,
        ]);
    }
}
