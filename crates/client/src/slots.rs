//! Slots of devices at the device manager of another process.

use async_trait::async_trait;
use http::{Method, StatusCode};
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{
    ActivateVersion, AddVersion, PutOutcome, PutSlot, RevokeSecrets, RevokeVersion, SlotId,
    SlotList, SlotV2, SlotVersion, VerifiedToken, VerifyToken, VersionId,
};
use lamassu_core::device::v2::{CountedPage, ListHistory};
use lamassu_core::device::{RegistryError, SlotService};
use lamassu_core::ids::DeviceId;
use lamassu_core::percent::encode;
use lamassu_core::revision::Precondition;

use crate::device::DeviceClient;
use crate::peer::Call;
use crate::registry::{device_path, list_query};
use crate::retry::Repeat;

fn slot_path(slot: &SlotId, rest: &str) -> Result<String, RegistryError> {
    if slot.name.is_empty() {
        return Err(RegistryError::SlotNotFound);
    }
    device_path(
        &slot.device,
        &format!("/slots/{}{rest}", encode(&slot.name)),
    )
}

fn version_path(version: &VersionId, rest: &str) -> Result<String, RegistryError> {
    slot_path(
        &version.slot,
        &format!("/versions/{}{rest}", version.number),
    )
}

#[async_trait]
impl SlotService for DeviceClient {
    async fn slots(
        &self,
        caller: &Caller,
        device: &DeviceId,
        with_versions: bool,
    ) -> Result<SlotList, RegistryError> {
        let include = if with_versions {
            "?include=versions"
        } else {
            ""
        };
        let path = device_path(device, &format!("/slots{include}"))?;
        self.0.read(caller, Call::get(path)).await
    }

    async fn slot(&self, caller: &Caller, slot: &SlotId) -> Result<SlotV2, RegistryError> {
        self.0.read(caller, Call::get(slot_path(slot, "")?)).await
    }

    async fn slot_versions(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: &ListHistory,
    ) -> Result<CountedPage<SlotVersion>, RegistryError> {
        let query = list_query(&request.request, request.count, "");
        let path = slot_path(slot, &format!("/versions?{query}"))?;
        self.0.read(caller, Call::get(path)).await
    }

    async fn put_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: PutSlot,
        expected: Precondition,
    ) -> Result<PutOutcome, RegistryError> {
        let call = Call::json(Method::PUT, slot_path(slot, "")?, &request, Repeat::Once)?;
        let call = call.expecting(&expected);
        let (status, slot) = self
            .0
            .read_with_status::<_, RegistryError>(caller, call)
            .await?;
        Ok(if status == StatusCode::CREATED {
            PutOutcome::Made(slot)
        } else {
            PutOutcome::Updated(slot)
        })
    }

    async fn delete_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        secrets: RevokeSecrets,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        let query = match secrets {
            RevokeSecrets::Yes => "?revoke=true",
            RevokeSecrets::No => "?revoke=false",
        };
        let call = Call::bare(Method::DELETE, slot_path(slot, query)?, Repeat::Once);
        self.0.done(caller, call.expecting(&expected)).await
    }

    async fn add_version(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: AddVersion,
        expected: Precondition,
    ) -> Result<SlotVersion, RegistryError> {
        let path = slot_path(slot, "/versions")?;
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call.expecting(&expected)).await
    }

    async fn activate_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: ActivateVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError> {
        let path = version_path(version, "/activate")?;
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call.expecting(&expected)).await
    }

    async fn revoke_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: RevokeVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError> {
        let path = version_path(version, "/revoke")?;
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call.expecting(&expected)).await
    }

    async fn delete_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        let call = Call::bare(Method::DELETE, version_path(version, "")?, Repeat::Once);
        self.0.done(caller, call.expecting(&expected)).await
    }

    async fn verify_token(
        &self,
        caller: &Caller,
        slot: &SlotId,
        token: VerifyToken,
    ) -> Result<VerifiedToken, RegistryError> {
        let path = slot_path(slot, "/verify")?;
        let call = Call::json(Method::POST, path, &token, Repeat::Safe)?;
        self.0.read(caller, call).await
    }
}
