//! The device groups of another process.

use async_trait::async_trait;
use http::Method;
use lamassu_core::caller::Caller;
use lamassu_core::device::v2::CountedPage;
use lamassu_core::device::{Device, DeviceStats};
use lamassu_core::device_group::{
    Children, CreateGroup, DeviceGroupError, DeviceGroupService, DevicePolicies, Group,
    GroupAction, GroupEdit, GroupNode, GroupOfDevice, GroupPolicies, ListGroups, Preview,
    PreviewRequest, StartAction, Started, WholeList,
};
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_core::page::Page;
use lamassu_core::percent::encode;
use lamassu_core::query::ListRequest;
use lamassu_core::revision::Precondition;
use serde::de::DeserializeOwned;

use crate::device::DeviceClient;
use crate::peer::Call;
use crate::registry::{list_query, patch_body};
use crate::retry::Repeat;

/// The path of a group.
fn of(id: &DeviceGroupId) -> Result<String, DeviceGroupError> {
    if id.is_empty() {
        return Err(DeviceGroupError::NotFound);
    }
    Ok(format!("/v2/device-groups/{}", encode(id.as_str())))
}

/// The path of an action.
fn action_path(id: &DeviceGroupId, action: &str) -> Result<String, DeviceGroupError> {
    if action.is_empty() {
        return Err(DeviceGroupError::ActionNotFound);
    }
    Ok(format!("{}/actions/{}", of(id)?, encode(action)))
}

/// The path of a device.
fn device(id: &DeviceId) -> Result<String, DeviceGroupError> {
    if id.is_empty() {
        return Err(DeviceGroupError::DeviceNotFound);
    }
    Ok(format!("/v2/devices/{}", encode(id.as_str())))
}

impl DeviceClient {
    async fn whole<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        path: String,
    ) -> Result<Vec<T>, DeviceGroupError> {
        let list: WholeList<T> = self
            .0
            .read::<_, DeviceGroupError>(caller, Call::get(path))
            .await?;
        Ok(list.list)
    }
}

/// Repeated after a doubt: reads and replacements.
#[async_trait]
impl DeviceGroupService for DeviceClient {
    async fn create_group(
        &self,
        caller: &Caller,
        request: CreateGroup,
    ) -> Result<Group, DeviceGroupError> {
        let path = "/v2/device-groups".to_owned();
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn group(&self, caller: &Caller, id: &DeviceGroupId) -> Result<Group, DeviceGroupError> {
        self.0.read(caller, Call::get(of(id)?)).await
    }

    async fn groups(
        &self,
        caller: &Caller,
        request: &ListGroups,
    ) -> Result<CountedPage<Group>, DeviceGroupError> {
        let query = list_query(&request.request, request.count, "");
        let path = format!("/v2/device-groups?{query}");
        self.0.read(caller, Call::get(path)).await
    }

    async fn update_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: GroupEdit,
        expected: Precondition,
    ) -> Result<Group, DeviceGroupError> {
        let path = of(id)?;
        let call = match edit {
            GroupEdit::Replace(document) => Call::json(Method::PUT, path, &document, Repeat::Safe)?,
            GroupEdit::Patch(patch) => Call {
                body: Some(patch_body(patch)?),
                ..Call::bare(Method::PATCH, path, Repeat::Once)
            },
        };
        self.0.read(caller, call.expecting(&expected)).await
    }

    async fn delete_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
        expected: Precondition,
    ) -> Result<(), DeviceGroupError> {
        let path = format!("{}?children={}", of(id)?, children.word());
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call.expecting(&expected)).await
    }

    async fn group_devices(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceGroupError> {
        let path = of(id)?.replacen("/v2", "/v1", 1);
        let path = format!("{path}/devices?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn group_tree(&self, caller: &Caller) -> Result<Vec<GroupNode>, DeviceGroupError> {
        let call = Call::get("/v2/device-groups?tree=true".to_owned());
        let page: Page<GroupNode> = self.0.read::<_, DeviceGroupError>(caller, call).await?;
        Ok(page.list)
    }

    async fn group_children(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError> {
        self.whole(caller, format!("{}/children", of(id)?)).await
    }

    async fn group_ancestors(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<Vec<Group>, DeviceGroupError> {
        self.whole(caller, format!("{}/ancestors", of(id)?)).await
    }

    async fn preview_group(
        &self,
        caller: &Caller,
        id: Option<&DeviceGroupId>,
        request: PreviewRequest,
    ) -> Result<Preview, DeviceGroupError> {
        let path = match id {
            Some(id) => format!("{}/preview", of(id)?),
            None => "/v2/device-groups/preview".to_owned(),
        };
        let call = Call::json(Method::POST, path, &request, Repeat::Safe)?;
        self.0.read(caller, call).await
    }

    async fn start_action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: StartAction,
    ) -> Result<Started, DeviceGroupError> {
        let path = format!("{}/actions", of(id)?);
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        if request.dry_run {
            let tried = self.0.read::<_, DeviceGroupError>(caller, call);
            return Ok(Started::DryRun(tried.await?));
        }
        let action = self.0.read::<_, DeviceGroupError>(caller, call).await?;
        Ok(Started::Action(Box::new(action)))
    }

    async fn actions(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<GroupAction>, DeviceGroupError> {
        let path = format!("{}/actions?{}", of(id)?, request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        action: &str,
    ) -> Result<GroupAction, DeviceGroupError> {
        self.0
            .read(caller, Call::get(action_path(id, action)?))
            .await
    }

    async fn cancel_action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        action: &str,
    ) -> Result<GroupAction, DeviceGroupError> {
        let path = action_path(id, action)?;
        let call = Call::bare(Method::DELETE, path, Repeat::Safe);
        self.0.read(caller, call).await
    }

    async fn group_policies(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<GroupPolicies, DeviceGroupError> {
        let path = format!("{}/policies", of(id)?);
        self.0.read(caller, Call::get(path)).await
    }

    async fn groups_of_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<Vec<GroupOfDevice>, DeviceGroupError> {
        self.whole(caller, format!("{}/groups", device(id)?)).await
    }

    async fn device_policies(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<DevicePolicies, DeviceGroupError> {
        let path = format!("{}/policies", device(id)?);
        self.0.read(caller, Call::get(path)).await
    }

    async fn group_stats(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
    ) -> Result<DeviceStats, DeviceGroupError> {
        let path = of(id)?.replacen("/v2", "/v1", 1);
        self.0
            .read(caller, Call::get(format!("{path}/stats")))
            .await
    }
}
