//! Octets and instants as JSON members.

use std::fmt;

use crate::schema::schemas;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// Octets; standard base64 with padding on the wire.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Base64(pub Bytes);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({} octets)", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = STANDARD.decode(text).map_err(de::Error::custom)?;
        Ok(Self(octets.into()))
    }
}

/// 32 octets as base64, for `#[serde(with)]`.
pub(crate) mod octets32 {
    use serde::de::Error as _;

    use super::{Base64, Bytes, Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        octets: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Base64(Bytes::copy_from_slice(octets)).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let Base64(octets) = Base64::deserialize(deserializer)?;
        <[u8; 32]>::try_from(&*octets).map_err(|_| D::Error::custom("not 32 octets"))
    }
}

/// A time as RFC 3339, for `#[serde(with)]`.
pub(crate) mod instant {
    use time::OffsetDateTime;

    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use crate::timestamp::Timestamp;

    pub(crate) fn serialize<S: Serializer>(
        time: &OffsetDateTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Timestamp(*time).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OffsetDateTime, D::Error> {
        Timestamp::deserialize(deserializer).map(|Timestamp(time)| time)
    }
}

schemas!(Base64: {
    "type": "string",
    "contentEncoding": "base64",
    "description": "Octets, base64.",
    "examples": ["aGVsbG8="],
});
