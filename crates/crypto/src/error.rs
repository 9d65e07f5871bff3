//! What can go wrong with keys, signature schemes and signatures.

use const_oid::ObjectIdentifier;

use crate::spec::KeySpec;

/// Why a key was not read, generated or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no DER of the expected structure.
    #[error("the key is not well-formed DER")]
    Malformed,
    /// The text holds no PEM block, or one whose base64 cannot be decoded.
    #[error("the text holds no readable PEM block with a key")]
    NoPemBlock,
    /// The private key is encrypted; this crate reads clear keys only.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The key's algorithm is none of RSA, EC, Ed25519, ML-DSA.
    #[error("key algorithm {0} is not supported")]
    UnknownAlgorithm(ObjectIdentifier),
    /// The curve is none of P-224, P-256, P-384, P-521, or is not named by its OID.
    #[error("the elliptic curve is not supported, or not given by name")]
    UnknownCurve,
    /// The RSA modulus has a size that is not accepted here.
    #[error("RSA keys of {bits} bits are not supported here")]
    RsaSize {
        /// Size of the modulus in bits.
        bits: u32,
    },
    /// The RSA exponent is even, below 3 or above 33 bits, or the modulus is even.
    #[error("the RSA modulus or public exponent is not acceptable")]
    RsaComponents,
    /// The point is not on its curve, the halves do not belong together, or the like.
    #[error("the key's values are not valid for its algorithm")]
    Invalid,
    /// An ML-DSA private key without its seed (RFC 9881 §6): it could not be written back.
    #[error("ML-DSA private keys are read in the forms that hold the seed")]
    NoSeed,
    /// Keys of this specification are not generated.
    #[error("keys of this kind and size are not generated")]
    NotGenerated(KeySpec),
    /// The cryptographic library failed to generate or encode the key.
    #[error("the cryptographic library failed")]
    Library,
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The signature is not one of this key over this message, whatever the reason.
    #[error("the signature does not match")]
    Mismatch,
    /// The scheme belongs to another kind of key.
    #[error("the signature scheme does not belong to this kind of key")]
    WrongKey,
    /// The digest given has not the length of the scheme's hash.
    #[error("the digest has {actual} bytes, the hash gives {expected}")]
    DigestLength {
        /// Output length of the hash in bytes.
        expected: usize,
        /// Length of what was given in bytes.
        actual: usize,
    },
    /// The scheme signs messages, not digests (Ed25519, ML-DSA).
    #[error("this signature scheme takes the message, not a digest")]
    RawOnly,
}

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The scheme belongs to another kind of key.
    #[error("the signature scheme does not belong to this kind of key")]
    WrongKey,
    /// The scheme is only verified: SHA-1, RSA with SHA-224, PSS with parameters of its own.
    #[error("this signature scheme is verified but not signed with")]
    VerifyOnly,
    /// The digest given has not the length of the scheme's hash.
    #[error("the digest has {actual} bytes, the hash gives {expected}")]
    DigestLength {
        /// Output length of the hash in bytes.
        expected: usize,
        /// Length of what was given in bytes.
        actual: usize,
    },
    /// The scheme signs messages, not digests (Ed25519, ML-DSA).
    #[error("this signature scheme takes the message, not a digest")]
    RawOnly,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// Why an AlgorithmIdentifier names no signature scheme of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// The algorithm is not known as a signature scheme.
    #[error("signature algorithm {0} is not supported")]
    Unknown(ObjectIdentifier),
    /// The parameters do not fit the algorithm, or name what is not supported.
    #[error("the parameters of signature algorithm {0} are not supported")]
    Parameters(ObjectIdentifier),
}
