//! Reading the certification request out of a body (RFC 7030 §4.2, RFC 8951 §2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use lamassu_core::dms::DmsError;
use lamassu_x509::pem::pem_to_der;

/// The DER of the request: standard base64 with any white space, PEM, or the DER itself, as
/// clients send it. `Content-Transfer-Encoding` is not looked at.
pub(super) fn certification_request(
    content_type: Option<&HeaderValue>,
    body: Bytes,
) -> Result<Bytes, DmsError> {
    if !is_pkcs10(content_type) {
        return Err(DmsError::MediaType);
    }
    if is_der(&body) {
        return Ok(body);
    }
    let text = std::str::from_utf8(&body).map_err(|_| DmsError::BodyEncoding)?;
    let der = if text.contains("-----BEGIN ") {
        pem_to_der(&body).map_err(|_| DmsError::BodyEncoding)?
    } else {
        let compact: Vec<u8> = text
            .bytes()
            .filter(|octet| !octet.is_ascii_whitespace())
            .collect();
        STANDARD
            .decode(compact)
            .map_err(|_| DmsError::BodyEncoding)?
    };
    Ok(der.into())
}

/// Media types have no case; parameters say nothing here.
fn is_pkcs10(content_type: Option<&HeaderValue>) -> bool {
    let value = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value.split([';', ' ']).next().unwrap_or_default();
    media_type.eq_ignore_ascii_case("application/pkcs10")
}

/// A SEQUENCE of more than 127 octets; no base64 or PEM text has such a second octet.
fn is_der(body: &[u8]) -> bool {
    matches!(body, [0x30, length, ..] if *length >= 0x80)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;
    use lamassu_core::dms::DmsError;
    use lamassu_x509::pem::{PemLabel, der_to_pem};

    use super::certification_request;

    fn read(media_type: &'static str, body: &[u8]) -> Result<Bytes, String> {
        let content_type = HeaderValue::from_static(media_type);
        certification_request(Some(&content_type), Bytes::copy_from_slice(body))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_that_clients_send_is_read() {
        let der: Vec<u8> = [0x30, 0x82, 0x01, 0x00]
            .into_iter()
            .chain(std::iter::repeat_n(7, 96))
            .collect();
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
        let (first, second) = base64.split_at(64);
        let wrapped = format!(" {first}\r\n\t{second}\n");
        let pem = der_to_pem(PemLabel::CertificateRequest, &der);
        let armour_on_one_line = pem.replace('\n', "");
        for body in [
            &der[..],
            base64.as_bytes(),
            wrapped.as_bytes(),
            pem.as_bytes(),
            armour_on_one_line.as_bytes(),
        ] {
            assert_eq!(
                read("Application/PKCS10; charset=utf-8", body),
                Ok(Bytes::from(der.clone()))
            );
        }
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        assert_eq!(
            read("application/pkcs7-mime", b""),
            Err(DmsError::MediaType.to_string())
        );
        for body in [
            "$$$$",
            "QUJD*",
            "QUI",
            "-----BEGIN X-----\n*\n-----END X-----",
        ] {
            assert_eq!(
                read("application/pkcs10", body.as_bytes()),
                Err(DmsError::BodyEncoding.to_string()),
                "{body}"
            );
        }
        let untyped = certification_request(None, Bytes::new()).map_err(|error| error.to_string());
        assert_eq!(untyped, Err(DmsError::MediaType.to_string()));
        assert_eq!(read("application/pkcs10", b""), Ok(Bytes::new()));
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_read_or_refused(body: Vec<u8>) {
            drop(read("application/pkcs10", &body));
        }
    }
}
