//! The public key of a presented certificate.

use lamassu_crypto::{KeySpec, PublicKey};
use lamassu_x509::Certificate;

/// RSA keys below this many bits prove nothing.
const MIN_RSA_BITS: u32 = 2048;

/// Why a certificate cannot be used in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientKeyError {
    /// Not a certificate.
    #[error("the client certificate is not readable")]
    Malformed,
    /// A key that no offered scheme signs with.
    #[error("the client certificate's key is of an unsupported kind or size")]
    Unsupported,
}

/// The key that the owner of the certificate `der` has to prove.
pub(crate) fn of(der: &[u8]) -> Result<PublicKey, ClientKeyError> {
    let certificate = Certificate::from_der(der.to_vec()).map_err(|_| ClientKeyError::Malformed)?;
    let key = certificate
        .public_key()
        .map_err(|_| ClientKeyError::Unsupported)?;
    match key.spec() {
        KeySpec::Rsa(bits) if bits < MIN_RSA_BITS => Err(ClientKeyError::Unsupported),
        KeySpec::Rsa(_) | KeySpec::Ec(_) | KeySpec::Ed25519 => Ok(key),
        // TLS has code points for ML-DSA, the TLS library has not.
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => Err(ClientKeyError::Unsupported),
    }
}
