//! What an engine is.

use lamassu_crypto::KeySpec;

use super::error::{EngineError, Unsupported};
use crate::ids::EngineId;

/// What an engine is, as the key management service describes it. Which engine is the default
/// one is not the engine's knowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The id it was configured under.
    pub id: EngineId,
    /// Which kind of engine.
    pub engine_type: EngineType,
    /// How well the private keys are protected.
    pub security_level: SecurityLevel,
    /// How long keys are kept.
    pub retention: KeyRetention,
    /// Who makes the back end. Stands in error texts.
    pub provider: String,
    /// Which product it is.
    pub name: String,
    /// Free members from the configuration.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Exactly what can be generated and imported.
    pub supported: Vec<KeySpec>,
}

impl EngineInfo {
    /// Whether keys of this kind and size can be made and imported.
    #[must_use]
    pub fn supports(&self, spec: KeySpec) -> bool {
        self.supported.contains(&spec)
    }

    /// Refuses what is not supported.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unsupported`] naming `spec`.
    pub fn require(&self, spec: KeySpec) -> Result<(), EngineError> {
        if self.supports(spec) {
            Ok(())
        } else {
            Err(EngineError::Unsupported(Unsupported::KeySpec(spec)))
        }
    }
}

/// Kinds of engines that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineType {
    /// A token behind PKCS#11.
    Pkcs11,
    /// Azure Key Vault.
    AzureKeyVault,
    /// Keys in this process, in files or in memory.
    Golang,
    /// HashiCorp Vault, key-value store version 2.
    HashicorpVaultKvV2,
    /// AWS Key Management Service.
    AwsKms,
    /// AWS Secrets Manager.
    AwsSecretsManager,
}

impl EngineType {
    /// The wire's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pkcs11 => "PKCS11",
            Self::AzureKeyVault => "AZURE_KEY_VAULT",
            Self::Golang => "GOLANG",
            Self::HashicorpVaultKvV2 => "HASHICORP_VAULT_KV_V2",
            Self::AwsKms => "AWS_KMS",
            Self::AwsSecretsManager => "AWS_SECRETS_MANAGER",
        }
    }
}

/// How well an engine protects private keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityLevel {
    /// In the memory and files of this host: 0.
    Host,
    /// Kept by another system, used in the memory of this host: 1.
    RemoteStore,
    /// Never leaves the device that signs: 2.
    Device,
}

impl SecurityLevel {
    /// The wire's number.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::Host => 0,
            Self::RemoteStore => 1,
            Self::Device => 2,
        }
    }
}

/// How long an engine keeps its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRetention {
    /// Until they are deleted.
    Durable,
    /// Until the process ends.
    Process,
}
