//! X.509: lenient readers, certificate, CRL, OCSP and PKCS#7 builders. DER in, DER out.
//!
//! No I/O, no clock, no randomness: times and serial numbers are parameters, and signatures
//! are made elsewhere (a builder gives a [`ToBeSigned`], which assembles itself around the
//! signature). What comes from outside is read by our own readers, which keep the original
//! bytes and refuse little; what goes out is what strict readers accept.
//!
//! | to | go to |
//! |---|---|
//! | read | [`Certificate`], [`CertificationRequest`], [`crl`], [`ocsp`], [`pkcs7`], [`pem`] |
//! | issue | [`issue`] with a [`VerifiedCsr`], checked by [`lint`] |
//! | make a request | [`RequestTemplate`] |
//! | validate a chain | [`path`], [`client_auth`] |
//! | name | [`Name`], [`SubjectFields`], [`SerialNumber`] |

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod algorithm;
mod certificate;
pub mod client_auth;
pub mod cms;
pub mod crl;
mod csr;
mod csr_attrs;
mod datetime;
mod error;
mod extensions;
pub mod issue;
pub mod lint;
mod name;
pub mod ocsp;
pub mod oids;
pub mod path;
pub mod pem;
pub mod pkcs7;
mod serial;
mod signed;
mod tlv;

pub use algorithm::{AlgorithmError, AlgorithmIdentifier};
pub use certificate::{Certificate, TbsCertificate, UnreadableByGo};
pub use const_oid::ObjectIdentifier;
pub use csr::{
    CertificationRequest, KeyDelivery, Possession, RequestTemplate, VerifiedCsr, VerifyCsrError,
};
pub use csr_attrs::{
    ChallengePassword, CsrAttribute, CsrWishes, KeyTemplate, KeyWish, RequestInfoTemplate,
    SubjectMismatch, WantedExtension, WantedRequest, csr_attrs,
};
pub use error::{Malformation, ParseError, Structure};
pub use extensions::{
    AccessLocations, AuthorityKeyIdentifier, BasicConstraints, Criticality, Extension, Extensions,
    GeneralName, KeyUsage, KeyUsageBit, SanError, Subtree,
};
pub use name::{Attribute, Name, NameError, SubjectFields};
pub use serial::{InvalidSerialNumber, Serial, SerialNumber};
pub use signed::{SignatureError, ToBeSigned};
