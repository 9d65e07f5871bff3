//! Reading, listing and counting devices.

use std::collections::BTreeMap;

use lamassu_core::device::{Device, DeviceError, DeviceStats, DeviceStatus};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::query::{Filter, ListRequest};
use lamassu_db::list::{ListError, Restriction, count_by, list};
use lamassu_db::{DbError, FromValue, Value};

use crate::service::DevicesService;
use crate::store::{DEVICES, OWNER_COLUMN, STATUS_FIELD, counted};
use crate::values::Purpose;

/// Bookmarks of the list of all devices.
const SCOPE_ALL: &str = "devices";

/// Bookmarks of the lists by DMS; which DMS comes from the request every time.
const SCOPE_BY_DMS: &str = "devices-by-dms";

impl DevicesService {
    pub(crate) async fn read(&self, id: &DeviceId) -> Result<Device, DeviceError> {
        let stored = self.store.device(id).await.map_err(StorageFailure::from)?;
        stored
            .map(|stored| stored.device)
            .ok_or(DeviceError::NotFound)
    }

    pub(crate) async fn list(
        &self,
        owner: Option<&DmsId>,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceError> {
        let scope = if owner.is_some() {
            SCOPE_BY_DMS
        } else {
            SCOPE_ALL
        };
        let owner = owner.map(|owner| Restriction::Is(OWNER_COLUMN, owner.as_str().into()));
        let narrowed = self
            .narrowed(DEVICES.fields, scope, request, owner.as_slice())
            .await;
        let restrictions = narrowed.map_err(ListError::into_error::<DeviceError>)?;
        let page = list(&self.db, &DEVICES, scope, request, &restrictions).await;
        let page = page.map_err(ListError::into_error::<DeviceError>)?;
        let devices = self
            .store
            .complete(&page.list)
            .await
            .map_err(StorageFailure::from)?;
        let list = devices.into_iter().map(|stored| stored.device).collect();
        Ok(Page {
            next: page.next,
            list,
        })
    }

    pub(crate) async fn count(&self, request: &ListRequest) -> Result<DeviceStats, DeviceError> {
        // The distribution over statuses of one status would be no distribution.
        if request
            .filters
            .iter()
            .any(|filter| filter.field.name == STATUS_FIELD)
        {
            return Err(DeviceError::Validation);
        }
        let counted = if request.filters.is_empty() {
            counted(&self.db).await.map_err(StorageFailure::from)?
        } else {
            self.count_filtered(&request.filters).await?
        };
        Ok(stats_of(&counted))
    }

    /// One grouped query; statuses without devices are absent.
    async fn count_filtered(
        &self,
        filters: &[Filter],
    ) -> Result<BTreeMap<DeviceStatus, u64>, DeviceError> {
        let narrowed = self.narrowed_by(filters, &[], Purpose::Number).await;
        let narrowed = narrowed.map_err(ListError::into_error::<DeviceError>)?;
        let counted = count_by(&self.db, &DEVICES, STATUS_FIELD, filters, &narrowed).await;
        let counted = counted.map_err(ListError::into_error::<DeviceError>)?;
        let counters = counted.iter().map(|(name, rows)| counter(name, *rows));
        let counters: Result<_, DbError> = counters.collect();
        Ok(counters.map_err(StorageFailure::from)?)
    }
}

/// The statistics on the wire, with every status.
pub(crate) fn stats_of(counted: &BTreeMap<DeviceStatus, u64>) -> DeviceStats {
    let count = |status| (status, counted.get(&status).copied().unwrap_or_default());
    DeviceStats {
        total: counted.values().sum(),
        status_distribution: DeviceStatus::ALL.into_iter().map(count).collect(),
    }
}

/// One counted status.
pub(crate) fn counter(name: &Value, rows: i64) -> Result<(DeviceStatus, u64), DbError> {
    let corrupt = || DbError::corrupt("device.status", "unknown status");
    let name = String::from_value(name).map_err(|_| corrupt())?;
    let status = name.parse().map_err(|_| corrupt())?;
    Ok((status, u64::try_from(rows).unwrap_or_default()))
}
