//! The six fields that people type, to and from a name.

use const_oid::ObjectIdentifier;

use super::Name;
use crate::oids;
use crate::tlv::{PRINTABLE_STRING, SET, UTF8_STRING, Writer, sequence_of};

/// The six attributes of a subject that the API knows; an empty text is an absent attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SubjectFields {
    /// `CN`
    pub common_name: String,
    /// `O`
    pub organization: String,
    /// `OU`
    pub organizational_unit: String,
    /// `C`
    pub country: String,
    /// `ST`
    pub state: String,
    /// `L`
    pub locality: String,
}

impl SubjectFields {
    /// Only a common name.
    pub fn with_common_name(common_name: impl Into<String>) -> Self {
        Self {
            common_name: common_name.into(),
            ..Self::default()
        }
    }

    pub(super) fn of(name: &Name) -> Self {
        let first = |oid| name.values(&oid).into_iter().next().unwrap_or_default();
        Self {
            common_name: name.common_name().unwrap_or_default(),
            organization: first(oids::AT_ORGANIZATION),
            organizational_unit: first(oids::AT_ORGANIZATIONAL_UNIT),
            country: first(oids::AT_COUNTRY),
            state: first(oids::AT_STATE),
            locality: first(oids::AT_LOCALITY),
        }
    }

    /// The name with these attributes, one RDN each, in the order C, ST, L, O, OU, CN.
    pub fn to_name(&self) -> Name {
        let attributes = [
            (oids::AT_COUNTRY, &self.country),
            (oids::AT_STATE, &self.state),
            (oids::AT_LOCALITY, &self.locality),
            (oids::AT_ORGANIZATION, &self.organization),
            (oids::AT_ORGANIZATIONAL_UNIT, &self.organizational_unit),
            (oids::AT_COMMON_NAME, &self.common_name),
        ];
        Name::from_encoded(sequence_of(|name| {
            for (oid, text) in attributes {
                if !text.is_empty() {
                    write_rdn(name, &oid, text);
                }
            }
        }))
    }
}

/// `SET { SEQUENCE { type, value } }`
fn write_rdn(out: &mut Writer, oid: &ObjectIdentifier, text: &str) {
    out.nested(SET, |rdn| {
        rdn.sequence(|attribute| {
            attribute.oid(oid);
            attribute.element(string_tag(text), text.as_bytes());
        });
    });
}

/// PrintableString where its alphabet (X.680 §41.4) suffices, otherwise UTF8String.
fn string_tag(text: &str) -> u8 {
    if text.bytes().all(is_printable) {
        PRINTABLE_STRING
    } else {
        UTF8_STRING
    }
}

/// The alphabet of PrintableString.
pub(super) fn is_printable(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet)
}
