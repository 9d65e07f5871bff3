//! Private keys on their way into an engine.

use std::fmt;

use crate::schema::schemas;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_crypto::pem::decode_base64;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use zeroize::Zeroizing;

/// A private key as it was sent, PEM or DER. Wiped when dropped, never printed; on the wire
/// standard base64 with padding, line ends ignored.
#[derive(Clone, Default)]
pub struct PrivateKeyBytes(Zeroizing<Vec<u8>>);

impl PrivateKeyBytes {
    /// Takes what nobody has to wipe any more.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyBytes(..)")
    }
}

impl Serialize for PrivateKeyBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for PrivateKeyBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64Visitor)
    }
}

/// Reads the text where it stands, so that no copy of it is left behind.
struct Base64Visitor;

impl Visitor<'_> for Base64Visitor {
    type Value = PrivateKeyBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 of a private key")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let octets = decode_base64(text.as_bytes()).map_err(E::custom)?;
        Ok(PrivateKeyBytes::new(octets))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        self.visit_str(&Zeroizing::new(text))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(PrivateKeyBytes::default())
    }
}

schemas!(PrivateKeyBytes: {
    "type": "string",
    "contentEncoding": "base64",
    "description": "A private key in PEM, base64.",
    "examples": ["LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCi4uLgotLS0tLUVORCBQUklWQVRFIEtFWS0tLS0tCg=="],
});

#[cfg(test)]
mod tests {
    use super::PrivateKeyBytes;

    #[test]
    fn a_private_key_survives_the_wire_and_is_not_printed() {
        let key = PrivateKeyBytes::new(b"sesame".to_vec());
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, "\"c2VzYW1l\"");
        let read: PrivateKeyBytes = crate::json::from_slice(b"\"c2Vz\\nYW1l\"").unwrap();
        assert_eq!(read.as_slice(), b"sesame");
        assert_eq!(format!("{key:?}"), "PrivateKeyBytes(..)");
        let refused = crate::json::from_slice::<PrivateKeyBytes>(b"\"c2V*\"").unwrap_err();
        assert_eq!(refused.to_string(), "illegal base64 data at input byte 3");
    }
}
