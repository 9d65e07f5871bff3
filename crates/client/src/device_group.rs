//! The device groups of another process.

use async_trait::async_trait;
use http::Method;
use lamassu_core::caller::Caller;
use lamassu_core::device::{Device, DeviceStats};
use lamassu_core::device_group::{
    Children, CreateGroup, DeviceGroupError, DeviceGroupService, Group, GroupEdit,
};
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::page::Page;
use lamassu_core::percent::encode;
use lamassu_core::query::ListRequest;

use crate::device::DeviceClient;
use crate::peer::Call;
use crate::retry::Repeat;

/// The path of a group.
fn of(id: &DeviceGroupId) -> Result<String, DeviceGroupError> {
    if id.is_empty() {
        return Err(DeviceGroupError::NotFound);
    }
    Ok(format!("/v2/device-groups/{}", encode(id.as_str())))
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
        request: &ListRequest,
    ) -> Result<Page<Group>, DeviceGroupError> {
        let path = format!("/v2/device-groups?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn update_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: GroupEdit,
    ) -> Result<Group, DeviceGroupError> {
        let path = of(id)?;
        let call = match &edit {
            GroupEdit::Replace(document) => Call::json(Method::PUT, path, document, Repeat::Safe),
            GroupEdit::Merge(members) => Call::json(Method::PATCH, path, members, Repeat::Safe),
        };
        self.0.read(caller, call?).await
    }

    async fn delete_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
    ) -> Result<(), DeviceGroupError> {
        let path = format!("{}?children={}", of(id)?, children.word());
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call).await
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
