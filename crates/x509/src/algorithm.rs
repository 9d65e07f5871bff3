//! `AlgorithmIdentifier` (RFC 5280 §4.1.1.2) as found in what others made.

use bytes::Bytes;
use lamassu_crypto::{SchemeError, SignatureScheme};

use crate::error::Malformation;
use crate::tlv::{OBJECT_IDENTIFIER, Reader, SEQUENCE, oid_value};

/// An algorithm identifier, as DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmIdentifier(Bytes);

/// Why a signature's algorithm cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// The algorithm's object identifier does not decode.
    #[error("the signature algorithm is malformed")]
    Malformed,
    /// The algorithm is not supported.
    #[error("the signature algorithm is not supported")]
    Unsupported(#[source] SchemeError),
    /// The scheme has no algorithm identifier.
    #[error("the signature scheme cannot be encoded")]
    Encoding,
}

impl AlgorithmIdentifier {
    pub(crate) fn read(source: &Bytes, reader: &mut Reader<'_>) -> Result<Self, Malformation> {
        let tlv = reader.expect(SEQUENCE)?;
        Ok(Self(source.slice_ref(tlv.raw)))
    }

    /// The identifier of a scheme.
    ///
    /// # Errors
    ///
    /// [`AlgorithmError::Encoding`] when the scheme has none.
    pub(crate) fn of_scheme(scheme: SignatureScheme) -> Result<Self, AlgorithmError> {
        scheme
            .to_algorithm_identifier_der()
            .map(|der| Self(der.into()))
            .map_err(|_| AlgorithmError::Encoding)
    }

    /// The DER.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// The signature scheme that this names.
    ///
    /// # Errors
    ///
    /// [`AlgorithmError`] when it names none that is supported.
    pub fn signature_scheme(&self) -> Result<SignatureScheme, AlgorithmError> {
        let (oid, parameters) = self.parts().map_err(|_| AlgorithmError::Malformed)?;
        let oid = oid_value(oid).map_err(|_| AlgorithmError::Malformed)?;
        SignatureScheme::from_algorithm_identifier(oid, parameters)
            .map_err(AlgorithmError::Unsupported)
    }

    /// The content of the object identifier, and the parameters' DER.
    pub(crate) fn parts(&self) -> Result<(&[u8], Option<&[u8]>), Malformation> {
        let mut reader = Reader::new(&self.0).sequence()?;
        let oid = reader.expect(OBJECT_IDENTIFIER)?.value;
        if reader.is_empty() {
            return Ok((oid, None));
        }
        let parameters = reader.any()?.raw;
        reader.finish()?;
        Ok((oid, Some(parameters)))
    }
}
