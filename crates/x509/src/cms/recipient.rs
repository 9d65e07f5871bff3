//! The recipient of an envelope, and what gives it the content key.

use lamassu_crypto::{KeyAgreement, KeyTransport, PublicKey, SealedKey};

use super::{WithNull, oaep_sha256};
use crate::oids;
use crate::tlv::{INTEGER, NULL, Reader, SEQUENCE, Writer, context, context_constructed};

/// Writes a `RecipientInfo` (RFC 5652 §6.2) for the holder of this key, who knows it by this identifier.
pub(super) fn write(out: &mut Writer, key: &PublicKey, identifier: &[u8], sealed: &SealedKey) {
    match sealed {
        SealedKey::Transported {
            transport,
            encrypted,
        } => write_transported(out, identifier, *transport, encrypted),
        SealedKey::Agreed {
            agreement,
            originator,
            wrapped,
        } => {
            let agreed = Agreed {
                algorithm: key_algorithm(key),
                originator,
                wrapped,
            };
            agreed.write(out, identifier, *agreement);
        }
    }
}

/// `KeyTransRecipientInfo ::= SEQUENCE { version 2, [0] subjectKeyIdentifier, algorithm, encryptedKey }`
fn write_transported(
    out: &mut Writer,
    identifier: &[u8],
    transport: KeyTransport,
    encrypted: &[u8],
) {
    out.sequence(|recipient| {
        recipient
            .element(INTEGER, &[2])
            .element(context(0), identifier);
        write_transport(recipient, transport);
        recipient.octet_string(encrypted);
    });
}

/// The AlgorithmIdentifier of a key transport (RFC 3370 §4.2.1, RFC 4055 §4.1).
fn write_transport(out: &mut Writer, transport: KeyTransport) {
    out.sequence(|algorithm| match transport {
        KeyTransport::Pkcs1 => {
            algorithm.oid(&oids::RSA_ENCRYPTION).element(NULL, &[]);
        }
        KeyTransport::OaepSha1 => {
            algorithm.oid(&oids::RSAES_OAEP).element(SEQUENCE, &[]);
        }
        KeyTransport::OaepSha256 => {
            algorithm
                .oid(&oids::RSAES_OAEP)
                .raw(&oaep_sha256(WithNull::Yes));
        }
    });
}

/// A content key under what was agreed on.
struct Agreed<'a> {
    /// The AlgorithmIdentifier of both keys: the curve has to be the same.
    algorithm: &'a [u8],
    originator: &'a [u8],
    wrapped: &'a [u8],
}

impl Agreed<'_> {
    /// ```text
    /// KeyAgreeRecipientInfo ::= [1] SEQUENCE { version 3,
    ///     originator [0] EXPLICIT { originatorKey [1] SEQUENCE { algorithm, publicKey BIT STRING } },
    ///     keyEncryptionAlgorithm SEQUENCE { dhSinglePass-stdDH, SEQUENCE { wrap } },
    ///     recipientEncryptedKeys SEQUENCE { SEQUENCE {
    ///         rKeyId [0] SEQUENCE { subjectKeyIdentifier OCTET STRING }, encryptedKey OCTET STRING } } }
    /// ```
    fn write(&self, out: &mut Writer, identifier: &[u8], agreement: KeyAgreement) {
        out.nested(context_constructed(1), |recipient| {
            recipient
                .element(INTEGER, &[3])
                .nested(context_constructed(0), |originator| {
                    originator.nested(context_constructed(1), |key| {
                        key.raw(self.algorithm).bit_string(self.originator);
                    });
                })
                .sequence(|algorithm| {
                    algorithm
                        .oid(&agreement.digest.scheme_oid())
                        .sequence(|wrap| {
                            wrap.oid(&agreement.wrap.oid());
                        });
                })
                .sequence(|keys| {
                    keys.sequence(|key| {
                        key.nested(context_constructed(0), |id| {
                            id.octet_string(identifier);
                        })
                        .octet_string(self.wrapped);
                    });
                });
        });
    }
}

/// The AlgorithmIdentifier in a SubjectPublicKeyInfo.
fn key_algorithm(key: &PublicKey) -> &[u8] {
    let algorithm = Reader::new(key.spki_der())
        .sequence()
        .and_then(|mut info| info.expect(SEQUENCE));
    algorithm.map_or(&[], |algorithm| algorithm.raw)
}
