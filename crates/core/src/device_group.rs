//! Groups of devices: what they look like, what the service promises.
//!
//! A group is a set of criteria, in the language of list filters, below those of its ancestors. A
//! device belongs to it when it fulfils all of them; nothing about that is stored per device, so
//! membership is right the moment a device changes.
//!
//! Where next: [`DeviceGroupService`]; `device_group/v1.rs` for the bodies of `/v1`.

mod action;
mod criterion;
mod error;
mod policy;
mod v1;

use std::fmt;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::action::{
    ActionFailure, ActionKind, ActionState, Deed, DryRun, GroupAction, StartAction, Started,
};
pub use self::criterion::{Criterion, InheritedCriterion, OperandName};
pub use self::error::DeviceGroupError;
pub use self::policy::{
    DevicePolicies, EffectivePolicies, GroupPolicies, GroupRule, PolicyMode, PolicySource,
    RenewalPolicy, SchemaPolicy, SlotDefaults, TagsPolicy,
};
pub use self::v1::{
    CreateDeviceGroupV1, DeviceGroupPageV1, DeviceGroupV1, ListedDeviceGroupV1, UpdateDeviceGroupV1,
};
use crate::caller::Caller;
use crate::device::v2::CountedPage;
use crate::device::{Device, DeviceStats};
use crate::ids::{DeviceGroupId, DeviceId};
use crate::page::Page;
use crate::patch::DocumentPatch;
use crate::query::ListRequest;
use crate::revision::Precondition;
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
    /// What the group asks of its members: `renewal`, `slots`, `metadata_schema`, `required_tags`,
    /// `custom`. A member that is `null` keeps what is inherited from applying.
    #[schemars(example = json!({"renewal": {"critical_delta": "1w"}}))]
    pub policies: Map<String, Value>,
    /// Whether members that come and go are told as events.
    pub notify_membership: bool,
}

/// A group to make: an id, and the members of its document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateGroup {
    /// A UUID; made here when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<DeviceGroupId>,
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
    /// What the group asks of its members, as in the group itself.
    #[schemars(example = json!({"renewal": {"critical_delta": "1w"}}))]
    pub policies: Map<String, Value>,
    /// Whether members that come and go are told as events.
    pub notify_membership: bool,
}

impl CreateGroup {
    /// The id, if there is one, and the document.
    pub fn into_parts(self) -> (Option<DeviceGroupId>, GroupDocument) {
        let Self {
            id,
            name,
            description,
            parent_id,
            criteria,
            priority,
            policies,
            notify_membership,
        } = self;
        let document = GroupDocument {
            name,
            description,
            parent_id,
            criteria,
            priority,
            policies,
            notify_membership,
        };
        (id, document)
    }
}

/// What becomes of a group's document.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupEdit {
    /// This takes its place.
    Replace(Box<GroupDocument>),
    /// It is patched.
    Patch(DocumentPatch),
}

/// Which groups, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListGroups {
    /// Page, order and filters.
    pub request: ListRequest,
    /// Whether all that fulfil the filters are counted.
    pub count: bool,
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

/// A group with those below it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupNode {
    /// The group.
    #[serde(flatten)]
    pub group: Group,
    /// The groups right below it, in order of creation; in a tree only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<GroupNode>", example = Vec::<GroupNode>::new())]
    pub children: Option<Vec<Self>>,
}

impl From<Group> for GroupNode {
    fn from(group: Group) -> Self {
        Self {
            group,
            children: None,
        }
    }
}

/// The query of a list of groups, beside what every list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GroupListing {
    /// `true`: only roots, each with all that is below it.
    pub tree: bool,
    /// Whether all that fulfil the filters are counted: `total`.
    pub count: bool,
}

/// A list that has no pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ListOf{T}")]
pub struct WholeList<T> {
    /// All items.
    pub list: Vec<T>,
}

/// A group that a device is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupOfDevice {
    /// The group.
    pub id: DeviceGroupId,
    /// Its name.
    #[schemars(example = &"Production")]
    pub name: String,
    /// The names from the root to it.
    #[schemars(example = ["All devices", "Production"])]
    pub path: Vec<String>,
    /// How deep it is; a root is at 1.
    #[schemars(example = 2)]
    pub depth: u32,
}

/// Criteria to try.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PreviewRequest {
    /// What members would fulfil.
    pub criteria: Vec<Criterion>,
    /// The group below which they would count; of the preview of a group its own parent when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<DeviceGroupId>,
}

/// Which devices criteria select.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// How many.
    #[schemars(example = 1)]
    pub total: u64,
    /// The oldest ten of them.
    pub sample: Vec<DeviceId>,
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
        request: &ListGroups,
    ) -> Result<CountedPage<Group>, DeviceGroupError>;

    /// Changes a group. What changes nothing tells nothing.
    async fn update_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: GroupEdit,
        expected: Precondition,
    ) -> Result<Group, DeviceGroupError>;

    /// Deletes a group.
    async fn delete_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
        expected: Precondition,
    ) -> Result<(), DeviceGroupError>;

    /// Lists the members of a group.
    async fn group_devices(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceGroupError>;

    /// All groups, each below its parent, if there are not too many.
    async fn group_tree(&self, caller: &Caller) -> Result<Vec<GroupNode>, DeviceGroupError>;

    /// The groups right below, in order of creation.
    async fn group_children(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError>;

    /// The groups above, root first.
    async fn group_ancestors(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError>;

    /// Which devices criteria would select, in the place of this group's if one is named. Stores nothing.
    async fn preview_group(
        &self,
        caller: &Caller,
        id: Option<&DeviceGroupId>,
        request: PreviewRequest,
    ) -> Result<Preview, DeviceGroupError>;

    /// Has something done with all members of a group, or only counts them.
    async fn start_action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: StartAction,
    ) -> Result<Started, DeviceGroupError>;

    /// Lists what is and was done with the members of a group.
    async fn actions(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<GroupAction>, DeviceGroupError>;

    /// How far an action is.
    async fn action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        action: &str,
    ) -> Result<GroupAction, DeviceGroupError>;

    /// Puts an end to an action: what is done stays done. One that is over stays as it is.
    async fn cancel_action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        action: &str,
    ) -> Result<GroupAction, DeviceGroupError>;

    /// What a group asks of its members.
    async fn group_policies(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<GroupPolicies, DeviceGroupError>;

    /// The groups that a device is in, each behind the one that it is below.
    async fn groups_of_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<Vec<GroupOfDevice>, DeviceGroupError>;

    /// What its groups ask of a device.
    async fn device_policies(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<DevicePolicies, DeviceGroupError>;

    /// Counts the members of a group by status.
    async fn group_stats(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<DeviceStats, DeviceGroupError>;
}
