//! From a request and a profile to the certificate that an issuer signs.
//!
//! Pure: time, serial number and addresses are parameters, and the signature is made
//! elsewhere. One story for all kinds of certificates: a [`Subject`] (a new root, a verified
//! request, a certificate to be reissued) and an [`Issuer`] meet under [`Terms`], and
//! [`prepare`] gives a [`Prepared`] certificate that has passed the key policy and the lint.
//!
//! Next: `issue/profile.rs` (rules), `issue/subject.rs` (what is asked for),
//! `issue/key_policy.rs`, `issue/extensions.rs` (order and criticality).

mod extensions;
mod key_policy;
mod profile;
mod subject;

pub use key_policy::{KeyPolicy, KeyPolicyError, SizeRule};
pub use profile::{
    CertificateRole, ExtendedKeyUsageRule, KeyUsageRule, NAMED_KEY_PURPOSES, Profile,
    SubjectAltNameRule, SubjectRule, Validity,
};
pub use subject::{Issuer, Subject};

pub(crate) use extensions::extended_key_usage_to_der;

use bytes::Bytes;
use time::{Duration, OffsetDateTime};

use crate::algorithm::{AlgorithmError, AlgorithmIdentifier};
use crate::certificate::TbsCertificate;
use crate::datetime::{is_encodable, write_time};
use crate::error::{ParseError, Structure};
use crate::extensions::{AccessLocations, Extensions, SanError};
use crate::lint::{Draft, LintPolicy, LintRule};
use crate::name::{Name, NameError};
use crate::serial::SerialNumber;
use crate::signed::ToBeSigned;
use crate::tlv::{context_constructed, sequence_of};

/// Under which conditions a certificate is issued.
#[derive(Debug)]
pub struct Terms<'a> {
    /// The rules.
    pub profile: &'a Profile,
    /// A number that this issuer has not used.
    pub serial: &'a SerialNumber,
    /// The present time; fractions of a second are cut.
    pub now: OffsetDateTime,
    /// Where the issuer's certificates can be validated.
    pub locations: &'a AccessLocations,
    /// What the finished certificate is checked for.
    pub lint: &'a LintPolicy,
}

/// A certificate that needs only its signature.
#[derive(Debug)]
pub struct Prepared {
    /// What the issuer's key signs.
    pub to_be_signed: ToBeSigned,
    /// The same as a relying party reads it.
    pub certificate: TbsCertificate,
    /// Rules of the lint that warn about it.
    pub warnings: Vec<LintRule>,
}

/// Why a certificate is not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The profile does not allow this kind or size of key.
    #[error(transparent)]
    KeyPolicy(#[from] KeyPolicyError),
    /// The request's key usage or extended key usage does not decode.
    #[error("requested extension cannot be read")]
    RequestedExtension(#[source] ParseError),
    /// The subject has an attribute that cannot be issued.
    #[error(transparent)]
    Subject(#[from] NameError),
    /// The requested alternative names cannot be issued.
    #[error(transparent)]
    SubjectAltName(#[from] SanError),
    /// The validity begins or ends outside the years 1 to 9999.
    #[error("validity is outside the years 1 to 9999")]
    ValidityOutOfRange,
    /// The issuer's scheme has no algorithm identifier.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// The finished certificate breaks a rule that refuses.
    #[error("certificate refused by lint: {0}")]
    Lint(LintRule),
    /// The finished certificate cannot be read back.
    #[error("certificate cannot be encoded")]
    Encoding(#[source] ParseError),
}

/// Makes the certificate's signed part.
///
/// # Errors
///
/// [`IssueError`] says what the request, the profile or the lint does not permit.
pub fn prepare(
    subject: &Subject,
    issuer: &Issuer,
    terms: &Terms<'_>,
) -> Result<Prepared, IssueError> {
    terms.profile.key_policy.check(subject.key_spec())?;
    let subject_name = terms.profile.subject.apply(subject.name())?;
    let (not_before, not_after) = validity(terms.profile, terms.now)?;
    let extensions = extensions::build(subject, issuer, terms)?;
    let scheme = issuer.scheme();
    let algorithm = AlgorithmIdentifier::of_scheme(scheme)?;
    let fields = Fields {
        serial: terms.serial,
        algorithm: &algorithm,
        issuer: issuer.name().unwrap_or(&subject_name),
        not_before,
        not_after,
        subject: &subject_name,
        spki: subject.spki(),
    };
    let der = Bytes::from(fields.to_der(&extensions));
    let certificate = read_back(&der)?;
    let drafted = Draft {
        certificate: &certificate,
        profile: terms.profile,
        issuer,
    };
    let warnings = terms.lint.check(&drafted).map_err(IssueError::Lint)?;
    Ok(Prepared {
        to_be_signed: ToBeSigned::new(der, scheme, algorithm),
        certificate,
        warnings,
    })
}

/// Reads back what was made, for the checks.
fn read_back(der: &Bytes) -> Result<TbsCertificate, IssueError> {
    TbsCertificate::parse(der)
        .map_err(|malformation| IssueError::Encoding(malformation.within(Structure::Certificate)))
}

/// First and last instant, in whole seconds.
fn validity(
    profile: &Profile,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), IssueError> {
    let not_before = now.checked_sub(profile.back_dating);
    let not_after = match profile.validity {
        Validity::Duration(duration) => now.checked_add(duration),
        Validity::Until(time) => Some(time),
    };
    match (not_before, not_after) {
        (Some(from), Some(to)) if is_encodable(from) && is_encodable(to) => {
            Ok((whole_seconds(from), whole_seconds(to)))
        }
        _ => Err(IssueError::ValidityOutOfRange),
    }
}

fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.saturating_sub(Duration::nanoseconds(i64::from(time.nanosecond())))
}

/// The fields of a TBSCertificate before its extensions.
struct Fields<'a> {
    serial: &'a SerialNumber,
    algorithm: &'a AlgorithmIdentifier,
    issuer: &'a Name,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    subject: &'a Name,
    spki: &'a [u8],
}

impl Fields<'_> {
    /// `SEQUENCE { [0] version v3, serialNumber, signature, issuer, SEQUENCE { notBefore,
    /// notAfter }, subject, subjectPublicKeyInfo, [3] extensions }`
    fn to_der(&self, extensions: &Extensions) -> Vec<u8> {
        sequence_of(|tbs| {
            tbs.nested(context_constructed(0), |version| {
                version.unsigned(&[2]);
            })
            .unsigned(self.serial.as_bytes())
            .raw(self.algorithm.as_der())
            .raw(self.issuer.as_der())
            .sequence(|validity| {
                write_time(validity, self.not_before);
                write_time(validity, self.not_after);
            })
            .raw(self.subject.as_der())
            .raw(self.spki)
            .nested(context_constructed(3), |explicit| {
                extensions.write(explicit);
            });
        })
    }
}
