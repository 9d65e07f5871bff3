//! The device manager of another process.

use async_trait::async_trait;
use http::Method;
use lamassu_core::caller::Caller;
use lamassu_core::device::{
    BindIdentity, CreateDevice, Device, DeviceError, DeviceService, DeviceStats, Enrolling,
    EnrollingDevice, IdentityReplacement,
};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::patch::{PatchBody, PatchOperation};
use lamassu_core::percent::encode;
use lamassu_core::query::ListRequest;

use crate::peer::{Call, Peer, Service};
use crate::retry::Repeat;

/// The device manager of another process.
///
/// Repeated after a doubt: reads, and [`bind_identity`](DeviceService::bind_identity), which
/// changes nothing when the certificate is the active version already (only the answer to a
/// repeated first binding shows the new identity), and retiring a device. Never repeated: everything else.
#[derive(Clone, Debug)]
pub struct DeviceClient(pub(crate) Service);

/// A path of a device, unless it has no name.
pub(crate) fn of_device(version: &str, id: &DeviceId, rest: &str) -> Option<String> {
    (!id.is_empty()).then(|| format!("/{version}/devices/{}{rest}", encode(id.as_str())))
}

impl DeviceClient {
    /// The service at this peer.
    pub fn new(peer: &Peer) -> Self {
        Self(peer.service("devmanager"))
    }
}

#[async_trait]
impl DeviceService for DeviceClient {
    async fn create_device(
        &self,
        caller: &Caller,
        request: CreateDevice,
    ) -> Result<Device, DeviceError> {
        let path = "/v1/devices".to_owned();
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn device(&self, caller: &Caller, id: &DeviceId) -> Result<Device, DeviceError> {
        if id.is_empty() {
            return Err(DeviceError::NotFound);
        }
        let path = format!("/v1/devices/{}", encode(id.as_str()));
        self.0.read(caller, Call::get(path)).await
    }

    async fn devices(
        &self,
        caller: &Caller,
        owner: Option<&DmsId>,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceError> {
        let query = request.to_query();
        let path = match owner {
            // No device belongs to nobody.
            Some(owner) if owner.is_empty() => return Ok(crate::peer::empty_page()),
            Some(owner) => format!("/v1/devices/dms/{}?{query}", encode(owner.as_str())),
            None => format!("/v1/devices?{query}"),
        };
        self.0.read(caller, Call::get(path)).await
    }

    async fn stats(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<DeviceStats, DeviceError> {
        let path = format!("/v1/stats?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn patch_metadata(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patches: Vec<PatchOperation>,
    ) -> Result<Device, DeviceError> {
        let path = of_device("v1", id, "/metadata").ok_or(DeviceError::Unknown)?;
        let body = PatchBody {
            patches: Some(patches),
        };
        let call = Call::json(Method::PUT, path, &body, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn replace_identity(
        &self,
        caller: &Caller,
        id: &DeviceId,
        slot: IdentityReplacement,
    ) -> Result<Device, DeviceError> {
        let path = of_device("v1", id, "/idslot").ok_or(DeviceError::Unknown)?;
        let call = Call::json(Method::PUT, path, &slot, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn decommission(&self, caller: &Caller, id: &DeviceId) -> Result<Device, DeviceError> {
        let path = of_device("v1", id, "/decommission").ok_or(DeviceError::Unknown)?;
        let call = Call::bare(Method::DELETE, path, Repeat::Safe);
        self.0.read(caller, call).await
    }

    async fn delete_device(&self, caller: &Caller, id: &DeviceId) -> Result<(), DeviceError> {
        let path = of_device("v1", id, "").ok_or(DeviceError::Unknown)?;
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call).await
    }

    async fn enrolling_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        create: Option<&CreateDevice>,
    ) -> Result<EnrollingDevice, DeviceError> {
        let asked = Enrolling {
            device_id: id.clone(),
            create: create.cloned(),
        };
        let path = "/internal/v1/enrolling-devices".to_owned();
        let call = Call::json(Method::POST, path, &asked, Repeat::Safe)?;
        self.0.read(caller, call).await
    }

    async fn bind_identity(
        &self,
        caller: &Caller,
        request: BindIdentity,
    ) -> Result<Device, DeviceError> {
        let path = "/internal/v1/bindings".to_owned();
        let call = Call::json(Method::POST, path, &request, Repeat::Safe)?;
        self.0.read(caller, call).await
    }
}
