//! `/v1/keys/{id}/sign` and `/v1/keys/{id}/verify`.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{KmsError, SignMessage};
use lamassu_http::{AskedBy, GoJson, Json200, PathParams, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Kms;
use super::body::Base64;

/// The body of both. An empty message is one, a missing message is none.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "KeyMessage")]
#[schemars(example = json!({"algorithm": "ECDSA_SHA_256", "message": "aGVsbG8=", "message_type": "raw"}))]
pub(super) struct SignatureBody {
    /// For example `ECDSA_SHA_256`, `RSASSA_PSS_SHA_512`, `RSASSA_PKCS1_V1_5_SHA_256`, `ED25519`,
    /// `ML_DSA_65`.
    #[schemars(example = &"ECDSA_SHA_256")]
    algorithm: String,
    /// The message or its digest, base64. Required.
    message: Option<Base64>,
    /// Which of the two it is: `raw`, or `hash` or `digest`.
    #[schemars(example = &"raw")]
    message_type: String,
    /// The signature to verify, base64; not looked at when signing.
    signature: Option<Base64>,
}

impl SignatureBody {
    /// What is asked, and the signature if one was sent.
    fn into_parts(self) -> Result<(SignMessage, Option<Base64>), KmsError> {
        let Base64(message) = self.message.ok_or(KmsError::Validation)?;
        let asked = SignMessage {
            algorithm: self.algorithm,
            message,
            message_type: self.message_type,
        };
        Ok((asked, self.signature))
    }
}

/// What signing answers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeySignature")]
pub(super) struct Signed {
    /// The signature, base64.
    #[schemars(with = "lamassu_core::internal::Base64")]
    signature: String,
}

pub(super) async fn sign(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<SignatureBody>,
) -> Reply<Json200<Signed>> {
    let (asked, _) = body.into_parts()?;
    let signature = kms.service.sign(&caller, &KeyRef::from(id), asked).await?;
    let signature = STANDARD.encode(signature);
    Ok(Json200(Signed { signature }))
}

/// What verifying answers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyVerification")]
pub(super) struct Verified {
    /// Whether the key made the signature.
    valid: bool,
}

pub(super) async fn verify(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<SignatureBody>,
) -> Reply<Json200<Verified>> {
    let (asked, signature) = body.into_parts()?;
    let Base64(signature) = signature.ok_or(KmsError::Validation)?;
    let key = KeyRef::from(id);
    let valid = kms.service.verify(&caller, &key, asked, &signature).await?;
    Ok(Json200(Verified { valid }))
}
