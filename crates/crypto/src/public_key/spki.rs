//! SubjectPublicKeyInfo (RFC 5280 §4.1, RFC 3279, RFC 5480, RFC 8410, RFC 9881).
//!
//! ```text
//! SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
//! ```

use std::sync::Arc;

use aws_lc_rs::signature::{
    ED25519, ML_DSA_44, ML_DSA_65, ML_DSA_87, ParsedPublicKey, VerificationAlgorithm,
};
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Decode as _;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::rsa::RsaPublicKey;
use super::{Material, Parsed, PublicKey};
use crate::algorithm_identifier::{ID_ML_DSA_44, ID_ML_DSA_65, ID_ML_DSA_87};
use crate::ecdsa::ProviderCurve;
use crate::error::KeyError;
use crate::spec::{Curve, KeySpec};

pub(super) fn parse(der: &[u8]) -> Result<PublicKey, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
    let key = info
        .subject_public_key
        .as_bytes()
        .ok_or(KeyError::Malformed)?;
    let (spec, material) = match info.algorithm.oid {
        RSA_ENCRYPTION => {
            let key = RsaPublicKey::from_pkcs1_der(key)?;
            (KeySpec::Rsa(key.bits()), Material::Rsa(key))
        }
        ID_EC_PUBLIC_KEY => {
            let curve = named_curve(&info.algorithm)?;
            (KeySpec::Ec(curve), elliptic(curve, key)?)
        }
        ID_ED_25519 => (KeySpec::Ed25519, over_messages(&ED25519, 32, key)?),
        ID_ML_DSA_44 => (KeySpec::MlDsa44, over_messages(&ML_DSA_44, 1312, key)?),
        ID_ML_DSA_65 => (KeySpec::MlDsa65, over_messages(&ML_DSA_65, 1952, key)?),
        ID_ML_DSA_87 => (KeySpec::MlDsa87, over_messages(&ML_DSA_87, 2592, key)?),
        other => return Err(KeyError::UnknownAlgorithm(other)),
    };
    Ok(PublicKey(Arc::new(Parsed {
        spki_der: der.into(),
        spec,
        material,
    })))
}

/// The curve that the parameters name; explicit parameters are not read (RFC 5480 §2.1.1).
pub(crate) fn named_curve(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Curve, KeyError> {
    let oid = algorithm
        .parameters_oid()
        .map_err(|_| KeyError::UnknownCurve)?;
    Curve::from_oid(oid).ok_or(KeyError::UnknownCurve)
}

fn elliptic(curve: Curve, point: &[u8]) -> Result<Material, KeyError> {
    // The provider would take a whole SubjectPublicKeyInfo here as well; SEC 1 §2.3.3 points
    // begin with 2, 3 or 4.
    if !matches!(point.first(), Some(2..=4)) {
        return Err(KeyError::Invalid);
    }
    match ProviderCurve::of(curve) {
        Some(provider) => {
            let key = ParsedPublicKey::new(provider.verification, point)
                .map_err(|_| KeyError::Invalid)?;
            Ok(Material::Ec(provider, key))
        }
        None => p224::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .map(Material::P224)
            .map_err(|_| KeyError::Invalid),
    }
}

fn over_messages(
    algorithm: &'static dyn VerificationAlgorithm,
    n_bytes: usize,
    key: &[u8],
) -> Result<Material, KeyError> {
    if key.len() != n_bytes {
        return Err(KeyError::Invalid);
    }
    ParsedPublicKey::new(algorithm, key)
        .map(Material::OverMessages)
        .map_err(|_| KeyError::Invalid)
}
