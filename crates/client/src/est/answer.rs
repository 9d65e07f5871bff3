//! What EST servers answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use lamassu_crypto::{PrivateKey, PublicKey};
use lamassu_x509::pem::{certificate_ders, pem_to_der};
use lamassu_x509::{Certificate, pkcs7};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{EstError, EstReply, GeneratedKey, multipart};
use crate::retry::retry_after;
use crate::transport::Answer;

/// First octet of every DER structure that is read here.
const SEQUENCE: u8 = 0x30;
/// Longest text of a server that is shown.
const MAX_TEXT: usize = 300;

/// The octets of a body: base64 with any white space, as RFC 8951 has it, or PEM, or the octets
/// themselves.
pub(super) fn octets(body: &[u8], what: &'static str) -> Result<Zeroizing<Vec<u8>>, EstError> {
    if body.first() == Some(&SEQUENCE) && !body.is_ascii() {
        return Ok(Zeroizing::new(body.to_vec()));
    }
    if body.trim_ascii_start().starts_with(b"-----BEGIN ") {
        let der = pem_to_der(body).map_err(|_| EstError::Unreadable(what))?;
        return Ok(Zeroizing::new(der));
    }
    let compact: Vec<u8> = body
        .iter()
        .copied()
        .filter(|octet| !octet.is_ascii_whitespace())
        .collect();
    let decoded = STANDARD.decode(&*Zeroizing::new(compact));
    decoded
        .map(Zeroizing::new)
        .map_err(|_| EstError::Unreadable(what))
}

/// The certificates of an answer: PKCS#7, or PEM blocks.
pub(super) fn certificates(body: &[u8]) -> Result<Vec<Certificate>, EstError> {
    let blocks = certificate_ders(body).collect::<Result<Vec<_>, _>>();
    let blocks = blocks.map_err(|_| EstError::Unreadable("certificate"))?;
    if blocks.is_empty() {
        let der = octets(body, "list of certificates")?;
        return Ok(pkcs7::certificates(der.to_vec())?);
    }
    let read = blocks.into_iter().map(Certificate::from_der);
    Ok(read.collect::<Result<_, _>>()?)
}

/// The one for this key.
pub(super) fn of_key(
    certificates: Vec<Certificate>,
    key: &PublicKey,
) -> Result<Certificate, EstError> {
    let mut all = certificates.into_iter();
    all.find(|one| one.spki_der().as_ref() == key.spki_der())
        .ok_or(EstError::OtherKey)
}

/// That the server wants to be asked again.
pub(super) fn later<T>(answer: &Answer) -> EstReply<T> {
    EstReply::Later(retry_after(&answer.headers))
}

/// A key and its certificate, in two parts.
pub(super) fn generated_key(answer: &Answer) -> Result<GeneratedKey, EstError> {
    let unreadable = || EstError::Unreadable("key with its certificate");
    let media_type = answer.headers.get(CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let parts = multipart::parts(media_type.unwrap_or_default(), &answer.body);
    let parts = parts.ok_or_else(unreadable)?;
    let of_type = |wanted: &str| parts.iter().find(|part| part.media_type.contains(wanted));
    if of_type("server-generated-key").is_some() {
        return Err(EstError::Encrypted);
    }
    let key = of_type("application/pkcs8").ok_or_else(unreadable)?;
    let key = PrivateKey::from_der(&octets(key.body.as_bytes(), "private key")?)?;
    let list = of_type("application/pkcs7-mime").ok_or_else(unreadable)?;
    let certificate = of_key(certificates(list.body.as_bytes())?, key.public_key())?;
    Ok(GeneratedKey { key, certificate })
}

/// How our servers refuse.
#[derive(Deserialize)]
struct Refusal {
    err: String,
}

/// Whether a refusal says why, as a server does that knows the operation.
pub(super) fn tells_a_reason(answer: &Answer) -> bool {
    serde_json::from_slice::<Refusal>(&answer.body).is_ok()
}

pub(super) fn refusal(answer: &Answer) -> EstError {
    let text = match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(Refusal { err }) => err,
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    // It goes to a terminal.
    let text: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT)
        .collect();
    EstError::Refused {
        status: answer.status,
        text: match text.as_str() {
            "" => "it does not say why".to_owned(),
            _ => text,
        },
        retry_after: retry_after(&answer.headers),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::{octets, refusal};
    use crate::est::EstError;
    use crate::transport::Answer;

    #[test]
    fn bodies_are_base64_pem_or_der() {
        let read = |body: &[u8]| octets(body, "x").map(|read| read.to_vec()).ok();
        assert_eq!(read(b"MAA=\r\n"), Some(vec![0x30, 0]));
        assert_eq!(read(b" MA\t\nA=\n"), Some(vec![0x30, 0]));
        let pem = b"-----BEGIN X-----\nMAA=\n-----END X-----\n";
        assert_eq!(read(pem), Some(vec![0x30, 0]));
        let der = [0x30, 0x03, 0x04, 0x01, 0xff];
        assert_eq!(read(&der), Some(der.to_vec()));
        assert_eq!(read(b"<html>"), None);
    }

    #[test]
    fn refusals_are_told_in_the_server_s_words() {
        let text = |body: &'static str| {
            let answer = Answer {
                status: StatusCode::FORBIDDEN,
                headers: HeaderMap::new(),
                body: body.into(),
                exporter: None,
            };
            match refusal(&answer) {
                EstError::Refused { text, .. } => text,
                other => panic!("{other}"),
            }
        };
        assert_eq!(
            text(r#"{"err":"invalid certificate"}"#),
            "invalid certificate"
        );
        assert_eq!(text("go\u{1b}[2J away\n"), "go [2J away");
        assert_eq!(text(""), "it does not say why");
    }
}
