//! Devices as v2 shows them, and what v2 asks for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::slot::SlotV2;
use super::{DeviceStatus, RegistryError};
use crate::device_group::EffectivePolicies;
use crate::error::ErrorDetail;
use crate::ids::{DeviceGroupId, DeviceId, DmsId};
use crate::query::ListRequest;
use crate::timestamp::Timestamp;
use crate::usage::RevocationReason;

/// Icon of devices that name none.
pub const DEFAULT_ICON: &str = "Cpu";

/// Colours of the icon of devices that name none.
pub const DEFAULT_ICON_COLOR: &str = "#888888-#e0e0e0";

/// Most tags of a device.
const MAX_TAGS: usize = 64;

/// Longest tag, in characters.
const MAX_TAG_CHARS: usize = 256;

/// Largest metadata, in bytes of JSON.
const MAX_METADATA_BYTES: usize = 256 * 1024;

/// How deeply metadata may be nested.
const MAX_METADATA_DEPTH: usize = 32;

/// Longest other text, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 512;

/// Longest common name (RFC 5280 appendix A): longer ids cannot be one.
const MAX_COMMON_NAME_CHARS: usize = 64;

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceV2 {
    /// Chosen when it was registered.
    pub id: DeviceId,
    /// Another name.
    #[schemars(example = &"Pump in hall 3")]
    pub alias: String,
    /// Status.
    pub status: DeviceStatus,
    /// Free texts.
    #[schemars(example = ["sensor"])]
    pub tags: Vec<String>,
    /// Icon name of the dashboard.
    #[schemars(example = &DEFAULT_ICON)]
    pub icon: String,
    /// `<icon colour>-<background colour>`.
    #[schemars(example = &DEFAULT_ICON_COLOR)]
    pub icon_color: String,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// The DMS that it belongs to.
    pub dms_owner: DmsId,
    /// When it was registered.
    pub creation_timestamp: Timestamp,
    /// When it, or one of its slots, changed last.
    pub updated_at: Timestamp,
    /// When it was retired.
    pub decommissioned_at: Option<Timestamp>,
    /// Counts its changes, from 1.
    #[schemars(example = 1)]
    pub revision: i64,
    /// The slot of its identity, once there is one.
    pub identity: Option<SlotV2>,
    /// Further slots by name.
    pub slots: BTreeMap<String, SlotV2>,
    /// The newest history entries; only where `include` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<HistoryItem>>")]
    pub events: Option<Vec<HistoryItem>>,
    /// The groups that it is in; only where `include` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<NamedGroup>>")]
    pub groups: Option<Vec<NamedGroup>>,
    /// What its groups ask of it; only where `include` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<EffectivePolicies>")]
    pub policies: Option<EffectivePolicies>,
    /// What succeeded, but perhaps not as meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A group by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedGroup {
    /// The group.
    pub id: DeviceGroupId,
    /// Its name.
    #[schemars(example = &"Production")]
    pub name: String,
}

/// Something that happened to a device or to one of its slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryItem {
    /// Unique, sorts by time.
    #[schemars(example = &"1772355600000000.identity")]
    pub id: String,
    /// When.
    pub timestamp: Timestamp,
    /// `CREATED`, `PROVISIONED`, `RE-PROVISIONED`, `RENEWED`, `SHADOW-UPDATED`, `STATUS-UPDATED`,
    /// `DECOMMISSIONED`, or what a client of v1 wrote.
    #[serde(rename = "type")]
    #[schemars(example = &"PROVISIONED")]
    pub event_type: String,
    /// Text.
    #[schemars(example = &"New Active Version set to 1")]
    pub description: String,
    /// What whoever activated a version said of it.
    #[schemars(example = &"swapped on site")]
    pub comment: Option<String>,
    /// `device` or `slot`.
    #[schemars(example = &"slot")]
    pub scope: String,
    /// The slot.
    #[schemars(example = &"identity")]
    pub slot: Option<String>,
    /// The slot's version that it is about.
    #[schemars(example = 1)]
    pub version: Option<u32>,
    /// Who caused it, where that is known.
    pub actor: Option<Actor>,
    /// In whose name that was.
    #[schemars(example = &"service/ra")]
    pub source: Option<String>,
}

/// Who caused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// `jwt`, `crt` or `system`.
    #[serde(rename = "type")]
    #[schemars(example = &"jwt")]
    pub actor_type: String,
    /// Subject of a token, common name of a certificate, or part of the system.
    #[schemars(example = &"operator@example.com")]
    pub id: String,
}

/// One page of a list of v2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CountedPageOf{T}")]
pub struct CountedPage<T> {
    /// The bookmark of the next page, empty on the last one.
    #[schemars(example = &"")]
    pub next: String,
    /// The items.
    pub list: Vec<T>,
    /// How many items fulfil the filters; only where `count=true` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>", example = 1)]
    pub total: Option<u64>,
}

/// What is to be shown beside a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// The newest history entries.
    pub events: bool,
    /// The groups that it is in.
    pub groups: bool,
    /// What its groups ask of it.
    pub policies: bool,
}

impl Include {
    /// Reads a comma list.
    ///
    /// # Errors
    /// The first word that names nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut include = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word {
                "events" => include.events = true,
                "groups" => include.groups = true,
                "policies" => include.policies = true,
                other => return Err(other.to_owned()),
            }
        }
        Ok(include)
    }

    /// The comma list; empty where there is nothing.
    pub fn to_text(self) -> String {
        let words = [
            (self.events, "events"),
            (self.groups, "groups"),
            (self.policies, "policies"),
        ];
        let words = words.into_iter().filter(|(is_in, _)| *is_in);
        words.map(|(_, word)| word).collect::<Vec<_>>().join(",")
    }
}

/// Which devices, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListDevices {
    /// Page, order and filters.
    pub request: ListRequest,
    /// Whether all that fulfil the filters are counted.
    pub count: bool,
    /// What is shown beside each.
    pub include: Include,
    /// The group whose members they are.
    pub group: Option<DeviceGroupId>,
}

/// Which part of a history or of the versions of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHistory {
    /// Page, order and filters.
    pub request: ListRequest,
    /// Whether all that fulfil the filters are counted.
    pub count: bool,
}

/// A device to register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({"id": "sensor-0001", "dms_owner": "assembly-line-1", "tags": ["sensor"]}))]
pub struct RegisterDevice {
    /// 1 to 512 bytes; a UUID is made where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DeviceId>,
    /// The DMS that it belongs to; required.
    #[serde(default, alias = "dms_id")]
    pub dms_owner: DmsId,
    /// Another name.
    #[serde(default)]
    pub alias: String,
    /// Free texts, at most 64; doubles are left out.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Icon name of the dashboard; `Cpu` where it is absent.
    #[serde(default = "default_icon")]
    pub icon: String,
    /// `<icon colour>-<background colour>`.
    #[serde(default = "default_icon_color")]
    pub icon_color: String,
    /// Free object, at most 256 KiB.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

fn default_icon() -> String {
    DEFAULT_ICON.to_owned()
}

fn default_icon_color() -> String {
    DEFAULT_ICON_COLOR.to_owned()
}

/// The members of a device that clients write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = json!({"metadata": {"location": "B3", "old": null}, "tags": ["eu"]}))]
pub struct WritableDevice {
    /// Another name.
    #[serde(default)]
    pub alias: String,
    /// Free texts, at most 64; doubles are left out.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Icon name of the dashboard.
    #[serde(default = "default_icon")]
    pub icon: String,
    /// `<icon colour>-<background colour>`.
    #[serde(default = "default_icon_color")]
    pub icon_color: String,
    /// Free object, at most 256 KiB.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The DMS that it belongs to.
    #[serde(default)]
    pub dms_owner: DmsId,
}

/// Members that a device has and no client writes.
const IMMUTABLE: [&str; 12] = [
    "id",
    "status",
    "creation_timestamp",
    "updated_at",
    "decommissioned_at",
    "revision",
    "identity",
    "slots",
    "events",
    "groups",
    "policies",
    "warnings",
];

/// The members, in the order in which history names them.
const WRITABLE: [&str; 6] = [
    "metadata",
    "tags",
    "alias",
    "icon",
    "icon_color",
    "dms_owner",
];

impl WritableDevice {
    /// The members as a document, for patches.
    pub fn to_document(&self) -> Map<String, Value> {
        Map::from_iter([
            ("alias".to_owned(), json!(self.alias)),
            ("tags".to_owned(), json!(self.tags)),
            ("icon".to_owned(), json!(self.icon)),
            ("icon_color".to_owned(), json!(self.icon_color)),
            ("metadata".to_owned(), Value::Object(self.metadata.clone())),
            ("dms_owner".to_owned(), json!(self.dms_owner)),
        ])
    }

    /// The members out of a document, checked.
    ///
    /// # Errors
    /// [`RegistryError`]: members that there are not, that nobody writes, or that break a rule.
    pub fn from_document(document: Map<String, Value>) -> Result<Self, RegistryError> {
        let named = |is: fn(&str) -> bool, reason: &str| -> Vec<ErrorDetail> {
            let names = document.keys().filter(|name| is(name));
            names.map(|name| ErrorDetail::new(name, reason)).collect()
        };
        let immutable = named(|name| IMMUTABLE.contains(&name), "cannot be written");
        if !immutable.is_empty() {
            return Err(RegistryError::ImmutableField(immutable));
        }
        let unknown = named(|name| !WRITABLE.contains(&name), "unknown");
        if !unknown.is_empty() {
            return Err(RegistryError::UnknownField(unknown));
        }
        let read: Self = serde_json::from_value(Value::Object(document)).map_err(|error| {
            RegistryError::Validation(vec![ErrorDetail::new("", error.to_string())])
        })?;
        read.checked()
    }

    /// The members, doubles among the tags left out, if they keep the rules.
    ///
    /// # Errors
    /// [`RegistryError::Validation`] with what is wrong.
    pub fn checked(mut self) -> Result<Self, RegistryError> {
        let mut wrong = Vec::new();
        let mut kept: Vec<String> = Vec::with_capacity(self.tags.len());
        for (index, tag) in self.tags.into_iter().enumerate() {
            let n_chars = tag.chars().count();
            if n_chars == 0 || n_chars > MAX_TAG_CHARS {
                let reason = format!("not 1 to {MAX_TAG_CHARS} characters long");
                wrong.push(ErrorDetail::new(format!("tags[{index}]"), reason));
            }
            if !kept.contains(&tag) {
                kept.push(tag);
            }
            if kept.len() > MAX_TAGS {
                wrong.push(ErrorDetail::new("tags", format!("more than {MAX_TAGS}")));
                break;
            }
        }
        self.tags = kept;
        for (name, text) in [
            ("alias", &self.alias),
            ("icon", &self.icon),
            ("icon_color", &self.icon_color),
        ] {
            if text.len() > MAX_TEXT_BYTES {
                let reason = format!("longer than {MAX_TEXT_BYTES} bytes");
                wrong.push(ErrorDetail::new(name, reason));
            }
        }
        if self.dms_owner.is_empty() || self.dms_owner.as_str().len() > MAX_ID_BYTES {
            let reason = format!("required, at most {MAX_ID_BYTES} bytes");
            wrong.push(ErrorDetail::new("dms_owner", reason));
        }
        wrong.extend(metadata_refusal(&self.metadata));
        if wrong.is_empty() {
            Ok(self)
        } else {
            Err(RegistryError::Validation(wrong))
        }
    }

    /// The names of the members in which two devices differ, in the order of history.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differs = [
            self.metadata != other.metadata,
            self.tags != other.tags,
            self.alias != other.alias,
            self.icon != other.icon,
            self.icon_color != other.icon_color,
            self.dms_owner != other.dms_owner,
        ];
        let names = WRITABLE.into_iter().zip(differs);
        names
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }
}

fn metadata_refusal(metadata: &Map<String, Value>) -> Option<ErrorDetail> {
    let n_bytes = serde_json::to_vec(metadata).map_or(usize::MAX, |json| json.len());
    if n_bytes > MAX_METADATA_BYTES {
        let reason = format!("larger than {MAX_METADATA_BYTES} bytes");
        return Some(ErrorDetail::new("metadata", reason));
    }
    let depth = 1 + metadata
        .values()
        .map(crate::patch::depth)
        .max()
        .unwrap_or(0);
    (depth > MAX_METADATA_DEPTH).then(|| {
        let reason = format!("nested more than {MAX_METADATA_DEPTH} levels deep");
        ErrorDetail::new("metadata", reason)
    })
}

impl RegisterDevice {
    /// The id and the members to write, checked, and what may not be as meant.
    ///
    /// # Errors
    /// [`RegistryError::Validation`] with what is wrong.
    pub fn checked(
        self,
        fresh: impl FnOnce() -> DeviceId,
    ) -> Result<(DeviceId, WritableDevice, Vec<String>), RegistryError> {
        let id = self.id.unwrap_or_else(fresh);
        let text = id.as_str();
        let well_formed = !text.is_empty()
            && text.len() <= MAX_ID_BYTES
            && text.trim() == text
            && !matches!(text, "." | "..")
            && !text.chars().any(char::is_control);
        if !well_formed {
            let reason = "not 1 to 512 bytes without control characters and outer spaces";
            return Err(RegistryError::Validation(vec![ErrorDetail::new(
                "id", reason,
            )]));
        }
        let mut warnings = Vec::new();
        if text.chars().count() > MAX_COMMON_NAME_CHARS {
            warnings.push(format!(
                "the id is longer than {MAX_COMMON_NAME_CHARS} characters and cannot be a common name"
            ));
        }
        let writable = WritableDevice {
            alias: self.alias,
            tags: self.tags,
            icon: self.icon,
            icon_color: self.icon_color,
            metadata: self.metadata,
            dms_owner: self.dms_owner,
        };
        Ok((id, writable.checked()?, warnings))
    }
}

/// How a device is retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decommission {
    /// Why its certificates are revoked, for good.
    pub reason: RevocationReason,
    /// Free text for its history.
    pub comment: String,
}

impl Decommission {
    /// Longest comment, in characters.
    pub const MAX_COMMENT_CHARS: usize = 512;

    /// Why a reason is refused that is not for good: whoever released the certificates would make those
    /// of a retired device good again.
    pub const NOT_FINAL: &'static str = "a decommissioned device cannot be on hold";
}

impl Default for Decommission {
    fn default() -> Self {
        Self {
            reason: RevocationReason::CessationOfOperation,
            comment: String::new(),
        }
    }
}
