//! The key of a new CA or certificate: made or imported under an operation's name, or one that
//! exists.

use lamassu_core::ca::{CaError, Certificate, KeySource};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{KeyRef, OperationId, SerialNumber};
use lamassu_core::kms::{CreateKey, Key, KeyType, KmsError};
use lamassu_core::patch::PatchOperation;
use lamassu_crypto::PublicKey;
use lamassu_db::WriteSet;
use lamassu_x509::issue::KeyPolicy;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::jobs::AbandonedOperations;
use crate::service::CaService;
use crate::store::operation::{self, Use};

/// The key of what is made.
#[derive(Debug)]
pub(crate) struct OwnKey {
    pub(crate) key: Key,
    pub(crate) public_key: PublicKey,
    operation: OperationId,
    origin: Origin,
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The operation made it, and destroys it when it fails.
    Made,
    /// It was there before, and stays.
    Existing,
}

impl OwnKey {
    /// A key that was there before.
    pub(crate) fn existing(key: Key) -> Result<Self, CaError> {
        let public_key = read_key(&key)?;
        Ok(Self {
            key,
            public_key,
            operation: OperationId::fresh(),
            origin: Origin::Existing,
        })
    }

    /// Adds to the write set that stores the certificate what is left to do for its key.
    pub(crate) fn stored(&self, set: &mut WriteSet, serial: &SerialNumber, now: OffsetDateTime) {
        let left = self.used_by(serial);
        match self.origin {
            Origin::Made => operation::stored(set, &self.operation, &left),
            Origin::Existing => {
                operation::stored_at_once(set, &self.operation, &left, now);
                set.wake(AbandonedOperations::NAME);
            }
        }
    }

    /// Ends, in the write set that stores another owner of the key, the operation that made it.
    pub(crate) fn owned(&self, set: &mut WriteSet) {
        match self.origin {
            Origin::Made => operation::finish(set, &self.operation),
            Origin::Existing => {}
        }
    }

    /// The operation that made the key; none for a key that existed before.
    pub(crate) fn made_by(&self) -> Option<&OperationId> {
        match self.origin {
            Origin::Made => Some(&self.operation),
            Origin::Existing => None,
        }
    }

    /// What the KMS knows the key by.
    pub(crate) fn reference(&self) -> KeyRef {
        KeyRef::from(&self.key.key_id)
    }

    fn used_by(&self, serial: &SerialNumber) -> Use {
        Use {
            key: self.reference(),
            serial_number: serial.clone(),
        }
    }
}

/// What a new key is for.
#[derive(Debug)]
pub(crate) struct KeyPurpose<'a> {
    /// What it is called.
    pub(crate) name: String,
    /// Which keys pass; asked before one is made.
    pub(crate) policy: &'a KeyPolicy,
    /// What its metadata say from the beginning.
    pub(crate) metadata: Map<String, Value>,
}

impl CaService {
    /// The key that a request describes.
    pub(crate) async fn own_key(
        &self,
        caller: &Caller,
        purpose: KeyPurpose<'_>,
        source: KeySource,
    ) -> Result<OwnKey, CaError> {
        let (key_type, bits, engine_id) = match source {
            KeySource::Existing(reference) => {
                let key = self
                    .kms
                    .key(caller, &reference)
                    .await
                    .map_err(kms_refused)?;
                return OwnKey::existing(key);
            }
            KeySource::New {
                key_type,
                bits,
                engine_id,
            } => (key_type, bits, engine_id),
        };
        let known = KeyType::from_name(&key_type);
        if let Some(spec) = known.and_then(|known| known.with_size(bits)) {
            purpose
                .policy
                .check(spec)
                .map_err(|error| CaError::Policy(error.to_string()))?;
        }
        let operation = self.begin_operation().await?;
        let request = CreateKey {
            algorithm: key_type,
            size: bits,
            engine_id,
            name: purpose.name,
            metadata: purpose.metadata,
            operation: Some(operation.clone()),
            ..CreateKey::default()
        };
        let made = self.kms.create_key(caller, request).await;
        self.made(caller, operation, made.map_err(kms_refused))
            .await
    }

    /// Notes that an operation begins which may leave a key behind.
    pub(crate) async fn begin_operation(&self) -> Result<OperationId, CaError> {
        let operation = OperationId::fresh();
        let now = self.db.now();
        self.change_operation(|set| {
            operation::begin(set, &operation, now);
            set.wake(AbandonedOperations::NAME);
        })
        .await?;
        Ok(operation)
    }

    /// The key of an operation that has just got one, or not.
    pub(crate) async fn made(
        &self,
        caller: &Caller,
        operation: OperationId,
        made: Result<Key, CaError>,
    ) -> Result<OwnKey, CaError> {
        match made.and_then(|key| read_key(&key).map(|public_key| (key, public_key))) {
            Ok((key, public_key)) => Ok(OwnKey {
                key,
                public_key,
                operation,
                origin: Origin::Made,
            }),
            Err(error) => {
                self.discard_or_leave(caller, &operation).await;
                Err(error)
            }
        }
    }

    /// Destroys the key of an operation that failed, if the operation made it.
    pub(crate) async fn undo(&self, caller: &Caller, own: &OwnKey) {
        match own.origin {
            Origin::Made => self.discard_or_leave(caller, &own.operation).await,
            Origin::Existing => {}
        }
    }

    /// What cannot be done now a job does later.
    pub(crate) async fn discard_or_leave(&self, caller: &Caller, operation: &OperationId) {
        if let Err(error) = self.discard(caller, operation).await {
            tracing::warn!(operation_id = %operation, error = &error as &(dyn std::error::Error + 'static), "key of a failed operation left for later");
        }
    }

    /// Marks the key as used. The certificate exists whether or not that succeeds now; otherwise a
    /// job does it.
    pub(crate) async fn settle(&self, caller: &Caller, own: &OwnKey, serial: &SerialNumber) {
        let marked = self
            .mark_used(caller, &own.operation, &own.used_by(serial))
            .await;
        if let Err(error) = marked {
            tracing::warn!(serial_number = %serial, error = &error as &(dyn std::error::Error + 'static), "key is marked as used later");
        }
    }

    /// Gives a key the name that a CA certificate made elsewhere has for it as an alias: clients of the
    /// reference look keys of CAs up by that. Nothing here hangs on it, so that it may fail.
    pub(crate) async fn name_after(
        &self,
        caller: &Caller,
        own: &OwnKey,
        certificate: &Certificate,
    ) {
        let name = &certificate.subject_key_id;
        let known = own.key.key_id.as_str() == name || own.key.aliases.contains(name);
        if known || name.is_empty() {
            return;
        }
        let alias = PatchOperation {
            op: "add".to_owned(),
            path: Some("/-".to_owned()),
            value: Some(name.as_str().into()),
            ..PatchOperation::default()
        };
        let key = own.reference();
        let named = self.kms.patch_aliases(caller, &key, vec![alias]).await;
        if let Err(error) = named {
            tracing::warn!(key_id = %own.key.key_id, error = &error as &(dyn std::error::Error + 'static), "key has no alias of its certificate's name for it");
        }
    }

    /// Makes sure that an operation never stores an owner, destroys its key and forgets it.
    pub(crate) async fn discard(
        &self,
        caller: &Caller,
        operation: &OperationId,
    ) -> Result<(), CaError> {
        self.change_operation(|set| operation::abandon(set, operation))
            .await?;
        match self.kms.discard(caller, operation).await {
            Ok(()) => {}
            // Somebody has found the key and used it meanwhile: it is theirs now.
            Err(KmsError::KeyInUse) => {
                tracing::info!(operation_id = %operation, "key of a failed operation is in use");
            }
            Err(error) => return Err(CaError::KmsRefused(error)),
        }
        self.change_operation(|set| operation::forget(set, operation))
            .await
    }

    /// Marks a key as used by a certificate and forgets the operation that had this left to do.
    pub(crate) async fn mark_used(
        &self,
        caller: &Caller,
        operation: &OperationId,
        left: &Use,
    ) -> Result<(), CaError> {
        match self
            .kms
            .bind_certificate(caller, &left.key, &left.serial_number)
            .await
        {
            Ok(()) => {}
            Err(KmsError::KeyNotFound) => {
                tracing::warn!(serial_number = %left.serial_number, "key was destroyed before it was marked as used");
            }
            Err(error) => return Err(CaError::KmsRefused(error)),
        }
        self.change_operation(|set| operation::forget(set, operation))
            .await
    }

    async fn change_operation(&self, change: impl FnOnce(&mut WriteSet)) -> Result<(), CaError> {
        let mut set = WriteSet::new();
        change(&mut set);
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        Ok(())
    }
}

/// What the key management service's refusal means here.
pub(crate) fn kms_refused(error: KmsError) -> CaError {
    match error {
        KmsError::KeyNotFound => CaError::KeyNotFound,
        other => CaError::KmsRefused(other),
    }
}

fn read_key(key: &Key) -> Result<PublicKey, CaError> {
    PublicKey::from_spki_der(key.public_key.der()).map_err(|error| {
        CaError::SignFailed("the key cannot be used".into(), Some(Box::new(error)))
    })
}
