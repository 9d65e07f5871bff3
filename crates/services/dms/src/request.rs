//! The certification request of a device.

use bytes::Bytes;
use lamassu_core::ca::CaError;
use lamassu_core::dms::DmsError;
use lamassu_core::ids::DeviceId;
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::{CertificationRequest, Malformation, VerifiedCsr, VerifyCsrError};

use crate::channel_binding;

/// A request that names a device. Whether its sender holds the key is not known yet.
#[derive(Debug)]
pub(crate) struct DeviceRequest {
    pub(crate) csr: CertificationRequest,
    /// The last common name of the subject.
    pub(crate) device_id: DeviceId,
}

impl DeviceRequest {
    /// Reads a request.
    pub(crate) fn parse(der: Bytes) -> Result<Self, DmsError> {
        let csr = CertificationRequest::from_der(der)
            .map_err(|error| DmsError::MalformedCsr(asn1_text(error.malformation)))?;
        csr.subject()
            .refuse_nul()
            .map_err(|error| DmsError::MalformedCsr(error.to_string()))?;
        let common_name = csr.subject().common_name().filter(|name| !name.is_empty());
        let device_id = DeviceId::from(common_name.ok_or(DmsError::NoCommonName)?);
        Ok(Self { csr, device_id })
    }

    /// SHA-256 of the DER: how a repeated request is known again.
    pub(crate) fn digest(&self) -> [u8; 32] {
        sha256(self.csr.as_der())
    }

    /// SHA-256 of what is asked for, whatever the signature, and over whatever connection: many clients
    /// sign anew each time, and those that bind requests to connections have to.
    pub(crate) fn info_digest(&self) -> [u8; 32] {
        let info = self.csr.info_der();
        let password = self.csr.challenge_password();
        let binding = password.filter(|password| channel_binding::may_be_binding(password));
        let place = binding.and_then(|binding| {
            let mut windows = info.windows(binding.len());
            windows.position(|octets| octets == &binding[..])
        });
        match (binding, place) {
            (Some(binding), Some(place)) => {
                let (before, after) = info.split_at(place);
                let after = after.get(binding.len()..).unwrap_or_default();
                // The octets may stand elsewhere too: whose request it is must not depend on which are left out.
                let key = self.csr.spki_der();
                let id = self.device_id.as_str().as_bytes();
                let whose = [sha256(id), sha256(key)].concat();
                sha256(&[&whose[..], before, after].concat())
            }
            _ => sha256(info),
        }
    }

    /// The request once possession of its key is decided: proven, or not asked for by the DMS.
    pub(crate) fn decide_possession(&self, policy: Possession) -> Result<VerifiedCsr, DmsError> {
        let csr = self.csr.clone();
        let decided = match policy {
            Possession::Required => csr.verify(),
            Possession::Waived => csr.waive_possession_by_policy(),
        };
        decided.map_err(|error| match error {
            VerifyCsrError::Key(_) => DmsError::Ca(CaError::Policy(error.to_string())),
            VerifyCsrError::Signature(_) => DmsError::CsrSignature,
        })
    }
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(HashAlgorithm::Sha256.digest(octets)) {
        *to = from;
    }
    digest
}

/// Whether a request must prove possession of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Possession {
    /// It must.
    Required,
    /// The DMS does not ask.
    Waived,
}

impl Possession {
    /// As the DMS says.
    pub(crate) const fn of(verify_csr_signature: bool) -> Self {
        if verify_csr_signature {
            Self::Required
        } else {
            Self::Waived
        }
    }
}

/// The prefix that clients know from Go's decoder.
fn asn1_text(malformation: Malformation) -> String {
    let class = match malformation {
        Malformation::UnexpectedTag { .. } => "structure",
        _ => "syntax",
    };
    format!("asn1: {class} error: {malformation}")
}
