//! OCSP (RFC 6960, RFC 9654): requests, responses, and the identifiers in both.
//!
//! A [`CertId`] keeps its bytes, because a client compares the answer's with its own; an
//! [`IssuerKey`] is what a responder looks issuers up by.
//!
//! [`OcspResponse::judge`] says what an answer is worth.
//!
//! Next: `ocsp/request.rs` and `ocsp/response.rs` (reading), `ocsp/build.rs` (answers and
//! requests).

mod build;
mod cert_id;
mod judge;
mod request;
mod response;
mod status;

pub use build::{
    BasicResponse, BasicToBeSigned, OcspBuildError, SingleResponse, error_response, request_to_der,
};
pub use cert_id::{CertId, IssuerKey, issuer_keys};
pub use judge::{OcspRefusal, OcspVerdict};
pub use request::{OcspRequest, SingleRequest};
pub use response::{OcspResponse, ReadBasicResponse, ReadSingleResponse};
pub use status::{CertStatus, OcspResponseStatus, ResponderId};

use bytes::Bytes;

use crate::error::Malformation;
use crate::extensions::Extensions;
use crate::oids;
use crate::tlv::{OCTET_STRING, Reader};

/// The value of the nonce extension, as the other side wrote it; `None` without one.
///
/// RFC 9654 §2.1 allows 1 to 128 octets. They stand in an OCTET STRING of their own; clients
/// from before RFC 8954 leave that out.
fn nonce(extensions: &Extensions) -> Result<Option<Bytes>, Malformation> {
    let Some(extension) = extensions.find(&oids::PKIX_OCSP_NONCE) else {
        return Ok(None);
    };
    let value = extension.value();
    let mut reader = Reader::new(value);
    let octets = match reader.expect(OCTET_STRING) {
        Ok(inner) if reader.is_empty() => inner.value,
        _ => value,
    };
    if (1..=128).contains(&octets.len()) {
        Ok(Some(value.clone()))
    } else {
        Err(Malformation::InvalidNonce)
    }
}
