//! How many CAs and certificates there are.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How many there are of each status; the others are not counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub struct StatusCounts {
    /// In use.
    #[schemars(example = 10)]
    pub active: i64,
    /// Past their end, or taken out of use.
    #[schemars(example = 1)]
    pub expired: i64,
    /// Revoked or on hold.
    #[schemars(example = 1)]
    pub revoked: i64,
}

/// CAs and certificates, counted apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaStats {
    /// The CAs.
    pub cas: AuthorityCounts,
    /// The certificates, those of CAs included.
    pub certificates: CertificateCounts,
}

/// How many CAs there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorityCounts {
    /// All of them.
    #[schemars(example = 2)]
    pub total: i64,
    /// Per engine of the KMS that holds their keys; every engine is there.
    #[schemars(example = json!({"filesystem-1": 2}))]
    pub engine_distribution: BTreeMap<String, i64>,
    /// Per status.
    pub status_distribution: StatusCounts,
}

/// How many certificates there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateCounts {
    /// All of them.
    #[schemars(example = 12)]
    pub total: i64,
    /// Always empty: clients read the member, and nothing was ever counted there.
    #[schemars(example = json!({}))]
    pub ca_distribution: BTreeMap<String, i64>,
    /// Per status.
    pub status_distribution: StatusCounts,
}
