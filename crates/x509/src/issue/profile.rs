//! The rules that an issuer follows.

use const_oid::ObjectIdentifier;
use time::{Duration, OffsetDateTime};

use super::key_policy::KeyPolicy;
use crate::extensions::{Extensions, KeyUsage};
use crate::name::{Name, NameError, SubjectFields};
use crate::oids;

/// What a certificate may hold, whatever its request asks for.
#[derive(Debug, Clone)]
pub struct Profile {
    /// When it ends.
    pub validity: Validity,
    /// How far before the present it begins; zero for exact lifetimes.
    pub back_dating: Duration,
    /// Whose subject it carries.
    pub subject: SubjectRule,
    /// Which key usages it carries.
    pub key_usage: KeyUsageRule,
    /// Which extended key usages it carries.
    pub extended_key_usage: ExtendedKeyUsageRule,
    /// Whether it carries the requested alternative names.
    pub subject_alt_name: SubjectAltNameRule,
    /// Whether its subject is a CA.
    pub role: CertificateRole,
    /// Extensions of the issuer's own, appended after all others: for example
    /// [`Extension::ocsp_nocheck`](crate::Extension::ocsp_nocheck).
    pub further_extensions: Extensions,
    /// Which keys it may certify.
    pub key_policy: KeyPolicy,
}

/// When a certificate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// So long after the present.
    Duration(Duration),
    /// At this time, perhaps in the past.
    Until(OffsetDateTime),
}

/// Whose subject a certificate carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectRule {
    /// The requested one, byte for byte where it can be issued.
    Honor,
    /// This one; only the requested common name fills in for an empty one.
    Replace(SubjectFields),
}

impl SubjectRule {
    /// The subject under this rule.
    pub(super) fn apply(&self, requested: &Name) -> Result<Name, NameError> {
        requested.refuse_nul()?;
        let fields = match self {
            Self::Honor => return requested.issuable(),
            Self::Replace(fields) => fields,
        };
        let mut fields = fields.clone();
        if fields.common_name.is_empty() {
            fields.common_name = requested.common_name().unwrap_or_default();
        }
        Ok(fields.to_name())
    }
}

/// Which key usages a certificate carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUsageRule {
    /// The requested ones; none without a request for them.
    Honor,
    /// These; the extension is left out when there are none.
    Replace(KeyUsage),
}

/// Which extended key usages a certificate carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtendedKeyUsageRule {
    /// The requested ones among [`NAMED_KEY_PURPOSES`], but never OCSP signing: who holds that
    /// answers for the issuer whether certificates are revoked (RFC 6960 §4.2.2.2).
    Honor,
    /// These; the extension is left out when there are none.
    Replace(Vec<ObjectIdentifier>),
}

/// Whether a certificate carries the requested alternative names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectAltNameRule {
    /// Copied from the request, with its criticality.
    Honor,
    /// Left out.
    Drop,
}

/// What the subject may do with its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateRole {
    /// No basic constraints.
    EndEntity,
    /// Basic constraints say CA.
    Ca {
        /// How many CA certificates may follow below; `None` for any number.
        path_len_constraint: Option<u32>,
    },
}

/// The extended key usages that have a name in the API. A request for any other is passed over.
pub const NAMED_KEY_PURPOSES: [ObjectIdentifier; 14] = [
    oids::KP_ANY,
    oids::KP_SERVER_AUTH,
    oids::KP_CLIENT_AUTH,
    oids::KP_CODE_SIGNING,
    oids::KP_EMAIL_PROTECTION,
    oids::KP_IPSEC_END_SYSTEM,
    oids::KP_IPSEC_TUNNEL,
    oids::KP_IPSEC_USER,
    oids::KP_TIME_STAMPING,
    oids::KP_OCSP_SIGNING,
    oids::KP_MICROSOFT_SERVER_GATED_CRYPTO,
    oids::KP_NETSCAPE_SERVER_GATED_CRYPTO,
    oids::KP_MICROSOFT_COMMERCIAL_CODE_SIGNING,
    oids::KP_MICROSOFT_KERNEL_CODE_SIGNING,
];
