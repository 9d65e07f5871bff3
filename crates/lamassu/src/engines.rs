//! The crypto engines of the configuration, opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_crypto_filesystem::{FilesystemConfig, FilesystemEngine};
use lamassu_crypto_pkcs11::{Modules, Pkcs11Config, Pkcs11Engine};
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_kms::{CryptoEnginesConfig, EngineConfig, EngineKind, UnavailableEngine};
use serde_json::{Value, json};

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
    let shared = Shared {
        generator: KeyGenerator::new(KEY_GENERATION_WORKERS),
        modules: Modules::default(),
    };
    let mut opened = Opened::default();
    for engine in &config.engines {
        match open_one(engine, &shared) {
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
            Ok(EngineKind::Pkcs11) => {
                pkcs11_options(engine).and_then(|options| Ok(options.validate()?))
            }
            // Reported and survived at start, unless it is the default.
            Err(_) => Ok(()),
        };
        options.with_context(|| engine.id.to_string())?;
    }
    module_environment(config).map(drop)
}

/// The variables that the modules of tokens want to find in the environment of the process.
///
/// # Errors
/// Two engines want different values of one variable, or an engine's options are wrong.
pub(crate) fn module_environment(config: &CryptoEnginesConfig) -> Result<BTreeMap<String, String>> {
    let mut wanted = BTreeMap::new();
    for engine in &config.engines {
        let Ok(EngineKind::Pkcs11) = engine.kind() else {
            continue;
        };
        for (name, value) in pkcs11_options(engine)?.module_extra_options.env {
            let before = wanted.insert(name.clone(), value.clone());
            ensure!(
                before.is_none_or(|before| before == value),
                "{}: another engine wants another value of the environment variable {name}",
                engine.id
            );
        }
    }
    Ok(wanted)
}

/// Every kind of engine with its keys and their defaults; `null` is none, required ones show what goes
/// there in angle brackets.
pub(crate) fn schema() -> Value {
    json!([
        {"id": "<id>", "type": EngineKind::Filesystem.as_str(), "storage_directory": "<directory>",
         "passphrase": null, "passphrase_file": null, "key_encryption_key": null, "metadata": {}},
        {"id": "<id>", "type": EngineKind::Software.as_str(), "metadata": {}},
        {"id": "<id>", "type": EngineKind::Pkcs11.as_str(), "module_path": "<file>",
         "token": "<label>", "token_serial": null, "pin": null, "pin_file": "<file>",
         "pin_env": null, "sessions": 4, "call_timeout": "10s",
         "module_extra_options": {"env": {}}, "metadata": {}},
    ])
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

/// The options of an engine of type `pkcs11`.
///
/// # Errors
/// Which option is wrong.
pub(crate) fn pkcs11_options(config: &EngineConfig) -> Result<Pkcs11Config> {
    Ok(config.options()?)
}

/// What the engines of a process share.
#[derive(Debug)]
struct Shared {
    generator: KeyGenerator,
    modules: Modules,
}

fn open_one(config: &EngineConfig, shared: &Shared) -> Result<Arc<dyn CryptoEngine>> {
    match config.kind()? {
        EngineKind::Filesystem => {
            let options = filesystem_options(config)?;
            Ok(Arc::new(FilesystemEngine::open(
                options,
                shared.generator.clone(),
            )?))
        }
        EngineKind::Software => {
            let options = software_options(config)?;
            Ok(Arc::new(SoftwareEngine::new(
                options,
                shared.generator.clone(),
            )))
        }
        EngineKind::Pkcs11 => {
            let options = pkcs11_options(config)?;
            let environment = |name: &str| std::env::var(name).ok();
            let engine = Pkcs11Engine::connect(options, &shared.modules, &environment)?;
            Ok(Arc::new(engine))
        }
    }
}

/// What runs when no engine is configured: keys in the data directory.
pub(crate) fn embedded(data_dir: &Path) -> CryptoEnginesConfig {
    CryptoEnginesConfig::filesystem_at(&data_dir.join("keys").to_string_lossy())
}

#[cfg(test)]
mod tests {
    use lamassu_kms::CryptoEnginesConfig;
    use serde_json::json;

    #[test]
    fn every_kind_in_the_schema_has_keys_that_are_read() {
        let config: CryptoEnginesConfig = serde_json::from_value(super::schema()).unwrap();
        for engine in &config.engines {
            match engine.kind().unwrap() {
                super::EngineKind::Filesystem => {
                    super::filesystem_options(engine)
                        .unwrap()
                        .validate()
                        .unwrap();
                }
                super::EngineKind::Software => drop(super::software_options(engine).unwrap()),
                super::EngineKind::Pkcs11 => {
                    super::pkcs11_options(engine).unwrap().validate().unwrap();
                }
            }
        }
        assert_eq!(config.engines.len(), 3);
    }

    #[test]
    fn engines_agree_on_the_environment_or_are_refused() {
        let engine = |id: &str, value: &str| {
            json!({"id": id, "type": "pkcs11", "module_path": "/m.so", "token": id, "pin": "1",
                   "module_extra_options": {"env": {"CONF": value}}})
        };
        let config = |other| {
            let list = json!([engine("a", "/one"), engine("b", other)]);
            serde_json::from_value::<CryptoEnginesConfig>(list).unwrap()
        };
        let agreed = super::module_environment(&config("/one")).unwrap();
        assert_eq!(agreed["CONF"], "/one");
        let refused = super::validate(&config("/two")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "b: another engine wants another value of the environment variable CONF"
        );
    }
}
