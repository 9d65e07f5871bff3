//! Private keys as bytes: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 §A.1.2), SEC 1 (RFC 5915), in DER
//! and PEM. Written is PKCS#8 only.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING,
    PqdsaKeyPair, PqdsaSigningAlgorithm, RsaKeyPair,
};
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Decode as _;
use p224::elliptic_curve::pkcs8::EncodePrivateKey as _;
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::{Material, PrivateKey};
use crate::algorithm_identifier::{ID_ML_DSA_44, ID_ML_DSA_65, ID_ML_DSA_87};
use crate::ecdsa::ProviderCurve;
use crate::error::KeyError;
use crate::pem::{self, PemLabel};
use crate::public_key::{bit_length, named_curve};
use crate::spec::Curve;

/// Sizes of RSA keys that can sign, in bits.
const SIGNING_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

impl PrivateKey {
    /// Reads a clear PKCS#8 `PrivateKeyInfo` or `OneAsymmetricKey`.
    ///
    /// # Errors
    ///
    /// What [`KeyError`] says; RSA outside 2048 to 8192 bits is [`KeyError::RsaSize`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let material = match info.algorithm.oid {
            RSA_ENCRYPTION => return Self::from_pkcs1_der(info.private_key.as_bytes()),
            ID_EC_PUBLIC_KEY => {
                let curve = named_curve(&info.algorithm)?;
                elliptic(curve, der, Encoding::Pkcs8)?
            }
            // Without the public half there is nothing to compare the private one with.
            ID_ED_25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(Material::Ed25519)
                .map_err(|_| KeyError::Invalid)?,
            ID_ML_DSA_44 => ml_dsa(&ML_DSA_44_SIGNING, der)?,
            ID_ML_DSA_65 => ml_dsa(&ML_DSA_65_SIGNING, der)?,
            ID_ML_DSA_87 => ml_dsa(&ML_DSA_87_SIGNING, der)?,
            other => return Err(KeyError::UnknownAlgorithm(other)),
        };
        Self::from_material(material)
    }

    /// Reads DER that is PKCS#8, PKCS#1 or SEC 1, whichever it is.
    ///
    /// # Errors
    ///
    /// As [`from_pkcs8_der`](Self::from_pkcs8_der); [`KeyError::Malformed`] when it is none of
    /// them.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        [
            Self::from_pkcs8_der,
            Self::from_pkcs1_der,
            Self::from_sec1_der,
        ]
        .into_iter()
        .map(|read| read(der))
        .find(|result| !matches!(result, Err(KeyError::Malformed)))
        .unwrap_or(Err(KeyError::Malformed))
    }

    /// Reads the first private key of a PEM text.
    ///
    /// The label decides (`PRIVATE KEY`, `RSA PRIVATE KEY`, `EC PRIVATE KEY`); when the contents
    /// are something else, all forms are tried. Blocks in front that are no private
    /// keys, such as `EC PARAMETERS` or a certificate, are skipped.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoPemBlock`] without a readable block, [`KeyError::Encrypted`] for an
    /// encrypted key, otherwise as [`from_der`](Self::from_der).
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let block = pem::blocks(pem)
            .find(|block| !block.label().is_some_and(is_no_private_key))
            .ok_or(KeyError::NoPemBlock)?;
        if block.label() == Some(PemLabel::EncryptedPrivateKey) || block.has_headers() {
            return Err(KeyError::Encrypted);
        }
        let der = Zeroizing::new(block.der().map_err(|_| KeyError::NoPemBlock)?);
        let by_label = match block.label() {
            Some(PemLabel::RsaPrivateKey) => Self::from_pkcs1_der(&der),
            Some(PemLabel::EcPrivateKey) => Self::from_sec1_der(&der),
            _ => Self::from_pkcs8_der(&der),
        };
        match by_label {
            Err(KeyError::Malformed) => Self::from_der(&der),
            decided => decided,
        }
    }

    /// The key as PKCS#8 version 1 in DER.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`] when the library fails.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let library = |_| KeyError::Library;
        let der = match &self.material {
            Material::Rsa(key) => {
                let der: Pkcs8V1Der<'_> = key.as_der().map_err(library)?;
                der.as_ref().to_vec()
            }
            Material::Ec(_, key) => key.to_pkcs8v1().map_err(library)?.as_ref().to_vec(),
            Material::P224(key) => p224::SecretKey::from(key.as_nonzero_scalar())
                .to_pkcs8_der()
                .map_err(|_| KeyError::Library)?
                .as_bytes()
                .to_vec(),
            Material::Ed25519(key) => key.to_pkcs8v1().map_err(library)?.as_ref().to_vec(),
            Material::MlDsa(key) => key.to_pkcs8v1().map_err(library)?.as_ref().to_vec(),
        };
        Ok(Zeroizing::new(der))
    }

    fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let read = pkcs1::RsaPrivateKeyRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let bits = bit_length(read.modulus.as_bytes());
        if !SIGNING_BITS.contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        let key = RsaKeyPair::from_der(der).map_err(|_| KeyError::Invalid)?;
        Self::from_material(Material::Rsa(key))
    }

    fn from_sec1_der(der: &[u8]) -> Result<Self, KeyError> {
        let read = sec1::EcPrivateKey::from_der(der).map_err(|_| KeyError::Malformed)?;
        let curve = read
            .parameters
            .and_then(sec1::EcParameters::named_curve)
            .and_then(Curve::from_oid)
            .ok_or(KeyError::UnknownCurve)?;
        Self::from_material(elliptic(curve, der, Encoding::Sec1)?)
    }
}

/// What stands beside a key in one file.
const fn is_no_private_key(label: PemLabel) -> bool {
    match label {
        PemLabel::Certificate
        | PemLabel::CertificateRequest
        | PemLabel::Crl
        | PemLabel::Pkcs7
        | PemLabel::PublicKey
        | PemLabel::EcParameters => true,
        PemLabel::PrivateKey
        | PemLabel::EncryptedPrivateKey
        | PemLabel::RsaPrivateKey
        | PemLabel::EcPrivateKey => false,
    }
}

/// How an elliptic curve key is wrapped.
#[derive(Clone, Copy)]
enum Encoding {
    Pkcs8,
    Sec1,
}

fn elliptic(curve: Curve, der: &[u8], encoding: Encoding) -> Result<Material, KeyError> {
    match (ProviderCurve::of(curve), encoding) {
        (Some(provider), Encoding::Pkcs8) => EcdsaKeyPair::from_pkcs8(provider.signing, der)
            .map(|key| Material::Ec(provider, key))
            .map_err(|_| KeyError::Invalid),
        (Some(provider), Encoding::Sec1) => {
            EcdsaKeyPair::from_private_key_der(provider.signing, der)
                .map(|key| Material::Ec(provider, key))
                .map_err(|_| KeyError::Invalid)
        }
        (None, Encoding::Pkcs8) => {
            use p224::elliptic_curve::pkcs8::DecodePrivateKey as _;
            p224::SecretKey::from_pkcs8_der(der)
                .map(p224_material)
                .map_err(|_| KeyError::Invalid)
        }
        (None, Encoding::Sec1) => p224::SecretKey::from_sec1_der(der)
            .map(p224_material)
            .map_err(|_| KeyError::Invalid),
    }
}

fn p224_material(key: p224::SecretKey) -> Material {
    Material::P224(Box::new(key.into()))
}

fn ml_dsa(algorithm: &'static PqdsaSigningAlgorithm, der: &[u8]) -> Result<Material, KeyError> {
    let key = PqdsaKeyPair::from_pkcs8(algorithm, der).map_err(|_| KeyError::Invalid)?;
    // Keys that hold the expanded form alone sign, but could not be stored.
    key.to_pkcs8v1().map_err(|_| KeyError::NoSeed)?;
    Ok(Material::MlDsa(key))
}
