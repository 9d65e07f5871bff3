//! Possession of the key as a type.

use lamassu_crypto::{KeyError, PublicKey};

use super::CertificationRequest;
use crate::signed::SignatureError;

/// How it is known that the sender of a request holds the private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Possession {
    /// The request's own signature was verified.
    Proven,
    /// A policy said not to look.
    WaivedByPolicy,
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyCsrError {
    /// The requested key cannot be used.
    #[error("the public key of the certification request is not supported")]
    Key(#[source] KeyError),
    /// The request was not signed by the key that it asks for.
    #[error("invalid CSR signature")]
    Signature(#[source] SignatureError),
}

/// A request whose sender's possession of the key has been decided upon.
///
/// There is no other way to one than [`CertificationRequest::verify`] and
/// [`CertificationRequest::waive_possession_by_policy`], and issuing takes nothing else.
#[derive(Debug, Clone)]
pub struct VerifiedCsr {
    csr: CertificationRequest,
    public_key: PublicKey,
    possession: Possession,
}

impl VerifiedCsr {
    /// The request.
    pub fn csr(&self) -> &CertificationRequest {
        &self.csr
    }

    /// The key to be certified.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// How possession was decided.
    pub fn possession(&self) -> Possession {
        self.possession
    }
}

impl CertificationRequest {
    /// Verifies the request's signature with its own key.
    ///
    /// # Errors
    ///
    /// [`VerifyCsrError`] when the key or the algorithm is not supported, or the signature
    /// does not match.
    pub fn verify(self) -> Result<VerifiedCsr, VerifyCsrError> {
        let public_key = self.public_key()?;
        self.signed()
            .verify(&public_key)
            .map_err(VerifyCsrError::Signature)?;
        Ok(VerifiedCsr {
            csr: self,
            public_key,
            possession: Possession::Proven,
        })
    }

    /// Accepts the request without looking at its signature. Only for a policy that says so in
    /// so many words: anybody can then get a certificate for a key that is not theirs.
    ///
    /// # Errors
    ///
    /// [`VerifyCsrError::Key`] when the requested key is not supported.
    pub fn waive_possession_by_policy(self) -> Result<VerifiedCsr, VerifyCsrError> {
        let public_key = self.public_key()?;
        Ok(VerifiedCsr {
            csr: self,
            public_key,
            possession: Possession::WaivedByPolicy,
        })
    }

    fn public_key(&self) -> Result<PublicKey, VerifyCsrError> {
        PublicKey::from_spki_der(self.spki_der()).map_err(VerifyCsrError::Key)
    }
}
