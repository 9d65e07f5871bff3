//! Certificates, requests and public keys on the wire: base64 of their PEM text.

use std::fmt;

use bytes::Bytes;
use lamassu_x509::pem::{PemError, PemLabel, base64_pem_to_der, der_to_base64_pem, der_to_pem};
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use crate::schema::schemas;

/// A certificate as it is on the wire, for examples.
pub const EXAMPLE_CERTIFICATE: &str = include_str!("pem/certificate.txt");

/// A certification request as it is on the wire, for examples.
pub const EXAMPLE_REQUEST: &str = include_str!("pem/request.txt");

const EXAMPLE_PUBLIC_KEY: &str = include_str!("pem/public_key.txt");

macro_rules! wire_der {
    ($($(#[$doc:meta])* $name:ident = $label:expr, $example:expr);* $(;)?) => {$(
        $(#[$doc])*
        ///
        /// On the wire: one line of standard base64 of the PEM text.
        #[derive(Clone, PartialEq, Eq, Hash, Default)]
        pub struct $name(Bytes);

        impl $name {
            /// Wraps DER; nothing is checked.
            pub fn from_der(der: impl Into<Bytes>) -> Self {
                Self(der.into())
            }

            /// Reads the wire form. The label of the first block is not checked, nor its contents.
            ///
            /// # Errors
            /// Broken base64, or no PEM block.
            pub fn from_wire(text: &str) -> Result<Self, PemError> {
                base64_pem_to_der(text).map(Self::from_der)
            }

            /// The DER.
            pub fn der(&self) -> &Bytes {
                &self.0
            }

            /// The PEM text.
            pub fn to_pem(&self) -> String {
                der_to_pem($label, &self.0)
            }

            /// The wire form.
            pub fn to_wire(&self) -> String {
                der_to_base64_pem($label, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} octets)"), self.0.len())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_wire())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::from_wire(&text).map_err(de::Error::custom)
            }
        }

        schemas!($name: {
            "type": "string",
            "contentEncoding": "base64",
            "description": "PEM, base64.",
            "examples": [$example],
        });
    )*};
}

wire_der! {
    /// A certificate, DER (RFC 5280).
    CertificateDer = PemLabel::Certificate, EXAMPLE_CERTIFICATE;
    /// A certification request, DER (RFC 2986).
    CsrDer = PemLabel::CertificateRequest, EXAMPLE_REQUEST;
    /// A public key, DER of its SubjectPublicKeyInfo.
    PublicKeyDer = PemLabel::PublicKey, EXAMPLE_PUBLIC_KEY;
}

#[cfg(test)]
mod tests {
    use super::CertificateDer;

    #[test]
    fn the_wire_form_reads_back() {
        let certificate = CertificateDer::from_der(vec![7; 100]);
        let json = serde_json::to_string(&certificate).unwrap();
        assert_eq!(
            serde_json::from_str::<CertificateDer>(&json).unwrap(),
            certificate
        );
    }

    #[test]
    fn refusals_have_the_texts_of_the_wire() {
        let refused = |text| CertificateDer::from_wire(text).unwrap_err().to_string();
        assert_eq!(refused("****"), "illegal base64 data at input byte 0");
        assert_eq!(refused("aGVsbG8="), "missing cert block");
    }
}
