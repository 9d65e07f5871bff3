//! Reading OCSP requests.

use bytes::Bytes;
use lamassu_crypto::SignatureScheme;

use super::CertId;
use crate::algorithm::AlgorithmIdentifier;
use crate::error::{Malformation, ParseError, Structure};
use crate::extensions::Extensions;
use crate::oids;
use crate::tlv::{Reader, context_constructed, unsigned};

/// Most preferred algorithms that are read.
const MAX_PREFERRED: usize = 16;

/// An OCSP request. A signature on it is tolerated and not looked at, as is the requestor's
/// name.
#[derive(Debug, Clone)]
pub struct OcspRequest {
    requests: Vec<SingleRequest>,
    nonce: Option<Bytes>,
    preferred_schemes: Vec<SignatureScheme>,
    extensions: Extensions,
}

/// One question.
#[derive(Debug, Clone)]
pub struct SingleRequest {
    /// Which certificate is asked about.
    pub cert_id: CertId,
    /// Extensions of this question alone.
    pub extensions: Extensions,
}

impl OcspRequest {
    /// Longest request that is read, in bytes.
    pub const MAX_LEN: usize = 1 << 16;

    /// Most questions that one request may hold.
    pub const MAX_REQUESTS: usize = 20;

    /// Reads the DER of one request.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the bytes are not exactly one request of version 1, it asks nothing
    /// or more than [`OcspRequest::MAX_REQUESTS`] questions, its nonce has a length that
    /// RFC 9654 forbids, or it has a critical extension that is not known here.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse(&der.into()).map_err(|malformation| malformation.within(Structure::OcspRequest))
    }

    /// `SEQUENCE { tbsRequest, [0] optionalSignature OPTIONAL }`
    fn parse(der: &Bytes) -> Result<Self, Malformation> {
        if der.len() > Self::MAX_LEN {
            return Err(Malformation::TooLarge);
        }
        let mut outer = Reader::new(der);
        let mut request = outer.sequence()?;
        outer.finish()?;
        let tbs = request.sequence()?;
        request.optional(context_constructed(0))?;
        request.finish()?;
        Self::read_tbs(der, tbs)
    }

    /// `SEQUENCE { [0] version DEFAULT v1, [1] requestorName OPTIONAL, requestList,
    /// [2] requestExtensions OPTIONAL }`
    fn read_tbs(source: &Bytes, mut tbs: Reader<'_>) -> Result<Self, Malformation> {
        if let Some(version) = tbs.optional(context_constructed(0))?
            && unsigned(version.reader().integer()?)? != 0
        {
            return Err(Malformation::UnsupportedVersion);
        }
        tbs.optional(context_constructed(1))?;
        let requests = read_requests(source, tbs.sequence()?)?;
        let extensions = Extensions::read_explicit(source, &mut tbs, context_constructed(2))?;
        tbs.finish()?;
        refuse_unknown_critical(&extensions)?;
        Ok(Self {
            requests,
            nonce: super::nonce(&extensions)?,
            preferred_schemes: preferred_schemes(&extensions),
            extensions,
        })
    }

    /// How the client likes the answer to be signed, what it likes best first (RFC 6960 §4.4.7);
    /// algorithms that are not supported are left out.
    pub fn preferred_schemes(&self) -> &[SignatureScheme] {
        &self.preferred_schemes
    }

    /// The questions in order; at least one.
    pub fn requests(&self) -> &[SingleRequest] {
        &self.requests
    }

    /// The value of the nonce extension, to be echoed as it is.
    pub fn nonce(&self) -> Option<&Bytes> {
        self.nonce.as_ref()
    }

    /// The extensions of the whole request.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether the client takes a basic response: it says so, or says nothing (RFC 6960
    /// §4.4.3).
    pub fn accepts_basic_response(&self) -> bool {
        let Some(extension) = self.extensions.find(&oids::PKIX_OCSP_RESPONSE) else {
            return true;
        };
        let Ok(mut types) = Reader::new(extension.value()).sequence() else {
            return true;
        };
        std::iter::from_fn(|| types.oid().ok()).any(|oid| oid == oids::PKIX_OCSP_BASIC.as_bytes())
    }
}

/// `SEQUENCE OF SEQUENCE { reqCert, [0] singleRequestExtensions OPTIONAL }`
fn read_requests(source: &Bytes, mut list: Reader<'_>) -> Result<Vec<SingleRequest>, Malformation> {
    let mut requests = Vec::new();
    while !list.is_empty() {
        if requests.len() == OcspRequest::MAX_REQUESTS {
            return Err(Malformation::TooLarge);
        }
        let mut request = list.sequence()?;
        let cert_id = CertId::read(source, &mut request)?;
        let extensions = Extensions::read_explicit(source, &mut request, context_constructed(0))?;
        request.finish()?;
        refuse_unknown_critical(&extensions)?;
        requests.push(SingleRequest {
            cert_id,
            extensions,
        });
    }
    if requests.is_empty() {
        return Err(Malformation::EmptyList);
    }
    Ok(requests)
}

/// `SEQUENCE OF SEQUENCE { sigIdentifier AlgorithmIdentifier, pubKeyAlgIdentifier OPTIONAL }`; what does
/// not decode is no wish.
fn preferred_schemes(extensions: &Extensions) -> Vec<SignatureScheme> {
    let Some(extension) = extensions.find(&oids::PKIX_OCSP_PREF_SIG_ALGS) else {
        return Vec::new();
    };
    let source = extension.value();
    let Ok(mut list) = Reader::new(source).sequence() else {
        return Vec::new();
    };
    std::iter::from_fn(|| list.sequence().ok())
        .take(MAX_PREFERRED)
        .filter_map(|mut preferred| AlgorithmIdentifier::read(source, &mut preferred).ok())
        .filter_map(|algorithm| algorithm.signature_scheme().ok())
        .collect()
}

fn refuse_unknown_critical(extensions: &Extensions) -> Result<(), Malformation> {
    let known = [
        oids::PKIX_OCSP_NONCE,
        oids::PKIX_OCSP_RESPONSE,
        oids::PKIX_OCSP_SERVICE_LOCATOR,
        oids::PKIX_OCSP_PREF_SIG_ALGS,
    ];
    let has_unknown = extensions
        .iter()
        .any(|extension| extension.is_critical() && !known.iter().any(|oid| extension.is(oid)));
    if has_unknown {
        Err(Malformation::UnknownCriticalExtension)
    } else {
        Ok(())
    }
}
