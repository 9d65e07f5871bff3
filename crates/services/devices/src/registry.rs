//! Devices as v2 lists, reads and writes them.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{IDENTITY, SlotStatus, SlotV2};
use lamassu_core::device::statistics::{CountDevices, DeviceStatistics};
use lamassu_core::device::v2::{
    CountedPage, Decommission, DeviceV2, HistoryItem, Include, ListDevices, ListHistory,
    RegisterDevice,
};
use lamassu_core::device::{DeviceRegistry, RegistryError};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DeviceId;
use lamassu_core::patch::DocumentPatch;
use lamassu_core::query::Filter;
use lamassu_core::revision::Precondition;
use lamassu_db::list::{ListError, Restriction, count, list};
use uuid::Uuid;

use crate::create::NewDevice;
use crate::service::{DevicesService, named};
use crate::store::{
    DEVICE_COLUMN, DEVICES_IN_V2, HISTORY, Slot, StoredDevice, history_item, shown,
};
use crate::values::Purpose;

/// Bookmarks of the list of all devices.
const SCOPE_ALL: &str = "v2/devices";

/// Bookmarks of histories; whose comes from the request every time.
const SCOPE_HISTORY: &str = "v2/devices/events";

/// How much of the history is shown beside a device.
const N_INCLUDED_EVENTS: u32 = 20;

impl DevicesService {
    async fn register_v2(
        &self,
        caller: &Caller,
        request: RegisterDevice,
    ) -> Result<DeviceV2, RegistryError> {
        let fresh = || DeviceId::new(Uuid::new_v4().to_string());
        let (id, members, mut warnings) = request.checked(fresh)?;
        self.check_owner(caller, &members.dms_owner).await?;
        let new = NewDevice::checked_in_v2(id, members);
        let planned = new.clone().into_stored(self.db.now());
        warnings.extend(self.check_policies(&planned).await?);
        let stored = self.insert(caller, new).await?;
        let stored = stored.ok_or(RegistryError::DeviceExists)?;
        Ok(DeviceV2 {
            warnings,
            ..device_in_v2(&stored)
        })
    }
}

#[async_trait]
impl DeviceRegistry for DevicesService {
    async fn list_devices(
        &self,
        _caller: &Caller,
        request: &ListDevices,
    ) -> Result<CountedPage<DeviceV2>, RegistryError> {
        let Some(group) = &request.group else {
            return self.list_in_v2(SCOPE_ALL, request, &[]).await;
        };
        let (scope, restrictions) = self.members_of(group).await?;
        self.list_in_v2(&scope, request, &restrictions).await
    }

    async fn register_device(
        &self,
        caller: &Caller,
        request: RegisterDevice,
    ) -> Result<DeviceV2, RegistryError> {
        let asked = request
            .id
            .as_ref()
            .map_or_else(|| "device".to_owned(), named);
        let change = ("device.create", asked);
        self.refusals
            .watch(caller, change, self.register_v2(caller, request))
            .await
    }

    async fn read_device(
        &self,
        _caller: &Caller,
        id: &DeviceId,
        include: Include,
    ) -> Result<DeviceV2, RegistryError> {
        let stored = self.store.device(id).await.map_err(StorageFailure::from)?;
        let stored = stored.ok_or(RegistryError::DeviceNotFound)?;
        let mut device = [device_in_v2(&stored)];
        self.include(&mut device, include).await?;
        self.include_groups(std::slice::from_ref(&stored), &mut device, include)
            .await?;
        let [device] = device;
        Ok(device)
    }

    async fn patch_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patch: DocumentPatch,
        expected: Precondition,
    ) -> Result<DeviceV2, RegistryError> {
        let change = ("device.update", named(id));
        let patched = self.patch_v2(caller, id, &patch, &expected);
        let (stored, warnings) = self.refusals.watch(caller, change, patched).await?;
        Ok(DeviceV2 {
            warnings,
            ..device_in_v2(&stored)
        })
    }

    async fn retire_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        how: Decommission,
        expected: Precondition,
    ) -> Result<DeviceV2, RegistryError> {
        let change = ("device.decommission", named(id));
        let retired = self.decommission_v2(caller, id, &how, &expected);
        let stored = self.refusals.watch(caller, change, retired).await?;
        Ok(device_in_v2(&stored))
    }

    async fn purge_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        let change = ("device.delete", named(id));
        self.refusals
            .watch(caller, change, self.purge_v2(caller, id, &expected))
            .await
    }

    async fn statistics(
        &self,
        _caller: &Caller,
        request: &CountDevices,
    ) -> Result<DeviceStatistics, RegistryError> {
        let restrictions = match &request.group {
            Some(group) => self.members_of(group).await?.1,
            None => Vec::new(),
        };
        self.statistics_of(request, &restrictions).await
    }

    async fn device_history(
        &self,
        _caller: &Caller,
        id: &DeviceId,
        request: &ListHistory,
    ) -> Result<CountedPage<HistoryItem>, RegistryError> {
        let of_device = [Restriction::Is(DEVICE_COLUMN, id.as_str().into())];
        if !self.store.exists(id).await.map_err(StorageFailure::from)? {
            return Err(RegistryError::DeviceNotFound);
        }
        let asked = &request.request;
        let page = list(&self.db, &HISTORY, SCOPE_HISTORY, asked, &of_device).await;
        let page = page.map_err(ListError::into_error::<RegistryError>)?;
        let items: Result<Vec<_>, _> = page.list.iter().map(history_item).collect();
        let total = if request.count {
            let filters = &asked.filters;
            let counted = count(&self.db, &HISTORY, filters, &of_device).await;
            Some(total(counted)?)
        } else {
            None
        };
        Ok(CountedPage {
            next: page.next,
            list: items.map_err(StorageFailure::from)?,
            total,
        })
    }
}

impl DevicesService {
    /// A page of devices that also fulfil these restrictions; `scope` names the list for its
    /// bookmarks.
    pub(crate) async fn list_in_v2(
        &self,
        scope: &str,
        request: &ListDevices,
        restrictions: &[Restriction],
    ) -> Result<CountedPage<DeviceV2>, RegistryError> {
        let asked = &request.request;
        let narrowed = self
            .narrowed(DEVICES_IN_V2.fields, scope, asked, restrictions)
            .await;
        let narrowed = narrowed.map_err(ListError::into_error::<RegistryError>)?;
        let page = list(&self.db, &DEVICES_IN_V2, scope, asked, &narrowed).await;
        let page = page.map_err(ListError::into_error::<RegistryError>)?;
        let stored = self.store.complete(&page.list).await;
        let stored = stored.map_err(StorageFailure::from)?;
        let mut list: Vec<_> = stored.iter().map(device_in_v2).collect();
        self.include(&mut list, request.include).await?;
        self.include_groups(&stored, &mut list, request.include)
            .await?;
        let total = if request.count {
            Some(self.count_in_v2(&asked.filters, restrictions).await?)
        } else {
            None
        };
        Ok(CountedPage {
            next: page.next,
            list,
            total,
        })
    }

    /// How many devices fulfil the filters and these restrictions.
    pub(crate) async fn count_in_v2(
        &self,
        filters: &[Filter],
        restrictions: &[Restriction],
    ) -> Result<u64, RegistryError> {
        let narrowed = self
            .narrowed_by(filters, restrictions, Purpose::Number)
            .await;
        let narrowed = narrowed.map_err(ListError::into_error::<RegistryError>)?;
        total(count(&self.db, &DEVICES_IN_V2, filters, &narrowed).await)
    }

    /// Adds what the request wants to see beside devices.
    async fn include(
        &self,
        devices: &mut [DeviceV2],
        include: Include,
    ) -> Result<(), RegistryError> {
        if include.events {
            let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.clone()).collect();
            let mut histories = self
                .store
                .newest_history(&ids, N_INCLUDED_EVENTS)
                .await
                .map_err(StorageFailure::from)?;
            for device in devices {
                device.events = Some(histories.remove(&device.id).unwrap_or_default());
            }
        }
        Ok(())
    }
}

pub(crate) fn total(counted: Result<i64, ListError>) -> Result<u64, RegistryError> {
    let counted = counted.map_err(ListError::into_error::<RegistryError>)?;
    Ok(u64::try_from(counted).unwrap_or_default())
}

/// A device as v2 shows it.
pub(crate) fn device_in_v2(stored: &StoredDevice) -> DeviceV2 {
    let device = &stored.device;
    let others = stored.slots.values().filter(|slot| slot.name != IDENTITY);
    let identity = stored
        .identity()
        .filter(|slot| slot.status != SlotStatus::Empty || !slot.versions.is_empty());
    DeviceV2 {
        id: device.id.clone(),
        alias: stored.alias.clone(),
        status: device.status,
        tags: device.tags.clone(),
        icon: device.icon.clone(),
        icon_color: device.icon_color.clone(),
        metadata: device.metadata.clone(),
        dms_owner: device.dms_owner.clone(),
        creation_timestamp: device.creation_timestamp,
        updated_at: stored.updated_at,
        decommissioned_at: stored.decommissioned_at,
        revision: stored.revision,
        identity: identity.map(slot_in_v2),
        slots: others
            .map(|slot| (slot.name.clone(), slot_in_v2(slot)))
            .collect(),
        events: None,
        groups: None,
        policies: None,
        warnings: Vec::new(),
    }
}

/// A slot as v2 shows it, without its versions.
pub(crate) fn slot_in_v2(slot: &Slot) -> SlotV2 {
    let secrets = slot.versions.values();
    let secrets = secrets.map(|version| (version.version, version.secret.clone()));
    SlotV2 {
        name: slot.name.clone(),
        status: slot.status,
        secret_type: slot.secret_type,
        active_version: slot.active_version,
        secrets: secrets.collect(),
        versions: None,
        expiration_date: slot.windows.as_ref().map(|windows| windows.not_after),
        policy: slot.policy.clone(),
        created_at: slot.created_at,
        updated_at: slot.updated_at,
        revision: slot.revision,
    }
}

/// The same with its versions, newest first.
pub(crate) fn whole_slot_in_v2(slot: &Slot) -> SlotV2 {
    SlotV2 {
        versions: Some(slot.versions.values().rev().map(shown).collect()),
        ..slot_in_v2(slot)
    }
}
