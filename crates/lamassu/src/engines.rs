//! The crypto engines of the configuration, opened.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_crypto_filesystem::{FilesystemConfig, FilesystemEngine};
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_kms::{CryptoEnginesConfig, EngineConfig, EngineKind, UnavailableEngine};

/// How many slow keys (large RSA) are made at the same time.
const KEY_GENERATION_WORKERS: usize = 1;

/// The engines that opened, and those that did not.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) engines: Vec<Arc<dyn CryptoEngine>>,
    pub(crate) unavailable: Vec<UnavailableEngine>,
}

/// Opens every configured engine. One that does not open is survived, unless it is the default.
///
/// # Errors
/// The default engine does not open.
pub(crate) fn open(config: &CryptoEnginesConfig) -> Result<Opened> {
    let generator = KeyGenerator::new(KEY_GENERATION_WORKERS);
    let mut opened = Opened::default();
    for engine in &config.engines {
        match open_one(engine, &generator) {
            Ok(engine) => opened.engines.push(engine),
            Err(error) if engine.id == config.default_id => {
                return Err(error.context(format!(
                    "the default crypto engine {} does not open",
                    engine.id
                )));
            }
            Err(error) => opened.unavailable.push(UnavailableEngine {
                id: engine.id.clone(),
                engine_type: engine.engine_type.clone(),
                cause: error.into(),
            }),
        }
    }
    Ok(opened)
}

/// Checks the block and every engine's options, without opening anything.
///
/// # Errors
/// Which engine, and what is wrong with it.
pub(crate) fn validate(config: &CryptoEnginesConfig) -> Result<()> {
    config.validate()?;
    for engine in &config.engines {
        let options = match engine.kind() {
            Ok(EngineKind::Filesystem) => {
                filesystem_options(engine).and_then(|options| Ok(options.validate()?))
            }
            Ok(EngineKind::Software) => software_options(engine).map(drop),
            // Reported and survived at start, unless it is the default.
            Err(_) => Ok(()),
        };
        options.with_context(|| engine.id.to_string())?;
    }
    Ok(())
}

/// The options of an engine of type `filesystem`.
///
/// # Errors
/// Which option is wrong.
pub(crate) fn filesystem_options(config: &EngineConfig) -> Result<FilesystemConfig> {
    Ok(config.options()?)
}

fn software_options(config: &EngineConfig) -> Result<SoftwareConfig> {
    Ok(config.options()?)
}

fn open_one(config: &EngineConfig, generator: &KeyGenerator) -> Result<Arc<dyn CryptoEngine>> {
    match config.kind()? {
        EngineKind::Filesystem => {
            let options = filesystem_options(config)?;
            Ok(Arc::new(FilesystemEngine::open(
                options,
                generator.clone(),
            )?))
        }
        EngineKind::Software => {
            let options = software_options(config)?;
            Ok(Arc::new(SoftwareEngine::new(options, generator.clone())))
        }
    }
}

/// What runs when no engine is configured: keys in the data directory.
pub(crate) fn embedded(data_dir: &Path) -> CryptoEnginesConfig {
    CryptoEnginesConfig::filesystem_at(&data_dir.join("keys").to_string_lossy())
}
