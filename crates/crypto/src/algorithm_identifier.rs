//! Signature schemes as the AlgorithmIdentifier of certificates, requests and CRLs.
//!
//! ```text
//! AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
//! ```
//!
//! What is written follows RFC 4055 (RSA: NULL parameters), RFC 5758 (ECDSA: none), RFC 8410 and
//! RFC 9881 (none). What is read is lenient where both forms occur in the field: NULL and absent
//! parameters are the same.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_224, ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_MGF_1,
    ID_RSASSA_PSS, ID_SHA_1, ID_SHA_224, ID_SHA_256, ID_SHA_384, ID_SHA_512,
    SHA_1_WITH_RSA_ENCRYPTION, SHA_224_WITH_RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION,
    SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{Any, Null};
use der::{Decode, Encode, Sequence};
use spki::AlgorithmIdentifierOwned;

use crate::error::SchemeError;
use crate::hash::HashAlgorithm;
use crate::scheme::{RsaPssParams, SignatureScheme};

const ECDSA_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
pub(crate) const ID_ML_DSA_44: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
pub(crate) const ID_ML_DSA_65: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
pub(crate) const ID_ML_DSA_87: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

const NULL_DER: &[u8] = &[0x05, 0x00];

impl SignatureScheme {
    /// The scheme that `oid` and the DER of its parameters name.
    ///
    /// PSS parameters equal to those of [`RsaPss`](Self::RsaPss) give that variant, all others
    /// [`RsaPssWith`](Self::RsaPssWith).
    ///
    /// # Errors
    ///
    /// [`SchemeError::Unknown`] for another algorithm, [`SchemeError::Parameters`] for parameters
    /// that do not belong to it.
    pub fn from_algorithm_identifier(
        oid: ObjectIdentifier,
        params_der: Option<&[u8]>,
    ) -> Result<Self, SchemeError> {
        if oid == ID_RSASSA_PSS {
            return pss_from_der(params_der.unwrap_or_default())
                .map_err(|_| SchemeError::Parameters(oid));
        }
        let scheme = Self::without_parameters()
            .find(|scheme| scheme.oid() == oid)
            .ok_or(SchemeError::Unknown(oid))?;
        match params_der {
            None | Some(NULL_DER) => Ok(scheme),
            Some(_) => Err(SchemeError::Parameters(oid)),
        }
    }

    /// The algorithm's OID.
    #[must_use]
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::RsaPkcs1(HashAlgorithm::Sha1) => SHA_1_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1(HashAlgorithm::Sha224) => SHA_224_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1(HashAlgorithm::Sha256) => SHA_256_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1(HashAlgorithm::Sha384) => SHA_384_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1(HashAlgorithm::Sha512) => SHA_512_WITH_RSA_ENCRYPTION,
            Self::RsaPss(_) | Self::RsaPssWith(_) => ID_RSASSA_PSS,
            Self::Ecdsa(HashAlgorithm::Sha1) => ECDSA_WITH_SHA_1,
            Self::Ecdsa(HashAlgorithm::Sha224) => ECDSA_WITH_SHA_224,
            Self::Ecdsa(HashAlgorithm::Sha256) => ECDSA_WITH_SHA_256,
            Self::Ecdsa(HashAlgorithm::Sha384) => ECDSA_WITH_SHA_384,
            Self::Ecdsa(HashAlgorithm::Sha512) => ECDSA_WITH_SHA_512,
            Self::Ed25519 => ID_ED_25519,
            Self::MlDsa44 => ID_ML_DSA_44,
            Self::MlDsa65 => ID_ML_DSA_65,
            Self::MlDsa87 => ID_ML_DSA_87,
        }
    }

    /// The DER of the whole AlgorithmIdentifier.
    ///
    /// # Errors
    ///
    /// An encoding error of `der`, which no scheme of this crate provokes.
    pub fn to_algorithm_identifier_der(self) -> der::Result<Vec<u8>> {
        let parameters = match self {
            Self::RsaPkcs1(_) => Some(Any::from(Null)),
            Self::RsaPss(hash) => Some(pss_parameters(RsaPssParams::matching(hash))?),
            Self::RsaPssWith(params) => Some(pss_parameters(params)?),
            Self::Ecdsa(_) | Self::Ed25519 | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
        };
        AlgorithmIdentifierOwned {
            oid: self.oid(),
            parameters,
        }
        .to_der()
    }

    /// Every scheme whose OID says all.
    fn without_parameters() -> impl Iterator<Item = Self> {
        HashAlgorithm::ALL
            .into_iter()
            .flat_map(|hash| [Self::RsaPkcs1(hash), Self::Ecdsa(hash)])
            .chain([Self::Ed25519, Self::MlDsa44, Self::MlDsa65, Self::MlDsa87])
    }
}

fn hash_oid(hash: HashAlgorithm) -> ObjectIdentifier {
    match hash {
        HashAlgorithm::Sha1 => ID_SHA_1,
        HashAlgorithm::Sha224 => ID_SHA_224,
        HashAlgorithm::Sha256 => ID_SHA_256,
        HashAlgorithm::Sha384 => ID_SHA_384,
        HashAlgorithm::Sha512 => ID_SHA_512,
    }
}

fn hash_from_oid(oid: ObjectIdentifier) -> Option<HashAlgorithm> {
    HashAlgorithm::ALL
        .into_iter()
        .find(|hash| hash_oid(*hash) == oid)
}

/// What `params` are when written with the hash and MGF1 that they name.
///
/// ```text
/// RSASSA-PSS-params ::= SEQUENCE {
///     hashAlgorithm     [0] HashAlgorithm     DEFAULT sha1Identifier,
///     maskGenAlgorithm  [1] MaskGenAlgorithm  DEFAULT mgf1SHA1Identifier,
///     saltLength        [2] INTEGER           DEFAULT 20,
///     trailerField      [3] INTEGER           DEFAULT 1 }
/// ```
#[derive(Sequence)]
struct PssParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask_generation: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt_length: Option<u32>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer_field: Option<u32>,
}

/// The defaults of RFC 4055 §3.1.
const DEFAULT_SALT_LEN: u32 = 20;
const TRAILER_BC: u32 = 1;

/// PSS parameters are not understood. Which member it was helps nobody: the caller names the
/// algorithm.
struct NotUnderstood;

fn pss_from_der(params_der: &[u8]) -> Result<SignatureScheme, NotUnderstood> {
    let read = if params_der.is_empty() {
        // RFC 4055 §3.1: where a signature is meant, absent parameters are the defaults.
        PssParameters {
            hash: None,
            mask_generation: None,
            salt_length: None,
            trailer_field: None,
        }
    } else {
        PssParameters::from_der(params_der).map_err(|_| NotUnderstood)?
    };
    if read.trailer_field.unwrap_or(TRAILER_BC) != TRAILER_BC {
        return Err(NotUnderstood);
    }
    let params = RsaPssParams {
        hash: read_hash(read.hash.as_ref())?,
        mgf_hash: read_mask_generation(read.mask_generation.as_ref())?,
        salt_len: read.salt_length.unwrap_or(DEFAULT_SALT_LEN),
    };
    if params == RsaPssParams::matching(params.hash) {
        Ok(SignatureScheme::RsaPss(params.hash))
    } else {
        Ok(SignatureScheme::RsaPssWith(params))
    }
}

fn read_hash(given: Option<&AlgorithmIdentifierOwned>) -> Result<HashAlgorithm, NotUnderstood> {
    given.map_or(Ok(HashAlgorithm::Sha1), |identifier| {
        hash_from_oid(identifier.oid).ok_or(NotUnderstood)
    })
}

fn read_mask_generation(
    given: Option<&AlgorithmIdentifierOwned>,
) -> Result<HashAlgorithm, NotUnderstood> {
    let Some(identifier) = given else {
        return Ok(HashAlgorithm::Sha1);
    };
    if identifier.oid != ID_MGF_1 {
        return Err(NotUnderstood);
    }
    let hash = identifier.parameters.as_ref().ok_or(NotUnderstood)?;
    let hash: AlgorithmIdentifierOwned = hash.decode_as().map_err(|_| NotUnderstood)?;
    read_hash(Some(&hash))
}

/// Members that have their default value are left out, as DER wants.
fn pss_parameters(params: RsaPssParams) -> der::Result<Any> {
    let hash = hash_identifier(params.hash);
    let mgf_hash = hash_identifier(params.mgf_hash);
    let mask_generation = mgf_hash
        .map(|hash| {
            Ok::<_, der::Error>(AlgorithmIdentifierOwned {
                oid: ID_MGF_1,
                parameters: Some(Any::encode_from(&hash)?),
            })
        })
        .transpose()?;
    Any::encode_from(&PssParameters {
        hash,
        mask_generation,
        salt_length: Some(params.salt_len).filter(|len| *len != DEFAULT_SALT_LEN),
        trailer_field: None,
    })
}

/// RFC 4055 §2.1: hash identifiers are written with NULL parameters; SHA-1 is the default here.
fn hash_identifier(hash: HashAlgorithm) -> Option<AlgorithmIdentifierOwned> {
    (hash != HashAlgorithm::Sha1).then(|| AlgorithmIdentifierOwned {
        oid: hash_oid(hash),
        parameters: Some(Any::from(Null)),
    })
}
