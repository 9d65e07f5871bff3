#![cfg(test)]
//! Keys and signatures, against themselves, against known values and against `openssl`.

mod algorithm_identifier;
mod key_encoding;
mod ml_dsa;
mod openssl;
mod openssl_keys;
mod robustness;
mod signatures;

use lamassu_crypto::{HashAlgorithm, KeySpec, SignatureScheme};

/// Kinds that are generated within a fraction of a second.
fn quick_specs() -> impl Iterator<Item = KeySpec> {
    KeySpec::GENERATED
        .into_iter()
        .filter(|spec| !matches!(spec, KeySpec::Rsa(bits) if *bits > 2048))
}

/// Every scheme, without PSS of other parameters.
fn schemes() -> Vec<SignatureScheme> {
    let hashed = HashAlgorithm::ALL.into_iter().flat_map(|hash| {
        [
            SignatureScheme::RsaPkcs1(hash),
            SignatureScheme::RsaPss(hash),
            SignatureScheme::Ecdsa(hash),
        ]
    });
    let raw = [
        SignatureScheme::Ed25519,
        SignatureScheme::MlDsa44,
        SignatureScheme::MlDsa65,
        SignatureScheme::MlDsa87,
    ];
    hashed.chain(raw).collect()
}
