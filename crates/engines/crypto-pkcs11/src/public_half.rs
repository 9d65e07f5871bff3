//! Public keys as a token holds them: a big-endian modulus and exponent, or a point and its curve.

use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION};
use const_oid::db::rfc8410::ID_ED_25519;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;
use der::asn1::{Any, BitString, Null, OctetStringRef, UintRef};
use der::{Decode, Encode as _};
use lamassu_crypto::{KeySpec, ObjectIdentifier, PublicKey};
use spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::error::Pkcs11Error;

/// Parameters of Ed25519 in the older of the two forms that PKCS#11 3.0 allows, a PrintableString.
const EDWARDS_NAME: &[u8] = b"\x13\x0cedwards25519";

/// Reads the public key that an object is.
pub(crate) fn read(session: &Session, object: ObjectHandle) -> Result<PublicKey, Pkcs11Error> {
    let attributes = session.get_attributes(
        object,
        &[
            AttributeType::KeyType,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
            AttributeType::EcParams,
            AttributeType::EcPoint,
        ],
    )?;
    let mut half = Half::default();
    for attribute in attributes {
        match attribute {
            Attribute::KeyType(key_type) => half.key_type = Some(key_type),
            Attribute::Modulus(modulus) => half.modulus = modulus,
            Attribute::PublicExponent(exponent) => half.exponent = exponent,
            Attribute::EcParams(params) => half.params = params,
            Attribute::EcPoint(point) => half.point = point,
            _ => {}
        }
    }
    half.to_public_key()
}

/// The attributes of a public key, as they came.
#[derive(Debug, Default)]
struct Half {
    key_type: Option<KeyType>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    params: Vec<u8>,
    point: Vec<u8>,
}

impl Half {
    fn to_public_key(&self) -> Result<PublicKey, Pkcs11Error> {
        let der = match self.key_type {
            Some(KeyType::RSA) => self.rsa()?,
            Some(KeyType::EC) => self.elliptic()?,
            Some(KeyType::EC_EDWARDS) => self.edwards()?,
            _ => return Err(Pkcs11Error::Attribute("CKA_KEY_TYPE")),
        };
        PublicKey::from_spki_der(&der).map_err(Pkcs11Error::PublicHalf)
    }

    fn rsa(&self) -> Result<Vec<u8>, Pkcs11Error> {
        let modulus =
            UintRef::new(&self.modulus).map_err(|_| Pkcs11Error::Attribute("CKA_MODULUS"))?;
        let exponent = UintRef::new(&self.exponent)
            .map_err(|_| Pkcs11Error::Attribute("CKA_PUBLIC_EXPONENT"))?;
        let key = pkcs1::RsaPublicKeyRef {
            modulus,
            public_exponent: exponent,
        };
        let key = key
            .to_der()
            .map_err(|_| Pkcs11Error::Attribute("CKA_MODULUS"))?;
        info(RSA_ENCRYPTION, Some(Any::from(Null)), &key)
    }

    fn elliptic(&self) -> Result<Vec<u8>, Pkcs11Error> {
        let curve: ObjectIdentifier =
            Decode::from_der(&self.params).map_err(|_| Pkcs11Error::Attribute("CKA_EC_PARAMS"))?;
        // The standard wants an OCTET STRING around the point; not every vendor does.
        let point = <&OctetStringRef>::from_der(&self.point)
            .map_or(self.point.as_slice(), OctetStringRef::as_bytes);
        info(ID_EC_PUBLIC_KEY, Some(Any::from(curve)), point)
    }

    fn edwards(&self) -> Result<Vec<u8>, Pkcs11Error> {
        let is_named = self.params == EDWARDS_NAME;
        if !is_named && ObjectIdentifier::from_der(&self.params) != Ok(ID_ED_25519) {
            return Err(Pkcs11Error::Attribute("CKA_EC_PARAMS"));
        }
        // With an OCTET STRING around it, or without: the standard has had both.
        let point = match self.point.len() {
            32 => self.point.as_slice(),
            _ => <&OctetStringRef>::from_der(&self.point)
                .map(OctetStringRef::as_bytes)
                .map_err(|_| Pkcs11Error::Attribute("CKA_EC_POINT"))?,
        };
        info(ID_ED_25519, None, point)
    }
}

fn info(
    oid: ObjectIdentifier,
    parameters: Option<Any>,
    key: &[u8],
) -> Result<Vec<u8>, Pkcs11Error> {
    let encoded = BitString::from_bytes(key).and_then(|subject_public_key| {
        let algorithm = AlgorithmIdentifier { oid, parameters };
        let info = SubjectPublicKeyInfo {
            algorithm,
            subject_public_key,
        };
        info.to_der()
    });
    encoded.map_err(|_| Pkcs11Error::Attribute("CKA_EC_POINT"))
}

/// Whether a public key is the one of RSA with this modulus.
pub(crate) fn has_modulus(key: &PublicKey, modulus: &[u8]) -> bool {
    let read = || {
        let info = spki::SubjectPublicKeyInfoRef::from_der(key.spki_der()).ok()?;
        let bytes = info.subject_public_key.as_bytes()?;
        pkcs1::RsaPublicKeyRef::from_der(bytes).ok()
    };
    let Some(rsa) = read() else {
        return false;
    };
    UintRef::new(modulus).is_ok_and(|modulus| rsa.modulus == modulus)
}

/// What an object that is to become a public key of this kind needs to know before the key exists.
pub(crate) fn parameters(spec: KeySpec) -> Result<Vec<Attribute>, Pkcs11Error> {
    let oid = |oid: ObjectIdentifier| {
        let der = oid.to_der().map_err(|_| Pkcs11Error::Encoding)?;
        Ok(vec![Attribute::EcParams(der)])
    };
    match spec {
        KeySpec::Rsa(bits) => Ok(vec![
            Attribute::ModulusBits(u64::from(bits).into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ]),
        KeySpec::Ec(curve) => oid(curve.oid()),
        KeySpec::Ed25519 => oid(ID_ED_25519),
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => Err(Pkcs11Error::KeySpec(spec)),
    }
}

/// A public key in the form that a token takes it in.
pub(crate) fn attributes(key: &PublicKey) -> Result<Vec<Attribute>, Pkcs11Error> {
    let info = spki::SubjectPublicKeyInfoRef::from_der(key.spki_der());
    let info = info.map_err(|_| Pkcs11Error::Encoding)?;
    let bytes = info.subject_public_key.as_bytes();
    let bytes = bytes.ok_or(Pkcs11Error::Encoding)?;
    match key.spec() {
        KeySpec::Rsa(_) => {
            let rsa = pkcs1::RsaPublicKeyRef::from_der(bytes);
            let rsa = rsa.map_err(|_| Pkcs11Error::Encoding)?;
            Ok(vec![
                Attribute::KeyType(KeyType::RSA),
                Attribute::Modulus(rsa.modulus.as_bytes().to_vec()),
                Attribute::PublicExponent(rsa.public_exponent.as_bytes().to_vec()),
            ])
        }
        spec @ (KeySpec::Ec(_) | KeySpec::Ed25519) => {
            let point = OctetStringRef::new(bytes).and_then(|point| point.to_der());
            let point = point.map_err(|_| Pkcs11Error::Encoding)?;
            let mut attributes = parameters(spec)?;
            attributes.push(Attribute::EcPoint(point));
            attributes.push(Attribute::KeyType(key_type(spec)?));
            Ok(attributes)
        }
        spec @ (KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87) => {
            Err(Pkcs11Error::KeySpec(spec))
        }
    }
}

/// The token's word for a kind of key.
pub(crate) fn key_type(spec: KeySpec) -> Result<KeyType, Pkcs11Error> {
    match spec {
        KeySpec::Rsa(_) => Ok(KeyType::RSA),
        KeySpec::Ec(_) => Ok(KeyType::EC),
        KeySpec::Ed25519 => Ok(KeyType::EC_EDWARDS),
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => Err(Pkcs11Error::KeySpec(spec)),
    }
}
