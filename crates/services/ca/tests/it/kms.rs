//! A key management service in memory, which can be told to fail and counts what it holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{EngineError, Signer};
use lamassu_core::ids::{EngineId, KeyId, KeyRef, OperationId, SerialNumber};
use lamassu_core::kms::{
    BOUND_RESOURCES, CreateKey, EngineDescription, ImportKey, Key, KeyStats, KeyStatus, KmsError,
    KmsService, SignMessage,
};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchOperation;
use lamassu_core::pem::PublicKeyDer;
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey, PublicKey, SignatureScheme};
use serde_json::Map;

/// What the next call does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The queue for slow keys is full.
    Busy,
    /// Keys cannot be destroyed.
    CannotDiscard,
    /// Keys cannot be marked as used.
    CannotBind,
    /// Signatures are made with another key.
    WrongKey,
    /// Keys are there, and their engine does not answer.
    Away,
    /// Keys are not taken from outside.
    CannotImport,
    /// Keys that nobody uses cannot be destroyed now.
    CannotDelete,
}

#[derive(Debug)]
struct Held {
    key: Key,
    private: Arc<PrivateKey>,
    operation: Option<OperationId>,
    bound: Vec<SerialNumber>,
}

#[derive(Debug, Default)]
pub(crate) struct TestKms {
    keys: Mutex<BTreeMap<String, Held>>,
    fault: Mutex<Fault>,
    meanwhile: Meanwhile,
    n_signatures: Arc<AtomicUsize>,
}

/// What somebody asks for while others do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A key, which is found before.
    Key,
    /// A signer, which is given behind.
    Signer,
}

/// What others do while one of these is asked for.
#[derive(Default)]
struct Meanwhile(Mutex<Option<(Asked, BoxFuture<'static, ()>)>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl TestKms {
    pub(crate) fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Lets this happen while the next one asks.
    pub(crate) fn meanwhile(
        &self,
        asked: Asked,
        change: impl Future<Output = ()> + Send + 'static,
    ) {
        *self.meanwhile.0.lock().unwrap() = Some((asked, Box::pin(change)));
    }

    async fn let_happen(&self, asked: Asked) {
        let change = self
            .meanwhile
            .0
            .lock()
            .unwrap()
            .take_if(|(next, _)| *next == asked);
        if let Some((_, change)) = change {
            change.await;
        }
    }

    /// How often something was signed with the key of somebody else.
    pub(crate) fn n_wrong_signatures(&self) -> usize {
        self.n_signatures.load(Ordering::Relaxed)
    }

    fn found(&self, key: &KeyRef) -> Option<Key> {
        let keys = self.keys();
        let held = keys.get(key.as_str())?;
        let bound = held.bound.iter().map(|serial| {
            serde_json::json!({
                "resource_type": "certificate", "resource_id": serial.as_str(),
            })
        });
        let mut key = held.key.clone();
        key.metadata
            .insert(BOUND_RESOURCES.to_owned(), bound.collect());
        Some(key)
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.keys.lock().unwrap()
    }

    pub(crate) fn n_keys(&self) -> usize {
        self.keys().len()
    }

    pub(crate) fn bound(&self, key: &str) -> Vec<SerialNumber> {
        self.keys().get(key).unwrap().bound.clone()
    }

    /// A key that is here without anybody having asked the service for it.
    pub(crate) fn hold(&self, private: PrivateKey) -> Key {
        self.keep(private, "key", None)
    }

    /// A copy of a private key.
    pub(crate) fn private(&self, key: &str) -> PrivateKey {
        let keys = self.keys();
        let der = keys.get(key).unwrap().private.to_pkcs8_der().unwrap();
        PrivateKey::from_der(&der).unwrap()
    }

    fn keep(&self, private: PrivateKey, name: &str, operation: Option<OperationId>) -> Key {
        let public = private.public_key();
        let key = Key {
            pkcs11_uri: String::new(),
            key_id: KeyId::from(public.key_id_sha256_hex()),
            name: name.to_owned(),
            aliases: Vec::new(),
            engine_id: EngineId::from("memory-1"),
            has_private_key: true,
            algorithm: match public.spec() {
                KeySpec::Rsa(_) => "RSA".to_owned(),
                _ => "ECDSA".to_owned(),
            },
            size: public.spec().bits(),
            public_key: PublicKeyDer::from_der(public.spki_der().to_vec()),
            creation_ts: Timestamp::ZERO,
            tags: Vec::new(),
            metadata: Map::new(),
            status: KeyStatus::Active,
            usage: None,
        };
        let held = Held {
            key: key.clone(),
            private: Arc::new(private),
            operation,
            bound: Vec::new(),
        };
        self.keys().insert(key.key_id.as_str().to_owned(), held);
        key
    }
}

fn unused<T>() -> Result<T, KmsError> {
    Err(KmsError::EngineUnsupported("memory-1".to_owned()))
}

#[async_trait]
impl KmsService for TestKms {
    async fn engines(&self, _: &Caller) -> Result<Vec<EngineDescription>, KmsError> {
        let described = |id: &str| {
            let members = serde_json::json!({
                "type": "GOLANG", "security_level": 0, "provider": "Memory", "name": id,
                "metadata": {}, "supported_key_types": [], "id": id, "default": id == "memory-1",
            });
            serde_json::from_value(members).unwrap()
        };
        Ok(["memory-1", "memory-2"].map(described).into())
    }

    async fn import_key(&self, _: &Caller, request: ImportKey) -> Result<Key, KmsError> {
        if self.fault() == Fault::CannotImport {
            return Err(KmsError::Busy);
        }
        if !["", "memory-1", "memory-2"].contains(&request.engine_id.as_str()) {
            return Err(KmsError::EngineNotFound);
        }
        let private = PrivateKey::from_der(request.private_key.as_slice()).unwrap();
        tokio::task::yield_now().await;
        let id = private.public_key().key_id_sha256_hex();
        if self.keys().contains_key(&id) {
            return Err(KmsError::KeyInUse);
        }
        Ok(self.keep(private, &request.name, request.operation))
    }

    async fn create_key(&self, _: &Caller, request: CreateKey) -> Result<Key, KmsError> {
        if self.fault() == Fault::Busy {
            return Err(KmsError::Busy);
        }
        let spec = match (request.algorithm.as_str(), request.size) {
            ("RSA", bits) => KeySpec::Rsa(bits),
            ("ECDSA", 224) => KeySpec::Ec(Curve::P224),
            ("ECDSA", 256) => KeySpec::Ec(Curve::P256),
            ("ECDSA", 384) => KeySpec::Ec(Curve::P384),
            _ => {
                return Err(KmsError::KeyTypeUnsupported {
                    key_type: request.algorithm,
                    provider: "Memory".to_owned(),
                });
            }
        };
        // Others get a turn here, as they do while a real engine works.
        tokio::task::yield_now().await;
        Ok(self.keep(
            PrivateKey::generate(spec).unwrap(),
            &request.name,
            request.operation,
        ))
    }

    async fn set_name(&self, _: &Caller, _: &KeyRef, _: String) -> Result<Key, KmsError> {
        unused()
    }

    async fn set_tags(&self, _: &Caller, _: &KeyRef, _: Vec<String>) -> Result<Key, KmsError> {
        unused()
    }

    async fn patch_metadata(
        &self,
        _: &Caller,
        _: &KeyRef,
        _: Vec<PatchOperation>,
    ) -> Result<Key, KmsError> {
        unused()
    }

    async fn patch_aliases(
        &self,
        _: &Caller,
        key: &KeyRef,
        patches: Vec<PatchOperation>,
    ) -> Result<Key, KmsError> {
        let mut keys = self.keys();
        let held = keys.get_mut(key.as_str()).ok_or(KmsError::KeyNotFound)?;
        let added = patches.into_iter().filter_map(|patch| patch.value);
        let added = added.map(|alias| alias.as_str().unwrap().to_owned());
        held.key.aliases.extend(added);
        Ok(held.key.clone())
    }

    async fn set_status(&self, _: &Caller, _: &KeyRef, _: KeyStatus) -> Result<Key, KmsError> {
        unused()
    }

    async fn move_key(&self, _: &Caller, _: &KeyRef, _: &EngineId) -> Result<Key, KmsError> {
        unused()
    }

    async fn key(&self, _: &Caller, key: &KeyRef) -> Result<Key, KmsError> {
        let key = self.found(key).ok_or(KmsError::KeyNotFound)?;
        self.let_happen(Asked::Key).await;
        Ok(key)
    }

    async fn keys(&self, _: &Caller, _: &ListRequest) -> Result<Page<Key>, KmsError> {
        unused()
    }

    async fn stats(&self, _: &Caller, _: &ListRequest) -> Result<KeyStats, KmsError> {
        unused()
    }

    async fn delete_key(&self, _: &Caller, key: &KeyRef) -> Result<(), KmsError> {
        if self.fault() == Fault::CannotDelete {
            return Err(KmsError::Busy);
        }
        let mut keys = self.keys();
        let held = keys.get(key.as_str()).ok_or(KmsError::KeyNotFound)?;
        if !held.bound.is_empty() {
            return Err(KmsError::KeyInUse);
        }
        keys.remove(key.as_str());
        Ok(())
    }

    async fn sign(&self, _: &Caller, _: &KeyRef, _: SignMessage) -> Result<Vec<u8>, KmsError> {
        unused()
    }

    async fn verify(
        &self,
        _: &Caller,
        _: &KeyRef,
        _: SignMessage,
        _: &[u8],
    ) -> Result<bool, KmsError> {
        unused()
    }

    async fn signer(&self, _: &Caller, key: &KeyRef) -> Result<Arc<dyn Signer>, KmsError> {
        self.let_happen(Asked::Signer).await;
        let private = self
            .keys()
            .get(key.as_str())
            .map(|held| Arc::clone(&held.private));
        match private {
            Some(private) if self.fault() == Fault::WrongKey => Ok(Arc::new(MixedUp {
                said: private.public_key().clone(),
                used: PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap(),
                n_signatures: Arc::clone(&self.n_signatures),
            })),
            Some(private) if self.fault() == Fault::Away => {
                Ok(Arc::new(Away(private.public_key().clone())))
            }
            Some(private) => Ok(private),
            None => Err(KmsError::KeyNotFound),
        }
    }

    async fn bind_certificate(
        &self,
        _: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        if self.fault() == Fault::CannotBind {
            return Err(KmsError::Busy);
        }
        let mut keys = self.keys();
        let held = keys.get_mut(key.as_str()).ok_or(KmsError::KeyNotFound)?;
        if !held.bound.contains(serial) {
            held.bound.push(serial.clone());
        }
        Ok(())
    }

    async fn unbind_certificate(
        &self,
        _: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        let mut keys = self.keys();
        let held = keys.get_mut(key.as_str()).ok_or(KmsError::KeyNotFound)?;
        held.bound.retain(|known| known != serial);
        Ok(())
    }

    async fn discard(&self, _: &Caller, operation: &OperationId) -> Result<(), KmsError> {
        if self.fault() == Fault::CannotDiscard {
            return Err(KmsError::Busy);
        }
        self.keys()
            .retain(|_, held| held.operation.as_ref() != Some(operation));
        Ok(())
    }
}

/// Says that it is one key, and signs with another.
#[derive(Debug)]
struct MixedUp {
    said: PublicKey,
    used: PrivateKey,
    n_signatures: Arc<AtomicUsize>,
}

#[async_trait]
impl Signer for MixedUp {
    fn public_key(&self) -> &PublicKey {
        &self.said
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        self.n_signatures.fetch_add(1, Ordering::Relaxed);
        Ok(self.used.sign(scheme, message)?)
    }
}

/// A key whose engine does not answer.
#[derive(Debug)]
struct Away(PublicKey);

#[async_trait]
impl Signer for Away {
    fn public_key(&self) -> &PublicKey {
        &self.0
    }

    async fn sign(&self, _: SignatureScheme, _: Message<'_>) -> Result<Vec<u8>, EngineError> {
        Err(EngineError::Unavailable("nobody is there".into()))
    }
}
