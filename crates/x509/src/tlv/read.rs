//! Reading DER as slices.

use const_oid::ObjectIdentifier;

use super::tag::{BIT_STRING, BOOLEAN, INTEGER, OBJECT_IDENTIFIER, SEQUENCE};
use crate::error::Malformation;

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    /// The identifier octet.
    pub(crate) tag: u8,
    /// Identifier, length and content.
    pub(crate) raw: &'a [u8],
    /// The content.
    pub(crate) value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Reads the elements inside.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader::new(self.value)
    }
}

/// Takes elements off the front of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Tlv<'a>, Malformation> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(Malformation::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(Malformation::MultiByteTag);
        }
        let (length, content) = length(after_tag)?;
        let (value, rest) = content
            .split_at_checked(length)
            .ok_or(Malformation::Truncated)?;
        let raw_len = self.rest.len().saturating_sub(rest.len());
        let raw = self.rest.get(..raw_len).ok_or(Malformation::Truncated)?;
        self.rest = rest;
        Ok(Tlv { tag, raw, value })
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Tlv<'a>, Malformation> {
        let tlv = self.any()?;
        if tlv.tag == tag {
            Ok(tlv)
        } else {
            Err(Malformation::UnexpectedTag {
                expected: tag,
                found: tlv.tag,
            })
        }
    }

    /// The next element if it has this tag; otherwise nothing is taken.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, Malformation> {
        if self.rest.first() == Some(&tag) {
            self.any().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The inside of the next element, which must be a SEQUENCE.
    pub(crate) fn sequence(&mut self) -> Result<Self, Malformation> {
        self.expect(SEQUENCE).map(|tlv| tlv.reader())
    }

    /// `BOOLEAN DEFAULT FALSE`. Any non-zero octet is true: BER wrote it so, and who signed
    /// it meant it.
    pub(crate) fn boolean_or_false(&mut self) -> Result<bool, Malformation> {
        match self.optional(BOOLEAN)? {
            None => Ok(false),
            Some(tlv) => match tlv.value {
                [octet] => Ok(*octet != 0),
                _ => Err(Malformation::InvalidBoolean),
            },
        }
    }

    /// The content octets of an INTEGER, as they stand (perhaps negative, perhaps not minimal).
    pub(crate) fn integer(&mut self) -> Result<&'a [u8], Malformation> {
        let tlv = self.expect(INTEGER)?;
        if tlv.value.is_empty() {
            Err(Malformation::InvalidInteger)
        } else {
            Ok(tlv.value)
        }
    }

    /// The content octets of an object identifier.
    pub(crate) fn oid(&mut self) -> Result<&'a [u8], Malformation> {
        let tlv = self.expect(OBJECT_IDENTIFIER)?;
        if tlv.value.is_empty() {
            Err(Malformation::InvalidOid)
        } else {
            Ok(tlv.value)
        }
    }

    /// A BIT STRING of whole octets.
    pub(crate) fn bit_string(&mut self) -> Result<&'a [u8], Malformation> {
        bit_string_bytes(self.expect(BIT_STRING)?.value)
    }

    /// Refuses what is left.
    pub(crate) fn finish(&self) -> Result<(), Malformation> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformation::TrailingData)
        }
    }
}

/// The octets of a BIT STRING's content that has no unused bits.
fn bit_string_bytes(content: &[u8]) -> Result<&[u8], Malformation> {
    match content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(Malformation::InvalidBitString),
    }
}

/// The object identifier with these content octets.
pub(crate) fn oid_value(content: &[u8]) -> Result<ObjectIdentifier, Malformation> {
    ObjectIdentifier::from_bytes(content).map_err(|_| Malformation::InvalidOid)
}

/// A non-negative INTEGER of at most 64 bits from its content octets.
pub(crate) fn unsigned(content: &[u8]) -> Result<u64, Malformation> {
    let digits = match content {
        [] => return Err(Malformation::InvalidInteger),
        [first, ..] if first & 0x80 != 0 => return Err(Malformation::InvalidInteger),
        [0, rest @ ..] => rest,
        all => all,
    };
    if digits.len() > 8 {
        return Err(Malformation::InvalidInteger);
    }
    Ok(digits
        .iter()
        .fold(0, |value, octet| (value << 8) | u64::from(*octet)))
}

/// A definite length in its shortest form, and what follows it.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformation> {
    let (&first, rest) = bytes.split_first().ok_or(Malformation::Truncated)?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    if first == 0x80 {
        return Err(Malformation::IndefiniteLength);
    }
    let (octets, rest) = rest
        .split_at_checked(usize::from(first & 0x7f))
        .ok_or(Malformation::Truncated)?;
    if octets.first() == Some(&0) {
        return Err(Malformation::NonMinimalLength);
    }
    // Four octets say 4 GiB; a longer length cannot be met by any input that we accept.
    if octets.len() > 4 {
        return Err(Malformation::Truncated);
    }
    let length = octets
        .iter()
        .fold(0_usize, |value, octet| (value << 8) | usize::from(*octet));
    if length < 0x80 {
        return Err(Malformation::NonMinimalLength);
    }
    Ok((length, rest))
}
