//! The six name attributes that the wire knows.

use lamassu_x509::SubjectFields;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A subject or issuer on the wire: six strings, always present, `""` when absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Subject {
    /// The last CN.
    #[schemars(example = &"sensor-0001")]
    pub common_name: String,
    /// The first O.
    #[schemars(example = &"Example")]
    pub organization: String,
    /// The first OU.
    #[schemars(example = &"Factory")]
    pub organization_unit: String,
    /// The first C.
    #[schemars(example = &"ES")]
    pub country: String,
    /// The first ST.
    #[schemars(example = &"Gipuzkoa")]
    pub state: String,
    /// The first L.
    #[schemars(example = &"Mondragon")]
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

    /// The name with these six attributes as its only ones.
    pub fn to_fields(&self) -> SubjectFields {
        let Self {
            common_name,
            organization,
            organization_unit,
            country,
            state,
            locality,
        } = self.clone();
        SubjectFields {
            common_name,
            organization,
            organizational_unit: organization_unit,
            country,
            state,
            locality,
        }
    }
}
