//! Keys as objects of the token.
//!
//! What is made here has the handle as CKA_LABEL and as CKA_ID, on both halves. Keys of an earlier
//! installation have it as the label of the private half only, beside a CKA_ID of their own, or, the
//! oldest, as CKA_ID only. The halves of a pair have one CKA_ID.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use lamassu_core::crypto_engine::KeyHandle;
use lamassu_crypto::{KeySpec, PublicKey};

use crate::error::Pkcs11Error;
use crate::public_half;
use crate::session::Open;

impl Open {
    /// The private key that is meant by `handle`, provided that it is still the private half of
    /// `expected`. That is looked up once in the life of a session.
    pub(crate) fn private_half(
        &mut self,
        handle: &KeyHandle,
        expected: &PublicKey,
    ) -> Result<ObjectHandle, Pkcs11Error> {
        self.forget_deleted();
        if let Some(object) = self.known.get(handle) {
            return Ok(*object);
        }
        let (object, public) = self.pair(handle)?;
        if public != *expected {
            return Err(Pkcs11Error::OtherKey);
        }
        self.remember(handle, object);
        Ok(object)
    }

    /// Both halves of the key that is meant by `handle`.
    pub(crate) fn pair(
        &self,
        handle: &KeyHandle,
    ) -> Result<(ObjectHandle, PublicKey), Pkcs11Error> {
        let private = self.find_private(handle)?;
        let private = private.ok_or(Pkcs11Error::KeyNotFound)?;
        let (id, modulus) = self.names_of_private(private)?;
        let public = self.find_public(handle, &id)?;
        let public = public_half::read(&self.session, public)?;
        // Of RSA keys the private half tells whose it is.
        if !modulus.is_empty() && !public_half::has_modulus(&public, &modulus) {
            return Err(Pkcs11Error::OtherKey);
        }
        Ok((private, public))
    }

    /// The private key, if there is one.
    fn find_private(&self, handle: &KeyHandle) -> Result<Option<ObjectHandle>, Pkcs11Error> {
        match self.all_private(handle)?.as_slice() {
            [] => {
                self.require_login()?;
                Ok(None)
            }
            [only] => Ok(Some(*only)),
            [..] => Err(Pkcs11Error::SeveralKeys),
        }
    }

    /// Every private key that this handle may mean: those labelled so, or else those with that id.
    fn all_private(&self, handle: &KeyHandle) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
        let labelled = self.find(ObjectClass::PRIVATE_KEY, Attribute::Label(bytes(handle)))?;
        if labelled.is_empty() {
            return self.find(ObjectClass::PRIVATE_KEY, Attribute::Id(bytes(handle)));
        }
        Ok(labelled)
    }

    /// The public half that belongs to a private key with this CKA_ID.
    fn find_public(&self, handle: &KeyHandle, id: &[u8]) -> Result<ObjectHandle, Pkcs11Error> {
        if !id.is_empty() {
            let same_id = self.find(ObjectClass::PUBLIC_KEY, Attribute::Id(id.to_vec()))?;
            if let [only] = same_id.as_slice() {
                return Ok(*only);
            }
        }
        let labelled = self.find(ObjectClass::PUBLIC_KEY, Attribute::Label(bytes(handle)))?;
        match labelled.as_slice() {
            [] => Err(Pkcs11Error::NoPublicHalf),
            [only] => Ok(*only),
            [..] => Err(Pkcs11Error::SeveralKeys),
        }
    }

    fn find(&self, class: ObjectClass, name: Attribute) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
        let template = [Attribute::Class(class), Attribute::Token(true), name];
        Ok(self.session.find_objects(&template)?)
    }

    /// CKA_ID and, of RSA keys, CKA_MODULUS; empty where the token tells none.
    fn names_of_private(&self, private: ObjectHandle) -> Result<(Vec<u8>, Vec<u8>), Pkcs11Error> {
        let wanted = [AttributeType::Id, AttributeType::Modulus];
        let mut names = (Vec::new(), Vec::new());
        for attribute in self.session.get_attributes(private, &wanted)? {
            match attribute {
                Attribute::Id(id) => names.0 = id,
                Attribute::Modulus(modulus) => names.1 = modulus,
                _ => {}
            }
        }
        Ok(names)
    }

    /// Refuses a handle that is taken.
    pub(crate) fn require_free(&self, handle: &KeyHandle) -> Result<(), Pkcs11Error> {
        let is_taken = !self.all_private(handle)?.is_empty();
        self.require_login()?;
        if is_taken {
            Err(Pkcs11Error::KeyExists)
        } else {
            Ok(())
        }
    }

    /// Makes a key pair.
    pub(crate) fn generate(
        &self,
        handle: &KeyHandle,
        spec: KeySpec,
    ) -> Result<PublicKey, Pkcs11Error> {
        self.require_free(handle)?;
        let mechanism = match spec {
            KeySpec::Rsa(_) => Mechanism::RsaPkcsKeyPairGen,
            KeySpec::Ec(_) => Mechanism::EccKeyPairGen,
            KeySpec::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
            KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => {
                return Err(Pkcs11Error::KeySpec(spec));
            }
        };
        let mut public = public_template(handle);
        public.extend(public_half::parameters(spec)?);
        let private = private_template(handle);
        let made = self
            .session
            .generate_key_pair(&mechanism, &public, &private);
        let made = made.map_err(|error| {
            let error = Pkcs11Error::Call(error);
            match error.rv() {
                Some(
                    RvError::CurveNotSupported
                    | RvError::DomainParamsInvalid
                    | RvError::KeySizeRange
                    | RvError::MechanismInvalid,
                ) => Pkcs11Error::KeySpec(spec),
                _ => error,
            }
        });
        let (public, _) = made?;
        public_half::read(&self.session, public)
    }

    /// Destroys everything that this handle means, the private half last: so it can be repeated.
    pub(crate) fn delete(&mut self, handle: &KeyHandle) -> Result<(), Pkcs11Error> {
        let private = self.all_private(handle)?;
        if private.is_empty() {
            self.require_login()?;
        }
        let mut publics = self.find(ObjectClass::PUBLIC_KEY, Attribute::Label(bytes(handle)))?;
        for object in &private {
            let (id, _) = self.names_of_private(*object)?;
            // A CKA_ID may be that of another key, too.
            let others = self.find(ObjectClass::PRIVATE_KEY, Attribute::Id(id.clone()))?;
            if !id.is_empty() && others.iter().all(|other| private.contains(other)) {
                publics.extend(self.find(ObjectClass::PUBLIC_KEY, Attribute::Id(id))?);
            }
        }
        for object in publics.into_iter().chain(private) {
            match self
                .session
                .destroy_object(object)
                .map_err(Pkcs11Error::Call)
            {
                // By somebody else, or a moment ago: it may be listed twice.
                Err(gone) if gone.loses_object() => {}
                outcome => outcome?,
            }
        }
        self.deletions.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Those of these handles that mean no private key.
    pub(crate) fn missing(&self, handles: &[KeyHandle]) -> Result<Vec<KeyHandle>, Pkcs11Error> {
        let mut missing = Vec::new();
        for handle in handles {
            if self.all_private(handle)?.is_empty() {
                missing.push(handle.clone());
            }
        }
        self.require_login()?;
        Ok(missing)
    }

    /// The handles of all private keys whose name can be one, in order.
    pub(crate) fn handles(&self) -> Result<BTreeSet<KeyHandle>, Pkcs11Error> {
        self.require_login()?;
        let all = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Token(true),
        ];
        let mut handles = BTreeSet::new();
        for object in self.session.find_objects(&all)? {
            let wanted = [AttributeType::Label, AttributeType::Id];
            let named = self.session.get_attributes(object, &wanted);
            match named.map_err(Pkcs11Error::Call) {
                Ok(named) => handles.extend(handle_in(&named)),
                // Deleted since.
                Err(gone) if gone.loses_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(handles)
    }
}

/// What every private key of ours has.
pub(crate) fn private_template(handle: &KeyHandle) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Label(bytes(handle)),
        Attribute::Id(bytes(handle)),
    ]
}

/// What every public key of ours has.
pub(crate) fn public_template(handle: &KeyHandle) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Label(bytes(handle)),
        Attribute::Id(bytes(handle)),
    ]
}

fn bytes(handle: &KeyHandle) -> Vec<u8> {
    handle.as_str().as_bytes().to_vec()
}

/// The label, or else the id, if it can be a handle.
fn handle_in(attributes: &[Attribute]) -> Option<KeyHandle> {
    let read = |text: &[u8]| KeyHandle::try_new(std::str::from_utf8(text).ok()?).ok();
    let label = attributes.iter().find_map(|attribute| match attribute {
        Attribute::Label(label) => read(label),
        _ => None,
    });
    label.or_else(|| {
        attributes.iter().find_map(|attribute| match attribute {
            Attribute::Id(id) => read(id),
            _ => None,
        })
    })
}
