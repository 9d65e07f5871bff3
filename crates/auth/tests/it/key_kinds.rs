//! Tokens of every kind of key that identity providers use.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lamassu_auth::{AuthConfig, ProviderConfig, TokenAlgorithm};
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use serde_json::{Value, json};

use crate::support::{Forge, Installation, good_claims, provider};

struct Key {
    signer: EncodingKey,
    spki: Vec<u8>,
}

fn key(spec: KeySpec, read: fn(&[u8]) -> EncodingKey) -> Key {
    let key = PrivateKey::generate(spec).unwrap();
    Key {
        signer: read(&key.to_pkcs8_der().unwrap()),
        spki: key.public_key().spki_der().to_vec(),
    }
}

fn sign(key: &Key, algorithm: Algorithm) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), &good_claims(), &key.signer).unwrap()
}

/// A process that trusts one provider with these keys.
async fn trusting(change: impl FnOnce(&mut ProviderConfig)) -> Installation {
    let mut trusted = provider(&Forge::new());
    trusted.jwks = None;
    change(&mut trusted);
    let mut config = AuthConfig::default();
    config.jwt.providers.push(trusted);
    Installation::open(&config).await
}

async fn trusting_jwk(jwk: Value) -> Installation {
    trusting(|provider| provider.jwks = Some(json!({"keys": [jwk]}).to_string())).await
}

#[tokio::test]
async fn rsa_keys_from_pem_verify_both_paddings() {
    let rsa = key(KeySpec::Rsa(2048), pkcs1_of_pkcs8);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rsa.pem");
    let base64 = STANDARD.encode(&rsa.spki);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    );
    std::fs::write(&file, pem).unwrap();
    let installation = trusting(|provider| provider.public_key_files = vec![file]).await;
    for algorithm in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ] {
        let answer = installation.list(&sign(&rsa, algorithm)).await;
        assert_eq!(answer.code(), "admitted", "{algorithm:?}");
    }
}

/// The forge signs RSA with PKCS#1 keys: the content of the last OCTET STRING of PKCS#8.
fn pkcs1_of_pkcs8(pkcs8: &[u8]) -> EncodingKey {
    EncodingKey::from_rsa_der(&pkcs8[26..])
}

#[tokio::test]
async fn p384_and_ed25519_keys_verify() {
    let p384 = key(KeySpec::Ec(Curve::P384), EncodingKey::from_ec_der);
    let point = p384.spki.last_chunk::<96>().unwrap();
    let jwk = json!({
        "kty": "EC", "crv": "P-384",
        "x": URL_SAFE_NO_PAD.encode(&point[..48]), "y": URL_SAFE_NO_PAD.encode(&point[48..]),
    });
    let installation = trusting_jwk(jwk).await;
    let answer = installation.list(&sign(&p384, Algorithm::ES384)).await;
    assert_eq!(answer.code(), "admitted");

    let ed25519 = key(KeySpec::Ed25519, EncodingKey::from_ed_der);
    let x = URL_SAFE_NO_PAD.encode(ed25519.spki.last_chunk::<32>().unwrap());
    let installation = trusting_jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": x})).await;
    let answer = installation.list(&sign(&ed25519, Algorithm::EdDSA)).await;
    assert_eq!(answer.code(), "admitted");
}

#[tokio::test]
async fn a_provider_may_allow_fewer_algorithms() {
    let forge = Forge::new();
    let installation = trusting(|provider| {
        provider.jwks = Some(forge.jwks());
        provider.algorithms = Some(vec![TokenAlgorithm::RS256]);
    })
    .await;
    assert_eq!(
        installation.list(&forge.good()).await.code(),
        "token_algorithm"
    );
}
