//! What each certificate of a path must satisfy by itself.

use time::OffsetDateTime;

use super::{PathError, PathRules};
use crate::certificate::Certificate;
use crate::extensions::KeyUsageBit;
use crate::oids;
use lamassu_crypto::HashAlgorithm;

/// Extensions whose meaning is honoured here, or that limit nothing in a path without policies.
const UNDERSTOOD: [crate::ObjectIdentifier; 9] = [
    oids::CE_SUBJECT_KEY_IDENTIFIER,
    oids::CE_AUTHORITY_KEY_IDENTIFIER,
    oids::CE_KEY_USAGE,
    oids::CE_EXT_KEY_USAGE,
    oids::CE_SUBJECT_ALT_NAME,
    oids::CE_BASIC_CONSTRAINTS,
    oids::CE_CRL_DISTRIBUTION_POINTS,
    oids::CE_CERTIFICATE_POLICIES,
    oids::PE_AUTHORITY_INFO_ACCESS,
];

/// Refuses what stands twice, since only one of the two is looked at, and what is critical and not
/// understood (RFC 5280 §4.2).
pub(super) fn extensions(certificate: &Certificate) -> Result<(), PathError> {
    if certificate.extensions().repeated().is_some() {
        return Err(PathError::RepeatedExtension);
    }
    let known = |extension: &crate::Extension| UNDERSTOOD.iter().any(|oid| extension.is(oid));
    let unknown = certificate
        .extensions()
        .iter()
        .any(|extension| extension.is_critical() && !known(extension));
    if unknown {
        Err(PathError::CriticalExtension)
    } else {
        Ok(())
    }
}

/// Whether a CA certificate that a client sent may issue.
pub(super) fn intermediate(certificate: &Certificate, n_cas_below: usize) -> Result<(), PathError> {
    extensions(certificate)?;
    let constraints = basic_constraints(certificate)?.ok_or(PathError::NotACa)?;
    issuer(certificate, Some(constraints), n_cas_below)
}

/// Whether the anchor may issue. Old anchors have no basic constraints: it is trusted because
/// somebody chose it.
pub(super) fn anchor(certificate: &Certificate, n_cas_below: usize) -> Result<(), PathError> {
    issuer(certificate, basic_constraints(certificate)?, n_cas_below)
}

/// Whether an issuer has begun by now and had not ended at `at`.
pub(super) fn validity(
    certificate: &Certificate,
    at: OffsetDateTime,
    rules: &PathRules,
) -> Result<(), PathError> {
    if rules.has_begun(certificate) && certificate.not_after() >= at {
        Ok(())
    } else {
        Err(PathError::IssuerNotValid)
    }
}

fn basic_constraints(
    certificate: &Certificate,
) -> Result<Option<crate::BasicConstraints>, PathError> {
    certificate
        .extensions()
        .basic_constraints()
        .map_err(|_| PathError::MalformedExtension)
}

/// Basic constraints, path length, key usage and name constraints of an issuer.
fn issuer(
    certificate: &Certificate,
    constraints: Option<crate::BasicConstraints>,
    n_cas_below: usize,
) -> Result<(), PathError> {
    if constraints.is_some_and(|constraints| !constraints.ca) {
        return Err(PathError::NotACa);
    }
    let longest = constraints.and_then(|constraints| constraints.path_len_constraint);
    if longest
        .is_some_and(|longest| usize::try_from(longest).is_ok_and(|longest| n_cas_below > longest))
    {
        return Err(PathError::PathLength);
    }
    let usage = certificate
        .extensions()
        .key_usage()
        .map_err(|_| PathError::MalformedExtension)?;
    if usage.is_some_and(|usage| !usage.contains(KeyUsageBit::KeyCertSign)) {
        return Err(PathError::NotACa);
    }
    // Not only critical ones: to pass over them would widen what the issuer was granted.
    if certificate
        .extensions()
        .find(&oids::CE_NAME_CONSTRAINTS)
        .is_some()
    {
        return Err(PathError::NameConstraints);
    }
    Ok(())
}

/// Whether `issuer` signed `certificate`, with a digest that still stands.
pub(super) fn signature(certificate: &Certificate, issuer: &Certificate) -> Result<(), PathError> {
    // The outer one is not signed: whoever passes the certificate on can write what he likes.
    if certificate.signature_algorithm() != certificate.signed_algorithm() {
        return Err(PathError::AlgorithmMismatch);
    }
    let scheme = certificate
        .signature_algorithm()
        .signature_scheme()
        .map_err(|_| PathError::WeakSignature)?;
    if scheme.hash() == Some(HashAlgorithm::Sha1) {
        return Err(PathError::WeakSignature);
    }
    let key = issuer.public_key().map_err(|_| PathError::Signature)?;
    certificate
        .verify_signed_by(&key)
        .map_err(|_| PathError::Signature)
}
