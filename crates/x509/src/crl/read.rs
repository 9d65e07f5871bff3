//! Reading CRLs.

use bytes::Bytes;
use lamassu_crypto::PublicKey;
use time::OffsetDateTime;

use super::{CrlNumber, CrlReason, RevokedEntry};
use crate::algorithm::AlgorithmIdentifier;
use crate::datetime::{parse_time, read_time};
use crate::error::{Malformation, ParseError, Structure};
use crate::extensions::Extensions;
use crate::name::Name;
use crate::oids;
use crate::serial::Serial;
use crate::signed::{SignatureError, Signed};
use crate::tlv::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, Reader, SEQUENCE, UTC_TIME, context_constructed,
    unsigned,
};

/// A CRL and its DER.
#[derive(Debug, Clone)]
pub struct CertificateList {
    der: Bytes,
    signed: Signed,
    issuer: Name,
    this_update: OffsetDateTime,
    next_update: Option<OffsetDateTime>,
    entries: Bytes,
    extensions: Extensions,
}

impl CertificateList {
    /// Longest list that is read, in bytes.
    pub const MAX_LEN: usize = 1 << 28;

    /// Reads the DER of one list.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the bytes are not exactly one list, one of its entries does not
    /// decode, or there are more bytes than [`CertificateList::MAX_LEN`].
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse(der.into())
            .map_err(|malformation| malformation.within(Structure::CertificateList))
    }

    fn parse(der: Bytes) -> Result<Self, Malformation> {
        if der.len() > Self::MAX_LEN {
            return Err(Malformation::TooLarge);
        }
        let signed = Signed::parse(&der)?;
        let mut tbs = Reader::new(&signed.tbs).sequence()?;
        tbs.optional(INTEGER)?;
        AlgorithmIdentifier::read(&der, &mut tbs)?;
        let issuer = Name::parse(der.slice_ref(tbs.expect(SEQUENCE)?.raw))?;
        let this_update = read_time(&mut tbs)?;
        let next_update = match tbs.optional(UTC_TIME)? {
            Some(time) => Some(time),
            None => tbs.optional(GENERALIZED_TIME)?,
        };
        let next_update = next_update.map(parse_time).transpose()?;
        let entries = tbs.optional(SEQUENCE)?.map_or(&[][..], |list| list.value);
        let entries = der.slice_ref(entries);
        let extensions = Extensions::read_explicit(&der, &mut tbs, context_constructed(0))?;
        tbs.finish()?;
        let list = Self {
            der,
            signed,
            issuer,
            this_update,
            next_update,
            entries,
            extensions,
        };
        list.try_entries().try_for_each(|entry| entry.map(drop))?;
        Ok(list)
    }

    /// The DER as it was read.
    pub fn as_der(&self) -> &Bytes {
        &self.der
    }

    /// The issuer's name.
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// When the list was true.
    pub fn this_update(&self) -> OffsetDateTime {
        self.this_update
    }

    /// When the next list was promised for.
    pub fn next_update(&self) -> Option<OffsetDateTime> {
        self.next_update
    }

    /// The list's extensions.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The list's number.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension does not decode, or the number has more than 64 bits.
    pub fn number(&self) -> Result<Option<CrlNumber>, ParseError> {
        self.extensions.parsed(&oids::CE_CRL_NUMBER, read_number)
    }

    /// Of a delta CRL, the number of the complete list that it goes with; `None` of a complete one.
    ///
    /// # Errors
    ///
    /// As [`number`](Self::number).
    pub fn base_number(&self) -> Result<Option<CrlNumber>, ParseError> {
        self.extensions
            .parsed(&oids::CE_DELTA_CRL_INDICATOR, read_number)
    }

    /// The entries in order, decoded as they are asked for.
    pub fn entries(&self) -> impl Iterator<Item = RevokedEntry> {
        self.try_entries().map_while(Result::ok)
    }

    /// The entry with this serial number; reads the list from the front.
    pub fn entry(&self, serial: &Serial) -> Option<RevokedEntry> {
        self.entries().find(|entry| entry.serial == *serial)
    }

    /// Checks the signature with the issuer's key.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when the algorithm is not supported or the key did not sign.
    pub fn verify_signed_by(&self, key: &PublicKey) -> Result<(), SignatureError> {
        self.signed.verify(key)
    }

    fn try_entries(&self) -> impl Iterator<Item = Result<RevokedEntry, Malformation>> {
        let mut reader = Reader::new(&self.entries);
        std::iter::from_fn(move || {
            (!reader.is_empty()).then(|| read_entry(&self.entries, &mut reader))
        })
    }
}

fn read_number(value: &Bytes) -> Result<CrlNumber, Malformation> {
    let mut reader = Reader::new(value);
    let number = unsigned(reader.integer()?)?;
    reader.finish()?;
    Ok(CrlNumber(number))
}

/// `SEQUENCE { userCertificate, revocationDate, crlEntryExtensions OPTIONAL }`
fn read_entry(source: &Bytes, list: &mut Reader<'_>) -> Result<RevokedEntry, Malformation> {
    let mut entry = list.sequence()?;
    let serial = Serial::from_integer_content(source.slice_ref(entry.integer()?));
    let revocation_date = read_time(&mut entry)?;
    let reason = match entry.optional(SEQUENCE)? {
        Some(extensions) => read_reason(&Extensions::read(source, extensions.reader())?)?,
        None => CrlReason::Unspecified,
    };
    entry.finish()?;
    Ok(RevokedEntry {
        serial,
        revocation_date,
        reason,
    })
}

fn read_reason(extensions: &Extensions) -> Result<CrlReason, Malformation> {
    let Some(extension) = extensions.find(&oids::CE_CRL_REASONS) else {
        return Ok(CrlReason::Unspecified);
    };
    let mut reader = Reader::new(extension.value());
    let code = reader.expect(ENUMERATED)?.value;
    reader.finish()?;
    match code {
        // A code that RFC 5280 does not know revokes all the same.
        [code] => Ok(CrlReason::from_code(*code).unwrap_or_default()),
        _ => Err(Malformation::InvalidInteger),
    }
}
