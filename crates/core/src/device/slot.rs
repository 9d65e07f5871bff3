//! Slots as v2 shows them: versioned secrets of a device, and what v2 asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DeviceStatus;
use crate::ca::enrollment::Revoke;
use crate::duration::WireDuration;
use crate::ids::{CaId, DeviceId};
use crate::schema::word_schemas;
use crate::timestamp::Timestamp;
use crate::usage::RevocationReason;

/// The name of the slot that identifies its device.
pub const IDENTITY: &str = "identity";

macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|word| word.name() == text).ok_or(UnknownWord)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(|error: UnknownWord| {
                    let known = Self::NAMES.join(", ");
                    serde::de::Error::custom(format!("{error} {text}; there are {known}"))
                })
            }
        }

        word_schemas!($name: $($doc)*, Self::ALL.iter().map(|word| word.name()););
    };
}

/// A text that is none of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown word")]
pub struct UnknownWord;

words! {
    /// What kind of secret a slot holds.
    SecretType {
        /// Certificates, by serial number.
        X509 = "x509",
        /// Tokens, of which only keyed hashes are kept.
        Token = "TOKEN",
        /// Public keys of SSH.
        SshKey = "SSH_KEY",
        /// Anything in JSON.
        Other = "OTHER",
    }
}

words! {
    /// Where in its life a version of a slot is.
    VersionState {
        /// Added, not used yet.
        Pending = "PENDING",
        /// In use; one of every slot that has been used.
        Active = "ACTIVE",
        /// Replaced, and still valid.
        Superseded = "SUPERSEDED",
        /// Replaced, no longer to be used, and not revoked.
        Retired = "RETIRED",
        /// Past its end.
        Expired = "EXPIRED",
        /// Revoked.
        Revoked = "REVOKED",
    }
}

words! {
    /// Status of a slot: that of its active version.
    SlotStatus {
        /// No version has been active yet.
        Empty = "EMPTY",
        /// The active version is valid.
        Active = "ACTIVE",
        /// The preventive renewal window is entered.
        RenewalPending = "RENEWAL_PENDING",
        /// The critical window is entered.
        ExpiringSoon = "EXPIRING_SOON",
        /// The active version has expired.
        Expired = "EXPIRED",
        /// The active version is revoked.
        Revoked = "REVOKED",
    }
}

impl SlotStatus {
    /// The status of a device whose identity slot has this one.
    pub const fn of_device(self) -> DeviceStatus {
        match self {
            Self::Empty => DeviceStatus::NoIdentity,
            Self::Active => DeviceStatus::Active,
            Self::RenewalPending => DeviceStatus::RenewalPending,
            Self::ExpiringSoon => DeviceStatus::ExpiringSoon,
            Self::Expired => DeviceStatus::Expired,
            Self::Revoked => DeviceStatus::Revoked,
        }
    }

    /// The slot status of this name; [`DeviceStatus::Decommissioned`] is none.
    pub const fn from_device(status: DeviceStatus) -> Option<Self> {
        Some(match status {
            DeviceStatus::NoIdentity => Self::Empty,
            DeviceStatus::Active => Self::Active,
            DeviceStatus::RenewalPending => Self::RenewalPending,
            DeviceStatus::ExpiringSoon => Self::ExpiringSoon,
            DeviceStatus::Expired => Self::Expired,
            DeviceStatus::Revoked => Self::Revoked,
            DeviceStatus::Decommissioned => return None,
        })
    }
}

impl VersionState {
    /// Whether nothing follows but deletion.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked)
    }
}

/// A slot: a device's secrets of one purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotV2 {
    /// `identity`, or a name of its own.
    #[schemars(example = &"identity")]
    pub name: String,
    /// Status.
    pub status: SlotStatus,
    /// What it holds.
    pub secret_type: SecretType,
    /// The version in use.
    #[schemars(example = 0)]
    pub active_version: Option<u32>,
    /// What each version holds, as far as it may be shown: serial number, public key, value, or
    /// hash and hint.
    #[schemars(example = json!({"0": "5b7f3c0d9a2e41c6b8d0f4e2a1c39b57"}))]
    pub secrets: BTreeMap<u32, Value>,
    /// The versions, newest first; only where one slot is read, or `include` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<SlotVersion>>")]
    pub versions: Option<Vec<SlotVersion>>,
    /// When the active version ends.
    pub expiration_date: Option<Timestamp>,
    /// What happens when versions change.
    pub policy: SlotPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1.
    #[schemars(example = 1)]
    pub revision: i64,
}

/// One version of a slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotVersion {
    /// Its number, from 0, never given twice.
    #[schemars(example = 0)]
    pub version: u32,
    /// Where in its life it is.
    pub state: VersionState,
    /// What it holds, as far as it may be shown. A token that was just made is shown once.
    #[schemars(example = json!("5b7f3c0d9a2e41c6b8d0f4e2a1c39b57"))]
    pub secret: Value,
    /// SHA-256 of a certificate, hex; of a key of SSH as `SHA256:<base64>`.
    #[schemars(example = json!(null))]
    pub fingerprint: Option<String>,
    /// `PROVISIONED`, `RE-PROVISIONED` or `RENEWED`.
    #[schemars(example = &"PROVISIONED")]
    pub bind_mode: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was used first.
    pub activated_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was replaced.
    pub superseded_at: Option<Timestamp>,
    /// Until when it stays valid after that.
    pub overlap_until: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub revocation_reason: Option<RevocationReason>,
}

/// What happens when versions of a slot change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(example = json!({"overlap": "24h", "revoke_superseded": true}))]
pub struct SlotPolicy {
    /// How long the previous version stays valid after another is activated; as long as it does by
    /// itself where it is absent.
    pub overlap: Option<WireDuration>,
    /// Whether the previous version is revoked at the end of the overlap, or only no longer used.
    pub revoke_superseded: Option<bool>,
    /// Most versions; the oldest that are out of use are deleted beyond it. 0 is any number.
    pub max_versions: u32,
    /// How long before its end a version should be renewed.
    pub preventive_delta: Option<WireDuration>,
    /// How long before its end it must be.
    pub critical_delta: Option<WireDuration>,
}

/// What becomes of a version that is replaced, where its slot or groups say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SupersededPolicy {
    /// How long it stays valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WireDuration")]
    pub overlap: Option<WireDuration>,
    /// Whether it is revoked then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool", example = true)]
    pub revoke_superseded: Option<bool>,
}

impl SupersededPolicy {
    /// Whether an enrollment revokes the certificate that it replaces, where its DMS would: not one that is still
    /// to be used, and not against the policy.
    pub fn revoke_at_once(self, by_dms: Revoke) -> Revoke {
        let overlaps = self.overlap.is_some_and(|overlap| !overlap.is_zero());
        if overlaps || self.revoke_superseded == Some(false) {
            Revoke::No
        } else {
            by_dms
        }
    }
}

/// A slot to make, or whose policy to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({"secret_type": "TOKEN", "policy": {"overlap": "24h"}}))]
pub struct PutSlot {
    /// What it holds; never changes.
    pub secret_type: SecretType,
    /// As it is where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SlotPolicy>,
}

/// A slot that was put.
#[derive(Clone, Debug, PartialEq)]
pub enum PutOutcome {
    /// It is new.
    Made(SlotV2),
    /// It was there.
    Updated(SlotV2),
}

/// A version to add.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({"secret": {"serial_number": "5b7f3c0d9a2e41c6b8d0f4e2a1c39b57"}}))]
pub struct AddVersion {
    /// What it holds.
    pub secret: NewSecret,
    /// Makes the slot with this type where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_type: Option<SecretType>,
    /// Whether it is used at once.
    #[serde(default = "yes")]
    pub activate: bool,
    /// How long the version that it replaces stays valid; the slot's policy where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<WireDuration>,
    /// Computed where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_mode: Option<BindMode>,
    /// When it ends; certificates have an end of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

const fn yes() -> bool {
    true
}

words! {
    /// How a version comes into its slot.
    BindMode {
        /// The first one.
        Provisioned = "PROVISIONED",
        /// With another key.
        ReProvisioned = "RE-PROVISIONED",
        /// With the same key.
        Renewed = "RENEWED",
    }
}

/// A secret as clients send it; which members count depends on the slot's type.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NewSecret {
    /// A certificate that the CA service knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// The CA that issued it, where several used its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_id: Option<CaId>,
    /// The same as PEM in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// A line of OpenSSH, `ssh-ed25519 AAAA… comment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// A token, 16 to 4096 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Whether a token is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate: Option<bool>,
    /// How many random bytes it has, 16 to 256; 32 where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// Any JSON, at most 16 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Whether only a hash of the value is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<bool>,
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecret")
            .field("serial_number", &self.serial_number)
            .finish_non_exhaustive()
    }
}

/// A version to use from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(example = json!({"overlap": "24h"}))]
pub struct ActivateVersion {
    /// How long the version that it replaces stays valid; the slot's policy where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<WireDuration>,
    /// Whether that one is revoked then; the slot's policy where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_superseded: Option<bool>,
    /// Free text for the history, where it is the entry's `comment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A version to revoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(example = json!({"reason": "KeyCompromise", "fallback": true}))]
pub struct RevokeVersion {
    /// Why.
    pub reason: RevocationReason,
    /// Whether the newest version that is still valid is used instead of an active one.
    pub fallback: bool,
}

/// A token to look at.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({"token": "correct-horse-battery"}))]
pub struct VerifyToken {
    /// The token.
    pub token: String,
}

impl fmt::Debug for VerifyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyToken")
    }
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedToken {
    /// Whether it is a version that is in use, or was replaced a moment ago.
    #[schemars(example = true)]
    pub valid: bool,
    /// Which version it is.
    #[schemars(example = 0)]
    pub version: Option<u32>,
    /// Where in its life that is.
    pub state: Option<VersionState>,
}

/// Names a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotId {
    /// Its device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
}

/// Names a version of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionId {
    /// Its slot.
    pub slot: SlotId,
    /// Its number.
    pub number: u32,
}

/// All slots of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotList {
    /// The identity first, the others by name.
    pub list: Vec<SlotV2>,
}

/// Whether a slot's valid certificates are revoked when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeSecrets {
    /// They are.
    Yes,
    /// They live on.
    No,
}

/// Whether the name is one for a slot beside the identity.
pub fn is_slot_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= 63
        && bytes.first().is_some_and(plain)
        && bytes
            .iter()
            .all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}
