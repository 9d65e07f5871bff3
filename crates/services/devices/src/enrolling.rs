//! What enrolling a device has to know of it: whether it is there, when it must renew, and what becomes of the
//! certificate that it has.
//!
//! One look at the database answers all. Where no group says anything about that, groups cost nothing.

use lamassu_core::device::{CreateDevice, DeviceError, EnrollingDevice};
use lamassu_core::device_group::EffectivePolicies;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DeviceId;
use lamassu_db::DbError;

use crate::create::NewDevice;
use crate::group_policy::{has_renewal, has_slots, superseded_policy};
use crate::group_read::policies;
use crate::service::DevicesService;
use crate::store::StoredDevice;

impl DevicesService {
    pub(crate) async fn read_enrolling(
        &self,
        id: &DeviceId,
        create: Option<&CreateDevice>,
    ) -> Result<EnrollingDevice, DeviceError> {
        let found = self.store.device_and_groups(id).await;
        let (stored, revision) = found.map_err(StorageFailure::from)?;
        let groups = self.groups_say(id, stored.as_ref(), create, revision).await;
        let groups = groups.unwrap_or_else(|error| {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::warn!(device_id = %id, error, "device groups not read, their policies do not apply");
            EffectivePolicies::default()
        });
        let identity = stored.as_ref().and_then(StoredDevice::identity);
        Ok(EnrollingDevice {
            renewal: groups.renewal.unwrap_or_default(),
            superseded: superseded_policy(identity, &groups.slots.unwrap_or_default()),
            device: stored.map(|stored| stored.device),
        })
    }

    /// Nothing for a device that is not there and cannot be registered: that is for others to refuse. Groups
    /// that cannot be read keep nobody from a certificate.
    async fn groups_say(
        &self,
        id: &DeviceId,
        stored: Option<&StoredDevice>,
        create: Option<&CreateDevice>,
        revision: i64,
    ) -> Result<EffectivePolicies, DbError> {
        let tree = self.groups_at(revision).await?;
        if !tree
            .all()
            .any(|group| has_renewal(group) || has_slots(group))
        {
            return Ok(EffectivePolicies::default());
        }
        let now = self.db.now();
        let registered = || {
            let create = CreateDevice {
                id: id.clone(),
                ..create?.clone()
            };
            Some(NewDevice::try_new(create).ok()?.into_stored(now))
        };
        let device = stored.cloned().or_else(registered);
        Ok(device.map_or_else(EffectivePolicies::default, |device| {
            policies(&tree, &device, now).effective
        }))
    }
}
