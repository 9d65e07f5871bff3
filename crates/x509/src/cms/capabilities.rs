//! What a recipient can open: `SMIMECapabilities` (RFC 8551 §2.5.2).

use lamassu_crypto::{
    AgreementDigest, ContentCipher, KeyAgreement, KeyManagement, KeySpec, KeyTransport, KeyWrap,
};

use super::{WithNull, oaep_sha256};
use crate::error::{Malformation, ParseError, Structure};
use crate::oids;
use crate::tlv::{Reader, SEQUENCE, oid_value};

/// Most capabilities that are read.
const MAX_LEN: usize = 256;

/// The algorithms that a recipient names, in its order of preference, as far as we know them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    ciphers: Vec<ContentCipher>,
    transports: Vec<KeyTransport>,
    /// Without a wrapping cipher where none of ours is named.
    agreements: Vec<(AgreementDigest, Option<KeyWrap>)>,
}

impl Capabilities {
    /// Reads the DER of `SMIMECapabilities`: `SEQUENCE OF SEQUENCE { OID, parameters OPTIONAL }`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when it is none, or holds more than 256 entries.
    pub fn from_der(der: &[u8]) -> Result<Self, ParseError> {
        Self::read(der).map_err(|malformation| malformation.within(Structure::Capabilities))
    }

    fn read(der: &[u8]) -> Result<Self, Malformation> {
        let mut outer = Reader::new(der);
        let mut list = outer.sequence()?;
        outer.finish()?;
        let mut capabilities = Self::default();
        let mut n_read = 0_usize;
        while !list.is_empty() {
            n_read = n_read.saturating_add(1);
            if n_read > MAX_LEN {
                return Err(Malformation::TooLarge);
            }
            capabilities.read_one(list.sequence()?)?;
        }
        Ok(capabilities)
    }

    fn read_one(&mut self, mut entry: Reader<'_>) -> Result<(), Malformation> {
        let oid = oid_value(entry.oid()?)?;
        let parameters = if entry.is_empty() {
            &[][..]
        } else {
            entry.any()?.raw
        };
        let cipher = ContentCipher::ALL
            .into_iter()
            .find(|cipher| cipher.oid() == oid);
        self.ciphers.extend(cipher);
        let digest = AgreementDigest::ALL
            .into_iter()
            .find(|digest| digest.scheme_oid() == oid);
        self.agreements
            .extend(digest.map(|digest| (digest, wrap(parameters))));
        if oid == oids::RSA_ENCRYPTION {
            self.transports.push(KeyTransport::Pkcs1);
        } else if oid == oids::RSAES_OAEP {
            self.transports.extend(oaep(parameters));
        }
        Ok(())
    }

    /// How to encrypt for a key of this kind: the recipient's first algorithms. Without a word about
    /// how it takes content keys it is what every CMS implementation with such keys has:
    /// RSAES-PKCS1-v1_5 (RFC 3370 §4.2.1), and key derivation with SHA-256 (RFC 5753 §7). `None`
    /// without a cipher of ours.
    pub fn choose(&self, key: KeySpec) -> Option<(ContentCipher, KeyManagement)> {
        let cipher = *self.ciphers.first()?;
        let management = if let KeySpec::Rsa(_) = key {
            let transport = self.transports.first().copied();
            KeyManagement::Transport(transport.unwrap_or(KeyTransport::Pkcs1))
        } else {
            let first = self.agreements.first().copied();
            let (digest, wrap) = first.unwrap_or((AgreementDigest::Sha256, None));
            let as_strong = if cipher.key_len() > 16 {
                KeyWrap::Aes256
            } else {
                KeyWrap::Aes128
            };
            KeyManagement::Agreement(KeyAgreement {
                digest,
                wrap: wrap.unwrap_or(as_strong),
            })
        };
        Some((cipher, management))
    }
}

/// The wrapping cipher in the parameters of a key agreement.
fn wrap(parameters: &[u8]) -> Option<KeyWrap> {
    let mut parameters = Reader::new(parameters).sequence().ok()?;
    let oid = oid_value(parameters.oid().ok()?).ok()?;
    KeyWrap::ALL.into_iter().find(|wrap| wrap.oid() == oid)
}

/// OAEP with these parameters; without any it is with SHA-1 (RFC 4055 §4.1).
fn oaep(parameters: &[u8]) -> Option<KeyTransport> {
    let is_sha256 = [WithNull::Yes, WithNull::No]
        .into_iter()
        .any(|with_null| parameters == oaep_sha256(with_null));
    match parameters {
        [] | [SEQUENCE, 0] => Some(KeyTransport::OaepSha1),
        _ if is_sha256 => Some(KeyTransport::OaepSha256),
        _ => None,
    }
}
