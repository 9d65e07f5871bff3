//! Keys by handle: the directory, the encryption of its files, and what was read already.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_crypto::PrivateKey;
use moka::sync::Cache;
use zeroize::Zeroizing;

use crate::config::KeySecret;
use crate::directory::KeyDirectory;
use crate::envelope::{Envelope, EnvelopeError, Protection, protection};
use crate::error::{KeyFileError, OpenError};

/// Parsed keys that are kept.
const CACHE_CAPACITY: u64 = 10_000;

/// The keys of one directory. Every method but [`cached`](Self::cached) blocks on the disk.
pub(crate) struct KeyStore {
    directory: KeyDirectory,
    envelope: Envelope,
    cache: Cache<KeyHandle, Arc<PrivateKey>>,
}

impl KeyStore {
    /// Opens the directory, checks the secret against an encrypted key, if there is one, and
    /// encrypts clear ones, if there is a secret.
    pub(crate) fn open(directory: PathBuf, secret: Option<KeySecret>) -> Result<Self, OpenError> {
        let directory = KeyDirectory::open(directory)?;
        let envelope = Envelope::new(secret)
            .map_err(|error| key_file_error(directory.location().to_owned(), error))?;
        let mut store = Self {
            directory,
            envelope,
            cache: Cache::new(CACHE_CAPACITY),
        };
        store.take_over()?;
        Ok(store)
    }

    /// Where the files are.
    pub(crate) fn location(&self) -> &Path {
        self.directory.location()
    }

    /// Stores `key` under a handle that is free, durably.
    pub(crate) fn create(&self, handle: &KeyHandle, key: PrivateKey) -> Result<(), KeyFileError> {
        self.require_free(handle)?;
        let content = self.seal(handle, &key)?;
        self.directory.create(handle, content.as_bytes())?;
        self.keep(handle, Arc::new(key))?;
        Ok(())
    }

    /// Refuses a handle that is taken. Only [`create`](Self::create) decides; this spares the
    /// caller from making a key in vain.
    pub(crate) fn require_free(&self, handle: &KeyHandle) -> Result<(), KeyFileError> {
        if self.directory.contains(handle)? {
            return Err(KeyFileError::Exists(self.directory.path(handle)));
        }
        Ok(())
    }

    /// The key, when it was read before. Does not block.
    pub(crate) fn cached(&self, handle: &KeyHandle) -> Option<Arc<PrivateKey>> {
        self.cache.get(handle)
    }

    /// The key, read from its file and kept from then on.
    pub(crate) fn load(&self, handle: &KeyHandle) -> Result<Arc<PrivateKey>, KeyFileError> {
        let key = Arc::new(self.read(handle)?);
        self.keep(handle, Arc::clone(&key))?;
        Ok(key)
    }

    /// The key, read from its file for whoever takes it elsewhere; not kept.
    pub(crate) fn export(&self, handle: &KeyHandle) -> Result<PrivateKey, KeyFileError> {
        self.read(handle)
    }

    /// Those of these handles that have no file.
    pub(crate) fn missing(&self, handles: Vec<KeyHandle>) -> Result<Vec<KeyHandle>, KeyFileError> {
        let mut missing = Vec::new();
        for handle in handles {
            if !self.directory.contains(&handle)? {
                missing.push(handle);
            }
        }
        Ok(missing)
    }

    /// Removes the file, durably, and forgets the key.
    pub(crate) fn delete(&self, handle: &KeyHandle) -> Result<(), KeyFileError> {
        let removed = self.directory.remove(handle);
        self.cache.invalidate(handle);
        removed
    }

    /// A page of the handles in use; stray files are passed over.
    pub(crate) fn list(
        &self,
        after: Option<&KeyHandle>,
        limit: usize,
    ) -> Result<Vec<KeyHandle>, KeyFileError> {
        let mut cursor = after.cloned();
        loop {
            let names = self.directory.names(cursor.as_ref(), limit)?;
            let Some(last) = names.last().cloned() else {
                return Ok(Vec::new());
            };
            let keys: Vec<_> = names
                .into_iter()
                .filter(|handle| self.protection(handle).is_some())
                .collect();
            if !keys.is_empty() {
                return Ok(keys);
            }
            cursor = Some(last);
        }
    }

    /// Keeps the key unless its file was deleted meanwhile: that deletion has forgotten the key
    /// before it was kept.
    fn keep(&self, handle: &KeyHandle, key: Arc<PrivateKey>) -> Result<(), KeyFileError> {
        self.cache.insert(handle.clone(), key);
        if !self.directory.contains(handle)? {
            self.cache.invalidate(handle);
            return Err(KeyFileError::Missing(self.directory.path(handle)));
        }
        Ok(())
    }

    /// `None` for what is no key file.
    fn protection(&self, handle: &KeyHandle) -> Option<Protection> {
        let content = self.directory.read(handle).ok()?;
        protection(&content)
    }

    /// Opens the first encrypted key, so that a wrong passphrase is found at the start, and goes
    /// on as it was written. Where a secret is configured, encrypts what is not.
    fn take_over(&mut self) -> Result<(), KeyFileError> {
        const PAGE: usize = 1_000;
        let mut checked = false;
        let mut page = self.list(None, PAGE)?;
        while let Some(last) = page.last() {
            for handle in &page {
                match self.protection(handle) {
                    Some(Protection::Encrypted) if !checked => {
                        checked = self.check_secret(handle)?;
                    }
                    Some(Protection::Clear) if self.envelope.encrypts() => {
                        self.encrypt_in_place(handle)?;
                    }
                    Some(Protection::Encrypted | Protection::Clear) | None => {}
                }
            }
            page = self.list(Some(last), PAGE)?;
        }
        Ok(())
    }

    /// Whether the encrypted key says that the secret is right. A damaged file says nothing.
    fn check_secret(&mut self, handle: &KeyHandle) -> Result<bool, KeyFileError> {
        match self.read(handle) {
            Ok(_) => {
                let content = self.directory.read(handle)?;
                self.envelope.continue_from(&content);
                Ok(true)
            }
            Err(error @ (KeyFileError::WrongPassphrase(_) | KeyFileError::NoPassphrase(_))) => {
                Err(error)
            }
            Err(error) => {
                tracing::warn!(%error, "encrypted key file not usable");
                Ok(false)
            }
        }
    }

    /// Replaces a clear key file by an encrypted one. What is no usable key is left alone.
    fn encrypt_in_place(&self, handle: &KeyHandle) -> Result<(), KeyFileError> {
        let key = match self.read(handle) {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(%error, "clear key file not encrypted");
                return Ok(());
            }
        };
        let content = self.seal(handle, &key)?;
        self.directory.replace(handle, content.as_bytes())?;
        tracing::info!(key_handle = %handle, "clear key file encrypted");
        Ok(())
    }

    fn seal(
        &self,
        handle: &KeyHandle,
        key: &PrivateKey,
    ) -> Result<Zeroizing<String>, KeyFileError> {
        let sealed = self.envelope.seal(key);
        sealed.map_err(|error| key_file_error(self.directory.path(handle), error))
    }

    fn read(&self, handle: &KeyHandle) -> Result<PrivateKey, KeyFileError> {
        let opened = self.envelope.open(&self.directory.read(handle)?);
        opened.map_err(|error| key_file_error(self.directory.path(handle), error))
    }
}

fn key_file_error(path: PathBuf, error: EnvelopeError) -> KeyFileError {
    match error {
        EnvelopeError::NoPassphrase => KeyFileError::NoPassphrase(path),
        EnvelopeError::WrongPassphrase => KeyFileError::WrongPassphrase(path),
        EnvelopeError::UnsupportedEncryption => KeyFileError::UnsupportedEncryption(path),
        EnvelopeError::Key(cause) => KeyFileError::Key(path, cause),
        EnvelopeError::Encryption => KeyFileError::Encryption(path),
    }
}
