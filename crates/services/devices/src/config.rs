//! Configuration of the device manager; every key is optional.

use lamassu_core::duration::WireDuration;
use serde::{Deserialize, Serialize};

use crate::values::IndexedPath;

/// Configuration of the device manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DevicesConfig {
    /// Device and slot history.
    pub events: HistoryConfig,
    /// Device groups.
    pub device_groups: GroupsConfig,
    /// Places in metadata, as `$.member.member`, by whose values devices are found by an index:
    /// `metadata[jsonpath]$.site == "Graz"`. At most 16, the same in all processes. Default none.
    pub indexed_metadata: Vec<String>,
}

/// Device groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupsConfig {
    /// How deep groups may be nested, a group without parent being 1 deep. At least 1. Default 10.
    pub max_depth: u32,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self { max_depth: 10 }
    }
}

/// Device and slot history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryConfig {
    /// How many of the newest entries a device, and each of its slots, shows in v1. At least 1.
    /// Default 500.
    pub v1_limit: u32,
    /// Within which time changes of a device's members by the same caller are one history entry. 0 keeps
    /// them apart. Default `60s`.
    pub coalesce: WireDuration,
    /// Whether the history of a device stays when its record is removed. Default `false`.
    pub retain_after_delete: bool,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            v1_limit: 500,
            coalesce: WireDuration::from_secs(60),
            retain_after_delete: false,
        }
    }
}

impl DevicesConfig {
    /// Most declared paths.
    const MAX_PATHS: usize = 16;

    /// The declared paths.
    ///
    /// # Errors
    /// [`ConfigError::Path`], [`ConfigError::Paths`].
    pub(crate) fn indexed_paths(&self) -> Result<Vec<IndexedPath>, ConfigError> {
        if self.indexed_metadata.len() > Self::MAX_PATHS {
            return Err(ConfigError::Paths);
        }
        let paths = self
            .indexed_metadata
            .iter()
            .map(|text| IndexedPath::parse(text).ok_or_else(|| ConfigError::Path(text.clone())));
        paths.collect()
    }

    /// Checks the values; reads and opens nothing.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.events.v1_limit == 0 {
            return Err(ConfigError::HistoryLimit);
        }
        if self.device_groups.max_depth == 0 {
            return Err(ConfigError::GroupDepth);
        }
        if self.events.coalesce.is_negative() {
            return Err(ConfigError::Coalesce);
        }
        self.indexed_paths().map(drop)
    }
}

/// Why the configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Without history the times of events could not be kept apart.
    #[error("events.v1_limit must be at least 1")]
    HistoryLimit,
    /// There could be no groups.
    #[error("device_groups.max_depth must be at least 1")]
    GroupDepth,
    /// The path is none of member names.
    #[error("indexed_metadata: {0:?} is no path of the form $.member.member")]
    Path(String),
    /// Each path costs every change something.
    #[error("indexed_metadata has at most 16 paths")]
    Paths,
    /// Time does not run backwards.
    #[error("events.coalesce must not be negative")]
    Coalesce,
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, DevicesConfig};

    #[test]
    fn an_absent_key_has_its_default() {
        let config: DevicesConfig = serde_json::from_str(r#"{"events":{}}"#).unwrap();
        assert_eq!(config.events.v1_limit, 500);
        assert_eq!(config.device_groups.max_depth, 10);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let mut config = DevicesConfig::default();
        config.events.v1_limit = 0;
        assert_eq!(config.validate(), Err(ConfigError::HistoryLimit));
        let mut config = DevicesConfig::default();
        config.device_groups.max_depth = 0;
        assert_eq!(config.validate(), Err(ConfigError::GroupDepth));
    }
}
