//! Reading a template (RFC 9908 §3.4): what a client puts into its request.
//!
//! What stands in a template goes into the request as it stands; blanks are the client's to fill in.

use bytes::Bytes;
use const_oid::ObjectIdentifier;
use lamassu_crypto::KeySpec;

use super::read::{KeyWish, key_of, key_with};
use crate::error::Malformation;
use crate::extensions::{Criticality, Extension};
use crate::name::{Attribute, Name};
use crate::oids;
use crate::tlv::{
    INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, Writer, context_constructed, oid_value,
    sequence_of,
};

/// Most attributes of a subject, and most extensions, that are read.
const MAX_PARTS: usize = 64;

/// A request as a server wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedRequest {
    subject: Vec<WantedAttribute>,
    key: Option<KeyWish>,
    extensions: Vec<WantedExtension>,
    attributes: Vec<ObjectIdentifier>,
}

/// An attribute of the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WantedAttribute {
    /// DER of `AttributeTypeAndValue`, perhaps without the value.
    der: Bytes,
    oid: ObjectIdentifier,
    is_blank: bool,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedExtension {
    oid: ObjectIdentifier,
    criticality: Criticality,
    value: Option<Bytes>,
}

/// Why a subject is not what a server wants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectMismatch {
    /// An attribute is missing, which only the client knows.
    #[error("the server wants {0} in the subject")]
    Missing(String),
    /// An attribute has another value.
    #[error("the server wants {label}={wanted} in the subject, not {label}={own}")]
    Different {
        /// The type.
        label: String,
        /// The server's value.
        wanted: String,
        /// The client's.
        own: String,
    },
}

impl WantedRequest {
    /// Reads the value of the attribute, DER of `CertificationRequestInfoTemplate`.
    pub(super) fn parse(der: &Bytes) -> Result<Self, Malformation> {
        let mut outer = Reader::new(der);
        let mut template = outer.sequence()?;
        outer.finish()?;
        template.expect(INTEGER)?;
        let mut wanted = Self::default();
        if let Some(subject) = template.optional(SEQUENCE)? {
            wanted.read_subject(der, subject.reader())?;
        }
        if let Some(key) = template.optional(context_constructed(0))? {
            wanted.key = Some(read_key(key.reader())?);
        }
        if let Some(attributes) = template.optional(context_constructed(1))? {
            wanted.read_attributes(der, attributes.reader())?;
        }
        template.finish()?;
        Ok(wanted)
    }

    fn read_subject(&mut self, source: &Bytes, mut rdns: Reader<'_>) -> Result<(), Malformation> {
        while !rdns.is_empty() {
            let mut rdn = rdns.expect(SET)?.reader();
            while !rdn.is_empty() {
                let whole = rdn.expect(SEQUENCE)?;
                let mut attribute = whole.reader();
                let oid = oid_value(attribute.oid()?)?;
                let is_blank = attribute.is_empty();
                if !is_blank {
                    attribute.any()?;
                }
                attribute.finish()?;
                if self.subject.len() == MAX_PARTS {
                    return Err(Malformation::TooLarge);
                }
                self.subject.push(WantedAttribute {
                    der: source.slice_ref(whole.raw),
                    oid,
                    is_blank,
                });
            }
        }
        Ok(())
    }

    fn read_attributes(
        &mut self,
        source: &Bytes,
        mut list: Reader<'_>,
    ) -> Result<(), Malformation> {
        while !list.is_empty() {
            let mut attribute = list.sequence()?;
            let oid = oid_value(attribute.oid()?)?;
            let mut values = attribute.expect(SET)?.reader();
            attribute.finish()?;
            if oid == oids::EXTENSION_REQUEST || oid == oids::EXTENSION_REQUEST_TEMPLATE {
                while !values.is_empty() {
                    self.read_extensions(source, values.sequence()?)?;
                }
            }
            if self.attributes.len() == MAX_PARTS {
                return Err(Malformation::TooLarge);
            }
            self.attributes.push(oid);
        }
        Ok(())
    }

    /// `SEQUENCE OF SEQUENCE { extnID, critical DEFAULT FALSE, extnValue OCTET STRING OPTIONAL }`
    fn read_extensions(
        &mut self,
        source: &Bytes,
        mut list: Reader<'_>,
    ) -> Result<(), Malformation> {
        while !list.is_empty() {
            let mut extension = list.sequence()?;
            let oid = oid_value(extension.oid()?)?;
            let criticality = match extension.boolean_or_false()? {
                true => Criticality::Critical,
                false => Criticality::NonCritical,
            };
            let value = extension.optional(OCTET_STRING)?;
            extension.finish()?;
            if self.extensions.len() == MAX_PARTS {
                return Err(Malformation::TooLarge);
            }
            self.extensions.push(WantedExtension {
                oid,
                criticality,
                value: value.map(|value| source.slice_ref(value.value)),
            });
        }
        Ok(())
    }

    /// The kind of key, if it has to be one.
    pub fn key(&self) -> Option<KeyWish> {
        self.key
    }

    /// Whether the challenge password is to be filled in.
    pub fn wants_challenge_password(&self) -> bool {
        self.attributes.contains(&oids::CHALLENGE_PASSWORD)
    }

    /// The extensions.
    pub fn extensions(&self) -> &[WantedExtension] {
        &self.extensions
    }

    /// The subject for people: `O=Example` where the server has filled it in, `CN` where it has not.
    pub fn subject_parts(&self) -> impl Iterator<Item = String> {
        self.subject.iter().map(WantedAttribute::show)
    }

    /// The subject of a client that calls itself `own`, with what the server has filled in before it.
    ///
    /// # Errors
    ///
    /// [`SubjectMismatch`] where a blank stays one, or a value differs.
    pub fn subject(&self, own: &Name) -> Result<Name, SubjectMismatch> {
        let mut added: Vec<&WantedAttribute> = Vec::new();
        for wanted in &self.subject {
            let label = label(&wanted.oid);
            let values = own.values(&wanted.oid);
            match (wanted.text(), values.first()) {
                (None, None) => return Err(SubjectMismatch::Missing(label)),
                (Some(_), None) => added.push(wanted),
                (None, Some(_)) => {}
                (Some(text), Some(_)) if values.contains(&text) => {}
                (Some(text), Some(own)) => {
                    return Err(SubjectMismatch::Different {
                        label,
                        wanted: text,
                        own: own.clone(),
                    });
                }
            }
        }
        if added.is_empty() {
            return Ok(own.clone());
        }
        let rdns = Reader::new(own.as_der()).expect(SEQUENCE);
        Ok(Name::from_encoded(sequence_of(|name| {
            for wanted in added {
                name.nested(SET, |rdn| {
                    rdn.raw(&wanted.der);
                });
            }
            name.raw(rdns.map_or(&[], |rdns| rdns.value));
        })))
    }
}

impl WantedAttribute {
    /// The value, if it is filled in.
    fn text(&self) -> Option<String> {
        let attribute = Attribute::read(&mut Reader::new(&self.der)).ok()?;
        (!self.is_blank).then(|| attribute.text())
    }

    fn show(&self) -> String {
        match self.text() {
            Some(text) => format!("{}={text}", label(&self.oid)),
            None => label(&self.oid),
        }
    }
}

/// `CN`, `O` and so on, or the dotted object identifier.
fn label(oid: &ObjectIdentifier) -> String {
    let mut out = Writer::new();
    out.sequence(|attribute| {
        attribute.oid(oid).element(crate::tlv::UTF8_STRING, &[]);
    });
    let attribute = out.into_vec();
    let read = Attribute::read(&mut Reader::new(&attribute));
    read.map_or_else(|_| oid.to_string(), |attribute| attribute.label())
}

impl WantedExtension {
    /// Its type.
    pub fn oid(&self) -> ObjectIdentifier {
        self.oid
    }

    /// The extension, if the server has filled it in, alternative names to the last.
    pub fn filled_in(&self) -> Option<Extension> {
        let value = self.value.clone()?;
        if self.oid == oids::CE_SUBJECT_ALT_NAME && has_blank_names(&value).unwrap_or(true) {
            return None;
        }
        Some(Extension::new(&self.oid, self.criticality, value))
    }
}

fn has_blank_names(value: &[u8]) -> Result<bool, Malformation> {
    let mut names = Reader::new(value).sequence()?;
    let mut has_blank = names.is_empty();
    while !names.is_empty() {
        has_blank |= names.any()?.value.is_empty();
    }
    Ok(has_blank)
}

/// `subjectPKInfo`: for RSA, the key is one that has the size and is none.
fn read_key(mut info: Reader<'_>) -> Result<KeyWish, Malformation> {
    let mut algorithm = info.sequence()?;
    let oid = algorithm.oid()?;
    let parameters = match algorithm.is_empty() {
        true => None,
        false => Some(algorithm.any()?.raw),
    };
    let key = match info.is_empty() {
        true => None,
        false => Some(info.bit_string()?),
    };
    info.finish()?;
    if oid == oids::RSA_ENCRYPTION.as_bytes() {
        let modulus = key.map(|key| {
            let mut key = Reader::new(key).sequence()?;
            key.expect(INTEGER).map(|modulus| modulus.value)
        });
        return Ok(match modulus.transpose()? {
            None => KeyWish::AnyRsa,
            Some(modulus) => KeyWish::Exactly(KeySpec::Rsa(
                bit_length(modulus).ok_or(Malformation::TooLarge)?,
            )),
        });
    }
    if oid == oids::EC_PUBLIC_KEY.as_bytes() {
        return Ok(key_with(parameters));
    }
    Ok(key_of(oid).unwrap_or(KeyWish::Unknown))
}

fn bit_length(number: &[u8]) -> Option<u32> {
    let first = number.iter().position(|octet| *octet != 0)?;
    let digits = number.get(first..)?;
    let bits = u32::try_from(digits.len()).ok()?.checked_mul(8)?;
    bits.checked_sub(digits.first()?.leading_zeros())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use const_oid::ObjectIdentifier;
    use lamassu_crypto::{Curve, KeySpec};

    use super::{SubjectMismatch, WantedRequest};
    use crate::csr_attrs::{KeyWish, RequestInfoTemplate};
    use crate::tlv::{
        INTEGER, OCTET_STRING, SET, UTF8_STRING, Writer, context_constructed, sequence_of,
    };
    use crate::{ChallengePassword, KeyTemplate, Name, SubjectFields, oids};

    fn ours(key: Option<KeyTemplate>, challenge_password: ChallengePassword) -> WantedRequest {
        let mut out = Writer::new();
        let template = RequestInfoTemplate {
            key,
            challenge_password,
        };
        template.write(&mut out);
        WantedRequest::parse(&out.into_vec().into()).unwrap()
    }

    #[test]
    fn what_our_servers_write_is_read() {
        let rsa = ours(Some(KeyTemplate::Rsa(3072)), ChallengePassword::Wanted);
        assert_eq!(rsa.key(), Some(KeyWish::Exactly(KeySpec::Rsa(3072))));
        assert!(rsa.wants_challenge_password());
        let parts: Vec<_> = rsa.subject_parts().collect();
        assert_eq!(parts, ["CN"]);
        let p384 = Some(KeyTemplate::Elliptic(Curve::P384.oid()));
        let elliptic = ours(p384, ChallengePassword::NotWanted);
        let spec = KeySpec::Ec(Curve::P384);
        assert_eq!(elliptic.key(), Some(KeyWish::Exactly(spec)));
        assert!(!elliptic.wants_challenge_password());
        let foreign = ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.7");
        let foreign = ours(
            Some(KeyTemplate::Elliptic(foreign)),
            ChallengePassword::NotWanted,
        );
        assert_eq!(foreign.key(), Some(KeyWish::Unknown));
        let named = ours(
            Some(KeyTemplate::Named(ObjectIdentifier::new_unwrap(
                "1.3.101.112",
            ))),
            ChallengePassword::NotWanted,
        );
        assert_eq!(named.key(), Some(KeyWish::Exactly(KeySpec::Ed25519)));
        assert_eq!(ours(None, ChallengePassword::NotWanted).key(), None);
    }

    /// A subject with `O=Example` and a blank common name; extensions with and without values.
    fn filled() -> WantedRequest {
        let der = sequence_of(|template| {
            template.element(INTEGER, &[0]).sequence(|subject| {
                subject.nested(SET, |rdn| {
                    rdn.sequence(|attribute| {
                        attribute
                            .oid(&oids::AT_ORGANIZATION)
                            .element(UTF8_STRING, b"Example");
                    });
                });
                subject.nested(SET, |rdn| {
                    rdn.sequence(|attribute| {
                        attribute.oid(&oids::AT_COMMON_NAME);
                    });
                });
            });
            template.nested(context_constructed(1), |attributes| {
                attributes.sequence(|attribute| {
                    attribute
                        .oid(&oids::EXTENSION_REQUEST_TEMPLATE)
                        .nested(SET, |values| {
                            values.sequence(write_extensions);
                        });
                });
            });
        });
        WantedRequest::parse(&der.into()).unwrap()
    }

    fn write_extensions(list: &mut Writer) {
        list.sequence(|usage| {
            usage
                .oid(&oids::CE_KEY_USAGE)
                .boolean_true()
                .element(OCTET_STRING, &[3, 2, 3, 8]);
        });
        list.sequence(|purposes| {
            purposes.oid(&oids::CE_EXT_KEY_USAGE);
        });
        // A DNS name and an address, the latter blank.
        list.sequence(|names| {
            names
                .oid(&oids::CE_SUBJECT_ALT_NAME)
                .element(OCTET_STRING, &[0x30, 5, 0x82, 1, b'a', 0x87, 0]);
        });
    }

    #[test]
    fn what_the_server_has_filled_in_goes_before_what_the_client_says() {
        let wanted = filled();
        let parts: Vec<_> = wanted.subject_parts().collect();
        assert_eq!(parts, ["O=Example", "CN"]);
        let subject = |fields: SubjectFields| wanted.subject(&fields.to_name());
        let named = subject(SubjectFields::with_common_name("d")).unwrap();
        assert_eq!(named.to_string(), "O=Example,CN=d");
        let own = SubjectFields {
            organization: "Example".to_owned(),
            locality: "Here".to_owned(),
            ..SubjectFields::with_common_name("d")
        };
        assert_eq!(subject(own.clone()).unwrap(), own.to_name());
        let other = SubjectFields {
            organization: "Other".to_owned(),
            ..own
        };
        let different = SubjectMismatch::Different {
            label: "O".to_owned(),
            wanted: "Example".to_owned(),
            own: "Other".to_owned(),
        };
        assert_eq!(subject(other), Err(different));
        let missing = Err(SubjectMismatch::Missing("CN".to_owned()));
        let nobody = Name::from_der(&[0x30, 0][..]).unwrap();
        assert_eq!(wanted.subject(&nobody), missing);
    }

    #[test]
    fn extensions_are_filled_in_or_blank() {
        let wanted = filled();
        let [usage, purposes, names] = wanted.extensions() else {
            panic!("three extensions");
        };
        let usage = usage.filled_in().unwrap();
        assert!(usage.is(&oids::CE_KEY_USAGE) && usage.is_critical());
        assert_eq!(usage.value(), &Bytes::from_static(&[3, 2, 3, 8]));
        assert_eq!(purposes.oid(), oids::CE_EXT_KEY_USAGE);
        assert_eq!(purposes.filled_in(), None);
        assert_eq!(names.filled_in(), None);
    }
}
