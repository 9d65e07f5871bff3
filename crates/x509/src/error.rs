//! Why bytes from outside were refused.
//!
//! One type for all readers: it says which structure was read and what was wrong
//! with it, never what the bytes were, so its text is safe to show to a client.

/// The structure that was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Structure {
    /// An RFC 5280 `Certificate`.
    #[error("certificate")]
    Certificate,
    /// An RFC 2986 `CertificationRequest`.
    #[error("certification request")]
    CertificationRequest,
    /// An RFC 5280 `CertificateList`.
    #[error("certificate list")]
    CertificateList,
    /// An RFC 6960 `OCSPRequest`.
    #[error("OCSP request")]
    OcspRequest,
    /// An RFC 6960 `OCSPResponse`.
    #[error("OCSP response")]
    OcspResponse,
    /// An RFC 5652 `ContentInfo` that carries certificates only.
    #[error("PKCS#7 structure")]
    Pkcs7,
    /// An RFC 7030 `CsrAttrs`.
    #[error("list of request attributes")]
    CsrAttrs,
    /// A distinguished name.
    #[error("name")]
    Name,
    /// An RFC 8551 `SMIMECapabilities`.
    #[error("S/MIME capabilities")]
    Capabilities,
    /// The value of one extension.
    #[error("extension")]
    Extension,
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformation {
    /// An element claims more bytes than there are.
    #[error("sequence truncated")]
    Truncated,
    /// Bytes follow where nothing may follow.
    #[error("trailing data")]
    TrailingData,
    /// A tag number above 30; none of our structures has one.
    #[error("multi-byte tag")]
    MultiByteTag,
    /// BER's indefinite length, which DER forbids.
    #[error("indefinite length")]
    IndefiniteLength,
    /// A length written with more octets than needed, which DER forbids.
    #[error("non-minimal length")]
    NonMinimalLength,
    /// Another element was expected here.
    #[error("tags don't match ({expected:#04x} vs {found:#04x})")]
    UnexpectedTag {
        /// The identifier octet that belongs here.
        expected: u8,
        /// The identifier octet that stands here.
        found: u8,
    },
    /// Not a BOOLEAN of one octet.
    #[error("invalid boolean")]
    InvalidBoolean,
    /// An INTEGER without content, or out of the range of its field.
    #[error("invalid integer")]
    InvalidInteger,
    /// An object identifier that does not decode.
    #[error("invalid object identifier")]
    InvalidOid,
    /// A BIT STRING without its count of unused bits, or with an impossible one.
    #[error("invalid bit string")]
    InvalidBitString,
    /// Not a UTCTime or GeneralizedTime in the years 1 to 9999.
    #[error("invalid time")]
    InvalidTime,
    /// A string that does not fit its type.
    #[error("invalid string")]
    InvalidString,
    /// A version that the structure does not have.
    #[error("unsupported version")]
    UnsupportedVersion,
    /// A list that must hold something is empty.
    #[error("empty list")]
    EmptyList,
    /// The content is of a type that is not read here.
    #[error("unsupported content type")]
    UnsupportedContentType,
    /// A nonce whose length RFC 9654 does not allow (1 to 128 octets).
    #[error("invalid nonce length")]
    InvalidNonce,
    /// A critical extension that is not understood here.
    #[error("unknown critical extension")]
    UnknownCriticalExtension,
    /// More bytes, or more entries, than the reader accepts.
    #[error("too large")]
    TooLarge,
}

/// Bytes that are not the structure they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {structure}: {malformation}")]
pub struct ParseError {
    /// What was being read.
    pub structure: Structure,
    /// What was wrong with it.
    pub malformation: Malformation,
}

impl Malformation {
    /// Says in which structure this was found.
    pub(crate) fn within(self, structure: Structure) -> ParseError {
        ParseError {
            structure,
            malformation: self,
        }
    }
}
