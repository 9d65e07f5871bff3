//! Key usage (RFC 5280 §4.2.1.3).

use crate::error::Malformation;
use crate::tlv::{BIT_STRING, Reader, Writer};

/// One permitted use of a key; the discriminant is its bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyUsageBit {
    /// `digitalSignature`
    DigitalSignature = 0,
    /// `nonRepudiation`, later called `contentCommitment`
    ContentCommitment = 1,
    /// `keyEncipherment`
    KeyEncipherment = 2,
    /// `dataEncipherment`
    DataEncipherment = 3,
    /// `keyAgreement`
    KeyAgreement = 4,
    /// `keyCertSign`
    KeyCertSign = 5,
    /// `cRLSign`
    CrlSign = 6,
    /// `encipherOnly`
    EncipherOnly = 7,
    /// `decipherOnly`
    DecipherOnly = 8,
}

impl KeyUsageBit {
    /// All of them by bit number.
    pub const ALL: [Self; 9] = [
        Self::DigitalSignature,
        Self::ContentCommitment,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::KeyCertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
    ];

    /// The bit's place in a 16-bit image of the BIT STRING, whose first bit is the highest.
    fn mask(self) -> u16 {
        0x8000 >> (self as u8)
    }
}

/// A set of permitted uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeyUsage(u16);

impl KeyUsage {
    /// No use at all: issuing leaves the extension out.
    pub const NONE: Self = Self(0);

    /// What a CA needs: signing certificates and CRLs.
    pub fn ca() -> Self {
        [KeyUsageBit::KeyCertSign, KeyUsageBit::CrlSign]
            .into_iter()
            .collect()
    }

    /// Whether this use is permitted.
    pub fn contains(self, bit: KeyUsageBit) -> bool {
        self.0 & bit.mask() != 0
    }

    /// Whether no use is permitted.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The permitted uses by bit number.
    pub fn iter(self) -> impl Iterator<Item = KeyUsageBit> {
        KeyUsageBit::ALL
            .into_iter()
            .filter(move |bit| self.contains(*bit))
    }

    /// Reads the DER of `KeyUsage`; bits above the ninth are passed over.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, Malformation> {
        let mut reader = Reader::new(der);
        let content = reader.expect(BIT_STRING)?.value;
        reader.finish()?;
        let (unused, octets) = content
            .split_first()
            .ok_or(Malformation::InvalidBitString)?;
        if *unused > 7 || (octets.is_empty() && *unused != 0) {
            return Err(Malformation::InvalidBitString);
        }
        let high = octets.first().copied().unwrap_or_default();
        let low = octets.get(1).copied().unwrap_or_default();
        Ok(Self(u16::from_be_bytes([high, low & 0x80])))
    }

    /// The DER: a named bit list ends with its last one-bit (X.690 §11.2.2).
    pub(crate) fn to_der(self) -> Vec<u8> {
        let [high, low] = self.0.to_be_bytes();
        let octets: &[u8] = match (high, low) {
            (0, 0) => &[],
            (_, 0) => &[high],
            _ => &[high, low],
        };
        let unused = octets.last().map_or(0, |octet| octet.trailing_zeros());
        let mut content = vec![u8::try_from(unused).unwrap_or_default()];
        content.extend_from_slice(octets);
        let mut out = Writer::new();
        out.element(BIT_STRING, &content);
        out.into_vec()
    }
}

impl FromIterator<KeyUsageBit> for KeyUsage {
    fn from_iter<I: IntoIterator<Item = KeyUsageBit>>(bits: I) -> Self {
        Self(bits.into_iter().fold(0, |mask, bit| mask | bit.mask()))
    }
}
