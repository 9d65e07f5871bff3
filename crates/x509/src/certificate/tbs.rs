//! The signed part of a certificate.

use bytes::Bytes;
use lamassu_crypto::{HashAlgorithm, KeyError, PublicKey};
use time::OffsetDateTime;

use crate::algorithm::AlgorithmIdentifier;
use crate::datetime::read_time;
use crate::error::Malformation;
use crate::extensions::Extensions;
use crate::name::Name;
use crate::serial::Serial;
use crate::tlv::{Reader, SEQUENCE, context, context_constructed};

/// What an issuer signs (RFC 5280 §4.1.2).
#[derive(Debug, Clone)]
pub struct TbsCertificate {
    serial: Serial,
    signed_algorithm: AlgorithmIdentifier,
    issuer: Name,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    subject: Name,
    spki: Bytes,
    extensions: Extensions,
}

impl TbsCertificate {
    pub(crate) fn parse(der: &Bytes) -> Result<Self, Malformation> {
        let mut outer = Reader::new(der);
        let mut tbs = outer.sequence()?;
        outer.finish()?;
        tbs.optional(context_constructed(0))?;
        let serial = Serial::from_integer_content(der.slice_ref(tbs.integer()?));
        let signed_algorithm = AlgorithmIdentifier::read(der, &mut tbs)?;
        let issuer = Name::parse(der.slice_ref(tbs.expect(SEQUENCE)?.raw))?;
        let mut validity = tbs.sequence()?;
        let not_before = read_time(&mut validity)?;
        let not_after = read_time(&mut validity)?;
        validity.finish()?;
        let subject = Name::parse(der.slice_ref(tbs.expect(SEQUENCE)?.raw))?;
        let spki = der.slice_ref(tbs.expect(SEQUENCE)?.raw);
        // issuerUniqueID and subjectUniqueID say nothing that anybody uses.
        tbs.optional(context(1))?;
        tbs.optional(context(2))?;
        let extensions = Extensions::read_explicit(der, &mut tbs, context_constructed(3))?;
        tbs.finish()?;
        Ok(Self {
            serial,
            signed_algorithm,
            issuer,
            not_before,
            not_after,
            subject,
            spki,
            extensions,
        })
    }

    /// The serial number.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The `signature` field: the algorithm that the issuer signed to have used. The one beside
    /// the signature should be the same (RFC 5280 §4.1.1.2); reading does not insist on it.
    pub fn signed_algorithm(&self) -> &AlgorithmIdentifier {
        &self.signed_algorithm
    }

    /// The issuer's name.
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// The subject's name.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// First instant of validity, in UTC.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Last instant of validity, in UTC.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// The DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &Bytes {
        &self.spki
    }

    /// The subject's public key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the algorithm or curve is not supported or the key is malformed.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki_der(&self.spki)
    }

    /// The extensions.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The octets of the subject key identifier extension; `None` without a readable one.
    pub fn subject_key_identifier(&self) -> Option<Bytes> {
        self.extensions.subject_key_identifier().ok().flatten()
    }

    /// The key identifier in the authority key identifier extension; `None` without a readable
    /// one.
    pub fn authority_key_identifier(&self) -> Option<Bytes> {
        self.extensions
            .authority_key_identifier()
            .ok()
            .flatten()
            .and_then(|identifier| identifier.key_identifier)
    }

    /// The identifier that this platform gives the subject's key: the extension's octets, or
    /// without it the SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_identifier(&self) -> Bytes {
        self.subject_key_identifier()
            .unwrap_or_else(|| HashAlgorithm::Sha256.digest(&self.spki).into())
    }

    /// Whether basic constraints say that the subject is a CA.
    pub fn is_ca(&self) -> bool {
        matches!(self.extensions.basic_constraints(), Ok(Some(constraints)) if constraints.ca)
    }
}
