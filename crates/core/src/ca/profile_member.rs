//! Members of profiles that older clients do not know, and what they hold.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::certificate::named_enum;
use schemars::{Schema, SchemaGenerator};
use std::borrow::Cow;

/// A setting that older clients do not know. They read a profile into their own types and write it
/// back without this member, so its absence means that an update keeps what is stored
/// ([`Member::or_stored`]); `null` clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Member<T> {
    /// The member is absent.
    #[default]
    Unsaid,
    /// `null`.
    Cleared,
    /// A value.
    Set(T),
}

impl<T> Member<T> {
    /// The value.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Unsaid | Self::Cleared => None,
        }
    }

    /// Whether the member is left out when written: only a value is written.
    pub const fn is_silent(&self) -> bool {
        !matches!(self, Self::Set(_))
    }

    /// Whether it is `null`.
    pub const fn is_cleared(&self) -> bool {
        matches!(self, Self::Cleared)
    }

    /// What was said now, or else what is stored.
    #[must_use]
    pub fn or_stored(self, stored: &Self) -> Self
    where
        T: Clone,
    {
        match self {
            Self::Unsaid => stored.clone(),
            Self::Cleared | Self::Set(_) => self,
        }
    }
}

impl<T: Serialize> Serialize for Member<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?;
        Ok(value.map_or(Self::Cleared, Self::Set))
    }
}

named_enum! {
    /// A form of subject alternative name (RFC 5280 4.2.1.6).
    SanType {
        /// A DNS name.
        Dns = "DNS",
        /// An IP address.
        Ip = "IP",
        /// A mail address.
        Email = "Email",
        /// A URI.
        Uri = "URI",
        /// A distinguished name.
        DirectoryName = "DirectoryName",
        /// Any other form.
        Other = "Other",
    }
}

/// Alternative names that a profile lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedSan {
    /// Of this form.
    #[serde(rename = "type")]
    pub san_type: SanType,
    /// That match this regular expression as a whole; all of the form without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &".*\\.example\\.com")]
    pub pattern: Option<String>,
}

/// Names that a CA may or may not issue for (RFC 5280 4.2.1.10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NameConstraints {
    /// Names of a form that stands here must be within one of these.
    pub permitted: Subtrees,
    /// No name may be within one of these.
    pub excluded: Subtrees,
}

impl NameConstraints {
    /// Whether nothing is constrained.
    pub fn is_empty(&self) -> bool {
        self.permitted == Subtrees::default() && self.excluded == Subtrees::default()
    }
}

/// Parts of the name space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Subtrees {
    /// Domains with all below them, for example `example.com`.
    #[schemars(example = ["example.com"])]
    pub dns: Vec<String>,
    /// Mail addresses, hosts, or with a leading dot all hosts of a domain.
    #[schemars(example = [".example.com"])]
    pub email: Vec<String>,
    /// Networks, for example `192.0.2.0/24`.
    #[schemars(example = ["192.0.2.0/24"])]
    pub ip: Vec<String>,
    /// Hosts of URIs, or with a leading dot all hosts of a domain.
    #[schemars(example = [".example.com"])]
    pub uri: Vec<String>,
}

impl<T: JsonSchema> JsonSchema for Member<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}
