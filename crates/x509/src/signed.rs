//! `SEQUENCE { what is signed, AlgorithmIdentifier, BIT STRING }`: the frame that
//! certificates, requests, CRLs and OCSP responses share.
//!
//! Signing happens elsewhere, in a key management service, and takes its time. So what we
//! make comes in two steps: a builder hands out a [`ToBeSigned`], the caller gets its bytes
//! signed, and [`ToBeSigned::assemble`] consumes it.

use bytes::Bytes;
use lamassu_crypto::{Message, PublicKey, SignatureScheme, VerifyError};

use crate::algorithm::{AlgorithmError, AlgorithmIdentifier};
use crate::error::Malformation;
use crate::tlv::{Framed, Reader, SEQUENCE, Writer, header_len};

/// Why a signature was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The algorithm is not usable.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// The key that made the signature is not usable.
    #[error("the public key is not supported")]
    Key(#[source] lamassu_crypto::KeyError),
    /// The signature does not belong to these bytes and this key.
    #[error("the signature does not verify")]
    Mismatch(#[source] VerifyError),
}

/// The three parts of something signed, undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    /// The DER that the signature is over.
    pub(crate) tbs: Bytes,
    /// How it was signed.
    pub(crate) algorithm: AlgorithmIdentifier,
    /// The signature's octets.
    pub(crate) signature: Bytes,
}

impl Signed {
    /// Reads the frame as the whole of `der`.
    pub(crate) fn parse(der: &Bytes) -> Result<Self, Malformation> {
        let mut outer = Reader::new(der);
        let mut reader = outer.sequence()?;
        outer.finish()?;
        let signed = Self::read_parts(der, &mut reader)?;
        reader.finish()?;
        Ok(signed)
    }

    /// Reads the three parts from inside their SEQUENCE.
    pub(crate) fn read_parts(
        source: &Bytes,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Malformation> {
        let tbs = source.slice_ref(reader.expect(SEQUENCE)?.raw);
        let algorithm = AlgorithmIdentifier::read(source, reader)?;
        let signature = source.slice_ref(reader.bit_string()?);
        Ok(Self {
            tbs,
            algorithm,
            signature,
        })
    }

    /// Checks the signature with this key.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let scheme = self.algorithm.signature_scheme()?;
        key.verify(scheme, Message::Raw(&self.tbs), &self.signature)
            .map_err(SignatureError::Mismatch)
    }
}

/// Finished bytes that wait for their signature.
///
/// Only builders make one, and assembling consumes it, so one decision to sign gives one
/// signed object.
#[derive(Debug)]
#[must_use = "without a signature this is nothing"]
pub struct ToBeSigned {
    body: Body,
    scheme: SignatureScheme,
    algorithm: AlgorithmIdentifier,
}

/// What is signed.
#[derive(Debug)]
enum Body {
    /// To be copied into its frame.
    Alone(Bytes),
    /// Large, with room for the frame around it.
    Framed(Framed),
}

impl ToBeSigned {
    /// `der` is the finished part, whose own `signature` field (if it has one) is `algorithm`.
    pub(crate) fn new(
        der: impl Into<Bytes>,
        scheme: SignatureScheme,
        algorithm: AlgorithmIdentifier,
    ) -> Self {
        Self {
            body: Body::Alone(der.into()),
            scheme,
            algorithm,
        }
    }

    /// The same for what is large: it is not copied any more.
    pub(crate) fn framed(
        der: Framed,
        scheme: SignatureScheme,
        algorithm: AlgorithmIdentifier,
    ) -> Self {
        Self {
            body: Body::Framed(der),
            scheme,
            algorithm,
        }
    }

    /// The message to sign: give these bytes to the key, or their digest by the scheme's hash.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.body {
            Body::Alone(der) => der,
            Body::Framed(der) => der.as_slice(),
        }
    }

    /// How the bytes must be signed; their own `signature` field says the same.
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// The DER of the signed object. `signature` is what goes into the BIT STRING: for ECDSA
    /// the DER of `ECDSA-Sig-Value`.
    pub fn assemble(self, signature: &[u8]) -> Bytes {
        let algorithm = self.algorithm.as_der();
        let bit_string_len = signature.len().saturating_add(1);
        let content_len = [
            self.as_bytes().len(),
            algorithm.len(),
            header_len(bit_string_len),
            bit_string_len,
        ]
        .into_iter()
        .fold(0_usize, usize::saturating_add);
        match self.body {
            Body::Alone(der) => {
                let total_len = header_len(content_len).saturating_add(content_len);
                let mut out = Writer::with_capacity(total_len);
                out.header(SEQUENCE, content_len)
                    .raw(&der)
                    .raw(algorithm)
                    .bit_string(signature);
                out.into_vec().into()
            }
            Body::Framed(mut der) => {
                der.append(|out| {
                    out.raw(algorithm).bit_string(signature);
                });
                let mut header = Writer::new();
                header.header(SEQUENCE, content_len);
                der.prepend(&header.into_vec());
                der.into_bytes()
            }
        }
    }

    /// As [`ToBeSigned::assemble`], after checking the signature: a key that a device or
    /// service mixed up must not reach a relying party.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Mismatch`] when `key` did not make the signature.
    pub fn assemble_verified(
        self,
        signature: &[u8],
        key: &PublicKey,
    ) -> Result<Bytes, SignatureError> {
        key.verify(self.scheme, Message::Raw(self.as_bytes()), signature)
            .map_err(SignatureError::Mismatch)?;
        Ok(self.assemble(signature))
    }
}
