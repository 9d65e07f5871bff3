//! The six name attributes that the wire knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A subject or issuer on the wire: six strings, always present, `""` when absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Subject {
    /// The last CN.
    pub common_name: String,
    /// The first O.
    pub organization: String,
    /// The first OU.
    pub organization_unit: String,
    /// The first C.
    pub country: String,
    /// The first ST.
    pub state: String,
    /// The first L.
    pub locality: String,
}

impl Subject {
    /// A subject with a common name only.
    pub fn with_common_name(common_name: impl Into<String>) -> Self {
        Self {
            common_name: common_name.into(),
            ..Self::default()
        }
    }
}
