//! Certificates and CAs as the wire shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{CaId, EngineId, ProfileId, SerialNumber};
use crate::pem::CertificateDer;
use crate::subject::Subject;
use crate::timestamp::Timestamp;
use crate::usage::{CertificateExtensions, RevocationReason};
use crate::va::CrlShards;

/// Metadata member of a certificate: which device it belongs to.
pub const ATTACHED_TO: &str = "lamassu.io/ra/attached-to";

/// Metadata member of a certificate: when it is about to expire.
pub const EXPIRATION_DELTAS: &str = "lamassu.io/ca/expiration-deltas";

/// What a certificate hands on to the one that takes its place: its windows before the end, none of them
/// entered yet, and all else but the identity slot that it is in.
pub fn inherited(metadata: &Map<String, Value>) -> Map<String, Value> {
    let mut inherited = metadata.clone();
    inherited.remove(ATTACHED_TO);
    let windows = inherited
        .get_mut(EXPIRATION_DELTAS)
        .and_then(Value::as_array_mut);
    for window in windows.into_iter().flatten() {
        if let Some(mark) = window.get_mut("triggered") {
            *mark = Value::Bool(false);
        }
    }
    inherited
}

macro_rules! named_enum {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Their names on the wire.
            pub const NAMES: &'static [&'static str] = &[$($text),*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::ca::certificate::UnknownName;

            fn from_str(text: &str) -> Result<Self, $crate::ca::certificate::UnknownName> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::ca::certificate::UnknownName),
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": concat!($($doc),*).trim(),
                    "enum": [$($text),*],
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use named_enum;

/// A text that names no value of the enum it was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("struct validation error")]
pub struct UnknownName;

named_enum! {
    /// Status of a certificate or CA.
    CertificateStatus {
        /// In use.
        Active = "ACTIVE",
        /// Past its end, or taken out of use by a client.
        Expired = "EXPIRED",
        /// Revoked or on hold.
        Revoked = "REVOKED",
        /// Declared by the wire, never set by the service itself.
        Inactive = "INACTIVE",
    }
}

named_enum! {
    /// Where the private key of a certificate is.
    CertificateType {
        /// In the KMS.
        Managed = "MANAGED",
        /// In the KMS, imported with the certificate.
        ImportedWithKey = "IMPORTED_WITH_KEY",
        /// Not here.
        ImportedWithoutKey = "IMPORTED_WITHOUT_KEY",
    }
}

named_enum! {
    /// How strong a key is, in three steps.
    KeyStrength {
        /// RSA below 2048 bits, curves up to 128 bits, unknown keys.
        Low = "LOW",
        /// RSA below 3072 bits, curves below 256 bits.
        Medium = "MEDIUM",
        /// Everything above.
        High = "HIGH",
    }
}

/// Key type, size and strength of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyMetadata {
    /// `RSA`, `ECDSA`, `Ed25519`, `ML-DSA`; `0` when unknown.
    #[serde(rename = "type")]
    #[schemars(example = &"ECDSA")]
    pub key_type: String,
    /// Bits.
    #[schemars(example = 256)]
    pub bits: u32,
    /// In three steps.
    pub strength: KeyStrength,
}

/// Which CA issued a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerMetadata {
    /// Serial number of the issuing CA's certificate, `-` when unknown.
    #[schemars(example = &"1f0e6a52b7d84c93")]
    pub serial_number: String,
    /// Id of the issuing CA, `-` when unknown.
    pub id: CaId,
    /// Level of the issuing CA, -1 when unknown.
    #[schemars(example = 0)]
    pub level: i32,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Serial number.
    pub serial_number: SerialNumber,
    /// Hex of the subjectKeyIdentifier, or of the SHA-256 of the key where there is none.
    #[schemars(example = &"4f1d2c6b8a9e0d3f5c7b1a2e4d6f8c0b9a3e5d71")]
    pub subject_key_id: String,
    /// Hex of the issuer's key identifier, `""` when unknown.
    #[schemars(example = &"9a3e5d714f1d2c6b8a9e0d3f5c7b1a2e4d6f8c0b")]
    pub authority_key_id: String,
    /// Free object; `null` only for imports without it.
    pub metadata: Option<Map<String, Value>>,
    /// Status.
    pub status: CertificateStatus,
    /// The certificate.
    pub certificate: CertificateDer,
    /// Its key.
    pub key_metadata: KeyMetadata,
    /// Its subject.
    pub subject: Subject,
    /// Its issuer.
    pub issuer: Subject,
    /// `notBefore`.
    pub valid_from: Timestamp,
    /// Usage extensions.
    pub extensions: CertificateExtensions,
    /// Which CA issued it.
    pub issuer_metadata: IssuerMetadata,
    /// `notAfter`.
    pub valid_to: Timestamp,
    /// When it was revoked; zero when it is not.
    pub revocation_timestamp: Timestamp,
    /// Why it was revoked; `Unspecified` when it never was.
    pub revocation_reason: RevocationReason,
    /// Where the private key is.
    #[serde(rename = "type")]
    pub certificate_type: CertificateType,
    /// Engine that holds the key, `""` if none.
    pub engine_id: EngineId,
    /// Whether it is a CA's certificate.
    #[schemars(example = false)]
    pub is_ca: bool,
}

/// A CA: a named authority that points at one current certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateAuthority {
    /// Id.
    pub id: CaId,
    /// The current certificate.
    pub certificate: Certificate,
    /// Serial number of the current certificate.
    pub serial_number: SerialNumber,
    /// Free object of the CA; another one than its certificate's.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub creation_ts: Timestamp,
    /// 0 for roots and imports without known issuer.
    #[schemars(example = 0)]
    pub level: i32,
    /// Default profile of what it issues.
    pub profile_id: ProfileId,
    /// Into how many shards, with CRLs of their own, what it issues is divided; absent for one CRL. Not in
    /// the reference, whose clients pass it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 2, max = 1024), example = 16)]
    pub crl_shards: Option<CrlShards>,
}
