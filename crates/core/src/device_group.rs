//! Groups of devices: what they look like, what the service promises.
//!
//! A group is a set of criteria, in the language of list filters, below those of its ancestors. A
//! device belongs to it when it fulfils all of them; nothing about that is stored per device, so
//! membership is right the moment a device changes.
//!
//! Where next: [`DeviceGroupService`]; `device_group/v1.rs` for the bodies of `/v1`.

mod criterion;
mod error;
mod v1;

use std::fmt;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::criterion::{Criterion, InheritedCriterion, OperandName};
pub use self::error::DeviceGroupError;
pub use self::v1::{
    CreateDeviceGroupV1, DeviceGroupPageV1, DeviceGroupV1, ListedDeviceGroupV1, UpdateDeviceGroupV1,
};
use crate::caller::Caller;
use crate::device::{Device, DeviceStats};
use crate::ids::DeviceGroupId;
use crate::page::Page;
use crate::query::ListRequest;
use crate::timestamp::Timestamp;

/// What a client writes of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GroupDocument {
    /// Required, different from every other group's; at most 255 characters.
    #[schemars(example = &"Production")]
    pub name: String,
    /// Free text.
    #[schemars(example = &"Everything that ships")]
    pub description: String,
    /// The group that this one is below; `null` for none.
    pub parent_id: Option<DeviceGroupId>,
    /// What a member fulfils, all of it, beside what the ancestors ask for.
    pub criteria: Vec<Criterion>,
    /// Of several groups' policies those of the highest priority win.
    #[schemars(example = 0)]
    pub priority: i32,
    /// Whether members that come and go are told as events.
    pub notify_membership: bool,
}

/// A group to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreateGroup {
    /// A UUID; made here when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DeviceGroupId>,
    /// The rest.
    #[serde(flatten)]
    pub document: GroupDocument,
}

/// What becomes of a group's document.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupEdit {
    /// This takes its place.
    Replace(Box<GroupDocument>),
    /// These members are merged into it (RFC 7396).
    Merge(Map<String, Value>),
}

/// What becomes of the groups below one that is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Children {
    /// Where there are any, nothing is deleted.
    #[default]
    Reject,
    /// They are deleted as well, with all below them.
    Cascade,
    /// They move below the parent of the deleted group.
    Reparent,
}

/// How a group is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GroupDeletion {
    /// What becomes of the groups below.
    pub children: Children,
}

impl Children {
    const ALL: [Self; 3] = [Self::Reject, Self::Cascade, Self::Reparent];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Cascade => "cascade",
            Self::Reparent => "reparent",
        }
    }

    /// What a word stands for.
    ///
    /// # Errors
    /// [`DeviceGroupError::Validation`].
    pub fn from_word(word: &str) -> Result<Self, DeviceGroupError> {
        let known = Self::ALL
            .into_iter()
            .find(|children| children.word() == word);
        known.ok_or(DeviceGroupError::Validation)
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// A UUID.
    pub id: DeviceGroupId,
    /// What a client wrote.
    #[serde(flatten)]
    pub document: GroupDocument,
    /// The criteria of all ancestors, root first.
    pub inherited_criteria: Vec<InheritedCriterion>,
    /// The names from the root to this group.
    #[schemars(example = ["All devices", "Production"])]
    pub path: Vec<String>,
    /// How deep it is; a root is at 1.
    #[schemars(example = 2)]
    pub depth: u32,
    /// How many groups are right below it.
    #[schemars(example = 0)]
    pub children_count: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1.
    #[schemars(example = 1)]
    pub revision: i64,
}

/// Groups of devices.
#[async_trait]
pub trait DeviceGroupService: Send + Sync + fmt::Debug {
    /// Makes a group.
    async fn create_group(
        &self,
        caller: &Caller,
        request: CreateGroup,
    ) -> Result<Group, DeviceGroupError>;

    /// The group of this id.
    async fn group(&self, caller: &Caller, id: &DeviceGroupId) -> Result<Group, DeviceGroupError>;

    /// Lists groups.
    async fn groups(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Group>, DeviceGroupError>;

    /// Changes a group. What changes nothing tells nothing.
    async fn update_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: GroupEdit,
    ) -> Result<Group, DeviceGroupError>;

    /// Deletes a group.
    async fn delete_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
    ) -> Result<(), DeviceGroupError>;

    /// Lists the members of a group.
    async fn group_devices(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceGroupError>;

    /// Counts the members of a group by status.
    async fn group_stats(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<DeviceStats, DeviceGroupError>;
}
