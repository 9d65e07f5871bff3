//! Bodies of the key management service's internal routes.

use lamassu_crypto::Message;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Base64;
use crate::ids::SerialNumber;
use crate::pem::PublicKeyDer;

/// What a remote signer has to know of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignerDescription {
    /// Its public half.
    pub public_key: PublicKeyDer,
}

/// What the platform signs with a key; leaves no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformSign {
    /// The scheme, by the name of [`algorithm`](crate::kms::algorithm).
    pub algorithm: String,
    /// The message or its digest.
    pub message: Base64,
    /// Which of the two it is.
    pub message_type: MessageType,
}

impl PlatformSign {
    /// What is to be signed.
    pub fn message(&self) -> Message<'_> {
        let Base64(octets) = &self.message;
        match self.message_type {
            MessageType::Raw => Message::Raw(octets),
            MessageType::Digest => Message::Digest(octets),
        }
    }
}

/// What a message of [`PlatformSign`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    /// The message itself.
    Raw,
    /// The digest of the message by the scheme's hash.
    Digest,
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformSignature {
    /// As [`Signer::sign`](crate::crypto_engine::Signer::sign) gives it.
    pub signature: Base64,
}

/// The certificate that uses a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundCertificate {
    /// Its serial number.
    pub serial_number: SerialNumber,
}
