//! Issuance profiles: the rules applied when a certificate is made.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::profile_member::{AllowedSan, Member, NameConstraints};
use crate::duration::WireDuration;
use crate::ids::ProfileId;
use crate::schema::schemas;
use crate::subject::Subject;
use crate::timestamp::Timestamp;
use crate::usage::{ExtendedKeyUsage, KeyUsage};

/// How a lifetime is given. Any text but `Duration` behaves like `Time` and is echoed unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ValidityType {
    /// From now on, so long.
    Duration,
    /// Until a fixed time.
    Time,
    /// Nothing was said.
    #[default]
    Unset,
    /// Another text; behaves like `Time` (dashboards send `Date`).
    Other(String),
}

impl ValidityType {
    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Duration => "Duration",
            Self::Time => "Time",
            Self::Unset => "",
            Self::Other(text) => text,
        }
    }
}

impl From<String> for ValidityType {
    fn from(text: String) -> Self {
        match text.as_str() {
            "Duration" => Self::Duration,
            "Time" => Self::Time,
            "" => Self::Unset,
            _ => Self::Other(text),
        }
    }
}

impl Serialize for ValidityType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ValidityType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A lifetime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Validity {
    /// How it is given.
    #[serde(rename = "type")]
    pub validity_type: ValidityType,
    /// From now on; left out when zero.
    #[serde(skip_serializing_if = "WireDuration::is_zero_ref")]
    pub duration: WireDuration,
    /// Until then.
    pub time: Timestamp,
}

impl Validity {
    /// From now on, so long.
    pub fn lasting(duration: WireDuration) -> Self {
        Self {
            validity_type: ValidityType::Duration,
            duration,
            time: Timestamp::ZERO,
        }
    }

    /// Whether it says nothing where it must say something: `Duration` without duration, or
    /// `Time` without time. A missing type passes, as clients rely on.
    pub fn is_incomplete(&self) -> bool {
        match self.validity_type {
            ValidityType::Duration => self.duration.is_zero(),
            ValidityType::Time => self.time.is_zero(),
            ValidityType::Unset | ValidityType::Other(_) => false,
        }
    }
}

/// A yes or no that older clients do not know. They read a profile into their own types and
/// write it back without this member, so its absence must not mean no: an update keeps what is
/// stored ([`Allowance::or_stored`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allowance {
    /// The member is absent. Nothing is allowed by that.
    #[default]
    Unsaid,
    /// `true`.
    Allowed,
    /// `false` or `null`.
    Denied,
}

impl Allowance {
    /// Whether it is a yes.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed)
    }

    /// Whether the member is left out when written: only a yes is written.
    pub const fn is_silent(&self) -> bool {
        !self.is_allowed()
    }

    /// What was said now, or else what is stored.
    #[must_use]
    pub const fn or_stored(self, stored: Self) -> Self {
        match self {
            Self::Unsaid => stored,
            Self::Allowed | Self::Denied => self,
        }
    }
}

impl From<bool> for Allowance {
    fn from(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Denied }
    }
}

impl Serialize for Allowance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.is_allowed())
    }
}

impl<'de> Deserialize<'de> for Allowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer).map(Self::from)
    }
}

/// Which keys a profile lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CryptoEnforcement {
    /// Whether anything is checked.
    pub enabled: bool,
    /// Whether RSA keys pass.
    pub allow_rsa_keys: bool,
    /// Moduli in bits; `null` for any, `[]` for none.
    #[schemars(example = [2048, 3072])]
    pub allowed_rsa_key_sizes: Option<Vec<u32>>,
    /// Whether ECDSA keys pass.
    pub allow_ecdsa_keys: bool,
    /// Curve sizes in bits; `null` for any, `[]` for none.
    #[schemars(example = [256, 384])]
    pub allowed_ecdsa_key_sizes: Option<Vec<u32>>,
    /// Whether Ed25519 keys pass.
    #[serde(skip_serializing_if = "Allowance::is_silent")]
    pub allow_ed25519_keys: Allowance,
    /// Whether ML-DSA keys pass.
    #[serde(skip_serializing_if = "Allowance::is_silent")]
    pub allow_mldsa_keys: Allowance,
}

/// The rules applied when a certificate is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the members of the wire")]
#[schemars(example = json!({
    "name": "Sensors",
    "description": "One year, TLS client",
    "validity": {"type": "Duration", "duration": "1y"},
    "honor_subject": true,
    "honor_extensions": true,
    "key_usage": ["DigitalSignature"],
    "extended_key_usages": ["ClientAuth"],
    "crypto_enforcement": {"enabled": false},
}))]
pub struct IssuanceProfile {
    /// A UUID, made by the service.
    pub id: ProfileId,
    /// Free text, not unique.
    #[schemars(example = &"Sensors")]
    pub name: String,
    /// Free text.
    #[schemars(example = &"One year, TLS client")]
    pub description: String,
    /// Lifetime.
    pub validity: Validity,
    /// Whether what is issued is a CA.
    #[schemars(example = false)]
    pub sign_as_ca: bool,
    /// Whether the request's key usage is taken over; otherwise `key_usage` is imposed.
    #[schemars(example = false)]
    pub honor_key_usage: bool,
    /// Imposed key usage.
    pub key_usage: KeyUsage,
    /// Whether the request's extended key usages are taken over.
    #[schemars(example = false)]
    pub honor_extended_key_usages: bool,
    /// Imposed extended key usages.
    pub extended_key_usages: Vec<ExtendedKeyUsage>,
    /// Whether the request's subject is taken over.
    pub honor_subject: bool,
    /// Imposed subject.
    pub subject: Subject,
    /// Whether the request's subject alternative names are taken over.
    pub honor_extensions: bool,
    /// Which keys pass.
    pub crypto_enforcement: CryptoEnforcement,
    /// Which subject alternative names pass; any when not set, none when empty.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub allowed_sans: Member<Vec<AllowedSan>>,
    /// What the common name must match as a whole, a regular expression.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = &"sensor-[0-9]{4}")]
    pub common_name_pattern: Member<String>,
    /// How long a certificate lasts at most, from its beginning to its end.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub maximum_validity: Member<WireDuration>,
    /// How many CAs may follow below, where what is issued is a CA; any number when not set.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = 0)]
    pub path_length: Member<u32>,
    /// For which names a CA may issue, where what is issued is a CA.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub name_constraints: Member<NameConstraints>,
    /// Further extended key usages by object identifier, imposed beside `extended_key_usages`.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = ["1.3.6.1.5.5.7.3.17"])]
    pub extended_key_usage_oids: Member<Vec<String>>,
    /// How far before the present a certificate begins; not at all when not set.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub back_dating: Member<WireDuration>,
}

impl IssuanceProfile {
    /// The profile with what older clients do not know, and so did not say, as it is stored.
    #[must_use]
    pub fn keeping(mut self, stored: &Self) -> Self {
        let kept = &stored.crypto_enforcement;
        let enforcement = &mut self.crypto_enforcement;
        enforcement.allow_ed25519_keys = enforcement
            .allow_ed25519_keys
            .or_stored(kept.allow_ed25519_keys);
        enforcement.allow_mldsa_keys = enforcement
            .allow_mldsa_keys
            .or_stored(kept.allow_mldsa_keys);
        Self {
            allowed_sans: self.allowed_sans.or_stored(&stored.allowed_sans),
            common_name_pattern: self
                .common_name_pattern
                .or_stored(&stored.common_name_pattern),
            maximum_validity: self.maximum_validity.or_stored(&stored.maximum_validity),
            path_length: self.path_length.or_stored(&stored.path_length),
            name_constraints: self.name_constraints.or_stored(&stored.name_constraints),
            extended_key_usage_oids: self
                .extended_key_usage_oids
                .or_stored(&stored.extended_key_usage_oids),
            back_dating: self.back_dating.or_stored(&stored.back_dating),
            ..self
        }
    }

    /// The names of the members that were cleared: an answer leaves them out, a request must not.
    pub fn cleared(&self) -> impl Iterator<Item = &'static str> {
        [
            ("allowed_sans", self.allowed_sans == Member::Cleared),
            (
                "common_name_pattern",
                self.common_name_pattern == Member::Cleared,
            ),
            ("maximum_validity", self.maximum_validity == Member::Cleared),
            ("path_length", self.path_length == Member::Cleared),
            ("name_constraints", self.name_constraints == Member::Cleared),
            (
                "extended_key_usage_oids",
                self.extended_key_usage_oids == Member::Cleared,
            ),
            ("back_dating", self.back_dating == Member::Cleared),
        ]
        .into_iter()
        .filter_map(|(name, is_cleared)| is_cleared.then_some(name))
    }
}

schemas!(
    ValidityType: {
        "type": "string",
        "description": "`Duration` or `Time`; other texts behave like `Time`.",
        "examples": ["Duration"],
    },
    Allowance: {"type": "boolean"},
);
