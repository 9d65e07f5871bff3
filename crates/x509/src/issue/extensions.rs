//! The extensions of what is issued: which, in what order, how critical.

use std::borrow::Cow;

use bytes::Bytes;
use const_oid::ObjectIdentifier;

use super::profile::{
    CertificateRole, ExtendedKeyUsageRule, KeyUsageRule, Profile, SubjectAltNameRule,
};
use super::{IssueError, Issuer, Subject, Terms};
use crate::extensions::{
    AuthorityKeyIdentifier, BasicConstraints, Criticality, Extension, Extensions, KeyUsage,
    check_subject_alt_name,
};
use crate::oids;
use crate::tlv::{OCTET_STRING, Writer, sequence_of};

/// All extensions in the order in which certificates of this platform carry them: key usage,
/// extended key usage, basic constraints, the two key identifiers, the two kinds of
/// addresses, alternative names.
pub(super) fn build(
    subject: &Subject,
    issuer: &Issuer,
    terms: &Terms<'_>,
) -> Result<Extensions, IssueError> {
    use Criticality::{Critical, NonCritical};
    let profile = terms.profile;
    let subject_alt_name = subject_alt_name(profile, subject)?;
    let optional = |oid, criticality, value: Option<Vec<u8>>| {
        value.map(|value| Extension::new(oid, criticality, value))
    };
    let list = [
        optional(&oids::CE_KEY_USAGE, Critical, key_usage(profile, subject)),
        extended_key_usage(profile, subject),
        optional(
            &oids::CE_BASIC_CONSTRAINTS,
            Critical,
            basic_constraints(profile.role),
        ),
        optional(
            &oids::CE_SUBJECT_KEY_IDENTIFIER,
            NonCritical,
            Some(octet_string(subject.key_identifier())),
        ),
        optional(
            &oids::CE_AUTHORITY_KEY_IDENTIFIER,
            NonCritical,
            issuer
                .key_identifier(subject)
                .map(|identifier| AuthorityKeyIdentifier::key_identifier_to_der(identifier)),
        ),
        optional(
            &oids::PE_AUTHORITY_INFO_ACCESS,
            NonCritical,
            terms.locations.authority_info_access_to_der(),
        ),
        optional(
            &oids::CE_CRL_DISTRIBUTION_POINTS,
            NonCritical,
            terms.locations.distribution_points_to_der(),
        ),
        subject_alt_name,
    ];
    let further = profile.further_extensions.iter().cloned();
    Ok(list.into_iter().flatten().chain(further).collect())
}

fn key_usage(profile: &Profile, subject: &Subject) -> Option<Vec<u8>> {
    let key_usage = match profile.key_usage {
        KeyUsageRule::Honor => subject.key_usage().unwrap_or(KeyUsage::NONE),
        KeyUsageRule::Replace(key_usage) => key_usage,
    };
    (!key_usage.is_empty()).then(|| key_usage.to_der())
}

/// Critical only for a time stamping authority, of which RFC 3161 §2.3 demands it.
fn extended_key_usage(profile: &Profile, subject: &Subject) -> Option<Extension> {
    let purposes = match &profile.extended_key_usage {
        ExtendedKeyUsageRule::Honor => {
            let mut requested = subject.extended_key_usage().to_vec();
            requested.retain(|purpose| *purpose != oids::KP_OCSP_SIGNING);
            Cow::Owned(requested)
        }
        ExtendedKeyUsageRule::Replace(purposes) => Cow::Borrowed(purposes),
    };
    let criticality = if **purposes == [oids::KP_TIME_STAMPING] {
        Criticality::Critical
    } else {
        Criticality::NonCritical
    };
    (!purposes.is_empty()).then(|| {
        let value = extended_key_usage_to_der(&purposes);
        Extension::new(&oids::CE_EXT_KEY_USAGE, criticality, value)
    })
}

/// `SEQUENCE OF KeyPurposeId`
pub(crate) fn extended_key_usage_to_der(purposes: &[ObjectIdentifier]) -> Vec<u8> {
    sequence_of(|out| {
        for purpose in purposes {
            out.oid(purpose);
        }
    })
}

fn basic_constraints(role: CertificateRole) -> Option<Vec<u8>> {
    match role {
        CertificateRole::EndEntity => None,
        CertificateRole::Ca {
            path_len_constraint,
        } => Some(
            BasicConstraints {
                ca: true,
                path_len_constraint,
            }
            .to_der(),
        ),
    }
}

fn octet_string(octets: &Bytes) -> Vec<u8> {
    let mut out = Writer::new();
    out.element(OCTET_STRING, octets);
    out.into_vec()
}

fn subject_alt_name(profile: &Profile, subject: &Subject) -> Result<Option<Extension>, IssueError> {
    match (profile.subject_alt_name, subject.subject_alt_name()) {
        (SubjectAltNameRule::Honor, Some(extension)) => {
            check_subject_alt_name(extension)?;
            Ok(Some(extension.clone()))
        }
        (SubjectAltNameRule::Honor, None) | (SubjectAltNameRule::Drop, _) => Ok(None),
    }
}
