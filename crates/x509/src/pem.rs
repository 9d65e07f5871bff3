//! PEM around X.509, and the API's JSON: base64 of such a text.
//!
//! Where one thing is asked for, the first block counts and its label is not looked at. The
//! format itself is `lamassu-crypto`'s, whose names are given on here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_crypto::pem::{blocks, decode_base64};

pub use lamassu_crypto::pem::{PemError, PemLabel, base64_lines, der_to_pem};

/// The DER in the first PEM block of `text`.
///
/// # Errors
///
/// [`PemError`] when there is no block or its base64 does not decode.
pub fn pem_to_der(text: &[u8]) -> Result<Vec<u8>, PemError> {
    let block = blocks(text).next().ok_or(PemError::MissingBlock)?;
    block.der()
}

/// The DER in each block of `text` that is labelled a certificate, in order; blocks with other
/// labels are left out.
pub fn certificate_ders(text: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, PemError>> {
    blocks(text)
        .filter(|block| block.label() == Some(PemLabel::Certificate))
        .map(|block| block.der())
}

/// The DER in base64 of a PEM text, the form in the API's JSON. CR and LF are passed over.
///
/// # Errors
///
/// [`PemError`] as for [`pem_to_der`], the outer base64 included.
pub fn base64_pem_to_der(text: &str) -> Result<Vec<u8>, PemError> {
    pem_to_der(&decode_base64(text.as_bytes())?)
}

/// Base64, on one line, of the PEM text.
pub fn der_to_base64_pem(label: PemLabel, der: &[u8]) -> String {
    STANDARD.encode(der_to_pem(label, der))
}
