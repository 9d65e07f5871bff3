//! What the rules about names look at.

use crate::certificate::TbsCertificate;
use crate::extensions::GeneralName;
use const_oid::ObjectIdentifier;

/// `emailAddress` of PKCS#9 (RFC 2985 §5.2.1).
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// Whether some DNS name begins with a wildcard.
pub(super) fn has_wildcard(certificate: &TbsCertificate) -> bool {
    dns_names(certificate).any(|name| name.contains('*'))
}

/// Whether some DNS name has one label only.
pub(super) fn has_single_label(certificate: &TbsCertificate) -> bool {
    dns_names(certificate).any(|name| !name.trim_end_matches('.').contains('.'))
}

fn dns_names(certificate: &TbsCertificate) -> impl Iterator<Item = String> {
    alternative(certificate)
        .into_iter()
        .filter_map(|name| match name {
            GeneralName::Dns(name) => Some(name),
            _ => None,
        })
}

/// Whether some URI has no authority: `urn:…`.
pub(super) fn has_uri_without_authority(certificate: &TbsCertificate) -> bool {
    alternative(certificate).into_iter().any(|name| match name {
        GeneralName::Uri(uri) => !uri.contains("://"),
        _ => false,
    })
}

/// Whether the subject has a mail address that is not among the alternative names.
pub(super) fn has_mail_in_subject_only(certificate: &TbsCertificate) -> bool {
    let alternative = alternative(certificate);
    certificate.subject().attributes().any(|attribute| {
        attribute.is(&EMAIL_ADDRESS)
            && !alternative.contains(&GeneralName::Rfc822(attribute.text()))
    })
}

fn alternative(certificate: &TbsCertificate) -> Vec<GeneralName> {
    certificate
        .extensions()
        .subject_alt_names()
        .unwrap_or_default()
}
