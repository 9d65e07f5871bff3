//! Taking a private key into the token: as it is, where the token takes it so, or else wrapped.
//!
//! Wrapped means: the token makes an RSA pair for this once; under its public half goes an AES key,
//! and under that the private key as PKCS#8 (RFC 5649). Nobody but the token can open it.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey,
    PublicEncryptingKey,
};
use cryptoki::error::{Error as CallError, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::Decode as _;
use der::asn1::OctetStringRef;
use lamassu_core::crypto_engine::KeyHandle;
use lamassu_crypto::{KeySpec, PublicKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::Pkcs11Error;
use crate::objects::{private_template, public_template};
use crate::public_half;
use crate::session::Open;

/// The key that wraps for one import.
pub(crate) const WRAPPING: KeySpec = KeySpec::Rsa(3072);

/// The hashes of OAEP that are tried, the better one first: tokens tend to have one of them.
const OAEP: [(&OaepAlgorithm, MechanismType, PkcsMgfType); 2] = [
    (
        &OAEP_SHA256_MGF1SHA256,
        MechanismType::SHA256,
        PkcsMgfType::MGF1_SHA256,
    ),
    (
        &OAEP_SHA1_MGF1SHA1,
        MechanismType::SHA1,
        PkcsMgfType::MGF1_SHA1,
    ),
];

/// A private key that is to be imported.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) public: PublicKey,
    pub(crate) pkcs8: Zeroizing<Vec<u8>>,
}

/// Whether a token took a private key as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// It refused, and offers what it takes to bring the key wrapped.
    OnlyWrapped,
}

impl Open {
    /// Puts both halves into the token, if it takes the private one as it is.
    pub(crate) fn import(
        &mut self,
        handle: &KeyHandle,
        key: &Foreign,
    ) -> Result<Taken, Pkcs11Error> {
        self.require_free(handle)?;
        match self.import_clear(handle, key) {
            Ok(private) => {
                self.complete(handle, key, private)?;
                Ok(Taken::Yes)
            }
            Err(error) => {
                let refusal = self.refusal(error)?;
                tracing::debug!(error = %refusal, "clear private key not taken");
                if !self.unwraps()? {
                    return Err(Pkcs11Error::Import(refusal));
                }
                // Who only says that it failed may have begun.
                self.delete(handle)?;
                Ok(Taken::OnlyWrapped)
            }
        }
    }

    /// Puts both halves into the token, the private one wrapped: it makes a key of [`WRAPPING`] for that.
    pub(crate) fn import_by_wrapping(
        &mut self,
        handle: &KeyHandle,
        key: &Foreign,
    ) -> Result<(), Pkcs11Error> {
        let taken = self.import_wrapped(handle, key);
        let private = taken.map_err(|error| self.not_taken(error))?;
        self.complete(handle, key, private)
    }

    /// Puts the public half beside the private one.
    fn complete(
        &self,
        handle: &KeyHandle,
        key: &Foreign,
        private: ObjectHandle,
    ) -> Result<(), Pkcs11Error> {
        let added = self.add_public_half(handle, key);
        let outcome = added.map_err(|error| self.not_taken(error));
        if outcome.is_err()
            && let Err(error) = self.session.destroy_object(private)
        {
            tracing::debug!(%error, "private half without public one left");
        }
        outcome
    }

    /// The answer of a token that refuses, and works.
    fn refusal(&self, error: Pkcs11Error) -> Result<CallError, Pkcs11Error> {
        match error {
            Pkcs11Error::Call(cause) if !Pkcs11Error::is_loss(&cause) => Ok(cause),
            Pkcs11Error::Call(cause) if is_vague(&cause) && self.require_login().is_ok() => {
                Ok(cause)
            }
            other => Err(other),
        }
    }

    /// A token that works and takes keys in no way that it offers takes none.
    fn not_taken(&self, error: Pkcs11Error) -> Pkcs11Error {
        self.refusal(error)
            .map_or_else(|other| other, Pkcs11Error::Import)
    }

    /// Whether the token offers what [`import_wrapped`](Self::import_wrapped) needs.
    fn unwraps(&self) -> Result<bool, Pkcs11Error> {
        let offered = self.library.get_mechanism_list(self.slot)?;
        let needed = [
            MechanismType::RSA_PKCS_KEY_PAIR_GEN,
            MechanismType::RSA_PKCS_OAEP,
            MechanismType::AES_KEY_WRAP_PAD,
        ];
        Ok(needed.iter().all(|mechanism| offered.contains(mechanism)))
    }

    fn add_public_half(&self, handle: &KeyHandle, key: &Foreign) -> Result<(), Pkcs11Error> {
        let mut template = public_template(handle);
        template.push(Attribute::Class(ObjectClass::PUBLIC_KEY));
        template.extend(public_half::attributes(&key.public)?);
        self.session.create_object(&template)?;
        Ok(())
    }

    fn import_clear(&self, handle: &KeyHandle, key: &Foreign) -> Result<ObjectHandle, Pkcs11Error> {
        let mut template = Secrets(private_template(handle));
        template.0.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
        let spec = key.public.spec();
        template
            .0
            .push(Attribute::KeyType(public_half::key_type(spec)?));
        template
            .add(spec, &key.pkcs8)
            .ok_or(Pkcs11Error::Encoding)??;
        Ok(self.session.create_object(&template.0)?)
    }

    /// Puts the private half into the token under a key that the token has made for that.
    pub(crate) fn import_wrapped(
        &self,
        handle: &KeyHandle,
        key: &Foreign,
    ) -> Result<ObjectHandle, Pkcs11Error> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(secret.as_mut_slice()).map_err(|_| Pkcs11Error::Encoding)?;
        let wrapped = wrap(&secret, &key.pkcs8).ok_or(Pkcs11Error::Encoding)?;
        let pair = make_wrapping_pair(&self.session)?;
        let outcome = bring(&self.session, pair, &secret).and_then(|kek| {
            let mut template = private_template(handle);
            template.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
            let key_type = public_half::key_type(key.public.spec())?;
            template.push(Attribute::KeyType(key_type));
            let taken =
                self.session
                    .unwrap_key(&Mechanism::AesKeyWrapPad, kek, &wrapped, &template);
            destroy(&self.session, [kek]);
            Ok(taken?)
        });
        destroy(&self.session, [pair.0, pair.1]);
        outcome
    }
}

/// Whether a token that refuses may say this, as well as one that is in trouble.
fn is_vague(cause: &CallError) -> bool {
    matches!(
        cause,
        CallError::Pkcs11(
            RvError::FunctionFailed | RvError::GeneralError | RvError::VendorDefined(_),
            _
        )
    )
}

fn destroy<const N: usize>(session: &Session, objects: [ObjectHandle; N]) {
    for object in objects {
        // It ends with the session anyway.
        if let Err(error) = session.destroy_object(object) {
            tracing::debug!(%error, "wrapping key not destroyed");
        }
    }
}

/// The public and the private half of a pair that lives as long as the session at most.
fn make_wrapping_pair(session: &Session) -> Result<(ObjectHandle, ObjectHandle), Pkcs11Error> {
    let public = [
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Wrap(true),
        Attribute::ModulusBits(u64::from(WRAPPING.bits()).into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    let private = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Unwrap(true),
    ];
    Ok(session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?)
}

/// Brings the AES key into the token.
fn bring(
    session: &Session,
    pair: (ObjectHandle, ObjectHandle),
    secret: &[u8; 32],
) -> Result<ObjectHandle, Pkcs11Error> {
    let public = public_half::read(session, pair.0)?;
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Unwrap(true),
    ];
    let mut refusal = Pkcs11Error::Encoding;
    for (algorithm, hash, mgf) in OAEP {
        let sealed = seal(&public, algorithm, secret).ok_or(Pkcs11Error::Encoding)?;
        let mechanism = PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty());
        let mechanism = Mechanism::RsaPkcsOaep(mechanism);
        let taken = session.unwrap_key(&mechanism, pair.1, &sealed, &template);
        match taken {
            Err(cause) if !Pkcs11Error::is_loss(&cause) || is_vague(&cause) => {
                refusal = Pkcs11Error::Call(cause);
            }
            outcome => return Ok(outcome?),
        }
    }
    Err(refusal)
}

/// RSAES-OAEP (RFC 8017 §7.1).
fn seal(public: &PublicKey, algorithm: &'static OaepAlgorithm, secret: &[u8]) -> Option<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(public.spki_der()).ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut sealed = vec![0; key.ciphertext_size()];
    let n_sealed = key
        .encrypt(algorithm, secret, &mut sealed, None)
        .ok()?
        .len();
    sealed.truncate(n_sealed);
    Some(sealed)
}

/// AES key wrap with padding (RFC 5649).
fn wrap(secret: &[u8; 32], clear: &[u8]) -> Option<Vec<u8>> {
    let kek = AesKek::new(&AES_256, secret).ok()?;
    let mut wrapped = vec![0; clear.len().checked_add(16)?];
    let n_wrapped = kek.wrap_with_padding(clear, &mut wrapped).ok()?.len();
    wrapped.truncate(n_wrapped);
    Some(wrapped)
}

/// Attributes some of which are secret: wiped when dropped.
struct Secrets(Vec<Attribute>);

impl Secrets {
    /// Adds what is private in a private key. Nothing when it cannot be read.
    fn add(&mut self, spec: KeySpec, pkcs8: &[u8]) -> Option<Result<(), Pkcs11Error>> {
        let info = pkcs8::PrivateKeyInfoRef::from_der(pkcs8).ok()?;
        let private = info.private_key.as_bytes();
        match spec {
            KeySpec::Rsa(_) => {
                let rsa = pkcs1::RsaPrivateKeyRef::from_der(private).ok()?;
                self.0.extend([
                    Attribute::Modulus(rsa.modulus.as_bytes().to_vec()),
                    Attribute::PublicExponent(rsa.public_exponent.as_bytes().to_vec()),
                    Attribute::PrivateExponent(rsa.private_exponent.as_bytes().to_vec()),
                    Attribute::Prime1(rsa.prime1.as_bytes().to_vec()),
                    Attribute::Prime2(rsa.prime2.as_bytes().to_vec()),
                    Attribute::Exponent1(rsa.exponent1.as_bytes().to_vec()),
                    Attribute::Exponent2(rsa.exponent2.as_bytes().to_vec()),
                    Attribute::Coefficient(rsa.coefficient.as_bytes().to_vec()),
                ]);
                return Some(Ok(()));
            }
            KeySpec::Ec(_) => {
                let key = sec1::EcPrivateKey::from_der(private).ok()?;
                self.0.push(Attribute::Value(key.private_key.to_vec()));
            }
            KeySpec::Ed25519 => {
                let seed = <&OctetStringRef>::from_der(private).ok()?;
                self.0.push(Attribute::Value(seed.as_bytes().to_vec()));
            }
            KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => {
                return Some(Err(Pkcs11Error::KeySpec(spec)));
            }
        }
        Some(public_half::parameters(spec).map(|curve| self.0.extend(curve)))
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        for attribute in self.0.drain(..) {
            if let Attribute::Value(mut secret)
            | Attribute::PrivateExponent(mut secret)
            | Attribute::Prime1(mut secret)
            | Attribute::Prime2(mut secret)
            | Attribute::Exponent1(mut secret)
            | Attribute::Exponent2(mut secret)
            | Attribute::Coefficient(mut secret) = attribute
            {
                secret.zeroize();
            }
        }
    }
}

#[cfg(test)]
mod tests;
