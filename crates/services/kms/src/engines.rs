//! The crypto engines of this process, and what they say about themselves.

use std::sync::Arc;

use lamassu_core::crypto_engine::{
    CryptoEngine, EngineError, EngineInfo, EngineType, KeyHandle, KeyRetention,
};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::EngineId;
use lamassu_core::kms::{
    EngineDescription, EngineHealth, EngineStatus, KeyType, KmsError, SupportedKeyType,
};
use lamassu_crypto::SignError;

use crate::service::{StartError, UnavailableEngine};

/// The engines of the configuration, in its order: those that opened, and then the others.
#[derive(Debug)]
pub(crate) struct Engines {
    all: Vec<Arc<dyn CryptoEngine>>,
    unopened: Vec<UnavailableEngine>,
    default: Arc<dyn CryptoEngine>,
}

impl Engines {
    /// Refuses engines that share an id, and a default engine that is not among them.
    pub(crate) fn try_new(
        all: Vec<Arc<dyn CryptoEngine>>,
        unopened: Vec<UnavailableEngine>,
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
        Ok(Self {
            all,
            unopened,
            default,
        })
    }

    /// The engine that a request names; the default one for the empty id.
    pub(crate) fn requested(&self, id: &EngineId) -> Result<&Arc<dyn CryptoEngine>, KmsError> {
        if id.is_empty() {
            return Ok(&self.default);
        }
        self.opened_or(id, KmsError::EngineNotFound)
    }

    /// The engine that holds a stored key.
    pub(crate) fn holder(&self, id: &EngineId) -> Result<&Arc<dyn CryptoEngine>, KmsError> {
        self.opened_or(id, KmsError::KeyEngineMissing)
    }

    /// The engine of this id; `unknown` where no configuration names it.
    fn opened_or(
        &self,
        id: &EngineId,
        unknown: KmsError,
    ) -> Result<&Arc<dyn CryptoEngine>, KmsError> {
        self.by_id(id).ok_or_else(|| {
            if self.unopened.iter().any(|engine| engine.id == *id) {
                KmsError::EngineNotOpened(id.to_string())
            } else {
                unknown
            }
        })
    }

    pub(crate) fn by_id(&self, id: &EngineId) -> Option<&Arc<dyn CryptoEngine>> {
        self.all.iter().find(|engine| engine.info().id == *id)
    }

    /// The engines that opened.
    pub(crate) fn opened(&self) -> &[Arc<dyn CryptoEngine>] {
        &self.all
    }

    /// The engines that are configured and did not open.
    pub(crate) fn unopened(&self) -> &[UnavailableEngine] {
        &self.unopened
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

    /// An engine that opened, as the API shows it.
    pub(crate) fn describe(&self, info: &EngineInfo, health: EngineHealth) -> EngineDescription {
        EngineDescription {
            engine_type: info.engine_type.as_str().to_owned(),
            security_level: info.security_level.level(),
            provider: info.provider.clone(),
            name: info.name.clone(),
            metadata: Some(info.metadata.clone()),
            supported_key_types: supported_key_types(info),
            id: info.id.clone(),
            default: info.id == self.default.info().id,
            health,
        }
    }
}

/// An engine that did not open, as the API shows it: it takes no keys, so nobody chooses it.
pub(crate) fn describe_unopened(engine: &UnavailableEngine) -> EngineDescription {
    EngineDescription {
        engine_type: wire_type(&engine.engine_type),
        security_level: 0,
        provider: String::new(),
        name: String::new(),
        metadata: None,
        supported_key_types: Vec::new(),
        id: engine.id.clone(),
        default: false,
        health: EngineHealth {
            status: EngineStatus::Unopened,
            error: Some("the engine did not open".to_owned()),
        },
    }
}

/// The wire's word for a type of the configuration; one that nobody knows stands for itself.
fn wire_type(configured: &str) -> String {
    let known = match configured {
        "filesystem" | "software" => EngineType::Golang,
        "pkcs11" => EngineType::Pkcs11,
        "hashicorp_vault" => EngineType::HashicorpVaultKvV2,
        "aws_kms" => EngineType::AwsKms,
        "aws_secrets_manager" => EngineType::AwsSecretsManager,
        other => return other.to_owned(),
    };
    known.as_str().to_owned()
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
        EngineError::Unavailable(_) | EngineError::NotReached(_) => {
            KmsError::EngineUnavailable(Box::new(error))
        }
        EngineError::Sign(SignError::DigestLength { .. }) => KmsError::DigestSize,
        EngineError::KeyDisabled => KmsError::KeyDisabled,
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

/// Which key of which engine it is that signs nothing, for the log.
#[derive(Debug, thiserror::Error)]
#[error("engine {engine_id} gives no key {handle}{}", at(.place))]
pub(crate) struct KeyNotGiven {
    engine_id: EngineId,
    handle: KeyHandle,
    place: String,
    pub(crate) source: EngineError,
}

fn at(place: &str) -> String {
    match place {
        "" => String::new(),
        place => format!(" from {place}"),
    }
}

/// What it means that an engine gives no signer for a key that has a row.
pub(crate) fn no_signer(
    engine: &dyn CryptoEngine,
    handle: &KeyHandle,
    source: EngineError,
) -> KmsError {
    let kind = source.kind();
    let cause = Box::new(KeyNotGiven {
        engine_id: engine.info().id.clone(),
        handle: handle.clone(),
        place: engine.place(),
        source,
    });
    match kind {
        ErrorKind::Unavailable => KmsError::EngineUnavailable(cause),
        _ => KmsError::SigningKey(cause),
    }
}
