//! Whether an OCSP answer may be believed (RFC 6960 §3.2, §4.2.2.2).

use bytes::Bytes;
use lamassu_crypto::{HashAlgorithm, KeyError};
use time::{Duration, OffsetDateTime};

use super::cert_id::public_key_bits;
use super::{
    CertId, CertStatus, OcspResponse, OcspResponseStatus, ReadBasicResponse, ReadSingleResponse,
    ResponderId,
};
use crate::certificate::{Certificate, TbsCertificate};
use crate::oids;
use crate::signed::SignatureError;
use crate::tlv::{OCTET_STRING, Reader};

/// How old an answer may be that does not say when the next one is there.
const MAX_AGE: Duration = Duration::DAY;

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspRefusal {
    /// The responder gives an error.
    #[error("the responder answers {0:?}")]
    Responder(OcspResponseStatus),
    /// It is about other certificates.
    #[error("the answer is about another certificate")]
    OtherCertificate,
    /// It is the answer to another request.
    #[error("the answer has another nonce than the request")]
    OtherNonce,
    /// Neither the issuer nor somebody that it authorized signed it.
    #[error("the answer is signed by nobody who may answer for the issuer")]
    Responsibility,
    /// The responder's key is not usable.
    #[error("the responder's key is not supported")]
    Key(#[source] KeyError),
    /// The responder did not sign it.
    #[error("the responder did not sign the answer")]
    Signature(#[source] SignatureError),
    /// It is from the future.
    #[error("the answer is not valid yet")]
    NotYetValid,
    /// It is too old.
    #[error("the answer is outdated")]
    Outdated,
}

/// What an answer that may be believed says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspVerdict {
    /// The status.
    pub status: CertStatus,
    /// When it was true.
    pub this_update: OffsetDateTime,
    /// When to ask again.
    pub next_update: Option<OffsetDateTime>,
    /// Whether the answer was made for this request.
    pub is_fresh: bool,
}

impl OcspResponse {
    /// What the answer says of the certificate that was asked about, once everything that makes it
    /// believable is checked. `nonce` are the octets that the request had.
    ///
    /// # Errors
    ///
    /// [`OcspRefusal`].
    pub fn judge(
        &self,
        cert_id: &CertId,
        nonce: Option<&[u8]>,
        issuer: &Certificate,
        now: OffsetDateTime,
        clock_skew: Duration,
    ) -> Result<OcspVerdict, OcspRefusal> {
        let basic = match (self.status, &self.basic) {
            (OcspResponseStatus::Successful, Some(basic)) => basic,
            (status, _) => return Err(OcspRefusal::Responder(status)),
        };
        basic.check_signature(issuer, now)?;
        let single = basic.about(cert_id).ok_or(OcspRefusal::OtherCertificate)?;
        let is_fresh = match (nonce, &basic.nonce) {
            (Some(asked), Some(answered)) if *asked != *octets(answered) => {
                return Err(OcspRefusal::OtherNonce);
            }
            (Some(_), Some(_)) => true,
            // Answers that were made before have none.
            (_, None) | (None, _) => false,
        };
        single.check_times(now, clock_skew)?;
        Ok(OcspVerdict {
            status: single.status,
            this_update: single.this_update,
            next_update: single.next_update,
            is_fresh,
        })
    }
}

impl ReadBasicResponse {
    fn about(&self, cert_id: &CertId) -> Option<&ReadSingleResponse> {
        self.responses.iter().find(|single| {
            single.cert_id.issuer().is_some()
                && single.cert_id.issuer() == cert_id.issuer()
                && single.cert_id.serial() == cert_id.serial()
        })
    }

    /// Signed by the issuer, or by whom the issuer certified for that.
    fn check_signature(
        &self,
        issuer: &Certificate,
        now: OffsetDateTime,
    ) -> Result<(), OcspRefusal> {
        if self.is_by(issuer) {
            return self.check_signed_by(issuer);
        }
        let sent = self.certificates.iter().cloned();
        let mut sent = sent.filter_map(|der| Certificate::from_der(der).ok());
        let delegate = sent.find(|one| self.is_by(one) && is_delegate(one, issuer, now));
        self.check_signed_by(&delegate.ok_or(OcspRefusal::Responsibility)?)
    }

    fn is_by(&self, responder: &TbsCertificate) -> bool {
        match &self.responder_id {
            ResponderId::ByName(name) => name.matches(responder.subject()),
            ResponderId::ByKey(hash) => public_key_bits(responder.spki_der())
                .is_ok_and(|bits| HashAlgorithm::Sha1.digest(bits) == *hash),
        }
    }

    fn check_signed_by(&self, responder: &Certificate) -> Result<(), OcspRefusal> {
        let key = responder.public_key().map_err(OcspRefusal::Key)?;
        self.verify_signed_by(&key).map_err(OcspRefusal::Signature)
    }
}

impl ReadSingleResponse {
    fn check_times(&self, now: OffsetDateTime, skew: Duration) -> Result<(), OcspRefusal> {
        if self.this_update > now.saturating_add(skew) {
            return Err(OcspRefusal::NotYetValid);
        }
        let end = self
            .next_update
            .unwrap_or_else(|| self.this_update.saturating_add(MAX_AGE));
        if end.saturating_add(skew) < now {
            return Err(OcspRefusal::Outdated);
        }
        Ok(())
    }
}

/// Issued directly by the issuer, for signing OCSP answers, and valid now.
fn is_delegate(one: &Certificate, issuer: &Certificate, now: OffsetDateTime) -> bool {
    let may_sign = matches!(one.extensions().extended_key_usage(), Ok(Some(purposes))
        if purposes.contains(&oids::KP_OCSP_SIGNING));
    may_sign
        && one.not_before() <= now
        && one.not_after() >= now
        && one.issuer().matches(issuer.subject())
        && issuer
            .public_key()
            .is_ok_and(|key| one.verify_signed_by(&key).is_ok())
}

/// The octets inside the OCTET STRING of a nonce.
fn octets(value: &Bytes) -> &[u8] {
    match Reader::new(value).expect(OCTET_STRING) {
        Ok(inner) => inner.value,
        Err(_) => value,
    }
}
