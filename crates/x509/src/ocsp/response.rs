//! Reading OCSP responses.

use bytes::Bytes;
use lamassu_crypto::{PublicKey, SignatureScheme};
use time::OffsetDateTime;

use super::{CertId, CertStatus, OcspResponseStatus, ResponderId};
use crate::algorithm::AlgorithmError;
use crate::certificate::Certificate;
use crate::crl::CrlReason;
use crate::datetime::read_time;
use crate::error::{Malformation, ParseError, Structure};
use crate::extensions::Extensions;
use crate::name::Name;
use crate::oids;
use crate::signed::{SignatureError, Signed};
use crate::tlv::{ENUMERATED, OCTET_STRING, Reader, SEQUENCE, Tlv, context, context_constructed};

/// An OCSP response.
#[derive(Debug, Clone)]
pub struct OcspResponse {
    /// How the request fared.
    pub status: OcspResponseStatus,
    /// The signed part of a successful response.
    pub basic: Option<ReadBasicResponse>,
}

/// The signed part of a response. Its signature has not been looked at.
#[derive(Debug, Clone)]
pub struct ReadBasicResponse {
    signed: Signed,
    /// Who answers.
    pub responder_id: ResponderId,
    /// When the answer was made.
    pub produced_at: OffsetDateTime,
    /// The answers in order.
    pub responses: Vec<ReadSingleResponse>,
    /// The value of the nonce extension.
    pub nonce: Option<Bytes>,
    /// DER of the certificates that came along.
    pub certificates: Vec<Bytes>,
}

/// The answer about one certificate.
#[derive(Debug, Clone)]
pub struct ReadSingleResponse {
    /// The certificate.
    pub cert_id: CertId,
    /// Its status.
    pub status: CertStatus,
    /// When the status was true.
    pub this_update: OffsetDateTime,
    /// When to ask again.
    pub next_update: Option<OffsetDateTime>,
    /// Extensions of this answer.
    pub extensions: Extensions,
}

impl OcspResponse {
    /// Longest response that is read, in bytes.
    pub const MAX_LEN: usize = 1 << 20;

    /// Reads the DER of one response.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the bytes are not exactly one response, or a successful one is not
    /// a basic response.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse(&der.into())
            .map_err(|malformation| malformation.within(Structure::OcspResponse))
    }

    fn parse(der: &Bytes) -> Result<Self, Malformation> {
        if der.len() > Self::MAX_LEN {
            return Err(Malformation::TooLarge);
        }
        let mut outer = Reader::new(der);
        let mut response = outer.sequence()?;
        outer.finish()?;
        let status = match response.expect(ENUMERATED)?.value {
            [code] => OcspResponseStatus::from_code(*code).ok_or(Malformation::InvalidInteger)?,
            _ => return Err(Malformation::InvalidInteger),
        };
        let basic = match response.optional(context_constructed(0))? {
            Some(explicit) => Some(ReadBasicResponse::read_bytes(der, explicit)?),
            None => None,
        };
        response.finish()?;
        Ok(Self { status, basic })
    }
}

impl ReadBasicResponse {
    /// `[0] SEQUENCE { responseType, response OCTET STRING }`
    fn read_bytes(source: &Bytes, explicit: Tlv<'_>) -> Result<Self, Malformation> {
        let mut explicit = explicit.reader();
        let mut response_bytes = explicit.sequence()?;
        explicit.finish()?;
        if response_bytes.oid()? != oids::PKIX_OCSP_BASIC.as_bytes() {
            return Err(Malformation::UnsupportedContentType);
        }
        let basic = source.slice_ref(response_bytes.expect(OCTET_STRING)?.value);
        response_bytes.finish()?;
        Self::read(&basic)
    }

    fn read(der: &Bytes) -> Result<Self, Malformation> {
        let mut outer = Reader::new(der);
        let mut frame = outer.sequence()?;
        outer.finish()?;
        let signed = Signed::read_parts(der, &mut frame)?;
        let certificates = read_certificates(der, &mut frame)?;
        frame.finish()?;
        let mut data = Reader::new(&signed.tbs).sequence()?;
        data.optional(context_constructed(0))?;
        let responder_id = read_responder_id(der, data.any()?)?;
        let produced_at = read_time(&mut data)?;
        let mut list = data.sequence()?;
        let mut responses = Vec::new();
        while !list.is_empty() {
            responses.push(ReadSingleResponse::read(der, &mut list)?);
        }
        let extensions = Extensions::read_explicit(der, &mut data, context_constructed(1))?;
        data.finish()?;
        Ok(Self {
            signed,
            responder_id,
            produced_at,
            responses,
            nonce: super::nonce(&extensions)?,
            certificates,
        })
    }

    /// Checks the signature with the responder's key. Whether that key may answer for the
    /// issuer, and whether the answer is recent, is for the caller to see.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when the algorithm is not supported or the key did not sign.
    pub fn verify_signed_by(&self, key: &PublicKey) -> Result<(), SignatureError> {
        self.signed.verify(key)
    }

    /// How it is signed.
    ///
    /// # Errors
    ///
    /// [`AlgorithmError`] when the algorithm is not supported.
    pub fn signature_scheme(&self) -> Result<SignatureScheme, AlgorithmError> {
        self.signed.algorithm.signature_scheme()
    }

    /// The certificates that came along, decoded.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when one does not decode.
    pub fn certificates(&self) -> Result<Vec<Certificate>, ParseError> {
        self.certificates
            .iter()
            .cloned()
            .map(Certificate::from_der)
            .collect()
    }
}

/// `[0] EXPLICIT SEQUENCE OF Certificate OPTIONAL`
fn read_certificates(source: &Bytes, frame: &mut Reader<'_>) -> Result<Vec<Bytes>, Malformation> {
    let Some(explicit) = frame.optional(context_constructed(0))? else {
        return Ok(Vec::new());
    };
    let mut list = explicit.reader().sequence()?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        certificates.push(source.slice_ref(list.expect(SEQUENCE)?.raw));
    }
    Ok(certificates)
}

fn read_responder_id(source: &Bytes, tlv: Tlv<'_>) -> Result<ResponderId, Malformation> {
    const BY_NAME: u8 = context_constructed(1);
    const BY_KEY: u8 = context_constructed(2);
    match tlv.tag {
        BY_NAME => Name::parse(source.slice_ref(tlv.value)).map(ResponderId::ByName),
        BY_KEY => {
            let hash = tlv.reader().expect(OCTET_STRING)?.value;
            Ok(ResponderId::ByKey(source.slice_ref(hash)))
        }
        found => Err(Malformation::UnexpectedTag {
            expected: BY_NAME,
            found,
        }),
    }
}

impl ReadSingleResponse {
    fn read(source: &Bytes, list: &mut Reader<'_>) -> Result<Self, Malformation> {
        let mut response = list.sequence()?;
        let cert_id = CertId::read(source, &mut response)?;
        let status = read_status(response.any()?)?;
        let this_update = read_time(&mut response)?;
        let next_update = response
            .optional(context_constructed(0))?
            .map(|explicit| read_time(&mut explicit.reader()))
            .transpose()?;
        let extensions = Extensions::read_explicit(source, &mut response, context_constructed(1))?;
        response.finish()?;
        Ok(Self {
            cert_id,
            status,
            this_update,
            next_update,
            extensions,
        })
    }
}

fn read_status(tlv: Tlv<'_>) -> Result<CertStatus, Malformation> {
    const GOOD: u8 = context(0);
    const REVOKED: u8 = context_constructed(1);
    const UNKNOWN: u8 = context(2);
    match tlv.tag {
        GOOD => Ok(CertStatus::Good),
        UNKNOWN => Ok(CertStatus::Unknown),
        REVOKED => {
            let mut revoked = tlv.reader();
            let revocation_time = read_time(&mut revoked)?;
            let reason = match revoked.optional(context_constructed(0))? {
                Some(explicit) => read_reason(explicit)?,
                None => CrlReason::Unspecified,
            };
            revoked.finish()?;
            Ok(CertStatus::Revoked {
                revocation_time,
                reason,
            })
        }
        found => Err(Malformation::UnexpectedTag {
            expected: GOOD,
            found,
        }),
    }
}

fn read_reason(explicit: Tlv<'_>) -> Result<CrlReason, Malformation> {
    match explicit.reader().expect(ENUMERATED)?.value {
        [code] => Ok(CrlReason::from_code(*code).unwrap_or_default()),
        _ => Err(Malformation::InvalidInteger),
    }
}
