//! What clients write of a device: its metadata by JSON Patch (v1), all of it by patches (v2).
//!
//! A patch is computed on what is read and stored only while that has not changed: two patches at the same
//! time are one after the other, and nothing that else happens to the device meanwhile is lost. A patch that
//! changes nothing is told to nobody.

use lamassu_core::caller::Caller;
use lamassu_core::device::v2::WritableDevice;
use lamassu_core::device::{Device, DeviceError, DeviceStatus, RegistryError};
use lamassu_core::ids::DeviceId;
use lamassu_core::patch::{DocumentPatch, PatchOperation, apply_to_object};
use lamassu_core::revision::Precondition;
use lamassu_db::{Attempt, retry_races_up_to};

use crate::change::Change;
use crate::service::DevicesService;
use crate::store::StoredDevice;

/// How often a patch is attempted: of those that read the same revision one wins.
const ATTEMPTS: usize = 64;

impl DevicesService {
    /// Patches the metadata of a device; retired ones, too.
    pub(crate) async fn patch_v1(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patches: &[PatchOperation],
    ) -> Result<Device, DeviceError> {
        retry_races_up_to(ATTEMPTS, || async {
            let stored = self.store.device(id).await?;
            let stored = stored.ok_or(DeviceError::Unknown)?;
            let metadata = apply_to_object(&stored.device.metadata, patches, &[]);
            let metadata = metadata.map_err(DeviceError::from)?;
            let after = WritableDevice {
                metadata,
                ..writable(&stored)
            };
            if let Some(planned) = planned(&stored, &after) {
                let warned = self.warn_of_policies(&planned).await;
                warned.map_err(DeviceError::from)?;
            }
            let after = self.write_members(caller, &stored, after).await?;
            Ok(after.device)
        })
        .await
    }

    /// Patches a device as v2 does; gives it with what its groups warn of.
    pub(crate) async fn patch_v2(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patch: &DocumentPatch,
        expected: &Precondition,
    ) -> Result<(StoredDevice, Vec<String>), RegistryError> {
        retry_races_up_to(ATTEMPTS, || async {
            let stored = self.stored(id, expected).await?;
            let before = writable(&stored);
            let document = patch.apply(&before.to_document());
            let document = document.map_err(|error| RegistryError::PatchFailed(error.reason))?;
            let after = WritableDevice::from_document(document)?;
            if stored.device.status == DeviceStatus::Decommissioned
                && after.dms_owner != before.dms_owner
            {
                return Err(RegistryError::Decommissioned.into());
            }
            if after.dms_owner != before.dms_owner {
                self.check_owner(caller, &after.dms_owner).await?;
            }
            let warnings = match planned(&stored, &after) {
                Some(planned) => self.check_policies(&planned).await?,
                None => Vec::new(),
            };
            let after = self.write_members(caller, &stored, after).await?;
            Ok((after, warnings))
        })
        .await
    }

    /// The device of this id, if it is as expected.
    pub(crate) async fn stored(
        &self,
        id: &DeviceId,
        expected: &Precondition,
    ) -> Result<StoredDevice, Attempt<RegistryError>> {
        let stored = self.store.device(id).await?;
        let stored = stored.ok_or(RegistryError::DeviceNotFound)?;
        if !expected.is_met_by(stored.revision) {
            return Err(RegistryError::RevisionConflict.into());
        }
        Ok(stored)
    }

    async fn write_members(
        &self,
        caller: &Caller,
        stored: &StoredDevice,
        members: WritableDevice,
    ) -> Result<StoredDevice, lamassu_db::CommitError> {
        let names = members.differences(&writable(stored));
        if names.is_empty() {
            return Ok(stored.clone());
        }
        let mut change = Change::of(stored, self.change_by(caller));
        write(&mut change.after, members);
        change.members_changed(&names, self.coalesce);
        let operation = if names == ["metadata"] {
            "device.metadata.update"
        } else {
            "device.update"
        };
        let (set, after) = change.into_write_set(operation);
        self.db.commit(set).await?;
        Ok(after)
    }
}

/// What clients write of a device.
pub(crate) fn writable(stored: &StoredDevice) -> WritableDevice {
    let device = &stored.device;
    WritableDevice {
        alias: stored.alias.clone(),
        tags: device.tags.clone(),
        icon: device.icon.clone(),
        icon_color: device.icon_color.clone(),
        metadata: device.metadata.clone(),
        dms_owner: device.dms_owner.clone(),
    }
}

/// Puts what clients write into a device.
fn write(device: &mut StoredDevice, members: WritableDevice) {
    let WritableDevice {
        alias,
        tags,
        icon,
        icon_color,
        metadata,
        dms_owner,
    } = members;
    device.alias = alias;
    device.device.tags = tags;
    device.device.icon = icon;
    device.device.icon_color = icon_color;
    device.device.metadata = metadata;
    device.device.dms_owner = dms_owner;
}

/// The device as it will be, if what changes is something that groups have rules for.
fn planned(stored: &StoredDevice, members: &WritableDevice) -> Option<StoredDevice> {
    let (before, after) = (&stored.device, members);
    let is_ruled = before.metadata != after.metadata || before.tags != after.tags;
    is_ruled.then(|| {
        let mut planned = stored.clone();
        write(&mut planned, members.clone());
        planned
    })
}
