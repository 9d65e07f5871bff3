//! The small types of RFC 6960 §4.2.1.

use bytes::Bytes;
use lamassu_crypto::HashAlgorithm;
use time::OffsetDateTime;

use super::cert_id::public_key_bits;
use crate::certificate::TbsCertificate;
use crate::crl::CrlReason;
use crate::name::Name;

/// How a request fared. The discriminant is the code; 4 is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OcspResponseStatus {
    /// The response has a signed part.
    Successful = 0,
    /// The request could not be read.
    MalformedRequest = 1,
    /// The responder failed.
    InternalError = 2,
    /// The responder is there, but cannot answer now.
    TryLater = 3,
    /// The request must be signed.
    SigRequired = 5,
    /// The responder does not answer for this issuer, or not for this client.
    Unauthorized = 6,
}

impl OcspResponseStatus {
    /// All of them by code.
    pub const ALL: [Self; 6] = [
        Self::Successful,
        Self::MalformedRequest,
        Self::InternalError,
        Self::TryLater,
        Self::SigRequired,
        Self::Unauthorized,
    ];

    /// The code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The status with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// Whether a certificate is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertStatus {
    /// Not revoked.
    Good,
    /// Revoked, for good or for the time being.
    Revoked {
        /// Since when; fractions of a second are cut.
        revocation_time: OffsetDateTime,
        /// Why; `Unspecified` is written by leaving the reason out.
        reason: CrlReason,
    },
    /// The responder knows nothing of it.
    Unknown,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponderId {
    /// By the subject of its certificate.
    ByName(Name),
    /// By the SHA-1 of the bits of its public key, 20 octets.
    ByKey(Bytes),
}

impl ResponderId {
    /// Names the responder with this certificate by its subject.
    pub fn by_name(responder: &TbsCertificate) -> Self {
        Self::ByName(responder.subject().clone())
    }

    /// Names the responder with this certificate by its key; `None` when its
    /// SubjectPublicKeyInfo does not decode.
    pub fn by_key(responder: &TbsCertificate) -> Option<Self> {
        let bits = public_key_bits(responder.spki_der()).ok()?;
        Some(Self::ByKey(HashAlgorithm::Sha1.digest(bits).into()))
    }
}
