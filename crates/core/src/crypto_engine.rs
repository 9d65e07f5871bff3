//! The port that key holders implement: files, memory, HSMs, clouds.
//!
//! An engine makes, takes, signs with and forgets private keys, and names each by a
//! [`KeyHandle`] that its caller, the key management service, chose beforehand: so a crash
//! between storing a key and recording it leaves a name that can be looked for. Names, aliases,
//! tags, permissions and the wire are the service's; an engine knows none of them. Verifying
//! needs no engine: [`PublicKey::verify`](lamassu_crypto::PublicKey::verify).
//!
//! The port is small and mandatory. What an engine cannot do it answers with
//! [`EngineError::Unsupported`], which callers can tell from failure.
//!
//! Where next: `crypto-software`, `crypto-filesystem` and `crypto-pkcs11`, and the conformance suite in
//! `lamassu-testing` that all pass.

mod error;
mod handle;
mod info;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lamassu_crypto::{KeySpec, Message, PrivateKey, PublicKey, SignatureScheme};

pub use error::{Cause, EngineError, Unsupported};
pub use handle::{InvalidKeyHandle, KeyHandle};
pub use info::{EngineInfo, EngineType, KeyRetention, SecurityLevel};

/// A holder of private keys.
///
/// All calls may run at the same time, also for one handle. A call whose future is dropped may
/// still take effect.
#[async_trait]
pub trait CryptoEngine: Send + Sync + fmt::Debug {
    /// What this engine is. Constant over its life.
    fn info(&self) -> &EngineInfo;

    /// Makes a key and keeps it under `handle`. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`EngineError::KeyExists`] when the handle is taken, [`EngineError::Unsupported`] when
    /// `spec` is none of [`EngineInfo::supported`], [`EngineError::Busy`] when too many slow
    /// keys are being made.
    async fn generate(&self, handle: &KeyHandle, spec: KeySpec) -> Result<PublicKey, EngineError>;

    /// Keeps `key` under `handle`. Durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate); engines that take no foreign keys say
    /// [`EngineError::Unsupported`].
    async fn import(&self, handle: &KeyHandle, key: PrivateKey) -> Result<PublicKey, EngineError>;

    /// The key under `handle`, ready to sign. Engines keep what makes this and the signatures
    /// cheap (parsed keys, sessions), so callers may ask anew each time.
    ///
    /// # Errors
    ///
    /// [`EngineError::KeyNotFound`]; [`EngineError::KeyUnreadable`] when it is there but cannot
    /// be used.
    async fn signer(&self, handle: &KeyHandle) -> Result<Arc<dyn Signer>, EngineError>;

    /// A copy of the private key, for moving it into another engine. Engines whose keys never
    /// leave them do not have this, and that is the default.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unsupported`]; else as [`signer`](Self::signer).
    async fn export(&self, handle: &KeyHandle) -> Result<PrivateKey, EngineError> {
        let _ = handle;
        Err(EngineError::Unsupported(Unsupported::Export))
    }

    /// Whether the back end answers. By default: whether it lists. Cheap enough to be asked every
    /// few seconds.
    ///
    /// # Errors
    ///
    /// Only failures of the back end.
    async fn health(&self) -> Result<(), EngineError> {
        self.list(None, 1).await.map(drop)
    }

    /// Where the keys are, in words for operators: a directory, for example. Empty by default: there
    /// is nothing to tell.
    fn place(&self) -> String {
        String::new()
    }

    /// Which of these handles have no key here. An engine that cannot tell that without effort names
    /// none, and that is the default.
    ///
    /// # Errors
    ///
    /// Only failures of the back end.
    async fn missing(&self, handles: Vec<KeyHandle>) -> Result<Vec<KeyHandle>, EngineError> {
        drop(handles);
        Ok(Vec::new())
    }

    /// Forgets the key. A handle without a key is no error, so that it can be repeated.
    ///
    /// # Errors
    ///
    /// Only failures of the back end, or [`EngineError::Unsupported`].
    async fn delete(&self, handle: &KeyHandle) -> Result<(), EngineError>;

    /// The handles in use, in ascending order of their text, at most `limit` of them, beginning
    /// behind `after`. What is in the back end and is no key of ours is left out.
    ///
    /// # Errors
    ///
    /// Only failures of the back end.
    async fn list(
        &self,
        after: Option<&KeyHandle>,
        limit: usize,
    ) -> Result<Vec<KeyHandle>, EngineError>;
}

/// Where a private key is, for whoever decides how far to believe its signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// In this process, in one object with the public half that was computed from it: a signature
    /// is of [`Signer::public_key`] by construction.
    Memory,
    /// In a device, in a service, behind a driver: one can mix keys up.
    Elsewhere,
}

/// A private key that signs, wherever it is.
#[async_trait]
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Where the private key is. By default elsewhere.
    fn location(&self) -> KeyLocation {
        KeyLocation::Elsewhere
    }

    /// Signs; encodings as [`PrivateKey::sign`]. Keys in memory answer without waiting.
    ///
    /// # Errors
    ///
    /// [`EngineError::Sign`] when the question makes no sense for this key,
    /// [`EngineError::Unsupported`] when this engine does not have the scheme.
    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError>;
}

#[async_trait]
impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        Self::public_key(self)
    }

    fn location(&self) -> KeyLocation {
        KeyLocation::Memory
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        Ok(Self::sign(self, scheme, message)?)
    }
}
