//! CsrAttrs (RFC 7030 §4.5.2, as RFC 8951 §3 corrects it): what a certification request should
//! hold.
//!
//! ```text
//! CsrAttrs  ::= SEQUENCE SIZE (0..MAX) OF AttrOrOID
//! AttrOrOID ::= CHOICE { oid OBJECT IDENTIFIER, attribute Attribute }
//! Attribute ::= SEQUENCE { type OBJECT IDENTIFIER, values SET OF ANY }
//! ```

mod read;
mod template;
mod wanted;

pub use read::{CsrWishes, KeyWish};
pub use template::{ChallengePassword, KeyTemplate, RequestInfoTemplate};
pub use wanted::{SubjectMismatch, WantedExtension, WantedRequest};

use const_oid::ObjectIdentifier;

use crate::oids;
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
    /// A request with blanks (RFC 9908 §3.4).
    Template(RequestInfoTemplate),
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
        CsrAttribute::Template(template) => {
            list.sequence(|attribute| {
                attribute
                    .oid(&oids::CERTIFICATION_REQUEST_INFO_TEMPLATE)
                    .nested(SET, |values| template.write(values));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use const_oid::ObjectIdentifier;

    use super::{ChallengePassword, KeyTemplate, RequestInfoTemplate};
    use super::{CsrAttribute, csr_attrs};
    use crate::oids;

    #[test]
    fn a_template_names_what_has_to_be_filled_in() {
        let template = |key, challenge_password| {
            let template = RequestInfoTemplate {
                key,
                challenge_password,
            };
            hex::encode(csr_attrs(&[CsrAttribute::Template(template)]))
        };
        let p256 = KeyTemplate::Elliptic(ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"));
        // Version, subject with commonName, [0] id-ecPublicKey on P-256, [1] challengePassword.
        let written = template(Some(p256), ChallengePassword::Wanted);
        assert!(written.contains("060b2a864886f70d010910023d"), "{written}");
        assert!(
            written.contains("0201003009310730050603550403"),
            "{written}"
        );
        assert!(
            written.contains("a015301306072a8648ce3d020106082a8648ce3d030107"),
            "{written}"
        );
        assert!(
            written.ends_with("a10f300d06092a864886f70d0109073100"),
            "{written}"
        );
        let rsa = template(Some(KeyTemplate::Rsa(2048)), ChallengePassword::NotWanted);
        let modulus = format!("0282010100{}0203010001a100", "ff".repeat(256));
        assert!(rsa.ends_with(&modulus), "{rsa}");
        let name = template(None, ChallengePassword::NotWanted);
        assert!(name.ends_with("0603550403a100"), "{name}");
    }

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
