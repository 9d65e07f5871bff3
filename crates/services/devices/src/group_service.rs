//! The trait of groups, one call per method.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::device::{Device, DeviceStats};
use lamassu_core::device_group::{
    Children, CreateGroup, DeviceGroupError, DeviceGroupService, DevicePolicies, Group, GroupEdit,
    GroupNode, GroupOfDevice, GroupPolicies, Preview, PreviewRequest,
};
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;

use crate::service::DevicesService;

/// A group as it was asked for, in the audit log.
fn named(id: &DeviceGroupId) -> String {
    format!("device-group/{id}")
}

#[async_trait]
impl DeviceGroupService for DevicesService {
    async fn create_group(
        &self,
        caller: &Caller,
        request: CreateGroup,
    ) -> Result<Group, DeviceGroupError> {
        let asked = request.id.as_ref();
        let asked = asked.map_or_else(|| "device-group".to_owned(), named);
        let change = ("device-group.create", asked);
        self.refusals
            .watch(caller, change, self.make_group(caller, request))
            .await
    }

    async fn group(&self, _caller: &Caller, id: &DeviceGroupId) -> Result<Group, DeviceGroupError> {
        self.read_group(id).await
    }

    async fn groups(
        &self,
        _caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Group>, DeviceGroupError> {
        self.list_groups(request).await
    }

    async fn update_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: GroupEdit,
    ) -> Result<Group, DeviceGroupError> {
        let change = ("device-group.update", named(id));
        self.refusals
            .watch(caller, change, self.change_group(caller, id, &edit))
            .await
    }

    async fn delete_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
    ) -> Result<(), DeviceGroupError> {
        let change = ("device-group.delete", named(id));
        self.refusals
            .watch(caller, change, self.remove_group(caller, id, children))
            .await
    }

    async fn group_devices(
        &self,
        _caller: &Caller,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceGroupError> {
        self.list_members(id, request).await
    }

    async fn group_tree(&self, _caller: &Caller) -> Result<Vec<GroupNode>, DeviceGroupError> {
        self.whole_tree().await
    }

    async fn group_children(
        &self,
        _caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError> {
        self.groups_below(id).await
    }

    async fn group_ancestors(
        &self,
        _caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError> {
        self.groups_above(id).await
    }

    async fn preview_group(
        &self,
        _caller: &Caller,
        id: Option<&DeviceGroupId>,
        request: PreviewRequest,
    ) -> Result<Preview, DeviceGroupError> {
        self.preview(id, request).await
    }

    async fn group_policies(
        &self,
        _caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<GroupPolicies, DeviceGroupError> {
        self.policies_of_group(id).await
    }

    async fn groups_of_device(
        &self,
        _caller: &Caller,
        id: &DeviceId,
    ) -> Result<Vec<GroupOfDevice>, DeviceGroupError> {
        self.groups_with(id).await
    }

    async fn device_policies(
        &self,
        _caller: &Caller,
        id: &DeviceId,
    ) -> Result<DevicePolicies, DeviceGroupError> {
        self.policies_of_device(id).await
    }

    async fn group_stats(
        &self,
        _caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<DeviceStats, DeviceGroupError> {
        self.count_members(id).await
    }
}
