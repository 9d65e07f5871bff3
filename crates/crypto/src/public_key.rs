//! Public keys: reading a SubjectPublicKeyInfo, and verifying.

mod rsa;
mod spki;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::ParsedPublicKey;
use p224::ecdsa::signature::hazmat::PrehashVerifier as _;

use self::rsa::RsaPublicKey;
pub(crate) use self::rsa::bit_length;
pub(crate) use self::spki::named_curve;
use crate::ecdsa::{P224_WIDTH, ProviderCurve, fit};
use crate::error::{KeyError, VerifyError};
use crate::hash::HashAlgorithm;
use crate::scheme::{Message, SignatureScheme, WrongDigestLength};
use crate::spec::{Curve, KeySpec};

/// A public key, parsed once. Clones share it.
///
/// Two keys are equal when their SubjectPublicKeyInfo is, byte for byte.
#[derive(Clone)]
pub struct PublicKey(Arc<Parsed>);

struct Parsed {
    spki_der: Box<[u8]>,
    spec: KeySpec,
    material: Material,
}

enum Material {
    Rsa(RsaPublicKey),
    /// P-256, P-384, P-521.
    Ec(ProviderCurve, ParsedPublicKey),
    P224(p224::ecdsa::VerifyingKey),
    /// Ed25519 and ML-DSA: keys that verify messages.
    OverMessages(ParsedPublicKey),
}

impl PublicKey {
    /// Reads the DER of a SubjectPublicKeyInfo (RFC 5280 §4.1).
    ///
    /// RSA from 1024 to 16384 bits with an odd exponent of at most 33 bits, which bounds what a
    /// verification costs; EC keys on the four named curves, in compressed form, too; Ed25519;
    /// ML-DSA. The bytes are kept as they came.
    ///
    /// # Errors
    ///
    /// What [`KeyError`] says: malformed, unknown algorithm or curve, size, values.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        spki::parse(der)
    }

    /// The SubjectPublicKeyInfo, as it was read.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki_der
    }

    /// Kind and size.
    #[must_use]
    pub fn spec(&self) -> KeySpec {
        self.0.spec
    }

    /// SHA-256 of the SubjectPublicKeyInfo in lower-case hex, 64 digits: the platform's key id.
    #[must_use]
    pub fn key_id_sha256_hex(&self) -> String {
        hex::encode(HashAlgorithm::Sha256.compute(self.spki_der()))
    }

    /// Checks `signature` over `message`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Mismatch`] for every signature that is not right, malformed ones included;
    /// the other variants say that the question made no sense.
    pub fn verify(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        match (&self.0.material, scheme) {
            (
                Material::Rsa(key),
                SignatureScheme::RsaPkcs1(hash)
                | SignatureScheme::RsaPss(hash)
                | SignatureScheme::RsaPssWith(crate::RsaPssParams { hash, .. }),
            ) => key.verify(scheme, &message.digest(hash)?, signature),
            (Material::Ec(curve, key), SignatureScheme::Ecdsa(hash)) => {
                let digest = message.digest(hash)?;
                let fitted = curve.digest(&digest).map_err(|_| VerifyError::Mismatch)?;
                key.verify_digest_sig(&fitted, signature)
                    .map_err(|_| VerifyError::Mismatch)
            }
            (Material::P224(key), SignatureScheme::Ecdsa(hash)) => {
                verify_p224(key, message.digest(hash)?.as_ref(), signature)
            }
            (Material::OverMessages(key), _) if Some(scheme) == self.message_scheme() => {
                let message = message.raw().ok_or(VerifyError::RawOnly)?;
                key.verify_sig(message, signature)
                    .map_err(|_| VerifyError::Mismatch)
            }
            (
                Material::Rsa(_) | Material::Ec(..) | Material::P224(_) | Material::OverMessages(_),
                _,
            ) => Err(VerifyError::WrongKey),
        }
    }

    /// The scheme that this key signs with unless another is asked for.
    #[must_use]
    pub fn default_scheme(&self) -> SignatureScheme {
        match self.0.spec {
            KeySpec::Rsa(_) => SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256),
            KeySpec::Ec(Curve::P224 | Curve::P256) => SignatureScheme::Ecdsa(HashAlgorithm::Sha256),
            KeySpec::Ec(Curve::P384) => SignatureScheme::Ecdsa(HashAlgorithm::Sha384),
            KeySpec::Ec(Curve::P521) => SignatureScheme::Ecdsa(HashAlgorithm::Sha512),
            KeySpec::Ed25519 => SignatureScheme::Ed25519,
            KeySpec::MlDsa44 => SignatureScheme::MlDsa44,
            KeySpec::MlDsa65 => SignatureScheme::MlDsa65,
            KeySpec::MlDsa87 => SignatureScheme::MlDsa87,
        }
    }

    /// The one scheme of a key that takes messages only.
    pub(crate) fn message_scheme(&self) -> Option<SignatureScheme> {
        let scheme = self.default_scheme();
        scheme.hash().is_none().then_some(scheme)
    }
}

fn verify_p224(
    key: &p224::ecdsa::VerifyingKey,
    digest: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let signature =
        p224::ecdsa::Signature::from_der(signature).map_err(|_| VerifyError::Mismatch)?;
    key.verify_prehash(&fit(digest, P224_WIDTH), &signature)
        .map_err(|_| VerifyError::Mismatch)
}

impl From<WrongDigestLength> for VerifyError {
    fn from(wrong: WrongDigestLength) -> Self {
        Self::DigestLength {
            expected: wrong.expected,
            actual: wrong.actual,
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki_der() == other.spki_der()
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("spec", &self.0.spec)
            .field("key_id", &self.key_id_sha256_hex())
            .finish()
    }
}
