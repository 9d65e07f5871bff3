//! Who gets a certificate, and who gives it.

use bytes::Bytes;
use const_oid::ObjectIdentifier;
use lamassu_crypto::{HashAlgorithm, KeySpec, PublicKey, SignatureScheme};
use time::OffsetDateTime;

use super::IssueError;
use super::profile::NAMED_KEY_PURPOSES;
use crate::certificate::Certificate;
use crate::csr::VerifiedCsr;
use crate::extensions::{Extension, Extensions, KeyUsage};
use crate::name::Name;

/// What is asked for, before a profile is applied.
#[derive(Debug, Clone)]
pub struct Subject {
    name: Name,
    spki: Bytes,
    key_spec: KeySpec,
    key_identifier: Bytes,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Vec<ObjectIdentifier>,
    subject_alt_name: Option<Extension>,
}

impl Subject {
    /// A new root: it asks for what a CA needs. `key_identifier` becomes the subject key
    /// identifier.
    pub fn root(name: Name, public_key: &PublicKey, key_identifier: impl Into<Bytes>) -> Self {
        Self {
            name,
            spki: Bytes::copy_from_slice(public_key.spki_der()),
            key_spec: public_key.spec(),
            key_identifier: key_identifier.into(),
            key_usage: Some(KeyUsage::ca()),
            extended_key_usage: Vec::new(),
            subject_alt_name: None,
        }
    }

    /// What a request asks for. The subject key identifier is the SHA-256 of its
    /// SubjectPublicKeyInfo; key usages and alternative names are read, all else it asks for
    /// is passed over.
    ///
    /// # Errors
    ///
    /// [`IssueError::RequestedExtension`] when a requested key usage or extended key usage
    /// does not decode.
    pub fn of_csr(verified: &VerifiedCsr) -> Result<Self, IssueError> {
        let csr = verified.csr();
        let requested = Requested::read(csr.requested_extensions())?;
        Ok(Self {
            name: csr.subject().clone(),
            spki: csr.spki_der().clone(),
            key_spec: verified.public_key().spec(),
            key_identifier: HashAlgorithm::Sha256.digest(csr.spki_der()).into(),
            key_usage: requested.key_usage,
            extended_key_usage: requested.extended_key_usage,
            subject_alt_name: requested.subject_alt_name,
        })
    }

    /// What a CA's certificate says, for another one on the same key: name and key identifier
    /// octet for octet, so that what was issued under it stays valid; usages and alternative names.
    ///
    /// # Errors
    ///
    /// [`IssueError::RequestedExtension`] when a key usage or extended key usage does not decode.
    pub fn of_certificate(
        certificate: &Certificate,
        public_key: &PublicKey,
    ) -> Result<Self, IssueError> {
        let requested = Requested::read(certificate.extensions())?;
        Ok(Self {
            name: certificate.subject().clone(),
            spki: certificate.spki_der().clone(),
            key_spec: public_key.spec(),
            key_identifier: certificate.key_identifier(),
            key_usage: requested.key_usage,
            extended_key_usage: requested.extended_key_usage,
            subject_alt_name: requested.subject_alt_name,
        })
    }

    /// The requested name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The kind and size of the key.
    pub fn key_spec(&self) -> KeySpec {
        self.key_spec
    }

    /// What the subject key identifier will be.
    pub fn key_identifier(&self) -> &Bytes {
        &self.key_identifier
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(super) fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    pub(super) fn extended_key_usage(&self) -> &[ObjectIdentifier] {
        &self.extended_key_usage
    }

    pub(super) fn subject_alt_name(&self) -> Option<&Extension> {
        self.subject_alt_name.as_ref()
    }
}

/// The extensions that issuing reads.
struct Requested {
    key_usage: Option<KeyUsage>,
    extended_key_usage: Vec<ObjectIdentifier>,
    subject_alt_name: Option<Extension>,
}

impl Requested {
    fn read(extensions: &Extensions) -> Result<Self, IssueError> {
        let key_usage = extensions
            .key_usage()
            .map_err(IssueError::RequestedExtension)?;
        let mut extended_key_usage = extensions
            .extended_key_usage()
            .map_err(IssueError::RequestedExtension)?
            .unwrap_or_default();
        extended_key_usage.retain(|purpose| NAMED_KEY_PURPOSES.contains(purpose));
        Ok(Self {
            key_usage,
            extended_key_usage,
            subject_alt_name: extensions.subject_alt_name_extension().cloned(),
        })
    }
}

/// Who signs a certificate.
#[derive(Debug, Clone)]
pub enum Issuer {
    /// The subject itself: a root.
    Itself {
        /// How its key signs.
        scheme: SignatureScheme,
    },
    /// A CA.
    Ca {
        /// Its subject, byte for byte.
        name: Name,
        /// Its subject key identifier; `None` leaves the authority key identifier out.
        key_identifier: Option<Bytes>,
        /// How its key signs.
        scheme: SignatureScheme,
        /// When its own certificate ends.
        not_after: OffsetDateTime,
    },
}

impl Issuer {
    /// The CA with this certificate.
    pub fn with_certificate(certificate: &Certificate, scheme: SignatureScheme) -> Self {
        Self::Ca {
            name: certificate.subject().clone(),
            key_identifier: certificate.subject_key_identifier(),
            scheme,
            not_after: certificate.not_after(),
        }
    }

    pub(super) fn scheme(&self) -> SignatureScheme {
        match self {
            Self::Itself { scheme } | Self::Ca { scheme, .. } => *scheme,
        }
    }

    /// When its own certificate ends; `None` when that is the subject's.
    pub(crate) fn not_after(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Itself { .. } => None,
            Self::Ca { not_after, .. } => Some(*not_after),
        }
    }

    /// Its name; `None` when that is the subject's.
    pub(crate) fn name(&self) -> Option<&Name> {
        match self {
            Self::Itself { .. } => None,
            Self::Ca { name, .. } => Some(name),
        }
    }

    /// What the authority key identifier of `subject`'s certificate names.
    pub(super) fn key_identifier<'a>(&'a self, subject: &'a Subject) -> Option<&'a Bytes> {
        match self {
            Self::Itself { .. } => Some(&subject.key_identifier),
            Self::Ca { key_identifier, .. } => key_identifier.as_ref(),
        }
    }
}
