//! Configuration of the engine.

use serde::Deserialize;

/// Options of an engine of type `software`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftwareConfig {
    /// Id of the engine.
    pub id: String,
    /// Free members, shown in the engine's description. Default: none.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}
