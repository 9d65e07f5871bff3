//! What is done with all members of a group.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::DeviceGroupError;
use crate::device::v2::Decommission;
use crate::ids::{DeviceGroupId, DeviceId};
use crate::patch::DocumentPatch;
use crate::permission::Permission;
use crate::timestamp::Timestamp;
use crate::usage::RevocationReason;

/// Most tags that one action adds or removes.
const MAX_TAGS: usize = 64;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// What clients write is patched.
    Patch,
    /// Tags are added.
    AddTags,
    /// Tags are taken away.
    RemoveTags,
    /// Devices are retired.
    Decommission,
    /// The identities are revoked.
    RevokeIdentity,
    /// The records of retired devices are removed.
    Purge,
}

impl ActionKind {
    /// Their words on the wire.
    pub const WORDS: &'static [&'static str] = &[
        Self::Patch.word(),
        Self::AddTags.word(),
        Self::RemoveTags.word(),
        Self::Decommission.word(),
        Self::RevokeIdentity.word(),
        Self::Purge.word(),
    ];

    const ALL: [Self; 6] = [
        Self::Patch,
        Self::AddTags,
        Self::RemoveTags,
        Self::Decommission,
        Self::RevokeIdentity,
        Self::Purge,
    ];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::AddTags => "add_tags",
            Self::RemoveTags => "remove_tags",
            Self::Decommission => "decommission",
            Self::RevokeIdentity => "revoke_identity",
            Self::Purge => "purge",
        }
    }

    /// What whoever starts it must be allowed, beside starting actions.
    pub const fn permission(self) -> Permission {
        match self {
            Self::Patch | Self::AddTags | Self::RemoveTags => Permission::new("device", "write"),
            Self::Decommission => Permission::new("device", "decommission"),
            Self::RevokeIdentity => Permission::new("device", "identity"),
            Self::Purge => Permission::new("device", "delete"),
        }
    }
}

impl FromStr for ActionKind {
    type Err = DeviceGroupError;

    fn from_str(word: &str) -> Result<Self, DeviceGroupError> {
        let known = Self::ALL.into_iter().find(|kind| kind.word() == word);
        known.ok_or(DeviceGroupError::Validation)
    }
}

/// How far an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActionState {
    /// It has not begun.
    Queued,
    /// It has.
    Running,
    /// It was done with every member.
    Succeeded,
    /// It was done with some of them.
    PartiallyFailed,
    /// It was done with none of them.
    Failed,
    /// Somebody put an end to it.
    Cancelled,
}

impl ActionState {
    /// Their words on the wire.
    pub const WORDS: &'static [&'static str] = &[
        Self::Queued.word(),
        Self::Running.word(),
        Self::Succeeded.word(),
        Self::PartiallyFailed.word(),
        Self::Failed.word(),
        Self::Cancelled.word(),
    ];

    const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::PartiallyFailed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::PartiallyFailed => "PARTIALLY_FAILED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether nothing more will be done.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl FromStr for ActionState {
    type Err = DeviceGroupError;

    fn from_str(word: &str) -> Result<Self, DeviceGroupError> {
        let known = Self::ALL.into_iter().find(|state| state.word() == word);
        known.ok_or(DeviceGroupError::Validation)
    }
}

impl fmt::Display for ActionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An action to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({"action": "add_tags", "parameters": {"tags": ["eu"]}}))]
pub struct StartAction {
    /// What is done.
    pub action: ActionKind,
    /// How: of `patch` `merge_patch` or `json_patch`, of `add_tags` and `remove_tags` `tags`, of
    /// `decommission` `reason` and `comment`, of `revoke_identity` `reason`.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Filters in the syntax of lists; only members that fulfil them.
    #[serde(default)]
    pub filter: Vec<String>,
    /// Whether it is only counted whom it would be done with.
    #[serde(default)]
    pub dry_run: bool,
}

/// Whom an action would be done with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    /// How many.
    #[schemars(example = 1)]
    pub matched: u64,
    /// The oldest hundred of them.
    pub sample: Vec<DeviceId>,
}

/// What comes of starting an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Started {
    /// It goes on.
    Action(Box<GroupAction>),
    /// It was only tried.
    DryRun(DryRun),
}

/// A device that an action was not done with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionFailure {
    /// The device.
    pub device_id: DeviceId,
    /// Why.
    #[schemars(example = &"device status does not allow this operation")]
    pub err: String,
    /// The same as a word.
    #[schemars(example = &"device_decommissioned")]
    pub code: String,
}

/// Something that is done with all members of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupAction {
    /// Names it.
    #[schemars(example = &"019a2f6e-6c1b-7a57-9d0e-5f7a3e1b9c42")]
    pub id: String,
    /// The group.
    pub group_id: DeviceGroupId,
    /// What is done.
    pub action: ActionKind,
    /// How.
    #[schemars(example = json!({"tags": ["eu"]}))]
    pub parameters: Map<String, Value>,
    /// Only with members that fulfil these.
    #[schemars(example = ["status[eq]ACTIVE"])]
    pub filter: Vec<String>,
    /// How far it is.
    pub state: ActionState,
    /// How many members there were when it began.
    #[schemars(example = 1)]
    pub matched: u64,
    /// With how many of them it was done.
    #[schemars(example = 1)]
    pub succeeded: u64,
    /// With how many it could not be done.
    #[schemars(example = 0)]
    pub failed: u64,
    /// Why not, of the first thousand; lists leave them out.
    pub errors: Vec<ActionFailure>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// Who asked for it, where that is known.
    #[schemars(example = &"operator@example.com")]
    pub created_by: Option<String>,
}

/// An action, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// What clients write is patched.
    Patch(DocumentPatch),
    /// Tags are added.
    AddTags(Vec<String>),
    /// Tags are taken away.
    RemoveTags(Vec<String>),
    /// Devices are retired.
    Decommission(Decommission),
    /// The identities are revoked.
    RevokeIdentity(RevocationReason),
    /// The records of retired devices are removed.
    Purge,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchParameters {
    merge_patch: Option<Map<String, Value>>,
    json_patch: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TagsParameters {
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetirementParameters {
    reason: Option<String>,
    comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationParameters {
    reason: String,
}

impl Deed {
    /// What an action's parameters mean.
    ///
    /// # Errors
    /// [`DeviceGroupError::Parameters`] says what is wrong.
    pub fn parse(
        kind: ActionKind,
        parameters: &Map<String, Value>,
    ) -> Result<Self, DeviceGroupError> {
        fn read<T: serde::de::DeserializeOwned>(
            parameters: &Map<String, Value>,
        ) -> Result<T, DeviceGroupError> {
            let read = serde_json::from_value(Value::Object(parameters.clone()));
            read.map_err(|error| DeviceGroupError::Parameters(error.to_string()))
        }
        let wrong = |text: &str| DeviceGroupError::Parameters(text.to_owned());
        let reason = |name: &str| {
            RevocationReason::from_name(name).ok_or_else(|| wrong("unknown revocation reason"))
        };
        let tags = || -> Result<Vec<String>, DeviceGroupError> {
            let TagsParameters { tags } = read(parameters)?;
            if tags.is_empty() || tags.len() > MAX_TAGS || tags.iter().any(String::is_empty) {
                return Err(wrong("no tags, empty ones or too many"));
            }
            Ok(tags)
        };
        Ok(match kind {
            ActionKind::Patch => {
                let patch: PatchParameters = read(parameters)?;
                Self::Patch(match (patch.merge_patch, patch.json_patch) {
                    (Some(members), None) => DocumentPatch::Merge(members),
                    (None, Some(operations)) => DocumentPatch::Strict(operations),
                    _ => return Err(wrong("either merge_patch or json_patch is needed")),
                })
            }
            ActionKind::AddTags => Self::AddTags(tags()?),
            ActionKind::RemoveTags => Self::RemoveTags(tags()?),
            ActionKind::Decommission => {
                let given: RetirementParameters = read(parameters)?;
                let mut how = Decommission::default();
                if let Some(name) = given.reason {
                    how.reason = reason(&name)?;
                    if !how.reason.is_final() {
                        return Err(wrong(Decommission::NOT_FINAL));
                    }
                }
                how.comment = given.comment.unwrap_or_default();
                if how.comment.chars().count() > Decommission::MAX_COMMENT_CHARS {
                    return Err(wrong("the comment is longer than 512 characters"));
                }
                Self::Decommission(how)
            }
            ActionKind::RevokeIdentity => {
                let given: RevocationParameters = read(parameters)?;
                Self::RevokeIdentity(reason(&given.reason)?)
            }
            ActionKind::Purge if parameters.is_empty() => Self::Purge,
            ActionKind::Purge => return Err(wrong("purge has no parameters")),
        })
    }
}
