//! What enrolling a device has to know of it: whether it is there, and when it must renew.
//!
//! One look at the database answers both. Where no group says anything about renewal, groups cost nothing.

use lamassu_core::device::{CreateDevice, DeviceError, EnrollingDevice};
use lamassu_core::device_group::RenewalPolicy;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DeviceId;
use lamassu_db::DbError;

use crate::create::NewDevice;
use crate::group_policy::has_renewal;
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
        let renewal = self.renewal_of(id, stored.as_ref(), create, revision).await;
        Ok(EnrollingDevice {
            renewal: renewal.unwrap_or_else(|error| {
                let error = &error as &(dyn std::error::Error + 'static);
                tracing::warn!(device_id = %id, error, "device groups not read, their renewal policies do not apply");
                RenewalPolicy::default()
            }),
            device: stored.map(|stored| stored.device),
        })
    }

    /// Nothing for a device that is not there and cannot be registered: that is for others to refuse. Groups
    /// that cannot be read keep nobody from a certificate.
    async fn renewal_of(
        &self,
        id: &DeviceId,
        stored: Option<&StoredDevice>,
        create: Option<&CreateDevice>,
        revision: i64,
    ) -> Result<RenewalPolicy, DbError> {
        let tree = self.groups_at(revision).await?;
        if !tree.all().any(|group| has_renewal(group)) {
            return Ok(RenewalPolicy::default());
        }
        let now = self.db.now();
        let registered = || {
            let create = CreateDevice {
                id: id.clone(),
                ..create?.clone()
            };
            Some(NewDevice::try_new(create).ok()?.into_stored(now))
        };
        let Some(device) = stored.cloned().or_else(registered) else {
            return Ok(RenewalPolicy::default());
        };
        let renewal = policies(&tree, &device, now).effective.renewal;
        Ok(renewal.unwrap_or_default())
    }
}
