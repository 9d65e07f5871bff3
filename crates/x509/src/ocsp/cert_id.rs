//! `CertID`: which certificate a request asks about.

use bytes::Bytes;
use lamassu_crypto::HashAlgorithm;

use crate::algorithm::AlgorithmIdentifier;
use crate::certificate::TbsCertificate;
use crate::error::{Malformation, ParseError, Structure};
use crate::oids;
use crate::serial::Serial;
use crate::tlv::{INTEGER, NULL, OCTET_STRING, Reader, SEQUENCE, sequence_of};

/// The hash functions that issuers are named by, and their identifiers.
const HASHES: [(HashAlgorithm, const_oid::ObjectIdentifier); 4] = [
    (HashAlgorithm::Sha1, oids::SHA1),
    (HashAlgorithm::Sha256, oids::SHA256),
    (HashAlgorithm::Sha384, oids::SHA384),
    (HashAlgorithm::Sha512, oids::SHA512),
];

/// A `CertID` (RFC 6960 §4.1.1), as DER. Equality is equality of bytes, so the same
/// certificate has several: by hash function, and with NULL or absent parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertId {
    der: Bytes,
    issuer: Option<IssuerKey>,
    serial: Serial,
}

/// An issuer as a `CertID` names it: what a responder looks it up by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IssuerKey {
    /// The function that gave the two hashes.
    pub hash_algorithm: HashAlgorithm,
    /// Hash of the DER of the issuer's subject.
    pub issuer_name_hash: Bytes,
    /// Hash of the bits of the issuer's public key, without tag, length and unused bits.
    pub issuer_key_hash: Bytes,
}

impl CertId {
    /// The identifier of the certificate with this number from this issuer, with NULL
    /// parameters, as most clients write it.
    pub fn new(issuer: &IssuerKey, serial: &Serial) -> Self {
        let oid = HASHES
            .iter()
            .find(|(hash, _)| *hash == issuer.hash_algorithm)
            .map_or(oids::SHA1, |(_, oid)| *oid);
        let der = sequence_of(|out| {
            out.sequence(|algorithm| {
                algorithm.oid(&oid).element(NULL, &[]);
            })
            .octet_string(&issuer.issuer_name_hash)
            .octet_string(&issuer.issuer_key_hash)
            .element(INTEGER, serial.as_bytes());
        });
        Self {
            der: der.into(),
            issuer: Some(issuer.clone()),
            serial: serial.clone(),
        }
    }

    /// `SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }`
    pub(super) fn read(source: &Bytes, reader: &mut Reader<'_>) -> Result<Self, Malformation> {
        let tlv = reader.expect(SEQUENCE)?;
        let mut fields = tlv.reader();
        let algorithm = AlgorithmIdentifier::read(source, &mut fields)?;
        let issuer_name_hash = source.slice_ref(fields.expect(OCTET_STRING)?.value);
        let issuer_key_hash = source.slice_ref(fields.expect(OCTET_STRING)?.value);
        let serial = Serial::from_integer_content(source.slice_ref(fields.integer()?));
        fields.finish()?;
        let (oid, _) = algorithm.parts()?;
        let issuer = HASHES
            .iter()
            .find(|(_, known)| known.as_bytes() == oid)
            .map(|(hash_algorithm, _)| IssuerKey {
                hash_algorithm: *hash_algorithm,
                issuer_name_hash,
                issuer_key_hash,
            });
        Ok(Self {
            der: source.slice_ref(tlv.raw),
            issuer,
            serial,
        })
    }

    /// The DER as the client wrote it.
    pub fn as_der(&self) -> &Bytes {
        &self.der
    }

    /// The issuer; `None` when it is named by a hash function that is not supported, which
    /// answers like an issuer that is not known.
    pub fn issuer(&self) -> Option<&IssuerKey> {
        self.issuer.as_ref()
    }

    /// The serial number.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }
}

/// The names of an issuer under every supported hash function (SHA-1, SHA-256, SHA-384,
/// SHA-512). Costs eight digests: compute it once for each CA.
///
/// # Errors
///
/// [`ParseError`] when the SubjectPublicKeyInfo of the certificate does not decode.
pub fn issuer_keys(issuer: &TbsCertificate) -> Result<[IssuerKey; 4], ParseError> {
    let name = issuer.subject().as_der();
    let bits = public_key_bits(issuer.spki_der())
        .map_err(|malformation| malformation.within(Structure::Certificate))?;
    Ok(HASHES.map(|(hash_algorithm, _)| IssuerKey {
        hash_algorithm,
        issuer_name_hash: hash_algorithm.digest(name).into(),
        issuer_key_hash: hash_algorithm.digest(bits).into(),
    }))
}

/// The bits of `SEQUENCE { algorithm, subjectPublicKey BIT STRING }`.
pub(super) fn public_key_bits(spki: &[u8]) -> Result<&[u8], Malformation> {
    let mut reader = Reader::new(spki).sequence()?;
    reader.expect(SEQUENCE)?;
    let bits = reader.bit_string()?;
    reader.finish()?;
    Ok(bits)
}
