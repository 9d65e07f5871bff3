//! Numbers of devices as v2 gives them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DeviceStatus;
use crate::ids::DeviceGroupId;
use crate::query::{Filter, SortPath};
use crate::timestamp::Timestamp;

/// Which devices are counted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountDevices {
    /// What every one fulfils.
    pub filters: Vec<Filter>,
    /// What they are divided by.
    pub group_by: Option<GroupBy>,
    /// Whether health is told.
    pub health: bool,
    /// Whether it is told how many identities end soon.
    pub expiration: bool,
    /// The group whose members they are.
    pub group: Option<DeviceGroupId>,
}

/// What devices are divided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Their DMS.
    Owner,
    /// Their tags; a device with several counts for each.
    Tags,
    /// A place in their metadata.
    Metadata(SortPath),
}

impl GroupBy {
    /// Reads `dms_owner`, `tags` or `metadata[jsonpath]$.path`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "dms_owner" => Some(Self::Owner),
            "tags" => Some(Self::Tags),
            other => {
                let path = other.strip_prefix("metadata[jsonpath]")?;
                SortPath::parse(path).map(Self::Metadata)
            }
        }
    }

    /// As [`parse`](Self::parse) reads it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Owner => "dms_owner".to_owned(),
            Self::Tags => "tags".to_owned(),
            Self::Metadata(path) => format!("metadata[jsonpath]{path}"),
        }
    }
}

/// Numbers of devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceStatistics {
    /// All of them.
    #[schemars(example = 3)]
    pub total: u64,
    /// By status; every status is present, and their sum is the total.
    #[schemars(example = json!({"ACTIVE": 2, "NO_IDENTITY": 1}))]
    pub status_distribution: BTreeMap<DeviceStatus, u64>,
    /// When that was so.
    pub as_of: Timestamp,
    /// What the statuses come to; only where `include` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Health>")]
    pub health: Option<Health>,
    /// How many identities end within a time; only where `include` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expiration>")]
    pub expiration: Option<Expiration>,
    /// The same by value of what `group_by` names, largest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Breakdown>>")]
    pub breakdown: Option<Vec<Breakdown>>,
}

/// What the statuses come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Those that are `ACTIVE`.
    #[schemars(example = 2)]
    pub healthy: u64,
    /// Those in a renewal window.
    #[schemars(example = 0)]
    pub attention: u64,
    /// Those that are expired or revoked.
    #[schemars(example = 0)]
    pub critical: u64,
    /// Those without identity, and retired ones.
    #[schemars(example = 1)]
    pub inactive: u64,
    /// Healthy ones among those that are not retired; `null` where there are none.
    #[schemars(example = 0.67)]
    pub ratio: Option<f64>,
}

impl Health {
    /// Of this distribution.
    pub fn of(distribution: &BTreeMap<DeviceStatus, u64>) -> Self {
        let count = |status| distribution.get(&status).copied().unwrap_or_default();
        let sum = |one, other| count(one).saturating_add(count(other));
        let total: u64 = distribution.values().sum();
        let in_use = total.saturating_sub(count(DeviceStatus::Decommissioned));
        let healthy = count(DeviceStatus::Active);
        Self {
            healthy,
            attention: sum(DeviceStatus::RenewalPending, DeviceStatus::ExpiringSoon),
            critical: sum(DeviceStatus::Expired, DeviceStatus::Revoked),
            inactive: sum(DeviceStatus::NoIdentity, DeviceStatus::Decommissioned),
            ratio: ratio(healthy, in_use),
        }
    }
}

/// Numbers of devices are exact as floats for a long time to come.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    let float = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    (whole > 0).then(|| float(part) / float(whole))
}

/// How many identities end within a time from now; those that have ended or are revoked count nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expiration {
    /// Within a day.
    #[serde(rename = "24h")]
    #[schemars(example = 0)]
    pub day: u64,
    /// Within a week.
    #[serde(rename = "7d")]
    #[schemars(example = 0)]
    pub week: u64,
    /// Within 30 days.
    #[serde(rename = "30d")]
    #[schemars(example = 1)]
    pub month: u64,
    /// Within 90 days.
    #[serde(rename = "90d")]
    #[schemars(example = 2)]
    pub quarter: u64,
}

/// The devices of one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Breakdown {
    /// The value; `null` for those that have none, and for all values beyond the first 100.
    #[schemars(example = json!("assembly-line-1"))]
    pub value: Value,
    /// All of them.
    #[schemars(example = 3)]
    pub total: u64,
    /// By status; every status is present.
    #[schemars(example = json!({"ACTIVE": 2, "NO_IDENTITY": 1}))]
    pub status_distribution: BTreeMap<DeviceStatus, u64>,
}
