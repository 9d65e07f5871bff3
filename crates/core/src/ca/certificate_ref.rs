//! Which certificate a request is about.

use std::fmt;

use lamassu_crypto::HashAlgorithm;

use crate::ids::{CaId, SerialNumber};

/// What stands for an issuer that is not here, as `issuer_metadata.id` says it.
pub const UNKNOWN_ISSUER: &str = "-";

/// A certificate by its serial number, and by the CA that issued it, or its fingerprint, where others used the
/// number, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRef {
    /// Its serial number.
    pub serial_number: SerialNumber,
    /// Who issued it, as its `issuer_metadata.id` says; `None` where that need not be told.
    pub ca: Option<CaId>,
    /// The SHA-256 of its DER in lower-case hexadecimal: it tells apart those whose issuers are not known; `None`
    /// where that need not be told.
    pub fingerprint: Option<String>,
}

impl CertificateRef {
    /// The certificate with this serial number that the CA issued.
    pub fn of_ca(serial_number: SerialNumber, ca: CaId) -> Self {
        Self {
            serial_number,
            ca: Some(ca),
            fingerprint: None,
        }
    }
}

impl From<SerialNumber> for CertificateRef {
    fn from(serial_number: SerialNumber) -> Self {
        Self {
            serial_number,
            ca: None,
            fingerprint: None,
        }
    }
}

impl From<&SerialNumber> for CertificateRef {
    fn from(serial_number: &SerialNumber) -> Self {
        serial_number.clone().into()
    }
}

impl From<&super::Certificate> for CertificateRef {
    /// This very certificate, as far as its issuer is known.
    fn from(certificate: &super::Certificate) -> Self {
        let issuer = certificate.issuer_metadata.id.clone();
        // Unknown issuers are not told apart by their id.
        let fingerprint = (issuer.as_str() == UNKNOWN_ISSUER).then(|| {
            let digest = HashAlgorithm::Sha256.digest(certificate.certificate.der());
            hex::encode(digest)
        });
        Self {
            fingerprint,
            ..Self::of_ca(certificate.serial_number.clone(), issuer)
        }
    }
}

/// The serial number.
impl fmt::Display for CertificateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serial_number.fmt(f)
    }
}
