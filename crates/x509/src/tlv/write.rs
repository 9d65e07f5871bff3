//! Writing DER.

use const_oid::ObjectIdentifier;

use super::tag::{BIT_STRING, BOOLEAN, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};

/// Appends elements to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A writer whose buffer holds this many bytes before it grows.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            out: Vec::with_capacity(capacity),
        }
    }

    /// A writer that appends to these bytes.
    pub(crate) fn over(out: Vec<u8>) -> Self {
        Self { out }
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.out
    }

    /// Bytes that are DER already.
    pub(crate) fn raw(&mut self, der: &[u8]) -> &mut Self {
        self.out.extend_from_slice(der);
        self
    }

    /// An element with this content.
    pub(crate) fn element(&mut self, tag: u8, content: &[u8]) -> &mut Self {
        self.header(tag, content.len());
        self.raw(content)
    }

    /// Tag and length of an element whose content the caller appends.
    pub(crate) fn header(&mut self, tag: u8, content_len: usize) -> &mut Self {
        self.out.push(tag);
        let (octets, n_octets) = length_octets(content_len);
        self.out
            .extend(octets.iter().skip(octets.len().saturating_sub(n_octets)));
        self
    }

    /// An element whose content `write` appends. The length is put in place afterwards, which
    /// moves the content once; for long lists use [`Writer::header`] with a known length.
    pub(crate) fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.out.push(tag);
        let at = self.out.len();
        write(self);
        let (octets, n_octets) = length_octets(self.out.len().saturating_sub(at));
        let skipped = octets.len().saturating_sub(n_octets);
        self.out
            .splice(at..at, octets.iter().skip(skipped).copied());
        self
    }

    pub(crate) fn sequence(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested(SEQUENCE, write)
    }

    pub(crate) fn oid(&mut self, oid: &ObjectIdentifier) -> &mut Self {
        self.element(OBJECT_IDENTIFIER, oid.as_bytes())
    }

    pub(crate) fn octet_string(&mut self, content: &[u8]) -> &mut Self {
        self.element(OCTET_STRING, content)
    }

    /// A BIT STRING of whole octets.
    pub(crate) fn bit_string(&mut self, bytes: &[u8]) -> &mut Self {
        self.header(BIT_STRING, bytes.len().saturating_add(1));
        self.out.push(0);
        self.raw(bytes)
    }

    /// DER has no way to write FALSE where it is the default, so only TRUE is offered.
    pub(crate) fn boolean_true(&mut self) -> &mut Self {
        self.element(BOOLEAN, &[0xff])
    }

    /// A non-negative INTEGER from big-endian bytes with any number of leading zeros.
    pub(crate) fn unsigned(&mut self, big_endian: &[u8]) -> &mut Self {
        let first = big_endian.iter().position(|octet| *octet != 0);
        let digits = first
            .and_then(|first| big_endian.get(first..))
            .unwrap_or_default();
        let needs_sign = digits.first().is_none_or(|octet| octet & 0x80 != 0);
        self.header(
            INTEGER,
            digits.len().saturating_add(usize::from(needs_sign)),
        );
        if needs_sign {
            self.out.push(0);
        }
        self.raw(digits)
    }
}

/// The DER of `SEQUENCE OF` these parts.
pub(crate) fn sequence_of(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::new();
    out.sequence(write);
    out.into_vec()
}

/// How many octets tag and length of an element with so much content take.
pub(crate) fn header_len(content_len: usize) -> usize {
    length_octets(content_len).1.saturating_add(1)
}

/// The length octets, right-aligned, and their number.
fn length_octets(length: usize) -> ([u8; 9], usize) {
    let mut octets = [0; 9];
    let bytes = length.to_be_bytes();
    for (to, from) in octets.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    if length < 0x80 {
        return (octets, 1);
    }
    let n_digits = bytes
        .len()
        .saturating_sub(bytes.iter().take_while(|octet| **octet == 0).count());
    let marker = octets
        .len()
        .checked_sub(n_digits.saturating_add(1))
        .and_then(|at| octets.get_mut(at));
    if let (Some(marker), Ok(count)) = (marker, u8::try_from(n_digits)) {
        *marker = 0x80 | count;
    }
    (octets, n_digits.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlv::Reader;

    #[test]
    fn lengths_are_minimal_and_read_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0x100_0000] {
            let content = vec![0x5a; length];
            let mut flat = Writer::new();
            flat.element(OCTET_STRING, &content);
            let mut nested = Writer::new();
            nested.nested(OCTET_STRING, |inside| {
                inside.raw(&content);
            });
            let flat = flat.into_vec();

            assert_eq!(flat, nested.into_vec());
            assert_eq!(flat.len(), header_len(length) + length);
            let mut reader = Reader::new(&flat);
            assert_eq!(reader.expect(OCTET_STRING).unwrap().value, content);
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn integers_are_minimal_and_not_negative() {
        for (bytes, der) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 0x7f], &[2, 1, 0x7f]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[1, 0], &[2, 2, 1, 0]),
        ] {
            let mut out = Writer::new();
            out.unsigned(bytes);
            assert_eq!(out.into_vec(), der);
        }
    }
}
