//! Public keys that tokens are verified with, from JWK sets (RFC 7517) and PEM files.

use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use crate::config::TokenAlgorithm;

/// Why a key or a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It is no JWK set.
    #[error("no JWK set")]
    Json(#[source] serde_json::Error),
    /// The PEM text holds no public key of a kind that signs tokens.
    #[error("no PEM public key of RSA, P-256, P-384 or Ed25519")]
    Pem,
    /// Nothing in it can verify a token.
    #[error("the set has no key that can verify tokens")]
    Empty,
}

/// What kind of key it is, which decides what algorithms it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    /// An EC key from a PEM file; the curve shows when it verifies.
    AnyCurve,
    Ed25519,
}

impl KeyKind {
    fn signs_with(self, algorithm: TokenAlgorithm) -> bool {
        use TokenAlgorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match algorithm {
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => self == Self::Rsa,
            ES256 => matches!(self, Self::P256 | Self::AnyCurve),
            ES384 => matches!(self, Self::P384 | Self::AnyCurve),
            EdDSA => self == Self::Ed25519,
        }
    }
}

type PemReader = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;

/// One public key.
#[derive(Clone, Debug)]
pub struct VerificationKey {
    id: Option<String>,
    kind: KeyKind,
    only: Option<String>,
    key: DecodingKey,
}

impl VerificationKey {
    /// The key of a PEM file, which has no id.
    ///
    /// # Errors
    /// [`JwksError::Pem`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, JwksError> {
        let readers: [(KeyKind, PemReader); 3] = [
            (KeyKind::Rsa, DecodingKey::from_rsa_pem),
            (KeyKind::AnyCurve, DecodingKey::from_ec_pem),
            (KeyKind::Ed25519, DecodingKey::from_ed_pem),
        ];
        let found = readers
            .into_iter()
            .find_map(|(kind, read)| Some((kind, read(pem).ok()?)));
        let (kind, key) = found.ok_or(JwksError::Pem)?;
        Ok(Self {
            id: None,
            kind,
            only: None,
            key,
        })
    }

    /// Whether a token that names `key_id` may be signed with this key. A key without an id may
    /// be meant by any.
    pub(crate) fn is_meant_by(&self, key_id: Option<&str>) -> bool {
        match (&self.id, key_id) {
            (Some(own), Some(wanted)) => own == wanted,
            (None, _) | (_, None) => true,
        }
    }

    /// Whether the key is one for the algorithm: an RSA key never verifies an EC signature, nor
    /// is a public key ever a shared secret.
    pub(crate) fn fits(&self, algorithm: TokenAlgorithm) -> bool {
        let is_allowed = self
            .only
            .as_deref()
            .is_none_or(|only| only == algorithm.name());
        is_allowed && self.kind.signs_with(algorithm)
    }

    /// Whether `signature` (base64url) is this key's over `input`. RSA below 2048 bits never is.
    pub(crate) fn verifies(&self, algorithm: TokenAlgorithm, input: &str, signature: &str) -> bool {
        let algorithm = foreign(algorithm);
        jsonwebtoken::crypto::verify(signature, input.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }
}

fn foreign(algorithm: TokenAlgorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        TokenAlgorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        TokenAlgorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        TokenAlgorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        TokenAlgorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        TokenAlgorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        TokenAlgorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        TokenAlgorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        TokenAlgorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        TokenAlgorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

/// The keys of one provider at one time.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
    /// Changes when the keys do; results verified with an older set are not believed any more.
    generation: u64,
}

/// A member of a JWK set as we read it; certificates in it (`x5c`) are not looked at.
#[derive(Deserialize)]
struct Jwk {
    #[serde(default)]
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// A set of these keys.
    ///
    /// # Errors
    /// [`JwksError::Empty`].
    pub fn try_new(keys: Vec<VerificationKey>, generation: u64) -> Result<Self, JwksError> {
        if keys.is_empty() {
            return Err(JwksError::Empty);
        }
        Ok(Self { keys, generation })
    }

    /// Reads a JWK set. Keys for encryption, of unknown kinds or malformed are left out.
    ///
    /// # Errors
    /// When it is no set, or has no usable key.
    pub fn from_jwks(json: &[u8], generation: u64) -> Result<Self, JwksError> {
        let set: Jwks = serde_json::from_slice(json).map_err(JwksError::Json)?;
        let keys = set
            .keys
            .into_iter()
            .filter_map(|value| serde_json::from_value(value).ok())
            .filter_map(|jwk: Jwk| read_jwk(&jwk))
            .collect();
        Self::try_new(keys, generation)
    }

    /// The keys.
    pub fn keys(&self) -> &[VerificationKey] {
        &self.keys
    }

    /// The generation given when it was made.
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

fn read_jwk(jwk: &Jwk) -> Option<VerificationKey> {
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return None;
    }
    let x = jwk.x.as_deref();
    let (kind, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let key = DecodingKey::from_rsa_components(jwk.n.as_deref()?, jwk.e.as_deref()?);
            (KeyKind::Rsa, key.ok()?)
        }
        ("EC", Some(curve)) => {
            let kind = match curve {
                "P-256" => KeyKind::P256,
                "P-384" => KeyKind::P384,
                _ => return None,
            };
            (
                kind,
                DecodingKey::from_ec_components(x?, jwk.y.as_deref()?).ok()?,
            )
        }
        ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, DecodingKey::from_ed_components(x?).ok()?),
        _ => return None,
    };
    Some(VerificationKey {
        id: jwk.kid.clone(),
        kind,
        only: jwk.alg.clone(),
        key,
    })
}
