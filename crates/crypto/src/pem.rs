//! PEM (RFC 7468), read leniently and written strictly; the one place that knows the format.
//!
//! Read is what the field writes: any label, text before, between and after the blocks, bytes
//! there that are no UTF-8, lines of any length and any end, headers of RFC 1421. [`blocks`] gives
//! the blocks and leaves to the caller which label counts; [`der_to_pem`] writes one block.
//!
//! Blocks may hold private keys: copies that are made on the way are wiped, results are the
//! caller's to wipe.

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Columns of a PEM text (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// What a PEM block says that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemLabel {
    /// `CERTIFICATE`
    Certificate,
    /// `CERTIFICATE REQUEST`
    CertificateRequest,
    /// `X509 CRL`
    Crl,
    /// `PKCS7`
    Pkcs7,
    /// `PUBLIC KEY`
    PublicKey,
    /// `PRIVATE KEY`: PKCS#8, clear.
    PrivateKey,
    /// `ENCRYPTED PRIVATE KEY`: PKCS#8, encrypted.
    EncryptedPrivateKey,
    /// `RSA PRIVATE KEY`: PKCS#1.
    RsaPrivateKey,
    /// `EC PRIVATE KEY`: SEC 1.
    EcPrivateKey,
    /// `EC PARAMETERS`: the curve, which OpenSSL writes in front of a SEC 1 key.
    EcParameters,
}

impl PemLabel {
    const ALL: [Self; 10] = [
        Self::Certificate,
        Self::CertificateRequest,
        Self::Crl,
        Self::Pkcs7,
        Self::PublicKey,
        Self::PrivateKey,
        Self::EncryptedPrivateKey,
        Self::RsaPrivateKey,
        Self::EcPrivateKey,
        Self::EcParameters,
    ];

    /// The text between `BEGIN` and the dashes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::CertificateRequest => "CERTIFICATE REQUEST",
            Self::Crl => "X509 CRL",
            Self::Pkcs7 => "PKCS7",
            Self::PublicKey => "PUBLIC KEY",
            Self::PrivateKey => "PRIVATE KEY",
            Self::EncryptedPrivateKey => "ENCRYPTED PRIVATE KEY",
            Self::RsaPrivateKey => "RSA PRIVATE KEY",
            Self::EcPrivateKey => "EC PRIVATE KEY",
            Self::EcParameters => "EC PARAMETERS",
        }
    }

    fn read(label: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().as_bytes() == label)
    }
}

/// Why a text gave no DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// The base64 around the PEM text, or inside it, does not decode.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// There is no complete PEM block.
    #[error("missing cert block")]
    MissingBlock,
}

/// One block of a PEM text, not decoded yet.
#[derive(Clone, Copy)]
pub struct PemBlock<'a> {
    label: Option<PemLabel>,
    body: &'a [u8],
}

impl std::fmt::Debug for PemBlock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemBlock")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl PemBlock<'_> {
    /// The label; `None` for one that nothing here has a name for.
    pub const fn label(&self) -> Option<PemLabel> {
        self.label
    }

    /// Whether headers such as `Proc-Type: 4,ENCRYPTED` (RFC 1421) stand before the base64. A
    /// private key with them is encrypted.
    pub fn has_headers(&self) -> bool {
        self.body.contains(&b':')
    }

    /// The octets between the boundaries, headers passed over.
    ///
    /// # Errors
    ///
    /// [`PemError::Base64`] with the offset of the offending character, white space not counted.
    pub fn der(&self) -> Result<Vec<u8>, PemError> {
        decode(self.base64(), |octet| octet.is_ascii_whitespace())
    }

    /// Headers end at the first empty line.
    fn base64(&self) -> &[u8] {
        if !self.has_headers() {
            return self.body;
        }
        [b"\n\n".as_slice(), b"\r\n\r\n"]
            .into_iter()
            .find_map(|separator| split_once(self.body, separator))
            .map_or(self.body, |(_, base64)| base64)
    }
}

/// The complete blocks of `text`, in order.
pub fn blocks(text: &[u8]) -> impl Iterator<Item = PemBlock<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (block, after) = next_block(rest)?;
        rest = after;
        Some(block)
    })
}

/// One PEM block: lines of 64 columns ended by LF, the last one too.
pub fn der_to_pem(label: PemLabel, der: &[u8]) -> String {
    let label = label.as_str();
    let boundaries = 2 * (label.len() + "-----BEGIN -----\n".len());
    let mut pem = String::with_capacity(boundaries + lines_len(der.len(), PEM_LINE));
    for part in ["-----BEGIN ", label, "-----\n"] {
        pem.push_str(part);
    }
    push_base64_lines(&mut pem, der, PEM_LINE);
    for part in ["-----END ", label, "-----\n"] {
        pem.push_str(part);
    }
    pem
}

/// Standard base64 in lines, each ended by LF, the last one too.
///
/// `line_length` is in characters, a multiple of 4 and at least that; other numbers are rounded.
pub fn base64_lines(octets: &[u8], line_length: usize) -> String {
    let mut text = String::with_capacity(lines_len(octets.len(), line_length));
    push_base64_lines(&mut text, octets, line_length);
    text
}

/// Standard base64 with mandatory padding; CR and LF anywhere are passed over, nothing else.
///
/// # Errors
///
/// [`PemError::Base64`] with the offset of the offending character, line ends not counted.
pub fn decode_base64(text: &[u8]) -> Result<Vec<u8>, PemError> {
    decode(text, |octet| matches!(octet, b'\r' | b'\n'))
}

fn next_block(text: &[u8]) -> Option<(PemBlock<'_>, &[u8])> {
    let (_, from_label) = split_once(text, BEGIN)?;
    let (label, body) = split_once(from_label, DASHES)?;
    let (body, from_end) = split_once(body, END)?;
    let (_, after) = split_once(from_end, DASHES)?;
    let label = PemLabel::read(label);
    Some((PemBlock { label, body }, after))
}

fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(separator.len())
        .position(|window| window == separator)?;
    let (before, from_separator) = text.split_at_checked(at)?;
    Some((before, from_separator.get(separator.len()..)?))
}

fn decode(text: &[u8], passed_over: impl Fn(u8) -> bool) -> Result<Vec<u8>, PemError> {
    // All of the room at once, so that no copy is left behind by growing.
    let mut compact = Zeroizing::new(Vec::with_capacity(text.len()));
    compact.extend(text.iter().copied().filter(|octet| !passed_over(*octet)));
    STANDARD.decode(&*compact).map_err(|error| {
        PemError::Base64(match error {
            DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol(offset, _) => {
                offset
            }
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => compact.len(),
        })
    })
}

fn push_base64_lines(text: &mut String, octets: &[u8], line_length: usize) {
    for line in octets.chunks(octets_per_line(line_length)) {
        STANDARD.encode_string(line, text);
        text.push('\n');
    }
}

fn octets_per_line(line_length: usize) -> usize {
    (line_length / 4).max(1) * 3
}

/// Characters of `n_octets` in base64, line ends included.
fn lines_len(n_octets: usize, line_length: usize) -> usize {
    n_octets.div_ceil(3) * 4 + n_octets.div_ceil(octets_per_line(line_length))
}

#[cfg(test)]
mod tests {
    use super::{PemError, PemLabel, base64_lines, blocks, der_to_pem};

    #[test]
    fn every_line_ends() {
        assert_eq!(base64_lines(&[], 76), "");
        assert_eq!(base64_lines(&[0; 57], 76), format!("{}\n", "A".repeat(76)));
        assert_eq!(
            base64_lines(&[0; 58], 76),
            format!("{}\nAA==\n", "A".repeat(76))
        );
        assert_eq!(base64_lines(&[0; 3], 0), "AAAA\n");
    }

    #[test]
    fn a_written_block_fills_the_room_made_for_it() {
        for n in [0, 1, 47, 48, 49, 1000] {
            let pem = der_to_pem(PemLabel::EcPrivateKey, &vec![7; n]);
            assert!(pem.capacity() >= pem.len());
            assert!(pem.capacity() <= pem.len() + 4, "{n}");
            let read: Vec<_> = blocks(pem.as_bytes()).collect();
            assert_eq!(read[0].label(), Some(PemLabel::EcPrivateKey));
            assert_eq!(read[0].der(), Ok(vec![7; n]));
        }
    }

    #[test]
    fn blocks_are_told_by_label_and_read_one_by_one() {
        let text = b"\xff subject\n-----BEGIN X-----\r\nAQ ID\t\r\n-----END X-----\r\n\xfe\
            -----BEGIN PUBLIC KEY-----A!-----END PUBLIC KEY-----\
            -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END Y-----\
            -----BEGIN CERTIFICATE-----AQID";
        let read: Vec<_> = blocks(text)
            .map(|block| (block.label(), block.has_headers(), block.der()))
            .collect();
        let expected = [
            (None, false, Ok(vec![1, 2, 3])),
            (Some(PemLabel::PublicKey), false, Err(PemError::Base64(1))),
            (Some(PemLabel::RsaPrivateKey), true, Ok(vec![1, 2, 3])),
        ];
        assert_eq!(read, expected);
    }
}
