//! The crypto engines of this process, and what they say about themselves.

use std::sync::Arc;

use lamassu_core::crypto_engine::{CryptoEngine, EngineError, EngineInfo, KeyRetention};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::EngineId;
use lamassu_core::kms::{EngineDescription, KmsError, SupportedKeyType};
use lamassu_crypto::SignError;

use crate::algorithm::KeyType;
use crate::service::StartError;

/// The engines that opened, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Engines {
    all: Vec<Arc<dyn CryptoEngine>>,
    default: Arc<dyn CryptoEngine>,
}

impl Engines {
    /// Refuses engines that share an id, and a default engine that is not among them.
    pub(crate) fn try_new(
        all: Vec<Arc<dyn CryptoEngine>>,
        default: &EngineId,
    ) -> Result<Self, StartError> {
        for (index, engine) in all.iter().enumerate() {
            let id = &engine.info().id;
            if all
                .iter()
                .skip(index + 1)
                .any(|other| other.info().id == *id)
            {
                return Err(StartError::DuplicateEngine(id.clone()));
            }
        }
        let found = all.iter().find(|engine| engine.info().id == *default);
        let default = Arc::clone(found.ok_or(StartError::NoDefaultEngine)?);
        Ok(Self { all, default })
    }

    /// The engine that a request names; the default one for the empty id.
    pub(crate) fn requested(&self, id: &EngineId) -> Result<&Arc<dyn CryptoEngine>, KmsError> {
        if id.is_empty() {
            return Ok(&self.default);
        }
        self.by_id(id).ok_or(KmsError::EngineNotFound)
    }

    /// The engine that holds a stored key.
    pub(crate) fn holder(&self, id: &EngineId) -> Result<&Arc<dyn CryptoEngine>, KmsError> {
        self.by_id(id).ok_or(KmsError::KeyEngineMissing)
    }

    pub(crate) fn by_id(&self, id: &EngineId) -> Option<&Arc<dyn CryptoEngine>> {
        self.all.iter().find(|engine| engine.info().id == *id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &EngineId> {
        self.all.iter().map(|engine| &engine.info().id)
    }

    /// The engines whose keys ended with the last process.
    pub(crate) fn volatile_ids(&self) -> impl Iterator<Item = &EngineId> {
        let infos = self.all.iter().map(|engine| engine.info());
        infos
            .filter(|info| match info.retention {
                KeyRetention::Process => true,
                KeyRetention::Durable => false,
            })
            .map(|info| &info.id)
    }

    pub(crate) fn describe(&self) -> Vec<EngineDescription> {
        let default = &self.default.info().id;
        let infos = self.all.iter().map(|engine| engine.info());
        infos.map(|info| describe(info, default)).collect()
    }
}

fn describe(info: &EngineInfo, default: &EngineId) -> EngineDescription {
    EngineDescription {
        engine_type: info.engine_type.as_str().to_owned(),
        security_level: info.security_level.level(),
        provider: info.provider.clone(),
        name: info.name.clone(),
        metadata: Some(info.metadata.clone()),
        supported_key_types: supported_key_types(info),
        id: info.id.clone(),
        default: info.id == *default,
    }
}

/// What the engine takes, by key type in the order in which the engine names them.
fn supported_key_types(info: &EngineInfo) -> Vec<SupportedKeyType> {
    let mut types: Vec<SupportedKeyType> = Vec::new();
    for spec in &info.supported {
        let key_type = KeyType::of(*spec).as_str();
        match types.iter_mut().find(|known| known.key_type == key_type) {
            Some(known) => known.sizes.push(spec.bits()),
            None => types.push(SupportedKeyType {
                key_type: key_type.to_owned(),
                sizes: vec![spec.bits()],
            }),
        }
    }
    types
}

/// What an engine's refusal means to the client.
pub(crate) fn refused(engine: &EngineId, error: EngineError) -> KmsError {
    match error {
        EngineError::Busy => KmsError::Busy,
        EngineError::Unavailable(_) => KmsError::EngineUnavailable(Box::new(error)),
        EngineError::Sign(SignError::DigestLength { .. }) => KmsError::DigestSize,
        _ if error.kind() == ErrorKind::Invalid => KmsError::UnsupportedAlgorithm,
        EngineError::Unsupported(_) => KmsError::EngineUnsupported(engine.to_string()),
        EngineError::KeyNotFound
        | EngineError::KeyExists
        | EngineError::KeyUnreadable(_)
        | EngineError::Sign(_)
        | EngineError::Key(_)
        | EngineError::Failed(_) => KmsError::Engine(Box::new(error)),
    }
}

/// What it means that an engine gives no signer for a key that has a row.
pub(crate) fn no_signer(error: EngineError) -> KmsError {
    match error.kind() {
        ErrorKind::Unavailable => KmsError::EngineUnavailable(Box::new(error)),
        _ => KmsError::SigningKey(Box::new(error)),
    }
}
