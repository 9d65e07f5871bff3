//! Who signs OCSP answers: the CA itself, or who it delegated that to.

use std::sync::Arc;

use bytes::Bytes;
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::Signer;
use lamassu_crypto::{HashAlgorithm, SignatureScheme};
use lamassu_x509::ocsp::{OcspRequest, ResponderId};
use time::OffsetDateTime;

use crate::authority::Authority;
use crate::config::OcspResponder;
use crate::delegates::Delegation;
use crate::service::VaService;
use crate::signing::{SigningError, signer};

/// Who signs an answer.
#[derive(Clone, Debug)]
pub(crate) struct Responder {
    pub(crate) id: ResponderId,
    pub(crate) signer: Arc<dyn Signer>,
    /// What the client needs to believe it: nothing when the CA itself signs, because clients that
    /// check an embedded certificate against the issuer refuse a subordinate CA's own.
    pub(crate) certificates: Vec<Bytes>,
    /// The end of its certificate.
    pub(crate) not_after: OffsetDateTime,
    /// What makes it the CA's delegate; `None` where the CA itself signs.
    pub(crate) delegation: Option<Arc<Delegation>>,
}

impl Responder {
    /// Whether it is not the CA itself.
    pub(crate) const fn is_delegate(&self) -> bool {
        self.delegation.is_some()
    }

    /// The first algorithm that the client prefers and the key has (RFC 6960 §4.4.7.2), else the
    /// key's own.
    pub(crate) fn scheme(&self, request: &OcspRequest) -> SignatureScheme {
        let own = self.signer.public_key().default_scheme();
        let mut preferred = request.preferred_schemes().iter().copied();
        preferred
            .find(|wanted| is_offered(own, *wanted))
            .unwrap_or(own)
    }
}

/// Whether a key whose own algorithm is `own` signs by `wanted`: the same kind with any SHA-2.
fn is_offered(own: SignatureScheme, wanted: SignatureScheme) -> bool {
    use SignatureScheme::{Ecdsa, RsaPkcs1, RsaPss};
    let is_of_kind = matches!(
        (own, wanted),
        (RsaPkcs1(_), RsaPkcs1(_) | RsaPss(_)) | (Ecdsa(_), Ecdsa(_))
    );
    let is_sha2 = matches!(
        wanted.hash(),
        Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
    );
    own == wanted || (is_of_kind && is_sha2)
}

impl VaService {
    /// Who answers for this CA.
    pub(crate) async fn responder(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<Responder, SigningError> {
        match self.config.ocsp.responder {
            OcspResponder::Ca => self.ca_itself(caller, authority).await,
            OcspResponder::Delegated => match self.delegate(caller, authority).await {
                Err(SigningError::NotDelegated(error)) if !error.is_temporary() => {
                    tracing::debug!(
                        ca_id = %authority.id,
                        error = &error as &(dyn std::error::Error + 'static),
                        "ca answers itself"
                    );
                    self.ca_itself(caller, authority).await
                }
                outcome => outcome,
            },
        }
    }

    async fn ca_itself(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<Responder, SigningError> {
        Ok(Responder {
            id: authority.responder_id(),
            signer: signer(self.kms.as_ref(), caller, authority).await?,
            certificates: Vec::new(),
            not_after: authority.certificate.not_after(),
            delegation: None,
        })
    }
}
