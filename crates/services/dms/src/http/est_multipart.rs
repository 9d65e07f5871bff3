//! The answer of `serverkeygen` (RFC 7030 §4.4.2): a key and its certificate, each a part of its own.
//!
//! Clients and scripts in the field find their way by the boundary, by the order of the parts and of
//! the headers in them; each part's base64 is one line. So this is written out byte for byte. Outside
//! there is no `Content-Transfer-Encoding`: MIME allows none on a multipart, and Bouncy Castle would
//! decode the whole by it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use lamassu_core::dms::{DeliveredKey, GeneratedKey};
use lamassu_x509::pkcs7;
use zeroize::Zeroizing;

const MULTIPART: HeaderValue =
    HeaderValue::from_static("multipart/mixed; boundary=estServerLamassuBoundary");
const DELIMITER: &str = "--estServerLamassuBoundary";

const PKCS8: &str = "application/pkcs8";
const ENVELOPED: &str = "application/pkcs7-mime; smime-type=server-generated-key";
const CERTIFICATE: &str = "application/pkcs7-mime; smime-type=certs-only";

/// More than the lines around the two parts take.
const ROOM: usize = 512;

/// The whole answer; its buffer is wiped once it has been written to the connection.
pub(super) fn key_and_certificate(generated: &GeneratedKey) -> Response {
    let (media_type, key) = match &generated.key {
        DeliveredKey::Clear(key) => (PKCS8, key.as_slice()),
        DeliveredKey::Enveloped(enveloped) => (ENVELOPED, &**enveloped),
    };
    let certificate = pkcs7::certs_only([generated.certificate.der().as_ref()]);
    // Large enough at once: growing would leave a copy of the key behind.
    let octets = key.len().saturating_add(certificate.len());
    let mut body = Zeroizing::new(String::with_capacity(
        octets.saturating_mul(2).saturating_add(ROOM),
    ));
    for (media_type, octets) in [(media_type, key), (CERTIFICATE, &certificate)] {
        for line in [
            DELIMITER,
            "Content-Transfer-Encoding: base64",
            &format!("Content-Type: {media_type}"),
            "",
        ] {
            body.push_str(line);
            body.push_str("\r\n");
        }
        STANDARD.encode_string(octets, &mut body);
        body.push_str("\r\n");
    }
    body.push_str(DELIMITER);
    body.push_str("--\r\n");
    reply(body)
}

fn reply(body: Zeroizing<String>) -> Response {
    let length = HeaderValue::from(body.len());
    let mut response = Body::from(Bytes::from_owner(Wiped(body))).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, MULTIPART);
    headers.insert(CONTENT_LENGTH, length);
    response
}

/// A text that is wiped when the last who reads it is done.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
