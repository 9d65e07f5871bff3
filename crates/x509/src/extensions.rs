//! Extensions (RFC 5280 §4.2), of certificates, requests and CRLs.
//!
//! An extension of unknown or broken content stays an unread value: only who asks for it
//! gets the error. Next: [`Extensions`] with one accessor per extension that matters here,
//! [`KeyUsage`], [`GeneralName`].

mod access;
mod aia;
mod general_name;
mod key_usage;
mod name_constraints;
mod san_check;

pub use access::{AuthorityKeyIdentifier, BasicConstraints};
pub use aia::AccessLocations;
pub use general_name::GeneralName;
pub use key_usage::{KeyUsage, KeyUsageBit};
pub use name_constraints::Subtree;
pub use san_check::SanError;

pub(crate) use aia::{distribution_point_uris, full_name_uris, uri_general_names};
pub(crate) use general_name::{general_names_to_der, parse_general_names};
pub(crate) use san_check::check_subject_alt_name;

use std::collections::HashSet;

use bytes::Bytes;
use const_oid::ObjectIdentifier;

use crate::error::Malformation;
use crate::tlv::{NULL, OCTET_STRING, Reader, Writer, oid_value};

/// One extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    oid: Bytes,
    critical: bool,
    value: Bytes,
}

impl Extension {
    /// An extension whose value is this DER.
    pub fn new(oid: &ObjectIdentifier, criticality: Criticality, value: impl Into<Bytes>) -> Self {
        Self {
            oid: Bytes::copy_from_slice(oid.as_bytes()),
            critical: criticality == Criticality::Critical,
            value: value.into(),
        }
    }

    /// Tells relying parties not to ask whether an OCSP responder's own certificate is revoked
    /// (RFC 6960 §4.2.2.2.1). Its value is NULL.
    pub fn ocsp_nocheck() -> Self {
        Self::new(
            &crate::oids::PKIX_OCSP_NOCHECK,
            Criticality::NonCritical,
            Bytes::from_static(&[NULL, 0]),
        )
    }

    /// The object identifier, unless its arcs are beyond what the type holds.
    pub fn oid(&self) -> Option<ObjectIdentifier> {
        oid_value(&self.oid).ok()
    }

    /// Whether the extension is of this kind.
    pub fn is(&self, oid: &ObjectIdentifier) -> bool {
        self.oid.as_ref() == oid.as_bytes()
    }

    /// Whether who does not understand the extension must refuse what carries it.
    pub fn is_critical(&self) -> bool {
        self.critical
    }

    /// The content of `extnValue`: the DER of the extension's own type.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// Reads `SEQUENCE { extnID, critical DEFAULT FALSE, extnValue }`.
    pub(crate) fn read(source: &Bytes, reader: &mut Reader<'_>) -> Result<Self, Malformation> {
        let mut extension = reader.sequence()?;
        let oid = extension.oid()?;
        let critical = extension.boolean_or_false()?;
        let value = extension.expect(OCTET_STRING)?;
        extension.finish()?;
        Ok(Self {
            oid: source.slice_ref(oid),
            critical,
            value: source.slice_ref(value.value),
        })
    }

    /// Appends `SEQUENCE { extnID, critical DEFAULT FALSE, extnValue }`.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.sequence(|extension| {
            extension.element(crate::tlv::OBJECT_IDENTIFIER, &self.oid);
            if self.critical {
                extension.boolean_true();
            }
            extension.octet_string(&self.value);
        });
    }
}

/// Whether an extension must be understood (RFC 5280 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criticality {
    /// Who does not understand it refuses the whole.
    Critical,
    /// Who does not understand it passes over it.
    NonCritical,
}

/// A list of extensions, in the order of the DER, perhaps with repetitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions(Vec<Extension>);

impl Extensions {
    /// Most extensions that are read in one list.
    pub const MAX_LEN: usize = 256;

    /// No extension at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Appends one.
    pub fn push(&mut self, extension: Extension) {
        self.0.push(extension);
    }

    /// All of them in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Extension> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first extension of this kind.
    pub fn find(&self, oid: &ObjectIdentifier) -> Option<&Extension> {
        self.0.iter().find(|extension| extension.is(oid))
    }

    /// The first extension that stands here twice, which RFC 5280 §4.2 forbids.
    pub fn repeated(&self) -> Option<&Extension> {
        let mut seen = HashSet::with_capacity(self.0.len());
        self.0
            .iter()
            .find(|extension| !seen.insert(extension.oid.as_ref()))
    }

    /// Reads the elements of a `SEQUENCE OF Extension`.
    pub(crate) fn read(source: &Bytes, mut list: Reader<'_>) -> Result<Self, Malformation> {
        let mut extensions = Vec::new();
        while !list.is_empty() {
            if extensions.len() == Self::MAX_LEN {
                return Err(Malformation::TooLarge);
            }
            extensions.push(Extension::read(source, &mut list)?);
        }
        Ok(Self(extensions))
    }

    /// Reads `[n] EXPLICIT SEQUENCE OF Extension OPTIONAL`.
    pub(crate) fn read_explicit(
        source: &Bytes,
        reader: &mut Reader<'_>,
        tag: u8,
    ) -> Result<Self, Malformation> {
        let Some(explicit) = reader.optional(tag)? else {
            return Ok(Self::none());
        };
        let mut explicit = explicit.reader();
        let list = explicit.sequence()?;
        explicit.finish()?;
        Self::read(source, list)
    }

    /// Appends a `SEQUENCE OF Extension`.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.sequence(|list| {
            for extension in &self.0 {
                extension.write(list);
            }
        });
    }
}

impl FromIterator<Extension> for Extensions {
    fn from_iter<I: IntoIterator<Item = Extension>>(extensions: I) -> Self {
        Self(extensions.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Extensions {
    type Item = &'a Extension;
    type IntoIter = std::slice::Iter<'a, Extension>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
