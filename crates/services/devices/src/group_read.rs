//! Reading what follows from groups: the tree, previews, policies, the groups of a device.

use std::sync::Arc;

use lamassu_core::device::RegistryError;
use lamassu_core::device::v2::{DeviceV2, Include, NamedGroup};
use lamassu_core::device_group::{
    DeviceGroupError, DevicePolicies, Group, GroupDocument, GroupNode, GroupOfDevice,
    GroupPolicies, Preview, PreviewRequest,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_core::query::ListRequest;
use lamassu_db::list::{ListError, Restriction, count, list};
use time::OffsetDateTime;

use crate::group_member::{groups_of, shown};
use crate::group_policy;
use crate::group_tree::{GroupTree, StoredGroup};
use crate::service::DevicesService;
use crate::store::{DEVICES, StoredDevice};
use crate::values::Purpose;

/// Most groups that are shown as a tree.
const MAX_TREE: usize = 1_000;

/// How many devices a preview shows.
const SAMPLE: u32 = 10;

impl DevicesService {
    pub(crate) async fn tree(&self) -> Result<Arc<GroupTree>, StorageFailure> {
        self.current_groups().await.map_err(StorageFailure::from)
    }

    pub(crate) async fn whole_tree(&self) -> Result<Vec<GroupNode>, DeviceGroupError> {
        let tree = self.tree().await?;
        if tree.len() > MAX_TREE {
            return Err(DeviceGroupError::TooMany(MAX_TREE));
        }
        Ok(nodes(&tree, None))
    }

    pub(crate) async fn groups_below(
        &self,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError> {
        let tree = self.tree().await?;
        let group = tree.find(id)?;
        let children = tree.children(Some(&group.id));
        Ok(children.map(|child| tree.show(child)).collect())
    }

    pub(crate) async fn groups_above(
        &self,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError> {
        let tree = self.tree().await?;
        let chain = tree.chain(tree.find(id)?);
        let above = chain.split_last().map_or(&[][..], |(_, above)| above);
        Ok(above.iter().map(|group| tree.show(group)).collect())
    }

    pub(crate) async fn preview(
        &self,
        id: Option<&DeviceGroupId>,
        request: PreviewRequest,
    ) -> Result<Preview, DeviceGroupError> {
        let tree = self.tree().await?;
        let parent_id = match id {
            Some(id) => {
                let group = tree.find(id)?;
                request
                    .parent_id
                    .or_else(|| group.document.parent_id.clone())
            }
            None => request.parent_id,
        };
        let tried = StoredGroup::try_new(
            DeviceGroupId::default(),
            GroupDocument {
                criteria: request.criteria,
                parent_id,
                ..GroupDocument::default()
            },
            self.db.now(),
        )?;
        if let Some(parent) = &tried.document.parent_id {
            tree.find(parent)?;
        }
        let restrictions = tree.restrictions(&tried, self.db.now());
        let (total, sample) = self.tried(&restrictions, SAMPLE).await?;
        Ok(Preview { total, sample })
    }

    /// How many devices fulfil these restrictions, and the first of them.
    pub(crate) async fn tried(
        &self,
        restrictions: &[Restriction],
        sample: u32,
    ) -> Result<(u64, Vec<DeviceId>), DeviceGroupError> {
        let narrowed = self.narrowed_by(&[], restrictions, Purpose::Number).await;
        let narrowed = narrowed.map_err(ListError::into_error::<DeviceGroupError>)?;
        let total = count(&self.db, &DEVICES, &[], &narrowed).await;
        let total = total.map_err(ListError::into_error::<DeviceGroupError>)?;
        let request = ListRequest {
            page_size: sample,
            ..ListRequest::default()
        };
        let narrowed = self.narrowed_by(&[], restrictions, Purpose::Page).await;
        let narrowed = narrowed.map_err(ListError::into_error::<DeviceGroupError>)?;
        let page = list(&self.db, &DEVICES, "preview", &request, &narrowed).await;
        let page = page.map_err(ListError::into_error::<DeviceGroupError>)?;
        let ids = page.list.iter().map(|row| row.get::<String>("id"));
        let ids = ids.map(|id| id.map(DeviceId::new));
        let ids: Result<Vec<DeviceId>, _> = ids.collect();
        let total = u64::try_from(total).unwrap_or_default();
        Ok((total, ids.map_err(StorageFailure::from)?))
    }

    pub(crate) async fn policies_of_group(
        &self,
        id: &DeviceGroupId,
    ) -> Result<GroupPolicies, DeviceGroupError> {
        let tree = self.tree().await?;
        Ok(group_policy::of_group(&tree, tree.find(id)?))
    }

    pub(crate) async fn groups_with(
        &self,
        id: &DeviceId,
    ) -> Result<Vec<GroupOfDevice>, DeviceGroupError> {
        let tree = self.tree().await?;
        let device = self.stored_device(id).await?;
        Ok(shown(&tree, &groups_of(&tree, &device, self.db.now())))
    }

    pub(crate) async fn policies_of_device(
        &self,
        id: &DeviceId,
    ) -> Result<DevicePolicies, DeviceGroupError> {
        let tree = self.tree().await?;
        let device = self.stored_device(id).await?;
        Ok(policies(&tree, &device, self.db.now()))
    }

    /// The bookmarks' scope of a list of a group's members, and what they fulfil.
    pub(crate) async fn members_of(
        &self,
        id: &DeviceGroupId,
    ) -> Result<(String, Vec<Restriction>), RegistryError> {
        let tree = self.tree().await?;
        let group = tree.get(id).ok_or(RegistryError::GroupNotFound)?;
        let scope = format!("v2/device-groups/{}", group.id);
        Ok((scope, tree.restrictions(group, self.db.now())))
    }

    /// Adds what the request wants to see of the groups of devices.
    pub(crate) async fn include_groups(
        &self,
        stored: &[StoredDevice],
        devices: &mut [DeviceV2],
        include: Include,
    ) -> Result<(), StorageFailure> {
        if !include.groups && !include.policies {
            return Ok(());
        }
        let tree = self.tree().await?;
        for (stored, device) in stored.iter().zip(devices) {
            let groups = groups_of(&tree, stored, self.db.now());
            if include.policies {
                device.policies = Some(group_policy::of_device(&tree, &groups).effective);
            }
            if include.groups {
                let named = groups.iter().map(|group| NamedGroup {
                    id: group.id.clone(),
                    name: group.document.name.clone(),
                });
                device.groups = Some(named.collect());
            }
        }
        Ok(())
    }

    async fn stored_device(&self, id: &DeviceId) -> Result<StoredDevice, DeviceGroupError> {
        let stored = self.store.device(id).await.map_err(StorageFailure::from)?;
        stored.ok_or(DeviceGroupError::DeviceNotFound)
    }
}

/// What the groups of a device come to.
pub(crate) fn policies(
    tree: &GroupTree,
    device: &StoredDevice,
    now: OffsetDateTime,
) -> DevicePolicies {
    group_policy::of_device(tree, &groups_of(tree, device, now))
}

fn nodes(tree: &GroupTree, parent: Option<&DeviceGroupId>) -> Vec<GroupNode> {
    let children = tree.children(parent);
    children
        .map(|group| GroupNode {
            group: tree.show(group),
            children: Some(nodes(tree, Some(&group.id))),
        })
        .collect()
}
