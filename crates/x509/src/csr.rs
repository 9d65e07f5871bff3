//! Certification requests (RFC 2986, PKCS#10).
//!
//! [`CertificationRequest`] reads, [`VerifiedCsr`] is the proof that its sender holds the
//! key (or the record that a policy waived it) and the only thing that issuing accepts, and
//! [`RequestTemplate`] makes requests. Next: `csr/verified.rs`, `csr/build.rs`.

mod build;
mod verified;

pub use build::RequestTemplate;
pub use verified::{Possession, VerifiedCsr, VerifyCsrError};

use bytes::Bytes;

use crate::algorithm::AlgorithmIdentifier;
use crate::error::{Malformation, ParseError, Structure};
use crate::extensions::Extensions;
use crate::name::Name;
use crate::oids;
use crate::signed::Signed;
use crate::tlv::{
    BMP_STRING, IA5_STRING, INTEGER, PRINTABLE_STRING, Reader, SEQUENCE, SET, TELETEX_STRING, Tlv,
    UNIVERSAL_STRING, UTF8_STRING, context_constructed,
};

/// A certification request and its DER. Its signature has not been looked at.
#[derive(Debug, Clone)]
pub struct CertificationRequest {
    der: Bytes,
    signed: Signed,
    subject: Name,
    spki: Bytes,
    extensions: Extensions,
    challenge_password: Option<Bytes>,
    key_delivery: KeyDelivery,
}

/// How a device that lets its key be made elsewhere wants to get it (RFC 7030 §4.4.1). The values
/// are octets of the attributes' first values; capabilities are read when somebody needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyDelivery {
    /// The identifier of a symmetric key to encrypt with (`DecryptKeyIdentifier`).
    pub decrypt_key_identifier: Option<Bytes>,
    /// The identifier of the public key to encrypt for (`AsymmetricDecryptKeyIdentifier`).
    pub asymmetric_decrypt_key_identifier: Option<Bytes>,
    /// What the device can open, DER of `SMIMECapabilities`.
    pub capabilities: Option<Bytes>,
}

impl CertificationRequest {
    /// Longest request that is read, in bytes.
    pub const MAX_LEN: usize = 1 << 18;

    /// Reads the DER of one request.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the bytes are not exactly one request, or more than
    /// [`CertificationRequest::MAX_LEN`].
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse(der.into())
            .map_err(|malformation| malformation.within(Structure::CertificationRequest))
    }

    fn parse(der: Bytes) -> Result<Self, Malformation> {
        if der.len() > Self::MAX_LEN {
            return Err(Malformation::TooLarge);
        }
        let signed = Signed::parse(&der)?;
        let mut info = Reader::new(&signed.tbs).sequence()?;
        // Some clients write version 2 (1) or 3 (2); nothing depends on it.
        info.expect(INTEGER)?;
        let subject = Name::parse(der.slice_ref(info.expect(SEQUENCE)?.raw))?;
        let spki = der.slice_ref(info.expect(SEQUENCE)?.raw);
        // The attributes are mandatory, perhaps empty; some clients leave them out.
        let attributes = match info.optional(context_constructed(0))? {
            Some(attributes) => Attributes::read(&der, attributes.reader())?,
            None => Attributes::default(),
        };
        info.finish()?;
        Ok(Self {
            der,
            signed,
            subject,
            spki,
            extensions: attributes.extensions,
            challenge_password: attributes.challenge_password,
            key_delivery: attributes.key_delivery,
        })
    }

    /// The DER as it was read.
    pub fn as_der(&self) -> &Bytes {
        &self.der
    }

    /// What is asked for, without the signature: the DER of `CertificationRequestInfo`. Requests that
    /// differ in their signature alone have it in common.
    pub fn info_der(&self) -> &Bytes {
        &self.signed.tbs
    }

    /// The requested subject.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &Bytes {
        &self.spki
    }

    /// The requested extensions, from all `extensionRequest` attributes, Microsoft's included.
    pub fn requested_extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The challenge password, as text octets whatever their string type.
    pub fn challenge_password(&self) -> Option<&Bytes> {
        self.challenge_password.as_ref()
    }

    /// How the device wants to get a key that is made for it.
    pub fn key_delivery(&self) -> &KeyDelivery {
        &self.key_delivery
    }

    /// How the request was signed.
    pub fn signature_algorithm(&self) -> &AlgorithmIdentifier {
        &self.signed.algorithm
    }

    pub(crate) fn signed(&self) -> &Signed {
        &self.signed
    }
}

/// The attributes of a request that matter here.
#[derive(Default)]
struct Attributes {
    extensions: Extensions,
    challenge_password: Option<Bytes>,
    key_delivery: KeyDelivery,
}

impl Attributes {
    /// Reads the elements of `SET OF SEQUENCE { type, SET OF value }`.
    fn read(source: &Bytes, mut list: Reader<'_>) -> Result<Self, Malformation> {
        let mut attributes = Self::default();
        while !list.is_empty() {
            let mut attribute = list.sequence()?;
            let oid = attribute.oid()?;
            let mut values = attribute.expect(SET)?.reader();
            attribute.finish()?;
            if oid == oids::EXTENSION_REQUEST.as_bytes()
                || oid == oids::MICROSOFT_EXTENSION_REQUEST.as_bytes()
            {
                attributes.add_extensions(source, &mut values)?;
            } else if oid == oids::CHALLENGE_PASSWORD.as_bytes() {
                attributes.challenge_password = text(source, &mut values)?;
            } else {
                attributes.add_key_delivery(source, oid, &mut values)?;
            }
        }
        Ok(attributes)
    }

    fn add_key_delivery(
        &mut self,
        source: &Bytes,
        oid: &[u8],
        values: &mut Reader<'_>,
    ) -> Result<(), Malformation> {
        let wish = &mut self.key_delivery;
        if oid == oids::DECRYPT_KEY_IDENTIFIER.as_bytes() {
            wish.decrypt_key_identifier = first(values)?.map(|tlv| source.slice_ref(tlv.value));
        } else if oid == oids::ASYMMETRIC_DECRYPT_KEY_IDENTIFIER.as_bytes() {
            let identifier = first(values)?.map(|tlv| source.slice_ref(tlv.value));
            wish.asymmetric_decrypt_key_identifier = identifier;
        } else if oid == oids::SMIME_CAPABILITIES.as_bytes() {
            wish.capabilities = first(values)?.map(|tlv| source.slice_ref(tlv.raw));
        }
        Ok(())
    }

    fn add_extensions(
        &mut self,
        source: &Bytes,
        values: &mut Reader<'_>,
    ) -> Result<(), Malformation> {
        while !values.is_empty() {
            for extension in &Extensions::read(source, values.sequence()?)? {
                self.extensions.push(extension.clone());
            }
        }
        Ok(())
    }
}

/// The first value, if there is one.
fn first<'a>(values: &mut Reader<'a>) -> Result<Option<Tlv<'a>>, Malformation> {
    if values.is_empty() {
        Ok(None)
    } else {
        values.any().map(Some)
    }
}

/// The first value, if it is a string.
fn text(source: &Bytes, values: &mut Reader<'_>) -> Result<Option<Bytes>, Malformation> {
    let Some(value) = first(values)? else {
        return Ok(None);
    };
    let is_text = matches!(
        value.tag,
        UTF8_STRING
            | PRINTABLE_STRING
            | IA5_STRING
            | TELETEX_STRING
            | BMP_STRING
            | UNIVERSAL_STRING
    );
    Ok(is_text.then(|| source.slice_ref(value.value)))
}
