//! Private keys: generating, and signing. Reading and writing them is in `private_key/encoding.rs`.

mod encoding;
mod rsa;

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING,
    ML_DSA_87_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm, RsaKeyPair,
};
use p224::ecdsa::signature::hazmat::PrehashSigner as _;
use p224::elliptic_curve::Generate as _;
use spki::EncodePublicKey as _;

use crate::ecdsa::{P224_WIDTH, ProviderCurve, fit};
use crate::error::{KeyError, SignError};
use crate::hash::HashAlgorithm;
use crate::public_key::PublicKey;
use crate::scheme::{Message, SignatureScheme, WrongDigestLength};
use crate::spec::{Curve, KeySpec};

/// A private key, parsed once and ready to sign. Wiped when dropped; never printed.
pub struct PrivateKey {
    public: PublicKey,
    material: Material,
}

enum Material {
    Rsa(RsaKeyPair),
    /// P-256, P-384, P-521.
    Ec(ProviderCurve, EcdsaKeyPair),
    P224(Box<p224::ecdsa::SigningKey>),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

impl PrivateKey {
    /// Makes a new key. [`KeySpec::GENERATED`] lists what can be asked for. RSA of 4096 bits
    /// takes in the order of a second, of 8192 bits up to a minute: not on an async thread.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotGenerated`] for another specification, [`KeyError::Library`] when the
    /// library fails (no randomness).
    pub fn generate(spec: KeySpec) -> Result<Self, KeyError> {
        let material = match spec {
            KeySpec::Rsa(bits) => {
                let size = key_size(bits).ok_or(KeyError::NotGenerated(spec))?;
                Material::Rsa(RsaKeyPair::generate(size).map_err(|_| KeyError::Library)?)
            }
            KeySpec::Ec(curve) => generate_elliptic(curve)?,
            KeySpec::Ed25519 => {
                Material::Ed25519(Ed25519KeyPair::generate().map_err(|_| KeyError::Library)?)
            }
            KeySpec::MlDsa44 => generate_ml_dsa(&ML_DSA_44_SIGNING)?,
            KeySpec::MlDsa65 => generate_ml_dsa(&ML_DSA_65_SIGNING)?,
            KeySpec::MlDsa87 => generate_ml_dsa(&ML_DSA_87_SIGNING)?,
        };
        Self::from_material(material)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The scheme used unless another is asked for: RSA PKCS#1 v1.5 with SHA-256; ECDSA with
    /// SHA-256 (P-224, P-256), SHA-384 (P-384), SHA-512 (P-521); Ed25519; ML-DSA.
    #[must_use]
    pub fn default_scheme(&self) -> SignatureScheme {
        self.public.default_scheme()
    }

    /// Signs. ECDSA gives the DER of `ECDSA-Sig-Value`, the others fixed-length octets.
    ///
    /// # Errors
    ///
    /// What [`SignError`] says: a scheme of another kind of key, one that is only verified, a
    /// digest of the wrong length, a digest where the message is needed.
    pub fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, SignError> {
        match (&self.material, scheme) {
            (Material::Rsa(key), SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPss(_)) => {
                rsa::sign(key, scheme, message)
            }
            (Material::Rsa(_), SignatureScheme::RsaPssWith(_))
            | (Material::Ec(..) | Material::P224(_), SignatureScheme::Ecdsa(HashAlgorithm::Sha1)) => {
                Err(SignError::VerifyOnly)
            }
            (Material::Ec(curve, key), SignatureScheme::Ecdsa(hash)) => {
                let digest = message.digest(hash)?;
                let fitted = curve.digest(&digest).map_err(|_| SignError::Library)?;
                let signature = key.sign_digest(&fitted).map_err(|_| SignError::Library)?;
                Ok(signature.as_ref().to_vec())
            }
            (Material::P224(key), SignatureScheme::Ecdsa(hash)) => {
                sign_p224(key, message.digest(hash)?.as_ref())
            }
            (Material::Ed25519(key), SignatureScheme::Ed25519) => {
                let message = message.raw().ok_or(SignError::RawOnly)?;
                let signature = key.try_sign(message).map_err(|_| SignError::Library)?;
                Ok(signature.as_ref().to_vec())
            }
            (Material::MlDsa(key), _) if Some(scheme) == self.public.message_scheme() => {
                sign_ml_dsa(key, message.raw().ok_or(SignError::RawOnly)?)
            }
            (
                Material::Rsa(_)
                | Material::Ec(..)
                | Material::P224(_)
                | Material::Ed25519(_)
                | Material::MlDsa(_),
                _,
            ) => Err(SignError::WrongKey),
        }
    }

    /// Derives the public half.
    fn from_material(material: Material) -> Result<Self, KeyError> {
        let library = |_| KeyError::Library;
        let public = match &material {
            Material::Rsa(key) => {
                PublicKey::from_spki_der(key.public_key().as_der().map_err(library)?.as_ref())?
            }
            Material::Ec(_, key) => {
                PublicKey::from_spki_der(key.public_key().as_der().map_err(library)?.as_ref())?
            }
            Material::P224(key) => {
                let spki = p224::PublicKey::from(key.verifying_key()).to_public_key_der();
                PublicKey::from_spki_der(spki.map_err(|_| KeyError::Library)?.as_bytes())?
            }
            Material::Ed25519(key) => {
                PublicKey::from_spki_der(key.public_key().as_der().map_err(library)?.as_ref())?
            }
            Material::MlDsa(key) => {
                PublicKey::from_spki_der(key.public_key().as_der().map_err(library)?.as_ref())?
            }
        };
        Ok(Self { public, material })
    }
}

fn key_size(bits: u32) -> Option<KeySize> {
    match bits {
        2048 => Some(KeySize::Rsa2048),
        3072 => Some(KeySize::Rsa3072),
        4096 => Some(KeySize::Rsa4096),
        8192 => Some(KeySize::Rsa8192),
        _ => None,
    }
}

fn generate_elliptic(curve: Curve) -> Result<Material, KeyError> {
    match ProviderCurve::of(curve) {
        Some(provider) => EcdsaKeyPair::generate(provider.signing)
            .map(|key| Material::Ec(provider, key))
            .map_err(|_| KeyError::Library),
        None => p224::ecdsa::SigningKey::try_generate()
            .map(|key| Material::P224(Box::new(key)))
            .map_err(|_| KeyError::Library),
    }
}

fn generate_ml_dsa(algorithm: &'static PqdsaSigningAlgorithm) -> Result<Material, KeyError> {
    PqdsaKeyPair::generate(algorithm)
        .map(Material::MlDsa)
        .map_err(|_| KeyError::Library)
}

fn sign_p224(key: &p224::ecdsa::SigningKey, digest: &[u8]) -> Result<Vec<u8>, SignError> {
    let signature: p224::ecdsa::Signature = key
        .sign_prehash(&fit(digest, P224_WIDTH))
        .map_err(|_| SignError::Library)?;
    Ok(signature.to_der().as_bytes().to_vec())
}

fn sign_ml_dsa(key: &PqdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, SignError> {
    let mut signature = vec![0; key.algorithm().signature_len()];
    key.sign(message, &mut signature)
        .map_err(|_| SignError::Library)?;
    Ok(signature)
}

impl From<WrongDigestLength> for SignError {
    fn from(wrong: WrongDigestLength) -> Self {
        Self::DigestLength {
            expected: wrong.expected,
            actual: wrong.actual,
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
