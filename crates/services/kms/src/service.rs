//! Assembly: what the service needs, and the trait, one call per method.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{CryptoEngine, Signer};
use lamassu_core::ids::{EngineId, KeyRef, OperationId, SerialNumber};
use lamassu_core::kms::{
    CreateKey, EngineDescription, ImportKey, Key, KeyStats, KeyStatus, KmsError, KmsService,
    SignMessage,
};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchOperation;
use lamassu_core::query::ListRequest;
use lamassu_db::list::warn_without_search_index;
use lamassu_db::{
    CommitError, Db, DbError, Job, JobError, MigrationError, RefusalLog, run_job, system_caller,
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::cache::KeyCache;
use crate::engines::Engines;
use crate::finder::KeyFinder;
use crate::health::EnginesHealth;
use crate::jobs::Reaper;
use crate::missing::MissingKeys;
use crate::store::{KEYS_CHANGED, KeyStore, SCHEMA, SEARCH_INDEX};
use crate::usage::UsageBook;

/// How many refused changes a minute go into the audit log.
const REFUSALS_PER_MINUTE: u32 = 600;

/// What the service is built from.
#[derive(Debug)]
pub struct KmsPorts {
    /// Where key rows are kept; also tells the time.
    pub db: Db,
    /// The engines that opened, in the order of the configuration.
    pub engines: Vec<Arc<dyn CryptoEngine>>,
    /// Where keys go when a request names no engine.
    pub default_engine: EngineId,
    /// The engines that are configured and did not open.
    pub unavailable: Vec<UnavailableEngine>,
}

/// An engine that is configured and did not open.
#[derive(Debug)]
pub struct UnavailableEngine {
    /// As configured.
    pub id: EngineId,
    /// Type, as configured.
    pub engine_type: String,
    /// Why; goes to the log.
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine for keys of requests that name none did not open, or is not configured.
    #[error("could not find the default crypto engine")]
    NoDefaultEngine,
    /// Two engines share an id.
    #[error("two crypto engines have the id {0}")]
    DuplicateEngine(EngineId),
    /// The tables cannot be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The rows of keys that ended with the last process could not be settled.
    #[error("the keys of the last run could not be settled")]
    Storage(#[from] CommitError),
}

impl From<DbError> for StartError {
    fn from(error: DbError) -> Self {
        Self::Storage(error.into())
    }
}

/// The key management service.
#[derive(Debug)]
pub struct Kms {
    pub(crate) db: Db,
    pub(crate) store: KeyStore,
    pub(crate) engines: Arc<Engines>,
    pub(crate) cache: Arc<KeyCache>,
    pub(crate) finder: KeyFinder,
    pub(crate) usage: Arc<UsageBook>,
    pub(crate) health: EnginesHealth,
    pub(crate) refusals: RefusalLog,
    pub(crate) missing: MissingKeys,
    abandoned_until: Mutex<Option<OffsetDateTime>>,
}

impl Kms {
    /// Brings the tables up to date and settles the keys of engines that ended with the last
    /// process. Engines that did not open are reported to the log and lived without.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn new(ports: KmsPorts) -> Result<Self, StartError> {
        for engine in &ports.unavailable {
            tracing::warn!(
                engine_id = %engine.id,
                engine_type = engine.engine_type,
                error = &*engine.cause as &(dyn std::error::Error + 'static),
                "crypto engine skipped"
            );
        }
        let engines = Engines::try_new(ports.engines, ports.unavailable, &ports.default_engine)?;
        let engines = Arc::new(engines);
        ports.db.migrate(SCHEMA).await?;
        warn_without_search_index(&ports.db, SEARCH_INDEX).await?;
        let store = KeyStore::new(ports.db.clone());
        let cache = Arc::new(KeyCache::new());
        let kms = Self {
            finder: KeyFinder::new(store.clone(), Arc::clone(&cache), Arc::clone(&engines)),
            store,
            refusals: RefusalLog::new(&ports.db, REFUSALS_PER_MINUTE),
            db: ports.db,
            engines,
            cache,
            usage: Arc::default(),
            health: EnginesHealth::default(),
            missing: MissingKeys::default(),
            abandoned_until: Mutex::default(),
        };
        kms.settle_volatile_keys().await?;
        kms.look_for_some_keys().await?;
        Ok(kms)
    }

    /// The job that finishes what a crash or an engine's failure left half done.
    pub fn reaper_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(Reaper::new(Arc::clone(self)))
    }

    /// Finishes at once what the last process left half done, where the job waits until nobody can
    /// still be at it. For whoever knows that nobody else works on this database. What was begun
    /// after `begin`, when this process served no requests yet, is left alone.
    ///
    /// # Errors
    ///
    /// [`JobError`] when the database does not answer; keys whose engine fails are left to the job,
    /// which soon tries again.
    pub async fn settle_unfinished(
        self: &Arc<Self>,
        begin: OffsetDateTime,
    ) -> Result<(), JobError> {
        *self.lock_abandoned() = Some(begin);
        let reaper = Reaper::new(Arc::clone(self));
        reaper.settle_all(&system_caller("kms-start")).await
    }

    /// Until when everything was begun by processes that are gone, if that is known.
    pub(crate) fn abandoned_until(&self) -> Option<OffsetDateTime> {
        *self.lock_abandoned()
    }

    /// Nothing is left of processes that are gone.
    pub(crate) fn abandon_nothing(&self) {
        *self.lock_abandoned() = None;
    }

    fn lock_abandoned(&self) -> MutexGuard<'_, Option<OffsetDateTime>> {
        let until = self.abandoned_until.lock();
        until.unwrap_or_else(PoisonError::into_inner)
    }

    /// All background work of the service, until `shutdown`; what is in progress is finished.
    pub async fn run(self: &Arc<Self>, shutdown: &CancellationToken) {
        tokio::join!(
            run_job(&self.db, self.reaper_job(), shutdown),
            self.store_usage_until(shutdown),
            self.look_for_keys_until(shutdown),
            self.hear_of_changes_until(shutdown),
        );
    }

    /// Forgets the keys that were read whenever one is disabled, moved, deleted or called otherwise,
    /// by whichever process.
    async fn hear_of_changes_until(&self, shutdown: &CancellationToken) {
        let mut changes = self.db.signal(KEYS_CHANGED);
        while let Some(Ok(())) = shutdown.run_until_cancelled(changes.changed()).await {
            self.cache.forget_all();
        }
    }
}

/// A key as it was asked for, in the audit log.
fn named(key: &KeyRef) -> String {
    format!("kms/{key}")
}

#[async_trait]
impl KmsService for Kms {
    async fn engines(&self, _caller: &Caller) -> Result<Vec<EngineDescription>, KmsError> {
        Ok(self.describe_engines().await)
    }

    async fn create_key(&self, caller: &Caller, request: CreateKey) -> Result<Key, KmsError> {
        let change = ("kms.create", "kms".to_owned());
        self.refusals
            .watch(caller, change, self.create(caller, request))
            .await
    }

    async fn import_key(&self, caller: &Caller, request: ImportKey) -> Result<Key, KmsError> {
        let change = ("kms.import", "kms".to_owned());
        self.refusals
            .watch(caller, change, self.import(caller, request))
            .await
    }

    async fn key(&self, _caller: &Caller, key: &KeyRef) -> Result<Key, KmsError> {
        self.find_key(key).await
    }

    async fn keys(&self, _caller: &Caller, request: &ListRequest) -> Result<Page<Key>, KmsError> {
        self.list_keys(request).await
    }

    async fn stats(&self, _caller: &Caller, request: &ListRequest) -> Result<KeyStats, KmsError> {
        self.count_keys(&request.filters).await
    }

    async fn set_name(&self, caller: &Caller, key: &KeyRef, name: String) -> Result<Key, KmsError> {
        let change = ("kms.name.update", named(key));
        self.refusals
            .watch(caller, change, self.rename(caller, key, &name))
            .await
    }

    async fn set_tags(
        &self,
        caller: &Caller,
        key: &KeyRef,
        tags: Vec<String>,
    ) -> Result<Key, KmsError> {
        let change = ("kms.tags.update", named(key));
        self.refusals
            .watch(caller, change, self.retag(caller, key, &tags))
            .await
    }

    async fn patch_metadata(
        &self,
        caller: &Caller,
        key: &KeyRef,
        operations: Vec<PatchOperation>,
    ) -> Result<Key, KmsError> {
        let change = ("kms.metadata.update", named(key));
        self.refusals
            .watch(
                caller,
                change,
                self.change_metadata(caller, key, &operations),
            )
            .await
    }

    async fn patch_aliases(
        &self,
        caller: &Caller,
        key: &KeyRef,
        operations: Vec<PatchOperation>,
    ) -> Result<Key, KmsError> {
        let change = ("kms.aliases.update", named(key));
        self.refusals
            .watch(
                caller,
                change,
                self.change_aliases(caller, key, &operations),
            )
            .await
    }

    async fn set_status(
        &self,
        caller: &Caller,
        key: &KeyRef,
        status: KeyStatus,
    ) -> Result<Key, KmsError> {
        let change = ("kms.status.update", named(key));
        self.refusals
            .watch(caller, change, self.allow(caller, key, status))
            .await
    }

    async fn move_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        engine: &EngineId,
    ) -> Result<Key, KmsError> {
        let change = ("kms.engine.update", named(key));
        self.refusals
            .watch(caller, change, self.relocate(caller, key, engine))
            .await
    }

    async fn delete_key(&self, caller: &Caller, key: &KeyRef) -> Result<(), KmsError> {
        let change = ("kms.delete", named(key));
        self.refusals
            .watch(caller, change, self.delete(caller, key))
            .await
    }

    async fn sign(
        &self,
        caller: &Caller,
        key: &KeyRef,
        message: SignMessage,
    ) -> Result<Vec<u8>, KmsError> {
        let change = ("kms.sign", named(key));
        self.refusals
            .watch(caller, change, self.sign_message(caller, key, &message))
            .await
    }

    async fn verify(
        &self,
        caller: &Caller,
        key: &KeyRef,
        message: SignMessage,
        signature: &[u8],
    ) -> Result<bool, KmsError> {
        let change = ("kms.verify", named(key));
        self.refusals
            .watch(
                caller,
                change,
                self.verify_message(caller, key, &message, signature),
            )
            .await
    }

    async fn signer(&self, _caller: &Caller, key: &KeyRef) -> Result<Arc<dyn Signer>, KmsError> {
        self.platform_signer(key).await
    }

    async fn bind_certificate(
        &self,
        caller: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        self.bind(caller, key, serial).await
    }

    async fn unbind_certificate(
        &self,
        caller: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        self.unbind(caller, key, serial).await
    }

    async fn discard(&self, caller: &Caller, operation: &OperationId) -> Result<(), KmsError> {
        self.discard_operation(caller, operation).await
    }
}
