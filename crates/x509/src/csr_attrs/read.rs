//! Reading CsrAttrs: what a client makes of a server's wishes.

use bytes::Bytes;
use const_oid::ObjectIdentifier;
use lamassu_crypto::{Curve, KeySpec, SignatureScheme};

use super::wanted::WantedRequest;
use crate::error::{Malformation, ParseError, Structure};
use crate::oids;
use crate::tlv::{INTEGER, OBJECT_IDENTIFIER, Reader, SEQUENCE, SET, oid_value, unsigned};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA: [(ObjectIdentifier, KeySpec); 3] = [
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17"),
        KeySpec::MlDsa44,
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18"),
        KeySpec::MlDsa65,
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19"),
        KeySpec::MlDsa87,
    ),
];

/// Most wishes that are read.
const MAX_WISHES: usize = 256;

/// Longest CsrAttrs that are read, in bytes.
const MAX_LEN: usize = 1 << 16;

/// What a server wants to see in a certification request. What is not known here is kept by its object
/// identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CsrWishes {
    list: Vec<Wish>,
    template: Option<WantedRequest>,
}

/// An object identifier, perhaps with values; each the whole element.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    oid: Bytes,
    values: Vec<Bytes>,
}

/// The key that a server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWish {
    /// This one.
    Exactly(KeySpec),
    /// RSA of any size.
    AnyRsa,
    /// Any elliptic curve.
    AnyCurve,
    /// A curve that is not known here.
    Unknown,
}

impl KeyWish {
    /// Whether a key is what is wanted.
    pub fn is_met_by(self, spec: KeySpec) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == spec,
            Self::AnyRsa => matches!(spec, KeySpec::Rsa(_)),
            Self::AnyCurve => matches!(spec, KeySpec::Ec(_)),
            Self::Unknown => false,
        }
    }
}

impl CsrWishes {
    /// Reads the DER of CsrAttrs (RFC 8951 §3.2). An element that is neither an object identifier nor an
    /// attribute is an error; values are not looked at, and a template that cannot be read is none.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the bytes are not exactly one list of such elements.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse(&der.into()).map_err(|malformation| malformation.within(Structure::CsrAttrs))
    }

    fn parse(der: &Bytes) -> Result<Self, Malformation> {
        if der.len() > MAX_LEN {
            return Err(Malformation::TooLarge);
        }
        let mut outer = Reader::new(der);
        let mut list = outer.sequence()?;
        outer.finish()?;
        let mut wishes = Vec::new();
        while !list.is_empty() {
            if wishes.len() == MAX_WISHES {
                return Err(Malformation::TooLarge);
            }
            wishes.push(Wish::read(der, &mut list)?);
        }
        let templates = wishes
            .iter()
            .filter(|wish| wish.is(&oids::CERTIFICATION_REQUEST_INFO_TEMPLATE));
        let values = templates.flat_map(|wish| &wish.values);
        let template = values
            .filter_map(|value| WantedRequest::parse(value).ok())
            .next();
        Ok(Self {
            list: wishes,
            template,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The object identifiers of all wishes in order; those too long for the type are left out.
    pub fn oids(&self) -> impl Iterator<Item = ObjectIdentifier> {
        self.list
            .iter()
            .filter_map(|wish| oid_value(&wish.oid).ok())
    }

    /// The template, which those who know it go by.
    pub fn template(&self) -> Option<&WantedRequest> {
        self.template.as_ref()
    }

    /// Whether the challenge password is asked for.
    pub fn wants_challenge_password(&self) -> bool {
        let by_template = self.template.as_ref();
        by_template.is_some_and(WantedRequest::wants_challenge_password)
            || self.wants(&oids::CHALLENGE_PASSWORD)
    }

    /// Whether an attribute or algorithm is in the list.
    pub fn wants(&self, oid: &ObjectIdentifier) -> bool {
        self.list.iter().any(|wish| wish.is(oid))
    }

    /// The key that is asked for: by the template, or else the first one of the list.
    pub fn key(&self) -> Option<KeyWish> {
        let by_template = self.template.as_ref().and_then(WantedRequest::key);
        by_template.or_else(|| self.list.iter().find_map(Wish::key))
    }

    /// The first signature algorithm that is asked for and known, with its usual parameters. An algorithm
    /// that names a key and its signature at once says nothing beside the key.
    pub fn signature_scheme(&self) -> Option<SignatureScheme> {
        self.oids()
            .find_map(|oid| SignatureScheme::from_algorithm_identifier(oid, None).ok())
    }

    /// The extensions that are asked for by their type.
    pub fn extensions(&self) -> Vec<ObjectIdentifier> {
        let requests = self
            .list
            .iter()
            .filter(|wish| wish.is(&oids::EXTENSION_REQUEST));
        let values = requests.flat_map(|wish| &wish.values);
        values
            .filter_map(|value| {
                let oid = Reader::new(value).expect(OBJECT_IDENTIFIER).ok()?;
                oid_value(oid.value).ok()
            })
            .collect()
    }
}

impl Wish {
    fn read(source: &Bytes, list: &mut Reader<'_>) -> Result<Self, Malformation> {
        if let Some(oid) = list.optional(OBJECT_IDENTIFIER)? {
            return Ok(Self {
                oid: source.slice_ref(oid.value),
                values: Vec::new(),
            });
        }
        let mut attribute = list.expect(SEQUENCE)?.reader();
        let oid = source.slice_ref(attribute.oid()?);
        let mut set = attribute.expect(SET)?.reader();
        attribute.finish()?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(source.slice_ref(set.any()?.raw));
        }
        Ok(Self { oid, values })
    }

    fn is(&self, oid: &ObjectIdentifier) -> bool {
        self.oid.as_ref() == oid.as_bytes()
    }

    fn key(&self) -> Option<KeyWish> {
        if self.is(&RSA_ENCRYPTION) {
            return Some(match self.values.first() {
                None => KeyWish::AnyRsa,
                Some(bits) => rsa_size(bits).map_or(KeyWish::Unknown, KeyWish::Exactly),
            });
        }
        if self.is(&EC_PUBLIC_KEY) {
            return Some(key_with(self.values.first().map(|value| &value[..])));
        }
        key_of(&self.oid)
    }
}

/// A key on the curve of these parameters.
pub(super) fn key_with(parameters: Option<&[u8]>) -> KeyWish {
    match parameters {
        None => KeyWish::AnyCurve,
        Some(curve) => curve_of(curve).map_or(KeyWish::Unknown, KeyWish::Exactly),
    }
}

/// The key of an algorithm whose name says all.
pub(super) fn key_of(oid: &[u8]) -> Option<KeyWish> {
    if oid == ED25519.as_bytes() {
        return Some(KeyWish::Exactly(KeySpec::Ed25519));
    }
    let ml_dsa = ML_DSA.into_iter().find(|(name, _)| oid == name.as_bytes());
    ml_dsa.map(|(_, spec)| KeyWish::Exactly(spec))
}

fn rsa_size(value: &[u8]) -> Option<KeySpec> {
    let bits = Reader::new(value).expect(INTEGER).ok()?;
    let bits = unsigned(bits.value).ok()?;
    u32::try_from(bits).ok().map(KeySpec::Rsa)
}

fn curve_of(value: &[u8]) -> Option<KeySpec> {
    let oid = Reader::new(value).expect(OBJECT_IDENTIFIER).ok()?;
    let curve = Curve::from_oid(oid_value(oid.value).ok()?);
    curve.map(KeySpec::Ec)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use const_oid::ObjectIdentifier;
    use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, SignatureScheme};
    use proptest::prelude::*;

    use super::{CsrWishes, KeyWish};
    use crate::oids;
    use crate::{CsrAttribute, csr_attrs};

    #[test]
    fn the_example_of_rfc_8951_is_read() {
        let example = "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==";
        let wishes = CsrWishes::from_der(STANDARD.decode(example).unwrap()).unwrap();
        assert!(wishes.wants(&oids::CHALLENGE_PASSWORD));
        let p384 = KeySpec::Ec(Curve::P384);
        assert_eq!(wishes.key(), Some(KeyWish::Exactly(p384)));
        let scheme = SignatureScheme::Ecdsa(HashAlgorithm::Sha384);
        assert_eq!(wishes.signature_scheme(), Some(scheme));
        let mac_address = ObjectIdentifier::new_unwrap("1.3.6.1.1.1.1.22");
        assert_eq!(wishes.extensions(), [mac_address]);
    }

    #[test]
    fn keys_are_met_or_not() {
        let wish = |wishes: &[CsrAttribute]| {
            CsrWishes::from_der(csr_attrs(wishes))
                .unwrap()
                .key()
                .unwrap()
        };
        let rsa = wish(&[CsrAttribute::WithNumber {
            attribute_type: super::RSA_ENCRYPTION,
            value: 3072,
        }]);
        assert!(rsa.is_met_by(KeySpec::Rsa(3072)) && !rsa.is_met_by(KeySpec::Rsa(2048)));
        let any = wish(&[CsrAttribute::Oid(super::EC_PUBLIC_KEY)]);
        assert!(any.is_met_by(KeySpec::Ec(Curve::P521)) && !any.is_met_by(KeySpec::Ed25519));
        let foreign = wish(&[CsrAttribute::WithOid {
            attribute_type: super::EC_PUBLIC_KEY,
            value: ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.7"),
        }]);
        assert_eq!(foreign, KeyWish::Unknown);
        assert!(CsrWishes::from_der(csr_attrs(&[])).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(wishes) = CsrWishes::from_der(octets) {
                let _known = (wishes.key(), wishes.signature_scheme(), wishes.extensions());
            }
        }
    }
}
