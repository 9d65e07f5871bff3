//! Names that may go into a certificate of ours.
//!
//! A subject taken from a request is copied byte for byte, with one exception. Go's
//! `crypto/x509` refuses a whole certificate over one attribute value that does not fit its
//! string type, and with it every list that holds the certificate. Such values are written
//! again as UTF8String when they mean something (an underscore in a PrintableString, a
//! UniversalString), and refused when they do not.

use super::attribute::decode;
use super::build::is_printable;
use super::{Attribute, Name};
use crate::tlv::{
    BMP_STRING, IA5_STRING, NUMERIC_STRING, PRINTABLE_STRING, SET, TELETEX_STRING, UTF8_STRING,
    Writer, sequence_of,
};

/// Why a requested subject cannot be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The value has no meaning in its string type, or is no string.
    #[error("the value of subject attribute {0} is not a valid string")]
    MeaninglessValue(String),
    /// The value holds a character that no database keeps in a text.
    #[error(
        "the value of subject attribute {0} holds the character U+0000, which cannot be stored"
    )]
    HoldsNul(String),
    /// The attribute's type is an object identifier that relying parties cannot decode.
    #[error("the type of subject attribute {0} is not a valid object identifier")]
    UnreadableType(String),
}

impl Name {
    /// The name as it may be issued: the same bytes, or with the values repaired that Go's
    /// `crypto/x509` would refuse.
    ///
    /// # Errors
    ///
    /// [`NameError`] names the attribute that cannot be repaired.
    pub fn issuable(&self) -> Result<Self, NameError> {
        self.refuse_nul()?;
        let mut rdns = Vec::new();
        let mut repaired = false;
        for rdn in self.rdns() {
            let mut attributes = Vec::new();
            for attribute in rdn {
                let value = issuable_value(&attribute)?;
                repaired |= matches!(value, Issuable::Rewritten(_));
                attributes.push((attribute, value));
            }
            rdns.push(attributes);
        }
        if !repaired {
            return Ok(self.clone());
        }
        Ok(Self::from_encoded(sequence_of(|name| {
            for rdn in &rdns {
                name.nested(SET, |set| write_rdn(set, rdn));
            }
        })))
    }

    /// Refuses a name whose text nobody can store, before anything is looked up by it.
    ///
    /// # Errors
    ///
    /// [`NameError::HoldsNul`] names the first attribute that holds U+0000.
    pub fn refuse_nul(&self) -> Result<(), NameError> {
        match self
            .attributes()
            .find(|attribute| attribute.text().contains('\0'))
        {
            Some(attribute) => Err(NameError::HoldsNul(attribute.label())),
            None => Ok(()),
        }
    }
}

enum Issuable {
    AsIs,
    Rewritten(String),
}

fn issuable_value(attribute: &Attribute<'_>) -> Result<Issuable, NameError> {
    if !is_readable_oid(attribute.oid_bytes()) {
        return Err(NameError::UnreadableType(attribute.label()));
    }
    let value = attribute.value();
    if is_valid(value.tag, value.value) {
        return Ok(Issuable::AsIs);
    }
    decode(value.tag, value.value)
        .map(Issuable::Rewritten)
        .ok_or_else(|| NameError::MeaninglessValue(attribute.label()))
}

/// Whether Go reads a value of this type with these octets.
fn is_valid(tag: u8, value: &[u8]) -> bool {
    match tag {
        // Go tolerates `*` and `&` on top of the alphabet.
        PRINTABLE_STRING => value
            .iter()
            .all(|octet| is_printable(*octet) || b"*&".contains(octet)),
        UTF8_STRING => std::str::from_utf8(value).is_ok(),
        IA5_STRING => value.is_ascii(),
        NUMERIC_STRING => value
            .iter()
            .all(|octet| octet.is_ascii_digit() || *octet == b' '),
        TELETEX_STRING => true,
        BMP_STRING => decode(tag, value).is_some(),
        _ => false,
    }
}

/// Arcs in their shortest form and below 2³¹, as Go requires.
fn is_readable_oid(content: &[u8]) -> bool {
    let mut arc: u64 = 0;
    let mut in_arc = false;
    for octet in content {
        if !in_arc && *octet == 0x80 {
            return false;
        }
        arc = (arc << 7) | u64::from(octet & 0x7f);
        if arc > 0x7fff_ffff {
            return false;
        }
        in_arc = octet & 0x80 != 0;
        if !in_arc {
            arc = 0;
        }
    }
    !in_arc && !content.is_empty()
}

/// The members of one RDN; DER orders them by their encodings (X.690 §11.6).
fn write_rdn(set: &mut Writer, rdn: &[(Attribute<'_>, Issuable)]) {
    let mut members: Vec<Vec<u8>> = rdn
        .iter()
        .map(|(attribute, value)| {
            sequence_of(|member| {
                member.element(crate::tlv::OBJECT_IDENTIFIER, attribute.oid_bytes());
                match value {
                    Issuable::AsIs => member.raw(attribute.value().raw),
                    Issuable::Rewritten(text) => member.element(UTF8_STRING, text.as_bytes()),
                };
            })
        })
        .collect();
    members.sort();
    for member in &members {
        set.raw(member);
    }
}
