//! Answers of EST: PKCS#7 in base64, or PEM (RFC 7030 §4.1.3, §4.2.3).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use lamassu_core::pem::CertificateDer;
use lamassu_x509::pem::base64_lines;
use lamassu_x509::pkcs7;

use crate::config::LineLength;

const CONTENT_TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
const BASE64: HeaderValue = HeaderValue::from_static("base64");
const PKCS7_CERTS_ONLY: HeaderValue =
    HeaderValue::from_static("application/pkcs7-mime; smime-type=certs-only");
const CSR_ATTRS: HeaderValue = HeaderValue::from_static("application/csrattrs");

/// Length of a base64 line: what OpenSSL reads without `-A`.
const LINE: usize = 76;

/// The media types that ask for PEM.
const PEM_TYPES: [&str; 2] = [
    "application/x-pem-file",
    "application/pem-certificate-chain",
];

/// How this client wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplyForm {
    encoding: Encoding,
    lines: Lines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Pkcs7,
    /// Of this media type.
    Pem(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// Of 76 characters, each ended by LF.
    Wrapped,
    /// One without end.
    Single,
}

impl ReplyForm {
    /// What the request's headers ask for.
    pub(super) fn of(headers: &HeaderMap, line_length: LineLength) -> Self {
        Self {
            encoding: encoding(headers),
            lines: lines(headers, line_length),
        }
    }

    /// An answer of certificates, in this order.
    pub(super) fn certificates(self, certificates: &[CertificateDer]) -> Response {
        match self.encoding {
            Encoding::Pem(media_type) => {
                let pems: Vec<String> = certificates.iter().map(CertificateDer::to_pem).collect();
                reply(HeaderValue::from_static(media_type), None, pems.join("\n"))
            }
            Encoding::Pkcs7 => {
                let der = pkcs7::certs_only(
                    certificates
                        .iter()
                        .map(|certificate| certificate.der().as_ref()),
                );
                reply(PKCS7_CERTS_ONLY, Some(BASE64), self.base64(&der))
            }
        }
    }

    /// An answer of CsrAttrs.
    pub(super) fn csr_attrs(self, der: &[u8]) -> Response {
        reply(CSR_ATTRS, Some(BASE64), self.base64(der))
    }

    fn base64(self, der: &[u8]) -> String {
        match self.lines {
            Lines::Single => STANDARD.encode(der),
            Lines::Wrapped => base64_lines(der, LINE),
        }
    }
}

fn encoding(headers: &HeaderMap) -> Encoding {
    let asked = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .find_map(|asked| {
            PEM_TYPES
                .into_iter()
                .find(|known| known.eq_ignore_ascii_case(asked))
        });
    asked.map_or(Encoding::Pkcs7, Encoding::Pem)
}

fn lines(headers: &HeaderMap, line_length: LineLength) -> Lines {
    match line_length {
        LineLength::Wrapped => Lines::Wrapped,
        LineLength::Single => Lines::Single,
        LineLength::Auto => {
            let says_something = [USER_AGENT, ACCEPT, CONNECTION]
                .iter()
                .any(|name| headers.contains_key(name));
            if says_something {
                Lines::Wrapped
            } else {
                Lines::Single
            }
        }
    }
}

/// Clients compare the media type byte for byte and read exactly `Content-Length` bytes.
fn reply(
    content_type: HeaderValue,
    transfer_encoding: Option<HeaderValue>,
    body: String,
) -> Response {
    let length = HeaderValue::from(body.len());
    let mut response = Body::from(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, length);
    if let Some(encoding) = transfer_encoding {
        headers.insert(CONTENT_TRANSFER_ENCODING, encoding);
    }
    response
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, USER_AGENT};
    use http::{HeaderMap, HeaderValue};

    use super::{Encoding, Lines, ReplyForm};
    use crate::config::LineLength;

    fn form(accept: Option<&'static str>, line_length: LineLength) -> ReplyForm {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        ReplyForm::of(&headers, line_length)
    }

    #[test]
    fn pem_is_for_those_who_ask() {
        let cases = [
            (
                "application/x-pem-file",
                Encoding::Pem("application/x-pem-file"),
            ),
            (
                "text/plain, Application/Pem-Certificate-Chain;q=0.5",
                Encoding::Pem("application/pem-certificate-chain"),
            ),
            ("application/pkcs7-mime", Encoding::Pkcs7),
            ("*/*", Encoding::Pkcs7),
        ];
        for (accept, expected) in cases {
            assert_eq!(
                form(Some(accept), LineLength::Auto).encoding,
                expected,
                "{accept}"
            );
        }
    }

    #[test]
    fn a_client_that_says_nothing_gets_one_line() {
        assert_eq!(form(None, LineLength::Auto).lines, Lines::Single);
        assert_eq!(form(None, LineLength::Wrapped).lines, Lines::Wrapped);
        assert_eq!(form(Some("*/*"), LineLength::Auto).lines, Lines::Wrapped);
        assert_eq!(form(Some("*/*"), LineLength::Single).lines, Lines::Single);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("curl/8.5.0"));
        assert_eq!(
            ReplyForm::of(&headers, LineLength::Auto).lines,
            Lines::Wrapped
        );
    }
}
