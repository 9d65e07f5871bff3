//! Software cryptography: keys, signatures and digests, pure functions over bytes.
//!
//! [`PublicKey`] reads a SubjectPublicKeyInfo and verifies, [`PrivateKey`] generates, reads and
//! signs; [`SignatureScheme`] names how, and converts from and to the AlgorithmIdentifier of
//! certificates and requests; [`pem`] reads and writes PEM for the whole program. Nothing here does
//! I/O, knows the clock or knows who holds a key. [`ContentCipher`] seals content for the holder of a key.
//!
//! aws-lc-rs does the work wherever it can. Three things it does not do come from RustCrypto or
//! are written out here: the curve P-224 (`p224`), RSA moduli and padding parameters outside its
//! list (`rsa` for the arithmetic, the padding of RFC 8017 in `public_key/rsa.rs`). ECDSA with a
//! digest foreign to its curve needs neither: see `ecdsa.rs`.
//!
//! SHA-1 and RSA below 2048 bits are verified, because certificates and requests in the field
//! carry them, and never signed with.

mod algorithm_identifier;
mod ecdsa;
mod envelope;
mod error;
mod hash;
pub mod pem;
mod private_key;
mod public_key;
mod scheme;
mod spec;

pub use envelope::{
    AgreementDigest, ContentCipher, KeyAgreement, KeyManagement, KeyTransport, KeyWrap, SealError,
    Sealed, SealedKey,
};
pub use error::{KeyError, SchemeError, SignError, VerifyError};
pub use hash::HashAlgorithm;
pub use private_key::PrivateKey;
pub use public_key::PublicKey;
pub use scheme::{Message, RsaPssParams, SignatureScheme};
pub use spec::{Curve, KeySpec};

pub use const_oid::ObjectIdentifier;
