//! Secrets: what of them is kept, and what may be shown.
//!
//! Tokens and sensitive values are kept as a hash under a key of the installation's own
//! (HMAC-SHA-256), so that whoever reads the database alone cannot try them out. Public keys and serial
//! numbers are no secrets and kept as they are.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use lamassu_core::device::RegistryError;
use lamassu_core::device::slot::{NewSecret, VerifiedToken, VersionState};
use lamassu_core::error::StorageFailure;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{Db, setting_or_insert};
use serde_json::{Value, json};
use ssh_key::{Algorithm, Certificate, HashAlg, PublicKey};
use time::OffsetDateTime;

use crate::store::Slot;

/// Bytes of the key.
const KEY_BYTES: usize = 32;

/// Shortest and longest token, in characters.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=4_096;

/// Fewest and most random bytes of a token that is made.
const TOKEN_BYTES: std::ops::RangeInclusive<u32> = 16..=256;

/// Random bytes of a token that is made, where the request names none.
const DEFAULT_TOKEN_BYTES: u32 = 32;

/// Largest value, in bytes of JSON.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Shortest RSA key.
const MIN_RSA_BITS: usize = 2_048;

/// How much of a token is shown.
const HINT_CHARS: usize = 4;

/// What is kept of a secret.
#[derive(Debug)]
pub(super) struct Kept {
    /// What may be shown.
    pub(super) secret: Value,
    /// What is shown once, where it was made here.
    pub(super) once: Option<String>,
    pub(super) fingerprint: Option<String>,
    /// Which public key it is.
    pub(super) public_key_id: Option<String>,
    /// When it ends by itself.
    pub(super) ends: Option<Timestamp>,
}

impl Kept {
    fn new(secret: Value) -> Self {
        Self {
            secret,
            once: None,
            fingerprint: None,
            public_key_id: None,
            ends: None,
        }
    }
}

/// The key of this installation's hashes, made on first use.
pub(super) async fn key(db: &Db) -> Result<hmac::Key, StorageFailure> {
    let mut fresh = [0_u8; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut fresh).map_err(|error| StorageFailure::Internal(Box::new(error)))?;
    let make = || Bytes::copy_from_slice(&fresh);
    let bytes = setting_or_insert(db, "slot_secret_key", make).await?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// A token, of the client's or made here.
pub(super) fn token(key: &hmac::Key, new: &NewSecret) -> Result<Kept, RegistryError> {
    match (&new.token, new.generate.unwrap_or(false)) {
        (Some(token), false) => {
            if !TOKEN_CHARS.contains(&token.chars().count()) {
                let reason = "not 16 to 4096 characters long";
                return Err(RegistryError::invalid("secret.token", reason));
            }
            Ok(Kept::new(hashed(key, token.as_bytes(), &hint(token))))
        }
        (None, true) => {
            let n_bytes = new.bytes.unwrap_or(DEFAULT_TOKEN_BYTES);
            if !TOKEN_BYTES.contains(&n_bytes) {
                return Err(RegistryError::invalid("secret.bytes", "not 16 to 256"));
            }
            let token = random_token(n_bytes)?;
            let secret = hashed(key, token.as_bytes(), &hint(&token));
            Ok(Kept {
                once: Some(token),
                ..Kept::new(secret)
            })
        }
        (Some(_), true) | (None, false) => {
            let reason = "one of token and generate is required";
            Err(RegistryError::invalid("secret", reason))
        }
    }
}

fn random_token(n_bytes: u32) -> Result<String, RegistryError> {
    let n_bytes = usize::try_from(n_bytes).unwrap_or_default();
    let mut random = vec![0_u8; n_bytes];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|error| StorageFailure::Internal(Box::new(error)))?;
    Ok(URL_SAFE_NO_PAD.encode(&random))
}

/// Any value; only its hash where it is sensitive.
pub(super) fn other(key: &hmac::Key, new: &NewSecret) -> Result<Kept, RegistryError> {
    let value = new.value.as_ref();
    let value = value.ok_or_else(|| RegistryError::invalid("secret.value", "required"))?;
    let text = value.to_string();
    if text.len() > MAX_VALUE_BYTES {
        return Err(RegistryError::invalid("secret.value", "larger than 16 KiB"));
    }
    Ok(Kept::new(if new.sensitive.unwrap_or(false) {
        hashed(key, text.as_bytes(), "…")
    } else {
        value.clone()
    }))
}

/// A public key of SSH, or a certificate of one.
pub(super) fn ssh(new: &NewSecret) -> Result<Kept, RegistryError> {
    let invalid = |reason: String| RegistryError::invalid("secret.public_key", reason);
    let line = new.public_key.as_deref().unwrap_or_default().trim();
    if line.contains("PRIVATE KEY") {
        return Err(RegistryError::PrivateKey);
    }
    if line.is_empty() {
        return Err(invalid("required".to_owned()));
    }
    if line
        .split_whitespace()
        .next()
        .is_some_and(|word| word.contains("-cert-"))
    {
        let certificate =
            Certificate::from_openssh(line).map_err(|error| invalid(error.to_string()))?;
        let key = PublicKey::from(certificate.public_key().clone());
        let id = checked_fingerprint(&key).map_err(invalid)?;
        let seconds = i64::try_from(certificate.valid_before()).ok();
        let ends = seconds.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        return Ok(Kept {
            public_key_id: Some(id.clone()),
            fingerprint: Some(id),
            ends: ends.map(Timestamp),
            ..Kept::new(Value::from(line))
        });
    }
    let key = PublicKey::from_openssh(line).map_err(|error| invalid(error.to_string()))?;
    let id = checked_fingerprint(&key).map_err(invalid)?;
    Ok(Kept {
        public_key_id: Some(id.clone()),
        fingerprint: Some(id),
        ..Kept::new(Value::from(line))
    })
}

/// `SHA256:…` of a key of a kind that is taken.
fn checked_fingerprint(key: &PublicKey) -> Result<String, String> {
    match key.algorithm() {
        Algorithm::Rsa { .. } => {
            let bits = key.key_data().rsa().map_or(0, |rsa| {
                rsa.n
                    .as_positive_bytes()
                    .map_or(0, |bytes| bytes.len().saturating_mul(8))
            });
            if bits < MIN_RSA_BITS {
                return Err(format!("RSA keys have at least {MIN_RSA_BITS} bits"));
            }
        }
        Algorithm::Ecdsa { .. }
        | Algorithm::Ed25519
        | Algorithm::SkEcdsaSha2NistP256
        | Algorithm::SkEd25519 => {}
        other => return Err(format!("keys of type {other} are not taken")),
    }
    Ok(key.fingerprint(HashAlg::Sha256).to_string())
}

fn hash(key: &hmac::Key, secret: &[u8]) -> String {
    format!("sha256:{}", hex::encode(hmac::sign(key, secret)))
}

fn hashed(key: &hmac::Key, secret: &[u8], hint: &str) -> Value {
    json!({"hash": hash(key, secret), "hint": hint})
}

/// The end of a token, by which its owner knows it.
fn hint(token: &str) -> String {
    let n_chars = token.chars().count();
    let end = token.chars().skip(n_chars.saturating_sub(HINT_CHARS));
    std::iter::once('…').chain(end).collect()
}

/// What a token is worth; takes the same time for every token.
pub(super) fn verify(
    key: &hmac::Key,
    slot: &Slot,
    token: &str,
    now: OffsetDateTime,
) -> VerifiedToken {
    let wanted = hash(key, token.as_bytes());
    let mut found = None;
    for version in slot.versions.values() {
        let kept = version.secret.get("hash").and_then(Value::as_str);
        let kept = kept.unwrap_or_default().as_bytes();
        if verify_slices_are_equal(wanted.as_bytes(), kept).is_ok() {
            found = Some(version);
        }
    }
    let is_past = |at: Option<Timestamp>| at.is_some_and(|at| at.0 <= now);
    let valid = found.is_some_and(|version| {
        let in_use = matches!(
            version.state,
            VersionState::Active | VersionState::Superseded
        );
        in_use && !is_past(version.expires_at) && !is_past(version.overlap_until)
    });
    VerifiedToken {
        valid,
        version: found.map(|version| version.version),
        state: found.map(|version| version.state),
    }
}
