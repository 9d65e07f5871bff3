//! A CA as the validation authority needs it: read once, compared and signed for many times.

use bytes::Bytes;
use lamassu_core::ca::{self, CertificateAuthority};
use lamassu_core::ids::{CaId, KeyRef};
use lamassu_core::va::CrlShards;
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::ocsp::{IssuerKey, ResponderId, issuer_keys};
use lamassu_x509::{Certificate, KeyUsageBit, ParseError};

/// A CA with what answering for it needs.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) id: CaId,
    /// Hex of the key identifier, lower case: the name of role and CRL.
    pub(crate) ski: String,
    pub(crate) certificate: Certificate,
    /// The key's id in the KMS, the SHA-256 of the SubjectPublicKeyInfo.
    pub(crate) key: KeyRef,
    /// Under which imported keys have an alias: what the certificate calls its key.
    pub(crate) key_alias: KeyRef,
    /// Into how many shards what it issues is divided.
    pub(crate) crl_shards: Option<CrlShards>,
    issuer_keys: [IssuerKey; 4],
    /// Whether all that it has issued is known here: it was made here, not taken in.
    pub(crate) is_known_whole: bool,
}

impl TryFrom<&CertificateAuthority> for Authority {
    type Error = ParseError;

    fn try_from(ca: &CertificateAuthority) -> Result<Self, ParseError> {
        let mut authority = Self::new(ca.id.clone(), &ca.certificate)?;
        authority.crl_shards = ca.crl_shards;
        Ok(authority)
    }
}

impl Authority {
    /// The CA of this id with this certificate, without shards.
    ///
    /// # Errors
    ///
    /// The certificate cannot be read.
    pub(crate) fn new(id: CaId, stored: &ca::Certificate) -> Result<Self, ParseError> {
        let certificate = Certificate::from_der(stored.certificate.der().clone())?;
        let digest = HashAlgorithm::Sha256.digest(certificate.spki_der());
        let ski = stored.subject_key_id.to_ascii_lowercase();
        Ok(Self {
            id,
            key: KeyRef::from(hex::encode(digest)),
            key_alias: KeyRef::from(ski.clone()),
            ski,
            issuer_keys: issuer_keys(&certificate)?,
            crl_shards: None,
            certificate,
            is_known_whole: stored.certificate_type == ca::CertificateType::Managed,
        })
    }

    /// Under which names certificates of this CA are asked for.
    pub(crate) fn issuer_keys(&self) -> &[IssuerKey; 4] {
        &self.issuer_keys
    }

    /// Whether an OCSP request means this CA, or one with its name and key.
    pub(crate) fn is_named(&self, issuer: &IssuerKey) -> bool {
        self.issuer_keys.contains(issuer)
    }

    /// How OCSP answers name the CA: by its key, the shorter form.
    pub(crate) fn responder_id(&self) -> ResponderId {
        ResponderId::by_key(&self.certificate)
            .unwrap_or_else(|| ResponderId::by_name(&self.certificate))
    }

    /// The octets that certificates and CRLs of this CA name its key by.
    pub(crate) fn key_identifier(&self) -> Bytes {
        self.certificate.key_identifier()
    }

    /// Whether the certificate permits signing CRLs: a key usage without `cRLSign` does not
    /// (RFC 5280 §4.2.1.3).
    pub(crate) fn may_sign_crls(&self) -> bool {
        match self.certificate.extensions().key_usage() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.contains(KeyUsageBit::CrlSign),
            Err(_) => false,
        }
    }
}
