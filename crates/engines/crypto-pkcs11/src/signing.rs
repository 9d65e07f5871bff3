//! Signature schemes in the token's words, and its answers in ours.

use cryptoki::error::RvError;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use der::asn1::UintRef;
use der::{Encode as _, Sequence};
use lamassu_crypto::{HashAlgorithm, KeySpec, Message, SignError, SignatureScheme};

use crate::error::Pkcs11Error;

/// What the token is asked to sign, and how.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    how: How,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// PKCS#1 v1.5 over a DigestInfo.
    RsaPkcs1,
    RsaPss(HashAlgorithm),
    Ecdsa,
    Ed25519,
}

impl Question {
    /// Everything that is refused without asking the token.
    pub(crate) fn new(
        spec: KeySpec,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Self, SignError> {
        match (spec, scheme) {
            (KeySpec::Rsa(_), SignatureScheme::RsaPkcs1(hash)) => {
                require_signing(hash)?;
                let digest = message.to_digest(hash)?;
                Ok(Self {
                    how: How::RsaPkcs1,
                    data: [hash.digest_info_prefix(), &digest].concat(),
                })
            }
            (KeySpec::Rsa(_), SignatureScheme::RsaPss(hash)) => {
                require_signing(hash)?;
                Ok(Self {
                    how: How::RsaPss(hash),
                    data: message.to_digest(hash)?,
                })
            }
            (KeySpec::Rsa(_), SignatureScheme::RsaPssWith(_))
            | (KeySpec::Ec(_), SignatureScheme::Ecdsa(HashAlgorithm::Sha1)) => {
                Err(SignError::VerifyOnly)
            }
            (KeySpec::Ec(curve), SignatureScheme::Ecdsa(hash)) => {
                let mut data = message.to_digest(hash)?;
                // FIPS 186-5 §6.4.1: the leftmost bits. Not every token cuts by itself.
                data.truncate(usize::try_from(curve.bits().div_ceil(8)).unwrap_or(usize::MAX));
                Ok(Self {
                    how: How::Ecdsa,
                    data,
                })
            }
            (KeySpec::Ed25519, SignatureScheme::Ed25519) => Ok(Self {
                how: How::Ed25519,
                data: message.raw().ok_or(SignError::RawOnly)?.to_vec(),
            }),
            (
                KeySpec::Rsa(_)
                | KeySpec::Ec(_)
                | KeySpec::Ed25519
                | KeySpec::MlDsa44
                | KeySpec::MlDsa65
                | KeySpec::MlDsa87,
                _,
            ) => Err(SignError::WrongKey),
        }
    }

    /// Has the token sign.
    pub(crate) fn ask(&self, session: &Session, key: ObjectHandle) -> Result<Vec<u8>, Pkcs11Error> {
        let mechanism = match self.how {
            How::RsaPkcs1 => Mechanism::RsaPkcs,
            How::RsaPss(hash) => Mechanism::RsaPkcsPss(pss(hash)?),
            How::Ecdsa => Mechanism::Ecdsa,
            How::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
        };
        let signature = session.sign(&mechanism, key, &self.data);
        let signature = signature.map_err(Pkcs11Error::Call);
        let signature = signature.map_err(|error| match error.rv() {
            // The key does not sign, or not in this way, and says so each time.
            Some(RvError::KeyTypeInconsistent) => Pkcs11Error::OtherKey,
            _ => error,
        })?;
        match self.how {
            How::Ecdsa => ecdsa_der(&signature),
            How::RsaPkcs1 | How::RsaPss(_) | How::Ed25519 => Ok(signature),
        }
    }
}

/// SHA-1 and SHA-224 are verified with RSA, never signed.
const fn require_signing(hash: HashAlgorithm) -> Result<(), SignError> {
    match hash {
        HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512 => Ok(()),
        HashAlgorithm::Sha1 | HashAlgorithm::Sha224 => Err(SignError::VerifyOnly),
    }
}

fn pss(hash: HashAlgorithm) -> Result<PkcsPssParams, Pkcs11Error> {
    let (hash_alg, mgf) = match hash {
        HashAlgorithm::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        HashAlgorithm::Sha224 => (MechanismType::SHA224, PkcsMgfType::MGF1_SHA224),
        HashAlgorithm::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        HashAlgorithm::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        HashAlgorithm::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    Ok(PkcsPssParams {
        hash_alg,
        mgf,
        s_len: hash.output_len().try_into()?,
    })
}

/// RFC 3279 §2.2.3.
///
/// ```text
/// Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }
/// ```
#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// PKCS#11 gives both numbers one behind the other, of equal length.
fn ecdsa_der(signature: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
    let (r, s) = signature
        .split_at_checked(signature.len() / 2)
        .filter(|(r, s)| !r.is_empty() && r.len() == s.len())
        .ok_or(Pkcs11Error::Signature)?;
    let value = UintRef::new(r).and_then(|r| {
        let s = UintRef::new(s)?;
        EcdsaSigValue { r, s }.to_der()
    });
    value.map_err(|_| Pkcs11Error::Signature)
}
