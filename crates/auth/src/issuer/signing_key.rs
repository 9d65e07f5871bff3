//! One key of the local issuer.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::IssuerError;

/// Octets of a P-256 coordinate.
const COORDINATE: usize = 32;

/// A P-256 key that signs tokens, with its place in the sequence of keys.
pub(super) struct SigningKey {
    generation: u64,
    active_from: OffsetDateTime,
    pkcs8: Zeroizing<Vec<u8>>,
    signer: EncodingKey,
    public: Jwk,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("generation", &self.generation)
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    pub(super) fn generate(
        generation: u64,
        active_from: OffsetDateTime,
    ) -> Result<Self, IssuerError> {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).map_err(IssuerError::Generate)?;
        let pkcs8 = key.to_pkcs8_der().map_err(IssuerError::Generate)?;
        Self::from_pkcs8(generation, active_from, pkcs8)
    }

    /// A stored key; `pkcs8` is DER.
    pub(super) fn from_pkcs8(
        generation: u64,
        active_from: OffsetDateTime,
        pkcs8: Zeroizing<Vec<u8>>,
    ) -> Result<Self, IssuerError> {
        let unusable = |error| IssuerError::Unusable(Box::new(error));
        let key = PrivateKey::from_pkcs8_der(&pkcs8).map_err(unusable)?;
        let public = Jwk::of(&key).ok_or(IssuerError::NoKey)?;
        Ok(Self {
            generation,
            active_from,
            signer: EncodingKey::from_ec_der(&pkcs8),
            pkcs8,
            public,
        })
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) const fn active_from(&self) -> OffsetDateTime {
        self.active_from
    }

    /// The private key, PKCS#8 DER.
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The compact form of a token with these claims.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, IssuerError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.public.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.signer).map_err(IssuerError::Sign)
    }
}

/// The public half as a JWK (RFC 7517, RFC 7518 section 6.2).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Jwk {
    #[schemars(example = &"EC")]
    kty: &'static str,
    #[schemars(example = &"P-256")]
    crv: &'static str,
    #[serde(rename = "use")]
    #[schemars(example = &"sig")]
    usage: &'static str,
    #[schemars(example = &"ES256")]
    alg: &'static str,
    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hex.
    #[schemars(example = &"5d8c4a1f0e7b6c39")]
    kid: String,
    #[schemars(example = &"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")]
    x: String,
    #[schemars(example = &"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")]
    y: String,
}

impl Jwk {
    /// `None` when it is no P-256 key.
    fn of(key: &PrivateKey) -> Option<Self> {
        let public = key.public_key();
        if public.spec() != KeySpec::Ec(Curve::P256) {
            return None;
        }
        // The SubjectPublicKeyInfo ends in the uncompressed point: 04, x, y.
        let (rest, y) = public.spki_der().split_last_chunk::<COORDINATE>()?;
        let (_, x) = rest.split_last_chunk::<COORDINATE>()?;
        Some(Self {
            kty: "EC",
            crv: "P-256",
            usage: "sig",
            alg: "ES256",
            kid: public.key_id_sha256_hex(),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        })
    }
}

/// The published key set.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Jwks {
    keys: Vec<Jwk>,
}

impl Jwks {
    pub(super) fn of(keys: &[SigningKey]) -> Self {
        let keys = keys.iter().map(|key| key.public.clone()).collect();
        Self { keys }
    }
}
