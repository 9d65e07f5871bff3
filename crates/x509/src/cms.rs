//! CMS that carries a private key (RFC 5652, RFC 5083, RFC 5753, RFC 5958): what EST gives a device whose key the server
//! made and that wants it encrypted (RFC 7030 §4.4.2).
//!
//! ```text
//! EnvelopedData, or AuthEnvelopedData, for a key that the device has
//!   └ SignedData by whoever made the key
//!       └ AsymmetricKeyPackage ::= SEQUENCE OF OneAsymmetricKey
//! ```
//!
//! [`KeyPackage`] is the inner one, waiting for its signature; [`enveloped_data`] is the outer one;
//! [`Capabilities`] says what the device can open. Only this direction is here: nothing of ours
//! opens such an envelope.

mod capabilities;
mod recipient;

pub use capabilities::Capabilities;

use lamassu_crypto::{
    ContentCipher, HashAlgorithm, KeyManagement, PublicKey, SealError, Sealed, SignatureScheme,
};
use zeroize::Zeroizing;

use crate::algorithm::{AlgorithmError, AlgorithmIdentifier};
use crate::certificate::Certificate;
use crate::oids;
use crate::tlv::{
    INTEGER, NULL, Reader, SEQUENCE, SET, Writer, context, context_constructed, sequence_of,
};

/// Octets around the contents, generously, so that a buffer with a clear key never grows and leaves
/// a copy behind.
const ROOM: usize = 1024;

/// A private key on its way to whoever asked for it, waiting for its maker's signature.
pub struct KeyPackage {
    package: Zeroizing<Vec<u8>>,
    signed_attributes: Vec<u8>,
    digest: const_oid::ObjectIdentifier,
    scheme: SignatureScheme,
    algorithm: AlgorithmIdentifier,
}

impl std::fmt::Debug for KeyPackage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPackage")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl KeyPackage {
    /// A package with this one key (PKCS#8, DER), to be signed with this scheme.
    ///
    /// # Errors
    ///
    /// [`AlgorithmError`] when CMS has no names for the scheme.
    pub fn new(pkcs8: &[u8], scheme: SignatureScheme) -> Result<Self, AlgorithmError> {
        let mut package = Writer::with_capacity(pkcs8.len().saturating_add(ROOM));
        package.header(SEQUENCE, pkcs8.len()).raw(pkcs8);
        let package = Zeroizing::new(package.into_vec());
        // Schemes without a digest of their own go with SHA-512 (RFC 8419 §2.3, RFC 9882 §3.3).
        let hash = scheme.hash().unwrap_or(HashAlgorithm::Sha512);
        let mut attributes = Writer::new();
        // In the order of DER: the shorter one is the smaller one.
        attributes.nested(SET, |attributes| {
            attributes
                .sequence(|content_type| {
                    content_type.oid(&oids::CONTENT_TYPE).nested(SET, |values| {
                        values.oid(&oids::CT_ASYMMETRIC_KEY_PACKAGE);
                    });
                })
                .sequence(|message_digest| {
                    message_digest
                        .oid(&oids::MESSAGE_DIGEST)
                        .nested(SET, |values| {
                            values.octet_string(&hash.digest(&package));
                        });
                });
        });
        Ok(Self {
            package,
            signed_attributes: attributes.into_vec(),
            digest: hash_oid(hash).ok_or(AlgorithmError::Encoding)?,
            scheme,
            algorithm: AlgorithmIdentifier::of_scheme(scheme)?,
        })
    }

    /// The message to sign, with the scheme that was given.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.signed_attributes
    }

    /// The DER of the `SignedData`, made by the holder of this certificate's key.
    ///
    /// ```text
    /// SEQUENCE { version 3, digestAlgorithms SET, encapContentInfo SEQUENCE { type, [0] OCTET STRING },
    ///     certificates [0] { signer }, signerInfos SET { SEQUENCE { version 1, issuerAndSerialNumber,
    ///     digestAlgorithm, signedAttrs [0], signatureAlgorithm, signature OCTET STRING } } }
    /// ```
    pub fn assemble(self, signer: &Certificate, signature: &[u8]) -> Zeroizing<Vec<u8>> {
        let room = [
            self.package.len(),
            signer.as_der().len(),
            signature.len(),
            ROOM,
        ];
        let mut out = Writer::with_capacity(room.into_iter().fold(0, usize::saturating_add));
        let digest = sequence_of(|digest| {
            digest.oid(&self.digest);
        });
        out.sequence(|signed_data| {
            signed_data
                .element(INTEGER, &[3])
                .element(SET, &digest)
                .sequence(|content| {
                    content.oid(&oids::CT_ASYMMETRIC_KEY_PACKAGE).nested(
                        context_constructed(0),
                        |explicit| {
                            explicit.octet_string(&self.package);
                        },
                    );
                })
                .element(context_constructed(0), signer.as_der())
                .nested(SET, |signers| {
                    signers.sequence(|info| self.write_signer(info, signer, &digest, signature));
                });
        });
        Zeroizing::new(out.into_vec())
    }

    fn write_signer(
        &self,
        info: &mut Writer,
        signer: &Certificate,
        digest: &[u8],
        signature: &[u8],
    ) {
        info.element(INTEGER, &[1])
            .sequence(|identifier| {
                identifier
                    .raw(signer.issuer().as_der())
                    .element(INTEGER, signer.serial().as_bytes());
            })
            .raw(digest)
            // What was signed as a SET stands here under an implicit tag (RFC 5652 §5.4).
            .raw(&[context_constructed(0)])
            .raw(self.signed_attributes.get(1..).unwrap_or_default())
            .raw(self.algorithm.as_der())
            .octet_string(signature);
    }
}

/// The DER of a `ContentInfo` with a `SignedData` that only the holder of the recipient's key can
/// open. The recipient knows its key by `key_identifier`.
///
/// ```text
/// SEQUENCE { envelopedData, [0] SEQUENCE { version 2, recipientInfos SET { recipient },
///     SEQUENCE { signedData, SEQUENCE { cipher, iv }, [0] encryptedContent } } }
/// SEQUENCE { authEnvelopedData, [0] SEQUENCE { version 0, recipientInfos SET { recipient },
///     SEQUENCE { signedData, SEQUENCE { cipher, SEQUENCE { nonce, length of mac } }, [0] encryptedContent },
///     mac OCTET STRING } }
/// ```
///
/// The latter has no authenticated attributes, which RFC 5083 §2.1 wants with such content: OpenSSL
/// neither writes nor reads them, and the content is signed.
///
/// # Errors
///
/// [`SealError`] when the recipient's key does not fit.
pub fn enveloped_data(
    signed_data: &[u8],
    recipient: &PublicKey,
    key_identifier: &[u8],
    (cipher, management): (ContentCipher, KeyManagement),
) -> Result<Vec<u8>, SealError> {
    let sealed = cipher.seal(signed_data, recipient, management)?;
    let room = sealed.encrypted_content.len().saturating_add(ROOM);
    let (content_type, version) = match &sealed.mac {
        None => (oids::PKCS7_ENVELOPED_DATA, 2),
        Some(_) => (oids::CT_AUTH_ENVELOPED_DATA, 0),
    };
    let mut out = Writer::with_capacity(room);
    out.sequence(|info| {
        info.oid(&content_type)
            .nested(context_constructed(0), |explicit| {
                explicit.sequence(|enveloped| {
                    enveloped
                        .element(INTEGER, &[version])
                        .nested(SET, |recipients| {
                            recipient::write(recipients, recipient, key_identifier, &sealed.key);
                        })
                        .sequence(|content| write_content(content, cipher, &sealed));
                    if let Some(mac) = &sealed.mac {
                        enveloped.octet_string(mac);
                    }
                });
            });
    });
    Ok(out.into_vec())
}

fn write_content(content: &mut Writer, cipher: ContentCipher, sealed: &Sealed) {
    content
        .oid(&oids::PKCS7_SIGNED_DATA)
        .sequence(|algorithm| {
            algorithm.oid(&cipher.oid());
            match &sealed.mac {
                None => algorithm.octet_string(&sealed.iv),
                Some(mac) => algorithm.sequence(|parameters| {
                    let length = u8::try_from(mac.len()).unwrap_or_default();
                    parameters.octet_string(&sealed.iv).unsigned(&[length]);
                }),
            };
        })
        .element(context(0), &sealed.encrypted_content);
}

/// The names under which common software knows a key, given as a SubjectPublicKeyInfo: SHA-1 and
/// SHA-256 of its BIT STRING's octets (RFC 5280 §4.2.1.2, RFC 7093), and SHA-256 of the whole.
pub fn key_identifiers(spki: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let key = Reader::new(spki).sequence().and_then(|mut info| {
        info.expect(SEQUENCE)?;
        info.bit_string()
    });
    let of_key = key
        .ok()
        .into_iter()
        .flat_map(|key| [HashAlgorithm::Sha1, HashAlgorithm::Sha256].map(|hash| hash.digest(key)));
    of_key.chain([HashAlgorithm::Sha256.digest(spki)])
}

/// Whether the parameters of a digest are written as NULL, or left out: both are in use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WithNull {
    Yes,
    No,
}

/// `RSAES-OAEP-params { hashFunc [0] SHA-256, maskGenFunc [1] MGF1 with SHA-256 }`
fn oaep_sha256(with_null: WithNull) -> Vec<u8> {
    let sha256 = |out: &mut Writer| {
        out.sequence(|hash| {
            hash.oid(&oids::SHA256);
            if with_null == WithNull::Yes {
                hash.element(NULL, &[]);
            }
        });
    };
    sequence_of(|parameters| {
        parameters.nested(context_constructed(0), sha256).nested(
            context_constructed(1),
            |explicit| {
                explicit.sequence(|mgf| {
                    mgf.oid(&oids::MGF1);
                    sha256(mgf);
                });
            },
        );
    })
}

/// The digest's name, of those that CAs sign with.
const fn hash_oid(hash: HashAlgorithm) -> Option<const_oid::ObjectIdentifier> {
    match hash {
        HashAlgorithm::Sha256 => Some(oids::SHA256),
        HashAlgorithm::Sha384 => Some(oids::SHA384),
        HashAlgorithm::Sha512 => Some(oids::SHA512),
        HashAlgorithm::Sha1 | HashAlgorithm::Sha224 => None,
    }
}
