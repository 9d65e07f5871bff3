//! A request with blanks (RFC 9908 §3.4): what clients of today fill in, beside the older list of
//! wishes, which the older clients read.
//!
//! ```text
//! CertificationRequestInfoTemplate ::= SEQUENCE {
//!     version INTEGER { v1(0) },
//!     subject SEQUENCE OF SET OF SEQUENCE { type, value OPTIONAL } OPTIONAL,
//!     subjectPKInfo [0] IMPLICIT SEQUENCE { algorithm, subjectPublicKey BIT STRING OPTIONAL } OPTIONAL,
//!     attributes [1] IMPLICIT SET OF Attribute }
//! ```

use const_oid::ObjectIdentifier;

use crate::oids;
use crate::tlv::{INTEGER, NULL, SET, Writer, context_constructed, sequence_of};

/// What a request has to look like. Its subject is asked for a common name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestInfoTemplate {
    /// The key, if it has to be one of a kind.
    pub key: Option<KeyTemplate>,
    /// Whether the challenge password has to be filled in.
    pub challenge_password: ChallengePassword,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTemplate {
    /// RSA with a modulus of so many bits.
    Rsa(u32),
    /// An elliptic curve key on this curve.
    Elliptic(ObjectIdentifier),
    /// An algorithm whose name says all.
    Named(ObjectIdentifier),
}

/// Whether a challenge password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengePassword {
    /// It is.
    Wanted,
    /// It is not.
    NotWanted,
}

impl RequestInfoTemplate {
    pub(super) fn write(&self, out: &mut Writer) {
        out.sequence(|template| {
            template.element(INTEGER, &[0]).sequence(|subject| {
                subject.nested(SET, |relative| {
                    relative.sequence(|attribute| {
                        attribute.oid(&oids::AT_COMMON_NAME);
                    });
                });
            });
            if let Some(key) = self.key {
                template.nested(context_constructed(0), |info| key.write(info));
            }
            template.nested(context_constructed(1), |attributes| {
                if self.challenge_password == ChallengePassword::Wanted {
                    attributes.sequence(|attribute| {
                        attribute.oid(&oids::CHALLENGE_PASSWORD).element(SET, &[]);
                    });
                }
            });
        });
    }
}

impl KeyTemplate {
    fn write(self, info: &mut Writer) {
        info.sequence(|algorithm| match self {
            Self::Rsa(_) => {
                algorithm.oid(&oids::RSA_ENCRYPTION).element(NULL, &[]);
            }
            Self::Elliptic(curve) => {
                algorithm.oid(&oids::EC_PUBLIC_KEY).oid(&curve);
            }
            Self::Named(name) => {
                algorithm.oid(&name);
            }
        });
        if let Self::Rsa(bits) = self {
            // The size is that of a key which is none.
            let octets = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
            let key = sequence_of(|key| {
                key.unsigned(&vec![0xff; octets]).unsigned(&[1, 0, 1]);
            });
            info.bit_string(&key);
        }
    }
}
