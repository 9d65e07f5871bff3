//! Distinguished names (RFC 5280 §4.1.2.4).
//!
//! A [`Name`] keeps its DER: names are compared and copied as bytes, never decoded and
//! encoded again, except where [`Name::issuable`] must repair a value that relying parties
//! cannot read. [`SubjectFields`] are the six attributes that people type.
//!
//! Next: `name/build.rs` (fields → name), `name/attribute.rs` (values → text),
//! `name/compare.rs` (RFC 5280 §7.1), `name/issuable.rs` (repair).

mod attribute;
mod build;
mod compare;
mod issuable;

use std::fmt;

use bytes::Bytes;

pub use attribute::Attribute;
pub use build::SubjectFields;
pub use issuable::NameError;

use crate::error::{Malformation, ParseError, Structure};
use crate::tlv::{Reader, SEQUENCE, SET};

/// A distinguished name, as DER.
///
/// Equality is equality of bytes; see [`Name::matches`] for the comparison of RFC 5280 §7.1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Bytes);

impl Name {
    /// Reads the DER of a `Name`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the bytes are not exactly one RDNSequence.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse(der.into()).map_err(|malformation| malformation.within(Structure::Name))
    }

    pub(crate) fn parse(der: Bytes) -> Result<Self, Malformation> {
        let mut reader = Reader::new(&der);
        let mut rdns = reader.expect(SEQUENCE)?.reader();
        reader.finish()?;
        while !rdns.is_empty() {
            let mut rdn = rdns.expect(SET)?.reader();
            while !rdn.is_empty() {
                Attribute::read(&mut rdn)?;
            }
        }
        Ok(Self(der))
    }

    /// A name whose DER was made here.
    pub(crate) fn from_encoded(der: Vec<u8>) -> Self {
        Self(der.into())
    }

    /// The DER.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// Whether the name has no attributes at all.
    pub fn is_empty(&self) -> bool {
        self.attributes().next().is_none()
    }

    /// All attributes in the order of the DER, whatever RDN they stand in.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.rdns().flatten()
    }

    /// The RDNs, each a list of attributes.
    pub(crate) fn rdns(&self) -> impl Iterator<Item = Vec<Attribute<'_>>> {
        let mut rdns = Reader::new(&self.0)
            .sequence()
            .unwrap_or_else(|_| Reader::new(&[]));
        std::iter::from_fn(move || {
            let mut rdn = rdns.expect(SET).ok()?.reader();
            let mut attributes = Vec::new();
            while let Ok(attribute) = Attribute::read(&mut rdn) {
                attributes.push(attribute);
            }
            Some(attributes)
        })
    }

    /// The six fields: the last common name, and the first value of each other attribute.
    pub fn subject_fields(&self) -> SubjectFields {
        SubjectFields::of(self)
    }

    /// The last common name, if there is one.
    pub fn common_name(&self) -> Option<String> {
        self.attributes()
            .filter(|attribute| attribute.is(&crate::oids::AT_COMMON_NAME))
            .last()
            .map(|attribute| attribute.text())
    }

    /// All values of one attribute type, in order.
    pub fn values(&self, oid: &const_oid::ObjectIdentifier) -> Vec<String> {
        self.attributes()
            .filter(|attribute| attribute.is(oid))
            .map(|attribute| attribute.text())
            .collect()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl fmt::Display for Name {
    /// `C=ES,O=Example,CN=device`: for people, not for comparing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.attributes().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}={}", attribute.label(), attribute.text())?;
        }
        Ok(())
    }
}
