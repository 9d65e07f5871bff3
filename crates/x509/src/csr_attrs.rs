//! CsrAttrs (RFC 7030 §4.5.2, as RFC 8951 §3 corrects it): what a certification request should
//! hold.
//!
//! ```text
//! CsrAttrs  ::= SEQUENCE SIZE (0..MAX) OF AttrOrOID
//! AttrOrOID ::= CHOICE { oid OBJECT IDENTIFIER, attribute Attribute }
//! Attribute ::= SEQUENCE { type OBJECT IDENTIFIER, values SET OF ANY }
//! ```

mod read;

pub use read::{CsrWishes, KeyWish};

use const_oid::ObjectIdentifier;

use crate::tlv::{SET, Writer, sequence_of};

/// One wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrAttribute {
    /// An algorithm or attribute of this type, without saying more.
    Oid(ObjectIdentifier),
    /// An attribute whose value is an object identifier: `id-ecPublicKey` with its curve.
    WithOid {
        /// The attribute's type.
        attribute_type: ObjectIdentifier,
        /// Its value.
        value: ObjectIdentifier,
    },
    /// An attribute whose value is a number: `rsaEncryption` with the modulus' bits.
    WithNumber {
        /// The attribute's type.
        attribute_type: ObjectIdentifier,
        /// Its value.
        value: u32,
    },
}

/// The DER of CsrAttrs with these wishes, in this order; an empty SEQUENCE without any.
pub fn csr_attrs(wishes: &[CsrAttribute]) -> Vec<u8> {
    sequence_of(|list| {
        for wish in wishes {
            write(list, wish);
        }
    })
}

fn write(list: &mut Writer, wish: &CsrAttribute) {
    match wish {
        CsrAttribute::Oid(oid) => {
            list.oid(oid);
        }
        CsrAttribute::WithOid {
            attribute_type,
            value,
        } => {
            list.sequence(|attribute| {
                attribute.oid(attribute_type).nested(SET, |values| {
                    values.oid(value);
                });
            });
        }
        CsrAttribute::WithNumber {
            attribute_type,
            value,
        } => {
            list.sequence(|attribute| {
                attribute.oid(attribute_type).nested(SET, |values| {
                    values.unsigned(&value.to_be_bytes());
                });
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use const_oid::ObjectIdentifier;

    use super::{CsrAttribute, csr_attrs};
    use crate::oids;

    #[test]
    fn the_example_of_rfc_8951_is_written() {
        let oid = ObjectIdentifier::new_unwrap;
        let wishes = [
            CsrAttribute::Oid(oids::CHALLENGE_PASSWORD),
            CsrAttribute::WithOid {
                attribute_type: oid("1.2.840.10045.2.1"),
                value: oid("1.3.132.0.34"),
            },
            CsrAttribute::WithOid {
                attribute_type: oids::EXTENSION_REQUEST,
                value: oid("1.3.6.1.1.1.1.22"),
            },
            CsrAttribute::Oid(oid("1.2.840.10045.4.3.3")),
        ];
        let example = "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==";
        assert_eq!(STANDARD.encode(csr_attrs(&wishes)), example);
    }
}
