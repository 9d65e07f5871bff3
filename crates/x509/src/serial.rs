//! Serial numbers: as found in foreign certificates, and as we give them out.
//!
//! [`Serial`] is whatever INTEGER a certificate, CRL entry or OCSP request carries;
//! negative and over-long ones exist in the field. [`SerialNumber`] is the kind that we
//! issue: positive and at most 20 octets (RFC 5280 §4.1.2.2).

use std::fmt;

use bytes::Bytes;

/// The content octets of a serial number's INTEGER, exactly as they were written.
///
/// Two serials are equal when their texts are: see [`Serial::to_hex`].
#[derive(Clone)]
pub struct Serial(Bytes);

impl Serial {
    /// Keeps the content octets of an INTEGER.
    pub(crate) fn from_integer_content(content: Bytes) -> Self {
        Self(content)
    }

    /// The content octets of the INTEGER, two's complement, as they were written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Lower-case hex of the absolute value: even length, no sign octet; zero is `00`.
    pub fn to_hex(&self) -> String {
        let magnitude = self.magnitude();
        if magnitude.is_empty() {
            "00".to_owned()
        } else {
            hex::encode(magnitude)
        }
    }

    /// Reads a serial as people write it: hex in any case, `:` and `-` ignored, leading zeros
    /// dropped, never decimal. `None` when what is left is not hex.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
        if digits.is_empty() {
            return None;
        }
        if !digits.len().is_multiple_of(2) {
            digits.insert(0, '0');
        }
        let bytes = hex::decode(digits).ok()?;
        let mut content: Vec<u8> = bytes.into_iter().skip_while(|octet| *octet == 0).collect();
        if content.first().is_none_or(|octet| octet & 0x80 != 0) {
            content.insert(0, 0);
        }
        Some(Self(content.into()))
    }

    /// Whether the INTEGER is below zero, which Go's `crypto/x509` refuses.
    pub fn is_negative(&self) -> bool {
        self.0.first().is_some_and(|octet| octet & 0x80 != 0)
    }

    /// Whether the INTEGER has more octets than its value needs, which DER forbids.
    pub fn is_non_minimal(&self) -> bool {
        match self.0.as_ref() {
            [0x00, second, ..] => second & 0x80 == 0,
            [0xff, second, ..] => second & 0x80 != 0,
            _ => false,
        }
    }

    /// The absolute value, big-endian, without leading zeros.
    fn magnitude(&self) -> Vec<u8> {
        let octets: Vec<u8> = if self.is_negative() {
            negated(&self.0)
        } else {
            self.0.to_vec()
        };
        octets.into_iter().skip_while(|octet| *octet == 0).collect()
    }
}

impl PartialEq for Serial {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.magnitude() == other.magnitude()
    }
}

impl Eq for Serial {}

impl std::hash::Hash for Serial {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.magnitude().hash(state);
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// Two's complement negation.
fn negated(octets: &[u8]) -> Vec<u8> {
    let mut carry = true;
    let mut out: Vec<u8> = octets
        .iter()
        .rev()
        .map(|octet| {
            let (value, overflowed) = (!octet).overflowing_add(u8::from(carry));
            carry = overflowed;
            value
        })
        .collect();
    out.reverse();
    out
}

/// Bytes that cannot be a serial number of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is positive and has at most 20 octets")]
pub struct InvalidSerialNumber;

/// A serial number as we issue it: positive, at most 20 octets of DER content.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SerialNumber(Vec<u8>);

impl SerialNumber {
    /// How many random octets [`SerialNumber::from_random`] takes.
    pub const RANDOM_LEN: usize = 20;

    /// A serial number of 159 random bits: the top bit is cleared, so that it is positive and
    /// fits 20 octets. The bytes must come from a cryptographic source.
    ///
    /// # Errors
    ///
    /// [`InvalidSerialNumber`] when all 159 bits are zero: draw again, or doubt the source.
    pub fn from_random(random: [u8; Self::RANDOM_LEN]) -> Result<Self, InvalidSerialNumber> {
        let mut octets = random;
        if let Some(first) = octets.first_mut() {
            *first &= 0x7f;
        }
        Self::from_bytes(&octets)
    }

    /// The serial number with this big-endian value.
    ///
    /// # Errors
    ///
    /// [`InvalidSerialNumber`] for zero and for values of 160 bits or more.
    pub fn from_bytes(big_endian: &[u8]) -> Result<Self, InvalidSerialNumber> {
        let digits: Vec<u8> = big_endian
            .iter()
            .copied()
            .skip_while(|octet| *octet == 0)
            .collect();
        let sign_octets = digits.first().map_or(0, |first| usize::from(first >> 7));
        if digits.is_empty() || digits.len().saturating_add(sign_octets) > 20 {
            return Err(InvalidSerialNumber);
        }
        Ok(Self(digits))
    }

    /// The value, big-endian, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Lower-case hex of even length.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialNumber({self})")
    }
}

impl From<&SerialNumber> for Serial {
    fn from(serial: &SerialNumber) -> Self {
        let mut content = serial.0.clone();
        if content.first().is_none_or(|octet| octet & 0x80 != 0) {
            content.insert(0, 0);
        }
        Self(content.into())
    }
}
