//! Identifiers as types, so that a device id is never passed where a CA id belongs.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
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
    )*};
}

text_ids! {
    /// A CA: free text chosen by its creator, or a UUID.
    CaId,
    /// A request for a CA that somebody else certifies: free text chosen by its creator, or a UUID.
    CaRequestId,
    /// Long work of the CA service: a UUID.
    JobId,
    /// An issuance profile: a UUID.
    ProfileId,
    /// A device: by convention the common name of its certificate.
    DeviceId,
    /// A DMS; also its EST label (RFC 7030 3.2.2).
    DmsId,
    /// A crypto engine, as configured.
    EngineId,
    /// A key: for keys made here the lower-case hex SHA-256 of the SubjectPublicKeyInfo.
    KeyId,
    /// What addresses a key from outside: key id, alias, or `pkcs11:` URI.
    KeyRef,
    /// Names an unfinished change that spans two services, so that what a crash left is found.
    OperationId,
}

impl From<&KeyId> for KeyRef {
    fn from(id: &KeyId) -> Self {
        Self(Arc::clone(&id.0))
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
