//! Identifiers as types, so that a device id is never passed where a CA id belongs.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::schema::schemas;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident = $example:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier of this text.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it is the empty text, which the wire takes for "none".
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new("")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }

        schemas!($name: {"type": "string", "examples": [$example]});
    )*};
}

text_ids! {
    /// A CA: free text chosen by its creator, or a UUID.
    CaId = "factory-root",
    /// A request for a CA that somebody else certifies: free text chosen by its creator, or a UUID.
    CaRequestId = "factory-2",
    /// Long work of the CA service: a UUID.
    JobId = "6f1c2a58-3c0e-4c39-9d3f-0b8e5f3d7a10",
    /// An issuance profile: a UUID.
    ProfileId = "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21",
    /// A device: by convention the common name of its certificate.
    DeviceId = "sensor-0001",
    /// An enrollment that needs approval: a UUID.
    ApprovalId = "2f4b8c1e-7a63-4d5e-9b0f-6c1d8e2a3f40",
    /// A group of devices: a UUID.
    DeviceGroupId = "3f0c2f6e-6c1b-4a57-9d0e-5f7a3e1b9c42",
    /// A DMS; also its EST label (RFC 7030 3.2.2).
    DmsId = "assembly-line-1",
    /// A crypto engine, as configured.
    EngineId = "filesystem-1",
    /// A key: for keys made here the lower-case hex SHA-256 of the SubjectPublicKeyInfo.
    KeyId = "5d8c4a1f0e7b6c39d2a8f1b4e0c7a6935b1d8e2f4c7a0b9d6e3f1a8c5b2d7e40",
    /// What addresses a key from outside: key id, alias, or `pkcs11:` URI.
    KeyRef = "5d8c4a1f0e7b6c39d2a8f1b4e0c7a6935b1d8e2f4c7a0b9d6e3f1a8c5b2d7e40",
    /// Names an unfinished change that spans two services, so that what a crash left is found.
    OperationId = "b5e0c1de-54f8-4f34-9f5a-4b6f9f0e6a52",
}

impl From<&KeyId> for KeyRef {
    fn from(id: &KeyId) -> Self {
        Self(Arc::clone(&id.0))
    }
}

impl ApprovalId {
    /// A fresh one.
    pub fn fresh() -> Self {
        Self::new(uuid::Uuid::new_v4().to_string())
    }
}

impl OperationId {
    /// A fresh operation.
    pub fn fresh() -> Self {
        Self::new(uuid::Uuid::new_v4().to_string())
    }
}

/// A certificate's serial number as the wire writes it: lower-case hex of the absolute value's
/// big-endian bytes, even length, no leading `00` byte; zero is `00`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber(Arc<str>);

impl SerialNumber {
    /// From the big-endian bytes of the absolute value.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let start = bytes
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(bytes.len());
        match bytes.get(start..) {
            Some(significant) if !significant.is_empty() => Self(hex::encode(significant).into()),
            _ => Self("00".into()),
        }
    }

    /// Reads what clients write: any case, `:` and `-` between digits, leading zeros.
    ///
    /// `None` for what is no hexadecimal number; decimal is never read.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let even = if digits.len() % 2 == 1 {
            format!("0{digits}")
        } else {
            digits
        };
        hex::decode(even).ok().map(|bytes| Self::from_bytes(&bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SerialNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SerialNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("serial number is no hexadecimal number"))
    }
}

schemas!(SerialNumber: {
    "type": "string",
    "description": "A serial number, hexadecimal.",
    "pattern": "^[0-9a-fA-F:-]*[0-9a-fA-F][0-9a-fA-F:-]*$",
    "examples": ["5b7f3c0d9a2e41c6b8d0f4e2a1c39b57"],
});

#[cfg(test)]
mod tests {
    use super::SerialNumber;

    #[test]
    fn serial_numbers_have_one_text() {
        let cases = [
            ("0", "00"),
            ("00:01", "01"),
            ("0100", "0100"),
            ("AB-CD", "abcd"),
            ("abc", "0abc"),
        ];
        for (written, text) in cases {
            assert_eq!(SerialNumber::parse(written).unwrap().as_str(), text);
        }
        assert_eq!(SerialNumber::parse("xyz"), None);
        assert_eq!(SerialNumber::parse(""), None);
        assert_eq!(SerialNumber::from_bytes(&[0, 0]).as_str(), "00");
        assert_eq!(SerialNumber::from_bytes(&[0, 0x80, 1]).as_str(), "8001");
    }
}
