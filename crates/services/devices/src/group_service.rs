//! The trait of groups, one call per method.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::device::v2::CountedPage;
use lamassu_core::device::{Device, DeviceStats};
use lamassu_core::device_group::{
    Children, CreateGroup, DeviceGroupError, DeviceGroupService, DevicePolicies, Group,
    GroupAction, GroupEdit, GroupNode, GroupOfDevice, GroupPolicies, ListGroups, Preview,
    PreviewRequest, StartAction, Started,
};
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_core::revision::Precondition;
use lamassu_db::Attempt;

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
        request: &ListGroups,
    ) -> Result<CountedPage<Group>, DeviceGroupError> {
        self.list_groups(request).await
    }

    async fn update_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: GroupEdit,
        expected: Precondition,
    ) -> Result<Group, DeviceGroupError> {
        let change = ("device-group.update", named(id));
        let changed = self.change_group(caller, id, &edit, &expected);
        self.refusals.watch(caller, change, changed).await
    }

    async fn delete_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
        expected: Precondition,
    ) -> Result<(), DeviceGroupError> {
        let change = ("device-group.delete", named(id));
        let removed = self.remove_group(caller, id, children, &expected);
        self.refusals.watch(caller, change, removed).await
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

    async fn start_action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: StartAction,
    ) -> Result<Started, DeviceGroupError> {
        let change = ("device-group.action.start", named(id));
        let begun = self.begin_action(caller, id, request);
        self.refusals.watch(caller, change, begun).await
    }

    async fn actions(
        &self,
        _caller: &Caller,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<GroupAction>, DeviceGroupError> {
        self.list_actions(id, request).await
    }

    async fn action(
        &self,
        _caller: &Caller,
        id: &DeviceGroupId,
        action: &str,
    ) -> Result<GroupAction, DeviceGroupError> {
        let found = self.read_action(id, action).await;
        Ok(found.map_err(Attempt::into_error)?.action)
    }

    async fn cancel_action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        action: &str,
    ) -> Result<GroupAction, DeviceGroupError> {
        let asked = format!("{}/actions/{action}", named(id));
        let change = ("device-group.action.cancel", asked);
        let stopped = self.stop_action(caller, id, action);
        self.refusals.watch(caller, change, stopped).await
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
