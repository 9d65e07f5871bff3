//! One `AttributeTypeAndValue`, and its value as text.

use const_oid::ObjectIdentifier;

use crate::error::Malformation;
use crate::oids;
use crate::tlv::{
    BMP_STRING, GENERAL_STRING, IA5_STRING, NUMERIC_STRING, PRINTABLE_STRING, Reader,
    TELETEX_STRING, Tlv, UNIVERSAL_STRING, UTF8_STRING, VISIBLE_STRING, oid_value,
};

/// An attribute of a name, borrowed from its DER.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    oid: &'a [u8],
    value: Tlv<'a>,
}

impl<'a> Attribute<'a> {
    pub(crate) fn read(rdn: &mut Reader<'a>) -> Result<Self, Malformation> {
        let mut attribute = rdn.sequence()?;
        let oid = attribute.oid()?;
        let value = attribute.any()?;
        attribute.finish()?;
        Ok(Self { oid, value })
    }

    /// Whether the attribute is of this type.
    pub fn is(&self, oid: &ObjectIdentifier) -> bool {
        self.oid == oid.as_bytes()
    }

    /// The value as text; what cannot be decoded becomes U+FFFD. For showing and for lookups
    /// in lists, never for what is signed.
    pub fn text(&self) -> String {
        decode(self.value.tag, self.value.value)
            .unwrap_or_else(|| String::from_utf8_lossy(self.value.value).into_owned())
    }

    /// `CN`, `O` and so on, or the dotted object identifier.
    pub fn label(&self) -> String {
        let known = [
            (oids::AT_COMMON_NAME, "CN"),
            (oids::AT_COUNTRY, "C"),
            (oids::AT_LOCALITY, "L"),
            (oids::AT_STATE, "ST"),
            (oids::AT_ORGANIZATION, "O"),
            (oids::AT_ORGANIZATIONAL_UNIT, "OU"),
        ];
        known
            .iter()
            .find(|(oid, _)| self.is(oid))
            .map(|(_, label)| (*label).to_owned())
            .or_else(|| oid_value(self.oid).ok().map(|oid| oid.to_string()))
            .unwrap_or_else(|| hex::encode(self.oid))
    }

    /// The content octets of the type's object identifier.
    pub(crate) fn oid_bytes(&self) -> &'a [u8] {
        self.oid
    }

    pub(crate) fn value(&self) -> Tlv<'a> {
        self.value
    }
}

/// The text of a string of this type; `None` where the bytes mean nothing in it.
///
/// Types that are subsets of ASCII are read as UTF-8: software in the field writes UTF-8
/// into PrintableString, and that is what it means.
pub(crate) fn decode(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        BMP_STRING => decode_utf16(value),
        UNIVERSAL_STRING => decode_utf32(value),
        // T.61 is extinct; who writes this type today means Latin-1 or UTF-8.
        TELETEX_STRING => Some(match std::str::from_utf8(value) {
            Ok(text) => text.to_owned(),
            Err(_) => value.iter().copied().map(char::from).collect(),
        }),
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING | NUMERIC_STRING | VISIBLE_STRING
        | GENERAL_STRING => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    }
}

fn decode_utf16(value: &[u8]) -> Option<String> {
    let (pairs, rest) = value.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(pairs.iter().copied().map(u16::from_be_bytes))
        .collect::<Result<String, _>>()
        .ok()
}

fn decode_utf32(value: &[u8]) -> Option<String> {
    let (quads, rest) = value.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    quads
        .iter()
        .map(|quad| char::from_u32(u32::from_be_bytes(*quad)))
        .collect()
}
