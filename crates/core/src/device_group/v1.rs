//! The bodies of `/v1/device-groups`, in the forms that existing clients read and write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CreateGroup, Criterion, Group, GroupEdit, InheritedCriterion};
use crate::device::v2::CountedPage;
use crate::ids::DeviceGroupId;
use crate::patch::DocumentPatch;
use crate::timestamp::Timestamp;

/// A group to make.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CreateDeviceGroup")]
pub struct CreateDeviceGroupV1 {
    /// Required, a UUID.
    pub id: DeviceGroupId,
    /// Required, different from every other group's.
    #[schemars(example = &"Production")]
    pub name: String,
    /// Free text.
    #[schemars(example = &"Everything that ships")]
    pub description: String,
    /// The group that this one is below; empty for none.
    #[schemars(example = &"")]
    pub parent_id: DeviceGroupId,
    /// What a member fulfils.
    pub criteria: Vec<Criterion>,
}

/// A group's new members: what is empty stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "UpdateDeviceGroup")]
pub struct UpdateDeviceGroupV1 {
    /// Different from every other group's.
    #[schemars(example = &"Production")]
    pub name: String,
    /// Free text.
    #[schemars(example = &"Everything that ships")]
    pub description: String,
    /// The group that this one is below.
    #[schemars(example = &"")]
    pub parent_id: DeviceGroupId,
    /// What a member fulfils.
    pub criteria: Vec<Criterion>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "DeviceGroup")]
pub struct DeviceGroupV1 {
    /// A UUID.
    pub id: DeviceGroupId,
    /// Different from every other group's.
    #[schemars(example = &"Production")]
    pub name: String,
    /// Free text.
    #[schemars(example = &"Everything that ships")]
    pub description: String,
    /// The group that this one is below; absent for a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<DeviceGroupId>,
    /// Its own criteria.
    pub criteria: Vec<Criterion>,
    /// The criteria of all ancestors, root first.
    pub inherited_criteria: Vec<Criterion>,
    /// How many criteria of its own it has.
    #[schemars(example = 1)]
    pub own_criteria_count: usize,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A group in a list. Clients in Go read no operand names under `criteria` there.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ListedDeviceGroup")]
pub struct ListedDeviceGroupV1 {
    /// The group, except that `criteria` is empty and `inherited_criteria` are all that count: those of
    /// the ancestors, then its own.
    #[serde(flatten)]
    pub group: DeviceGroupV1,
    /// Its own criteria.
    pub own_criteria: Vec<Criterion>,
}

/// A page of groups; the bookmark under both of its names.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "DeviceGroupPage")]
pub struct DeviceGroupPageV1 {
    /// The bookmark of the next page, empty on the last one.
    #[schemars(example = &"")]
    pub next: String,
    /// The same.
    #[schemars(example = &"")]
    pub next_bookmark: String,
    /// The groups.
    pub list: Vec<ListedDeviceGroupV1>,
}

impl From<InheritedCriterion> for Criterion {
    fn from(criterion: InheritedCriterion) -> Self {
        let InheritedCriterion {
            field,
            operand,
            value,
            group_id: _,
        } = criterion;
        Self {
            field,
            operand,
            value,
        }
    }
}

impl From<CreateDeviceGroupV1> for CreateGroup {
    fn from(body: CreateDeviceGroupV1) -> Self {
        Self {
            id: Some(body.id),
            name: body.name,
            description: body.description,
            parent_id: Some(body.parent_id).filter(|parent| !parent.is_empty()),
            criteria: body.criteria,
            ..Self::default()
        }
    }
}

impl From<UpdateDeviceGroupV1> for GroupEdit {
    fn from(body: UpdateDeviceGroupV1) -> Self {
        let criteria: Vec<Value> = body
            .criteria
            .into_iter()
            .map(
                |Criterion {
                     field,
                     operand,
                     value,
                 }| {
                    serde_json::json!({"field": field, "operand": operand.0, "value": value})
                },
            )
            .collect();
        let members = [
            ("name", Value::from(body.name)),
            ("description", body.description.into()),
            ("parent_id", body.parent_id.as_str().into()),
            ("criteria", criteria.into()),
        ];
        let given = members.into_iter().filter(|(_, value)| match value {
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        });
        let given = given.map(|(name, value)| (name.to_owned(), value));
        Self::Patch(DocumentPatch::Merge(given.collect::<Map<String, Value>>()))
    }
}

impl From<Group> for DeviceGroupV1 {
    fn from(group: Group) -> Self {
        let own = group.document;
        Self {
            id: group.id,
            name: own.name,
            description: own.description,
            parent_id: own.parent_id,
            own_criteria_count: own.criteria.len(),
            criteria: own.criteria,
            inherited_criteria: group
                .inherited_criteria
                .into_iter()
                .map(Criterion::from)
                .collect(),
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

impl From<Group> for ListedDeviceGroupV1 {
    fn from(group: Group) -> Self {
        let mut group = DeviceGroupV1::from(group);
        let own_criteria = std::mem::take(&mut group.criteria);
        group
            .inherited_criteria
            .extend(own_criteria.iter().cloned());
        Self {
            group,
            own_criteria,
        }
    }
}

impl From<CountedPage<Group>> for DeviceGroupPageV1 {
    fn from(page: CountedPage<Group>) -> Self {
        Self {
            next_bookmark: page.next.clone(),
            next: page.next,
            list: page.list.into_iter().map(Into::into).collect(),
        }
    }
}
