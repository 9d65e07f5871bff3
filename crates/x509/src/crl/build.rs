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
use crate::tlv::{
    ENUMERATED, Framed, INTEGER, SEQUENCE, Writer, context_constructed, header_len, sequence_of,
};

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

/// Gathers the entries of a version 2 CRL.
///
/// Memory and time grow with the number of entries: each takes some 40 bytes, in the one buffer
/// that becomes the signed list.
#[derive(Debug)]
pub struct CrlBuilder {
    scheme: SignatureScheme,
    algorithm: AlgorithmIdentifier,
    /// The fields of the list in front of its entries.
    before: Vec<u8>,
    entries: Framed,
    extensions: Extensions,
    /// The reasons' extensions, by code: there are few, and a million entries.
    reasons: Vec<(CrlReason, Vec<u8>)>,
}

/// Most bytes of tag and length of one element.
const LONGEST_HEADER: usize = 10;

impl CrlBuilder {
    /// A list without entries, with the extensions of every complete list: authority key
    /// identifier and number.
    ///
    /// # Errors
    ///
    /// [`CrlError::DateOutOfRange`] when a date cannot be written, [`CrlError::Algorithm`] when the
    /// scheme has no algorithm identifier.
    pub fn new(fields: &CrlFields) -> Result<Self, CrlError> {
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
        let number = Extension::new(
            &oids::CE_CRL_NUMBER,
            Criticality::NonCritical,
            number_to_der(fields.number),
        );
        let algorithm = AlgorithmIdentifier::of_scheme(fields.scheme)?;
        let before = before_entries(fields, &algorithm);
        // The list's frame, the signed part's, and that of the entries.
        let room = before
            .len()
            .saturating_add(LONGEST_HEADER.saturating_mul(3));
        Ok(Self {
            scheme: fields.scheme,
            algorithm,
            before,
            entries: Framed::with_room(room),
            extensions: key_identifier.into_iter().chain([number]).collect(),
            reasons: CrlReason::ALL
                .map(|reason| (reason, reason_extensions(reason)))
                .into(),
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
    /// `removeFromCRL`, which would say that the certificate is not on the list.
    ///
    /// # Errors
    ///
    /// [`CrlError::DateOutOfRange`] when the date cannot be written.
    pub fn push(&mut self, entry: &RevokedEntry) -> Result<(), CrlError> {
        match entry.reason {
            CrlReason::Unspecified | CrlReason::RemoveFromCrl => self.push_with(entry, None),
            reason => self.push_with(entry, Some(reason)),
        }
    }

    /// Adds a certificate whose hold was released since the base list of this delta CRL, with the
    /// date of the release and the reason `removeFromCRL` (RFC 5280 §5.3.1).
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_removed(&mut self, entry: &RevokedEntry) -> Result<(), CrlError> {
        self.push_with(entry, Some(CrlReason::RemoveFromCrl))
    }

    fn push_with(
        &mut self,
        entry: &RevokedEntry,
        reason: Option<CrlReason>,
    ) -> Result<(), CrlError> {
        if !is_encodable(entry.revocation_date) {
            return Err(CrlError::DateOutOfRange);
        }
        let extensions = self
            .reasons
            .iter()
            .find(|(known, _)| Some(*known) == reason)
            .map_or(&[][..], |(_, der)| der);
        self.entries.append(|out| {
            out.sequence(|out| {
                out.element(INTEGER, entry.serial.as_bytes());
                write_time(out, entry.revocation_date);
                out.raw(extensions);
            });
        });
        Ok(())
    }

    /// The list's signed part.
    ///
    /// ```text
    /// SEQUENCE { version v2, signature, issuer, thisUpdate, nextUpdate,
    ///            revokedCertificates SEQUENCE OF … OPTIONAL, [0] crlExtensions }
    /// ```
    pub fn finish(self) -> ToBeSigned {
        let Self {
            scheme,
            algorithm,
            before,
            mut entries,
            extensions,
            reasons: _,
        } = self;
        let mut front = Writer::over(before);
        // An empty list of entries must be absent (RFC 5280 §5.1.2.6).
        if entries.len() > 0 {
            front.header(SEQUENCE, entries.len());
        }
        entries.prepend(&front.into_vec());
        entries.append(|out| {
            out.nested(context_constructed(0), |explicit| {
                extensions.write(explicit);
            });
        });
        let mut header = Writer::with_capacity(header_len(entries.len()));
        header.header(SEQUENCE, entries.len());
        entries.prepend(&header.into_vec());
        ToBeSigned::framed(entries, scheme, algorithm)
    }
}

fn before_entries(fields: &CrlFields, algorithm: &AlgorithmIdentifier) -> Vec<u8> {
    let mut out = Writer::new();
    out.unsigned(&[1])
        .raw(algorithm.as_der())
        .raw(fields.issuer.as_der());
    write_time(&mut out, fields.this_update);
    write_time(&mut out, fields.next_update);
    out.into_vec()
}

pub(super) fn number_to_der(number: CrlNumber) -> Vec<u8> {
    let mut out = Writer::new();
    out.unsigned(&number.0.to_be_bytes());
    out.into_vec()
}

/// `crlEntryExtensions` of an entry with this reason.
fn reason_extensions(reason: CrlReason) -> Vec<u8> {
    sequence_of(|list| {
        let mut value = Writer::new();
        value.element(ENUMERATED, &[reason.code()]);
        Extension::new(
            &oids::CE_CRL_REASONS,
            Criticality::NonCritical,
            value.into_vec(),
        )
        .write(list);
    })
}
