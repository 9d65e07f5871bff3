//! Key usage, extended key usage and revocation reasons as the wire names them.

use std::fmt;

use crate::schema::{schemas, word_schemas};
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// The key usage bits of RFC 5280 4.2.1.3; bit 0 is `digitalSignature`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyUsage(pub u16);

/// The names on the wire, in bit order.
const KEY_USAGES: [&str; 9] = [
    "DigitalSignature",
    "ContentCommitment",
    "KeyEncipherment",
    "DataEncipherment",
    "KeyAgreement",
    "CertSign",
    "CRLSign",
    "EncipherOnly",
    "DecipherOnly",
];

impl KeyUsage {
    /// No usage: the extension is left out.
    pub const NONE: Self = Self(0);
    /// `keyCertSign`.
    pub const CERT_SIGN: Self = Self(1 << 5);
    /// `cRLSign`.
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every usage of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no usage is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names on the wire, in the order of the wire.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        KEY_USAGES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
    }

    fn from_name(name: &str) -> Option<Self> {
        KEY_USAGES
            .iter()
            .position(|known| *known == name.trim())
            .map(|bit| Self(1 << bit))
    }
}

impl Serialize for KeyUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for KeyUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyUsageVisitor)
    }
}

struct KeyUsageVisitor;

fn key_usage<E: de::Error>(name: &str) -> Result<KeyUsage, E> {
    KeyUsage::from_name(name).ok_or_else(|| {
        let known = KEY_USAGES.join(", ");
        E::custom(format!("unknown key usage: {name}; there are {known}"))
    })
}

impl<'de> Visitor<'de> for KeyUsageVisitor {
    type Value = KeyUsage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of key usages")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<KeyUsage, E> {
        key_usage(name)
    }

    fn visit_unit<E: de::Error>(self) -> Result<KeyUsage, E> {
        key_usage("")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<KeyUsage, E> {
        Err(E::custom("invalid format"))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<KeyUsage, E> {
        Err(E::custom("invalid format"))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<KeyUsage, E> {
        Err(E::custom("invalid format"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<KeyUsage, E> {
        Err(E::custom("invalid format"))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<KeyUsage, A::Error> {
        Err(de::Error::custom("invalid format"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<KeyUsage, A::Error> {
        let mut all = KeyUsage::NONE;
        while let Some(name) = items.next_element::<String>()? {
            all = all.union(key_usage(&name)?);
        }
        Ok(all)
    }
}

/// An extended key usage that the wire has a name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtendedKeyUsage {
    /// 2.5.29.37.0
    Any,
    /// id-kp-serverAuth
    ServerAuth,
    /// id-kp-clientAuth
    ClientAuth,
    /// id-kp-codeSigning
    CodeSigning,
    /// id-kp-emailProtection
    EmailProtection,
    /// id-kp-ipsecEndSystem
    IpsecEndSystem,
    /// id-kp-ipsecTunnel
    IpsecTunnel,
    /// id-kp-ipsecUser
    IpsecUser,
    /// id-kp-timeStamping
    TimeStamping,
    /// id-kp-OCSPSigning
    OcspSigning,
    /// Microsoft server gated crypto
    MicrosoftServerGatedCrypto,
    /// Netscape server gated crypto
    NetscapeServerGatedCrypto,
    /// Microsoft commercial code signing
    MicrosoftCommercialCodeSigning,
    /// Microsoft kernel code signing
    MicrosoftKernelCodeSigning,
}

/// Usage, name on the wire, object identifier.
const EXTENDED_KEY_USAGES: [(ExtendedKeyUsage, &str, &str); 14] = [
    (ExtendedKeyUsage::Any, "Any", "2.5.29.37.0"),
    (
        ExtendedKeyUsage::ServerAuth,
        "ServerAuth",
        "1.3.6.1.5.5.7.3.1",
    ),
    (
        ExtendedKeyUsage::ClientAuth,
        "ClientAuth",
        "1.3.6.1.5.5.7.3.2",
    ),
    (
        ExtendedKeyUsage::CodeSigning,
        "CodeSigning",
        "1.3.6.1.5.5.7.3.3",
    ),
    (
        ExtendedKeyUsage::EmailProtection,
        "EmailProtection",
        "1.3.6.1.5.5.7.3.4",
    ),
    (
        ExtendedKeyUsage::IpsecEndSystem,
        "IPSECEndSystem",
        "1.3.6.1.5.5.7.3.5",
    ),
    (
        ExtendedKeyUsage::IpsecTunnel,
        "IPSECTunnel",
        "1.3.6.1.5.5.7.3.6",
    ),
    (
        ExtendedKeyUsage::IpsecUser,
        "IPSECUser",
        "1.3.6.1.5.5.7.3.7",
    ),
    (
        ExtendedKeyUsage::TimeStamping,
        "TimeStamping",
        "1.3.6.1.5.5.7.3.8",
    ),
    (
        ExtendedKeyUsage::OcspSigning,
        "OCSPSigning",
        "1.3.6.1.5.5.7.3.9",
    ),
    (
        ExtendedKeyUsage::MicrosoftServerGatedCrypto,
        "MicrosoftServerGatedCrypto",
        "1.3.6.1.4.1.311.10.3.3",
    ),
    (
        ExtendedKeyUsage::NetscapeServerGatedCrypto,
        "NetscapeServerGatedCrypto",
        "2.16.840.1.113730.4.1",
    ),
    (
        ExtendedKeyUsage::MicrosoftCommercialCodeSigning,
        "MicrosoftCommercialCodeSigning",
        "1.3.6.1.4.1.311.2.1.22",
    ),
    (
        ExtendedKeyUsage::MicrosoftKernelCodeSigning,
        "MicrosoftKernelCodeSigning",
        "1.3.6.1.4.1.311.61.1.1",
    ),
];

impl ExtendedKeyUsage {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        EXTENDED_KEY_USAGES
            .iter()
            .find(|(usage, _, _)| *usage == self)
            .map_or("", |(_, name, _)| name)
    }

    /// The object identifier, dotted.
    pub fn oid(self) -> &'static str {
        EXTENDED_KEY_USAGES
            .iter()
            .find(|(usage, _, _)| *usage == self)
            .map_or("", |(_, _, oid)| oid)
    }

    /// The usage of this object identifier, if the wire has a name for it.
    pub fn from_oid(oid: &str) -> Option<Self> {
        EXTENDED_KEY_USAGES
            .iter()
            .find(|(_, _, known)| *known == oid)
            .map(|(usage, _, _)| *usage)
    }

    /// The usage of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        EXTENDED_KEY_USAGES
            .iter()
            .find(|(_, known, _)| known.eq_ignore_ascii_case(name))
            .map(|(usage, _, _)| *usage)
    }
}

impl Serialize for ExtendedKeyUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ExtendedKeyUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| {
            let known = EXTENDED_KEY_USAGES.map(|(_, known, _)| known).join(", ");
            let text = format!("unsupported ext key usage: {name}; there are {known}");
            de::Error::custom(text)
        })
    }
}

/// Both usage extensions of a certificate, as its JSON shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(default)]
pub struct CertificateExtensions {
    /// Key usage, none when the extension is absent.
    pub key_usage: KeyUsage,
    /// Extended key usages that have a name, in the certificate's order.
    pub extended_key_usage: Vec<ExtendedKeyUsage>,
}

/// Why a certificate was revoked (RFC 5280 5.3.1; 7 is unused).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// 0; never encoded.
    #[default]
    Unspecified,
    /// 1
    KeyCompromise,
    /// 2
    CaCompromise,
    /// 3
    AffiliationChanged,
    /// 4
    Superseded,
    /// 5
    CessationOfOperation,
    /// 6: can be released.
    CertificateHold,
    /// 8
    RemoveFromCrl,
    /// 9
    PrivilegeWithdrawn,
    /// 10
    AaCompromise,
}

/// Reason, name on the wire, code of `CRLReason`.
const REASONS: [(RevocationReason, &str, u8); 10] = [
    (RevocationReason::Unspecified, "Unspecified", 0),
    (RevocationReason::KeyCompromise, "KeyCompromise", 1),
    (RevocationReason::CaCompromise, "CACompromise", 2),
    (
        RevocationReason::AffiliationChanged,
        "AffiliationChanged",
        3,
    ),
    (RevocationReason::Superseded, "Superseded", 4),
    (
        RevocationReason::CessationOfOperation,
        "CessationOfOperation",
        5,
    ),
    (RevocationReason::CertificateHold, "CertificateHold", 6),
    (RevocationReason::RemoveFromCrl, "RemoveFromCRL", 8),
    (
        RevocationReason::PrivilegeWithdrawn,
        "PrivilegeWithdrawn",
        9,
    ),
    (RevocationReason::AaCompromise, "AACompromise", 10),
];

impl RevocationReason {
    /// All names on the wire.
    pub const NAMES: &'static [&'static str] = &[
        REASONS[0].1,
        REASONS[1].1,
        REASONS[2].1,
        REASONS[3].1,
        REASONS[4].1,
        REASONS[5].1,
        REASONS[6].1,
        REASONS[7].1,
        REASONS[8].1,
        REASONS[9].1,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        REASONS
            .iter()
            .find(|(reason, _, _)| *reason == self)
            .map_or("", |(_, name, _)| name)
    }

    /// The code of `CRLReason`.
    pub fn code(self) -> u8 {
        REASONS
            .iter()
            .find(|(reason, _, _)| *reason == self)
            .map_or(0, |(_, _, code)| *code)
    }

    /// Whether a revocation for this reason is for good. A hold can be released, and what is
    /// removed from a CRL was on hold.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::CertificateHold | Self::RemoveFromCrl)
    }

    /// The reason of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        REASONS
            .iter()
            .find(|(_, known, _)| known.eq_ignore_ascii_case(name))
            .map(|(reason, _, _)| *reason)
    }

    /// The reason of this code.
    pub fn from_code(code: u8) -> Option<Self> {
        REASONS
            .iter()
            .find(|(_, _, known)| *known == code)
            .map(|(reason, _, _)| *reason)
    }
}

impl Serialize for RevocationReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for RevocationReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| de::Error::custom("unsupported revocation code"))
    }
}

schemas!(
    KeyUsage: {
        "type": "array",
        "description": "Key usages (RFC 5280 4.2.1.3); empty for none.",
        "items": {"type": "string", "enum": KEY_USAGES},
        "examples": [["DigitalSignature", "KeyAgreement"]],
    },
);

word_schemas!(
    ExtendedKeyUsage: "An extended key usage (RFC 5280 4.2.1.12).",
        EXTENDED_KEY_USAGES.iter().map(|(_, name, _)| *name);
    RevocationReason: "Why a certificate is revoked (RFC 5280 5.3.1).",
        REASONS.iter().map(|(_, name, _)| *name);
);

#[cfg(test)]
mod tests {
    use super::{ExtendedKeyUsage, KeyUsage, RevocationReason};
    use crate::json::from_slice;

    fn key_usage(json: &str) -> Result<KeyUsage, String> {
        from_slice(json.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn key_usage_is_an_array_or_one_name() {
        let both = KeyUsage::CERT_SIGN.union(KeyUsage::CRL_SIGN);
        assert_eq!(key_usage(r#"["CRLSign"," CertSign "]"#), Ok(both));
        assert_eq!(key_usage(r#""CertSign""#), Ok(KeyUsage::CERT_SIGN));
        assert_eq!(
            serde_json::to_string(&both).unwrap(),
            r#"["CertSign","CRLSign"]"#
        );
        assert_eq!(serde_json::to_string(&KeyUsage::NONE).unwrap(), "[]");
    }

    #[test]
    fn key_usage_refusals_have_the_texts_of_the_wire() {
        let known = "; there are DigitalSignature, ContentCommitment, KeyEncipherment, DataEncipherment, \
                     KeyAgreement, CertSign, CRLSign, EncipherOnly, DecipherOnly";
        let cases = [
            (r#"["certsign"]"#, "unknown key usage: certsign", known),
            ("null", "unknown key usage: ", known),
            ("7", "invalid format", ""),
            ("{}", "invalid format", ""),
        ];
        for (json, text, more) in cases {
            assert_eq!(key_usage(json), Err(format!("{text}{more}")), "{json}");
        }
    }

    #[test]
    fn names_read_in_any_case_and_print_in_one() {
        let usage: ExtendedKeyUsage = from_slice(br#""clientauth""#).unwrap();
        assert_eq!(usage.name(), "ClientAuth");
        assert_eq!(ExtendedKeyUsage::from_oid(usage.oid()), Some(usage));
        let reason: RevocationReason = from_slice(br#""keycompromise""#).unwrap();
        assert_eq!((reason.name(), reason.code()), ("KeyCompromise", 1));
        for json in ["\"\"", "null", "3"] {
            assert!(
                from_slice::<RevocationReason>(json.as_bytes()).is_err(),
                "{json}"
            );
        }
    }
}
