//! What certificates and requests say in the extensions that matter here.

use bytes::Bytes;
use const_oid::ObjectIdentifier;

use super::aia::distribution_point_uris;
use super::{AccessLocations, Extension, Extensions, GeneralName, KeyUsage, parse_general_names};
use crate::error::{Malformation, ParseError, Structure};
use crate::oids;
use crate::tlv::{INTEGER, OCTET_STRING, Reader, context, oid_value, sequence_of, unsigned};

/// Basic constraints (RFC 5280 §4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether the subject is a CA.
    pub ca: bool,
    /// How many CA certificates may follow below; `None` for any number.
    pub path_len_constraint: Option<u32>,
}

impl BasicConstraints {
    /// Reads the DER of `BasicConstraints`.
    fn from_der(der: &[u8]) -> Result<Self, Malformation> {
        let mut outer = Reader::new(der);
        let mut reader = outer.sequence()?;
        outer.finish()?;
        let ca = reader.boolean_or_false()?;
        let path_len_constraint = reader
            .optional(INTEGER)?
            .map(|tlv| path_len(tlv.value))
            .transpose()?;
        reader.finish()?;
        Ok(Self {
            ca,
            path_len_constraint,
        })
    }

    /// `SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }`
    pub(crate) fn to_der(self) -> Vec<u8> {
        sequence_of(|out| {
            if self.ca {
                out.boolean_true();
            }
            if let Some(length) = self.path_len_constraint {
                out.unsigned(&length.to_be_bytes());
            }
        })
    }
}

fn path_len(content: &[u8]) -> Result<u32, Malformation> {
    u32::try_from(unsigned(content)?).map_err(|_| Malformation::InvalidInteger)
}

/// Authority key identifier (RFC 5280 §4.2.1.1), of which only the key identifier is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityKeyIdentifier {
    /// `keyIdentifier`, when present.
    pub key_identifier: Option<Bytes>,
}

impl AuthorityKeyIdentifier {
    fn read(value: &Bytes) -> Result<Self, Malformation> {
        let mut outer = Reader::new(value);
        let mut reader = outer.sequence()?;
        outer.finish()?;
        // authorityCertIssuer and authorityCertSerialNumber may follow.
        let key_identifier = reader
            .optional(context(0))?
            .map(|tlv| value.slice_ref(tlv.value));
        Ok(Self { key_identifier })
    }

    /// `SEQUENCE { keyIdentifier [0] IMPLICIT OCTET STRING }`
    pub(crate) fn key_identifier_to_der(key_identifier: &[u8]) -> Vec<u8> {
        sequence_of(|out| {
            out.element(context(0), key_identifier);
        })
    }
}

impl Extensions {
    /// The subject key identifier.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension is there and does not decode; so for all accessors
    /// below.
    pub fn subject_key_identifier(&self) -> Result<Option<Bytes>, ParseError> {
        self.parsed(&oids::CE_SUBJECT_KEY_IDENTIFIER, |value| {
            let mut reader = Reader::new(value);
            let identifier = reader.expect(OCTET_STRING)?.value;
            reader.finish()?;
            Ok(value.slice_ref(identifier))
        })
    }

    /// The authority key identifier.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension does not decode.
    pub fn authority_key_identifier(&self) -> Result<Option<AuthorityKeyIdentifier>, ParseError> {
        self.parsed(
            &oids::CE_AUTHORITY_KEY_IDENTIFIER,
            AuthorityKeyIdentifier::read,
        )
    }

    /// The key usage.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension does not decode.
    pub fn key_usage(&self) -> Result<Option<KeyUsage>, ParseError> {
        self.parsed(&oids::CE_KEY_USAGE, |value| KeyUsage::from_der(value))
    }

    /// The extended key usages in order; an object identifier too long for the type is left
    /// out, as nobody could ask for it.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension does not decode.
    pub fn extended_key_usage(&self) -> Result<Option<Vec<ObjectIdentifier>>, ParseError> {
        self.parsed(&oids::CE_EXT_KEY_USAGE, |value| {
            let mut outer = Reader::new(value);
            let mut reader = outer.sequence()?;
            outer.finish()?;
            let mut purposes = Vec::new();
            while !reader.is_empty() {
                purposes.extend(oid_value(reader.oid()?).ok());
            }
            Ok(purposes)
        })
    }

    /// The basic constraints.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension does not decode.
    pub fn basic_constraints(&self) -> Result<Option<BasicConstraints>, ParseError> {
        self.parsed(&oids::CE_BASIC_CONSTRAINTS, |value| {
            BasicConstraints::from_der(value)
        })
    }

    /// The subject alternative names; empty without the extension.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension does not decode.
    pub fn subject_alt_names(&self) -> Result<Vec<GeneralName>, ParseError> {
        self.parsed(&oids::CE_SUBJECT_ALT_NAME, parse_general_names)
            .map(Option::unwrap_or_default)
    }

    /// Whether both have the same subject alternative names, in whatever order. What cannot be read is never the
    /// same.
    pub fn has_same_names(&self, other: &Self) -> bool {
        let (Ok(own), Ok(others)) = (self.subject_alt_names(), other.subject_alt_names()) else {
            return false;
        };
        let is_within = |names: &[GeneralName], others: &[GeneralName]| {
            names
                .iter()
                .all(|name| others.iter().any(|other| name.is_same(other)))
        };
        is_within(&own, &others) && is_within(&others, &own)
    }

    /// Where OCSP, the issuer's certificate and the CRL are found; empty lists without the
    /// extensions. Names that are no URIs are passed over.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when one of the two extensions does not decode.
    pub fn access_locations(&self) -> Result<AccessLocations, ParseError> {
        let mut locations = self
            .parsed(
                &oids::PE_AUTHORITY_INFO_ACCESS,
                AccessLocations::from_authority_info_access,
            )?
            .unwrap_or_default();
        locations.crl = self
            .parsed(&oids::CE_CRL_DISTRIBUTION_POINTS, distribution_point_uris)?
            .unwrap_or_default();
        Ok(locations)
    }

    /// The extension that holds subject alternative names, undecoded.
    pub fn subject_alt_name_extension(&self) -> Option<&Extension> {
        self.find(&oids::CE_SUBJECT_ALT_NAME)
    }

    /// Reads the first extension of this kind.
    pub(crate) fn parsed<T>(
        &self,
        oid: &ObjectIdentifier,
        parse: impl FnOnce(&Bytes) -> Result<T, Malformation>,
    ) -> Result<Option<T>, ParseError> {
        self.find(oid)
            .map(|extension| parse(extension.value()))
            .transpose()
            .map_err(|malformation| malformation.within(Structure::Extension))
    }
}
