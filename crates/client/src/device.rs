//! The device manager of another process.

use async_trait::async_trait;
use http::Method;
use lamassu_core::caller::Caller;
use lamassu_core::device::{
    BindIdentity, CreateDevice, Device, DeviceError, DeviceService, DeviceStats,
};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::percent::encode;
use lamassu_core::query::ListRequest;

use crate::peer::{Call, Peer, Service};
use crate::retry::Repeat;

/// The device manager of another process.
///
/// Repeated after a doubt: reads, and [`bind_identity`](DeviceService::bind_identity), which
/// changes nothing when the certificate is the active version already (only the answer to a
/// repeated first binding shows the new identity). Never repeated: registering a device.
#[derive(Clone, Debug)]
pub struct DeviceClient(pub(crate) Service);

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
