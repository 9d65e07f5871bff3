//! The rules, one check each.

use const_oid::ObjectIdentifier;
use lamassu_crypto::KeySpec;
use time::Duration;

use super::{Draft, Severity, names};
use crate::certificate::TbsCertificate;
use crate::extensions::{Extension, KeyUsage, KeyUsageBit};
use crate::issue::{ExtendedKeyUsageRule, Issuer};
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
    /// A chain is valid no longer than its shortest certificate (RFC 5280 §6.1.3).
    #[error("the certificate should not end after its issuer's")]
    OutlivesIssuer,
    /// Clocks in the field differ by more.
    #[error("the certificate should last for a minute at least")]
    ShortLifetime,
    /// What says nothing is good for everything.
    #[error("the certificate should have key usages or extended key usages")]
    NoUsage,
    /// RFC 5280 §4.2.1.3: without key agreement the two mean nothing.
    #[error("encipherOnly and decipherOnly need keyAgreement")]
    EncipherWithoutAgreement,
    /// RFC 8813 §3: nothing can be enciphered with an EC key.
    #[error("an EC key should not have the key usage of enciphering keys")]
    KeyEnciphermentOnEc,
    /// RFC 5280 §4.2.1.12: both extensions must allow a use.
    #[error("an extended key usage should have a key usage that serves it")]
    PurposeWithoutUsage,
    /// RFC 5280 §4.2.1.12: in general for end entities only.
    #[error("a CA should not have extended key usages")]
    CaPurposes,
    /// Relying parties take such a CA for a self-signed one (RFC 5280 §6.1).
    #[error("a CA should not have its issuer's name under another key")]
    IssuerNameReused,
    /// RFC 9525 §6.3: not for new names.
    #[error("a DNS name should not have a wildcard")]
    WildcardName,
    /// Such names are not unique.
    #[error("a DNS name should have more than one label")]
    SingleLabelName,
    /// RFC 5280 §4.2.1.6 wants a host.
    #[error("a URI should have an authority")]
    UriWithoutAuthority,
    /// RFC 5280 §4.1.2.6.
    #[error("a mail address in the subject should be an alternative name as well")]
    MailInSubjectOnly,
}

impl LintRule {
    /// All rules.
    pub const ALL: [Self; 24] = [
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
        Self::OutlivesIssuer,
        Self::ShortLifetime,
        Self::NoUsage,
        Self::EncipherWithoutAgreement,
        Self::KeyEnciphermentOnEc,
        Self::PurposeWithoutUsage,
        Self::CaPurposes,
        Self::IssuerNameReused,
        Self::WildcardName,
        Self::SingleLabelName,
        Self::UriWithoutAuthority,
        Self::MailInSubjectOnly,
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
            Self::OutlivesIssuer => "outlives_issuer",
            Self::ShortLifetime => "short_lifetime",
            Self::NoUsage => "no_usage",
            Self::EncipherWithoutAgreement => "encipher_without_agreement",
            Self::KeyEnciphermentOnEc => "key_encipherment_on_ec",
            Self::PurposeWithoutUsage => "purpose_without_usage",
            Self::CaPurposes => "ca_purposes",
            Self::IssuerNameReused => "issuer_name_reused",
            Self::WildcardName => "wildcard_name",
            Self::SingleLabelName => "single_label_name",
            Self::UriWithoutAuthority => "uri_without_authority",
            Self::MailInSubjectOnly => "mail_in_subject_only",
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
            | Self::CommonNameLength
            | Self::OutlivesIssuer
            | Self::ShortLifetime
            | Self::NoUsage
            | Self::EncipherWithoutAgreement
            | Self::KeyEnciphermentOnEc
            | Self::PurposeWithoutUsage
            | Self::CaPurposes
            | Self::IssuerNameReused
            | Self::WildcardName
            | Self::SingleLabelName
            | Self::UriWithoutAuthority
            | Self::MailInSubjectOnly => Severity::Warn,
        }
    }

    pub(super) fn is_broken_by(self, draft: &Draft<'_>) -> bool {
        let Draft {
            certificate,
            profile,
            issuer,
        } = *draft;
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
            Self::OutlivesIssuer => issuer
                .not_after()
                .is_some_and(|end| certificate.not_after() > end),
            Self::ShortLifetime => {
                let (begin, end) = (certificate.not_before(), certificate.not_after());
                end >= begin && end < begin.saturating_add(Duration::MINUTE)
            }
            Self::NoUsage => key_usage(certificate).is_empty() && purposes(certificate).is_empty(),
            Self::EncipherWithoutAgreement => enciphers_without_agreement(certificate),
            Self::KeyEnciphermentOnEc => enciphers_keys_with_ec(certificate),
            Self::PurposeWithoutUsage => has_unserved_purpose(certificate),
            Self::CaPurposes => certificate.is_ca() && !purposes(certificate).is_empty(),
            Self::IssuerNameReused => reuses_name(certificate, issuer),
            Self::WildcardName => names::has_wildcard(certificate),
            Self::SingleLabelName => names::has_single_label(certificate),
            Self::UriWithoutAuthority => names::has_uri_without_authority(certificate),
            Self::MailInSubjectOnly => names::has_mail_in_subject_only(certificate),
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

fn purposes(certificate: &TbsCertificate) -> Vec<ObjectIdentifier> {
    let found = certificate.extensions().extended_key_usage();
    found.ok().flatten().unwrap_or_default()
}

fn has_purpose(certificate: &TbsCertificate, purpose: &ObjectIdentifier) -> bool {
    purposes(certificate).contains(purpose)
}

fn enciphers_without_agreement(certificate: &TbsCertificate) -> bool {
    let key_usage = key_usage(certificate);
    let enciphers = key_usage.contains(KeyUsageBit::EncipherOnly)
        || key_usage.contains(KeyUsageBit::DecipherOnly);
    enciphers && !key_usage.contains(KeyUsageBit::KeyAgreement)
}

fn enciphers_keys_with_ec(certificate: &TbsCertificate) -> bool {
    key_usage(certificate).contains(KeyUsageBit::KeyEncipherment)
        && matches!(certificate.public_key(), Ok(key) if matches!(key.spec(), KeySpec::Ec(_)))
}

/// Whether there are key usages, and none of them serves some purpose.
fn has_unserved_purpose(certificate: &TbsCertificate) -> bool {
    let key_usage = key_usage(certificate);
    !key_usage.is_empty()
        && purposes(certificate).iter().any(|purpose| {
            let serving = usages_serving(purpose);
            !serving.is_empty() && !serving.iter().any(|usage| key_usage.contains(*usage))
        })
}

/// The key usages that a purpose can be served with (RFC 5280 §4.2.1.12); none where nobody says.
fn usages_serving(purpose: &ObjectIdentifier) -> &'static [KeyUsageBit] {
    use KeyUsageBit::{ContentCommitment, DigitalSignature, KeyAgreement, KeyEncipherment};
    match *purpose {
        oids::KP_SERVER_AUTH => &[DigitalSignature, KeyEncipherment, KeyAgreement],
        oids::KP_CLIENT_AUTH => &[DigitalSignature, KeyAgreement],
        oids::KP_CODE_SIGNING => &[DigitalSignature],
        oids::KP_EMAIL_PROTECTION => &[
            DigitalSignature,
            ContentCommitment,
            KeyEncipherment,
            KeyAgreement,
        ],
        oids::KP_TIME_STAMPING | oids::KP_OCSP_SIGNING => &[DigitalSignature, ContentCommitment],
        _ => &[],
    }
}

/// Whether a CA below another one has that one's name, and another key.
fn reuses_name(certificate: &TbsCertificate, issuer: &Issuer) -> bool {
    certificate.is_ca()
        && issuer.name() == Some(certificate.subject())
        && certificate.subject_key_identifier() != certificate.authority_key_identifier()
}
