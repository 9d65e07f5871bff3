//! The rules, one check each.

use const_oid::ObjectIdentifier;

use super::Severity;
use crate::certificate::TbsCertificate;
use crate::extensions::{Extension, KeyUsage, KeyUsageBit};
use crate::issue::{ExtendedKeyUsageRule, Profile};
use crate::oids;

/// A rule that a certificate can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum LintRule {
    /// RFC 5280 §4.1.2.2.
    #[error("the serial number must be positive and have at most 20 octets")]
    SerialNumber,
    /// RFC 5280 §4.2.
    #[error("an extension must not be repeated")]
    RepeatedExtension,
    /// RFC 5280 §4.1.2.4, as far as Go's `crypto/x509` insists on it.
    #[error("the subject must hold valid strings only")]
    SubjectStrings,
    /// The same for the issuer, whose bytes are not ours to choose.
    #[error("the issuer must hold valid strings only")]
    IssuerStrings,
    /// Extensions that relying parties look at must decode.
    #[error("an extension cannot be decoded")]
    ExtensionsDecode,
    /// RFC 5280 §4.1.2.5: an empty period.
    #[error("the validity must not end before it begins")]
    ValidityOrder,
    /// RFC 5280 §4.1.2.6.
    #[error("an empty subject needs critical subject alternative names")]
    EmptySubject,
    /// RFC 5280 §4.2.1.3.
    #[error("a CA must have the key usage of signing certificates")]
    CaKeyUsage,
    /// RFC 5280 §4.2.1.9.
    #[error("only a CA may have the key usage of signing certificates or CRLs")]
    EndEntityKeyUsage,
    /// RFC 6960 §4.2.2.2: the power to answer for the issuer is the issuer's to give.
    #[error("only a profile may let a certificate sign OCSP responses")]
    RequestedOcspSigning,
    /// RFC 9525 §6.3: clients match the server's name against alternative names only.
    #[error("a TLS server needs subject alternative names")]
    ServerAuthNames,
    /// RFC 5280 appendix A.1, `ub-common-name`.
    #[error("the common name should have at most 64 characters")]
    CommonNameLength,
}

impl LintRule {
    /// All rules.
    pub const ALL: [Self; 12] = [
        Self::SerialNumber,
        Self::RepeatedExtension,
        Self::SubjectStrings,
        Self::IssuerStrings,
        Self::ExtensionsDecode,
        Self::ValidityOrder,
        Self::EmptySubject,
        Self::CaKeyUsage,
        Self::EndEntityKeyUsage,
        Self::RequestedOcspSigning,
        Self::ServerAuthNames,
        Self::CommonNameLength,
    ];

    /// The rule's name in configuration and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::SerialNumber => "serial_number",
            Self::RepeatedExtension => "repeated_extension",
            Self::SubjectStrings => "subject_strings",
            Self::IssuerStrings => "issuer_strings",
            Self::ExtensionsDecode => "extensions_decode",
            Self::ValidityOrder => "validity_order",
            Self::EmptySubject => "empty_subject",
            Self::CaKeyUsage => "ca_key_usage",
            Self::EndEntityKeyUsage => "end_entity_key_usage",
            Self::RequestedOcspSigning => "requested_ocsp_signing",
            Self::ServerAuthNames => "server_auth_names",
            Self::CommonNameLength => "common_name_length",
        }
    }

    /// The rule with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Refuse what software in the field cannot read and what gives a requester the powers of a
    /// CA, warn of the rest.
    pub fn default_severity(self) -> Severity {
        match self {
            Self::SerialNumber
            | Self::RepeatedExtension
            | Self::SubjectStrings
            | Self::ExtensionsDecode
            | Self::RequestedOcspSigning => Severity::Refuse,
            Self::IssuerStrings
            | Self::ValidityOrder
            | Self::EmptySubject
            | Self::CaKeyUsage
            | Self::EndEntityKeyUsage
            | Self::ServerAuthNames
            | Self::CommonNameLength => Severity::Warn,
        }
    }

    pub(super) fn is_broken_by(self, certificate: &TbsCertificate, profile: &Profile) -> bool {
        match self {
            Self::SerialNumber => !serial_is_issuable(certificate),
            Self::RepeatedExtension => certificate.extensions().repeated().is_some(),
            Self::SubjectStrings => {
                certificate.subject().issuable().as_ref() != Ok(certificate.subject())
            }
            Self::IssuerStrings => {
                certificate.issuer().issuable().as_ref() != Ok(certificate.issuer())
            }
            Self::ExtensionsDecode => !extensions_decode(certificate),
            Self::ValidityOrder => certificate.not_after() < certificate.not_before(),
            Self::EmptySubject => !is_named(certificate),
            Self::CaKeyUsage => {
                certificate.is_ca() && !key_usage(certificate).contains(KeyUsageBit::KeyCertSign)
            }
            Self::EndEntityKeyUsage => !certificate.is_ca() && signs_for_others(certificate),
            Self::RequestedOcspSigning => {
                profile.extended_key_usage == ExtendedKeyUsageRule::Honor
                    && has_purpose(certificate, &oids::KP_OCSP_SIGNING)
            }
            Self::ServerAuthNames => is_unnamed_server(certificate),
            Self::CommonNameLength => certificate
                .subject()
                .common_name()
                .is_some_and(|name| name.chars().count() > 64),
        }
    }
}

fn serial_is_issuable(certificate: &TbsCertificate) -> bool {
    let serial = certificate.serial();
    !serial.is_negative()
        && !serial.is_non_minimal()
        && serial.as_bytes().len() <= 20
        && serial.as_bytes() != [0]
}

fn extensions_decode(certificate: &TbsCertificate) -> bool {
    let extensions = certificate.extensions();
    extensions.key_usage().is_ok()
        && extensions.extended_key_usage().is_ok()
        && extensions.basic_constraints().is_ok()
        && extensions.subject_key_identifier().is_ok()
        && extensions.authority_key_identifier().is_ok()
        && extensions.access_locations().is_ok()
        && extensions.subject_alt_names().is_ok()
}

fn is_named(certificate: &TbsCertificate) -> bool {
    !certificate.subject().is_empty()
        || certificate
            .extensions()
            .subject_alt_name_extension()
            .is_some_and(Extension::is_critical)
}

fn key_usage(certificate: &TbsCertificate) -> KeyUsage {
    certificate
        .extensions()
        .key_usage()
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn signs_for_others(certificate: &TbsCertificate) -> bool {
    let key_usage = key_usage(certificate);
    key_usage.contains(KeyUsageBit::KeyCertSign) || key_usage.contains(KeyUsageBit::CrlSign)
}

fn is_unnamed_server(certificate: &TbsCertificate) -> bool {
    let names = certificate.extensions().subject_alt_name_extension();
    names.is_none() && has_purpose(certificate, &oids::KP_SERVER_AUTH)
}

fn has_purpose(certificate: &TbsCertificate, purpose: &ObjectIdentifier) -> bool {
    matches!(
        certificate.extensions().extended_key_usage(),
        Ok(Some(purposes)) if purposes.contains(purpose)
    )
}
