//! Making CRLs.

use lamassu_crypto::SignatureScheme;
use time::OffsetDateTime;

use super::{CrlNumber, CrlReason, RevokedEntry};
use crate::algorithm::{AlgorithmError, AlgorithmIdentifier};
use crate::datetime::{is_encodable, write_time};
use crate::extensions::{AuthorityKeyIdentifier, Criticality, Extension, Extensions};
use crate::name::Name;
use crate::oids;
use crate::signed::ToBeSigned;
use crate::tlv::{ENUMERATED, INTEGER, SEQUENCE, Writer, context_constructed, header_len};

/// What a CRL says about itself.
#[derive(Debug, Clone)]
pub struct CrlFields {
    /// The issuer's subject, byte for byte.
    pub issuer: Name,
    /// The issuer's subject key identifier; `None` leaves the extension out.
    pub authority_key_identifier: Option<bytes::Bytes>,
    /// One more than the issuer's list before.
    pub number: CrlNumber,
    /// When the list was true; fractions of a second are cut.
    pub this_update: OffsetDateTime,
    /// When the next list will be there at the latest.
    pub next_update: OffsetDateTime,
    /// How the issuer's key signs.
    pub scheme: SignatureScheme,
}

/// Why a CRL cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// A date outside the years 1 to 9999.
    #[error("a date of the CRL is outside the years 1 to 9999")]
    DateOutOfRange,
    /// The scheme has no algorithm identifier.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
}

/// Gathers the entries of a complete, version 2 CRL.
///
/// Memory and time grow with the number of entries: each takes some 40 bytes, and is copied
/// twice more until the signed list stands.
#[derive(Debug)]
pub struct CrlBuilder {
    fields: CrlFields,
    entries: Writer,
    extensions: Extensions,
}

impl CrlBuilder {
    /// A list without entries, with the extensions of every complete list: authority key
    /// identifier and number.
    ///
    /// # Errors
    ///
    /// [`CrlError::DateOutOfRange`] when a date cannot be written.
    pub fn new(fields: CrlFields) -> Result<Self, CrlError> {
        if !is_encodable(fields.this_update) || !is_encodable(fields.next_update) {
            return Err(CrlError::DateOutOfRange);
        }
        let key_identifier = fields.authority_key_identifier.as_ref().map(|identifier| {
            Extension::new(
                &oids::CE_AUTHORITY_KEY_IDENTIFIER,
                Criticality::NonCritical,
                AuthorityKeyIdentifier::key_identifier_to_der(identifier),
            )
        });
        let mut number = Writer::new();
        number.unsigned(&fields.number.0.to_be_bytes());
        let number = Extension::new(
            &oids::CE_CRL_NUMBER,
            Criticality::NonCritical,
            number.into_vec(),
        );
        Ok(Self {
            fields,
            entries: Writer::new(),
            extensions: key_identifier.into_iter().chain([number]).collect(),
        })
    }

    /// Adds an extension of the list, as lists of narrower scope need it: an issuing
    /// distribution point or a delta CRL indicator (RFC 5280 §5.2.4, §5.2.5).
    pub fn push_extension(&mut self, extension: Extension) {
        self.extensions.push(extension);
    }

    /// Adds a revoked certificate. The order is kept; serial numbers must not repeat.
    ///
    /// ```text
    /// SEQUENCE { userCertificate, revocationDate, SEQUENCE { reasonCode } OPTIONAL }
    /// ```
    ///
    /// Two reasons are left out: `unspecified`, which RFC 5280 §5.3.1 wants left out, and
    /// `removeFromCRL`, which in a complete list would say that the certificate is not on it.
    ///
    /// # Errors
    ///
    /// [`CrlError::DateOutOfRange`] when the date cannot be written.
    pub fn push(&mut self, entry: &RevokedEntry) -> Result<(), CrlError> {
        if !is_encodable(entry.revocation_date) {
            return Err(CrlError::DateOutOfRange);
        }
        self.entries.sequence(|out| {
            out.element(INTEGER, entry.serial.as_bytes());
            write_time(out, entry.revocation_date);
            match entry.reason {
                CrlReason::Unspecified | CrlReason::RemoveFromCrl => {}
                reason => Extensions::from_iter([reason_extension(reason)]).write(out),
            }
        });
        Ok(())
    }

    /// The list's signed part.
    ///
    /// ```text
    /// SEQUENCE { version v2, signature, issuer, thisUpdate, nextUpdate,
    ///            revokedCertificates SEQUENCE OF … OPTIONAL, [0] crlExtensions }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CrlError::Algorithm`] when the scheme has no algorithm identifier.
    pub fn finish(self) -> Result<ToBeSigned, CrlError> {
        let scheme = self.fields.scheme;
        let algorithm = AlgorithmIdentifier::of_scheme(scheme)?;
        let mut before = Writer::new();
        before
            .unsigned(&[1])
            .raw(algorithm.as_der())
            .raw(self.fields.issuer.as_der());
        write_time(&mut before, self.fields.this_update);
        write_time(&mut before, self.fields.next_update);
        let mut after = Writer::new();
        after.nested(context_constructed(0), |explicit| {
            self.extensions.write(explicit);
        });
        let der = joined(
            &before.into_vec(),
            &self.entries.into_vec(),
            &after.into_vec(),
        );
        Ok(ToBeSigned::new(der, scheme, algorithm))
    }
}

/// `SEQUENCE { before, SEQUENCE { entries }, after }` in a buffer of the right size. An empty
/// list of entries must be absent (RFC 5280 §5.1.2.6).
fn joined(before: &[u8], entries: &[u8], after: &[u8]) -> Vec<u8> {
    let list_len = match entries.len() {
        0 => 0,
        len => header_len(len).saturating_add(len),
    };
    let content_len = before
        .len()
        .saturating_add(list_len)
        .saturating_add(after.len());
    let mut out = Writer::with_capacity(header_len(content_len).saturating_add(content_len));
    out.header(SEQUENCE, content_len).raw(before);
    if !entries.is_empty() {
        out.element(SEQUENCE, entries);
    }
    out.raw(after);
    out.into_vec()
}

fn reason_extension(reason: CrlReason) -> Extension {
    let mut value = Writer::new();
    value.element(ENUMERATED, &[reason.code()]);
    Extension::new(
        &oids::CE_CRL_REASONS,
        Criticality::NonCritical,
        value.into_vec(),
    )
}
