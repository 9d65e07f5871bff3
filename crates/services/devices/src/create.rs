//! Registering devices.

use std::collections::BTreeMap;

use lamassu_core::caller::Caller;
use lamassu_core::device::v2::{DEFAULT_ICON, DEFAULT_ICON_COLOR, WritableDevice};
use lamassu_core::device::{CreateDevice, Device, DeviceError, DeviceEvent, DeviceStatus};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DeviceId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{AuditRecord, WriteSet};
use serde_json::Map;
use time::OffsetDateTime;

use crate::context::ChangeContext;
use crate::service::DevicesService;
use crate::store::{
    HistoryEntry, HistoryScope, ID_FREE, StoredDevice, device_insert, history_insert, values_insert,
};
use crate::{events, metrics};

/// A device to be registered that has passed the checks.
#[derive(Clone, Debug)]
pub(crate) struct NewDevice(CreateDevice);

impl NewDevice {
    /// Checks the request.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] when id or DMS is missing, or the id is longer than 512 octets
    /// or has control characters.
    pub(crate) fn try_new(request: CreateDevice) -> Result<Self, DeviceError> {
        request.check()?;
        Ok(Self(request))
    }

    /// A request of v2 that has passed its own checks.
    pub(crate) fn checked_in_v2(id: DeviceId, members: WritableDevice) -> Self {
        let WritableDevice {
            alias,
            tags,
            icon,
            icon_color,
            metadata,
            dms_owner,
        } = members;
        Self(CreateDevice {
            id,
            alias,
            tags,
            metadata,
            dms_id: dms_owner,
            icon,
            icon_color,
        })
    }

    /// The write set that registers the device, and the device as it will be.
    pub(crate) fn into_write_set(self, context: ChangeContext<'_>) -> (WriteSet, StoredDevice) {
        let ChangeContext {
            caller,
            now,
            bucket,
            groups,
            ..
        } = context;
        let entry = HistoryEntry {
            scope: HistoryScope::Device,
            at: Timestamp(now),
            event: DeviceEvent {
                event_type: "CREATED".to_owned(),
                description: String::new(),
            },
            version: None,
            removes: false,
            comment: None,
        };
        let mut stored = self.into_stored(now);
        stored.device.events.insert(entry.at, entry.event.clone());
        let device = &stored.device;
        let mut set = WriteSet::new();
        set.expect_one(device_insert(&stored), ID_FREE);
        values_insert(&mut set, device, context.indexed);
        for statement in history_insert(caller, &device.id, std::slice::from_ref(&entry)) {
            set.execute(statement);
        }
        set.execute(bucket.add(device.status));
        set.event(events::device_created(caller, device, now));
        let subject = events::device_subject(&device.id);
        set.audit(AuditRecord::done(caller, "device.create", subject, now));
        groups.tell(&mut set, caller, None, Some(&stored), now);
        (set, stored)
    }

    /// The device as it will be stored, without history.
    pub(crate) fn into_stored(self, now: OffsetDateTime) -> StoredDevice {
        let alias = self.0.alias.clone();
        StoredDevice {
            device: self.into_device(now),
            alias,
            updated_at: Timestamp(now),
            decommissioned_at: None,
            revision: 1,
            slots: BTreeMap::new(),
            last_shadow: None,
        }
    }

    fn into_device(self, now: OffsetDateTime) -> Device {
        let or_default = |text: String, default: &str| {
            if text.is_empty() {
                default.to_owned()
            } else {
                text
            }
        };
        let request = self.0;
        Device {
            id: request.id,
            tags: request.tags,
            status: DeviceStatus::NoIdentity,
            icon: or_default(request.icon, DEFAULT_ICON),
            icon_color: or_default(request.icon_color, DEFAULT_ICON_COLOR),
            creation_timestamp: Timestamp(now),
            metadata: request.metadata,
            dms_owner: request.dms_id,
            identity: None,
            slots: Map::new(),
            events: BTreeMap::new(),
        }
    }
}

impl DevicesService {
    pub(crate) async fn register(
        &self,
        caller: &Caller,
        request: CreateDevice,
    ) -> Result<Device, DeviceError> {
        let new = NewDevice::try_new(request)?;
        let planned = new.clone().into_stored(self.db.now());
        self.warn_of_policies(&planned).await?;
        let stored = self.insert(caller, new).await?;
        Ok(stored.ok_or(DeviceError::Exists)?.device)
    }

    /// Stores a new device; `None` where the id is taken.
    pub(crate) async fn insert(
        &self,
        caller: &Caller,
        new: NewDevice,
    ) -> Result<Option<StoredDevice>, StorageFailure> {
        let (set, stored) = new.into_write_set(self.change_by(caller));
        match self.db.commit(set).await {
            Ok(_) => {
                metrics::created();
                tracing::info!(device_id = %stored.device.id, "device registered");
                Ok(Some(stored))
            }
            Err(error) if error.failed(ID_FREE) => Ok(None),
            Err(error) => Err(StorageFailure::from(error)),
        }
    }
}
