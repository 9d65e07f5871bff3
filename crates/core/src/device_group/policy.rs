//! What groups ask of their members, and what comes of it for one group or device.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ca::RenewalWindows;
use crate::device::slot::SupersededPolicy;
use crate::duration::WireDuration;
use crate::ids::DeviceGroupId;

/// Whether a rule refuses what breaks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// It does.
    #[default]
    Enforce,
    /// It is only told.
    Warn,
}

/// When members must renew, instead of what their DMS says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RenewalPolicy {
    /// How long before its end a certificate should be renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WireDuration")]
    pub preventive_delta: Option<WireDuration>,
    /// How long before its end it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WireDuration")]
    pub critical_delta: Option<WireDuration>,
}

impl RenewalPolicy {
    /// The windows of a DMS with what the policy says instead.
    #[must_use]
    pub fn over(self, windows: RenewalWindows) -> RenewalWindows {
        RenewalWindows {
            preventive: self.preventive_delta.unwrap_or(windows.preventive),
            critical: self.critical_delta.unwrap_or(windows.critical),
        }
    }
}

/// Defaults of members' slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SlotDefaults {
    /// What becomes of a version that is replaced.
    #[serde(flatten)]
    pub superseded: SupersededPolicy,
    /// How many versions are kept; 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", example = 5)]
    pub max_versions: Option<u32>,
}

/// What metadata must look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaPolicy {
    /// A JSON Schema (2020-12) that refers to nothing outside of itself.
    #[schemars(example = json!({"required": ["location"]}))]
    pub schema: Value,
    /// Whether other metadata are refused.
    #[serde(default)]
    pub mode: PolicyMode,
}

/// Tags that members must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagsPolicy {
    /// All of them.
    #[schemars(example = ["iot"])]
    pub tags: Vec<String>,
    /// Whether a change that leaves one out is refused.
    #[serde(default)]
    pub mode: PolicyMode,
}

/// A rule and the group that has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RuleOf{T}")]
pub struct GroupRule<T> {
    /// Whose rule it is.
    pub group_id: DeviceGroupId,
    /// The rule.
    #[serde(flatten)]
    pub rule: T,
}

/// What several groups come to: members of the later ones in place of those of the earlier ones, all of
/// their schemas and required tags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EffectivePolicies {
    /// When to renew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RenewalPolicy")]
    pub renewal: Option<RenewalPolicy>,
    /// Defaults of slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SlotDefaults")]
    pub slots: Option<SlotDefaults>,
    /// Each metadata must fulfil.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metadata_schema: Vec<GroupRule<SchemaPolicy>>,
    /// Each tags must fulfil.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_tags: Vec<GroupRule<TagsPolicy>>,
    /// For whoever automates; not interpreted here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>", example = json!({"owner": "team-7"}))]
    pub custom: Option<Map<String, Value>>,
}

/// The policies of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupPolicies {
    /// As they were written.
    #[schemars(example = json!({"renewal": {"critical_delta": "1w"}}))]
    pub own: Map<String, Value>,
    /// What the ancestors come to.
    pub inherited: EffectivePolicies,
    /// What both come to.
    pub effective: EffectivePolicies,
}

/// Which group a member of a device's policies comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySource {
    /// The group.
    pub group_id: DeviceGroupId,
    /// Its name.
    #[schemars(example = &"Production")]
    pub group_name: String,
}

/// The policies of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DevicePolicies {
    /// What all of its groups come to.
    pub effective: EffectivePolicies,
    /// Where the members of `renewal`, `slots` and `custom` come from, by JSON pointer.
    pub sources: BTreeMap<String, PolicySource>,
}
