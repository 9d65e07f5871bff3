//! The engine: its sessions, and who signs in them.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lamassu_core::crypto_engine::{
    CryptoEngine, EngineError, EngineInfo, EngineType, KeyHandle, KeyRetention, SecurityLevel,
    Signer,
};
use lamassu_core::ids::EngineId;
use lamassu_core::kms::GENERATION_DEADLINE;
use lamassu_crypto::{KeySpec, Message, PrivateKey, PublicKey, SignatureScheme};
use lamassu_crypto_software::SlowKeys;
use moka::sync::Cache;

use crate::config::Pkcs11Config;
use crate::error::{ConnectError, Pkcs11Error};
use crate::import::{Foreign, Taken, WRAPPING};
use crate::module::Modules;
use crate::pool::Pool;
use crate::session::{Access, Open, Repeat};
use crate::signing::Question;
use crate::token::{self, Wanted};

/// Keys whose public half is remembered.
const MAX_SIGNERS: u64 = 10_000;

/// Slow keys that the token makes at a time: all other sessions go on signing meanwhile.
const SLOW_KEYS: usize = 1;

/// Keys that are looked for in one call.
const LOOKED_FOR_AT_ONCE: usize = 50;

/// Keys in a token.
pub struct Pkcs11Engine {
    info: EngineInfo,
    /// The token and its module.
    place: String,
    pool: Arc<Pool>,
    call_timeout: Duration,
    slow_keys: SlowKeys,
    /// Handles for which a key is being made: a token does not know that names are unique.
    making: Making,
    signers: Cache<KeyHandle, Arc<TokenSigner>>,
}

impl Pkcs11Engine {
    /// Finds the token, opens all sessions and logs in. `environment` gives the value of an
    /// environment variable. Blocks, for no longer than the configured time per session.
    ///
    /// # Errors
    ///
    /// What [`ConnectError`] says.
    pub fn connect(
        config: Pkcs11Config,
        modules: &Modules,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConnectError> {
        config.validate()?;
        let call_timeout = config.call_timeout();
        let access = Access::new(
            modules.load(&config.module_path)?,
            Wanted {
                label: config.token.clone(),
                serial: config.token_serial.clone(),
            },
            config.read_pin(environment)?,
            call_timeout,
        );
        let pool = Pool::new(Arc::new(access));
        let described = pool.grow(call_timeout, Open::describe);
        let described = described.map_err(|error| error.of_module(&config.module_path))?;
        for _ in 1..config.sessions {
            pool.grow(call_timeout, |open| open.require_login())?;
        }
        let mut metadata = described.metadata;
        metadata.extend(config.metadata);
        Ok(Self {
            place: format!("token {}, {}", config.token, config.module_path.display()),
            info: EngineInfo {
                id: EngineId::from(config.id),
                engine_type: EngineType::Pkcs11,
                security_level: SecurityLevel::Device,
                retention: KeyRetention::Durable,
                provider: described.manufacturer,
                name: described.model,
                metadata,
                supported: described.supported,
            },
            pool: Arc::new(pool),
            call_timeout,
            slow_keys: SlowKeys::new(SLOW_KEYS),
            making: Making::default(),
            signers: Cache::new(MAX_SIGNERS),
        })
    }

    /// Does `work`, which may be done twice, in a session.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Open) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, EngineError> {
        let done = self.pool.call(self.call_timeout, Repeat::Yes, work).await;
        Ok(done?)
    }

    /// Does `work`, which makes a key, in a session.
    async fn make<T: Send + 'static>(
        &self,
        deadline: Duration,
        mut work: impl FnMut(&mut Open) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, EngineError> {
        let has_begun = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&has_begun);
        let made = self.pool.call(deadline, Repeat::No, move |open| {
            begun.store(true, Ordering::Relaxed);
            work(open)
        });
        made.await.map_err(|error| {
            // Who waits no longer does not know: it may begin yet.
            let may_begin = matches!(error, Pkcs11Error::Timeout);
            match EngineError::from(error) {
                EngineError::Unavailable(cause)
                    if !may_begin && !has_begun.load(Ordering::Relaxed) =>
                {
                    EngineError::NotReached(cause)
                }
                other => other,
            }
        })
    }
}

#[async_trait]
impl CryptoEngine for Pkcs11Engine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    async fn generate(&self, handle: &KeyHandle, spec: KeySpec) -> Result<PublicKey, EngineError> {
        self.info.require(spec)?;
        let reserved = self.making.reserve(handle)?;
        let leave = self.slow_keys.admit(spec).await?;
        let deadline = match leave {
            Some(_) => GENERATION_DEADLINE,
            None => self.call_timeout,
        };
        // Both go with the work: a caller who goes away does not end it.
        let begun = (reserved, leave);
        self.make(deadline, move |open| open.generate(&begun.0.handle, spec))
            .await
    }

    async fn import(&self, handle: &KeyHandle, key: PrivateKey) -> Result<PublicKey, EngineError> {
        self.info.require(key.public_key().spec())?;
        let public = key.public_key().clone();
        let key = Foreign {
            public: public.clone(),
            pkcs8: key.to_pkcs8_der()?,
        };
        let begun = Arc::new((self.making.reserve(handle)?, key));
        let work = Arc::clone(&begun);
        let taken = self
            .make(self.call_timeout, move |open| {
                open.import(&work.0.handle, &work.1)
            })
            .await?;
        if taken == Taken::OnlyWrapped {
            // The token makes an RSA key for that, one at a time as those that it keeps.
            let work = (begun, self.slow_keys.admit(WRAPPING).await?);
            self.make(GENERATION_DEADLINE, move |open| {
                let (reserved, key) = &*work.0;
                open.import_by_wrapping(&reserved.handle, key)
            })
            .await?;
        }
        Ok(public)
    }

    async fn signer(&self, handle: &KeyHandle) -> Result<Arc<dyn Signer>, EngineError> {
        if let Some(signer) = self.signers.get(handle) {
            return Ok(signer);
        }
        let wanted = handle.clone();
        let public = self
            .call(move |open| {
                let (object, public) = open.pair(&wanted)?;
                open.remember(&wanted, object);
                Ok(public)
            })
            .await?;
        let signer = Arc::new(TokenSigner {
            handle: handle.clone(),
            public,
            pool: Arc::clone(&self.pool),
            call_timeout: self.call_timeout,
        });
        self.signers.insert(handle.clone(), Arc::clone(&signer));
        Ok(signer)
    }

    /// Whether a session is there and logged in. What was lost is opened again by asking.
    async fn health(&self) -> Result<(), EngineError> {
        let asked = self
            .pool
            .ask(self.call_timeout, |open| open.require_login());
        Ok(asked.await?)
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    async fn missing(&self, handles: Vec<KeyHandle>) -> Result<Vec<KeyHandle>, EngineError> {
        let mut missing = Vec::new();
        // Signatures find a free session in between.
        for handles in handles.chunks(LOOKED_FOR_AT_ONCE) {
            let handles = handles.to_vec();
            missing.extend(self.call(move |open| open.missing(&handles)).await?);
        }
        Ok(missing)
    }

    async fn delete(&self, handle: &KeyHandle) -> Result<(), EngineError> {
        // What is still being made would be there after it was deleted.
        if self.making.lock().contains(handle) {
            return Err(Pkcs11Error::BeingMade.into());
        }
        self.signers.invalidate(handle);
        let wanted = handle.clone();
        self.call(move |open| open.delete(&wanted)).await?;
        // Who asked for a signer meanwhile may have brought it back.
        self.signers.invalidate(handle);
        Ok(())
    }

    async fn list(
        &self,
        after: Option<&KeyHandle>,
        limit: usize,
    ) -> Result<Vec<KeyHandle>, EngineError> {
        let handles = self.call(|open| open.handles()).await?;
        let behind = |handle: &KeyHandle| after.is_none_or(|after| handle > after);
        Ok(handles.into_iter().filter(behind).take(limit).collect())
    }
}

impl Open {
    fn describe(&mut self) -> Result<token::Description, Pkcs11Error> {
        token::describe(&self.library, self.slot)
    }
}

impl fmt::Debug for Pkcs11Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Engine")
            .field("id", &self.info.id)
            .finish_non_exhaustive()
    }
}

/// Handles for which keys are being made.
#[derive(Clone, Debug, Default)]
struct Making(Arc<Mutex<HashSet<KeyHandle>>>);

impl Making {
    /// Takes a handle until the result is dropped.
    fn reserve(&self, handle: &KeyHandle) -> Result<Reserved, EngineError> {
        if self.lock().insert(handle.clone()) {
            Ok(Reserved {
                making: self.clone(),
                handle: handle.clone(),
            })
        } else {
            Err(EngineError::KeyExists)
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<KeyHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle for which nobody else makes a key meanwhile.
#[derive(Debug)]
struct Reserved {
    making: Making,
    handle: KeyHandle,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.making.lock().remove(&self.handle);
    }
}

/// A private key in the token.
#[derive(Debug)]
struct TokenSigner {
    handle: KeyHandle,
    public: PublicKey,
    pool: Arc<Pool>,
    call_timeout: Duration,
}

#[async_trait]
impl Signer for TokenSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        let question = Question::new(self.public.spec(), scheme, message)?;
        let (handle, public) = (self.handle.clone(), self.public.clone());
        let signed = self.pool.call(self.call_timeout, Repeat::Yes, move |open| {
            let key = open.private_half(&handle, &public)?;
            match question.ask(&open.session, key) {
                // The token has it elsewhere now, or not at all.
                Err(error) if error.loses_object() => {
                    open.known.remove(&handle);
                    let key = open.private_half(&handle, &public)?;
                    question.ask(&open.session, key)
                }
                outcome => outcome,
            }
        });
        Ok(signed.await?)
    }
}
