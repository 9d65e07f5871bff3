//! Certification path validation (RFC 5280 §6.1) from an end entity up to one trust anchor.
//!
//! Made for client certificates that enroll devices: one anchor that somebody chose, a handful
//! of intermediates that the client sent, no trust store, no policies. The anchor need not be
//! self-signed, and an end entity that *is* the anchor validates.
//!
//! What is not understood is refused: unknown critical extensions, name constraints, signatures
//! over MD5 or SHA-1. So is what two readers can understand differently: repeated extensions, and
//! an algorithm beside the signature that is not the signed one (RFC 5280 §4.1.1.2). Work is bounded by [`PathRules::max_certificates`] and by a budget of
//! signature checks, whatever an attacker sends. Revocation and key purposes are the caller's.

mod build;
mod checks;
#[cfg(test)]
mod tests;

use time::{Duration, OffsetDateTime};

use crate::certificate::Certificate;

/// Whether the end of validity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Everything in the path must be valid now.
    Considered,
    /// The end of validity is judged at the end entity's own `notBefore`, so that an expired
    /// certificate passes that was good when it was issued.
    Ignored,
}

/// How a path is judged.
#[derive(Debug, Clone, Copy)]
pub struct PathRules {
    /// The present time.
    pub now: OffsetDateTime,
    /// How far ahead of ours the issuer's clock may be; applies to `notBefore` only.
    pub clock_skew: Duration,
    /// Whether the end of validity counts.
    pub expiry: Expiry,
    /// Most certificates in a path, end entity and anchor included.
    pub max_certificates: usize,
}

/// Who issued the end entity in a validated path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathIssuer {
    /// The end entity is the anchor itself.
    Itself,
    /// The anchor.
    Anchor,
    /// The first of these intermediates; each is issued by the next one, the last by the anchor.
    Intermediates(Vec<Certificate>),
}

impl PathIssuer {
    /// What stands between the end entity and the anchor, from the end entity upwards.
    pub fn intermediates(&self) -> &[Certificate] {
        match self {
            Self::Itself | Self::Anchor => &[],
            Self::Intermediates(certificates) => certificates,
        }
    }
}

/// Why no path leads from the end entity to the anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The end entity's validity has not begun.
    #[error("certificate is not yet valid")]
    NotYetValid,
    /// The end entity's validity has ended.
    #[error("certificate has expired")]
    Expired,
    /// No certificate at hand has the name of an issuer in the path.
    #[error("certificate is signed by unknown authority")]
    NoIssuer,
    /// An issuer of the right name did not make the signature.
    #[error("certificate was not signed by the authority that it names")]
    Signature,
    /// A signature in the path is made over MD5 or SHA-1, or by an unsupported algorithm.
    #[error("certificate signature algorithm is not accepted")]
    WeakSignature,
    /// The algorithm beside a signature in the path is not the one that was signed.
    #[error("certificate names two signature algorithms")]
    AlgorithmMismatch,
    /// An issuer in the path may not sign certificates.
    #[error("issuer is not authorized to sign certificates")]
    NotACa,
    /// More CA certificates follow below an issuer than it allows.
    #[error("too many intermediates for path length constraint")]
    PathLength,
    /// An issuer is not valid at the time of validation.
    #[error("issuer is not valid at this time")]
    IssuerNotValid,
    /// An extension stands twice in a certificate.
    #[error("certificate has a repeated extension")]
    RepeatedExtension,
    /// A critical extension that is not understood.
    #[error("certificate has an unhandled critical extension")]
    CriticalExtension,
    /// Name constraints, which are not evaluated here.
    #[error("name constraints are not supported")]
    NameConstraints,
    /// An extension that matters here does not decode.
    #[error("certificate extension cannot be read")]
    MalformedExtension,
    /// The path is longer, or needs more work, than is spent on it.
    #[error("certificate path is too long")]
    TooLong,
}

/// Looks for a path from `end_entity` over `intermediates` (any order) to `anchor`.
///
/// An issuer must have begun by now, not when the end entity did: a CA certificate that was
/// reissued for the same key is younger than what that key signed before.
///
/// # Errors
///
/// [`PathError`]: what stopped the path that came furthest.
pub fn validate(
    end_entity: &Certificate,
    intermediates: &[Certificate],
    anchor: &Certificate,
    rules: &PathRules,
) -> Result<PathIssuer, PathError> {
    if !rules.has_begun(end_entity) {
        return Err(PathError::NotYetValid);
    }
    checks::extensions(end_entity)?;
    let issuer = build::find(end_entity, intermediates, anchor, rules)?;
    // Looked at last, so that an expired certificate of strangers is called untrusted.
    if end_entity.not_after() < rules.time_of(end_entity) {
        return Err(PathError::Expired);
    }
    Ok(issuer)
}

impl PathRules {
    /// Whether the validity has begun, as far as clocks agree.
    fn has_begun(&self, certificate: &Certificate) -> bool {
        certificate.not_before() <= self.now.saturating_add(self.clock_skew)
    }

    /// The time at which the end of validity is judged in the path of this end entity.
    fn time_of(&self, end_entity: &Certificate) -> OffsetDateTime {
        match self.expiry {
            Expiry::Considered => self.now,
            Expiry::Ignored => end_entity.not_before(),
        }
    }
}
